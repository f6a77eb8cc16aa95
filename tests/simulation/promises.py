"""What must hold at every step, read from record, world and log; and what was seen to happen.

`tests.states.oaths` has the promises that one look can break. Here are those that need more: the
journal as it grows, the calls as they are sent, the lines as they are printed, and true time.
Numbers in brackets are those of the specification (DESIGN §8).
"""

import json
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from controller.record.codec import call_json
from controller.record.leases import Lease
from controller.record.loading import Loaded
from controller.record.times import micros
from states.applying import edited
from states.desired import closed, desired
from states.gates import promoted
from states.machine import TRANSITIONS, State, Trigger
from states.plan import Call, Plan, RemoveStaging, Serve
from states.release import Application, Order, Release
from states.resending import LAST_WAIT, RESENDS
from states.world import Endpoint, World
from tests.simulation.causes import Rollback
from tests.simulation.platform import Clock, Platform
from tests.simulation.stage import START
from tests.states.oaths import check

BLAMED = re.compile(r"[a-z]+: candidate .* evidence ")
"""How a verdict on counts tells why a version goes home."""
TOLD_TWICE = timedelta(minutes=10)
GUARD_S, RECENTLY_S = 20.0, 120.0
WINDOW_S = 300.0
WRITES = ("serve", "apply", "gateway", "capture", "create_staging")
"""Calls that Databricks counts."""
ARROWS = {(one.value, source.value, dest.value) for one, source, dest in TRANSITIONS}

Key = tuple[str, int]
"""Version and attempt."""
Move = tuple[Key, str, str, int]
"""A transition: of which release, the trigger, to which state, and at which step."""
Stay = tuple[Key, State, bool]
"""A release in a state; and whether on its staging endpoint."""


