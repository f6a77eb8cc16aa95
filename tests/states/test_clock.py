"""What the minutes' clock shows, and which of the minutes tell what is usual."""

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from policies.dispersion import clusters
from policies.fuse import Minute, fuse
from states.clock import shown_by, usual
from states.machine import State
from states.release import Release
from states.span import Span
from tests.states.byhand import candidate, record, turn
from tests.states.story import Story

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(("ahead", "shown"), [(0, 0), (5, 5), (-60, -1)])
def test_it_shows_no_less_than_its_minutes_have_told(ahead: float, shown: float) -> None:
    minute = Minute(ends_at=NOW - MINUTE, requests=600, errors=3)
    assert shown_by((minute,), ahead * MINUTE, NOW) == NOW + shown * MINUTE
    assert shown_by((), ahead * MINUTE, NOW) == NOW + ahead * MINUTE


def minutes(*ends: int, errors: int = 0) -> tuple[Minute, ...]:
    """Minutes that ended so long before now."""
    return tuple(
        Minute(ends_at=NOW - end * MINUTE, requests=6_000, errors=errors)
        for end in sorted(ends, reverse=True)
    )


def sent_home(**facts: object) -> Release:
    """Version 2 had users from 20 minutes ago, was judged 15 minutes ago, and 2 later was home."""
    opened = Span(number=1, step=1, weight=5, starts_at=NOW - 20 * MINUTE, settled=False)
    told = {"state": State.ROLLED_BACK, "spans": (opened,), "ended_at": NOW - 15 * MINUTE}
    return candidate(**({"in_state": 2 * MINUTE, **told} | facts))


@pytest.mark.parametrize(
    ("facts", "ahead", "left_out"),
    [
        ({}, 0, range(13, 20)),
        ({"in_state": 4 * MINUTE}, 0, range(11, 20)),
        ({}, 5, range(8, 15)),
        ({"state": State.PRODUCTION, "ended_at": None}, 0, ()),
        ({"state": State.RETIRED}, 0, ()),
        ({"spans": ()}, 0, ()),
        ({"ended_at": None}, 0, ()),
    ],
)
def test_minutes_of_a_version_that_was_sent_home_tell_nothing_of_what_is_usual(
    facts: dict[str, object], ahead: int, left_out: Collection[int]
) -> None:
    known = record(sent_home(**facts), minutes=minutes(*range(1, 61)))
    left = [one for one in range(1, 61) if one not in left_out]
    assert usual(known, ahead * MINUTE) == minutes(*left)


@pytest.mark.parametrize(
    ("had_users_for", "of", "left"),
    [
        (60, 1_440, 1_380),
        (61, 1_440, 1_440),  # most of the last two hours: by day it is not as it was at night
        (20, 40, 20),
        (21, 40, 40),
        (5, 5, 5),
    ],
)
def test_where_they_are_most_of_what_there_is_they_tell_it_all_the_same(
    had_users_for: int, of: int, left: int
) -> None:
    opened = Span(number=1, step=1, weight=5, starts_at=NOW - had_users_for * MINUTE, settled=False)
    rolled = sent_home(spans=(opened,), ended_at=NOW, in_state=timedelta())
    known = record(rolled, minutes=minutes(*range(of)))
    assert len(usual(known, timedelta())) == left


def test_a_bad_version_where_nothing_ever_failed_leaves_the_next_as_easy_to_judge() -> None:
    story = Story()
    start = story.now
    story.look()
    story.error_rates["2"] = 0.05
    story.register(2)
    story.until("Canary")
    begun = story.now
    rolled = story.until("RolledBack")
    story.look(times=2)
    clean = range(10, 600)
    before = tuple(Minute(ends_at=start - n * MINUTE, requests=6_000, errors=0) for n in clean)
    assert rolled.ended_at is not None
    bad = Minute(ends_at=begun + MINUTE, requests=6_000, errors=303)
    after = Minute(ends_at=rolled.ended_at + 2 * MINUTE, requests=6_000, errors=0)
    story.minutes = (*reversed(before), bad, after)
    assert clusters(story.minutes) > 4, "they would be all the errors that there are"
    story.register(3)
    story.until("Canary")
    assert story.live.dispersion == 1


def test_the_fuse_of_the_next_permits_nothing_for_what_a_bad_version_did() -> None:
    rolled = sent_home(in_state=10 * MINUTE)  # errors were its own for a quarter of an hour
    served = tuple(
        replace(one, requests=600, errors=3 if 5 <= (NOW - one.ends_at) / MINUTE < 20 else 0)
        for one in minutes(*range(1, 61))
    )
    known = record(rolled, minutes=served)
    told = fuse(served, NOW, 5)
    assert told is not None
    assert told.permitted > 0.003, "they would be what the hour before allows"
    setting = turn(known, None, now=NOW).set_fuse(candidate(version="3"), 5)["fuse"]
    assert setting.permitted < 0.0015
