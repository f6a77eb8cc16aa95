"""What the record keeps of a staging endpoint: enough to delete ours, and nobody else's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from policies.golden import Begun, Round


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A staging endpoint that was asked for; remembered until it is sure to be gone."""

    endpoint: str
    """Its name, whatever the configuration says by now."""
    release: str
    """For which attempt of which release it was last asked for."""
    asked_at: datetime
    """When that was."""
    asks: int = 1
    """How often it was asked for: each call has a mark of its own, and makes one at most."""
    ids: Mapping[str, str] = field(default_factory=dict)
    """By mark, the endpoint that came of it, as first seen; another with that mark is a copy."""
    id: str = ""
    """Of the one that was there at the last look."""
    gone: bool = False
    """It was not there at the last look."""
    told: bool = False
    """It was said that it cannot be removed."""
    rounds: tuple[Round, ...] = ()
    """Golden queries asked there."""
    asking: Begun | None = None
    """The round that is under way there, and not complete."""
