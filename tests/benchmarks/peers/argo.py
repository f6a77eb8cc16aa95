"""Argo Rollouts: a threshold on the candidate's success rate, and a count of failures.

Read in argoproj/argo-rollouts at 9f8d111 (2026-08-17):

- utils/evaluate/evaluate.go, `EvaluateResult`: with a success condition alone, whatever does not
  meet it has failed. NaN meets no comparison. A condition that cannot be evaluated, such as the
  first element of an empty vector, is an error instead.
- analysis/analysis.go, `assessMetricFailureInconclusiveOrError`: failed when the failures exceed
  `failureLimit`, so one more than the limit; errored when the errors in sequence exceed
  `consecutiveErrorLimit`, 4 unless set (utils/defaults/defaults.go). Both end the release.
- analysis/analysis.go, `runMeasurements`: a success or a failure sets the errors in sequence to 0;
  nothing ever lowers the failures.
- docs/features/analysis.md: success rate >= 0.95 every 5 minutes, failureLimit 3, by PromQL's
  `irate(...[5m])`, which looks at the last two scrapes only.
"""

import math
from collections.abc import Sequence
from enum import Enum
from functools import partial

from tests.benchmarks.peers import STEP_S, STEPS, Schedule, Spans, last
from tests.benchmarks.protocol import (
    PROMOTED,
    ROLLED_BACK,
    TICK_S,
    Decision,
    EndpointMinute,
    Window,
)

ERRORS_IN_SEQUENCE = 4


class Phase(Enum):
    """What an analysis has come to."""

    RUNNING = "Running"
    FAILED = "Failed"
    ERROR = "Error"


class SuccessRate:
    """One metric with a success condition `result[0] >= least` and a failure limit."""

    def __init__(self, least: float, failure_limit: int) -> None:
        self._least, self._limit = least, failure_limit
        self._failures = self._errors = 0

    def measure(self, result: float | None) -> Phase:
        """Take a measurement; None is an empty vector."""
        if result is None:
            self._errors += 1
        else:
            self._errors = 0
            self._failures += not result >= self._least
        if self._errors > ERRORS_IN_SEQUENCE:
            return Phase.ERROR
        return Phase.FAILED if 0 <= self._limit < self._failures else Phase.RUNNING


class Argo:
    """The analysis in the background of a schedule.

    The first measurement is taken after one interval: that is kinder than the default, which
    measures at once, when there is nothing to measure. A window without requests is NaN, for the
    counters are there and do not move; `forgiving` passes over it, as a user would who writes
    `isNaN(result[0]) || ...`.
    """

    wants_past = False

    def __init__(  # noqa: PLR0913 - the template's own settings
        self,
        *,
        lag_s: float,
        seed: int,  # noqa: ARG002 - nothing is left to chance
        least: float = 0.95,
        failure_limit: int = 3,
        interval_s: float = 60.0,
        range_s: float = 60.0,
        forgiving: bool = False,
        steps: Sequence[float] = STEPS,
        step_s: float = STEP_S,
    ) -> None:
        self.every_s = min(60.0, interval_s)
        self._metric = SuccessRate(least, failure_limit)
        self._range_s, self._forgiving = range_s, forgiving
        self._spans = Spans(interval_s)
        self._schedule = Schedule(lag_s, steps, step_s)

    def look(
        self, now_s: float, windows: Sequence[Window], minutes: Sequence[EndpointMinute]
    ) -> Decision:
        """Measure what has become complete, then climb by the clock."""
        del minutes  # it asks about the candidate's own service
        for span in self._spans.full(windows):
            seen = last(span, self._range_s).candidate
            result = 1 - seen.errors / seen.requests if seen.requests else math.nan
            if math.isnan(result) and self._forgiving:
                continue
            if self._metric.measure(result) is not Phase.RUNNING:
                return ROLLED_BACK
        weight = self._schedule.weight(now_s)
        return PROMOTED if weight is None else Decision(weight)


documented = partial(Argo, interval_s=300.0, range_s=TICK_S)
"""The documentation's example, scraped every 15 seconds: its `irate` sees the last window."""
