from datetime import timedelta

import pytest

from policies.words import amount, duration, percent, points


@pytest.mark.parametrize(
    ("length", "told"),
    [
        (0, "0 s"),
        (0.25, "0.25 s"),
        (59, "59 s"),
        (60, "1 min"),
        (timedelta(minutes=90), "1.5 h"),
        (timedelta(days=3, hours=12), "3.5 d"),
    ],
)
def test_durations_are_told_in_their_largest_unit(length: float | timedelta, told: str) -> None:
    assert duration(length) == told


def test_shares_are_told_to_three_digits() -> None:
    assert percent(0.012345) == "1.23 %"
    assert percent(0) == "0 %"
    assert points(0.005) == "0.5 pp"


def test_means_are_told_without_powers_of_ten() -> None:
    assert [amount(one) for one in (0.2863, 99.96, 100, 2688.4)] == ["0.286", "100", "100", "2,688"]
