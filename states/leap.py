"""The record on a clock that was set: all that this clock told is moved along with it.

Durations are accumulated, so no leap shortens them. What is compared as a moment (where the
evidence is cut, how far a source has told, when an entity may go) would be off by the leap.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from states.release import Application, Release
from states.setup import moved
from states.staged import Staged
from states.world import Evidence

UNTOLD = timedelta(minutes=2)
"""So far apart are two measures of the warehouse's lead only if a clock was set between them: each
is too high by a minute at most, which its statement may have waited (`Evidence.lead`)."""


def leapt(application: Application, by: timedelta) -> Application:
    """The application as it would stand, had the clock always shown what it shows since the leap.

    What people read (`since`) stays as it was told, and so do the times of other clocks: blocks',
    minutes' and fuses'.
    """
    return replace(
        application,
        looked_at=_moved(application.looked_at, by),
        staging=_staged(application.staging, by),
        upkeep=moved(application.upkeep, by),
        followed={kind: since + by for kind, since in application.followed.items()},
        attempts=tuple(replace(one, at=one.at + by) for one in application.attempts),
        releases=tuple(_release(one, by) for one in application.releases),
    )


def not_ahead(application: Application, now: datetime) -> Application:
    """The application as it is, or moved back with a clock that shows less than at its last look.

    A replica that takes over, and a daemon that starts, have no reading of their own from before
    the clock was set. By so much, at least, it was: nobody looks in the future.
    """
    looked_at = application.looked_at
    if looked_at is None or looked_at <= now:
        return application
    return leapt(application, now - looked_at)


def leapt_untold(release: Release | None, evidence: Evidence | None) -> timedelta:
    """How far the record's clock was set since the warehouse last answered; nothing if it was not.

    A replica that takes over has no reading of its own from before; but the warehouse's clock went
    on. The `Date` of answers is no witness: what stands between may answer with an old one.
    """
    if release is None or evidence is None or release.lead is None or evidence.lead is None:
        return timedelta()
    by = release.lead - evidence.lead
    return by if abs(by) >= UNTOLD else timedelta()


def same_times(one: Application, other: Application) -> bool:
    """Whether two states of an application are on one clock, as of one look.

    It tells whether a look was written down. What operators write meanwhile, and releases that only
    one of the two has, tell nothing of it.
    """
    known = {(release.version, release.attempt): release for release in other.releases}
    both = [
        (release, known[mark])
        for release in one.releases
        if (mark := (release.version, release.attempt)) in known
    ]
    return _times(one) == _times(other) and all(_stays(a) == _stays(b) for a, b in both)


def _times(application: Application) -> tuple[object, ...]:
    """What a leap moves of an application, or a look adds to."""
    asked = application.staging and application.staging.asked_at
    return application.looked_at, application.behind, application.followed, asked


def _stays(release: Release) -> tuple[object, ...]:
    """The same of a release."""
    marks = release.ended_at, release.unlisted_since, release.watermarks
    return release.in_state, release.on_step, release.spans, release.split, *marks


def _release(release: Release, by: timedelta) -> Release:
    return replace(
        release,
        ended_at=_moved(release.ended_at, by),
        unlisted_since=_moved(release.unlisted_since, by),
        spans=tuple(replace(one, starts_at=one.starts_at + by) for one in release.spans),
        ahead=release.ahead - by,
        split=release.split and replace(release.split, seen_at=release.split.seen_at + by),
        watermarks={source: mark + by for source, mark in release.watermarks.items()},
        lead=None if release.lead is None else release.lead - by,
    )


def _staged(staged: Staged | None, by: timedelta) -> Staged | None:
    return staged and replace(staged, asked_at=staged.asked_at + by)


def _moved(moment: datetime | None, by: timedelta) -> datetime | None:
    return None if moment is None else moment + by
