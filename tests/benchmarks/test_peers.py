"""The peers' rules, on cases worked by hand from their sources (named in each peer's module)."""

import math
from functools import partial

import numpy as np
import pytest

from tests.benchmarks.arena import Case, release
from tests.benchmarks.peers.argo import Argo, Phase, SuccessRate, documented
from tests.benchmarks.peers.flagger import FailedChecks, Flagger, passes
from tests.benchmarks.peers.kayenta import (
    QUANTILE,
    WORSE,
    Kayenta,
    Label,
    Rules,
    classify,
    score,
    shift,
)
from tests.benchmarks.peers.sagemaker import (
    Alarm,
    Missing,
    SageMaker,
    State,
    canary,
    guide,
    linear,
)
from tests.benchmarks.peers.ztest import RepeatedZ, z_score
from tests.benchmarks.protocol import NONE_MS, Counts, End, Floats, Make, System, Window
from tests.benchmarks.traces import Effect, constant

PEERS: dict[str, Make] = {
    "Argo": Argo,
    "Argo, documented": documented,
    "Flagger": Flagger,
    "Kayenta": Kayenta,
    "SageMaker": SageMaker,
    "SageMaker, guide": guide,
    "z-test": RepeatedZ,
}


def minutes(*seen: tuple[int, int], weight: float = 0.05) -> list[Window]:
    """Minutes of the candidate's (requests, errors) beside a stable version without errors."""
    return [
        Window(
            60.0 * place,
            60.0 * (place + 1),
            weight,
            Counts(requests, errors, requests, errors),
            Counts(1000, 0, 1000, 0),
        )
        for place, (requests, errors) in enumerate(seen)
    ]


def ends(system: System, windows: list[Window]) -> list[End | None]:
    """What the system says after each minute."""
    return [system.look(one.end_s, [one], []).end for one in windows]


