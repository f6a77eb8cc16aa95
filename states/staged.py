"""What the record keeps of a staging endpoint: enough to delete ours, and nobody else's."""

from dataclasses import dataclass
from datetime import datetime

from policies.golden import Round


@dataclass(frozen=True, kw_only=True)
class Staged:
    """A staging endpoint that was asked for; it may be there as long as this is remembered."""

    endpoint: str
    """Its name, whatever the configuration says by now."""
    mark: str
    """For which attempt of which release: the endpoint bears it as a tag."""
    asked_at: datetime
    """When it was last asked for."""
    id: str = ""
    """Of the endpoint that came of it, once seen; what has another one is never deleted."""
    gone: bool = False
    """It was not there at the last look."""
    told: bool = False
    """It was said that it cannot be removed."""
    rounds: tuple[Round, ...] = ()
    """Golden queries asked there."""
