"""What the clock of an endpoint's minutes shows, which is not the record's.

A fuse and its minutes have Databricks' time. How far that is ahead is measured at each look
(`World.ahead`), and never below what it is: a minute that is taken to be older than it is may not
count, and one that is taken to be newer would tell of a stay that was not yet.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from policies.evidence import total
from policies.fuse import HISTORY, MINUTE, Fuse, Minute, as_counted, unexcused
from policies.guards import ERRORS
from policies.standing import UNCOMPARED
from states.machine import State
from states.release import Application, Release


def shown_by(minutes: Sequence[Minute], ahead: timedelta, now: datetime) -> datetime:
    """What the minutes' clock shows, at `now` of the record's; never less than they have told."""
    shown = now + ahead
    return max(shown, minutes[-1].ends_at) if minutes else shown


def usual(application: Application, ahead: timedelta) -> tuple[Minute, ...]:
    """The endpoint's minutes without those in which a version had users that was sent home.

    Its errors tell nothing of those to come: that they came and went is no cluster, and where
    stable has none they would be all there is, so that the next one could prove nothing for a day.
    Only where they are not most of all, nor of the last two hours: what was usual at night is not
    what is by day.
    """
    away = [
        (one.spans[0].starts_at + ahead, one.ended_at + one.in_state + ahead)
        for one in application.releases
        if one.state is State.ROLLED_BACK and one.spans and one.ended_at is not None
    ]
    minutes = application.minutes
    theirs = {
        one.ends_at
        for one in minutes
        if any(begun < one.ends_at and one.ends_at - MINUTE < home for begun, home in away)
    }
    for part in (minutes, minutes[-2 * HISTORY :]):
        if 2 * sum(one.ends_at in theirs for one in part) > len(part):
            return minutes
    return tuple(one for one in minutes if one.ends_at not in theirs)


def held_to(application: Application, release: Release, setting: Fuse | None) -> Fuse | None:
    """What the hour before permits a version that gets everybody, as its guard counts errors.

    Blocks and minutes have the same clock. Before a first release, whoever was served got that very
    version, as when people had given it users by hand: its own errors permit it none. What one that
    serves without proof did, over the hard limit, may be what is wrong with it, and excuses none.
    """
    limit = release.plan.guards.errors.limit
    if release.plan.incumbent is None:
        return None
    if release.plan.baseline is None and setting is not None and setting.permitted > limit:
        setting = unexcused(setting, UNCOMPARED)
    source = release.sources.get(ERRORS)
    blocks = [one for one in release.blocks if one.source == source]
    if setting is None or not blocks:
        return setting
    begun, ended = blocks[0].opened_at, blocks[-1].closed_at
    meanwhile = [one for one in application.minutes if begun + MINUTE <= one.ends_at <= ended]
    candidate, stable = total(blocks)
    return as_counted(setting, meanwhile, candidate + stable)
