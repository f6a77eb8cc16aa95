"""What deploy/guide/comparison.md says that systems do, seen on them.

Few releases of each kind: only what is so in nearly every release is said here. The shares on that
page are those of `make bench-judging`.
"""

from collections.abc import Sequence
from functools import partial
from statistics import median

import pytest

from tests.benchmarks.arena import Case, Outcome, release
from tests.benchmarks.headgate import Headgate
from tests.benchmarks.peers import STEP_S, STEPS
from tests.benchmarks.peers.argo import Argo, documented
from tests.benchmarks.peers.flagger import Flagger
from tests.benchmarks.peers.sagemaker import Missing, SageMaker, guide
from tests.benchmarks.peers.ztest import RepeatedZ
from tests.benchmarks.protocol import Counts, Decision, End, Make, System, Window
from tests.benchmarks.traces import Effect, World, constant

RAMP_S = STEP_S * len(STEPS)
SEEDS = range(12)


def releases(make: Make, case: Case, seeds: Sequence[int] = SEEDS) -> list[Outcome]:
    return [release(make(lag_s=case.lag_s, seed=seed), case, seed) for seed in seeds]


def after_silence(system: System) -> Decision:
    """What a system says after an hour in which neither version had a request."""
    past = [Window(-60.0, 0.0, 0.0, Counts(), Counts(1000, 5, 1000, 5))]
    decision = system.look(0.0, past if system.wants_past else [], [])
    for place in range(240):
        silent = Window(15.0 * place, 15.0 * (place + 1), decision.weight, Counts(), Counts())
        decision = system.look(silent.end_s, [silent], [])
        if decision.end is not None:
            break
    return decision


@pytest.mark.parametrize(
    ("make", "end"),
    [
        pytest.param(Argo, End.ROLLED_BACK, id="Argo: NaN is a failure"),
        pytest.param(partial(Argo, forgiving=True), End.PROMOTED, id="Argo, NaN passed over"),
        pytest.param(Flagger, End.ROLLED_BACK, id="Flagger: no values is a failed check"),
        pytest.param(SageMaker, End.PROMOTED, id="SageMaker: notBreaching"),
        pytest.param(
            partial(SageMaker, missing=Missing.MISSING), End.PROMOTED, id="SageMaker: missing"
        ),
        pytest.param(
            partial(SageMaker, missing=Missing.BREACHING),
            End.ROLLED_BACK,
            id="SageMaker: breaching",
        ),
        pytest.param(RepeatedZ, End.PROMOTED, id="z-test: nothing is not significant"),
    ],
)
def test_an_hour_of_silence_promotes_or_blames_where_a_clock_does_the_climbing(
    make: Make, end: End
) -> None:
    assert after_silence(make(lag_s=0.0, seed=0)).end is end


def test_an_hour_of_silence_leaves_headgate_on_its_first_step() -> None:
    found = after_silence(Headgate(lag_s=0.0, seed=0))
    assert found == Decision(STEPS[0])


def test_argos_documented_threshold_never_sees_errors_rise_from_half_a_percent_to_three() -> None:
    """At 100 requests/s; Headgate sends every one of these home."""
    case = Case(constant(100.0), Effect(extra=0.025), horizon_s=RAMP_S)
    assert {one.rolled_back_s for one in releases(documented, case)} == {None}
    assert None not in {one.rolled_back_s for one in releases(Headgate, case)}


def test_a_limit_on_errors_sends_home_a_version_that_errs_no_more_than_stable() -> None:
    """Stable fails in 2 % of requests, and so does the candidate; the limits say 1 %."""
    case = Case(World("constant", 100.0, base=0.02), horizon_s=RAMP_S)
    for limited in (Flagger, SageMaker):
        assert None not in {one.rolled_back_s for one in releases(limited, case)}, limited
    assert {one.rolled_back_s for one in releases(Headgate, case)} == {None}


def test_at_one_request_a_second_headgate_does_not_find_what_thresholds_find_nor_promotes_it() -> (
    None
):
    """2 % errors: half an hour at 5 % is 90 candidate requests, and the proof takes hundreds."""
    case = Case(constant(1.0), Effect(extra=0.015), horizon_s=RAMP_S)
    ours, theirs = releases(Headgate, case), releases(Argo, case)
    assert {(one.rolled_back_s, one.promoted_s) for one in ours} == {(None, None)}
    assert sum(one.rolled_back_s is not None for one in theirs) >= len(SEEDS) / 2


def test_two_periods_of_ten_minutes_expose_two_steps_to_whatever_is_wrong() -> None:
    """5 % of 100 requests/s for ten minutes, then 25 %: 18,000 requests before the alarm rings."""
    case = Case(constant(100.0), Effect(extra=0.195), horizon_s=RAMP_S)
    assert median(one.exposed for one in releases(guide, case)) == pytest.approx(18_000, rel=0.02)
