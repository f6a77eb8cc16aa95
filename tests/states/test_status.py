"""What operators read of each state."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from policies.replay import Replay, Replayed
from policies.verdict import Outcome
from states.difference import Change
from states.machine import State
from states.release import Order, Release
from states.span import Span
from states.status import LATER, rfc3339, shown, status, weights_seen
from tests.states.story import QUICK, START, Story, serving
from tests.states.test_desired import PINNED, STABLE, TRIED, with_trial

NEXT = [
    (TRIED, "admission, once nothing else is live on the endpoint"),
    (
        replace(TRIED, state=State.PROVISIONING),
        "golden queries, once the served entity is ready",
    ),
    (replace(TRIED, state=State.TESTING), "5 % of users, once the golden queries pass"),
    (replace(TRIED, state=State.CANARY, step=1), "25 % of users, once shown to be no worse"),
    (replace(TRIED, state=State.CANARY, step=3), "100 % of users, once shown to be no worse"),
    (
        replace(TRIED, state=State.CANARY, step=2, shut=True),
        "reopens, once the counts by version have arrived and blame nobody",
    ),
    (replace(TRIED, state=State.CANARY, step=4), "the alias, once the bake has ended"),
    (replace(TRIED, state=State.PRODUCTION), "confirmed, once the watch has ended"),
    (replace(TRIED, state=State.ROLLED_BACK), "home, once the endpoint was seen without it"),
    (replace(TRIED, state=State.ROLLED_BACK, settled=True), None),
    (replace(TRIED, state=State.RETIRED, settled=True), None),
]
LIVE = [release for release, _ in NEXT if release.live]


@pytest.mark.parametrize(("release", "following"), NEXT)
def test_every_state_says_what_comes_next(release: Release, following: str | None) -> None:
    told = status(with_trial(release), release)
    assert told["next"] == following
    assert json.loads(json.dumps(told)) == told


@pytest.mark.parametrize("release", LIVE)
def test_the_weights_of_stable_and_candidate_sum_to_100(release: Release) -> None:
    application = with_trial(release)
    assert status(application, STABLE)["weight"] + status(application, release)["weight"] == 100


@pytest.mark.parametrize("release", LIVE)
def test_a_paused_release_waits_for_the_operator_unless_it_goes_home(release: Release) -> None:
    paused = replace(release, order=Order.PAUSE)
    told = status(with_trial(paused), paused)["next"]
    home = release.state is State.ROLLED_BACK
    assert told == (
        "home, once the endpoint was seen without it" if home else "waits for `headgate resume`"
    )


def test_a_held_release_says_why_and_promises_nothing() -> None:
    held = replace(TRIED, state=State.CANARY, step=1, hold="undecided after 1 d")
    told = status(with_trial(held), held)
    assert (told["hold"], told["next"], told["needs_person"]) == (
        "undecided after 1 d",
        None,
        False,
    )


def test_a_hold_on_the_endpoint_is_told_by_what_is_shown_and_needs_a_person() -> None:
    live = replace(TRIED, state=State.CANARY, step=1)
    application = replace(with_trial(live), hold="changed by someone else")
    for release in (STABLE, live):
        told = status(application, release)
        assert (told["hold"], told["needs_person"]) == ("changed by someone else", True)
        assert told["next"] is None


def test_shown_is_what_serves_or_is_on_trial() -> None:
    live = replace(TRIED, state=State.CANARY, step=1)
    application = with_trial(live)
    assert [shown(application, one) for one in (STABLE, live)] == [True, True]
    ended = replace(TRIED, state=State.ROLLED_BACK, settled=True)
    assert not shown(with_trial(ended), ended)
    unproven = replace(with_trial(ended), stable=None, unproven="2")
    assert shown(unproven, ended)
    assert status(unproven, ended)["weight"] == 100


def test_the_status_says_version_attempt_and_time_in_full() -> None:
    live = replace(TRIED, state=State.CANARY, step=2, attempt=3, weight_seen=5)
    told = status(with_trial(live), live)
    assert told["release"] == "rag-chatbot/2"
    assert (told["attempt"], told["step"], told["steps"]) == (3, 2, list(PINNED.rollout.steps))
    assert (told["weight"], told["weight_seen"], told["stable"]) == (25, 5, "1")
    assert told["since"] == "2026-11-23T12:00:00.000000Z"


def test_the_earliest_end_of_each_stay_is_when_it_ends_for_a_good_version() -> None:
    story = Story()
    story.look()
    story.register(2)
    due: dict[tuple[State, int], datetime] = {}
    ended: dict[tuple[State, int], datetime] = {}
    story.until("Provisioning")
    while story.application.live is not None:
        release = story.live
        told = status(story.application, release)["earliest"]
        story.look()
        ended[release.state, release.step] = story.now
        if told is not None:
            at = datetime.fromisoformat(told)
            assert due.setdefault((release.state, release.step), at) == at, "as it was told first"
    assert len(due) == len(QUICK.steps) + 1
    late = {stay: ended[stay] - at for stay, at in due.items()}
    assert min(late.values()) >= timedelta(), late
    by_time_alone = [after for (_, step), after in late.items() if step == len(QUICK.steps)]
    assert by_time_alone == [timedelta(), timedelta()], "bake and watch, to the look"


CANARY = replace(TRIED, state=State.CANARY, step=2, settled=True)
CHANGED = Change(number=1, endpoint=("something",))
SPANS = (
    Span(number=1, step=2, weight=25, starts_at=START, settled=False),
    Span(number=2, step=2, weight=25, starts_at=START + timedelta(seconds=30), settled=True),
)


def test_the_whole_object_of_a_release_on_trial() -> None:
    live = replace(
        CANARY, because="it is no worse", weight_seen=25, spans=SPANS, blocks=(), ask="this"
    )
    assert status(with_trial(live), live) == {
        "schema": 1,
        "application": "rag-chatbot",
        "release": "rag-chatbot/2",
        "version": "2",
        "attempt": 1,
        "state": "Canary",
        "settled": True,
        "order": "run",
        "hold": None,
        "step": 2,
        "steps": [5, 25, 50, 100],
        "weight": 25,
        "weight_seen": 25,
        "stable": "1",
        "because": "it is no worse",
        "since": "2026-11-23T12:00:00.000000Z",
        "next": "50 % of users, once shown to be no worse",
        "needs_person": False,
        "ask": "this",
        "rollback": "ready",
        "earliest": "2026-11-23T12:01:00.000000Z",
        "evidence_span": 2,
    }
    told = status(with_trial(live), STABLE)
    assert (told["evidence_span"], told["earliest"], told["rollback"]) == (0, None, None)
    assert (told["ask"], told["steps"], told["weight"]) == (None, [], 75)


@pytest.mark.parametrize(
    ("release", "facts", "told"),
    [
        (CANARY, {}, None),
        (CANARY, {"seen": serving(v1=75, v2=25)}, None),
        (CANARY, {"seen": serving(v1=75, v2=25, v9=0)}, None),
        (CANARY, {"seen": serving(v1=95, v2=5)}, {"1": 95, "2": 5}),
        (replace(CANARY, shut=True), {"seen": serving(v1=75, v2=25)}, {"1": 75, "2": 25}),
        (
            CANARY,
            {"seen": serving(v1=75, v2=25), "change": replace(CHANGED, serving=serving(v1=100))},
            {"1": 100},
        ),
        (CANARY, {"seen": serving(v1=75, v2=25), "change": CHANGED}, {}),
        (
            CANARY,
            {
                "seen": serving(v1=75, v2=25),
                "change": Change(number=1, alias=("x",), serving=serving(v1=1)),
            },
            None,
        ),
        (TRIED, {"stable": None, "seen": serving(v1=100)}, None),
    ],
)
def test_what_was_seen_is_told_while_users_are_not_as_wanted(
    release: Release, facts: dict[str, object], told: dict[str, int] | None
) -> None:
    live = replace(release, weight_seen=17)
    application = replace(with_trial(live), **facts)  # type: ignore[arg-type]
    assert weights_seen(application) == told
    assert status(application, live)["weight_seen"] == (17 if told is None else told.get("2", 0))


def test_an_earlier_attempt_was_seen_as_it_ended() -> None:
    ended = replace(TRIED, state=State.ROLLED_BACK, settled=True, weight_seen=0)
    again = replace(TRIED, attempt=2)
    changed = replace(CHANGED, serving=serving(v1=40, v2=60))
    application = replace(with_trial(ended), releases=(STABLE, ended, again), change=changed)
    found = [status(application, one)["weight_seen"] for one in application.releases]
    assert found == [40, 0, 60]


def test_fields_that_the_first_lines_did_not_have_are_known() -> None:
    assert LATER == ("ask", "rollback", "earliest", "evidence_span")


def test_a_time_has_microseconds_and_a_z() -> None:
    assert rfc3339(START + timedelta(microseconds=7)) == "2026-11-23T12:00:00.000007Z"


@pytest.mark.parametrize(
    ("own", "whole", "change", "told", "person"),
    [
        (None, None, None, None, False),
        ("undecided", None, None, "undecided", False),
        ("undecided", "edited", None, "undecided", False),
        (None, "edited", None, "edited", True),
        ("undecided", "changed", CHANGED, "changed", True),
        (None, "changed", CHANGED, "changed", True),
    ],
)
def test_a_change_by_others_comes_first_then_what_is_held_itself(
    own: str | None, whole: str | None, change: Change | None, told: str | None, *, person: bool
) -> None:
    live = replace(CANARY, hold=own)
    waits = replace(TRIED, version="3", hold=own)
    application = replace(
        with_trial(live), hold=whole, change=change, releases=(STABLE, live, waits)
    )
    found = status(application, live)
    assert (found["hold"], found["needs_person"]) == (told, person)
    other = status(application, waits)
    assert (other["hold"], other["needs_person"]) == (own, False), "it is told with another"
    asks = replace(live, needs_person=True)
    assert status(with_trial(asks), asks)["needs_person"]


@pytest.mark.parametrize(
    ("release", "facts", "is_shown"),
    [
        (TRIED, {}, False),
        (replace(TRIED, needs_person=True), {}, True),
        (replace(TRIED, state=State.RETIRED, needs_person=True), {}, False),
        (replace(TRIED, state=State.TESTING), {}, True),
        (replace(STABLE, attempt=2), {}, True),
        (replace(STABLE, attempt=0), {}, False),
        (replace(TRIED, state=State.ROLLED_BACK, settled=True), {"unproven": "2"}, True),
        (replace(TRIED, state=State.RETIRED), {"stable": None}, False),
    ],
)
def test_what_is_shown_where_nothing_is_selected(
    release: Release, facts: dict[str, object], *, is_shown: bool
) -> None:
    application = replace(with_trial(release), **facts)  # type: ignore[arg-type]
    assert shown(application, release) is is_shown


def test_the_weight_of_what_serves_is_what_the_live_release_leaves_it() -> None:
    assert status(with_trial(TRIED), STABLE)["weight"] == 100
    assert status(with_trial(CANARY), STABLE)["weight"] == 75
    again = replace(CANARY, version="1", attempt=2)
    assert status(with_trial(again), again)["weight"] == 25
    ended = replace(TRIED, state=State.ROLLED_BACK, settled=True)
    assert status(with_trial(ended), ended)["weight"] == 0


@pytest.mark.parametrize("state", list(State))
def test_an_aborted_release_goes_home_with_the_next_look(state: State) -> None:
    aborted = replace(TRIED, state=state, step=1, order=Order.ABORT, settled=False)
    told = status(with_trial(aborted), aborted)["next"]
    by_itself = {
        State.ROLLED_BACK: "home, once the endpoint was seen without it",
        State.RETIRED: None,
    }
    assert told == by_itself.get(state, "home, at the next look")


def test_a_paused_release_that_has_not_begun_waits_too() -> None:
    paused = replace(TRIED, order=Order.PAUSE)
    assert status(with_trial(paused), paused)["next"] == "waits for `headgate resume`"


def test_on_staging_its_place_on_the_endpoint_comes_next() -> None:
    staged = replace(
        TRIED, state=State.PROVISIONING, pinned=replace(PINNED, staging="rag-chatbot-staging")
    )
    told = status(with_trial(staged), staged)["next"]
    assert told == (
        "its place on the endpoint, once its golden queries pass on the staging endpoint"
    )


@pytest.mark.parametrize(
    ("replay", "seen", "once"),
    [
        (None, None, "the golden queries pass"),
        (None, Replayed(), "the golden queries pass"),
        (Replay(), None, "the golden queries and the replay pass"),
        (Replay(), Replayed(), "recorded requests were replayed"),
        (
            Replay(),
            Replayed(drawn=2000, left=("a", "b", "c")),
            "recorded requests were replayed (1,997 of 2,000 so far)",
        ),
        (
            Replay(),
            Replayed(drawn=2000, left=("a",), outcome=Outcome.PASS),
            "the golden queries pass",
        ),
    ],
)
def test_a_release_under_test_says_what_it_has_still_to_go_through(
    replay: Replay | None, seen: Replayed | None, once: str
) -> None:
    tested = replace(TRIED, state=State.TESTING, pinned=replace(PINNED, replay=replay), replay=seen)
    assert status(with_trial(tested), tested)["next"] == f"5 % of users, once {once}"


BAKES = replace(CANARY, step=4)
WATCHED = replace(TRIED, state=State.PRODUCTION, step=4, settled=True)
COUNTED = {"sources": {"errors": "inference_table"}}
PROVEN = {"pinned": replace(PINNED, proven=True)}
SLOW = replace(PINNED, rollout=replace(QUICK, settle=timedelta(seconds=90)))


def spans(*parts: tuple[float, bool]) -> tuple[Span, ...]:
    """Spans that begin so many minutes after the release's state did, and whether they count."""
    return tuple(
        Span(number=index, step=2, weight=25, starts_at=START + timedelta(minutes=at), settled=yes)
        for index, (at, yes) in enumerate(parts, start=1)
    )


