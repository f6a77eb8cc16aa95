"""How far another clock is ahead of the record's, by answers that tell its time.

The times of an endpoint's metrics, and of a warehouse, are Databricks' own, and nobody vouches that
the record's clock is the same: a machine without NTP may be an hour off. A warehouse tells its time
with its numbers; of the workspace, `Date` does. RFC 9110, 6.6.1: an origin server tells in it when
it answered, in whole seconds.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

COARSE = timedelta(seconds=2)
"""A `Date` may be older than its answer by this: by the second that is cut off, and by one for
which servers keep it."""


@dataclass(frozen=True, slots=True)
class Lead:
    """Between what and what it lies."""

    least: timedelta
    most: timedelta

    @classmethod
    def shown(cls, told: datetime, asked_at: datetime, until: datetime) -> Self:
        """By the `Date` of one answer; when it was asked for, and came, by the record's clock."""
        return cls(least=told - until, most=told + COARSE - asked_at)

    def narrowed(self, newer: Self) -> Self:
        """By a newer answer as well, which alone counts where the two disagree: a clock was set."""
        least, most = max(self.least, newer.least), min(self.most, newer.most)
        return type(self)(least, most) if least <= most else newer
