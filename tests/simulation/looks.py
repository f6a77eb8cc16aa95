"""What one replica looked at last, by which its promises are held against true time."""

from dataclasses import dataclass

from states.plan import Plan
from states.release import Application, Release
from states.world import Endpoint, Serving, World

Key = tuple[str, int]
"""Version and attempt."""


@dataclass
class Look:
    """What one replica looked at last."""

    loaded_at: float = 0.0
    at: float = 0.0
    orders: int = 0
    """Orders that had been given when it loaded the record."""
    before: Application | None = None
    world: World | None = None
    plan: Plan | None = None
    """What it saw and decided last."""
    told_at: float = 0.0
    """True time at which the store told the time of that."""

    @property
    def serving(self) -> Serving | None:
        """What the endpoint was seen to serve; None where none was seen."""
        seen = self.world.endpoint if self.world is not None else None
        return seen.serving if isinstance(seen, Endpoint) else None


def release_of(application: Application, key: Key) -> Release | None:
    """One release of an application; None where it has none of that key."""
    found = (one for one in application.releases if (one.version, one.attempt) == key)
    return next(found, None)
