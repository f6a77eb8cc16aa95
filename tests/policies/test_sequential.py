"""The engine against its formulas written out, and what must not be in it."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.bounds import CLOSES, OPENS
from policies.criterion import pairs_of
from policies.evidence import GRID, NOTHING, Arm
from policies.guards import ErrorGuard, Guards
from policies.onearm import (
    EXCESSES,
    each_over,
    excess,
    gains_over,
    highest_rate,
    without_lulls,
    worst_stretch,
)
from policies.outlook import requests_needed
from policies.pairing import paired_differences
from policies.sequential import (
    RARE,
    STAKES,
    Comparison,
    Pair,
    harm,
    safety,
    safety_after,
    safety_wealth,
    unproven,
)
from policies.wealth import LATE, START, Values, binary, mean, seen, spread, weighted
from tests.policies.counts import arm, averaged, block, drawn, errors_by

Test = Callable[[Comparison, list[Pair]], float]


def both(own: tuple[int, int], other: tuple[int, int]) -> Pair:
    """Requests and errors of the candidate, and of stable."""
    return binary(*own), binary(*other)


def by_hand(pair: Pair, stake: float, margin: float) -> float:
    """Formula (2) as the product that it is, without logarithms."""
    (_, (_, bad)), (_, (_, worse)) = pair
    ratio = seen(pair[0]) / seen(pair[1])
    gained = (1 + stake) ** bad * (1 - stake * ratio) ** worse
    return float(gained * math.exp(-seen(pair[0]) * margin * stake))


def harm_by_hand(pairs: list[Pair], margin: float) -> float:
    """The late mixture as a sum of products: a bet enters at the start, or before some block."""
    effects, count, total = Comparison().effects, len(pairs), 0.0
    for effect in effects:
        gains = []
        for pair in pairs:
            ratio = seen(pair[0]) / seen(pair[1])
            gains.append(by_hand(pair, effect / (1 + ratio * (1 + effect)), margin))
        total += START / len(effects) * math.prod(gains)
        for entry in range(count):
            share = (1 - START) * (1 - LATE) ** entry * LATE / len(effects)
            total += share * math.prod(gains[entry:])
    return total + (1 - START) * (1 - LATE) ** count


PAIRS = [
    both((50, 0), (950, 4)),
    both((60, 5), (900, 7)),
    both((400, 9), (410, 3)),
    both((1, 1), (3000, 0)),
    both((700, 0), (20, 0)),
]


@pytest.mark.parametrize("margin", [0.0, 0.001, 0.03])
def test_harm_is_the_late_mixture_of_formula_2_written_out(margin: float) -> None:
    expected = math.log(harm_by_hand(PAIRS, margin))
    assert harm(Comparison(margin=margin), PAIRS) == pytest.approx(expected)


@pytest.mark.parametrize("margin", [0.005, 0.1])
def test_safety_is_the_even_mean_of_formula_2_with_negative_stakes(margin: float) -> None:
    products = [math.prod(by_hand(pair, -stake, margin) for pair in PAIRS) for stake in STAKES]
    expected, comparison = math.log(sum(products) / len(products)), Comparison(margin=margin)
    assert safety(comparison, PAIRS) == pytest.approx(expected)
    bets = [math.log(one / len(products)) for one in products]
    assert safety_wealth(comparison, PAIRS).bets == pytest.approx(bets)


def test_where_stable_errs_often_the_bet_is_formula_1_around_the_guess() -> None:
    comparison = Comparison(margin=0.02, ratio=1.1, guess=0.4)
    candidate, stable = ((0.0, 3), (0.6, 2)), ((0.2, 4), (1.0, 6))
    ratio, own = 1.1 * 5 / 10, 1.1 * 0.4 + 0.02
    products = []
    for stake in STAKES:
        bet = max(-stake, -0.95 / (ratio * 0.4))
        terms = [(1 + bet * (value - own)) ** count for value, count in candidate]
        terms += [(1 - bet * ratio * (value - 0.4)) ** count for value, count in stable]
        products.append(math.prod(terms))
    expected = math.log(sum(products) / len(products))
    assert safety(comparison, [(candidate, stable)]) == pytest.approx(expected)


def test_one_arm_is_the_late_mixture_of_likelihood_ratios() -> None:
    permitted, arms = 0.02, [(30, 1), (50, 4), (20, 0)]
    total = (1 - START) * (1 - LATE) ** len(arms)
    for times in EXCESSES:
        rate = min(permitted * times, (1 + permitted) / 2)
        gains = [
            (rate / permitted) ** bad * ((1 - rate) / (1 - permitted)) ** (number - bad)
            for number, bad in arms
        ]
        total += START / len(EXCESSES) * math.prod(gains)
        for entry in range(len(arms)):
            share = (1 - START) * (1 - LATE) ** entry * LATE / len(EXCESSES)
            total += share * math.prod(gains[entry:])
    values = [binary(number, bad) for number, bad in arms]
    assert excess(values, permitted) == pytest.approx(math.log(total))


def crossed(seed: int, runs: int, test: Test, bar: float, rates: tuple[float, ...]) -> float:
    """Share of runs that ever cross the bar, looked at after every block."""
    random, crossings = Random(seed), 0  # noqa: S311 - repeatable, not secret
    candidate, stable, margin = rates
    for _ in range(runs):
        pairs: list[Pair] = []
        for look in range(40):
            own, other = (30, 570) if look < 15 else (300, 300)
            bad, worse = drawn(random, own, candidate), drawn(random, other, stable)
            pairs.append(both((own, bad), (other, worse)))
            if look % 4 == 3 and test(Comparison(margin=margin), pairs) >= bar:
                crossings += 1
                break
    return crossings / runs


def test_peeking_all_the_time_rolls_back_a_healthy_candidate_in_one_of_a_hundred_at_most() -> None:
    assert crossed(11, 400, harm, CLOSES, (0.02, 0.02, 0.0)) <= 0.01


def test_peeking_all_the_time_passes_a_bad_candidate_in_one_of_twenty_at_most() -> None:
    assert crossed(12, 400, safety, OPENS, (0.025, 0.02, 0.005)) <= 0.05


def test_a_clearly_worse_candidate_is_found_and_a_good_one_passes() -> None:
    """The bars above are not kept by deciding nothing."""
    assert crossed(13, 50, harm, CLOSES, (0.2, 0.02, 0.001)) == 1.0
    assert crossed(14, 50, safety, OPENS, (0.005, 0.005, 0.03)) == 1.0


def test_the_clean_requests_of_each_step_are_those_published() -> None:
    errors = errors_by()
    found = [requests_needed(errors.safety(weight), weight) for weight in (1, 5, 25, 50)]
    assert found == [42, 138, 414, 827]


def test_a_past_that_is_known_takes_fewer_requests_and_one_that_was_otherwise_few_more() -> None:
    """The stake that fits a clean past has half of the wealth, and the others half of theirs."""
    question = errors_by().safety(25)
    noisy = ((0.0, 0.995), (1.0, 0.005))
    needed = {}
    for name, expected in (("clean", question.expected), ("noisy", (noisy, noisy))):
        fitting = replace(question, expected=expected, known=True)
        unknown = replace(question, expected=expected)
        wrong = fitting.unproven(25)
        other = replace(question, expected=(noisy, noisy) if name == "clean" else question.expected)
        needed[name] = (
            requests_needed(fitting, 25),
            requests_needed(unknown, 25),
            requests_needed(other, 25, wrong),
            requests_needed(other, 25),
        )
    for fits, even, misled, plain in needed.values():
        assert fits is not None
        assert even is not None
        assert misled is not None
        assert plain is not None
        assert fits < 0.9 * even
        assert misled < 1.25 * plain


def test_the_clean_requests_needed_are_just_enough() -> None:
    question = errors_by(Guards(errors=ErrorGuard(margin=0.01))).safety(50)
    comparison = question.comparison
    had = safety_wealth(comparison, [both((200, 1), (800, 3))])
    needed = requests_needed(question, 50, had)
    assert needed is not None

    def reached(requests: int) -> bool:
        grown = safety_after(comparison, had, both((requests, 0), (requests, 0)))
        return grown.evidence >= OPENS

    assert reached(needed)
    assert not reached(needed - 1)
    shown = safety_wealth(comparison, [both((5000, 0), (5000, 0))])
    assert requests_needed(question, 50, shown) == 0


def test_wealth_is_a_fold_in_which_a_late_onset_counts_more_than_an_early_one() -> None:
    calm, upset = both((100, 0), (1900, 8)), both((100, 8), (1900, 8))
    late = harm(Comparison(margin=0.001), [calm] * 30 + [upset] * 2)
    early = harm(Comparison(margin=0.001), [upset] * 2 + [calm] * 30)
    assert late > early, "what waits has lost nothing before the onset"
    there, back = (safety(Comparison(margin=0.01), pair) for pair in ([calm, upset], [upset, calm]))
    assert there == pytest.approx(back)


def test_no_traffic_is_no_evidence() -> None:
    assert harm(Comparison(margin=0.001), []) == pytest.approx(0)
    assert safety(Comparison(margin=0.001), []) == pytest.approx(0)
    assert unproven(Comparison(margin=0.001)).evidence == pytest.approx(0)
    assert excess([binary(0, 0)] * 9, 0.01) == pytest.approx(0)
    assert pairs_of(_failed, _failed, [block(NOTHING, NOTHING)]) == []


def _failed(one: Arm) -> Values:
    return binary(one.requests, one.errors)


def test_a_one_sided_block_waits_for_the_next_of_its_span() -> None:
    blocks = [
        block(arm(0), arm(90, 2), number=1),
        block(arm(0), arm(60, 1), number=2),
        block(arm(5, 1), arm(50), number=3),
        block(arm(3), arm(40), number=4),
    ]
    judged = [
        (seen(ours), mean(ours), seen(theirs), mean(theirs))
        for ours, theirs in pairs_of(_failed, _failed, blocks)
    ]
    assert judged == [(5, 1 / 5, 200, 3 / 200), (3, 0, 40, 0)]


def test_a_one_sided_block_is_never_joined_across_spans() -> None:
    blocks = [
        block(arm(0), arm(90, 9), number=1, span=1),
        block(arm(7), arm(0), number=2, span=2),
        block(arm(0), arm(80), number=3, span=3),
    ]
    assert pairs_of(_failed, _failed, blocks) == []


def test_huge_counts_do_not_overflow() -> None:
    huge, comparison = 10**12, Comparison(margin=0.001)
    bad = both((huge, huge), (huge, 0))
    assert harm(comparison, [bad] * 3) > CLOSES
    assert math.isfinite(harm(comparison, [bad] * 3))
    assert math.isfinite(safety(comparison, [both((huge, 0), (huge, 10**9))] * 3))
    assert math.isfinite(excess([binary(huge, huge)], 0.001))
    assert math.isfinite(weighted([(0.5, 1e9), (0.5, -1e9)]))


SHARES = st.floats(0, 1)
OBSERVED = st.lists(
    st.tuples(SHARES, st.sampled_from([1e-3, 1.0, 7.0, 1e9])), min_size=1, max_size=4
).map(tuple)
PAIRED = st.lists(st.tuples(OBSERVED, OBSERVED), min_size=1, max_size=4)
ASKED = st.builds(
    Comparison,
    margin=st.sampled_from([0.0, 0.0005, 0.3, 0.99]),
    ratio=st.sampled_from([1.0, 1.05, 6.0]),
    guess=st.just(0.0) | SHARES,
    dispersion=st.sampled_from([1.0, 5.0]),
)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(ASKED, PAIRED)
def test_no_stake_ever_takes_more_than_there_is(comparison: Comparison, pairs: list[Pair]) -> None:
    """Every observation leaves something of every bet, whatever the guess, margin and split."""
    assert math.isfinite(harm(comparison, pairs))
    assert math.isfinite(safety(comparison, pairs))
    for candidate, _ in pairs:
        assert math.isfinite(excess([candidate], min(0.99, max(1e-6, comparison.guess))))


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(
    st.lists(SHARES, min_size=1, max_size=6),
    st.lists(SHARES, min_size=1, max_size=6),
    st.floats(RARE, 0.9),
)
def test_sharing_a_value_between_grid_points_keeps_the_mean_and_never_gains(
    own: list[float], other: list[float], guess: float
) -> None:
    exact = tuple((one, 1.0) for one in own), tuple((one, 1.0) for one in other)
    shared = spread(averaged(own, 1.0)), spread(averaged(other, 1.0))
    assert all(round(value * GRID) == pytest.approx(value * GRID) for value, _ in shared[0])
    for one, parts in zip(exact, shared, strict=True):
        assert mean(parts) == pytest.approx(mean(one), abs=1e-12)
        assert seen(parts) == pytest.approx(seen(one))
    comparison = Comparison(margin=0.01, ratio=1.05, guess=guess)
    for test in (harm, safety):
        assert test(comparison, [shared]) <= test(comparison, [exact]) + 1e-9
    assert excess([shared[0]], guess) <= excess([exact[0]], guess) + 1e-9


def test_paired_answers_that_are_no_worse_gain_nothing_and_worse_ones_do() -> None:
    even = [(-0.4, 30.0), (0.0, 50.0), (0.4, 30.0)]
    assert paired_differences(even, 0.02) < 0
    assert paired_differences([(0.3, 60.0), (0.0, 40.0)], 0.02) > CLOSES
    assert paired_differences([], 0.02) == pytest.approx(0)
    assert math.isfinite(paired_differences([(-1.0, 1e9)], 0.0))


def chances(requests: int, rate: float) -> list[float]:
    """The binomial distribution, exactly."""
    return [
        math.comb(requests, bad) * rate**bad * (1 - rate) ** (requests - bad)
        for bad in range(requests + 1)
    ]


def test_the_highest_rate_of_a_sample_holds_with_its_chance() -> None:
    """Exactly: the chance that a sample allows only for less than the truth is at most `miss`."""
    for true, requests in product((0.01, 0.1, 0.5), (20, 100, 400)):
        likely = enumerate(chances(requests, true))
        missed = math.fsum(
            chance for bad, chance in likely if highest_rate(bad, requests, 0.01) < true
        )
        assert missed <= 0.01


def test_the_highest_rate_comes_down_with_more_requests() -> None:
    rates = [highest_rate(number // 50, number, 0.001) for number in (50, 500, 5_000, 500_000)]
    assert all(fewer > more > 0.02 for fewer, more in pairwise(rates))
    assert highest_rate(0, 0, 0.001) == pytest.approx(1)
    assert highest_rate(9, 9, 0.001) == pytest.approx(1)
    assert highest_rate(0, 1000, 0.001) == pytest.approx(0.00688, abs=1e-4)


@pytest.mark.parametrize("permitted", [0.001, 0.05, 0.4])
def test_what_each_observation_gains_is_what_a_block_of_it_gains(permitted: float) -> None:
    each = each_over(permitted)
    for value, index in ((0.0, 0), (1.0, 1)):
        block = gains_over(permitted, ((value, 1.0),))
        assert tuple(pair[index] for pair in each) == pytest.approx(block)
    clustered = gains_over(permitted, ((1.0, 8.0),), 4.0)
    assert clustered == pytest.approx(gains_over(permitted, ((1.0, 2.0),)))


def test_the_worst_stretch_is_the_one_that_wins_the_most_with_no_block_winning_too_much() -> None:
    assert worst_stretch([], math.inf) == 0.0
    assert worst_stretch([-1.0, -0.5], math.inf) == 0.0
    gains = [-1.0, 0.25, 0.5, -2.0, 0.5, -0.25, 0.125]
    assert worst_stretch(gains, math.inf) == 0.75
    assert worst_stretch(gains, 0.25) == 0.5


@given(
    gains=st.lists(st.integers(min_value=-8, max_value=8).map(lambda eighths: eighths / 8)),
    most=st.sampled_from([0.0, 0.25, 1.0, math.inf]),
)
def test_the_worst_stretch_is_the_same_where_losses_in_a_row_are_one(
    gains: list[float], most: float
) -> None:
    shorter = without_lulls(gains)
    assert worst_stretch(shorter, most) == worst_stretch(gains, most)
    assert not any(one <= 0 and two <= 0 for one, two in pairwise(shorter))
