"""What the clock of an endpoint's minutes shows, which is not the record's.

A fuse and its minutes have Databricks' time. How far that is ahead is measured at each look
(`World.ahead`), and never below what it is: a minute that is taken to be older than it is may not
count, and one that is taken to be newer would tell of a stay that was not yet.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from policies.fuse import Minute


def shown_by(minutes: Sequence[Minute], ahead: timedelta, now: datetime) -> datetime:
    """What the minutes' clock shows, at `now` of the record's; never less than they have told."""
    shown = now + ahead
    return max(shown, minutes[-1].ends_at) if minutes else shown
