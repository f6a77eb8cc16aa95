"""Runs a system through a release, and counts whom it cost.

Each window is drawn under the weight that holds; what arrives by then is handed over; the answer
sets the next weight. Versions' windows arrive after the lag, the endpoint's minutes after one
minute whatever the lag.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple, Self

from tests.benchmarks.protocol import (
    TICK_S,
    End,
    EndpointMinute,
    Make,
    System,
    Window,
)
from tests.benchmarks.traces import HEALTHY, Effect, Tick, Trace, World

MINUTE_S = 60.0
METRICS_AGE_S = 60.0
"""How old an endpoint's minute is when its metrics tell it."""

WORKERS = 2


class Case(NamedTuple):
    """Releases of one kind: the world, what is wrong with the candidate, the lag, the horizon."""

    world: World
    effect: Effect = HEALTHY
    lag_s: float = 0.0
    horizon_s: float = 1800.0
    to_the_end: bool = True
    """Whether a promoted candidate's requests count until the horizon."""


class Outcome(NamedTuple):
    """One release. Requests are the candidate's since its fault began; times are None for never."""

    rolled_back_s: float | None
    promoted_s: float | None
    exposed: int
    failed: int
    fuses: int


class _Delivery:
    """What has happened and not yet been told."""

    def __init__(self, trace: Trace, lag_s: float, *, past: bool) -> None:
        self._lag_s = lag_s
        self._windows: deque[Window] = deque(trace.past() if past else ())
        self._minutes: deque[EndpointMinute] = deque(trace.day_before() if past else ())
        self._minute = [0, 0]
        for one in tuple(self._windows):
            self._count(one.end_s, one.stable.requests, one.stable.errors)

    def _count(self, end_s: float, requests: int, errors: int) -> None:
        """Add a window to the endpoint's minute, and close it when it is full."""
        self._minute[0] += requests
        self._minute[1] += errors
        if end_s % MINUTE_S == 0:
            self._minutes.append(EndpointMinute(end_s - MINUTE_S, end_s, *self._minute))
            self._minute = [0, 0]

    def add(self, window: Window, drawn: Tick) -> None:
        """A window has closed. The endpoint counts late rows too: they were answered in time."""
        self._windows.append(window)
        requests = drawn.candidate.requests + drawn.stable.requests + drawn.late
        errors = drawn.candidate.errors + drawn.stable.errors + drawn.late_errors
        self._count(window.end_s, requests, errors)

    def arrived(self, now_s: float) -> tuple[list[Window], list[EndpointMinute]]:
        """Take what is old enough by now."""
        windows, minutes = [], []
        while self._windows and self._windows[0].end_s + self._lag_s <= now_s:
            windows.append(self._windows.popleft())
        while self._minutes and self._minutes[0].end_s + METRICS_AGE_S <= now_s:
            minutes.append(self._minutes.popleft())
        return windows, minutes


def release(system: System, case: Case, seed: int) -> Outcome:
    """One release from its first look to its end, or to the horizon."""
    trace = Trace(case.world, case.effect, seed, case.horizon_s)
    delivery = _Delivery(trace, case.lag_s, past=system.wants_past)
    every = int(system.every_s / TICK_S)
    decision = system.look(0.0, *delivery.arrived(0.0))
    exposed = failed = fuses = 0
    promoted_s: float | None = None
    for tick in range(len(trace)):
        end_s = (tick + 1) * TICK_S
        drawn = trace.draw(tick, decision.weight)
        if end_s > case.effect.onset_s:
            exposed, failed = exposed + drawn.exposed, failed + drawn.failed
        if decision.end is not None:
            continue
        window = Window(
            end_s - TICK_S, end_s, decision.weight, drawn.candidate, drawn.stable, drawn.late
        )
        delivery.add(window, drawn)
        if (tick + 1) % every:
            continue
        before, decision = decision, system.look(end_s, *delivery.arrived(end_s))
        fuses += decision.fused and not before.fused
        if decision.end is End.ROLLED_BACK:
            return Outcome(end_s, None, exposed, failed, fuses)
        if decision.end is End.PROMOTED:
            promoted_s = end_s
            if not case.to_the_end:
                break
    return Outcome(None, promoted_s, exposed, failed, fuses)


def _several(make: Make, case: Case, seeds: Sequence[int]) -> list[Outcome]:
    """What one worker does at a time."""
    return [release(make(lag_s=case.lag_s, seed=seed), case, seed) for seed in seeds]


class Arena:
    """Many releases over two processes, in the order of their seeds."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._pool = ProcessPoolExecutor(WORKERS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _shares(self, many: int) -> Iterator[range]:
        """Seeds in pieces, so that both processes end together."""
        size = max(1, min(50, many // (2 * WORKERS)))
        for first in range(0, many, size):
            yield range(
                self._seed * 1_000_000 + first, self._seed * 1_000_000 + min(many, first + size)
            )

    def releases(self, make: Make, case: Case, many: int) -> list[Outcome]:
        """As many releases of this kind; the same seeds for every system."""
        running = [self._pool.submit(_several, make, case, seeds) for seeds in self._shares(many)]
        return [outcome for one in running for outcome in one.result()]
