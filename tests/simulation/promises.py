"""What must hold at every step, read from record, world and log; and what was seen to happen.

`tests.states.oaths` has the promises that one look can break. Here are those that need more: the
journal as it grows, the calls as they are sent, the lines as they are printed, and true time.
Numbers in brackets are those of the specification (DESIGN §8).
"""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from controller.record.leases import Lease
from controller.record.loading import Loaded
from controller.record.times import micros
from states.desired import closed, desired
from states.machine import TRANSITIONS, State, Trigger
from states.plan import Call, Plan, Serve
from states.release import Application, Order
from states.resending import LAST_WAIT
from states.spec import Spec
from states.world import Endpoint, World
from tests.simulation import situations
from tests.simulation.causes import Rollback
from tests.simulation.changes import Changes
from tests.simulation.log import Log
from tests.simulation.looks import Key, Look, release_of
from tests.simulation.platform import Clock, Platform
from tests.simulation.sending import TOLD_TWICE, Sending
from tests.simulation.stage import START
from tests.simulation.stays import Stays
from tests.simulation.winning import Winning
from tests.states.oaths import check, stale

BLAMED = re.compile(r"[a-z]+: candidate .* evidence ")
"""How a verdict on counts tells why a version goes home."""
ARROWS = {(one.value, source.value, dest.value) for one, source, dest in TRANSITIONS}

Move = tuple[Key, str, str, int]
"""A transition: of which release, the trigger, to which state, and at which step."""


@dataclass
class Told:
    """A release as the journal alone tells of it."""

    state: str
    step: int = 0


