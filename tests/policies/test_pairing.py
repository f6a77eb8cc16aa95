"""Paired differences: both tests in plain products, fair at their margins, and what is kept."""

from itertools import pairwise
from math import exp, log

import pytest

from policies.pairing import (
    ALIKE,
    EVEN,
    GRID,
    Differences,
    average,
    paired_differences,
    paired_safety,
    with_difference,
)

STAKES = (0.15, 0.3, 0.5, 0.7, 0.85, 0.97)
MET: Differences = ((-1.0, 1.0), (-0.25, 2.0), (0.0, 3.5), (0.5, 1.5))
"""Of eight pairs."""
SHARES = (0.3, 0.2, 0.1, 0.1, 0.1, 0.2)


def harm(met: Differences, margin: float, shares: tuple[float, ...]) -> float:
    """The wealth that six stakes come to: each multiplies its share pair by pair."""
    wealth = 0.0
    for stake, share in zip(STAKES, shares, strict=True):
        for value, count in met:
            share *= (1 + stake / (1 + margin) * (value - margin)) ** count  # noqa: PLW2901
        wealth += share
    return wealth


def safety(met: Differences, margin: float, shares: tuple[float, ...]) -> float:
    """The same against a mean of `margin` or more."""
    wealth = 0.0
    for stake, share in zip(STAKES, shares, strict=True):
        for value, count in met:
            share *= (1 - stake / (1 - margin) * (value - margin)) ** count  # noqa: PLW2901
        wealth += share
    return wealth


@pytest.mark.parametrize("margin", [0.0, 0.02, 0.5])
def test_both_tests_are_the_products_that_the_formulas_say(margin: float) -> None:
    sixth = (1 / 6,) * 6
    assert exp(paired_differences(MET, margin)) == pytest.approx(harm(MET, margin, sixth))
    assert exp(paired_differences(iter(MET), margin, SHARES)) == pytest.approx(
        harm(MET, margin, SHARES)
    )
    assert exp(paired_safety(MET, margin)) == pytest.approx(safety(MET, margin, sixth))
    assert exp(paired_safety(iter(MET), margin, SHARES)) == pytest.approx(
        safety(MET, margin, SHARES)
    )


@pytest.mark.parametrize("margin", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("value", [-1.0, 0.9, 1.0])
def test_one_pair_is_worth_one_on_average_at_the_margin(margin: float, value: float) -> None:
    """Of two differences that average the margin, whatever lies on the other side of it."""
    other = (margin - value / 4) * 4 / 3
    for test in (paired_differences, paired_safety):
        wealth = [exp(test(((one, 1.0),), margin)) for one in (value, other)]
        assert wealth[0] / 4 + wealth[1] * 3 / 4 == pytest.approx(1)


@pytest.mark.parametrize("shares", [ALIKE, EVEN])
def test_before_the_first_pair_nothing_is_shown(shares: tuple[float, ...]) -> None:
    assert sum(shares) == pytest.approx(1)
    assert paired_differences((), 0.02, shares) == pytest.approx(0)
    assert paired_safety((), 0.02, shares) == pytest.approx(0)


def test_half_of_a_proof_that_pairs_are_alike_is_on_the_highest_stake() -> None:
    assert pytest.approx((0.1, 0.1, 0.1, 0.1, 0.1, 0.5)) == ALIKE
    assert pytest.approx((1 / 6,) * 6) == EVEN
    # Margins of a replay: 2 pp are shown by 176 pairs without a difference, and not by fewer.
    shown = [paired_safety(((0.0, pairs),), 0.02, ALIKE) >= log(20) for pairs in (175.0, 176.0)]
    assert shown == [False, True]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (0.0, ((0.0, 1.0),)),
        (0.5, ((0.5, 1.0),)),
        (1.0, ((1.0, 1.0),)),
        (-1.0, ((-1.0, 1.0),)),
        (1.5, ((1.0, 1.0),)),
        (-7.0, ((-1.0, 1.0),)),
        (0.2578125, ((0.25, 0.75), (0.28125, 0.25))),
        (-0.2578125, ((-0.28125, 0.25), (-0.25, 0.75))),
    ],
)
def test_a_difference_is_shared_by_its_neighbours_on_a_grid_of_32_steps(
    value: float, kept: Differences
) -> None:
    assert GRID == 32
    assert with_difference((), value) == kept


def test_differences_add_up_in_rising_order() -> None:
    found: Differences = ()
    for value in (0.5, -0.5, 0.5, 0.515625, 0.0):
        found = with_difference(found, value)
    assert found == ((-0.5, 1.0), (0.0, 1.0), (0.5, 2.5), (0.53125, 0.5))
    assert all(one < other for (one, _), (other, _) in pairwise(found))
    assert average(found) == pytest.approx((0.5 - 0.5 + 0.5 + 0.515625) / 5)


def test_the_average_of_nothing_is_nothing() -> None:
    assert average(()) == 0
    assert average(((0.5, 1.0), (-1.0, 3.0))) == -0.625


@pytest.mark.parametrize("shares", [(0.5, 0.5), (*EVEN, 0.1)])
def test_shares_that_are_not_those_of_the_stakes_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="argument 2 is"):
        paired_differences(MET, 0.02, shares)
