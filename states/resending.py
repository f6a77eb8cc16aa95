"""How often the same call is sent again: a call that has no effect is not helped by many more."""

from datetime import datetime, timedelta

from states.attempt import MEMORY, Attempt
from states.release import Application, Release

RESENDS = 2
"""How often calls of a kind are sent again within the window."""
WINDOW = timedelta(minutes=10)
FIRST_WAIT = timedelta(seconds=5)
"""Least time before the same call is sent again; doubled each time."""
LAST_WAIT = timedelta(minutes=1)
"""Pace of a rollback that takes no effect: it is sent for as long as it takes."""
FRESH = timedelta(seconds=10)
"""So soon after a call, a failure that shows may still be that of an earlier one."""

REST = "rest"
"""When (`Application.followed`) the endpoint was last seen without an update under way."""

ANOTHER = "another"
"""When (`Application.followed`) the endpoint was found gone, or another one in its place."""

ARRIVED = "arrived"
"""When (`Application.followed`) what the last call for a serving state asked for was last seen."""

KNOWN = "known"
"""When (`Application.followed`) it was last known what had come of all calls to serve something."""

NAMED = "named"
"""When (`Application.followed`) a person, or a rollback, was done with what the alias was asked."""

BEGUN = "begun"
"""When (`Application.followed`) the live release began, on the clock that its calls are told by."""

assert MEMORY >= 2 * WINDOW, "of each call in the window it is known whether it was the first"


def begun(application: Application, release: Release) -> datetime:
    """When the live release's attempt began.

    What people read (`since`) does not go along with a clock that is set, as calls' times do.
    """
    return application.followed.get(BEGUN, release.since)


def calls(application: Application, kind: str, *, at: datetime | None = None) -> list[Attempt]:
    """The calls of a kind that are remembered, oldest first; with `at`, those sent until then.

    What lies ahead of a moment was sent before the clock was set back.
    """
    return [
        one for one in application.attempts if one.kind == kind and (at is None or one.at <= at)
    ]


def unrefused(application: Application, kind: str, *, at: datetime | None = None) -> list[Attempt]:
    """Those of them that may have had an effect, or may have one yet."""
    return [one for one in calls(application, kind, at=at) if one.outcome != "refused"]


def resends(application: Application, kind: str, target: str, now: datetime) -> int:
    """How many calls in the window repeat an earlier one that nobody has seen in effect.

    Of endpoint and alias whatever the target, so that two targets in turn are not sent for ever;
    of tags, which are many and apart, those of this target. Calls are read from the record: a
    restart forgets none.
    """
    since = application.followed.get(ARRIVED if kind == "serve" else kind)
    known: set[str] = set()
    count = 0
    for one in calls(application, kind, at=now):
        if (kind == "tag" and one.target != target) or (since is not None and one.at < since):
            continue
        count += one.target in known and now - one.at < WINDOW
        known.add(one.target)
    return count


def spent(application: Application, kind: str, target: str, now: datetime) -> bool:
    """No more re-sending for now."""
    return resends(application, kind, target, now) >= RESENDS
