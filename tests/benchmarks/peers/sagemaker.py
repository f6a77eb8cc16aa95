"""SageMaker deployment guardrails: a CloudWatch alarm, looked at while each shift of traffic bakes.

Read in the documentation, as AWS published it in Markdown:

- awsdocs/amazon-sagemaker-developer-guide at 0a58b94, doc_source/deployment-guardrails-*.md: a
  canary is at most half of the new fleet, a linear step 10 to 50 % of it; each shift bakes for
  `WaitIntervalInSeconds`, the one to the whole fleet too; any alarm meanwhile sends all traffic
  back; without alarms nothing does. Its first example: the average of `Invocation4XXErrors` over
  600 s above 1, in 2 periods, missing data not breaching.
- The metric is 1 for each request with that error and 0 for each other
  (doc_source/monitoring-cloudwatch.md), so that its average is a share and never above 1.
- awsdocs/amazon-cloudwatch-user-guide at 05fd32f, doc_source/AlarmThatSendsEmail.md: an alarm
  looks at a few more datapoints than its evaluation periods (5 for 3 in the tables there); the
  latest real ones decide where they are enough, else those that lack are filled in as the alarm
  says. It rings where as many as `DatapointsToAlarm` breach. Of nothing but missing and breaching
  ones, too few to ring, it does not say OK; `missing` rings once the oldest of these is as old as
  `DatapointsToAlarm` ("avoiding premature transitions to alarm state").

How many datapoints it looks at for other lengths, the documentation does not say; here it is always
two more. Only missing data are touched by that.
"""

from collections.abc import Sequence
from enum import Enum
from functools import partial

from tests.benchmarks.peers import STEP_S, STEPS, Schedule, Spans
from tests.benchmarks.protocol import (
    PROMOTED,
    ROLLED_BACK,
    Counts,
    Decision,
    EndpointMinute,
    Window,
    joined,
    total,
)

FURTHER = 2
"""Datapoints that an alarm looks at beyond its evaluation periods."""

LARGEST_CANARY = 0.5
LINEAR_STEPS = (0.1, 0.5)


class State(Enum):
    """An alarm's."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


class Missing(Enum):
    """How an alarm treats missing data; `MISSING` unless told."""

    MISSING = "missing"
    IGNORE = "ignore"
    BREACHING = "breaching"
    NOT_BREACHING = "notBreaching"


class Alarm:
    """`datapoints` out of the latest `periods` must breach; None is a datapoint that is missing."""

    def __init__(self, periods: int, datapoints: int, missing: Missing) -> None:
        self._periods, self._datapoints, self._missing = periods, datapoints, missing
        self._seen: list[bool | None] = [None] * (periods + FURTHER)
        self.state = State.INSUFFICIENT_DATA

    def take(self, breaches: bool | None) -> State:  # noqa: FBT001 - a datapoint
        """Evaluate with one more datapoint."""
        self._seen = [*self._seen[1:], breaches]
        self.state = self._evaluated()
        return self.state

    def _evaluated(self) -> State:
        real = [one for one in self._seen if one is not None][-self._periods :]
        lacking = self._periods - len(real)
        filled = lacking if self._missing is Missing.BREACHING else 0
        if sum(real) + filled >= self._datapoints:
            return State.ALARM
        silent = lacking > 0 and all(real)
        if not silent or self._missing in {Missing.BREACHING, Missing.NOT_BREACHING}:
            return State.OK
        if self._missing is Missing.IGNORE:
            return self.state
        oldest = len(self._seen) - self._seen.index(True) if real else 0
        return State.ALARM if oldest >= self._datapoints else State.INSUFFICIENT_DATA


def canary(size: float) -> tuple[float, float]:
    """The weights of a canary shift: a part of the fleet, then all of it."""
    if not 0 < size <= LARGEST_CANARY:
        raise ValueError(size)
    return size, 1.0


def linear(step: float) -> tuple[float, ...]:
    """The weights of a linear shift, equal steps until all of the fleet."""
    if not LINEAR_STEPS[0] <= step <= LINEAR_STEPS[1]:
        raise ValueError(step)
    whole = int(1 / step + 1e-9)
    shares = tuple(round(step * (place + 1), 9) for place in range(whole))
    return shares if shares[-1] == 1.0 else (*shares, 1.0)


class SageMaker:
    """One alarm on the new fleet's share of errors, or on `both` fleets', while each step bakes.

    A period without requests has no datapoint. The default alarm is that of AWS' own example code
    (one minute, one period, missing not breaching), its threshold read as the 1 % that its 1 must
    mean on an average of zeros and ones.
    """

    wants_past = False

    def __init__(  # noqa: PLR0913 - the alarm's own settings
        self,
        *,
        lag_s: float,
        seed: int,  # noqa: ARG002 - nothing is left to chance
        threshold: float = 0.01,
        period_s: float = 60.0,
        periods: int = 1,
        datapoints: int | None = None,
        missing: Missing = Missing.NOT_BREACHING,
        both: bool = False,
        steps: Sequence[float] = STEPS,
        bake_s: float = STEP_S,
    ) -> None:
        self.every_s = min(60.0, period_s)
        self._threshold, self._both = threshold, both
        self._alarm = Alarm(periods, datapoints or periods, missing)
        self._spans = Spans(period_s)
        self._schedule = Schedule(lag_s, steps, bake_s)

    def look(
        self, now_s: float, windows: Sequence[Window], minutes: Sequence[EndpointMinute]
    ) -> Decision:
        """Evaluate what has become complete, then shift by the clock."""
        del minutes  # CloudWatch's own periods, from the same requests
        for span in self._spans.full(windows):
            if self._alarm.take(self._breaches(joined(span))) is State.ALARM:
                return ROLLED_BACK
        weight = self._schedule.weight(now_s)
        return PROMOTED if weight is None else Decision(weight)

    def _breaches(self, period: Window) -> bool | None:
        seen: Counts = total((period.candidate, period.stable)) if self._both else period.candidate
        return seen.errors / seen.requests > self._threshold if seen.requests else None


guide = partial(SageMaker, period_s=600.0, periods=2)
"""The developer guide's example: 2 periods of 10 minutes; its threshold read as 1 %, too."""
