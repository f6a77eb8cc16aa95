"""What a step can find, in figures: by the formulas of the study, worked out beside the code."""

from dataclasses import replace
from datetime import timedelta
from math import log, log1p

import pytest

from policies.criterion import Criterion
from policies.guards import ErrorGuard, Guards
from policies.onearm import highest_rate
from policies.prospect import Traffic, cost, failure_found, growth, smallest_regression
from policies.sequential import EFFECTS
from tests.policies.counts import errors_by, guards_by

MARGIN = 0.00025
"""Of harm, by the default guard of errors."""
ERRORS = errors_by()
OBSERVED = errors_by(Guards(errors=ErrorGuard(observe=True)))
BESIDE = guards_by()
"""With latency, answers and tokens."""
EVERY = timedelta(minutes=5)
FAILING = 1.0


def stakes(weight: int) -> list[tuple[float, float]]:
    """Each bet's stake, and r: the candidate's requests for one of stable's."""
    odds = weight / (100 - weight)
    return [(effect / (1 + odds * (1 + effect)), odds) for effect in EFFECTS]


def rare(rate: float, usual: float, weight: int) -> list[float]:
    """Formula (2), per request of the candidate's."""
    return [
        rate * log1p(stake) + usual / odds * log1p(-stake * odds) - MARGIN * stake
        for stake, odds in stakes(weight)
    ]


@pytest.mark.parametrize(
    ("rate", "usual", "weight"), [(1.0, 0.0, 5), (0.02, 0.005, 5), (0.2, 0.01, 50), (0.03, 0.04, 1)]
)
def test_what_a_bet_gains_by_a_request_is_the_formula_for_rare_errors(
    rate: float, usual: float, weight: int
) -> None:
    traffic = Traffic(requests_per_second=10, errors=usual)
    assert growth(ERRORS, rate, weight, traffic) == pytest.approx(rare(rate, usual, weight))


def test_from_one_error_in_twenty_on_bets_are_centred_on_stables_rate() -> None:
    """Formula (1), with m = q: log(1 + L (x - m - d)) and log(1 - L r (x - m)) on average."""
    usual, rate, weight = 0.1, 0.3, 25
    odds = 1 / 3
    highest = 0.95 / max(usual + MARGIN, odds * (1 - usual))
    expected = []
    for stake, _ in stakes(weight):
        bet = min(stake, highest)
        own = rate * log1p(bet * (1 - usual - MARGIN)) + (1 - rate) * log1p(-bet * (usual + MARGIN))
        theirs = usual * log1p(-bet * odds * (1 - usual)) + (1 - usual) * log1p(bet * odds * usual)
        expected.append(own + theirs / odds)
    traffic = Traffic(requests_per_second=10, errors=usual)
    assert growth(ERRORS, rate, weight, traffic) == pytest.approx(expected)


def test_the_best_bet_must_win_what_it_does_not_have_from_the_start() -> None:
    """Of the budget: 0.05 is for stable's past, 0.3 for other guards, a twentieth for the limit."""
    grid = log(4 / 0.9)
    assert cost([ERRORS]) == pytest.approx(log(100) + grid - log(0.95 * 0.95))
    assert cost(BESIDE) == pytest.approx(log(100) + grid - log((0.95 - 0.3) * 0.95))
    others = [one for one in BESIDE if one.guard != "errors"]
    assert cost([*others, ERRORS]) == cost(BESIDE)


@pytest.mark.parametrize("criteria", [(), (OBSERVED,), BESIDE[1:], (OBSERVED, *BESIDE[1:])])
def test_where_errors_decide_nothing_no_count_of_them_finds_anything(
    criteria: tuple[Criterion, ...],
) -> None:
    traffic = Traffic(requests_per_second=0.0001)
    assert cost(criteria) is None
    assert smallest_regression(criteria, 1e6, 5, traffic) is None
    assert failure_found(criteria, 5, traffic, EVERY) is None


@pytest.mark.parametrize("requests", [10, 300, 20_000, 3_000_000])
@pytest.mark.parametrize("usual", [0.0, 0.002, 0.04])
def test_the_smallest_regression_found_is_the_one_that_just_pays_the_cost(
    requests: int, usual: float
) -> None:
    traffic = Traffic(requests_per_second=10, errors=usual)
    smallest = smallest_regression(BESIDE, requests, 5, traffic)
    assert smallest is not None
    assert usual < smallest < 1
    assert requests * max(rare(smallest, usual, 5)) == pytest.approx(cost(BESIDE), rel=1e-6)


def test_a_regression_is_undetectable_in_principle_where_total_failure_is() -> None:
    """Of a candidate that always fails each request wins log(1 + L) - d L, by the best bet."""
    needed = (cost([ERRORS]) or 0) / max(rare(FAILING, 0.0, 5))
    traffic = Traffic(requests_per_second=10)
    assert smallest_regression([ERRORS], needed * 0.999, 5, traffic) is None
    just = smallest_regression([ERRORS], needed * 1.001, 5, traffic)
    assert just == pytest.approx(0.999, abs=0.001)