@dataclass
class Told:
    """A release as the journal alone tells of it."""

    state: str
    step: int = 0


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
    told: dict[Key, Told] = field(default_factory=dict)
    settled: dict[Key, float] = field(default_factory=dict)
    """True time of the first look by which a release was settled in its state and step."""
    seq: int = 0
    epoch: int = 0
    taken_over: float = 0.0
    """When another replica last began to write."""
    looks: dict[str, Look] = field(default_factory=dict)
    pending: dict[str, tuple[Loaded, Plan, tuple[Call, ...], Lease | None]] = field(
        default_factory=dict
    )
    sends: Counter[tuple[str, str]] = field(default_factory=Counter)
    printed: Counter[int] = field(default_factory=Counter)
    writes: list[tuple[float, int]] = field(default_factory=list)
    """Of the calls that Databricks counts: when each was written down, and its number."""
    last_call: int = 0
    stays: dict[Stay, float] = field(default_factory=lambda: defaultdict(float))
    """True seconds in a state that count towards its deadline."""
    counted_at: float = 0.0
    """True time of the last look that was written down."""
    jumps: int = 0
    calm: int = 0
    """How often the clock had jumped by then, and looks since: one of them may span a jump."""
    unsent: dict[str, int] = field(default_factory=dict)
    """Calls that a replica has written down, and not begun to send."""
    under_way: set[str] = field(default_factory=set)
    """Replicas that wait for the answer to a call."""
    asked: list[tuple[float, str, str]] = field(default_factory=list)
    """Calls that were written down: when, kind and target."""
    followed: float = 0.0
    """When the endpoint last came to serve something else."""
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
        self.followed = self.platform.splits[-1][0] if self.platform.splits else 0.0
        live = plan.application.live
        if live is not None:
            self._deadline(live, live.in_state, "by the record")
        self._pinned_stays(before, plan)
        self._settled_is_true(actor, before, world, plan)

    def _stale_is_nothing(self, before: Application, world: World, plan: Plan) -> None:
        """A lower configuration version never settles anything (S17)."""
        endpoint = world.endpoint
        if not isinstance(endpoint, Endpoint) or endpoint.config_version >= before.config_version:
            return
        self.situations["stale answer rejected"] += 1
        long_behind = (
            before.behind_since is not None and world.now - before.behind_since >= TOLD_TWICE
        )
        settled = any(one.name == "release.settled" for one in plan.events)
        assert long_behind or not settled, "a stale answer settles nothing"

    def _difference_is_told(self, world: World, plan: Plan) -> None:
        """Where the endpoint is not as wanted, it is sent, waited for, or held (S21)."""
        after, endpoint = plan.application, world.endpoint
        wanted, live = desired(after), after.live
        if not isinstance(endpoint, Endpoint) or endpoint.config_version < after.config_version:
            return
        if wanted is None or endpoint.updating or endpoint.serving == wanted or not after.adopted:
            return
        told = bool(after.change or after.hold or (live is not None and live.hold))
        sent = any(one.kind == "serve" for one in (*plan.calls, *after.attempts))
        assert told or sent, f"it serves {endpoint.serving}, not {wanted}, and nothing is said"

    def _theirs_is_told(self, before: Application, world: World, plan: Plan) -> None:
        """What we never asked for is held and shown, or an abort; it is never undone silently."""
        after, endpoint = plan.application, world.endpoint
        if not isinstance(endpoint, Endpoint) or endpoint.config_version < after.config_version:
            return
        ours = ("serve", str(endpoint.serving)) in self.sends
        known = endpoint.serving in (before.seen, desired(before), desired(after))
        if ours or known or before.seen is None or not after.adopted:
            return
        back = after.live is not None and (after.live.state is State.ROLLED_BACK or after.live.shut)
        answered = before.answer is not None and before.change is not None
        told = after.change is not None or after.hold is not None
        assert told or back or answered, f"nobody is told of {endpoint.serving}"

    def _way_back_is_urgent(self, world: World, plan: Plan) -> None:
        """While users get what was closed to them, the traffic is sent home, and at once (S23)."""
        after, endpoint = plan.application, world.endpoint
        if not isinstance(endpoint, Endpoint) or endpoint.config_version < after.config_version:
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

    def _deadline(self, live: Release, stay: timedelta, by: str) -> None:
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

    def _true_stay(self, actor: str, plan: Plan) -> None:
        """Of the looks that are written down, add up how long a release is in its state.

        What the record counts itself is not asked; but time stops for what it stops for there.
        """
        look = self.looks[actor]
        if plan is not look.plan or look.before is None or look.world is None:
            return  # Decided without a look.
        since, self.counted_at = self.counted_at, look.told_at
        self.calm = self.calm + 1 if self.jumps == len(self.clock.jumps) else 0
        self.jumps = len(self.clock.jumps)
        before, after = look.before.live, plan.application.live
        if before is None or self.calm <= 1 or not _counts(look.before, before, look.world):
            return
        stay, most = _stay(before), 2 * self.poll.total_seconds()
        self.stays[stay] += min(max(look.told_at - since, 0.0), most)
        if after is not None and _stay(after) == stay:
            self._deadline(after, timedelta(seconds=self.stays[stay]), "of true time")

    def _pinned_stays(self, before: Application, plan: Plan) -> None:
        """A plan is fixed at admission, and its guards and steps when it opens (S26)."""
        opened = {
            one.release
            for one in plan.events
            if one.fields.get("trigger") in (Trigger.OPEN, Trigger.ADMIT)
        }
        for old in before.releases:
            mark = (old.version, old.attempt)
            new = next(
                one for one in plan.application.releases if (one.version, one.attempt) == mark
            )
            assert mark in opened or old.pinned == new.pinned, f"the plan of {old.key} changed"

    def _settled_is_true(self, actor: str, before: Application, world: World, plan: Plan) -> None:
        """What is settled is so, unless somebody changed it since it was looked at (S14, S15)."""
        changed = self.platform.earlier[-1][0] if self.platform.earlier else 0.0
        if changed >= self.looks[actor].loaded_at:
            return
        truth, after, shown = self.platform.endpoint, plan.application, world.endpoint
        if isinstance(shown, Endpoint) and shown != truth:
            unknown = shown.config_version >= before.config_version
            if unknown and any(one == shown for _, one in self.platform.earlier):
                return  # A stale answer, and nothing newer was seen before: nobody can tell.
        for event in plan.events:
            if event.name != "release.settled" or event.release is None:
                continue
            release = _release(after, event.release)
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
        calls = wanted[: self._written()]  # for the others there was no room
        self._by_the_holder(actor, lease)
        self._true_stay(actor, plan)
        assert self._aborted() <= self.aborts, f"{actor} has aborted what no operator did (S4)"
        self.application = plan.application
        self.unsent[actor] = len(calls)
        others = self.under_way - {actor}
        self.situations["commit while another's call is under way"] += bool(others)
        if any(row.get("from_state") == State.REGISTERED.value for row in rows):
            self.asked.clear()  # Another attempt asks anew, what an earlier one may have asked too.
        self._resends(calls)
        self._no_way_up(plan.application, calls)
        for row in rows:
            self._moved(actor, loaded.application, plan.application, row)
        self._budget()

    def _written(self) -> int:
        """How many calls were just written down."""
        query = "SELECT id, kind FROM calls WHERE id > ? ORDER BY id"
        found = self.reader.execute(query, (self.last_call,)).fetchall()
        now = self.platform.stage.now
        self.writes += [(now, number) for number, kind in found if kind in WRITES]
        self.last_call = max([self.last_call, *(number for number, _ in found)])
        return len(found)

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

    def _resends(self, calls: tuple[Call, ...]) -> None:
        """A call without effect is written down three times in ten minutes at most (S19).

        But on the way back, which is tried for as long as it takes.
        """
        now, live = self.platform.stage.now, self.application and self.application.live
        since = max(now - TOLD_TWICE.total_seconds(), self.followed)
        self.asked += [(now, call.kind, call.target) for call in calls]
        for call in calls:
            if isinstance(call, RemoveStaging):
                known = f"{call.id} was not made by us, and is to be deleted"
                assert call.id in self.platform.made, known
        if live and (live.state is State.ROLLED_BACK or live.shut):
            return
        if any(at >= since for at in self.clock.jumps):
            return
        for call in calls:
            same = sum(one[0] > since and one[1:] == (call.kind, call.target) for one in self.asked)
            many = same if isinstance(call, Serve) else 0
            assert many <= 1 + RESENDS, f"{call.kind} {call.target} was asked {many} times"

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
        self._count(before, row)
        if key is None:
            return
        release = _release(after, key)
        if event == "release.settled":
            self.settled.setdefault(key, self.looks[actor].loaded_at)
        elif event in ("release.transition", "release.confirmed"):
            self._ordered_to_run(key, row)
            self._stayed(actor, before, release, row)
        if event != "release.transition":
            return
        self.settled.pop(key, None)
        self.moves.append((key, row["trigger"], row["to_state"], row["step"]))
        if row["to_state"] == State.ROLLED_BACK.value:
            self._had_to_be(actor, before, key, row)
        self.entered[key] = self.platform.stage.now

    def _had_to_be(self, actor: str, before: Application, key: Key, row: Mapping[str, Any]) -> None:
        """No good version goes home, but for what people or faults have truly done to it.

        A verdict on counts may be wrong by chance, and an old call may arrive late: of such there
        are few (`campaign.FALSELY`).
        """
        look, old = self.looks[actor], _release(before, key)
        seen = look.world.endpoint if look.world is not None else None
        told = Rollback(
            version=key[0],
            entered=self.entered.get(key, 0.0),
            at=look.at,
            weight=old.weight,
            serving=seen.serving if isinstance(seen, Endpoint) else None,
            because=row["because"],
            truly=now.serving if isinstance(now := self.platform.endpoint, Endpoint) else None,
        )
        if self.platform.good(key[0]) and not self.platform.causes.excuse(told):
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

    def _stayed(
        self, actor: str, before: Application, release: Release, row: Mapping[str, Any]
    ) -> None:
        old = next(
            (
                one
                for one in before.releases
                if (one.version, one.attempt) == (release.version, release.attempt)
            ),
            None,
        )
        if old is None or old.pinned is None or self.settled.get(row["key"]) is None:
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
        since = self.settled[row["key"]]
        jumps = sum(at >= since for at in self.clock.jumps)
        slack = 2 * self.poll.total_seconds() * jumps + 1
        true = self.looks[actor].at - since
        assert true >= least.total_seconds() - slack, (
            f"{release.key} stayed {true:.0f} s in {old.state} at step {old.step}, not {least}"
        )
        # Whoever takes over cannot know what of a leap the one before it has made good.
        known = not jumps or self.taken_over < since
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

    def _budget(self) -> None:
        """So many writes in five minutes and no more (S19), by true time.

        The record's own times tell no new process what was sent before its clock was set.
        """
        now = self.platform.stage.now
        recent = [number for at, number in self.writes if at > now - WINDOW_S]
        if len(recent) <= self.budget or any(at > now - WINDOW_S for at in self.clock.jumps):
            return
        query = "SELECT count(*) FROM calls WHERE id >= ? AND outcome = 'unsent'"
        [(unsent,)] = self.reader.execute(query, (recent[0],))
        spent = len(recent) - unsent
        assert spent <= self.budget, f"{spent} writes in five minutes, not {self.budget}"

    # What is sent, and what is printed.

    def leaving(self, actor: str) -> None:
        """A call is begun only while the lease is ours for twice its deadline (S18)."""
        now = self.platform.stage.now
        if any(at > now - RECENTLY_S for at in self.clock.jumps):
            return
        query = (
            "SELECT leases.replica, until FROM leases LEFT JOIN replicas "
            "ON replicas.name = leases.replica WHERE application NOT LIKE '$%'"
        )
        for holder, until in self.reader.execute(query):
            assert (holder or "").startswith(actor), (
                f"{actor} begins a call, {holder} has the lease"
            )
            left = (until - micros(self.clock())) / 1e6
            assert left >= GUARD_S, f"{actor} begins a call, with {left:.0f} s of its lease left"

    def sent(self, call: Call, actor: str) -> None:
        """A call leaves: it was written down, and for each row it leaves once (S7)."""
        self.unsent[actor] = 0
        self.note(f"sends {call.kind} {call.target}")
        self.sends[call.kind, call.target] += 1
        [(rows,)] = self.reader.execute(
            "SELECT count(*) FROM calls WHERE kind = ? AND target = ?", (call.kind, call.target)
        )
        many = self.sends[call.kind, call.target]
        assert many <= rows, f"{call_json(call)} was sent {many} times, and written down {rows}"

    def arrives(self, call: Call) -> None:
        """A call is about to be applied."""
        if isinstance(call, Serve):
            total = sum(one.weight for one in call.serving.shares.values())
            assert total == 100, f"{call.target} does not sum to 100 (S1)"
            self._overtaken(call)

    def _overtaken(self, call: Serve) -> None:
        """Note an old call of a replica that slept.

        A lease stops it, unless it was on its way already: then nobody can, and a version that is
        lowered by it counts as rolled back falsely.
        """
        query = "SELECT target FROM calls WHERE kind = 'serve' ORDER BY id DESC LIMIT 1"
        [(newest,)] = self.reader.execute(query)
        if newest != call.target:
            causes = self.platform.causes
            told = causes.edits if self.racing else causes.overtaken
            told.append((self.platform.stage.now, call.serving))

    def refused(self, call: Call) -> None:
        """The workspace did not take a call."""
        live = self.application.live if self.application else None
        if isinstance(call, Serve) and live is not None and live.state is State.ROLLED_BACK:
            self.situations["409 during a rollback"] += 1

    def died(self, actor: str) -> None:
        """A replica is dead."""
        self.situations["crash between commit and act"] += bool(self.unsent.pop(actor, 0))
        self.situations["crash with a call under way"] += actor in self.under_way
        self.under_way.discard(actor)

    def line(self, line: Mapping[str, Any]) -> None:
        """A line is printed: of what is committed, and as JSON (S12, S25)."""
        seq = line.get("seq")
        if seq is None:
            return
        json.dumps(line, allow_nan=False)
        last = self.last_row
        assert seq <= last, f"line {seq} is printed, and {last} is committed"
        self.printed[seq] += 1
        self.situations["line printed twice"] += self.printed[seq] > 1

    @property
    def last_row(self) -> int:
        """The number of the journal's last row."""
        [(last,)] = self.reader.execute("SELECT value FROM counters WHERE name = 'seq'")
        return int(last)

    def all_printed(self, last: int) -> None:
        """Every row of the journal up to that one was printed at least once (S12)."""
        lost = sorted(set(range(1, last + 1)) - set(self.printed))
        assert not lost, f"lines {lost[:5]} of {last} were never printed"

    # What was seen to happen.

    def _count(self, before: Application, row: Mapping[str, Any]) -> None:
        event, told = row["event"], self.situations
        live = before.live
        state = live.state.value if live else "none"
        if event == "release.transition":
            told[f"{row['trigger']} from {row['from_state']}"] += 1
            if row["trigger"] == Trigger.ROLL_BACK:
                late = any(words in row["because"] for words in OVERDUE)
                told[f"deadline {row['from_state']}"] += late
                told["abort mid-release"] += "aborted" in row["because"]
        elif event == "release.held":
            told[f"held in {state}"] += 1
            told["deadline Canary"] += "undecided after" in row["because"]
            told["deadline RolledBack"] += "not home after" in row["because"]
        elif event in ("endpoint.foreign_change", "fuse.blown", "evidence.blind", "evidence.seen"):
            told[f"{event} in {state}"] += 1
        if live is not None and live.order is Order.PAUSE and event == "gate.verdict":
            told["verdict while paused"] += 1


OVERDUE = ("not ready after", "not through its tests after")


def _stay(live: Release) -> Stay:
    return (live.version, live.attempt), live.state, live.on_staging


def _counts(application: Application, live: Release, world: World) -> bool:
    """Whether time counts towards a deadline: nobody waits for a person, and something is seen."""
    endpoint = world.endpoint
    if endpoint is None:
        return False
    if isinstance(endpoint, Endpoint) and endpoint.config_version < application.config_version:
        return False
    busy = isinstance(endpoint, Endpoint) and endpoint.updating
    asked = live.hold or application.hold or application.change or edited(application)
    return live.order is Order.RUN and not asked and not (busy and live.state is State.TESTING)


def _release(application: Application, key: Key) -> Release:
    return next(one for one in application.releases if (one.version, one.attempt) == key)
