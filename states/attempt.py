"""A call as the record remembers it, for a while."""

from dataclasses import dataclass
from datetime import datetime, timedelta

MEMORY = timedelta(minutes=20)
"""How long calls are remembered: twice the window in which they may be sent again."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A call that was sent, or is about to be: kind, target, and what came of it."""

    kind: str
    target: str
    at: datetime
    outcome: str
    """`open` (unknown), `done`, or `refused`: by the workspace, or never sent."""
    over: int = -1
    """The highest configuration version of the endpoint that had been seen by then."""
    id: int = 0
