"""How the clock of the endpoint's minutes stands to the record's.

A fuse and its minutes have Databricks' time, and nobody vouches that the record's is the same: a
machine without NTP may be an hour off. What a minute tells by its coming is enough: it is told
after its end, and, where it is new, not long after.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from policies.fuse import FRESH, Minute
from states.world import World


def followed(
    ahead: timedelta, had: Sequence[Minute], minutes: Sequence[Minute], world: World
) -> timedelta:
    """How far the minutes' clock is ahead, by what was believed and the minutes since a look.

    It is believed as far as they allow, so that two clocks that agree are not parted by the lag of
    the metrics. Minutes that are not new say nothing: silence is no sign of a clock.
    """
    if not had or minutes[-1].ends_at <= had[-1].ends_at:
        return ahead
    return bounded(ahead, minutes[-1].ends_at, world.now + world.told_after)


def bounded(ahead: timedelta, newest: datetime, now: datetime) -> timedelta:
    """What is believed, within what the newest minute allows that was told by `now`."""
    least = newest - now
    return min(max(ahead, least), least + FRESH)


def shown_by(minutes: Sequence[Minute], ahead: timedelta, now: datetime) -> datetime:
    """What the minutes' clock shows, at `now` of the record's; never less than they have told."""
    shown = now + ahead
    return max(shown, minutes[-1].ends_at) if minutes else shown
