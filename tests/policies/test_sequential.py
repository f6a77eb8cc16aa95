import math
from collections.abc import Callable
from itertools import pairwise, product
from random import Random

import pytest

from policies.errors import CLOSES, OPENS, requests_needed
from policies.evidence import NOTHING, Arm, Pair, paired
from policies.rollout import ErrorGuard
from policies.sequential import (
    EFFECTS,
    EXCESSES,
    LATE,
    STAKES,
    START,
    clean_requests_needed,
    excess,
    harm,
    highest_rate,
    log_mean,
    safety,
    safety_wealths,
    weighted,
)
from tests.policies.counts import arm, block


def by_hand(pair: Pair, stake: float, margin: float) -> float:
    """Formula (2) as the product that it is, without logarithms."""
    candidate, stable = pair
    ratio = candidate.requests / stable.requests
    gained = (1 + stake) ** candidate.errors * (1 - stake * ratio) ** stable.errors
    return float(gained * math.exp(-candidate.requests * margin * stake))


def harm_by_hand(pairs: list[Pair], margin: float) -> float:
    """The late mixture as a sum of products: a bet enters at the start, or before some block."""
    count, total = len(pairs), 0.0
    for effect in EFFECTS:
        gains = []
        for candidate, stable in pairs:
            ratio = candidate.requests / stable.requests
            stake = effect / (1 + ratio * (1 + effect))
            gains.append(by_hand((candidate, stable), stake, margin))
        total += START / len(EFFECTS) * math.prod(gains)
        for entry in range(count):
            share = (1 - START) * (1 - LATE) ** entry * LATE / len(EFFECTS)
            total += share * math.prod(gains[entry:])
    return total + (1 - START) * (1 - LATE) ** count


PAIRS = [
    (arm(50, 0), arm(950, 4)),
    (arm(60, 5), arm(900, 7)),
    (arm(400, 9), arm(410, 3)),
    (arm(1, 1), arm(3000, 0)),
    (arm(700, 0), arm(2, 2)),
]


@pytest.mark.parametrize("margin", [0.0, 0.001, 0.03])
def test_harm_is_the_late_mixture_of_formula_2_written_out(margin: float) -> None:
    assert harm(PAIRS, margin) == pytest.approx(math.log(harm_by_hand(PAIRS, margin)))


@pytest.mark.parametrize("margin", [0.005, 0.1])
def test_safety_is_the_even_mean_of_formula_2_with_negative_stakes(margin: float) -> None:
    products = [math.prod(by_hand(pair, -stake, margin) for pair in PAIRS) for stake in STAKES]
    assert safety(PAIRS, margin) == pytest.approx(math.log(sum(products) / len(products)))
    assert safety_wealths(PAIRS, margin) == pytest.approx([math.log(one) for one in products])


def test_one_arm_is_the_late_mixture_of_likelihood_ratios() -> None:
    permitted, arms = 0.02, [arm(30, 1), arm(50, 4), arm(20, 0)]
    total = (1 - START) * (1 - LATE) ** len(arms)
    for times in EXCESSES:
        rate = min(permitted * times, (1 + permitted) / 2)
        gains = [
            (rate / permitted) ** one.errors
            * ((1 - rate) / (1 - permitted)) ** (one.requests - one.errors)
            for one in arms
        ]
        total += START / len(EXCESSES) * math.prod(gains)
        for entry in range(len(arms)):
            share = (1 - START) * (1 - LATE) ** entry * LATE / len(EXCESSES)
            total += share * math.prod(gains[entry:])
    assert excess(arms, permitted, _errors) == pytest.approx(math.log(total))


def _errors(one: Arm) -> int:
    return one.errors


def chances(requests: int, rate: float) -> list[float]:
    """The binomial distribution, exactly."""
    return [
        math.comb(requests, bad) * rate**bad * (1 - rate) ** (requests - bad)
        for bad in range(requests + 1)
    ]


