"""How entities and endpoint are set up beside their traffic: configured, given, and applied."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from policies.fuse import Fuse
from states.world import Grant, Size, Variables

DEADLINE = timedelta(minutes=60)
"""Longest that Provisioning may take, and Testing, where nothing else is configured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """What the configuration says of it, today."""

    size: Size | None = None
    """As stated; None: a new version is as big as the stable one, and a running one stays so."""
    scale_to_zero: bool = False
    """Where no size is stated: of a new version, and by `apply` of the running one."""
    variables: Variables = field(default_factory=Variables)
    permissions: tuple[Grant, ...] = ()
    """What an endpoint of ours is given once, after it was created."""
    captures: bool = False
    """`inference_table` was stated: an endpoint that was found gets one too, not only ours."""
    usage_tracking: bool = False

    def sized(self, running: Size | None) -> Size:
        """How big a version is to be where one of another size runs; None: that is not told."""
        return self.size or replace(running or Size(), scale_to_zero=self.scale_to_zero)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """An operator's `apply`: a column that only operators write."""

    number: int
    """Counts the wishes of an application: one that was taken up is not taken up again."""
    size: Size | None
    variables: Variables
    scale_to_zero: bool = False
    """Where no size is stated; all three as the operator was shown them: the daemon's
    configuration must say the same."""

    @classmethod
    def of(cls, shown: Setup, number: int) -> "Wish":
        """The wish for what an operator was shown."""
        return cls(
            number=number,
            size=shown.size,
            variables=shown.variables,
            scale_to_zero=shown.size is None and shown.scale_to_zero,
        )


@dataclass(frozen=True, kw_only=True)
class Applying:
    """A running version that gets another size, or other variables, in place."""

    version: str
    size: Size
    former: Size | None
    """What it had; None: not told."""
    over: int
    """The endpoint's configuration version before it was sent."""
    asked_at: datetime
    sent: bool = False
    """The workspace has the call, or may have it, as the record of calls told last."""
    gives: Variables | None = None
    """What the call that was planned last gives, if it is sent; None: none was planned yet."""
    seen_at: datetime | None = None
    """When it was first seen in effect."""
    fuse: Fuse | None = None
    """Set then; None where the endpoint had told no minutes."""
    back: str | None = None
    """Why the former size is being put back; None while it is not."""

    @property
    def told(self) -> str:
        """How far it has come, in words."""
        if self.back is not None:
            return f"{self.size} is put back for version {self.version}"
        if self.seen_at is None:
            return f"version {self.version} is given {self.size}: not in effect yet"
        since = f"{self.seen_at:%Y-%m-%d %H:%M} UTC"
        return f"version {self.version} runs with {self.size}, watched since {since}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Upkeep:
    """What was done of it."""

    variables: Variables | None = None
    """What our entities were last given; None: not known."""
    ungranted: bool = False
    """The endpoint was created by us, and its permissions were not seen set yet."""
    applied: int = 0
    """The number of the last wish that was taken up."""
    applying: Applying | None = None
    stuck: str | None = None
    """Why what was applied last has failed; it is held until a person applies again."""


def moved(upkeep: Upkeep, by: timedelta) -> Upkeep:
    """The same on a clock that was set by so much."""
    one = upkeep.applying
    if one is None:
        return upkeep
    seen_at = one.seen_at + by if one.seen_at is not None else None
    return replace(upkeep, applying=replace(one, asked_at=one.asked_at + by, seen_at=seen_at))
