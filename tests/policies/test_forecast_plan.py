"""A forecast says what a step takes, finds and costs; the engine itself is held against it."""

import math
import random
import statistics
from dataclasses import replace
from datetime import timedelta

import pytest

from policies.backtest import Proof
from policies.bounds import CLOSES, OPENS
from policies.criteria import criteria
from policies.criterion import Criterion
from policies.forecast import forecast, pin
from policies.guards import ERRORS, LATENCY, QUANTILES, ErrorGuard, Guards, History, measures
from policies.prospect import (
    Traffic,
    cost,
    failure_found,
    growth,
    smallest_regression,
)
from policies.rollout import Rollout
from policies.splitting import binomial
from policies.standing import Standing
from policies.wealth import START
from tests.policies.counts import arm, block

FIVE = timedelta(minutes=5)
TABLE = {ERRORS: "inference_table", LATENCY: "inference_table"}
GUARDED = criteria(Guards(), {}, None, TABLE)
PAST = History(
    requests=100_000,
    errors=500,
    answers=99_500,
    latency_ms=tuple(100.0 * (index + 1) for index in range(len(QUANTILES))),
)
BUSY = Traffic(requests_per_second=10, lag=timedelta(minutes=15), errors=0.005)


def two() -> tuple[Criterion, ...]:
    return criteria(Guards(), measures(Guards(), PAST, Rollout().steps), PAST, TABLE)


def test_a_step_takes_settle_proof_lag_and_half_a_look() -> None:
    told = forecast(Rollout(), GUARDED, Traffic(requests_per_second=10, lag=BUSY.lag), FIVE)
    first = told.steps[0]
    assert [(need.guard, need.requests) for need in first.needs] == [(ERRORS, 138)]
    assert first.time == timedelta(seconds=60 + 276) + BUSY.lag + FIVE / 2
    assert first.decides


def test_a_step_takes_its_least_stay_where_traffic_is_heavy() -> None:
    told = forecast(Rollout(), GUARDED, Traffic(requests_per_second=1000), timedelta(seconds=30))
    assert [one.time for one in told.steps] == [Rollout().min_step] * 3


@pytest.mark.parametrize(("hold_back", "last"), [(0, 100), (10, 90)])
def test_the_last_step_is_of_all_but_those_who_are_held_back(hold_back: int, last: int) -> None:
    told = forecast(replace(Rollout(), hold_back=hold_back), GUARDED, BUSY, FIVE)
    assert told.last == last


def test_the_slowest_guard_is_named() -> None:
    told = forecast(Rollout(), two(), Traffic(requests_per_second=10), FIVE)
    for one in told.steps:
        needs = {need.guard: need.time or timedelta.max for need in one.needs}
        assert one.slowest == max(needs, key=lambda guard: needs[guard])
        assert set(needs) == {ERRORS, LATENCY}


def test_a_guard_that_only_observes_keeps_nobody_waiting() -> None:
    observing = criteria(Guards(errors=ErrorGuard(observe=True)), {}, None, TABLE)
    told = forecast(Rollout(), observing, BUSY, FIVE)
    assert [one.needs for one in told.steps] == [()] * 3
    assert not any(one.decides for one in told.steps), "time alone opens nothing"
    assert all(one.smallest is None for one in told.steps)


def test_stable_with_errors_of_its_own_makes_the_proof_longer() -> None:
    without = forecast(Rollout(), GUARDED, replace(BUSY, errors=0.0), FIVE).to_whole
    longer = forecast(Rollout(), GUARDED, BUSY, FIVE).to_whole
    assert without is not None
    assert longer is not None
    assert longer > without


def test_a_step_that_cannot_decide_at_stables_own_errors_is_told() -> None:
    """Admission takes stable for one without errors, and keeps the step."""
    told = forecast(Rollout(), GUARDED, replace(BUSY, errors=0.08), FIVE)
    assert told.pinned == Rollout().steps
    assert [one.decides for one in told.steps] == [True, True, False]
    assert told.steps[-1].stay == Rollout().patience
    assert told.stops_at == 50, "there it asks, or goes back: it promises no end"
    assert (told.to_whole, told.to_production, told.to_confirmed) == (None, None, None)


def test_the_forecast_keeps_the_steps_that_admission_keeps() -> None:
    thin = Traffic(requests_per_second=0.02)
    told = forecast(Rollout(), GUARDED, thin, FIVE)
    rollout, because = pin(Rollout(), GUARDED, 0.02)
    assert (told.pinned, told.because) == (rollout.steps, because)
    assert [one.weight for one in told.steps] == [5, 25, 50], "what is left out is shown as well"
    assert not told.steps[0].decides


def test_nothing_is_foretold_of_an_endpoint_without_traffic() -> None:
    told = forecast(Rollout(), GUARDED, Traffic(requests_per_second=0), FIVE)
    assert told.pinned == (100,)
    assert all(one.time is None and one.smallest is None for one in told.steps)
    assert (told.looks, told.warehouse) == (0, timedelta())


def test_the_whole_way_is_the_sum_of_its_parts() -> None:
    told, rollout = forecast(Rollout(), GUARDED, BUSY, FIVE), Rollout()
    late = BUSY.lag + FIVE / 2
    assert told.to_whole == sum((one.stay for one in told.steps), timedelta())
    assert told.to_production == told.to_whole + rollout.bake + late
    assert told.to_confirmed == told.to_production + rollout.watch + late
    assert told.provisioning == 2 * told.to_confirmed


