"""Leaps of the record's clock, noticed by a clock of this machine that is never set."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

LEAST = timedelta(seconds=5)
"""A smaller difference is no leap: two clocks drift, and reading one may wait for the other."""


class Dated(Protocol):
    """Something read from the record."""

    @property
    def now(self) -> datetime:
        """The record's time when it was read."""


Timed = TypeVar("Timed", bound=Dated)


@dataclass(frozen=True, slots=True)
class _Reading:
    """Both clocks, read together."""

    now: datetime
    ticks: float
    took: float
    """Seconds from before the record's clock was read to after it: so far they may be apart."""


@dataclass(slots=True)
class Leaps:
    """What the record's clock should show by now, since both clocks were last read together."""

    steady: Callable[[], float] | None = None
    """None: the record's clock is believed, whatever it shows."""
    _last: _Reading | None = field(default=None, init=False)
    _agreed: _Reading | None = field(default=None, init=False)
    _unsure: _Reading | None = field(default=None, init=False)
    """By which was decided what the record may have, or not."""

    def read(self, load: Callable[[], Timed]) -> Timed:
        """Read from the record what has its time in it."""
        if self.steady is None:
            return load()
        before = self.steady()
        loaded = load()
        took = self.steady() - before
        self._last = _Reading(loaded.now, before + took / 2, took)
        return loaded

    def since_read(self) -> timedelta:
        """How long ago it was, at most, that the record's clock was read."""
        if self.steady is None or self._last is None:
            return timedelta()
        return timedelta(seconds=self.steady() - self._last.ticks + self._last.took / 2)

    def reading_took(self) -> timedelta:
        """How long it took to read the record's clock: so much less ago it may have been."""
        return timedelta(seconds=self._last.took if self._last else 0.0)

    def by(self) -> timedelta:
        """How far the record's clock had leapt when it was read; nothing if it only went on.

        At most: where a reading took long, the record is moved too far rather than not far enough,
        so that no stay that it tells of has begun before it did.
        """
        one, other = self._agreed, self._last
        if one is None or other is None:
            return timedelta()
        leap = other.now - one.now - timedelta(seconds=other.ticks - one.ticks)
        unsure = timedelta(seconds=one.took + other.took)
        return leap + unsure / 2 if abs(leap) >= LEAST + unsure else timedelta()

    def forget(self) -> None:
        """Others may have kept the record meanwhile, and moved it along: begin anew."""
        self._last = self._agreed = self._unsure = None

    def agree(self) -> None:
        """The record has the time that was read: from there on, leaps are counted anew."""
        self._agreed = self._last

    def doubt(self) -> None:
        """What was decided by the last reading is about to be written; it may come true untold."""
        self._unsure = self._last

    def known(self, *, written: bool) -> None:
        """The record tells by now whether it was: if so, it had the time that was read then."""
        if written:
            self._agreed = self._unsure
        self._unsure = None
