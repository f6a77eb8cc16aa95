"""Leaps of the record's clock, noticed by a clock of this machine that is never set."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

LEAST = timedelta(seconds=5)
"""A smaller difference is no leap: two clocks drift, and reading one may wait for the other."""


def steady() -> float:
    """Seconds on a clock that is never set, and that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass
class Leaps:
    """What the record's clock should show by now, since both clocks were last read together."""

    steady: Callable[[], float] | None = None
    """None: the record's clock is believed, whatever it shows."""
    _agreed: tuple[datetime, float] | None = field(default=None, init=False)

    def by(self, now: datetime) -> timedelta:
        """How far the record's clock leapt since `agree`; nothing if it went on as clocks do."""
        if self.steady is None or self._agreed is None:
            return timedelta()
        then, ticks = self._agreed
        leap = now - then - timedelta(seconds=self.steady() - ticks)
        return leap if abs(leap) >= LEAST else timedelta()

    def agree(self, now: datetime) -> None:
        """The record was written at this time: from here on, leaps are counted anew."""
        if self.steady is not None:
            self._agreed = now, self.steady()
