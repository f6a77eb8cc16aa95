"""The staging endpoint by hand: whose it is, what is told of it, and what is asked of it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.golden import Begun, Round
from states.attempt import Attempt
from states.difference import Change
from states.machine import State
from states.plan import CreateStaging, RemoveStaging
from states.release import Application, Release
from states.staged import Staged
from states.staging import (
    attempt_of,
    left,
    made_for,
    ours,
    place,
    ready_there,
    remember_asked,
    rounds_there,
    see_staging,
    served,
    staging_call,
    tries,
    undisputed,
)
from states.turn import Turn
from states.world import Absent, Endpoint, Serving
from tests.states.byhand import NOW, candidate, event, record, shown, turn
from tests.states.story import START, serving
from tests.states.test_desired import PINNED

STAGING = "rag-chatbot-endpoint-staging"
V2 = "rag_chatbot-v2"
ATTEMPT, MARK = "rag-chatbot/2/1", "rag-chatbot/2/1/1"
ON = candidate(state=State.PROVISIONING, pinned=replace(PINNED, staging=STAGING))
PASSED = replace(ON, staged=True)
ROUNDS = (Round(asked=1, candidate_failed=(), stable_failed=()),)
ASKED = Staged(endpoint=STAGING, release=ATTEMPT, asked_at=START, rounds=ROUNDS, asks=3)
KNOWN = replace(ASKED, id="made", ids={MARK: "made"})
MADE = Endpoint(
    serving=serving(v2=100), id="made", owner="headgate", made_for=MARK, ready=frozenset({V2})
)
THEIRS = replace(MADE, owner="")
CHANGED = Change(number=1, endpoint=("something",))


def asked(release: Release = ON, staging: Staged | None = KNOWN, **facts: object) -> Application:
    return record(release, staging=staging, **facts)


def look(application: Application, seen: Endpoint | Absent | None) -> Turn:
    return turn(application, shown(), staging=seen)


def seen_there(application: Application, seen: Endpoint | Absent | None) -> Turn:
    made = look(application, seen)
    see_staging(made)
    return made


def calls(kind: str, *minutes: float) -> tuple[Attempt, ...]:
    """Calls of a kind, so many minutes ago each; all for the same."""
    return tuple(
        Attempt(
            kind=kind, target="same", at=NOW - timedelta(minutes=one), outcome="done", id=number
        )
        for number, one in enumerate(minutes)
    )


def test_what_it_is_made_for_is_an_attempt() -> None:
    assert attempt_of(replace(ON, attempt=12)) == "rag-chatbot/2/12"
    assert made_for(replace(MADE, made_for="rag-chatbot/2/12/3")) == "rag-chatbot/2/12"
    assert made_for(replace(MADE, made_for="")) == ""


@pytest.mark.parametrize(
    ("application", "facts", "answer"),
    [
        (asked(), {}, True),
        (asked(staging=ASKED), {}, True),
        (asked(staging=None), {}, False),
        (asked(), {"id": ""}, False),
        (asked(), {"owner": "somebody"}, False),
        (asked(), {"id": "copy"}, False),
        (asked(), {"id": "second", "made_for": f"{ATTEMPT}/2"}, True),
        (asked(), {"made_for": "another/2/1/1"}, False),
        (asked(), {"made_for": "rag-chatbot/3/1/1"}, False),
        (asked(), {"made_for": "rag-chatbot/2/2/1"}, False),
        (asked(), {"made_for": "rag-chatbot/2/x/1"}, False),
        (asked(), {"made_for": ""}, False),
        (asked(replace(ON, pinned=PINNED)), {}, False),
        (asked(replace(ON, pinned=None)), {}, False),
        (asked(replace(ON, attempt=2, pinned=None)), {}, True),
        (asked(replace(ON, state=State.RETIRED)), {}, True),
        (asked(replace(ON, attempt=2)), {"made_for": "rag-chatbot/2/2/1", "id": "two"}, True),
    ],
)
def test_it_is_ours_where_it_was_asked_for_and_came_first(
    application: Application, facts: dict[str, object], *, answer: bool
) -> None:
    assert ours(application, replace(MADE, **facts)) is answer  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("application", "where", "there"),
    [
        (asked(replace(ON, state=State.RETIRED), replace(KNOWN, endpoint="old")), "old", True),
        (asked(ON, replace(KNOWN, endpoint="old", gone=True)), "old", False),
        (record(ON), STAGING, False),
        (record(PASSED), None, False),
        (record(candidate(state=State.PROVISIONING)), None, False),
        (record(), None, False),
    ],
)
def test_it_is_looked_at_where_it_is_wanted_or_may_still_be(
    application: Application, where: str | None, *, there: bool
) -> None:
    assert place(application) == where
    assert left(application) is there


def test_it_serves_the_version_and_nobody_else() -> None:
    assert served(record(ON), ON) == serving(v2=100)


@pytest.mark.parametrize(
    ("application", "facts", "answer"),
    [
        (asked(), {}, True),
        (asked(PASSED), {}, False),
        (asked(replace(ON, state=State.RETIRED)), {}, False),
        (asked(staging=None), {}, False),
        (asked(replace(ON, attempt=2)), {}, False),
        (asked(), {"serving": serving(v1=100)}, False),
        (asked(), {"serving": Serving()}, False),
        (asked(), {"updating": True}, False),
        (asked(), {"ready": frozenset({"rag_chatbot-v1"})}, False),
        (asked(), {"ready": frozenset({V2, "rag_chatbot-v1"})}, True),
    ],
)
def test_it_is_asked_once_it_serves_the_version_and_is_ready(
    application: Application, facts: dict[str, object], *, answer: bool
) -> None:
    assert ready_there(application, replace(MADE, **facts)) is answer  # type: ignore[arg-type]


def test_rounds_count_for_the_attempt_that_they_were_asked_of() -> None:
    assert rounds_there(asked()) == ROUNDS
    assert rounds_there(asked(replace(ON, attempt=2))) == ()
    assert rounds_there(asked(replace(ON, state=State.RETIRED))) == ()
    assert rounds_there(asked(staging=None)) == ()


def remembered(application: Application, release: str = ATTEMPT) -> Staged | None:
    made = look(application, Absent())
    remember_asked(made, CreateStaging(STAGING, serving(v2=100), release, 4))
    assert made.application == replace(application, staging=made.application.staging)
    return made.application.staging


def test_of_what_was_asked_for_it_is_remembered_what_may_come_of_it() -> None:
    fresh = Staged(endpoint=STAGING, release=ATTEMPT, asked_at=NOW, asks=4)
    assert remembered(asked(staging=None)) == fresh
    before = replace(KNOWN, gone=True, told=True, ids={MARK: "made", "rag-chatbot/7/1/1": "old"})
    assert remembered(asked(staging=before)) == replace(fresh, ids={MARK: "made"}, rounds=ROUNDS)
    half = replace(before, asking=Begun(answers=(None,), of=2))
    begun = remembered(asked(staging=half))
    assert begun == remembered(asked(staging=before)), "what is made anew begins its round anew"
    again = replace(fresh, release="rag-chatbot/2/2", ids={MARK: "made"})
    assert remembered(asked(staging=before), "rag-chatbot/2/2") == again


@pytest.mark.parametrize(("application", "seen"), [(asked(), None), (asked(staging=None), MADE)])
def test_what_was_not_asked_for_or_is_unseen_is_not_written_down(
    application: Application, seen: Endpoint | None
) -> None:
    made = seen_there(application, seen)
    assert (made.application, made.events) == (application, [])


CREATED = {"followed": {"create_staging": NOW}}
REMOVED = {"followed": {"remove_staging": NOW}}


def test_that_it_is_there_is_told_once() -> None:
    before = asked(staging=replace(ASKED, gone=True, told=True, ids={"x": "y"}))
    made = seen_there(before, MADE)
    known = replace(ASKED, id="made", ids={"x": "y", MARK: "made"})
    assert made.application == replace(before, staging=known, **CREATED)  # type: ignore[arg-type]
    because = f"staging endpoint {STAGING} is there, made for {ATTEMPT}"
    assert made.events == [event("staging.created", ON, because, endpoint=STAGING)]
    followed = {"serve": START, "create_staging": START}
    again = seen_there(asked(followed=followed), MADE)
    assert again.application == asked(followed={"serve": START, "create_staging": NOW})
    assert again.events == []


def test_it_is_told_with_the_release_that_it_was_made_for_else_with_what_serves() -> None:
    older = replace(ON, attempt=2, state=State.RETIRED)
    [told] = seen_there(asked(older, ASKED), MADE).events
    assert told.release == ("1", 1), "of the first attempt nothing is left"
    ended = replace(ON, state=State.RETIRED)
    [told] = seen_there(record(ended, candidate(version="3"), staging=ASKED), MADE).events
    assert told.release == ("2", 1)


THRICE = calls("remove_staging", 5, 3, 1)
STILL = (
    f"staging endpoint {STAGING} is still there, although its removal was asked for 3 times within "
    "10 min: the log says what the workspace answered (call.failed); it is asked for again, more "
    "slowly; delete it by hand"
)


def test_one_that_cannot_be_removed_is_told_of_once() -> None:
    before = asked(PASSED, attempts=THRICE)
    made = seen_there(before, MADE)
    known = replace(KNOWN, told=True)
    assert made.application == replace(before, staging=known, **CREATED)  # type: ignore[arg-type]
    assert made.events == [event("staging.left", ON, STILL, "warning", endpoint=STAGING)]
    again = seen_there(asked(PASSED, known, attempts=THRICE), MADE)
    assert (again.application.staging, again.events) == (known, [])
    anew = seen_there(
        asked(PASSED, known, attempts=THRICE), replace(MADE, id="2", made_for=f"{ATTEMPT}/2")
    )
    assert [one.name for one in anew.events] == ["staging.created", "staging.left"]


@pytest.mark.parametrize(
    ("attempts", "number"),
    [
        (THRICE, 3),
        (calls("remove_staging", 9.99, 5, 3, 1), 4),
        (calls("remove_staging", 15, 12, 9.99, 1), 3),
        (calls("remove_staging", 15, 10, 1), 0),
        (calls("remove_staging", 5, 3, 0.99), 0),
        (calls("remove_staging", 3, 1), 0),
        (calls("create_staging", 5, 3, 1), 0),
        ((*THRICE, *calls("create_staging", 0.5)), 3),
        ((*THRICE, *calls("remove_staging", -1)), 3),
        ((*THRICE, *calls("remove_staging", 0)), 0),
        ((), 0),
    ],
)
def test_tries_are_counted_once_they_are_as_many_as_is_good(
    attempts: tuple[Attempt, ...], number: int
) -> None:
    assert tries(look(asked(attempts=attempts), MADE), "remove_staging") == number


GONE = replace(KNOWN, id="", gone=True)


@pytest.mark.parametrize(
    ("attempts", "level", "how"),
    [
        ((), "warning", "was deleted by someone else"),
        (calls("create_staging", 1), "warning", "was deleted by someone else"),
        (calls("remove_staging", 1), "info", "was removed"),
    ],
)
def test_that_it_is_gone_is_told_once_and_by_whom(
    attempts: tuple[Attempt, ...], level: str, how: str
) -> None:
    before = asked(attempts=attempts)
    made = seen_there(before, Absent())
    assert made.application == replace(before, staging=GONE, **REMOVED)  # type: ignore[arg-type]
    because = f"staging endpoint {STAGING} {how}"
    assert made.events == [event("staging.removed", ON, because, level, endpoint=STAGING)]
    again = seen_there(made.application, Absent())
    assert (again.application, again.events) == (made.application, [])
    [told] = seen_there(asked(replace(ON, state=State.RETIRED)), Absent()).events
    assert told.release == ("2", 1), "with the release that it was made for"


LEFT_ALONE = (
    f"an endpoint that Headgate did not make, or that came of one call twice, is at {STAGING}: it "
    "is left alone; delete it by hand, if nobody needs it"
)
LATELY = replace(GONE, asked_at=NOW - timedelta(minutes=59))


def test_one_of_somebody_elses_is_told_of_once_nobody_waits_for_the_place() -> None:
    made = seen_there(asked(PASSED, LATELY), THEIRS)
    told = replace(LATELY, told=True)
    assert made.application == asked(PASSED, told, **REMOVED)
    assert made.events == [event("staging.left", ON, LEFT_ALONE, "warning", endpoint=STAGING)]
    again = seen_there(asked(PASSED, told), THEIRS)
    assert (again.application.staging, again.events) == (told, [])
    waits = seen_there(asked(ON, LATELY), THEIRS)
    assert (waits.application.staging, waits.events) == (LATELY, []), "it is held for it"
    waits = seen_there(asked(ON, told), THEIRS)
    assert (waits.application.staging, waits.events) == (told, [])
    free = seen_there(asked(PASSED, told), Absent())
    assert (free.application.staging, free.events) == (LATELY, [])


@pytest.mark.parametrize(
    ("release", "known", "kept"),
    [
        (PASSED, replace(GONE, asked_at=NOW - timedelta(minutes=60)), False),
        (PASSED, LATELY, True),
        (ON, GONE, True),
        (ON, replace(GONE, endpoint="before"), False),
    ],
)
def test_one_that_is_gone_is_looked_for_as_long_as_it_may_yet_appear(
    release: Release, known: Staged, *, kept: bool
) -> None:
    made = seen_there(asked(release, known), Absent())
    assert made.application == asked(release, known if kept else None, **REMOVED)
    assert made.events == []


def test_the_one_of_an_earlier_name_is_told_and_forgotten() -> None:
    made = seen_there(asked(ON, replace(KNOWN, endpoint="before")), Absent())
    assert made.application.staging is None
    [told] = made.events
    assert told.because == "staging endpoint before was deleted by someone else"


@pytest.mark.parametrize(
    ("application", "seen", "call"),
    [
        (asked(), MADE, None),
        (asked(PASSED), MADE, RemoveStaging(STAGING, "made")),
        (asked(replace(ON, state=State.RETIRED)), MADE, RemoveStaging(STAGING, "made")),
        (asked(replace(ON, attempt=2)), MADE, RemoveStaging(STAGING, "made")),
        (
            asked(staging=None),
            Absent(),
            CreateStaging(STAGING, serving(v2=100), ATTEMPT, 1),
        ),
        (asked(), Absent(), CreateStaging(STAGING, serving(v2=100), ATTEMPT, 4)),
        (asked(), None, None),
        (asked(), THEIRS, None),
        (asked(PASSED), THEIRS, None),
        (asked(PASSED), Absent(), None),
        (asked(staging=None, hold="something"), Absent(), None),
    ],
)
def test_it_is_made_where_it_is_wanted_and_absent_and_removed_where_it_is_ours_and_not(
    application: Application,
    seen: Endpoint | Absent | None,
    call: CreateStaging | RemoveStaging | None,
) -> None:
    assert staging_call(look(application, seen)) == call


@pytest.mark.parametrize(
    ("application", "answer"),
    [
        (asked(), True),
        (asked(hold="something"), False),
        (asked(change=CHANGED), False),
        (asked(adopted=False), False),
        (asked(replace(ON, unlisted=True)), False),
    ],
)
def test_nothing_is_made_for_what_is_in_question(application: Application, *, answer: bool) -> None:
    live = application.live
    assert live is not None
    assert undisputed(look(application, Absent()), live) is answer
