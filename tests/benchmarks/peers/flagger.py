"""Flagger: two thresholds on the candidate's last minute, and a count of failed checks.

Read in fluxcd/flagger at 15bd6ad (2026-07-21):

- pkg/controller/scheduler.go, `advanceCanary`: each interval, first the failed checks are compared
  with the threshold (and the release is rolled back if they reach it), then the analysis runs; a
  failed one adds to the failed checks and returns, so that the weight stays. The rollback
  therefore comes one interval after the check that reached the threshold. A check that passes
  advances the weight and leaves the failed checks as they are; only a new revision sets them to 0.
- pkg/controller/scheduler_metrics.go, `runBuiltinMetricChecks`: `request-success-rate` fails below
  its minimum, `request-duration` above its maximum; a query without values fails too.
- pkg/metrics/providers/prometheus.go, `RunQuery`: NaN is "no values found".
- pkg/metrics/observers/istio.go: the success rate is the share of answers that are not 5xx; the
  duration is the 0.99 quantile of a histogram.
- docs/gitbook/usage/metrics.md: at least 99 %, at most 500 ms, over 1 minute. The documentation's
  canaries have a threshold of 5 or 10; the code's default is 1.
"""

import math
from collections.abc import Sequence

import numpy as np

from tests.benchmarks.peers import STEP_S, STEPS, Spans
from tests.benchmarks.protocol import (
    NONE_MS,
    PROMOTED,
    ROLLED_BACK,
    Decision,
    EndpointMinute,
    Floats,
    Window,
    joined,
)

INTERVAL_S = 60.0
QUANTILE = 0.99


class FailedChecks:
    """The count that decides: `due` tells at an interval's beginning whether to roll back."""

    def __init__(self, threshold: int) -> None:
        self._threshold, self._failed = threshold, 0

    @property
    def due(self) -> bool:
        """Whether the failed checks have reached the threshold."""
        return self._failed >= self._threshold

    def take(self, *, passed: bool) -> None:
        """Count a check."""
        self._failed += not passed


def passes(
    success_percent: float, slow_ms: Floats, least_percent: float = 99.0, most_ms: float = 500.0
) -> bool:
    """Both built-in checks; NaN, which is no value, passes neither.

    A histogram with an edge at `most_ms`, as Istio's has at 500, puts its quantile beyond the edge
    exactly when too few requests lie within it. Without latencies only the success rate is asked.
    """
    if math.isnan(success_percent) or success_percent < least_percent:
        return False
    return bool(np.count_nonzero(slow_ms <= most_ms) >= QUANTILE * slow_ms.size)


class Flagger:
    """Progressive traffic, held up by each failed check.

    Flagger climbs a step with each check that passes. To stay as long on a step as the others do,
    a step here takes as many passing checks as it has minutes, on minutes at that step's weight.
    """

    every_s = INTERVAL_S
    wants_past = False

    def __init__(  # noqa: PLR0913 - the canary's own settings
        self,
        *,
        lag_s: float,  # noqa: ARG002 - a step waits for its own minutes
        seed: int,  # noqa: ARG002 - nothing is left to chance
        least_percent: float = 99.0,
        threshold: int = 5,
        forgiving: bool = False,
        steps: Sequence[float] = STEPS,
        step_s: float = STEP_S,
    ) -> None:
        self._least_percent, self._forgiving = least_percent, forgiving
        self._checks = FailedChecks(threshold)
        self._spans = Spans(INTERVAL_S)
        self._steps, self._needed = steps, int(step_s / INTERVAL_S)
        self._step = self._passed = 0

    def look(
        self, now_s: float, windows: Sequence[Window], minutes: Sequence[EndpointMinute]
    ) -> Decision:
        """One turn for each minute that has arrived."""
        del now_s, minutes
        for span in self._spans.full(windows):
            if self._checks.due:
                return ROLLED_BACK
            self._turn(joined(span))
        if self._step == len(self._steps):
            return PROMOTED
        return Decision(self._steps[self._step])

    def _turn(self, minute: Window) -> None:
        """Check a minute, and climb if it was the last that the step needed."""
        seen = minute.candidate
        if not seen.requests and self._forgiving:
            passed = True
        else:
            percent = 100 * (1 - seen.errors / seen.requests) if seen.requests else math.nan
            slow = seen.latencies_ms if seen.requests else NONE_MS
            passed = passes(percent, slow, self._least_percent)
        self._checks.take(passed=passed)
        if not passed or self._step == len(self._steps):
            return
        self._passed += minute.weight == self._steps[self._step]
        if self._passed == self._needed:
            self._step, self._passed = self._step + 1, 0
