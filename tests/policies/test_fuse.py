import math
import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from policies.evidence import NOTHING, Arm
from policies.fuse import (
    BLOWS,
    DAY,
    FALSE_FUSE,
    HISTORY,
    LEAST_RISE,
    STRETCH,
    Fuse,
    Minute,
    as_counted,
    blown,
    fuse,
    watched,
)

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def minutes(counts: Iterable[tuple[int, int]], first: int = 1) -> list[Minute]:
    """Minutes of (requests, errors), ending `first` minutes after the start and on."""
    return [
        Minute(ends_at=START + timedelta(minutes=number), requests=requests, errors=errors)
        for number, (requests, errors) in enumerate(counts, start=first)
    ]


def hour(requests: int = 600, errors: int = 3) -> list[Minute]:
    return minutes([(requests, errors)] * 60, first=-60)


def set_by(before: list[Minute], weight: int = 5) -> Fuse:
    setting = fuse(before, START, weight)
    assert setting is not None
    return setting


def test_an_endpoint_without_history_has_no_fuse() -> None:
    assert fuse([], START, 5) is None
    assert fuse(minutes([(0, 0)] * 5, first=-5), START, 5) is None


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


def test_errors_that_come_unevenly_are_no_alarm_when_they_go_on_so() -> None:
    uneven = [(600, 0), (600, 12)]
    setting = set_by(minutes(uneven * 30, first=-60))
    assert setting.dispersion > 5
    assert blown(setting, minutes(uneven * 30)) is None
    assert blown(set_by(hour(errors=3)), minutes(uneven * 30)) is not None