CUT = spans((-9, True), (0, False), (1, True), (2, True))
"""Settled after a minute, and cut once since."""


@pytest.mark.parametrize(
    ("release", "facts", "minutes"),
    [
        (CANARY, {}, 1.5),  # a minute, less the 30 s of settle that are part of the stay
        (CANARY, {"pinned": SLOW}, 1),  # as soon as it has settled
        (CANARY, {"spans": spans((-9, True), (0, True), (1, True))}, 0.5),
        (CANARY, {"spans": spans((-9, True))}, None),
        (CANARY, {"spans": spans((1, True), (2, False))}, None),
        (CANARY, {"spans": ()}, None),
        (BAKES, {}, 5.5),
        (BAKES, COUNTED, 7),  # from the last cut on the source has to speak of all of it
        (BAKES, COUNTED | PROVEN, 5.5),
        (WATCHED, {}, 11),
        (WATCHED, COUNTED, 12),
        (WATCHED, COUNTED | PROVEN, 12),
        (CANARY, {"settled": False}, None),
        (CANARY, {"order": Order.PAUSE}, None),
        (CANARY, {"order": Order.ABORT}, None),
        (CANARY, {"shut": True}, None),
        (CANARY, {"hold": "undecided"}, None),
        (WATCHED, {"confirmed": True}, None),
        (CANARY, {"state": State.TESTING}, None),
    ],
)
def test_before_which_time_nothing_comes_next(
    release: Release, facts: dict[str, object], minutes: float | None
) -> None:
    live = replace(release, **({"spans": CUT} | facts))  # type: ignore[arg-type]
    told = status(with_trial(live), live)["earliest"]
    assert told == (None if minutes is None else rfc3339(START + timedelta(minutes=minutes)))
