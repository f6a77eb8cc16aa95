"""What was truly done to a version, by people and by what failed: nothing else excuses a rollback.

The product's own words are no witness, nor is a fault of another time, or of another version: each
is written down here by whoever did it, when it was done.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from states.world import Serving

SOON_S = 120.0
"""So long after something has ended, a deadline that it has used up may pass."""


@dataclass
class Cause:
    """Something that makes a good version go home."""

    kind: str
    since: float
    """True time."""
    version: str | None = None
    """The one that it was done to; None: whichever is on trial."""
    until: float | None = None
    """When it was over; None: it was over at once."""


@dataclass(frozen=True)
class Rollback:
    """A version that goes home, and what the replica saw that decided it."""

    version: str
    entered: float
    """True time from which on it was in the state that it leaves."""
    at: float
    """True time of the look."""
    weight: int
    """Percentage of users that it should have had."""
    serving: Serving | None
    """What the endpoint served in that look."""
    because: str
    truly: Serving | None = None
    """What it serves, whatever that look has shown."""


EXPLAINED: Mapping[str, tuple[str, ...]] = {
    "aborted by the operator": ("abort",),
    "lowered by someone else": ("edit",),
    "given its users by hand, and adopted": ("adopt",),
    "taken from the endpoint by hand": ("adopt",),
    "deleted, and that was adopted": ("adopt",),
    "Databricks could not": ("build",),
    "not ready after": ("stuck", "slow_update", "unready", "version_gone"),
    "deleted from the registry": ("version_gone",),
    "golden queries failed": ("answers_astray",),
    "not through its tests after": ("unready", "queries_unanswered"),
    "not through its tests on staging": (
        "stuck",
        "slow_update",
        "version_gone",
        "queries_unanswered",
    ),
}
"""By words of a rollback's reason, what truly makes a good version fail so."""


@dataclass
class Causes:
    """All of one run."""

    known: list[Cause] = field(default_factory=list)
    edits: list[tuple[float, Serving]] = field(default_factory=list)
    """What people made the endpoint serve, and when; and what looks as if they had: answers of an
    endpoint that they have deleted since, and old calls of replicas that have no leases."""

    overtaken: list[tuple[float, Serving]] = field(default_factory=list)
    """What old calls made the endpoint serve that were on their way as their lease ended."""

    def done(self, kind: str, at: float, version: str | None = None) -> None:
        """Something was done, and is over."""
        self.known.append(Cause(kind, at, version))

    def begun(
        self, kind: str, at: float, version: str | None = None, *, until: float = inf
    ) -> Cause:
        """Something lasts, until then or until it is ended."""
        self.known.append(Cause(kind, at, version, until))
        return self.known[-1]

    def healed(self, at: float) -> None:
        """All that lasts is over; but a version that is gone stays so."""
        for one in self.known:
            if one.until is not None and one.kind != "version_gone":
                one.until = min(one.until, at)

    def excuse(self, told: Rollback) -> bool:
        """Whether a version had to go home: for what it is said to, and when that was so."""
        kinds = {one for words, all_ in EXPLAINED.items() if words in told.because for one in all_}
        if "edit" in kinds:
            return any(self._lowered(told, *one) for one in self.edits)
        return any(one.kind in kinds and _explains(one, told) for one in self.known)

    def by_a_late_call(self, told: Rollback) -> bool:
        """Whether it was lowered by an old call of ours, which looks like a person's edit."""
        lowered = "lowered by someone else" in told.because
        return lowered and any(self._lowered(told, *one) for one in self.overtaken)

    def _lowered(self, told: Rollback, at: float, serving: Serving) -> bool:
        """What was seen is what a person did meanwhile: it has fewer users than it should have.

        Or did before, and is still so: a step may be decided before that is seen, or takes effect.
        """
        less = told.weight > sum(
            one.weight for one in serving.shares.values() if one.version == told.version
        )
        meanwhile = told.entered <= at or serving == told.truly
        return less and serving == told.serving and at <= told.at and meanwhile


def _explains(cause: Cause, told: Rollback) -> bool:
    if cause.version not in (None, told.version) or cause.since > told.at:
        return False
    if cause.until is None:
        return cause.since >= told.entered
    return cause.until >= max(told.entered, told.at - SOON_S)
