"""Headgate as a system of the benchmark: its own policies, under the rules of its canary.

What `states/canary.py` does by looking at a workspace is done here on the benchmark's windows, with
the same policies and defaults: harm over the whole release, safety by step, the fuse, its reopening
and `settle`. Wealth is folded on from look to look, as it is the same as folding anew.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from policies.bounds import CLOSES, LEANS, OPENS
from policies.criteria import criteria
from policies.dispersion import clusters
from policies.evidence import Arm, Block, Measure, Tally
from policies.fuse import BLOWS, Fuse, Minute, burning, fuse
from policies.guards import ERRORS, LATENCY, QUANTILES, Guards, History, measures
from policies.onearm import unexceeded
from policies.position import Waiting
from policies.rollout import WHOLE, Rollout
from policies.sequential import harm_after, safety_after, unharmed
from policies.standing import Standing
from policies.wealth import Wealth, binary
from tests.benchmarks.protocol import (
    PROMOTED,
    ROLLED_BACK,
    Counts,
    Decision,
    EndpointMinute,
    Make,
    Window,
    joined,
)

if TYPE_CHECKING:
    from policies.criterion import Criterion

PLAIN = "Headgate"
NO_FUSE = "Headgate, no fuse"
TO_THE_END = "Headgate to the end"
BY_SESSION = "Headgate to the end, sessions"
HELD_BACK = "Headgate, 5 % held back"

LOOK_S = 15.0
"""How often it looks where there is no lag: one look of candidate traffic is granted to it."""
GUARDS = Guards()
ERROR_MARGIN = GUARDS.errors.margin
"""The error guard's margin of the last compared step, absolute."""
LATENCY_MARGIN = 1 + GUARDS.latency.margin
"""The latency guard's: so many times as slow."""
START = datetime(2026, 1, 1, tzinfo=UTC)
ROLLOUT = Rollout()
STEPS = ROLLOUT.steps[:-1]
STAY_S = (ROLLOUT.bake + ROLLOUT.watch).total_seconds()
"""How long it stays at 100 %, before the alias and after it, where the release is followed to its
end."""


