"""What was truly done to a version, by people and by what failed: nothing else excuses a rollback.

The product's own words are no witness, nor is a fault of another time, or of another version: each
is written down here by whoever did it, when it was done.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from states.world import Serving

EDIT, STALE, RACE, LATE_CALL = "edit", "stale answer", "race", "late call"
"""What makes an endpoint look as if somebody had changed it: a person did; an answer is of one that
was deleted since; an old call of replicas that have no leases; and an old call of ours that was on
its way as its lease ended."""
CALL, DELETION = "call", "deletion"
"""Who made what is there, where it was a call of ours, or where somebody took it away."""
EXCUSED = (EDIT, STALE, RACE)
"""Of those, what a version may be sent home for. A late call of ours is our own doing."""
SOON_S = 120.0
"""So long after something has ended, of time that counts, a deadline it has used up may pass."""


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
    stood: float = 0.0
    """Seconds of that state that did not count, as while a person was waited for."""
    needed: float = 0.0
    """Seconds that the rest of that state may take, once nothing fails any more: a replay."""
    truly: Serving | None = None
    """What it serves, whatever that look has shown."""


EXPLAINED: Mapping[str, tuple[str, ...]] = {
    "aborted by the operator": ("abort",),
    "lowered by someone else": (EDIT,),
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
    served: defaultdict[str, list[tuple[float, Serving]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """By what made it look so: what the endpoint served, and when."""

    def serves(self, kind: str, at: float, serving: Serving) -> None:
        """The endpoint serves something, or seems to, for one of those causes."""
        self.served[kind].append((at, serving))

    def served_by(self, serving: Serving, at: float) -> str:
        """What had made the endpoint serve that by then; empty, where nothing was written down."""
        for kind, known in self.served.items():
            if any(since <= at and one == serving for since, one in known):
                return kind
        return ""

    def was(self, kind: str, version: str | None, since: float, until: float) -> bool:
        """Whether something was done to a version in a time."""
        return any(
            one.kind == kind and one.version == version and since <= one.since <= until
            for one in self.known
        )

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
        """All that lasts is over; but a version that is gone stays so, and a slow update slow."""
        for one in self.known:
            if one.until is not None and one.kind not in ("version_gone", "slow_update"):
                one.until = min(one.until, at)

    def excuse(self, told: Rollback) -> str:
        """For what a version had to go home as it is said to; empty, where nothing was so then."""
        kinds = {one for words, all_ in EXPLAINED.items() if words in told.because for one in all_}
        if EDIT in kinds:
            return next((kind for kind in EXCUSED if self._lowered_by(kind, told)), "")
        found = (one for one in self.known if one.kind in kinds and _explains(one, told))
        return next((one.kind for one in found), "")

    def by_a_late_call(self, told: Rollback) -> bool:
        """Whether it was lowered by an old call of ours, which looks like a person's edit."""
        lowered = "lowered by someone else" in told.because
        return lowered and self._lowered_by(LATE_CALL, told)

    def _lowered_by(self, kind: str, told: Rollback) -> bool:
        return any(self._lowered(told, *one) for one in self.served[kind])

    def _lowered(self, told: Rollback, at: float, serving: Serving) -> bool:
        """What was seen is what was done meanwhile: it has fewer users than it should have.

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
    return cause.until >= max(told.entered, told.at - told.stood - told.needed - SOON_S)