SIZES = [(1, 1), (3, 9), (8, 2), (6, 6)]
NULLS: list[tuple[Callable[[list[Pair], float], float], float, float, float]] = [
    (harm, 0.2, 0.1, 0.3),
    (harm, 0.05, 0.0, 0.05),
    (harm, 0.5, 0.1, 0.4),
    (safety, 0.2, 0.1, 0.3),
    (safety, 0.01, 0.05, 0.06),
    (safety, 0.1, 0.1, 0.5),
]
"""Test, stable's rate, margin, candidate's rate: on the boundary of the null, or inside it."""


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("test", "stable", "margin", "candidate"), NULLS)
def test_under_the_null_no_bet_gains_on_average_by_exact_enumeration(
    test: Callable[[list[Pair], float], float],
    stable: float,
    margin: float,
    candidate: float,
    sizes: tuple[int, int],
) -> None:
    own, other = sizes
    outcomes = product(enumerate(chances(own, candidate)), enumerate(chances(other, stable)))
    mean = math.fsum(
        one * two * math.exp(test([(arm(own, bad), arm(other, worse))], margin))
        for (bad, one), (worse, two) in outcomes
    )
    assert mean <= 1 + 1e-12


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.4])
def test_under_the_null_one_arm_gains_nothing_on_average_by_exact_enumeration(rate: float) -> None:
    """At the permitted rate exactly 1, below it less, over two blocks and every outcome."""
    for true in (rate, rate / 2):
        likely = list(enumerate(chances(6, true)))
        mean = math.fsum(
            one * two * math.exp(excess([arm(6, bad), arm(6, worse)], rate, _errors))
            for (bad, one), (worse, two) in product(likely, likely)
        )
        assert mean <= 1 + 1e-12
        if true == rate:
            assert mean == pytest.approx(1)


def test_over_two_blocks_of_different_shares_the_null_still_gains_nothing() -> None:
    """Stable's rate jumps between the blocks, and so does the split: neither is blamed."""
    first = list(product(enumerate(chances(2, 0.1)), enumerate(chances(6, 0.1))))
    second = list(product(enumerate(chances(4, 0.6)), enumerate(chances(4, 0.6))))
    mean = math.fsum(
        a * b * c * d * math.exp(harm([(arm(2, i), arm(6, j)), (arm(4, k), arm(4, m))], 0.0))
        for ((i, a), (j, b)), ((k, c), (m, d)) in product(first, second)
    )
    assert mean <= 1 + 1e-12


def drawn(random: Random, requests: int, rate: float) -> int:
    """Rare errors among many requests (a Poisson draw, cut at the requests)."""
    bound, many, chance = math.exp(-requests * rate), 0, random.random()
    while chance > bound:
        many, chance = many + 1, chance * random.random()
    return min(many, requests)


def crossed(
    seed: int, runs: int, test: Callable[[list[Pair], float], float], bar: float, rates: list[float]
) -> float:
    """Share of runs that ever cross the bar, looked at after every block."""
    random, crossings = Random(seed), 0  # noqa: S311 - repeatable, not secret
    candidate, stable, margin = rates
    for _ in range(runs):
        pairs: list[Pair] = []
        for look in range(40):
            own, other = (30, 570) if look < 15 else (300, 300)
            bad, worse = drawn(random, own, candidate), drawn(random, other, stable)
            pairs.append((arm(own, bad), arm(other, worse)))
            if look % 4 == 3 and test(pairs, margin) >= bar:
                crossings += 1
                break
    return crossings / runs


def test_peeking_all_the_time_rolls_back_a_healthy_candidate_in_one_of_a_hundred_at_most() -> None:
    assert crossed(11, 500, harm, CLOSES, [0.02, 0.02, 0.0]) <= 0.01


def test_peeking_all_the_time_passes_a_bad_candidate_in_one_of_twenty_at_most() -> None:
    assert crossed(12, 500, safety, OPENS, [0.025, 0.02, 0.005]) <= 0.05


def test_a_clearly_worse_candidate_is_found_and_a_good_one_passes() -> None:
    """The bars above are not kept by deciding nothing."""
    assert crossed(13, 50, harm, CLOSES, [0.2, 0.02, 0.001]) == 1.0
    assert crossed(14, 50, safety, OPENS, [0.005, 0.005, 0.03]) == 1.0


