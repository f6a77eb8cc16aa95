"""How long a release is in its state, by true time: never longer than may be, nor too short."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from controller.record.leases import Lease
from states.applying import edited
from states.gates import promoted
from states.machine import State, Trigger
from states.plan import Plan
from states.release import Application, Order, Release
from states.world import Absent, Endpoint, World
from tests.simulation.looks import Key, Look, release_of
from tests.simulation.platform import Clock, Platform
from tests.simulation.stage import START
from tests.states.oaths import stale

Stay = tuple[Key, State, bool]
"""A release in a state; and whether on its staging endpoint."""


@dataclass
class Stays:
    """The clock of all stays in one run."""

    platform: Platform
    clock: Clock
    poll: timedelta
    settled: dict[Key, float] = field(default_factory=dict)
    """True time of the first look by which a release was settled in its state and step."""
    lasted: dict[Stay, float] = field(default_factory=lambda: defaultdict(float))
    """True seconds in a state that count towards its deadline."""
    counted_at: float = 0.0
    """True time of the last look that was written down."""
    jumps: int = 0
    calm: int = 0
    """How often the clock had jumped by then, and looks since: one of them may span a jump."""

    leased: dict[str, Lease | None] = field(default_factory=dict)
    """By replica that lives: by which lease it last wrote down a look."""

    def died(self, actor: str) -> None:
        """A replica knows nothing any more of when it looked."""
        self.leased.pop(actor, None)

    def deadline(self, live: Release, stay: timedelta, by: str) -> None:
        """Nothing stays in Provisioning or Testing beyond its deadline (L2)."""
        if live.pinned is None:
            return
        limits = {
            State.PROVISIONING: live.pinned.provisioning_deadline,
            State.TESTING: live.pinned.testing_deadline,
        }
        if live.on_staging:
            limits[State.PROVISIONING] += live.pinned.testing_deadline
        limit = limits.get(live.state)
        if limit is not None:
            overdue = f"{live.key} is overdue in {live.state}: {stay} {by}, and not {limit}"
            assert stay <= limit + 3 * self.poll, overdue

    def written(self, actor: str, lease: Lease | None, look: Look, plan: Plan) -> None:
        """Of the looks that are written down, add up how long a release is in its state.

        What the record counts itself is not asked; but time stops for what it stops for there.
        Tests have no time while no replica is there: not before the first look of one that has
        begun, or taken over.
        """
        if plan is not look.plan or look.before is None or look.world is None:
            return  # Decided without a look.
        since, self.counted_at = self.counted_at, look.told_at
        self.calm = self.calm + 1 if self.jumps == len(self.clock.jumps) else 0
        self.jumps = len(self.clock.jumps)
        first = actor not in self.leased or self.leased[actor] != lease
        self.leased[actor] = lease
        before, after = look.before.live, plan.application.live
        if first and before is not None and before.state is State.TESTING:
            return
        if before is None or self.calm <= 1 or not _counts(look.before, before, look.world):
            return
        stay, most = _stay(before), 2 * self.poll.total_seconds()
        self.lasted[stay] += min(max(look.told_at - since, 0.0), most)
        if after is not None and _stay(after) == stay:
            self.deadline(after, timedelta(seconds=self.lasted[stay]), "of true time")

    def stood(self, live: Release, passed: float) -> float:
        """Of the true seconds that have passed in its state, those that do not count."""
        return max(passed - self.lasted[_stay(live)], 0.0)

    def ended(
        self,
        look: Look,
        before: Application,
        release: Release,
        row: Mapping[str, Any],
        taken_over: float,
    ) -> None:
        """A release leaves its step or state: it was there as long as it had to be (S5).

        `taken_over` is when another replica last began to write.
        """
        old = release_of(before, (release.version, release.attempt))
        since = self.settled.get(row["key"])
        if old is None or old.pinned is None or since is None:
            return
        word = promoted(old)
        if word is not None and (word.override or row.get("trigger") == Trigger.STEP):
            return  # a person takes the place of the stay
        rollout, trigger = old.pinned.rollout, row.get("trigger")
        if row["event"] == "release.confirmed":
            least = rollout.watch
        elif trigger == Trigger.PROMOTE:
            least = rollout.bake if word is None else min(rollout.bake, rollout.min_step)
        elif trigger == Trigger.STEP and not old.shut:
            least = rollout.min_step
        else:
            return
        jumps = sum(at >= since for at in self.clock.jumps)
        slack = 2 * self.poll.total_seconds() * jumps + 1
        true = look.at - since
        assert true >= least.total_seconds() - slack, (
            f"{release.key} stayed {true:.0f} s in {old.state} at step {old.step}, not {least}"
        )
        # Whoever takes over cannot know what of a leap the one before it has made good.
        known = not jumps or taken_over < since
        # Of what is undone to, users had it before: its bake has no length, and asks for no count.
        undone = trigger == Trigger.PROMOTE and old.pinned.proven
        assert not old.pinned.proven or old.ordered == "undo", f"{release.key} was never proven"
        if trigger != Trigger.STEP and release.sources and known and not undone:
            told = max((self._true(one.closed_at) for one in release.blocks), default=0.0)
            assert told >= since + least.total_seconds() - slack, (
                f"{release.key} ends {old.state}, and was told of its first {told - since:.0f} s"
            )

    def _true(self, closed_at: datetime) -> float:
        """A time of the platform's clock, which never jumps, as true seconds."""
        return (closed_at - START).total_seconds() - self.platform.ahead_s


def _stay(live: Release) -> Stay:
    return (live.version, live.attempt), live.state, live.on_staging


def _counts(application: Application, live: Release, world: World) -> bool:
    """Whether time counts towards a deadline: nobody waits for a person, and something is seen."""
    endpoint = world.endpoint
    if endpoint is None:
        return False
    if isinstance(endpoint, Endpoint) and stale(application, endpoint):
        return False
    busy = isinstance(endpoint, Endpoint) and endpoint.updating
    busy = busy or (isinstance(endpoint, Absent) and not live.on_staging)
    asked = live.hold or application.hold or application.change or edited(application)
    return live.order is Order.RUN and not asked and not (busy and live.state is State.TESTING)
