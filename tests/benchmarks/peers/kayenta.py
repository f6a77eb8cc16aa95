"""Kayenta's judge: a rank test on two time series, with a tolerance around its own estimate.

Read in spinnaker/kayenta at a69573b (2025-04-08):

- kayenta-judge/.../NetflixACAJudge.scala: tolerance 0.25 and confidence 0.98 are constants; NaN is
  removed unless configured to become 0; outliers are kept unless configured.
- kayenta-judge/.../classifiers/metric/MannWhitneyClassifier.scala: no values on a side is Nodata
  (NodataFailMetric if data are required and the metric is not critical), but Pass where NaN
  becomes 0; the same values on both sides, or one distinct value in all, is Pass; High when the
  interval's lower end exceeds the tolerance times the estimate's size and the ratio of the means
  is at least the allowed increase (1 unless set; a ratio with a mean of 0 is NaN and not asked).
- kayenta-mannwhitney/.../MannWhitney.scala: the interval and the estimate are the shifts at which
  the rank statistic, corrected for ties and continuity, meets its quantile and 0.
- kayenta-judge/.../scorers/WeightedSumScorer.scala: a critical metric that did not Pass makes the
  score 0, as do 50 % or more Nodata; a group's score is the share of its metrics that passed.
- .../classifiers/score/ThresholdScoreClassifier.scala: Pass from the pass threshold on, Marginal
  from the marginal one on, else Fail.

The shifts at which the statistic jumps are the differences of pairs, so the interval's ends are
order statistics of these; Kayenta finds the same by bisection. Its noise of one part in 100,000 on
two constant series is left out: it moves no verdict.
"""

import math
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

import numpy as np

from tests.benchmarks.peers import STEP_S, STEPS, Schedule, Spans
from tests.benchmarks.protocol import (
    PROMOTED,
    ROLLED_BACK,
    Counts,
    Decision,
    EndpointMinute,
    Floats,
    Window,
    joined,
)

TOLERANCE = 0.25
QUANTILE = 2.3263478740408408
"""The normal distribution's at 0.99: the upper end of a two-sided 98 %."""

NODATA_PERCENT = 50.0


class Label(Enum):
    """What a metric is classified as."""

    PASS = "Pass"
    HIGH = "High"
    LOW = "Low"
    NODATA = "Nodata"
    NODATA_FAIL = "NodataFailMetric"


class Shift(NamedTuple):
    """The estimated shift from control to experiment, and its interval."""

    lower: float
    upper: float
    estimate: float


class Rules(NamedTuple):
    """A metric's configuration; the defaults are Kayenta's."""

    direction: str = "either"
    critical: bool = False
    must_have_data: bool = False
    replace_nan: bool = False
    allowed_increase: float = 1.0
    allowed_decrease: float = 1.0


PLAIN = Rules()


class Score(NamedTuple):
    """The summary score, 0 to 100, and what it is classified as."""

    score: float
    verdict: str


def shift(experiment: Floats, control: Floats, quantile: float = QUANTILE) -> Shift:
    """The shift and its interval, from the ordered differences of all pairs."""
    differences = np.sort(np.subtract.outer(experiment, control), axis=None)
    many, both = differences.size, experiment.size + control.size
    ties = sum(_cubes(side) for side in (experiment, control))
    spread = math.sqrt(many / 12 * (both + 1 - ties / (both * (both - 1))))
    first = max(0, math.floor(many / 2 - quantile * spread - 0.5))
    return Shift(
        float(differences[first]),
        float(differences[many - 1 - first]),
        float(np.median(differences)),
    )


def _cubes(values: Floats) -> float:
    """What ties within a series take from the rank statistic's variance."""
    times = np.unique(values, return_counts=True)[1].astype(np.float64)
    return float((times**3 - times).sum())


def classify(experiment: Floats, control: Floats, rules: Rules = PLAIN) -> Label:
    """One metric over both series."""
    if rules.replace_nan:
        experiment, control = np.nan_to_num(experiment), np.nan_to_num(control)
    else:
        experiment, control = experiment[~np.isnan(experiment)], control[~np.isnan(control)]
    if not experiment.size or not control.size:
        if rules.replace_nan:
            return Label.PASS
        required = rules.must_have_data and not rules.critical
        return Label.NODATA_FAIL if required else Label.NODATA
    if np.array_equal(np.sort(experiment), np.sort(control)):
        return Label.PASS
    return _compare(experiment, control, rules)