def test_the_clean_requests_of_each_step_are_those_published() -> None:
    guard = ErrorGuard(margin=0.005)
    assert [requests_needed(guard, weight) for weight in (1, 5, 25, 50)] == [42, 138, 414, 827]


def test_the_clean_requests_needed_are_just_enough() -> None:
    wealths = safety_wealths([(arm(200, 1), arm(800, 3))], 0.01)
    needed = clean_requests_needed(wealths, 0.01, OPENS)

    def reached(requests: int) -> bool:
        grown = zip(wealths, STAKES, strict=True)
        return log_mean([one + requests * stake * 0.01 for one, stake in grown]) >= OPENS

    assert reached(needed)
    assert not reached(needed - 1)
    assert clean_requests_needed([OPENS] * len(STAKES), 0.01, OPENS) == 0


def test_wealth_is_a_fold_in_which_a_late_onset_counts_more_than_an_early_one() -> None:
    calm, upset = (arm(100, 0), arm(1900, 8)), (arm(100, 8), arm(1900, 8))
    late = harm([calm] * 30 + [upset] * 2, 0.001)
    early = harm([upset] * 2 + [calm] * 30, 0.001)
    assert late > early, "what waits has lost nothing before the onset"
    assert safety([calm, upset], 0.01) == pytest.approx(safety([upset, calm], 0.01))


def test_a_safety_snapshot_carried_on_is_the_fold_of_all_blocks() -> None:
    whole = safety_wealths(PAIRS, 0.01)
    for cut in range(len(PAIRS)):
        parts = zip(
            safety_wealths(PAIRS[:cut], 0.01), safety_wealths(PAIRS[cut:], 0.01), strict=True
        )
        assert [one + other for one, other in parts] == pytest.approx(whole)


def test_no_traffic_is_no_evidence() -> None:
    assert harm([], 0.001) == pytest.approx(0)
    assert safety([], 0.001) == pytest.approx(0)
    assert excess([NOTHING] * 9, 0.01, _errors) == pytest.approx(0)
    assert paired([block(NOTHING, NOTHING)]) == []


def test_a_one_sided_block_waits_for_the_next_of_its_span() -> None:
    blocks = [
        block(arm(0), arm(90, 2), number=1),
        block(arm(0), arm(60, 1), number=2),
        block(arm(5, 1), arm(50), number=3),
        block(arm(3), arm(40), number=4),
    ]
    assert paired(blocks) == [(arm(5, 1), arm(200, 3)), (arm(3), arm(40))]


def test_a_one_sided_block_is_never_joined_across_spans() -> None:
    blocks = [
        block(arm(0), arm(90, 9), number=1, span=1),
        block(arm(7), arm(0), number=2, span=2),
        block(arm(0), arm(80), number=3, span=3),
    ]
    assert paired(blocks) == []


def test_huge_counts_do_not_overflow() -> None:
    bad = (arm(10**12, 10**12), arm(10**12, 0))
    assert harm([bad] * 3, 0.001) > CLOSES
    assert math.isfinite(harm([bad] * 3, 0.001))
    good = (arm(10**12, 0), arm(10**12, 10**9))
    assert math.isfinite(safety([good] * 3, 0.001))
    assert math.isfinite(excess([arm(10**12, 10**12)], 0.001, _errors))
    assert math.isfinite(weighted([(0.5, 1e9), (0.5, -1e9)]))


@pytest.mark.parametrize("sizes", [(1, 10**9), (10**9, 1), (1, 1)])
def test_the_stake_on_stables_errors_never_takes_more_than_there_is(sizes: tuple[int, int]) -> None:
    own, other = sizes
    ratio = own / other
    for effect in EFFECTS:
        assert 1 - ratio * effect / (1 + ratio * (1 + effect)) > 0
    assert math.isfinite(harm([(arm(own), arm(other, other))], 0.001))


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