@dataclass
class Promises:
    """Watches one run."""

    path: Path
    platform: Platform
    clock: Clock
    poll: timedelta
    situations: Counter[str]
    budget: int
    """Writes that the workspace takes in five minutes."""
    racing: bool
    """There are replicas, and no leases."""
    by_lease: bool
    spec: Spec
    plain: bool
    """Nothing in how the run begins asks for a person."""
    told: dict[Key, Told] = field(default_factory=dict)
    seq: int = 0
    epoch: int = 0
    taken_over: float = 0.0
    """When another replica last began to write."""
    looks: dict[str, Look] = field(default_factory=dict)
    pending: dict[str, tuple[Loaded, Plan, tuple[Call, ...], Lease | None]] = field(
        default_factory=dict
    )
    orders: int = 0
    aborts: set[Key] = field(default_factory=set)
    """Releases that an operator has aborted."""
    entered: dict[Key, float] = field(default_factory=dict)
    """True time at which a release came into its state."""
    moves: list[Move] = field(default_factory=list)
    """Every transition, in their order."""
    false_rollbacks: list[str] = field(default_factory=list)
    """Of good versions: the state each was rolled back from, and why it is said to have been."""
    application: Application | None = None
    """As last committed."""
    changes: list[str] = field(default_factory=list)
    """A trace of what was committed and what happened outside, for those who look for a cause."""

    def __post_init__(self) -> None:
        self.reader = sqlite3.connect(self.path, isolation_level=None)
        platform, seen = self.platform, self.situations
        self.sending = Sending(
            self.reader, platform, self.clock, seen, budget=self.budget, racing=self.racing
        )
        self.log = Log(self.reader, seen, self.by_lease, self.clock)
        self.stays = Stays(platform, self.clock, self.poll)
        self.others = Changes(platform, seen, self.plain)
        self.winning = Winning(platform, self.spec.guards.errors, seen)

    def close(self) -> None:
        """Let go of the file."""
        self.reader.close()

    def note(self, what: str) -> None:
        """Write a line into the trace."""
        self.changes.append(f"{self.platform.stage.now:8.1f} {self.platform.stage.actor}: {what}")

    # What a replica looks at, and what it decides.

    def loaded(self, actor: str) -> None:
        """A replica has read the record."""
        now = self.platform.stage.now
        self.looks[actor] = Look(loaded_at=now, at=now, orders=self.orders)

    def looked(self, before: Application, world: World, plan: Plan) -> None:
        """A replica has decided what to do."""
        actor = self.platform.stage.actor
        look = self.looks[actor]
        look.at, look.before, look.world, look.plan = self.platform.stage.now, before, world, plan
        look.told_at = (world.now - START).total_seconds() - self.clock.offset_s
        check(before, world, plan)
        self._stale_is_nothing(before, world, plan)
        self._difference_is_told(world, plan)
        self._theirs_is_told(before, world, plan)
        self._way_back_is_urgent(world, plan)
        self.sending.followed = self.platform.splits[-1][0] if self.platform.splits else 0.0
        live = plan.application.live
        if live is not None:
            self.stays.deadline(live, live.in_state, "by the record")
        self._pinned_stays(before, plan)
        self._settled_is_true(actor, before, world, plan)

    def _stale_is_nothing(self, before: Application, world: World, plan: Plan) -> None:
        """A lower configuration version never settles anything (S17)."""
        endpoint = world.endpoint
        if not isinstance(endpoint, Endpoint) or not stale(before, endpoint):
            return
        self.situations["stale answer rejected"] += 1
        self.situations["stale answer of a deleted endpoint rejected"] += before.gone is not None
        # What a clock that was set, or a pause of the looks, adds to that proves nothing.
        passed = min(world.now - (before.looked_at or world.now), timedelta(minutes=1))
        long_behind = before.behind is not None and before.behind + passed >= TOLD_TWICE
        settled = any(one.name == "release.settled" for one in plan.events)
        assert long_behind or not settled, "a stale answer settles nothing"

    def _difference_is_told(self, world: World, plan: Plan) -> None:
        """Where the endpoint is not as wanted, it is sent, waited for, or held (S21)."""
        after, endpoint = plan.application, world.endpoint
        wanted, live = desired(after), after.live
        if not isinstance(endpoint, Endpoint) or stale(after, endpoint):
            return
        if wanted is None or endpoint.updating or endpoint.serving == wanted or not after.adopted:
            return
        told = bool(after.change or after.hold or (live is not None and live.hold))
        sent = any(one.kind == "serve" for one in (*plan.calls, *after.attempts))
        assert told or sent, f"it serves {endpoint.serving}, not {wanted}, and nothing is said"

    def _theirs_is_told(self, before: Application, world: World, plan: Plan) -> None:
        """What we never asked for is held and shown, or an abort; it is never undone silently.

        Whether a person set just what a call of ours had asked for that a death kept from being
        sent, nobody can know who finds it written down with an unknown outcome.
        """
        after, endpoint = plan.application, world.endpoint
        if not isinstance(endpoint, Endpoint) or stale(after, endpoint):
            return
        ours = ("serve", str(endpoint.serving)) in self.sending.sends
        known = endpoint.serving in (before.seen, desired(before), desired(after))
        if ours or known or before.seen is None or not after.adopted:
            return
        back = after.live is not None and (after.live.state is State.ROLLED_BACK or after.live.shut)
        answered = before.answer is not None and before.change is not None
        told = after.change is not None or after.hold is not None
        target = str(endpoint.serving)
        unknown = any(one.target == target and one.outcome == "open" for one in before.attempts)
        self.situations["a person set what a lost call had asked for"] += unknown and not told
        assert told or back or answered or unknown, f"nobody is told of {endpoint.serving}"

    def _way_back_is_urgent(self, world: World, plan: Plan) -> None:
        """While users get what was closed to them, the traffic is sent home, and at once (S23)."""
        after, endpoint = plan.application, world.endpoint
        if not isinstance(endpoint, Endpoint) or stale(after, endpoint):
            return
        least = closed(after, endpoint.serving)
        if endpoint.updating or least is None:
            return
        sent = [one for one in after.attempts if one.kind == "serve"][-1:]
        home = {str(desired(after)), str(least)}
        recent = (
            bool(sent)
            and sent[-1].target in home
            and timedelta() <= world.now - sent[-1].at < LAST_WAIT
        )
        first = bool(plan.calls) and plan.calls[0].kind == "serve"
        assert first or recent, "users are not sent home first"

    def _pinned_stays(self, before: Application, plan: Plan) -> None:
        """A plan is fixed at admission, and its guards and steps when it opens (S26)."""
        opened = {
            one.release
            for one in plan.events
            if one.fields.get("trigger") in (Trigger.OPEN, Trigger.ADMIT)
        }
        for old in before.releases:
            mark = (old.version, old.attempt)
            new = release_of(plan.application, mark)
            assert new is not None, f"{old.key} is forgotten"
            assert mark in opened or old.pinned == new.pinned, f"the plan of {old.key} changed"

    def _settled_is_true(self, actor: str, before: Application, world: World, plan: Plan) -> None:
        """What is settled is so, unless somebody changed it since it was looked at (S14, S15)."""
        changed = self.platform.earlier[-1].at if self.platform.earlier else 0.0
        if changed >= self.looks[actor].loaded_at:
            return
        truth, after, shown = self.platform.endpoint, plan.application, world.endpoint
        if isinstance(shown, Endpoint) and shown != truth:
            unknown = not stale(before, shown)
            if unknown and any(one.endpoint == shown for one in self.platform.earlier):
                return  # A stale answer, and nothing newer was seen before: nobody can tell.
        for event in plan.events:
            if event.name != "release.settled" or event.release is None:
                continue
            release = release_of(after, event.release)
            assert release is not None, f"{event.release} is settled, and is not there"
            entity = after.entity(release.version)
            weight = truth.serving.weight(entity) if isinstance(truth, Endpoint) else 0
            if release.state is State.ROLLED_BACK and release.version != after.incumbent:
                assert weight == 0, f"{release.key} is settled as rolled back, and has {weight} %"
            if release.state is State.PRODUCTION:
                assert weight == 100, f"{release.key} is settled in Production, and has {weight} %"

    def ordered(self) -> None:
        """An operator has written into the record."""
        self._fold()
        now = self.platform.stage.now
        for key in self._aborted() - self.aborts:
            self.platform.causes.done("abort", now, key[0])
            self.aborts.add(key)

    def _aborted(self) -> set[Key]:
        """The releases that the record has as aborted."""
        query = "SELECT version, attempt FROM releases WHERE order_ = 'abort'"
        return set(self.reader.execute(query))

    # What is written down.

    def committing(
        self, actor: str, loaded: Loaded, plan: Plan, calls: tuple[Call, ...], lease: Lease | None
    ) -> None:
        """A replica is about to write, with what it proves its lease by."""
        self.pending[actor] = loaded, plan, calls, lease

    def dropped(self, actor: str, *, conflict: bool) -> None:
        """It wrote nothing, or is through with it."""
        self.pending.pop(actor, None)
        if conflict:
            ordered = self.looks[actor].orders < self.orders
            self.situations["order mid-pass" if ordered else "conflict of replicas"] += 1

    def committed(self, actor: str) -> None:
        """A transaction of a replica has become true."""
        rows = self._fold()
        pending = self.pending.pop(actor, None)
        if pending is None:
            return
        loaded, plan, wanted, lease = pending
        self._by_the_holder(actor, lease)
        self.stays.written(actor, lease, self.looks[actor], plan)
        assert self._aborted() <= self.aborts, f"{actor} has aborted what no operator did (S4)"
        self.application = after = plan.application
        anew = any(row.get("from_state") == State.REGISTERED.value for row in rows)
        calls = self.sending.written(actor, after, wanted, anew=anew)
        self._no_way_up(after, calls)
        self.winning.given(after, self.looks[actor].serving, calls)
        for row in rows:
            self._moved(actor, loaded.application, after, row)

    def _by_the_holder(self, actor: str, lease: Lease | None) -> None:
        """Where there are leases, nobody commits but who has one that is not over (S16)."""
        query = (
            "SELECT leases.replica, epoch, until FROM leases LEFT JOIN replicas "
            "ON replicas.name = leases.replica WHERE application NOT LIKE '$%'"
        )
        for holder, epoch, until in self.reader.execute(query):
            assert epoch >= self.epoch, f"epoch {epoch} came after {self.epoch}"
            if epoch > self.epoch > 0:
                self.situations["takeover"] += 1
                self.taken_over = self.platform.stage.now
            assert holder is not None, f"{actor} writes, and nobody has the lease"
            assert holder.startswith(actor), f"{actor} writes, and {holder} has the lease"
            assert until > micros(self.clock()), f"{actor} writes, and its lease is over"
            assert lease is not None, f"{actor} writes, and proves no lease"
            self.epoch = epoch

    def _fold(self) -> list[dict[str, Any]]:
        """Read on in the journal: no number is missing, no arrow is invented (S10, S11)."""
        query = (
            "SELECT seq, event, release, attempt, fields FROM journal WHERE seq > ? ORDER BY seq"
        )
        found: list[dict[str, Any]] = []
        for seq, event, release, attempt, fields in self.reader.execute(query, (self.seq,)):
            assert seq == self.seq + 1, f"the journal goes from {self.seq} to {seq}"
            self.seq = seq
            row = {**json.loads(fields), "event": event}
            if release is not None:
                row["key"] = release.rsplit("/", 1)[-1], attempt
                self._learn(row["key"], row)
            found.append(row)
        self._state_table_is_told()
        return found

    def _learn(self, key: Key, row: Mapping[str, Any]) -> None:
        event = row["event"]
        if event == "release.registered":
            adopted = "adopted" in row
            self.told[key] = Told(State.PRODUCTION.value if adopted else State.REGISTERED.value)
        elif event == "release.transition":
            told = self.told[key]
            arrow = row["trigger"], row["from_state"], row["to_state"]
            assert arrow in ARROWS, arrow
            assert told.state == arrow[1], f"{key} goes from {arrow[1]}, and was {told.state}"
            rise = row["step"] - told.step
            assert rise <= 1, f"{key} jumps from step {told.step} to {row['step']}"
            self.told[key] = Told(arrow[2], row["step"])

    def _state_table_is_told(self) -> None:
        """Folding the journal gives the state table (S11), with at most one live (S9)."""
        query = "SELECT version, attempt, state, live FROM releases"
        live = 0
        for version, attempt, state, alive in self.reader.execute(query):
            known = self.told.get((version, attempt))
            told = known.state if known else "nothing"
            assert told == state, f"version {version} is {state}, and the journal says {told}"
            live += alive
        assert live <= 1, "two releases are live"

    def _no_way_up(self, after: Application, calls: tuple[Call, ...]) -> None:
        """No call that is written down after a rollback raises that version (S13)."""
        for call in calls:
            if not isinstance(call, Serve):
                continue
            if after.live is not None and after.live.pinned and after.live.pinned.baseline:
                entity = after.entity(after.live.pinned.baseline)
                assert entity in call.serving.shares, "the way back is not served (S2)"
            for (version, attempt), told in self.told.items():
                newest = max(number for one, number in self.told if one == version)
                back = told.state == State.ROLLED_BACK.value and attempt == newest
                if back and version != after.incumbent:
                    assert call.serving.weight(after.entity(version)) == 0, (version, call.target)

    def _moved(
        self, actor: str, before: Application, after: Application, row: Mapping[str, Any]
    ) -> None:
        """Count what happened, and hold the stays against true time (S5)."""
        event, key = row["event"], row.get("key")
        if event in ("release.transition", "release.settled", "release.confirmed", "release.held"):
            self.note(f"{event} {key} {row.get('to_state', '')} {row['because'][:150]}")
        elif event == "endpoint.foreign_change":
            self.note(f"{event} {row['because'][:200]}")
            self.others.told(actor, self.looks[actor], before, after)
        situations.count(self.situations, before, row)
        self._nobody_is_called_in_vain(after, row)
        if key is None:
            return
        release = release_of(after, key)
        assert release is not None, f"{key} is told of, and is not there"
        self.winning.told(release, row)
        if event == "release.settled":
            self.stays.settled.setdefault(key, self.looks[actor].loaded_at)
        elif event in ("release.transition", "release.confirmed"):
            self._ordered_to_run(key, row)
            self.stays.ended(self.looks[actor], before, release, row, self.taken_over)
        if event != "release.transition":
            return
        self.stays.settled.pop(key, None)
        self.moves.append((key, row["trigger"], row["to_state"], row["step"]))
        if row["to_state"] == State.ROLLED_BACK.value:
            self._had_to_be(actor, before, key, row)
        self.entered[key] = self.platform.stage.now

    def _nobody_is_called_in_vain(self, after: Application, row: Mapping[str, Any]) -> None:
        """A hold that asks for a person is for something that has happened."""
        if row["event"] not in ("release.held", "endpoint.foreign_change"):
            return
        release = release_of(after, row["key"]) if row.get("key") else None
        if after.hold == row["because"] or (release is not None and release.needs_person):
            self.others.calls_for_a_person(row["because"], self.platform.draws.struck)

    def _had_to_be(self, actor: str, before: Application, key: Key, row: Mapping[str, Any]) -> None:
        """No good version goes home, but for what people or faults have truly done to it.

        A verdict on counts may be wrong by chance, and an old call may arrive late: of such there
        are few (`campaign.FALSELY`).
        """
        look, old = self.looks[actor], release_of(before, key)
        replay = old.plan.replay if old is not None and old.state is State.TESTING else None
        told = Rollback(
            version=key[0],
            entered=self.entered.get(key, 0.0),
            at=look.at,
            weight=old.weight if old is not None else 0,
            serving=look.serving,
            because=row["because"],
            stood=self.stays.stood(old, look.at - self.entered.get(key, 0.0)) if old else 0.0,
            needed=replay.within.total_seconds() if replay is not None else 0.0,
            truly=now.serving if isinstance(now := self.platform.endpoint, Endpoint) else None,
        )
        if not self.platform.good(key[0]):
            return
        excuse = self.platform.causes.excuse(told)
        self.situations[f"good version rolled back for {excuse}"] += bool(excuse)
        if not excuse:
            self.false_rollbacks.append(f"from {row['from_state']}: {told.because}")
            by_chance = BLAMED.match(told.because) is not None
            by_chance = by_chance or self.platform.causes.by_a_late_call(told)
            assert by_chance, f"good {key} is rolled back {self.false_rollbacks[-1]}"

    def _ordered_to_run(self, key: Key, row: Mapping[str, Any]) -> None:
        """Nothing rises against an order, however late that was given (S4)."""
        if row.get("trigger") not in (Trigger.OPEN, Trigger.STEP, Trigger.PROMOTE):
            return
        [(order,)] = self.reader.execute(
            "SELECT order_ FROM releases WHERE version = ? AND attempt = ?", key
        )
        assert order == Order.RUN.value, f"{key} rises, and was told to {order}"

    # What comes of calls, and of replicas.

    def refused(self, call: Call) -> None:
        """The workspace did not take a call."""
        live = self.application.live if self.application else None
        if isinstance(call, Serve) and live is not None and live.state is State.ROLLED_BACK:
            self.situations["409 during a rollback"] += 1

    def died(self, actor: str) -> None:
        """A replica is dead."""
        self.sending.died(actor)
        self.log.died(actor)
        self.stays.died(actor)
