"""Under every null no test gains on average: proven for small counts by going through all cases."""

import math
from collections.abc import Callable, Iterable
from itertools import product

import pytest

from policies.onearm import excess
from policies.pairing import ALIKE, EVEN, paired_differences, paired_safety
from policies.sequential import RARE, Comparison, Pair, harm, safety
from policies.wealth import Values

FAIR = 1 + 1e-9
Likely = list[tuple[Values, float]]
"""What one arm's observations may come to, and with what chance."""
Test = Callable[[Comparison, Iterable[Pair]], float]


def answers(number: int, law: dict[float, float]) -> Likely:
    """All that so many observations of a law may come to."""
    points, found = sorted(law), []
    for counts in product(range(number + 1), repeat=len(points)):
        if sum(counts) == number:
            ways, left = 1, number
            for count in counts:
                ways, left = ways * math.comb(left, count), left - count
            chance = math.prod(law[one] ** count for one, count in zip(points, counts, strict=True))
            found.append((tuple(zip(points, map(float, counts), strict=True)), ways * chance))
    return found


def coin(rate: float) -> dict[float, float]:
    """Bad with this chance, or not."""
    return {0.0: 1 - rate, 1.0: rate}


def graded(mean: float) -> dict[float, float]:
    """On three points of the grid, of that mean."""
    return {0.0: (1 - mean) ** 2, 0.5: 2 * mean * (1 - mean), 1.0: mean**2}


def average(test: Test, comparison: Comparison, *arms: Likely) -> float:
    """The mean of the wealth over all cases; arms come in pairs, a pair for each block."""
    total = []
    for cases in product(*arms):
        values = [values for values, _ in cases]
        pairs = list(zip(values[::2], values[1::2], strict=True))
        chance = math.prod(chance for _, chance in cases)
        total.append(chance * math.exp(test(comparison, pairs)))
    return math.fsum(total)


SIZES = [(1, 1), (1, 4), (4, 1), (2, 3), (4, 4)]
MARGINS = [(0.0, 1.0), (0.05, 1.0), (0.0, 1.25), (0.3, 1.5)]
"""Absolute, and relative."""
GUESSES = [0.0, RARE, 0.3, 0.9]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("law", [coin, graded])
@pytest.mark.parametrize("guess", GUESSES)
def test_one_block_of_a_true_null_gains_nothing_whatever_the_margin_and_the_guess(
    sizes: tuple[int, int], law: Callable[[float], dict[float, float]], guess: float
) -> None:
    for stable, (margin, ratio) in product((0.02, 0.2, 0.5), MARGINS):
        comparison = Comparison(margin=margin, ratio=ratio, guess=guess)
        bound = min(1.0, ratio * stable + margin)
        theirs = answers(sizes[1], law(stable))
        for ours in (bound, bound / 2, 0.0):
            gained = average(harm, comparison, answers(sizes[0], law(ours)), theirs)
            assert gained <= FAIR, (comparison, ours, stable)
        if ratio * stable + margin <= 1:
            for ours in (bound, (1 + bound) / 2, 1.0):
                gained = average(safety, comparison, answers(sizes[0], law(ours)), theirs)
                assert gained <= FAIR, (comparison, ours, stable)


@pytest.mark.parametrize("test", [harm, safety])
@pytest.mark.parametrize("sizes", [(1, 3), (3, 1), (2, 2)])
@pytest.mark.parametrize("guess", [0.0, 0.04, 0.5])
def test_over_blocks_the_guess_learns_the_rates_drift_the_split_jumps_and_nothing_is_gained(
    test: Test, sizes: tuple[int, int], guess: float
) -> None:
    """The second block's guess, and its formula, follow from what the first one showed."""
    for first, second in ((0.1, 0.7), (0.7, 0.05), (0.4, 0.4)):
        comparison = Comparison(margin=0.1, ratio=1.1, guess=guess)
        arms = [
            answers(number, coin(rate))
            for number, rate in (
                (sizes[0], 1.1 * first + 0.1),
                (sizes[1], first),
                (sizes[1], 1.1 * second + 0.1),
                (sizes[0], second),
            )
        ]
        assert average(test, comparison, *arms) <= FAIR


@pytest.mark.parametrize("expected", [0.0, 0.005, 0.3])
def test_whatever_the_past_made_likely_safety_gains_nothing(expected: float) -> None:
    """The stakes are weighed before the first block is seen: a past that lied changes no chance."""
    law = tuple(coin(expected).items())
    likely = (law, tuple((value, 3 * part) for value, part in law))

    def trusting(comparison: Comparison, pairs: Iterable[Pair]) -> float:
        return safety(comparison, pairs, likely)

    for stable, margin in product((0.05, 0.3), (0.05, 0.2)):
        comparison = Comparison(margin=margin)
        arms = [answers(3, coin(rate)) for rate in (stable + margin, stable)] * 2
        assert average(trusting, comparison, *arms) <= FAIR