def _compare(experiment: Floats, control: Floats, rules: Rules) -> Label:
    """High and Low need the interval beyond the tolerance, and the means' ratio as allowed."""
    found = shift(experiment, control)
    tolerated = TOLERANCE * abs(found.estimate)
    means = float(experiment.mean()), float(control.mean())
    ratio = means[0] / means[1] if all(means) else math.nan
    if (
        rules.direction != "decrease"
        and found.lower > tolerated
        and not ratio < rules.allowed_increase
    ):
        return Label.HIGH
    if (
        rules.direction != "increase"
        and found.upper < -tolerated
        and not ratio > rules.allowed_decrease
    ):
        return Label.LOW
    return Label.PASS


def score(
    labels: Sequence[tuple[Label, Rules]], passing: float = 95.0, marginal: float = 75.0
) -> Score:
    """The verdict on metrics that form one group of weight 100."""
    if any(rules.critical and label is not Label.PASS for label, rules in labels):
        return Score(0.0, "Fail")
    only = [label for label, _ in labels]
    if 100 * only.count(Label.NODATA) / len(only) >= NODATA_PERCENT:
        return Score(0.0, "Fail")
    told = len(only) - only.count(Label.NODATA)
    summary = round(100 * only.count(Label.PASS) / told, 2)
    verdict = "Pass" if summary >= passing else "Marginal" if summary >= marginal else "Fail"
    return Score(summary, verdict)


WORSE = Rules(direction="increase", critical=True)
"""How the documentation has error rates and latency: only more is bad, and it is critical."""


class Kayenta:
    """The judge over one point a minute since the release began, asked every five.

    It is not asked before the candidate has had requests in five minutes: two or three points
    against as many differ by chance alone, and the documentation wants fifty. The baseline is a
    cell of the candidate's size, as the documentation advises: of the stable version's requests
    of a minute, as many as the candidate had are taken by lot.
    """

    every_s = 60.0
    wants_past = False

    def __init__(
        self,
        *,
        lag_s: float,
        seed: int,
        points: int = 5,
        steps: Sequence[float] = STEPS,
        step_s: float = STEP_S,
    ) -> None:
        self._spans, self._every, self._told = Spans(60.0), points, 0
        self._random = np.random.default_rng((seed, 3))
        self._series: list[tuple[float, float, float, float]] = []
        self._schedule = Schedule(lag_s, steps, step_s)

    def look(
        self, now_s: float, windows: Sequence[Window], minutes: Sequence[EndpointMinute]
    ) -> Decision:
        """Judge at every fifth point, then climb by the clock."""
        del minutes
        for span in self._spans.full(windows):
            minute = joined(span)
            cell = self._cell(minute.stable, minute.candidate.requests)
            self._series.append((*_point(minute.candidate), *_point(cell)))
            self._told += minute.candidate.requests > 0
            due = len(self._series) % self._every == 0 and self._told >= self._every
            if due and self._fails():
                return ROLLED_BACK
        weight = self._schedule.weight(now_s)
        return PROMOTED if weight is None else Decision(weight)

    def _cell(self, stable: Counts, size: int) -> Counts:
        """So many of the stable version's requests, by lot."""
        size = min(size, stable.requests)
        errors = self._random.hypergeometric(stable.errors, stable.requests - stable.errors, size)
        return Counts(size, int(errors), size, int(errors), stable.latencies_ms[:size])

    def _fails(self) -> bool:
        points = np.array(self._series)
        labels = [(classify(points[:, 0], points[:, 2], WORSE), WORSE)]
        if not np.isnan(points[:, 1]).all():
            labels.append((classify(points[:, 1], points[:, 3], WORSE), WORSE))
        return score(labels).verdict == "Fail"


def _point(counts: Counts) -> tuple[float, float]:
    """A minute's error rate and mean latency; NaN for what it had none of."""
    rate = counts.errors / counts.requests if counts.requests else math.nan
    slow = float(counts.latencies_ms.mean()) if counts.latencies_ms.size else math.nan
    return rate, slow
