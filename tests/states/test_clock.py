"""How the minutes' clock stands to the record's is told by when a new minute comes."""

from datetime import UTC, datetime, timedelta

import pytest

from policies.fuse import FRESH, Minute
from states.clock import followed, shown_by
from states.world import World

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def minute(ended: float) -> Minute:
    """One that ended so many minutes from now, as the record's clock shows it."""
    return Minute(ends_at=NOW + ended * MINUTE, requests=600, errors=3)


def came(ended: float, believed: float = 0, *, after: timedelta = timedelta()) -> float:
    """Minutes that the clock is ahead, once a minute that was new has come."""
    had = (minute(ended - 1),)
    world = World(now=NOW, told_after=after)
    return followed(believed * MINUTE, had, (*had, minute(ended)), world) / MINUTE


@pytest.mark.parametrize("lag", [0, 0.5, 2, FRESH / MINUTE])
def test_clocks_that_agree_are_not_parted_by_the_lag_of_the_metrics(lag: float) -> None:
    assert came(-lag) == 0


@pytest.mark.parametrize("ahead", [-60, -5, 5, 60])
@pytest.mark.parametrize("lag", [0, 1, FRESH / MINUTE])
def test_clocks_that_do_not_are_known_to_within_that_lag(ahead: float, lag: float) -> None:
    assert abs(came(ahead - lag) - ahead) <= FRESH / MINUTE


def test_what_is_believed_holds_within_what_the_minutes_allow() -> None:
    assert came(-61, believed=-60) == -60
    assert came(-61, believed=-57) == -61 + FRESH / MINUTE
    assert came(-59, believed=-60) == -59


def test_a_look_that_takes_long_before_its_minutes_is_no_clock_that_is_off() -> None:
    assert came(4, after=5 * MINUTE) == 0


def test_minutes_that_are_not_new_say_nothing() -> None:
    told = (minute(-30),)
    assert followed(MINUTE, told, told, World(now=NOW)) == MINUTE
    assert followed(MINUTE, (), told, World(now=NOW)) == MINUTE, "nobody knows since when"
    assert followed(MINUTE, (), (), World(now=NOW)) == MINUTE


@pytest.mark.parametrize(("ahead", "shown"), [(0, 0), (5, 5), (-60, -1)])
def test_it_shows_no_less_than_its_minutes_have_told(ahead: float, shown: float) -> None:
    assert shown_by((minute(-1),), ahead * MINUTE, NOW) == NOW + shown * MINUTE
    assert shown_by((), ahead * MINUTE, NOW) == NOW + ahead * MINUTE