@pytest.mark.parametrize(("weight", "pace"), [(5, 10.0), (5, 0.02), (50, 0.004)])
def test_a_failing_candidate_is_found_by_its_counts_once_they_are_read(
    weight: int, pace: float
) -> None:
    """Its requests, the lag of the source, and half of the time between two looks on average."""
    traffic = Traffic(requests_per_second=pace, lag=timedelta(seconds=20), errors=0.01)
    requests = (cost([ERRORS]) or 0) / max(rare(FAILING, 0.01, weight))
    every = timedelta(seconds=10)
    found = failure_found([ERRORS], weight, replace(traffic, requests_per_second=pace), every)
    assert found is not None
    after, by = found
    assert by == "counts"
    assert after.total_seconds() == pytest.approx(requests / (pace * weight / 100) + 25, abs=1e-5)


def minutes_to_blow(permitted: float, failing: float, requests: float) -> int:
    """Minutes until a test of likelihood ratios has made 1 into 100, folded without logarithms.

    Eight bets share 0.9; of the rest a thirty-second part enters with each minute.
    """
    ratios = []
    for times in (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0):
        rate = min(permitted * times, (1 + permitted) / 2)
        worse, better = rate / permitted, (1 - rate) / (1 - permitted)
        ratios.append(worse ** (failing * requests) * better ** ((1 - failing) * requests))
    bets, waiting, minutes = [0.9 / 8] * 8, 0.1, 0
    while sum(bets) + waiting < 100:
        enters = waiting / 32
        bets = [(bet + enters / 8) * ratio for bet, ratio in zip(bets, ratios, strict=True)]
        waiting, minutes = waiting - enters, minutes + 1
    return minutes


@pytest.mark.parametrize(
    ("weight", "pace", "errors"),
    [(5, 10.0, 0.005), (5, 0.5, 0.005), (25, 0.1, 0.0), (1, 20.0, 0.01), (50, 1 / 60, 0.05)],
)
def test_a_failing_candidate_blows_the_fuse_in_whole_minutes(
    weight: int, pace: float, errors: float
) -> None:
    """Half a minute until the first begins, and one until the last is read; no count is awaited."""
    hour = pace * 3600
    permitted = highest_rate(hour * errors, hour, 0.001) + 0.001
    failing = weight / 100 + (1 - weight / 100) * errors
    minutes = minutes_to_blow(permitted, failing, pace * 60)
    traffic = Traffic(requests_per_second=pace, errors=errors, lag=timedelta(days=30))
    told = timedelta(minutes=minutes + 1.5), "fuse"
    assert failure_found([ERRORS], weight, traffic, EVERY) == told
    assert failure_found([], weight, traffic, EVERY) == told


def test_a_fuse_is_set_by_a_request_in_the_hour_and_by_none_it_is_not() -> None:
    """One request permits a failure in two; longer than 1,024 minutes nobody waits for a fuse."""
    minutes = minutes_to_blow(0.5, FAILING, 1 / 60)
    assert 512 < minutes < 1024
    hourly = Traffic(requests_per_second=1 / 3600)
    assert failure_found([], 100, hourly, EVERY) == (timedelta(minutes=minutes + 1.5), "fuse")
    assert minutes_to_blow(0.5, FAILING, 0.51 / 60) > 1024
    assert failure_found([], 100, replace(hourly, requests_per_second=0.51 / 3600), EVERY) is None
    assert failure_found([], 100, replace(hourly, requests_per_second=0.49 / 3600), EVERY) is None
    assert failure_found([], 100, replace(hourly, requests_per_second=0), EVERY) is None


def test_whichever_comes_first_shuts_a_failing_candidate_out() -> None:
    prompt = Traffic(requests_per_second=10, errors=0.005)
    first = failure_found([ERRORS], 5, prompt, timedelta(seconds=30))
    assert first is not None
    assert first[1] == "counts"
    fuse = timedelta(minutes=2.5)
    assert first[0] < fuse
    gap = fuse - first[0]
    for late, by in ((gap * 0.9, "counts"), (gap * 1.1, "fuse")):
        found = failure_found([ERRORS], 5, replace(prompt, lag=late), timedelta(seconds=30))
        assert found is not None
        assert found == (min(first[0] + late, fuse), by)


def test_without_requests_nothing_is_found() -> None:
    still = Traffic(requests_per_second=0)
    assert failure_found([ERRORS], 5, still, EVERY) is None
    assert smallest_regression([ERRORS], 0, 5, still) is None


def test_beside_a_stable_that_always_fails_no_candidate_is_worse() -> None:
    """So thin that no fuse is set, which would not care whose the errors are."""
    traffic = Traffic(requests_per_second=0.49 / 3600, errors=1.0)
    assert max(growth(ERRORS, FAILING, 5, traffic)) < 0
    assert smallest_regression([ERRORS], 1e9, 5, traffic) is None
    assert failure_found([ERRORS], 5, traffic, EVERY) is None
