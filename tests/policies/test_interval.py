"""The interval that a page shows beside a rate: how often the true rate is in it, exactly."""

from math import comb

import pytest

from policies.onearm import interval


@pytest.mark.parametrize("observations", [1, 7, 40, 150])
@pytest.mark.parametrize("rate", [0.0, 0.004, 0.05, 0.3, 0.5, 0.97, 1.0])
def test_the_true_rate_is_outside_in_no_more_than_one_of_twenty_samples(
    observations: int, rate: float
) -> None:
    missed = 0.0
    for bad in range(observations + 1):
        low, high = interval(bad, observations)
        chance = comb(observations, bad) * rate**bad * (1 - rate) ** (observations - bad)
        if not low <= rate <= high:
            missed += chance
    assert missed <= 0.05


def test_it_holds_the_rate_that_was_seen_and_narrows_with_what_is_seen() -> None:
    widths = []
    for observations in (10, 100, 1_000, 100_000):
        low, high = interval(observations * 0.1, observations)
        assert 0 <= low < 0.1 < high <= 1
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.006


def test_of_nothing_everything_is_possible_and_the_ends_are_never_passed() -> None:
    low, high = interval(0, 0)
    assert (low, high) == pytest.approx((0.0, 1.0))
    assert interval(0, 500)[0] == pytest.approx(0.0, abs=1e-12)
    assert interval(500, 500)[1] == pytest.approx(1.0)
