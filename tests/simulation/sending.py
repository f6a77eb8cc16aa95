"""What is written down to be sent, and what leaves: how often, how much, in which order."""

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

from controller.record.codec import call_json
from controller.record.times import micros
from states.machine import State
from states.plan import Call, RemoveStaging, Serve
from states.release import Application
from states.resending import RESENDS
from tests.simulation.causes import LATE_CALL, RACE
from tests.simulation.platform import Clock, Platform

TOLD_TWICE = timedelta(minutes=10)
GUARD_S, RECENTLY_S = 20.0, 120.0
WINDOW_S = 300.0
WRITES = ("serve", "apply", "gateway", "capture", "create_staging")
"""Calls that Databricks counts."""


@dataclass
class Sending:
    """All calls of one run."""

    reader: sqlite3.Connection
    platform: Platform
    clock: Clock
    situations: Counter[str]
    budget: int
    """Writes that the workspace takes in five minutes."""
    racing: bool
    """There are replicas, and no leases."""
    sends: Counter[tuple[str, str]] = field(default_factory=Counter)
    writes: list[tuple[float, int]] = field(default_factory=list)
    """Of the calls that Databricks counts: when each was written down, and its number."""
    last_call: int = 0
    unsent: dict[str, list[Call]] = field(default_factory=dict)
    """Calls that a replica has written down in its last pass, and not begun to send."""
    idle: set[str] = field(default_factory=set)
    """Replicas that have begun none of them."""
    homeward: set[str] = field(default_factory=set)
    """Replicas that wrote them down to take users home."""
    under_way: set[str] = field(default_factory=set)
    """Replicas that wait for the answer to a call."""
    asked: list[tuple[float, str, str]] = field(default_factory=list)
    """Calls that were written down: when, kind and target."""
    followed: float = 0.0
    """When the endpoint last came to serve something else."""

    def written(
        self, actor: str, after: Application, wanted: tuple[Call, ...], *, anew: bool
    ) -> tuple[Call, ...]:
        """A replica has committed calls; those for which there was room are returned.

        `anew`: of a release that begins.
        """
        spent, calls = self._spent(), wanted[: self._new()]
        if after.taking_back:
            self._home_uses_the_reserve(spent, wanted, len(calls))
        self.unsent[actor] = list(calls)
        self.idle.add(actor)
        (self.homeward.add if after.going_home else self.homeward.discard)(actor)
        others = self.under_way - {actor}
        self.situations["commit while another's call is under way"] += bool(others)
        if anew:
            self.asked.clear()  # Another attempt asks anew, what an earlier one may have asked too.
        self._resends(after, calls)
        self._within_the_budget()
        return calls

    def _new(self) -> int:
        """How many calls were just written down."""
        query = "SELECT id, kind FROM calls WHERE id > ? ORDER BY id"
        found = self.reader.execute(query, (self.last_call,)).fetchall()
        now = self.platform.stage.now
        self.writes += [(now, number) for number, kind in found if kind in WRITES]
        self.last_call = max([self.last_call, *(number for number, _ in found)])
        return len(found)

    def _resends(self, after: Application, calls: tuple[Call, ...]) -> None:
        """A call without effect is written down three times in ten minutes at most (S19).

        But on the way back, which is tried for as long as it takes.
        """
        now, live = self.platform.stage.now, after.live
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

    def outdated(self, call: Call, actor: str) -> None:
        """What a call was for is gone: it was written down, its turn came, and nothing was sent."""
        mark = call.kind, call.target
        self._begun(mark, actor)
        asked = next((one for one in reversed(self.asked) if one[1:] == mark), None)
        if asked is not None:  # what an attempt asked before the present one is not kept
            self.asked.remove(asked)

    def _within_the_budget(self) -> None:
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

    def _spent(self) -> int:
        """Most writes that anybody can know of in the last five minutes, before this commit.

        By true time, also what was written down and not sent; and by the record's times, once its
        clock was set: what is old has recent times there.
        """
        true = sum(at >= self.platform.stage.now - WINDOW_S for at, _ in self.writes)
        if not self.clock.jumps:
            return true
        now, window = micros(self.clock()), int(WINDOW_S * 1e6)
        query = "SELECT kind FROM calls WHERE id <= ? AND at BETWEEN ? AND ?"
        found = self.reader.execute(query, (self.last_call, now - window, now))
        return max(true, sum(kind in WRITES for (kind,) in found))

    def _home_uses_the_reserve(self, spent: int, wanted: tuple[Call, ...], granted: int) -> None:
        """What takes users home is kept back only once all is spent, the reserve as well (S19)."""
        cut = next((at for at in range(granted, len(wanted)) if wanted[at].kind == "serve"), None)
        if cut is None:
            return
        asked = sum(call.kind in WRITES for call in wanted[: cut + 1])
        self.situations["way home kept back"] += 1
        assert spent + asked > self.budget, (
            f"the way home is kept back after {spent} writes in five minutes of {self.budget}"
        )

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
        """A call leaves: it was written down, for each row it leaves once (S7), users first."""
        mark = call.kind, call.target
        self._users_first(call, actor)
        self._begun(mark, actor)
        self.sends[mark] += 1
        [(rows,)] = self.reader.execute(
            "SELECT count(*) FROM calls WHERE kind = ? AND target = ?", mark
        )
        many = self.sends[mark]
        assert many <= rows, f"{call_json(call)} was sent {many} times, and written down {rows}"

    def _begun(self, mark: tuple[str, str], actor: str) -> None:
        waiting = self.unsent.get(actor, ())
        self.unsent[actor] = [one for one in waiting if (one.kind, one.target) != mark]
        self.idle.discard(actor)

    def _users_first(self, call: Call, actor: str) -> None:
        """On the way home no alias leaves before the traffic written down with it (S23)."""
        if call.kind != "alias" or actor not in self.homeward:
            return
        waiting = any(isinstance(one, Serve) for one in self.unsent.get(actor, ()))
        assert not waiting, "the alias is sent home before the users"

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
            kind = RACE if self.racing else LATE_CALL
            self.platform.causes.serves(kind, self.platform.stage.now, call.serving)

    def died(self, actor: str) -> None:
        """A replica is dead."""
        unsent = self.unsent.pop(actor, [])
        self.situations["crash between commit and act"] += bool(unsent) and actor in self.idle
        self.situations["crash with a call under way"] += actor in self.under_way
        self.under_way.discard(actor)
        self.homeward.discard(actor)
