import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from policies.fuse import FALSE_FUSE, HISTORY, Fuse, Minute, blown, fuse

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def minutes(counts: Iterable[tuple[int, int]], first: int = 1) -> list[Minute]:
    """Minutes of (requests, errors), ending `first` minutes after the start and on."""
    return [
        Minute(ends_at=START + timedelta(minutes=number), requests=requests, errors=errors)
        for number, (requests, errors) in enumerate(counts, start=first)
    ]


def hour(requests: int = 600, errors: int = 3) -> list[Minute]:
    return minutes([(requests, errors)] * 60, first=-60)


def set_by(before: list[Minute]) -> Fuse:
    setting = fuse(before, START)
    assert setting is not None
    return setting


def test_an_endpoint_without_history_has_no_fuse() -> None:
    assert fuse([], START) is None
    assert fuse(minutes([(0, 0)] * 5, first=-5), START) is None


def test_the_hour_before_the_step_says_what_is_permitted() -> None:
    setting = set_by(hour())
    assert 0.005 < setting.permitted < 0.008
    assert setting.dispersion == 1.0


def test_only_the_last_hour_counts() -> None:
    old = minutes([(600, 300)] * 60, first=-200)
    assert set_by(old + hour()).permitted == set_by(hour()).permitted
    assert len(hour()) == HISTORY


@pytest.mark.parametrize(("errors", "within"), [(600, 1), (120, 1), (30, 2), (12, 8)])
def test_a_rise_blows_it_within_minutes_the_sooner_the_steeper(errors: int, within: int) -> None:
    """At 10 requests a second and 0.5 % before; all of them failing is 600 a minute."""
    setting = set_by(hour())
    rise = minutes([(600, errors)] * within)
    verdict = blown(setting, rise)
    assert verdict is not None
    assert "nobody is blamed" in verdict.because
    assert verdict.numbers["endpoint_errors"] == errors * within


def test_a_canary_of_5_percent_that_fails_a_fifth_of_its_requests_is_felt() -> None:
    """20 % of a 5 % share lifts the endpoint from 0.5 to 1.5 %: felt in a few minutes."""
    setting = set_by(hour())
    assert blown(setting, minutes([(600, 9)] * 8)) is not None


def test_minutes_before_it_was_set_do_not_count() -> None:
    assert blown(set_by(hour()), minutes([(600, 600)] * 30, first=-30)) is None


def test_an_endpoint_that_stays_as_it_was_blows_it_in_one_step_of_a_hundred_at_most() -> None:
    seed, runs = 20261123, 300
    chance = random.Random(seed)  # noqa: S311 - a simulation

    def minute(rate: float) -> tuple[int, int]:
        return 200, sum(chance.random() < rate for _ in range(200))

    false = 0
    for _ in range(runs):
        setting = set_by(minutes([minute(0.005) for _ in range(60)], first=-60))
        false += blown(setting, minutes([minute(0.005) for _ in range(40)])) is not None
    assert false <= runs * FALSE_FUSE + 3, f"seed {seed}: {false} of {runs}"


def test_errors_that_always_came_in_bursts_are_no_alarm_when_they_come_again() -> None:
    burst = [(600, 0)] * 9 + [(600, 30)]
    setting = set_by(minutes(burst * 6, first=-60))
    assert setting.dispersion > 10
    assert blown(setting, minutes(burst)) is None
    calm = set_by(hour(errors=3))
    assert blown(calm, minutes(burst)) is not None
