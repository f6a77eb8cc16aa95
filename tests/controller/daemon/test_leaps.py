"""A leap of the record's clock is told by a clock that is never set, as well as it was read."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from controller.daemon.leaps import Leaps

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Told:
    """What was read, with the record's time in it."""

    now: datetime


@dataclass
class Clocks:
    """The record's clock, one that is never set, and what is known of a leap by both."""

    ticks: float = 0.0
    was_set: timedelta = timedelta()
    leaps: Leaps = field(init=False)

    def __post_init__(self) -> None:
        self.leaps = Leaps(lambda: self.ticks)

    def read(self, *, before: float = 0.0, after: float = 0.0) -> None:
        """Read the record's clock, seconds after it was asked for and before it came."""

        def load() -> Told:
            self.ticks += before
            told = Told(NOW + self.was_set + timedelta(seconds=self.ticks))
            self.ticks += after
            return told

        self.leaps.read(load)


@pytest.mark.parametrize("by", [HOUR, -HOUR, 24 * HOUR, -24 * HOUR], ids=str)
def test_a_leap_is_told_as_it_was(by: timedelta) -> None:
    clocks = Clocks()
    clocks.read()
    clocks.leaps.agree()
    clocks.ticks += 30
    clocks.was_set += by
    clocks.read()
    assert clocks.leaps.by() == by
    clocks.leaps.agree()
    assert clocks.leaps.by() == timedelta()


@pytest.mark.parametrize("first", [(54, 0), (0, 54), (27, 27), (0, 0)])
@pytest.mark.parametrize("second", [(20, 0), (0, 20), (10, 10), (0, 0)])
@pytest.mark.parametrize("by", [HOUR, -HOUR], ids=str)
def test_a_reading_that_took_long_tells_of_no_smaller_leap_and_of_one_less_than_it_took(
    by: timedelta, first: tuple[float, float], second: tuple[float, float]
) -> None:
    clocks = Clocks()
    clocks.read(before=first[0], after=first[1])
    clocks.leaps.agree()
    clocks.was_set += by
    clocks.read(before=second[0], after=second[1])
    assert timedelta() <= clocks.leaps.by() - by <= timedelta(seconds=sum(first) + sum(second))


@pytest.mark.parametrize(("before", "after"), [(54, 0), (0, 54), (27, 27)])
def test_when_the_clock_was_read_is_known_to_within_what_the_reading_took(
    before: float, after: float
) -> None:
    clocks = Clocks()
    clocks.read(before=before, after=after)
    clocks.ticks += 3
    most, took = clocks.leaps.since_read(), clocks.leaps.reading_took()
    assert most - took <= timedelta(seconds=after + 3) <= most


@pytest.mark.parametrize(("before", "after"), [(54, 0), (0, 54)])
def test_a_reading_that_took_long_is_no_leap(before: float, after: float) -> None:
    clocks = Clocks()
    clocks.read()
    clocks.leaps.agree()
    clocks.read(before=before, after=after)
    assert clocks.leaps.by() == timedelta()