def burst_day(length: int) -> list[Minute]:
    """A day on which all of the endpoint errs for some minutes of each hour, stable's users too."""
    each = [(600, 3)] * (30 - length) + [(600, 60)] * length + [(600, 3)] * 30
    return minutes(each * (DAY // 60), first=-DAY)


@pytest.mark.parametrize("length", [2, 5, 8])
def test_bursts_like_those_of_the_day_before_are_outlasted_and_what_stays_is_not(
    length: int,
) -> None:
    setting = set_by(burst_day(length))
    assert any(one is not None for one in setting.most)
    burst = [(600, 3)] * 5 + [(600, 60)] * length + [(600, 3)] * 5
    assert blown(setting, minutes(burst * 3)) is None
    assert blown(set_by(hour()), minutes(burst)) is not None, "unknown bursts are an alarm"
    assert blown(setting, minutes([(600, 60)] * 3 * length)) is not None


@pytest.mark.parametrize(
    ("told", "counted", "permits"),
    [
        (100, 1, 0.0075),  # 99 of 1,000 were turned away, which the guard does not call errors
        (61, 1, 0.0465),  # 60 were
        (100, 100, 0.1056),  # the guard calls the same errors
        (0, 1, 0.1056),  # the metrics told of fewer than the guard counts
    ],
)
def test_what_a_guard_does_not_call_errors_permits_it_none(
    told: int, counted: int, permits: float
) -> None:
    setting = set_by(minutes([(1_000, 100)] * 60, first=-60))
    arm = Arm(requests=30_000, errors=30 * counted, server_errors=0)
    own = as_counted(setting, minutes([(1_000, told)] * 30), arm)
    assert own == replace(setting, permitted=own.permitted)
    assert own.permitted == pytest.approx(permits, abs=1e-4)


def test_where_nothing_was_counted_meanwhile_the_hour_permits_what_it_does() -> None:
    setting = set_by(minutes([(1_000, 100)] * 60, first=-60))
    assert as_counted(setting, minutes([(1_000, 100)]), NOTHING) == setting
    assert as_counted(setting, [], Arm(requests=1_000, errors=0, server_errors=0)) == setting


def test_however_much_is_left_out_a_least_rise_is_permitted() -> None:
    setting = set_by(hour())
    arm = Arm(requests=100_000, errors=0, server_errors=0)
    assert as_counted(setting, minutes([(600, 300)] * 30), arm).permitted == LEAST_RISE


def test_a_burst_within_the_hour_before_permits_no_more_than_the_rest_of_it() -> None:
    rest, burst = [(600, 3)] * 57, [(600, 60)] * 3
    setting = set_by(minutes([*rest[:30], *burst, *rest[30:]], first=-60))
    assert setting.permitted == pytest.approx(set_by(hour()).permitted, rel=0.02)
    assert setting.dispersion == set_by(hour()).dispersion


def test_an_hour_that_is_all_burst_is_taken_as_it_is() -> None:
    setting = set_by(minutes([(10, 10), (10, 0)] * 30, first=-60))
    assert setting.permitted == 0.5


@pytest.mark.parametrize("weight", [1, 5, 25])
def test_an_outage_counts_for_no_more_than_the_candidates_users_could_have_met(
    weight: int,
) -> None:
    """Nothing that befalls everybody is worse for the fuse than all of the candidate failing."""
    setting = set_by(minutes([(6000, 3)] * 60, first=-60), weight)
    alarms = []
    for share in (1.5 * weight, 4 * weight):
        errors = min(6000, round(6000 * share / 100))
        setting = replace(setting, most=())
        lasting = [n for n in range(1, 9) if blown(setting, minutes([(6000, errors)] * n))]
        alarms.append(lasting[:1])
    assert alarms[0] == alarms[1]


def test_a_calm_day_holds_nothing_back() -> None:
    chance = random.Random(7)  # noqa: S311 - a simulation
    calm = [(600, sum(chance.random() < 0.005 for _ in range(600))) for _ in range(DAY)]
    assert set(set_by(minutes(calm, first=-DAY)).most) == {None}
    assert set_by(hour()).most == (), "an hour alone has nothing to be tried on"
    one_more = minutes([(600, 3)], first=-61)
    assert set(set_by(one_more + hour()).most) == {None}, "a minute before it is enough"


def test_a_long_tide_holds_back_the_bets_on_small_rises_alone() -> None:
    """Twice the errors for half an hour, twice a day: a rise to twenty times that is none of it."""
    tide = [(6000, 30)] * 690 + [(6000, 60)] * 30
    setting = set_by(minutes(tide * 2, first=-DAY))
    small, large = setting.most[2], setting.most[-1]
    assert small is not None
    assert large is None
    assert blown(setting, minutes([(6000, 60)] * 20)) is None
    assert blown(setting, minutes([(6000, 300)] * 2)) is not None


def bursty_day(seed: int) -> list[Minute]:
    """A day of ten requests a second with six outages of ten minutes, and errors in clusters."""
    drawn = random.Random(seed)  # noqa: S311 - no secret
    counts = []
    for number in range(DAY):
        usual = 3 * sum(drawn.random() < 0.01 for _ in range(200))
        outage = 60 if number % 240 >= 230 else 0
        counts.append((600, usual + outage))
    return minutes(counts, first=-DAY)


@pytest.mark.parametrize("seed", [1, 2])
def test_no_hour_of_the_day_before_would_have_blown_it(
    seed: int,
) -> None:
    day = bursty_day(seed)
    most = set_by(day).most
    assert any(one is not None for one in most)

    def blows(cap: tuple[float | None, ...]) -> bool:
        starts = range(HISTORY, DAY, HISTORY)
        found = [set_by(day[start - HISTORY : start]) for start in starts]
        met = [day[start : start + HISTORY] for start in starts]
        settings = [replace(one, most=cap, set_at=day[0].ends_at) for one in found]
        return any(blown(*pair) is not None for pair in zip(settings, met, strict=True))

    assert not blows(most)
    assert blows(()), "without it, one would have"


def test_the_alarm_tells_the_counts_and_what_was_permitted_as_numbers() -> None:
    setting = set_by(hour())
    alarm = blown(setting, minutes([(600, 3), (600, 120), (600, 120)]))
    assert alarm is not None
    assert alarm.numbers == {
        "endpoint_requests": 1800,
        "endpoint_errors": 243,
        "permitted_rate": round(setting.permitted, 6),
        "dispersion": round(setting.dispersion, 3),
    }
    restless = set_by(minutes([(600, 0), (600, 12)] * 30, first=-60))
    told = blown(restless, minutes([(600, 300)] * 5))
    assert told is not None
    assert told.numbers["dispersion"] == pytest.approx(restless.dispersion, abs=0.0005)


def test_a_longer_stretch_may_win_more_than_a_minute_but_never_what_blows_it() -> None:
    """A burst lies in a window of some minutes, and fills only a part of it."""
    setting = set_by(burst_day(5))
    held = [index for index, one in enumerate(setting.most) if one is not None]
    lengths = (1, 2, 5, 60, 1440)
    for index in held:
        won = [setting.most_of(timedelta(minutes=length))[index] for length in lengths]
        assert won == sorted(won)
        assert won[-1] < BLOWS
        for length, one in zip(lengths, won, strict=True):
            assert one <= length * (setting.most[index] or 0.0)
    free = set(range(len(setting.most))) - set(held)
    assert all(setting.most_of(timedelta(minutes=5))[index] == math.inf for index in free)


def test_a_fuse_looks_back_on_no_more_than_the_present_stretch_of_its_step() -> None:
    """Each stretch is tested anew, so that a chance is known of a false alarm in it."""
    setting, bad, good = set_by(hour()), (600, 120), (600, 3)
    length = STRETCH // timedelta(minutes=1)
    ends_badly = [good] * (length - 1) + [bad]
    assert blown(setting, minutes(ends_badly)) is not None
    assert blown(setting, minutes([*ends_badly, good])) is None, "the next one has begun"
    told = blown(setting, minutes([*ends_badly, *[good] * (length - 1), bad]))
    assert told is not None
    assert told.numbers["endpoint_requests"] == length * 600
    assert "since 16:00 UTC, 4 h after the step was opened; the hour before it" in told.because


@pytest.mark.parametrize("begun", [0.5, 30, 59.5])
def test_a_minute_that_began_before_a_fuse_was_set_speaks_of_both_sides(begun: float) -> None:
    setting = set_by(hour())
    one = Minute(ends_at=START + timedelta(seconds=begun), requests=600, errors=600)
    assert blown(setting, [one]) is None
    assert watched(setting, [one]) == []
    whole = replace(one, ends_at=START + timedelta(minutes=1))
    assert watched(setting, [one, whole]) == [whole]