class Headgate:
    """One release, judged as the daemon judges it."""

    every_s = LOOK_S
    wants_past = True

    def __init__(
        self,
        *,
        lag_s: float,
        seed: int,
        fused: bool = True,
        sessions: bool = False,
        last: int | None = None,
    ) -> None:
        del lag_s, seed  # it plans with no lag, and draws nothing
        self._has_fuse, self._sessions = fused, sessions
        self._steps = STEPS if last is None else (*STEPS, last)
        self._minutes: list[Minute] = []
        self._criteria: tuple[Criterion, ...] = ()
        self._measures: dict[str, Measure] = {}
        self._standing = Standing.start(())
        self._step, self._span, self._blocks = 0, 0, 0
        self._opened_s, self._shut_s = 0.0, math.inf
        self._covered_s = 0.0
        self._fuse: Fuse | None = None
        self._burnt, self._burning = 0, unexceeded()
        self._retreats = 0
        self._safe: dict[str, tuple[Waiting, Wealth]] = {}

    def look(
        self, now_s: float, windows: Sequence[Window], minutes: Sequence[EndpointMinute]
    ) -> Decision:
        """Judge by what has arrived."""
        self._minutes += [_minute(one) for one in minutes]
        if not self._criteria:
            self._pin(windows)
            return self._open(now_s)
        self._take([one for one in windows if one.start_s >= 0])
        if self._standing.evidence() >= CLOSES:
            return ROLLED_BACK
        if self._shut_s == math.inf and minutes:
            self._watch(now_s, minutes[-1].end_s)
        if self._shut_s < math.inf:
            reopens = self._covered_s >= self._shut_s and self._retreats == 1
            return self._open(now_s) if reopens else Decision(0.0, fused=True)
        return self._climb(now_s)

    def _watch(self, now_s: float, newest_s: float) -> None:
        """Shut on the fuse; what the versions' windows have told of already alarms nobody."""
        if not self._has_fuse or not self._alarmed():
            return
        if self._covered_s >= newest_s:
            self._set_fuse(now_s)
        else:
            self._shut_s, self._retreats = now_s, self._retreats + 1
            self._span += 1

    def _climb(self, now_s: float) -> Decision:
        stayed = now_s - self._opened_s >= ROLLOUT.min_step.total_seconds()
        leans = self._standing.evidence() > LEANS
        if self._step == len(STEPS):
            over = self._covered_s >= self._opened_s + STAY_S
            return PROMOTED if over else Decision(self._weight / 100)
        if stayed and not leans and all(one.evidence >= OPENS for _, one in self._safe.values()):
            self._step += 1
            if self._step == len(self._steps):
                return PROMOTED
            return self._open(now_s)
        return Decision(self._weight / 100)

    @property
    def _weight(self) -> int:
        return self._steps[self._step]

    def _pin(self, past: Sequence[Window]) -> None:
        """What is fixed before the first user: stable's past, the guards, how errors cluster."""
        slow = [one.stable.latencies_ms for one in past if one.stable.latencies_ms.size]
        known = np.concatenate(slow) if slow else np.empty(0)
        latency_ms = tuple(np.quantile(known, QUANTILES).tolist()) if known.size else ()
        counted = [self._numbers(one.stable) for one in past]
        history = History(
            requests=sum(number for number, _ in counted),
            errors=sum(failed for _, failed in counted),
            answers=known.size,
            latency_ms=latency_ms,
        )
        self._measures = measures(GUARDS, history, ROLLOUT.steps)
        sources = {ERRORS: "windows", LATENCY: "windows"}
        dispersion = 1.0 if self._sessions else clusters(self._minutes)
        self._criteria = criteria(GUARDS, self._measures, history, sources, dispersion)
        self._standing = Standing.start(self._criteria)

    def _open(self, now_s: float) -> Decision:
        """Open a step, or open it again: safety and the fuse begin anew."""
        self._opened_s, self._shut_s = now_s, math.inf
        self._span += 1
        self._safe = {
            one.guard: (Waiting(), one.safety(self._weight).unproven(self._weight))
            for one in self._criteria
            if self._step < len(STEPS)
        }
        self._set_fuse(now_s)
        return Decision(self._weight / 100)

    def _set_fuse(self, now_s: float) -> None:
        self._fuse = fuse(self._minutes, START + timedelta(seconds=now_s), self._weight)
        self._burnt, self._burning = len(self._minutes), unexceeded()
        if self._weight == WHOLE and self._standing.before is None:
            self._standing = replace(self._standing, before=self._fuse)

    def _alarmed(self) -> bool:
        if self._fuse is None:
            return False
        since = self._fuse.set_at + timedelta(minutes=1)
        for one in self._minutes[self._burnt :]:
            if one.ends_at >= since:
                self._burning = burning(self._fuse, self._burning, one)
        self._burnt = len(self._minutes)
        return self._burning.evidence >= BLOWS

    def _take(self, windows: Sequence[Window]) -> None:
        """Fold what has arrived: one block for each weight, and each side of `settle`."""
        if windows:
            self._covered_s = windows[-1].end_s
        settled_s = self._opened_s + ROLLOUT.settle.total_seconds()
        stretches: dict[tuple[float, bool], list[Window]] = {}
        for one in windows:
            own = bool(self._safe) and one.start_s >= settled_s and one.weight == self._weight / 100
            stretches.setdefault((one.weight, own), []).append(one)
        for (weight, own), several in stretches.items():
            block = self._block(joined(several), weight, comparable=own)
            self._standing = self._standing.after(block)
            if own:
                self._prove(block)

    def _block(self, window: Window, weight: float, *, comparable: bool) -> Block:
        self._blocks += 1
        return Block(
            number=self._blocks,
            source="windows",
            span=2 * round(100 * weight) + comparable,
            step=self._step + 1,
            comparable=comparable,
            whole=weight == 1,
            opened_at=START + timedelta(seconds=window.start_s),
            closed_at=START + timedelta(seconds=window.end_s),
            candidate=self._arm(window.candidate),
            stable=self._arm(window.stable),
        )

    def _numbers(self, counts: Counts) -> tuple[int, int]:
        """Requests and failures, or sessions and failed ones."""
        if self._sessions:
            return counts.sessions, counts.failed_sessions
        return counts.requests, counts.errors

    def _arm(self, counts: Counts) -> Arm:
        number, failed = self._numbers(counts)
        tallies = {}
        if LATENCY in self._measures:
            edges = np.asarray(self._measures[LATENCY].edges)
            slower = np.searchsorted(edges, counts.latencies_ms, side="left")
            above = np.bincount(slower, minlength=edges.size + 1)[::-1].cumsum()[::-1][1:]
            seen, counted = counts.latencies_ms.size, tuple(int(one) for one in above)
            tallies[LATENCY] = Tally(seen=seen, counts=counted)
        return Arm(requests=number, errors=failed, server_errors=failed, tallies=tallies)

    def _prove(self, block: Block) -> None:
        """Fold a block of the present step into every guard's safety."""
        for one in self._criteria:
            question = one.safety(self._weight)
            waiting, wealth = self._safe[one.guard]
            waiting = waiting.after(block, question.candidate, question.stable)
            if waiting.pair is not None:
                wealth = safety_after(question.comparison, wealth, waiting.pair)
                waiting = Waiting(block.span)
            self._safe[one.guard] = waiting, wealth


def _minute(told: EndpointMinute) -> Minute:
    ends_at = START + timedelta(seconds=told.end_s)
    return Minute(ends_at=ends_at, requests=told.requests, errors=told.errors)


def fold_ms(blocks: int) -> float:
    """Milliseconds to fold a day's blocks, at 5 requests/s, for the error guard's harm."""
    question = criteria(GUARDS, {}, None, {ERRORS: "windows"})[0].harm[0]
    pair = binary(300, 2), binary(5700, 28)
    begun, wealth = time.perf_counter(), unharmed(question.comparison)
    for _ in range(blocks):
        wealth = harm_after(question.comparison, wealth, pair)
    assert math.isfinite(wealth.evidence)
    return 1000 * (time.perf_counter() - begun)


HEADGATE: dict[str, Make] = {
    PLAIN: Headgate,
    NO_FUSE: partial(Headgate, fused=False),
    TO_THE_END: partial(Headgate, last=WHOLE),
    BY_SESSION: partial(Headgate, last=WHOLE, sessions=True),
    HELD_BACK: partial(Headgate, last=WHOLE - 5),
}

FOLD: Callable[[int], float] | None = fold_ms
"""Milliseconds to fold so many one-minute blocks, for one guard."""
