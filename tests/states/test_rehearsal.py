"""A version on its staging endpoint, look by look: what ends it, lets it pass, or holds it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.golden import Begun, GoldenQuery, Round
from states.attempt import Attempt
from states.difference import Change
from states.machine import State, Trigger
from states.plan import Event
from states.rehearsal import rehearse
from states.release import Application, Order, Release
from states.staged import Staged
from states.turn import Turn
from states.world import Absent, Endpoint, GoldenTable
from tests.states.records import (
    PINNED,
    application,
    endpoint,
    moved,
    release,
    stable,
    told,
    turn,
)
from tests.states.story import START, serving

THERE = "rag-chatbot-staging"
STAGED = replace(PINNED, staging=THERE)
SIGN = f"staging endpoint {THERE}: "
ATTEMPT = "rag-chatbot/2/1"
WHY = "query 1: answer lacks 'ACID'"
GOOD = Round(asked=1, candidate_failed=(), stable_failed=())
BAD = Round(asked=1, candidate_failed=(1,), stable_failed=(), why=WHY)
BOTH = Round(asked=1, candidate_failed=(1,), stable_failed=(1,))
MADE = Endpoint(
    serving=serving(v2=100),
    id="s",
    owner="headgate",
    made_for=f"{ATTEMPT}/1",
    ready=frozenset({"rag_chatbot-v2"}),
)
"""What was made for version 2, at rest."""
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def trial(**facts: object) -> Release:
    """Version 2, which is to be tested there."""
    made = release(State.PROVISIONING, pinned=STAGED, settled=False, in_state=timedelta(minutes=9))
    return replace(made, **facts)  # type: ignore[arg-type]


def known(
    one: Release,
    *rounds: Round,
    asking: Begun | None = None,
    others: tuple[Release, ...] = (),
    **facts: object,
) -> Application:
    asked = Staged(endpoint=THERE, release=ATTEMPT, asked_at=START, rounds=rounds, asking=asking)
    return application(*others, one, staging=asked, **facts)


def look(
    known: Application, seen: Endpoint | Absent | None = MADE, **outside: object
) -> tuple[Release, list[Event]]:
    """What one look at the staging endpoint comes to, for the newest release."""
    made = looked(known, seen, **outside)
    return made.application.releases[-1], made.events


def looked(known: Application, seen: Endpoint | Absent | None = MADE, **outside: object) -> Turn:
    made = turn(known, endpoint(), staging=seen, **outside)
    rehearse(made, known.releases[-1])
    return made


def finished(one: Round, finding: str, because: str) -> Event:
    return told(
        "tests.finished",
        because,
        level="info" if finding == "PASS" else "warning",
        endpoint=THERE,
        asked=one.asked,
        failed=list(one.candidate_failed),
        failed_on_stable=list(one.stable_failed),
        finding=finding,
    )


def sent(kind: str, *ago: int) -> tuple[Attempt, ...]:
    """Calls of a kind, so many seconds ago."""
    return tuple(
        Attempt(kind=kind, target="it", at=START - timedelta(seconds=one), outcome="done")
        for one in ago
    )


def went_home(one: Release, why: str) -> tuple[Release, Event]:
    """The record of a release that never came to serve, and the line that tells of its end."""
    rolled = replace(
        one,
        state=State.ROLLED_BACK,
        because=why,
        settled=False,
        in_state=timedelta(),
        ended_at=START,
        removed=True,
    )
    event = moved(Trigger.ROLL_BACK, State.PROVISIONING, State.ROLLED_BACK, why, level="error")
    return rolled, event


def test_it_has_the_time_of_both_deadlines_and_no_more() -> None:
    pinned = replace(STAGED, provisioning_deadline=HOUR, testing_deadline=2 * HOUR)
    just = trial(pinned=pinned, in_state=3 * HOUR - SECOND)
    assert look(known(just), round=None) == (just, [])
    late = trial(pinned=pinned, in_state=3 * HOUR)
    rolled, event = went_home(late, f"not through its tests on staging endpoint {THERE} after 3 h")
    assert look(known(late), round=GOOD) == (rolled, [event])


@pytest.mark.parametrize(
    ("facts", "fails"),
    [
        ({}, False),
        ({"failed": frozenset({"rag_chatbot-v2"})}, True),
        ({"failed": frozenset({"rag_chatbot-v1"})}, False),
        ({"update_failed": True}, True),
        ({"update_failed": True, "updating": True}, False),
        ({"update_failed": True, "failed": frozenset({"rag_chatbot-v2"})}, True),
        ({"update_failed": True, "made_for": "rag-chatbot/1/1/1"}, False),
        ({"update_failed": True, "owner": "somebody"}, False),
    ],
)
def test_what_cannot_be_deployed_there_goes_no_further(
    facts: dict[str, object], *, fails: bool
) -> None:
    seen = replace(MADE, **facts)  # type: ignore[arg-type]
    before = stable(pinned=STAGED)
    why = (
        f"Databricks could not deploy rag_chatbot-v2 on staging endpoint {THERE}: its build and "
        "service logs say why"
    )
    after, events = look(known(trial(), others=(before,)), seen)
    if fails:
        rolled, event = went_home(trial(), why)
        assert (after, events) == (rolled, [event])
    else:
        assert after.state is State.PROVISIONING
        assert why not in [one.because for one in events]


def test_golden_queries_of_a_table_are_read_before_any_count() -> None:
    waits = trial(pinned=replace(STAGED, tests_table="main.golden.queries"))
    after, events = look(known(waits), round=GOOD)
    why = "the golden queries of main.golden.queries are not read yet: Headgate asks again"
    assert after == replace(waits, hold=why)
    assert [one.name for one in events] == ["release.held"]

    query = GoldenQuery(query="What is a lakehouse?")
    after, events = look(known(waits), round=GOOD, golden=GoldenTable(queries=(query,)))
    pinned = replace(STAGED, tests=(*STAGED.tests, query))
    assert after == trial(pinned=pinned, staged=True, in_state=timedelta())
    assert [one.name for one in events] == ["tests.read", "tests.finished", "staging.passed"]


def test_a_round_that_is_not_complete_is_kept_and_passes_nobody() -> None:
    half = Begun(answers=(None,), of=2)
    made = looked(known(trial()), round=half)
    assert made.application == known(trial(), asking=half)
    assert made.events == []
    assert look(made.application, round=None) == (trial(), [])
    made = looked(made.application, round=GOOD)
    assert made.application == known(trial(staged=True, in_state=timedelta()), GOOD)
    pinned = replace(STAGED, provisioning_deadline=HOUR, testing_deadline=HOUR)
    late = trial(pinned=pinned, in_state=2 * HOUR)
    rolled, _ = look(known(late, asking=half), round=None)
    assert "after 2 h: 1 of 2 questions of the last round were answered" in rolled.because


def test_it_passes_by_one_clean_round_and_the_time_of_its_deployment_starts_anew() -> None:
    passed, where = "all 1 golden queries passed", f"staging endpoint {THERE}"
    made = looked(known(trial(), BAD), round=GOOD)
    assert made.application.releases == (trial(staged=True, in_state=timedelta()),)
    assert made.application.staging == Staged(
        endpoint=THERE, release=ATTEMPT, asked_at=START, rounds=(BAD, GOOD)
    )
    assert made.events == [
        finished(GOOD, "PASS", passed),
        told("staging.passed", f"{passed} on {where}", endpoint=THERE),
    ]
    # What was asked before is enough, where nothing could follow from it then.
    assert look(known(trial(), GOOD)) == (
        trial(staged=True, in_state=timedelta()),
        [told("staging.passed", f"{passed} on {where}", endpoint=THERE)],
    )


@pytest.mark.parametrize(
    ("facts", "around"),
    [
        ({"order": Order.PAUSE}, {}),
        ({"hold": "something"}, {}),
        ({"unlisted": True}, {}),
        ({}, {"hold": "something"}),
        ({}, {"change": Change(number=1)}),
        ({}, {"adopted": False}),
    ],
)
def test_what_has_passed_goes_on_only_when_nothing_stands_in_the_way(
    facts: dict[str, object], around: dict[str, object]
) -> None:
    waits = trial(**facts)
    assert look(known(waits, GOOD, **around)) == (waits, [])  # type: ignore[arg-type]


def test_a_hold_of_this_stage_ends_with_the_round_that_passes() -> None:
    held = trial(hold=f"{SIGN}something", needs_person=True)
    after, events = look(known(held, GOOD))
    assert after == trial(staged=True, in_state=timedelta())
    assert events[0] == told("release.freed", f"no longer: {SIGN}something")


def test_the_same_failure_twice_ends_it() -> None:
    once = f"1 of 1 golden queries failed: {WHY}; asking once more"
    assert look(known(trial()), round=BAD) == (trial(), [finished(BAD, "AGAIN", once)])
    twice = f"1 of 1 golden queries failed twice, and stable answers them: {WHY}"
    rolled, event = went_home(trial(), f"{SIGN}{twice}")
    assert look(known(trial(), BAD), round=BAD) == (rolled, [finished(BAD, "FAIL", twice), event])


@pytest.mark.parametrize(("ago", "asks"), [(HOUR - SECOND, False), (HOUR, True)])
def test_what_stable_fails_too_is_held_and_in_the_end_asked_about(
    ago: timedelta, *, asks: bool
) -> None:
    waits = trial(since=START - ago)
    because = "1 of 1 golden queries failed on both versions: the environment is at fault"
    after, events = look(known(waits), round=BOTH)
    assert after == replace(waits, hold=f"{SIGN}{because}", needs_person=asks)
    assert events == [
        finished(BOTH, "ENVIRONMENT", because),
        told("release.held", f"{SIGN}{because}", level="warning"),
    ]


def test_another_reason_to_hold_is_left_and_this_stages_own_replaced() -> None:
    other = trial(hold="something")
    assert look(known(other, BOTH)) == (other, [])
    before = trial(hold=f"{SIGN}something", needs_person=True)
    after, _ = look(known(before, BOTH))
    why = f"{SIGN}1 of 1 golden queries failed on both versions: the environment is at fault"
    assert after == trial(hold=why)
    # The same with other numbers is told once.
    more = trial(hold=why.replace("1 of 1", "7 of 9"))
    assert look(known(more, BOTH)) == (more, [])


def test_a_hold_ends_with_what_it_was_for() -> None:
    held = trial(hold=f"{SIGN}it was changed", needs_person=True)
    after, events = look(known(held))
    assert after == trial()
    assert events == [told("release.freed", f"no longer: {SIGN}it was changed")]
    other = trial(hold="something")
    assert look(known(other)) == (other, [])


def test_a_staging_endpoint_that_is_not_seen_is_neither_there_nor_gone() -> None:
    held = trial(hold=f"{SIGN}it was changed")
    assert look(known(held), None) == (held, [])
    assert look(known(trial(), BOTH), None) == (trial(), [])


def held_for(why: str, *, asks: bool = True) -> tuple[Release, list[Event]]:
    return (
        trial(hold=f"{SIGN}{why}", needs_person=asks),
        [told("release.held", f"{SIGN}{why}", level="warning")],
    )


NOT_THERE = (
    "it is not there, although it was asked for 3 times within 10 min: the log says what the "
    "workspace answered (call.failed); it is asked for again, more slowly"
)


@pytest.mark.parametrize(
    ("attempts", "why"),
    [
        ((), None),
        (sent("create_staging", 100, 80), None),
        (sent("create_staging", 100, 80, 59), None),
        (sent("create_staging", 100, 80, 60), NOT_THERE),
        (sent("remove_staging", 100, 80, 60), None),
    ],
)
def test_one_that_does_not_come_is_asked_about_when_it_was_asked_for_in_vain(
    attempts: tuple[Attempt, ...], why: str | None
) -> None:
    found = look(known(trial(), attempts=attempts), Absent())
    assert found == ((trial(), []) if why is None else held_for(why))


def test_an_endpoint_of_somebody_else_is_theirs() -> None:
    why = (
        "one of this name is there that Headgate did not make: delete it, or abort this release "
        "and name another one in staging.endpoint"
    )
    assert look(known(trial(), BOTH), replace(MADE, owner="somebody")) == held_for(why)


@pytest.mark.parametrize(
    ("attempts", "asks"),
    [
        ((), False),
        (sent("create_staging", 100, 80, 60), False),
        (sent("remove_staging", 100, 80, 59), False),
        (sent("remove_staging", 100, 80, 60), True),
    ],
)
def test_what_was_made_for_another_attempt_is_to_go_first(
    attempts: tuple[Attempt, ...], *, asks: bool
) -> None:
    seen = replace(MADE, made_for="rag-chatbot/1/1/4", serving=serving(v1=100))
    others = (stable(pinned=STAGED),)
    found = look(known(trial(), others=others, attempts=attempts), seen)
    why = "it was made for rag-chatbot/1/1, and cannot be removed: delete it by hand"
    assert found == (held_for(why) if asks else (trial(), []))


@pytest.mark.parametrize(
    ("facts", "asks"),
    [
        ({"serving": serving(v2=50, v3=50)}, True),
        ({"serving": serving(v2=50, v3=50), "updating": True}, False),
        ({"serving": serving()}, False),
    ],
)
def test_one_that_was_changed_there_is_asked_about(facts: dict[str, object], *, asks: bool) -> None:
    why = "it was changed by someone else: delete it, and it is made anew"
    seen = replace(MADE, **facts)  # type: ignore[arg-type]
    found = look(known(trial()), seen)
    assert found == (held_for(why) if asks else (trial(), []))


def test_without_a_stable_version_nothing_is_said_of_it() -> None:
    first = trial(pinned=replace(STAGED, baseline=None, incumbent=None))
    after, events = look(known(first, BAD, stable=None), round=BAD)
    why = f"1 of 1 golden queries failed twice: {WHY}"
    assert (after.state, after.because) == (State.ROLLED_BACK, f"{SIGN}{why}")
    assert events[0] == finished(BAD, "FAIL", why)