def series(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


# Argo Rollouts


def test_argo_with_a_failure_limit_of_three_fails_at_the_fourth_failure() -> None:
    """analysis.go, assessMetricFailureInconclusiveOrError: failed > failureLimit."""
    metric = SuccessRate(0.95, 3)
    assert [metric.measure(0.9) for _ in range(4)] == [Phase.RUNNING] * 3 + [Phase.FAILED]


def test_argos_failures_are_not_forgiven_by_successes() -> None:
    """analysis.go, runMeasurements: Failed only ever grows."""
    metric = SuccessRate(0.95, 1)
    assert [metric.measure(one) for one in (0.9, 1.0, 1.0, 0.9)][-1] is Phase.FAILED


def test_argo_takes_a_rate_at_the_threshold_for_a_success() -> None:
    """The documented condition is `result[0] >= 0.95`."""
    assert SuccessRate(0.95, 0).measure(0.95) is Phase.RUNNING


def test_argos_limit_is_zero_failures_when_it_is_zero_and_none_when_it_is_negative() -> None:
    """analysis.go: the limit applies from 0 on."""
    assert SuccessRate(0.95, 0).measure(0.9) is Phase.FAILED
    endless = SuccessRate(0.95, -1)
    assert {endless.measure(0.0) for _ in range(50)} == {Phase.RUNNING}


def test_not_a_number_is_a_failure_to_argo() -> None:
    """evaluate.go, EvaluateResult: NaN >= 0.95 is false, and there is no failure condition."""
    assert SuccessRate(0.95, 0).measure(math.nan) is Phase.FAILED


def test_an_empty_answer_is_an_error_to_argo_and_the_fifth_in_sequence_ends_the_analysis() -> None:
    """analysis.go: ConsecutiveError > 4; a measurement in between sets it to 0."""
    metric = SuccessRate(0.95, 3)
    found = [metric.measure(one) for one in (None, None, None, None, 1.0, *[None] * 5)]
    assert found == [Phase.RUNNING] * 9 + [Phase.ERROR]


def test_an_argo_analysis_that_is_stopped_before_it_has_measured_holds_nothing_up() -> None:
    """analysis.go, assessRunStatus: without a measurement, "instructed to stop" is Successful.

    Here the steps take four minutes, and the first measurement would come after five.
    """
    brief = documented(lag_s=0, seed=0, steps=(0.25, 0.5), step_s=120.0)
    assert ends(brief, minutes(*[(100, 100)] * 4)) == [None] * 3 + [End.PROMOTED]


def test_argo_rolls_back_four_bad_minutes_and_a_minute_without_requests_is_bad() -> None:
    bad = minutes((100, 6), (100, 5), (0, 0), (100, 9), (100, 0), (100, 6))
    assert ends(Argo(lag_s=0, seed=0), bad) == [None] * 5 + [End.ROLLED_BACK]
    assert ends(Argo(lag_s=0, seed=0, forgiving=True), bad) == [None] * 6


def test_the_documented_argo_measures_every_five_minutes_and_sees_the_last_scrape() -> None:
    """docs/features/analysis.md: irate over the last two samples, every 5 minutes."""
    quarter = [
        Window(15.0 * i, 15.0 * (i + 1), 0.05, Counts(10, 10 * (i % 20 == 19)), Counts(100))
        for i in range(80)
    ]
    system = documented(lag_s=0, seed=0)
    found = [system.look(60.0 * (i + 1), quarter[4 * i : 4 * i + 4], []).end for i in range(20)]
    assert found == [None] * 19 + [End.ROLLED_BACK]


# Flagger


def test_flagger_rolls_back_one_interval_after_the_check_that_reached_the_threshold() -> None:
    """scheduler.go, advanceCanary: the threshold is looked at before the analysis runs."""
    found = ends(Flagger(lag_s=0, seed=0), minutes(*[(100, 50)] * 6))
    assert found == [None] * 5 + [End.ROLLED_BACK]


def test_flaggers_failed_checks_are_not_forgiven_by_passes() -> None:
    """scheduler.go: SetStatusFailedChecks only ever adds one, until a new revision."""
    checks = FailedChecks(2)
    for passed in (False, True, True):
        checks.take(passed=passed)
    assert not checks.due
    checks.take(passed=False)
    assert checks.due


def test_a_minute_without_requests_is_a_failed_check_to_flagger() -> None:
    """prometheus.go, RunQuery: NaN is ErrNoValuesFound; scheduler_metrics.go returns false."""
    idle = minutes(*[(0, 0)] * 6)
    assert ends(Flagger(lag_s=0, seed=0), idle)[-1] is End.ROLLED_BACK
    assert ends(Flagger(lag_s=0, seed=0, forgiving=True), idle)[-1] is None


@pytest.mark.parametrize(("errors", "passed"), [(10, True), (11, False)])
def test_flagger_wants_99_percent_of_1000_requests(errors: int, passed: bool) -> None:  # noqa: FBT001
    """scheduler_metrics.go: fails if the value is below the minimum, so 99 itself passes."""
    assert passes(100 * (1 - errors / 1000), NONE_MS) is passed


@pytest.mark.parametrize(("slow", "passed"), [(1, True), (2, False)])
def test_flaggers_p99_is_beyond_500_ms_when_two_of_a_hundred_are(slow: int, passed: bool) -> None:  # noqa: FBT001
    """histogram_quantile looks for the bucket that holds rank 99 of 100; 500 is a bucket's edge."""
    latencies = series(*[100.0] * (100 - slow), *[600.0] * slow)
    assert passes(100.0, latencies) is passed


def test_a_failed_check_holds_flagger_on_its_step_for_a_minute() -> None:
    """AdvanceCanary returns after a failed check, before the weight is raised."""
    system = Flagger(lag_s=0, seed=0, step_s=120.0)
    weights = [
        system.look(one.end_s, [one], []).weight
        for one in minutes((100, 0), (100, 50), (100, 0), (100, 0))
    ]
    assert weights == [0.05, 0.05, 0.25, 0.25]


# Kayenta


def test_kayentas_shift_of_two_short_series_spans_all_their_differences() -> None:
    """Four against four: 16 pairs, spread sqrt(16 / 12 x 9) = 3.46; 2.33 of them are all 8.

    So the ends are the extreme differences, 10 - 4 and 40 - 1, and the estimate is midway between
    the 8th and 9th of them, 19 and 26. MannWhitneySuite.scala has the same figures.
    """
    found = shift(series(10, 20, 30, 40), series(1, 2, 3, 4))
    assert tuple(found) == (6.0, 39.0, 22.5)


def _rank_statistic(experiment: Floats, control: Floats) -> float:
    """MannWhitney.scala, wilcoxonDiff at a shift of 0: ranks, corrected, over their spread."""
    from scipy.stats import rankdata  # type: ignore[import-untyped]  # noqa: PLC0415 - a second

    many, others = experiment.size, control.size
    ranks = rankdata(np.concatenate([experiment, control]))
    above = float(ranks[:many].sum()) - many * (many + 1) / 2 - many * others / 2
    times = np.unique(ranks, return_counts=True)[1]
    ties = float((times**3 - times).sum()) / ((many + others) * (many + others - 1))
    spread = math.sqrt(many * others / 12 * (many + others + 1 - ties))
    return (above - math.copysign(0.5, above)) / spread


@pytest.mark.parametrize("seed", range(20))
def test_kayentas_interval_ends_where_its_rank_statistic_meets_the_quantile(seed: int) -> None:
    random = np.random.default_rng(seed)
    experiment, control = random.poisson(3, 12) / 10.0, random.poisson(2, 15) / 10.0
    found = shift(experiment, control)
    assert _rank_statistic(experiment - found.lower + 1e-9, control) >= QUANTILE
    assert _rank_statistic(experiment - found.lower - 1e-9, control) <= QUANTILE
    assert _rank_statistic(experiment - found.upper - 1e-9, control) <= -QUANTILE
    assert _rank_statistic(experiment - found.upper + 1e-9, control) >= -QUANTILE


@pytest.mark.parametrize(
    ("lowest", "label"),
    [
        pytest.param(10.0, Label.HIGH, id="6 is more than a quarter of 22.5"),
        pytest.param(9.0, Label.PASS, id="5 is less than a quarter of 22.5"),
    ],
)
def test_kayenta_tolerates_a_quarter_of_its_own_estimate(lowest: float, label: Label) -> None:
    """MannWhitneyClassifier.scala, calculateBounds: lowerConfidence > 0.25 x |estimate|."""
    assert classify(series(lowest, 20, 30, 40), series(1, 2, 3, 4)) is label


def test_kayenta_passes_the_same_values_in_any_order_and_one_value_everywhere() -> None:
    """MannWhitneyClassifier.scala, classify: sorted values equal; one distinct value."""
    assert classify(series(3, 1, 2), series(1, 2, 3)) is Label.PASS
    assert classify(series(0, 0), series(0, 0, 0)) is Label.PASS


def test_kayenta_calls_two_constants_that_differ_high() -> None:
    """Every difference is 0.2, and 0.2 is more than a quarter of itself."""
    assert classify(series(*[0.2] * 5), series(*[0.0] * 5), WORSE) is Label.HIGH


def test_kayenta_heeds_the_direction_and_the_allowed_increase() -> None:
    """IsHigh needs the ratio of the means, here 25 / 2.5 = 10, to be at least the allowed one."""
    low, high = series(1, 2, 3, 4), series(10, 20, 30, 40)
    assert classify(low, high) is Label.LOW
    assert classify(low, high, Rules(direction="increase")) is Label.PASS
    assert classify(high, low, Rules(direction="decrease")) is Label.PASS
    assert classify(high, low, Rules(allowed_increase=10.0)) is Label.HIGH
    assert classify(high, low, Rules(allowed_increase=10.1)) is Label.PASS


def test_kayenta_is_blind_where_most_minutes_have_no_error() -> None:
    """Of 100 differences 60 are 0, so the estimate and the interval's lower end are 0."""
    assert classify(series(*[0.0] * 6, *[0.5] * 4), series(*[0.0] * 10), WORSE) is Label.PASS


def test_kayenta_without_values_has_nodata_unless_they_are_required_or_replaced() -> None:
    """MannWhitneyClassifier.scala, classify, its first condition."""
    nothing, some = series(math.nan), series(1, 2)
    assert classify(nothing, some) is Label.NODATA
    assert classify(nothing, some, Rules(must_have_data=True)) is Label.NODATA_FAIL
    assert classify(nothing, some, Rules(must_have_data=True, critical=True)) is Label.NODATA
    assert classify(series(), some, Rules(replace_nan=True)) is Label.PASS
    assert classify(nothing, series(0, 0), Rules(replace_nan=True)) is Label.PASS


def test_kayentas_critical_metric_alone_decides_and_nodata_counts_against_it() -> None:
    """WeightedSumScorer.scala, criticalFailures: critical and not Pass."""
    fine = [(Label.PASS, Rules())] * 9
    assert tuple(score([*fine, (Label.HIGH, Rules(critical=True))])) == (0.0, "Fail")
    assert tuple(score([*fine, (Label.NODATA, Rules(critical=True))])) == (0.0, "Fail")
    assert tuple(score([*fine, (Label.HIGH, Rules())])) == (90.0, "Marginal")


def test_kayentas_score_leaves_nodata_out_until_half_of_the_metrics_have_it() -> None:
    """WeightedSumScorer.scala: Nodata is in no group's total; 50 % of all is too many."""
    plain = Rules()
    one_of_three = [(Label.PASS, plain), (Label.PASS, plain), (Label.NODATA, plain)]
    assert score(one_of_three).score == 100.0
    assert score(one_of_three[1:]).verdict == "Fail"
    required = [(Label.PASS, plain), (Label.PASS, plain), (Label.NODATA_FAIL, plain)]
    assert tuple(score(required)) == (66.67, "Fail")


# SageMaker's guardrails, and the CloudWatch alarm that they ask

POINTS = {"0": False, "X": True, "-": None}
STATES = {"ok": State.OK, "rings": State.ALARM, "unknown": State.INSUFFICIENT_DATA}
TREATED = (Missing.MISSING, Missing.IGNORE, Missing.BREACHING, Missing.NOT_BREACHING)


@pytest.mark.parametrize(
    ("datapoints", "seen", "found"),
    [
        (3, "0-X-X", "ok ok ok ok"),
        (3, "0----", "ok ok ok ok"),
        (3, "-----", "unknown kept rings ok"),
        (3, "0XX-X", "rings rings rings rings"),
        (3, "----X", "unknown kept rings ok"),
        (3, "X----", "rings kept rings ok"),
        (2, "0-X-X", "rings rings rings rings"),
        (2, "00X0X", "rings rings rings rings"),
        (2, "0-X--", "ok ok rings ok"),
        (2, "----0", "ok ok rings ok"),
        (2, "----X", "unknown kept rings ok"),
        # "Avoiding premature transitions": as old as the datapoints that it takes.
        (3, "--X--", "rings kept rings ok"),
        (2, "---X-", "rings kept rings ok"),
    ],
)
def test_a_cloudwatch_alarm_treats_missing_data_as_the_tables_of_its_guide_say(
    datapoints: int, seen: str, found: str
) -> None:
    """AlarmThatSendsEmail.md: 3 of 3 and 2 of 3 periods, of 5 datapoints, treated in four ways."""
    for treated, expected in zip(TREATED, found.split(), strict=True):
        for before in State:
            alarm = Alarm(3, datapoints, treated)
            for point in seen[:-1]:
                alarm.take(POINTS[point])
            alarm.state = before
            assert alarm.take(POINTS[seen[-1]]) is STATES.get(expected, before), treated


def test_an_alarm_of_three_periods_rings_in_the_fifth_minute_of_its_guides_figure() -> None:
    """Its first figure: above the threshold in periods 3 to 5, and again in the 9th alone."""
    alarm = Alarm(3, 3, Missing.MISSING)
    states = [alarm.take(POINTS[point]) for point in "00XXX000X0"]
    assert [place for place, state in enumerate(states, start=1) if state is State.ALARM] == [5]


def test_sagemaker_rolls_back_with_the_first_minute_above_its_threshold() -> None:
    """One of one minute, above 1 %: 1 of 100 is not above."""
    found = ends(SageMaker(lag_s=0, seed=0), minutes((100, 0), (100, 1), (100, 2)))
    assert found == [None, None, End.ROLLED_BACK]


def test_the_guides_alarm_needs_two_of_its_ten_minutes_above_the_threshold() -> None:
    """Period 600, EvaluationPeriods 2: nothing is said before minute 20, however bad it is."""
    assert ends(guide(lag_s=0, seed=0), minutes(*[(100, 100)] * 20)) == [None] * 19 + [
        End.ROLLED_BACK
    ]
    spared = minutes(*[(100, 100)] * 10, *[(100, 0)] * 10)
    assert End.ROLLED_BACK not in ends(guide(lag_s=0, seed=0), spared)


def test_the_guides_threshold_of_1_is_never_exceeded_by_an_average_of_zeros_and_ones() -> None:
    """Threshold 1, GreaterThanThreshold, on a metric that is 1 or 0 for each request."""
    literally = guide(lag_s=0, seed=0, threshold=1.0)
    assert End.ROLLED_BACK not in ends(literally, minutes(*[(100, 100)] * 29))


def test_sagemaker_shifts_all_traffic_to_a_fleet_that_nobody_has_measured() -> None:
    """No requests, no datapoint; missing data that do not breach leave the alarm OK."""
    idle = minutes(*[(0, 0)] * 20)
    fleet = partial(SageMaker, lag_s=0, seed=0, steps=canary(0.05))
    assert ends(fleet(), idle) == [None] * 19 + [End.PROMOTED]
    assert ends(fleet(missing=Missing.BREACHING), idle)[0] is End.ROLLED_BACK


def test_an_old_fleet_that_errs_ends_sagemakers_deployment_where_the_alarm_has_both() -> None:
    """deployment-guardrails-configuration.md says so of its first example."""
    window = Window(0.0, 60.0, 0.05, Counts(50, 0, 50, 0), Counts(950, 15, 950, 15))
    assert SageMaker(lag_s=0, seed=0, both=True).look(60.0, [window], []).end is End.ROLLED_BACK
    assert SageMaker(lag_s=0, seed=0).look(60.0, [window], []).end is None


def test_sagemaker_bakes_each_shift_the_last_one_too() -> None:
    """A fifth at a time with 5 minutes each is the guide's linear example: 25 minutes."""
    system = SageMaker(lag_s=0, seed=0, steps=linear(0.2), bake_s=300.0)
    found = [system.look(one.end_s, [one], []) for one in minutes(*[(100, 0)] * 25)]
    assert [one.weight for one in found[::5]] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert [one.end for one in found[-2:]] == [None, End.PROMOTED]


def test_sagemakers_canary_is_half_at_most_and_its_linear_steps_are_10_to_50_percent() -> None:
    assert canary(0.5) == (0.5, 1.0)
    assert linear(0.5) == (0.5, 1.0)
    assert linear(0.3) == (0.3, 0.6, 0.9, 1.0)
    for policy, size in ((canary, 0.51), (linear, 0.05), (linear, 0.51)):
        with pytest.raises(ValueError, match=str(size)):
            policy(size)


# The repeated z-test


def test_the_z_score_of_10_in_100_against_5_in_100() -> None:
    """Pooled 7.5 %: 0.05 / sqrt(0.075 x 0.925 x 0.02) = 1.342."""
    assert z_score(Counts(100, 10), Counts(100, 5)) == pytest.approx(1.3423, abs=1e-4)
    assert z_score(Counts(), Counts(100, 5)) == z_score(Counts(9, 0), Counts(9, 0)) == 0.0


def test_the_repeated_z_test_is_alarmed_by_the_first_error_when_stable_has_none() -> None:
    """1 of 100 against 0 of 1000: 0.01 / sqrt(r (1 - r) x 0.011), r = 1 / 1100, is 3.16."""
    assert ends(RepeatedZ(lag_s=0, seed=0), minutes((100, 1))) == [End.ROLLED_BACK]


# All of them


@pytest.mark.parametrize("make", PEERS.values(), ids=PEERS.keys())
def test_every_peer_rolls_back_a_candidate_that_fails_half_its_requests(make: Make) -> None:
    case = Case(constant(10.0), Effect(extra=0.5))
    found = release(make(lag_s=0.0, seed=1), case, seed=1)
    assert found.rolled_back_s is not None


@pytest.mark.parametrize("make", PEERS.values(), ids=PEERS.keys())
def test_every_peer_judges_late_windows_when_they_come_and_waits_on_its_step(make: Make) -> None:
    """An hour of lag delays the same verdict by an hour at least."""
    case = Case(constant(10.0), Effect(extra=0.9), lag_s=3600.0, horizon_s=4 * 3600.0)
    found = release(make(lag_s=3600.0, seed=1), case, seed=1)
    assert found.rolled_back_s is not None
    assert 3600 < found.rolled_back_s <= 3600 + 1200
