"""The two-proportion z-test at every look: what many write themselves.

Both versions' counts since the release began, one-sided at 1 % at each look, with nothing paid for
looking again. The formula is the usual one with a pooled rate; 2.326 is the normal distribution's
99th percentile.
"""

import math
from collections.abc import Sequence

from tests.benchmarks.peers import STEP_S, STEPS, Schedule
from tests.benchmarks.protocol import (
    NONE_MS,
    PROMOTED,
    ROLLED_BACK,
    TICK_S,
    Counts,
    Decision,
    EndpointMinute,
    Window,
    total,
)

CRITICAL = 2.3263478740408408


def z_score(candidate: Counts, stable: Counts) -> float:
    """By how many standard errors the candidate fails more often; 0 where nothing can be told."""
    if not candidate.requests or not stable.requests:
        return 0.0
    pooled = (candidate.errors + stable.errors) / (candidate.requests + stable.requests)
    if pooled in {0.0, 1.0}:
        return 0.0
    spread = math.sqrt(pooled * (1 - pooled) * (1 / candidate.requests + 1 / stable.requests))
    return (candidate.errors / candidate.requests - stable.errors / stable.requests) / spread


class RepeatedZ:
    """The test on the counts so far, with each window that arrives."""

    every_s = TICK_S
    wants_past = False

    def __init__(
        self,
        *,
        lag_s: float,
        seed: int,  # noqa: ARG002 - nothing is left to chance
        critical: float = CRITICAL,
        steps: Sequence[float] = STEPS,
        step_s: float = STEP_S,
    ) -> None:
        self._critical = critical
        self._candidate, self._stable = Counts(), Counts()
        self._schedule = Schedule(lag_s, steps, step_s)

    def look(
        self, now_s: float, windows: Sequence[Window], minutes: Sequence[EndpointMinute]
    ) -> Decision:
        """Add what has arrived, and test."""
        del minutes
        for window in windows:
            self._candidate = total(
                (self._candidate, window.candidate._replace(latencies_ms=NONE_MS))
            )
            self._stable = total((self._stable, window.stable._replace(latencies_ms=NONE_MS)))
            if z_score(self._candidate, self._stable) > self._critical:
                return ROLLED_BACK
        weight = self._schedule.weight(now_s)
        return PROMOTED if weight is None else Decision(weight)