@pytest.mark.parametrize(("every", "awake"), [(1, 1), (5, 5), (30, 11)])
def test_a_look_keeps_the_warehouse_awake_until_the_next_or_its_auto_stop(
    every: int, awake: int
) -> None:
    told = forecast(Rollout(), GUARDED, BUSY, timedelta(minutes=every))
    assert told.warehouse == told.looks * timedelta(minutes=awake)


@pytest.mark.parametrize("weight", [5, 25, 50])
def test_the_proof_comes_about_when_it_was_foretold(weight: int) -> None:
    """Half of the proofs, by the engine itself and with chance in it, come somewhat earlier."""
    steps = forecast(Rollout(), GUARDED, BUSY, FIVE).steps
    (need,) = next(one.needs for one in steps if one.weight == weight)
    drawn = random.Random(weight)  # noqa: S311 - no secret
    taken: list[int] = []
    beside = 40 * (100 - weight) // weight
    for _ in range(60):
        proof, number = Proof(GUARDED[0].safety(weight).unproven(weight)), 0
        while proof.wealth.evidence < OPENS:
            number += 1
            ours = binomial(40, BUSY.errors, drawn.random())
            theirs = binomial(beside, BUSY.errors, drawn.random())
            counted = block(arm(40, ours), arm(beside, theirs), number=number)
            proof = proof.after(GUARDED[0], weight, counted)
        taken.append(40 * number)
    assert need.requests is not None
    assert 0.4 <= statistics.median(taken) / need.requests <= 1.2


@pytest.mark.parametrize("weight", [5, 25, 50])
def test_the_smallest_regression_is_found_about_half_the_time(weight: int) -> None:
    """At the rate that is foretold, expectation alone closes: chance goes either way."""
    requests = 2000
    rate = smallest_regression(GUARDED, requests, weight, BUSY)
    assert rate is not None
    drawn = random.Random(weight)  # noqa: S311 - no secret
    found = 0
    for _ in range(60):
        standing = Standing.start(GUARDED)
        for number in range(1, 41):
            ours = binomial(requests // 40, rate, drawn.random())
            beside = requests // 40 * (100 - weight) // weight
            theirs = binomial(beside, BUSY.errors, drawn.random())
            counted = block(arm(requests // 40, ours), arm(beside, theirs), number=number)
            standing = standing.after(counted)
            if standing.evidence() >= CLOSES:
                found += 1
                break
    assert 0.4 <= found / 60 <= 1.0


def test_more_requests_find_less() -> None:
    rates = [smallest_regression(GUARDED, 10**power, 25, BUSY) for power in (2, 3, 4, 5)]
    assert all(rate is not None for rate in rates)
    assert rates == sorted(rates, key=lambda rate: -(rate or 0.0))
    assert rates[-1] is not None
    assert rates[-1] > BUSY.errors + ErrorGuard().harm_margin


def test_too_few_requests_find_nothing_in_principle() -> None:
    assert smallest_regression(GUARDED, 1, 5, BUSY) is None
    assert smallest_regression((), 10_000, 5, BUSY) is None


def test_the_formula_is_the_one_of_the_engine() -> None:
    """G_j(p) = p log(1 + L) + (q / r) log(1 - L r) - d L, for the largest of the grid's bets."""
    q, odds, margin = BUSY.errors, 25 / 75, ErrorGuard().harm_margin
    effect = GUARDED[0].harm[0].comparison.effects[-1]
    stake = effect / (1 + odds * (1 + effect))
    told = growth(GUARDED[0], 0.3, 25, BUSY)
    by_hand = 0.3 * math.log1p(stake) + q / odds * math.log1p(-stake * odds) - margin * stake
    assert told[-1] == pytest.approx(by_hand)


def test_the_cost_counts_budget_grid_and_start() -> None:
    paid = cost(GUARDED)
    assert paid is not None
    compared = Standing.start(GUARDED).clues()[0]
    bets = len(GUARDED[0].harm[0].comparison.effects)
    assert paid == pytest.approx(CLOSES + math.log(bets / START / compared.share))
    assert cost(()) is None


def test_a_total_failure_is_shut_out_by_whatever_comes_first() -> None:
    late = failure_found(GUARDED, 5, BUSY, FIVE)
    assert late is not None
    assert late[1] == "fuse"
    prompt = replace(BUSY, requests_per_second=1000, lag=timedelta())
    counted = failure_found(GUARDED, 5, prompt, timedelta(seconds=10))
    assert counted is not None
    paid = cost(GUARDED)
    assert paid is not None
    requests = paid / max(growth(GUARDED[0], 1.0, 5, prompt))
    assert counted[1] == "counts"
    assert counted[0].total_seconds() == pytest.approx(requests / 50 + 5, abs=1e-5)
    assert failure_found(GUARDED, 5, Traffic(requests_per_second=0), FIVE) is None


def test_the_exposed_are_the_pace_times_the_weight_times_the_time() -> None:
    first = forecast(Rollout(), GUARDED, BUSY, FIVE).steps[0]
    assert first.found is not None
    assert first.by == "fuse"
    assert first.failing == pytest.approx(10 * 0.05 * first.found.total_seconds())
    assert first.undetected == pytest.approx(10 * 0.05 * first.stay.total_seconds())


def test_a_failure_that_no_step_is_long_enough_to_find_exposes_the_whole_step() -> None:
    thin = Traffic(requests_per_second=0.0001)
    first = forecast(Rollout(), GUARDED, thin, FIVE).steps[0]
    assert (first.found, first.by) == (None, "")
    assert first.failing == first.undetected
