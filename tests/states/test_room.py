"""Room for fifteen served entities: what is taken away for one more, and what never is."""

from dataclasses import replace
from datetime import timedelta

import pytest

from states.machine import State
from states.release import Application, Release
from states.room import crowded, making_room
from states.turn import Turn
from states.world import Absent, Endpoint, Serving, Share
from tests.states.records import application, endpoint, release, stable, told, turn
from tests.states.story import SPEC, START, serving

NEW = release(State.REGISTERED, version="30")


def theirs(number: int) -> Serving:
    """So many entities at 0 % that others put there."""
    return Serving(
        {
            f"theirs-{one:02}": Share(model="main.other", version="1", weight=0)
            for one in range(number)
        }
    )


def full(number: int, *more: Release, **facts: object) -> Application:
    """Stable, and so many entities of others; version 30 waits for a place."""
    return application(stable(), *more, NEW, carried=theirs(number), **facts)


def kept(number: int, minutes: float, **facts: object) -> Release:
    """A version that lost its users some minutes ago, and is kept a while."""
    ended = START - timedelta(minutes=minutes)
    return release(State.RETIRED, version=str(number), ended_at=ended, **facts)


def seen(known: Application, *others: str) -> Endpoint:
    """The endpoint with all that is wanted there."""
    kept_there = [one for one in known.releases if one.ended_at and not one.removed]
    ours = {f"v{one.version}": 0 for one in kept_there if one.version != known.stable}
    shares = {**serving(v1=100, **ours).shares, **known.carried.shares}
    more = {one: Share(model="main.other", version="1", weight=0) for one in others}
    return endpoint(Serving(shares | more))


def looked(known: Application, at: Endpoint | Absent | None) -> tuple[str | None, bool, Turn]:
    """Why there is no room, whether some is being made, and what came of it."""
    made = turn(known, at)
    return crowded(made, NEW), making_room(made, NEW), made


def sentence(taken: int, carried: int) -> str:
    return (
        f"endpoint {SPEC.endpoint} has {taken} served entities, and Databricks takes 15: {carried} "
        "at 0 % are not Headgate's to remove; remove one of them by hand"
    )


@pytest.mark.parametrize(("number", "fits"), [(13, True), (14, False), (15, False)])
def test_fifteen_entities_fit_the_new_one_counted(number: int, *, fits: bool) -> None:
    known = full(number)
    why, making, made = looked(known, seen(known))
    assert why == (None if fits else sentence(number + 1, number))
    assert making is not fits
    assert (made.application, made.events) == (known, [])


def test_what_is_wanted_counts_where_it_is_not_seen_and_what_is_seen_where_it_is_not_wanted() -> (
    None
):
    known = full(14)
    assert looked(known, Absent())[:2] == (sentence(15, 14), True)
    fewer = full(13)
    found = seen(fewer, "stranger")
    assert looked(fewer, found)[:2] == (None, True), "it is about to go"
    nothing = replace(full(15), stable=None)
    assert looked(nothing, Absent())[:2] == (None, False), "nothing is wanted of it"


def test_a_version_that_is_on_the_endpoint_takes_no_second_place() -> None:
    again = replace(NEW, attempt=2)
    before = kept(30, 5)
    known = application(stable(), before, again, carried=theirs(13))
    made = turn(known, seen(known))
    assert crowded(made, again) is None
    assert not making_room(made, again)


def test_what_was_kept_longest_makes_room_alone() -> None:
    known = full(12, kept(2, 9), kept(3, 10))
    why, making, made = looked(known, seen(known))
    because = "version 3 makes room for version 30: Databricks takes 15 served entities"
    assert (why, making) == (None, True)
    assert made.application == full(12, kept(2, 9), kept(3, 10, removed=True))
    assert made.events == [told("release.removed", because, version="3")]
    # The next look waits until that is seen.
    going = made.application
    why, making, made = looked(going, seen(known))
    assert (why, making, made.events, made.application) == (None, True, [], going)


def test_of_those_that_lost_their_users_at_once_the_older_version_goes_first() -> None:
    known = full(12, kept(2, 9), kept(3, 9))
    _, _, made = looked(known, seen(known))
    assert made.application == full(12, kept(2, 9, removed=True), kept(3, 9))


def test_nothing_is_taken_away_while_the_endpoint_is_being_changed() -> None:
    known = full(13, kept(2, 9))
    for elsewhere in (replace(seen(known), updating=True), endpoint(), Absent()):
        why, making, made = looked(known, elsewhere)
        assert (made.application, made.events) == (known, [])
        assert why is None
        assert making


@pytest.mark.parametrize(
    "one",
    [
        kept(2, 9, removed=True),
        replace(kept(2, 9), ended_at=None),
        replace(stable(), ended_at=START),
        kept(30, 9),
    ],
)
def test_what_has_users_is_gone_or_is_to_come_makes_no_room(one: Release) -> None:
    others = [] if one.version == "1" else [stable()]
    known = application(*others, one, replace(NEW, attempt=2), carried=theirs(15))
    why, making, made = looked(known, seen(known))
    # Fifteen of others, and stable, beside what is to come.
    assert (why, making) == (sentence(16, 15), True)
    assert (made.application, made.events) == (known, [])