def test_three_blocks_of_one_observation_each_gain_nothing() -> None:
    for test, guess in product((harm, safety), (0.0, 0.2)):
        arms = [answers(1, coin(rate)) for rate in (0.3, 0.3, 0.9, 0.9, 0.1, 0.1)]
        assert average(test, Comparison(guess=guess), *arms) <= FAIR


def test_between_the_two_nulls_lies_what_both_tests_can_gain_from() -> None:
    """The bound above is kept with room on one side alone: each test does bet."""
    ours, theirs = answers(4, coin(0.9)), answers(4, coin(0.1))
    assert average(harm, Comparison(margin=0.01), ours, theirs) > 1.5
    assert average(safety, Comparison(margin=0.3), theirs, theirs) > 1.05


@pytest.mark.parametrize("dispersion", [1.5, 5.0])
def test_the_root_of_a_fair_wealth_is_fair(dispersion: float) -> None:
    comparison = Comparison(margin=0.05, guess=0.2, dispersion=dispersion)
    arms = [answers(3, coin(rate)) for rate in (0.25, 0.2, 0.65, 0.6)]
    assert average(harm, comparison, *arms) <= FAIR
    assert average(safety, comparison, *arms) <= FAIR


def test_as_many_failures_again_as_a_dispersion_says_still_gain_nothing() -> None:
    """Each failure brings its twin: the same counts twice over, judged with a dispersion of 2."""
    likely = [
        [(tuple((value, 2 * count) for value, count in values), chance) for values, chance in arm]
        for arm in (answers(3, coin(0.3)), answers(4, coin(0.3)))
    ]
    assert average(harm, Comparison(dispersion=2.0), *likely) <= FAIR
    assert average(harm, Comparison(dispersion=1.0), *likely) > FAIR


@pytest.mark.parametrize("permitted", [0.02, 0.1, 0.4, 0.9])
@pytest.mark.parametrize("law", [coin, graded])
def test_one_arm_gains_nothing_up_to_what_is_permitted(
    permitted: float, law: Callable[[float], dict[float, float]]
) -> None:
    """At the permitted rate exactly 1, below it less, over two blocks and every outcome."""
    for true in (permitted, permitted / 2):
        likely = answers(4, law(true))
        gained = math.fsum(
            one * two * math.exp(excess([first, second], permitted))
            for (first, one), (second, two) in product(likely, likely)
        )
        assert gained <= FAIR
        if true == permitted:
            assert gained == pytest.approx(1)


@pytest.mark.parametrize("margin", [0.0, 0.02, 0.3])
def test_paired_answers_gain_nothing_up_to_the_margin(margin: float) -> None:
    for low, high in ((-1.0, 1.0), (-0.5, 0.75), (0.0, 1.0)):
        rate = (margin - low) / (high - low)
        likely = answers(4, {low: 1 - rate, high: rate})
        gained = math.fsum(
            chance * math.exp(paired_differences(values, margin)) for values, chance in likely
        )
        assert gained == pytest.approx(1)


@pytest.mark.parametrize("margin", [0.004, 0.02, 0.3])
@pytest.mark.parametrize("shares", [EVEN, ALIKE])
def test_the_proof_by_pairs_gains_nothing_from_the_margin_on(
    margin: float, shares: tuple[float, ...]
) -> None:
    """At the margin exactly 1, above it less, whatever the differences are and their stakes."""
    for low, high in ((-1.0, 1.0), (-0.5, 0.75), (0.0, 1.0)):
        for mean in (margin, (margin + high) / 2):
            rate = (mean - low) / (high - low)
            likely = answers(4, {low: 1 - rate, high: rate})
            gained = math.fsum(
                chance * math.exp(paired_safety(values, margin, shares))
                for values, chance in likely
            )
            assert gained <= FAIR
            if mean == margin:
                assert gained == pytest.approx(1)


def test_two_tests_for_two_nulls_are_fair_in_their_weaker_one() -> None:
    """A hard limit needs both, the excess and the comparison; here one null holds at a time."""
    limit = 0.3
    for ours, theirs in ((0.2, 0.01), (0.6, 0.7)):
        mine, other = answers(4, coin(ours)), answers(4, coin(theirs))
        gained = math.fsum(
            one * two * math.exp(min(excess([own], limit), harm(Comparison(), [(own, rest)])))
            for (own, one), (rest, two) in product(mine, other)
        )
        assert gained <= FAIR
