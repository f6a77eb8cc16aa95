"""A person's answer to a change by others: what is refused, and what the record is after it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from states.answering import answer, refusal
from states.difference import ANEW, FALLBACK, GONE, Answer, Change
from states.machine import State, Trigger
from states.release import Application, Release
from states.resending import NAMED
from states.span import Span
from states.turn import Turn
from states.world import Serving, Share
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
from tests.states.story import MODEL, SPEC, START, serving

NAME = SPEC.endpoint
BEFORE = START - timedelta(hours=3)
SHOWN = "the endpoint was changed"
FROM_NOW = {"serve": START, "rest": START}
"""Its time to come is counted from there."""
ROLLED_BACK = release(State.ROLLED_BACK, settled=False)
TRIAL = release(step=1, weight_seen=5)
"""Version 2 on its first step, of 5 %."""


def change(found: Serving | None, **facts: object) -> Change:
    """What others made of the endpoint; the alias names nothing that anybody looked at."""
    made = Change(number=1, endpoint=("traffic moved",), serving=found)
    return replace(made, **facts)  # type: ignore[arg-type]


def shown(*releases: Release, by: Change, **facts: object) -> Application:
    """The record while it waits for an answer to that change."""
    return application(*releases, change=by, hold=SHOWN, **facts)


def answered(known: Application, word: str, id_: str = "second") -> Turn:
    """The turn in which a person has said it, to the change that is shown."""
    assert known.change is not None
    given = Answer(answer="adopt" if word == "adopt" else "revert", difference=known.change.key)
    found = known.change.serving
    made = turn(replace(known, answer=given), endpoint(found, id=id_) if found else None)
    answer(made)
    return made


def others(**weights: int) -> Serving:
    """Another model's versions on the same endpoint."""
    return Serving(
        {
            f"other-{name}": Share(model="main.other", version=name[1:], weight=weight)
            for name, weight in weights.items()
        }
    )


def both(one: Serving, other: Serving) -> Serving:
    return Serving({**one.shares, **other.shares})


PUT_IT = f"put one version of {MODEL} to 100 % of {NAME}, or revert"
POINT_IT = "point the alias or the traffic at the other"
UNPROVEN = "where its step has 5 %, which nothing has proven: revert, or lower it by hand"
CLOSED = "version 2 was closed to users, and is taken from them first"
BOTH = (
    "version 1 has the users: revert, or point alias and traffic at one version; an application "
    "without an alias says `alias: none`"
)
ADOPTABLE = {
    "deleted": (shown(by=change(None)), None),
    "as the record has it": (shown(by=change(serving(v1=100))), None),
    "under another name": (
        shown(by=change(Serving({"other": Share(model=MODEL, version="1", weight=100)}))),
        None,
    ),
    "more at 0 %": (shown(by=change(serving(v1=100, v3=0))), None),
    "another version has all": (shown(by=change(serving(v1=0, v3=100))), None),
    "another version has all, as the alias says": (
        shown(by=change(serving(v3=100), named="3", alias=("alias moved",))),
        None,
    ),
    "nothing, where nothing is wanted": (shown(by=change(Serving()), stable=None), None),
    "the step of the trial": (shown(TRIAL, by=change(serving(v1=95, v2=5))), None),
    "less than the step of the trial": (
        shown(TRIAL, by=change(serving(v1=98, v2=2))),
        f"it serves rag_chatbot-v1 98 %, rag_chatbot-v2 2 %: {PUT_IT}",
    ),
    "one percent more than the step": (
        shown(TRIAL, by=change(serving(v1=94, v2=6))),
        f"version 2 is on trial and has 6 % of users {UNPROVEN}",
    ),
    "all users of a trial": (
        shown(TRIAL, by=change(serving(v2=100))),
        f"version 2 is on trial and has 100 % of users {UNPROVEN}",
    ),
    "users of what was rolled back": (
        shown(ROLLED_BACK, by=change(serving(v1=99, v2=1))),
        CLOSED,
    ),
    "users of what is shut": (
        shown(replace(TRIAL, shut=True), by=change(serving(v1=95, v2=5))),
        CLOSED,
    ),
    "none of what was rolled back": (shown(ROLLED_BACK, by=change(serving(v1=100, v2=0))), None),
    "a first release": (
        shown(
            release(State.TESTING, pinned=replace(PINNED, baseline=None, incumbent=None)),
            by=change(serving(v2=100)),
            stable=None,
        ),
        None,
    ),
    "two versions": (
        shown(by=change(serving(v1=90, v3=10))),
        f"it serves rag_chatbot-v1 90 %, rag_chatbot-v3 10 %: {PUT_IT}",
    ),
    "another model": (
        shown(by=change(both(serving(v1=0), others(v3=100)))),
        f"it serves other-v3 100 %, rag_chatbot-v1 0 %: {PUT_IT}",
    ),
    "another model where nothing is wanted": (
        shown(by=change(others(v3=100)), stable=None),
        f"it serves other-v3 100 %: {PUT_IT}",
    ),
    "no way back": (
        shown(release(State.PRODUCTION), by=change(both(serving(v2=100), others(v1=0)))),
        f"version 1, which users go back to, is not on {NAME}: revert",
    ),
    "an alias elsewhere": (
        shown(by=change(serving(v3=100), named="1")),
        f"alias production names version 1, but version 3 has 100 % of {NAME}: {POINT_IT}",
    ),
    "only the alias": (
        shown(by=change(serving(v1=100), alias=("it names 3", "not 1"), named="3")),
        f"it names 3; not 1, and {BOTH}",
    ),
    "only the alias, of one without proof": (
        shown(by=change(serving(v1=100), alias=("it moved",)), stable=None, unproven="1"),
        f"it moved, and {BOTH}",
    ),
}


@pytest.mark.parametrize("case", ADOPTABLE)
def test_what_is_adopted_is_what_a_record_can_say(case: str) -> None:
    known, why = ADOPTABLE[case]
    assert refusal(known, "adopt") == why


LOST = "a deleted version cannot be brought back: adopt it, and release another version"


@pytest.mark.parametrize(
    ("by", "why"),
    [
        (change(serving(v3=100)), None),
        (change(None, endpoint=(GONE,)), None),
        (change(serving(v1=100), endpoint=(FALLBACK,), fallback=True), None),
        (change(serving(v1=100), endpoint=(), alias=("moved",)), None),
        (change(serving(v1=100), endpoint=(), registry=("deleted",)), LOST),
        (change(serving(v1=100), endpoint=(), alias=("moved",), registry=("deleted",)), LOST),
        (change(serving(v1=100), endpoint=(FALLBACK,), fallback=True, registry=("no 1",)), None),
        (change(serving(v3=100), registry=("deleted",)), None),
    ],
)
def test_what_can_be_put_back_is_all_but_a_deleted_version(by: Change, why: str | None) -> None:
    assert refusal(shown(by=by), "revert") == why


def test_nothing_is_put_back_where_nothing_is_wanted() -> None:
    told_so = "Headgate wants nothing of that endpoint yet: adopt it, or delete it by hand"
    assert refusal(shown(by=change(serving(v3=100)), stable=None), "revert") == told_so
    alias = change(serving(v3=100), endpoint=(), alias=("moved",))
    assert refusal(shown(by=alias, stable=None), "revert") is None


def test_an_answer_to_nothing_or_to_another_change_does_nothing() -> None:
    by = change(serving(v3=100))
    earlier = Answer(answer="adopt", difference=replace(by, number=0).key)
    for known in (
        shown(by=by),
        shown(by=by, answer=earlier),
        application(answer=Answer(answer="adopt", difference=by.key)),
    ):
        made = turn(known, endpoint(serving(v3=100)))
        answer(made)
        assert (made.application, made.events) == (known, [])


def test_what_cannot_be_done_is_said_once_beside_what_is_shown() -> None:
    made = answered(shown(stable(), by=change(serving(v1=90, v3=10))), "adopt")
    why = f"{SHOWN}; cannot adopt: it serves rag_chatbot-v1 90 %, rag_chatbot-v3 10 %: {PUT_IT}"
    assert made.application.hold == why
    assert made.application.change is not None
    assert made.events == [told("endpoint.foreign_change", why, version="1", level="warning")]
    again = answered(replace(made.application, answer=None), "adopt")
    assert again.application.hold == why
    assert again.events == []


UNDECLARED = replace(SPEC, environment_declared=False)


@pytest.mark.parametrize(
    ("releases", "by", "word", "done"),
    [
        ((), change(serving(v3=100)), "adopt", True),
        ((TRIAL,), change(serving(v1=95, v2=5)), "adopt", True),
        ((), change(serving(v1=100), endpoint=(ANEW,)), "adopt", True),
        ((TRIAL,), change(serving(v1=95, v2=5), endpoint=(ANEW,)), "adopt", False),
        ((), change(serving(v3=100)), "revert", False),
        ((), change(serving(v1=100), endpoint=(), alias=("moved",)), "revert", True),
        ((), change(serving(v1=100), endpoint=(FALLBACK,), fallback=True), "revert", True),
    ],
)
def test_a_change_of_the_endpoint_would_replace_variables_that_nobody_declared(
    releases: tuple[Release, ...], by: Change, word: str, *, done: bool
) -> None:
    made = answered(shown(*releases, by=by, spec=UNDECLARED), word)
    why = (
        f"{SHOWN}; cannot {word}: serving.environment of rag-chatbot is not declared: Databricks "
        "does not show the variables of a running endpoint, and a change replaces them; state "
        "them, or `environment: none`"
    )
    assert made.application.hold == (None if done else why)
    assert (made.application.change is None) is done
    owned = answered(shown(*releases, by=by, spec=UNDECLARED, ours=True), word)
    assert owned.application.hold is None, "of an endpoint of ours they are known"


@pytest.mark.parametrize(
    ("releases", "word", "done"),
    [
        ((), "adopt", True),
        ((TRIAL,), "adopt", False),
        ((release(State.RETIRED, version="3", ended_at=BEFORE),), "adopt", False),
        ((TRIAL,), "revert", True),
    ],
)
def test_another_models_entity_is_not_adopted_where_a_change_is_to_come_that_drops_its_variables(
    releases: tuple[Release, ...], word: str, *, done: bool
) -> None:
    kept = serving(v1=95, v2=5) if TRIAL in releases else serving(v1=100, v3=0)
    found = both(kept, others(v7=0))
    silent = replace(SPEC, others_declared=False)
    made = answered(shown(stable(), *releases, by=change(found), spec=silent), word)
    why = (
        f"{SHOWN}; cannot {word}: endpoint {NAME} has entities of other models (other-v7): "
        "Databricks does not show their variables in plain text, and a change drops them; state "
        "`serving.others_environment: none` if they have none, or take them off the endpoint"
    )
    assert made.application.hold == (None if done else why)
    assert (made.application.change is None) is done
    stated = answered(shown(stable(), *releases, by=change(found)), word)
    assert stated.application.hold is None


def test_another_stable_version_ends_the_trial_and_retires_the_former() -> None:
    found = serving(v1=0, v2=0, v3=100)
    waits = release(State.REGISTERED, version="3", hold="waits")
    known = shown(stable(), TRIAL, waits, by=change(found, endpoint=("a", "b"), named="3"))
    made = answered(replace(known, unproven="8"), "adopt")
    gone = "version 3 was given its users by hand, and adopted"
    replaced, adopted = "replaced by version 3, by hand", f"adopted: it has 100 % of {NAME}"
    superseded = "it was given all users by hand"
    assert made.application.releases == (
        stable(state=State.RETIRED, because=replaced, ended_at=START, weight_seen=0),
        release(
            State.ROLLED_BACK, step=1, weight_seen=5, because=gone, settled=False, ended_at=START
        ),
        replace(waits, state=State.RETIRED, because=superseded, hold=None),
        stable(3, attempt=2, because=adopted, pinned=None),
    )
    after = made.application
    assert (after.stable, after.former, after.unproven) == ("3", "1", None)
    assert (after.change, after.hold, after.deleted, after.endpoint_id) == (
        None,
        None,
        (),
        "second",
    )
    assert (after.seen, after.seen_alias, after.seen_alias_of) == (found, "3", "production")
    assert after.names == {str(one): f"rag_chatbot-v{one}" for one in (1, 2, 3)}
    assert after.carried == Serving()
    assert not after.fallback
    assert made.events == [
        moved(Trigger.ROLL_BACK, State.CANARY, State.ROLLED_BACK, gone, level="error"),
        moved(Trigger.RETIRE, State.PRODUCTION, State.RETIRED, replaced, version="1"),
        moved(Trigger.SUPERSEDE, State.REGISTERED, State.RETIRED, superseded, version="3"),
        told("release.registered", adopted, version="3", attempt=2, adopted=True),
        told("release.freed", "adopted as it was found: a; b"),
    ]


def test_what_goes_home_already_goes_on_when_another_version_is_adopted() -> None:
    made = answered(shown(ROLLED_BACK, by=change(serving(v2=0, v3=100))), "adopt")
    [goes, newest] = made.application.releases
    assert goes == ROLLED_BACK
    assert (newest.version, newest.attempt, newest.state) == ("3", 1, State.PRODUCTION)


def test_one_without_proof_that_is_replaced_stays_rolled_back_and_is_removed_later() -> None:
    failed = release(State.ROLLED_BACK, version="1", hold="nothing to go back to")
    known = shown(failed, by=change(serving(v1=0, v3=100)), stable=None, unproven="1")
    made = answered(known, "adopt")
    assert made.application.releases[0] == replace(failed, hold=None, ended_at=START)
    assert (made.application.stable, made.application.former) == ("3", None)
    assert made.application.unproven is None
    assert [one.name for one in made.events[:2]] == ["release.freed", "release.registered"]


def test_a_version_adopted_while_it_rolled_back_before_is_one_more_attempt() -> None:
    rolled = release(State.ROLLED_BACK, version="3", attempt=4, ended_at=BEFORE)
    made = answered(shown(stable(), rolled, by=change(serving(v1=0, v3=100))), "adopt")
    assert made.application.releases[1] == rolled
    assert (made.application.releases[2].attempt, made.application.live) == (5, None)


def test_all_users_of_another_model_enthrone_nobody() -> None:
    elsewhere = shown(by=change(both(serving(v1=100), others(v3=0))))
    made = answered(elsewhere, "adopt")
    assert made.application.stable == "1"
    assert made.application.carried == others(v3=0)


def test_the_step_that_is_on_the_endpoint_goes_on_and_is_taken_for_ours() -> None:
    found = serving(v1=95, v2=5)
    by = change(found, named="1", fallback=True, endpoint=(FALLBACK,))
    known = shown(stable(), TRIAL, by=by, endpoint_id="first", seen=serving(v1=100))
    made = answered(known, "adopt")
    assert made.application == replace(
        known,
        change=None,
        answer=made.application.answer,
        hold=None,
        names={"1": "rag_chatbot-v1", "2": "rag_chatbot-v2"},
        seen=found,
        seen_alias="1",
        seen_alias_of="production",
        endpoint_id="second",
        fallback=True,
    )
    assert made.events == [told("release.freed", f"adopted as it was found: {FALLBACK}")]


@pytest.mark.parametrize("releases", [(), (TRIAL,)])
def test_a_stable_version_that_the_registry_lost_is_served_on_with_a_persons_word(
    releases: tuple[Release, ...],
) -> None:
    found = serving(v1=95, v2=5) if releases else serving(v1=100)
    by = change(found, endpoint=(), registry=("version 1 is gone",))
    made = answered(shown(*releases, by=by, deleted=("0",)), "adopt")
    assert made.application.deleted == ("0", "1")
    other = change(serving(v1=0, v3=100), registry=("version 1 is gone",))
    assert answered(shown(by=other), "adopt").application.deleted == ()
    assert answered(shown(by=change(serving(v1=100))), "adopt").application.deleted == ()


@pytest.mark.parametrize(
    ("entities", "name"),
    [
        ({"a": 0}, "a"),
        ({"a": 0, "rag_chatbot-v2": 0}, "rag_chatbot-v2"),
        ({"rag_chatbot-v2": 0, "z": 0}, "rag_chatbot-v2"),
        ({"z": 5, "rag_chatbot-v2": 0}, "z"),
        ({"a": 5, "rag_chatbot-v2": 0}, "a"),
        ({"rag_chatbot-v2": 5, "a": 0}, "rag_chatbot-v2"),
    ],
)
def test_of_a_versions_entities_the_one_with_users_counts_then_our_own(
    entities: dict[str, int], name: str
) -> None:
    weighed = sum(entities.values())
    ours = {one: Share(model=MODEL, version="2", weight=weight) for one, weight in entities.items()}
    found = both(Serving(ours), serving(v1=100 - weighed))
    made = answered(shown(TRIAL if weighed else stable(), by=change(found)), "adopt")
    after = made.application
    assert after.names == {"1": "rag_chatbot-v1", "2": name}
    kept = set(entities) - ({name} if weighed else set())
    assert after.carried == Serving({one: ours[one] for one in kept})


@pytest.mark.parametrize(
    ("seen", "lines", "over"),
    [
        (7, ("traffic moved",), True),
        (6, ("traffic moved",), False),
        (6, (ANEW,), True),
        (7, (FALLBACK,), False),
    ],
)
def test_what_was_asked_for_before_is_over_unless_it_may_yet_come(
    seen: int, lines: tuple[str, ...], *, over: bool
) -> None:
    by = change(serving(v1=100), endpoint=lines)
    asked = {"asked": "rag_chatbot-v1 100 %", "asked_over": 6, "config_version": seen}
    after = answered(shown(by=by, **asked), "adopt").application
    assert (after.asked, after.asked_over) == ((None, -1) if over else (asked["asked"], 6))
    assert (after.followed.get("known") == START) is over


def test_names_of_what_is_elsewhere_are_kept_and_of_what_is_taken_forgotten() -> None:
    found = both(serving(v1=100), others(v7=0))
    names = {"1": "former", "5": "absent", "6": "rag_chatbot-v1"}
    known = shown(by=change(found), names=names, carried=both(serving(v9=0), others(v7=0)))
    after = answered(known, "adopt").application
    assert after.names == {"1": "rag_chatbot-v1", "5": "absent"}
    assert after.carried == others(v7=0)


def test_what_was_kept_a_while_and_is_not_there_is_given_up() -> None:
    old = release(State.RETIRED, version="3", ended_at=BEFORE)
    there, done = replace(old, version="4"), replace(old, version="5", removed=True)
    open_ = replace(old, version="6", ended_at=None)
    made = answered(shown(old, there, done, open_, by=change(serving(v1=100, v4=0))), "adopt")
    assert made.application.releases == (replace(old, removed=True), there, done, open_)
    assert made.application.carried == Serving()


@pytest.mark.parametrize("state", [State.PROVISIONING, State.ROLLED_BACK, State.TESTING])
def test_a_trial_that_was_taken_off_the_endpoint_is_not_put_back(state: State) -> None:
    live = release(state, settled=False)
    made = answered(shown(live, by=change(serving(v1=100))), "adopt")
    why = "it was taken from the endpoint by hand"
    expected = {
        State.PROVISIONING: live,
        State.ROLLED_BACK: replace(live, removed=True),
        State.TESTING: replace(
            live, state=State.ROLLED_BACK, because=why, ended_at=START, removed=True
        ),
    }
    assert made.application.releases == (expected[state],)
    moves = [moved(Trigger.ROLL_BACK, state, State.ROLLED_BACK, why, level="error")]
    assert made.events[:-1] == (moves if state is State.TESTING else [])


def test_a_deleted_endpoint_that_is_adopted_begins_anew() -> None:
    failed = release(State.ROLLED_BACK, version="3", ended_at=BEFORE)
    retired = release(State.RETIRED, version="4")
    known = shown(
        stable(), TRIAL, failed, retired, by=change(None, endpoint=(GONE,)),
        former="0", unproven="9", seen=serving(v1=95, v2=5), asked="x", closings=("y",),
        seen_alias="1", carried=serving(v8=0), names={"1": "n"}, config_version=7,
        endpoint_id="first", created_ms=5,
    )  # fmt: skip
    made = answered(known, "adopt")
    because = f"endpoint {NAME} was deleted, and that was adopted"
    assert made.application == replace(
        known,
        answer=made.application.answer, change=None, hold=None, stable=None, former=None,
        unproven=None, ours=True, seen=None, asked=None, closings=(), seen_alias=None,
        carried=Serving(), names={}, config_version=0, endpoint_id="", followed={"known": START},
        releases=(
            stable(
                state=State.RETIRED, because=because, ended_at=START, weight_seen=0, removed=True
            ),
            replace(
                TRIAL, state=State.ROLLED_BACK, because=because, settled=False, ended_at=START,
                removed=True,
            ),
            replace(failed, removed=True),
            replace(retired, ended_at=START, removed=True),
        ),
    )  # fmt: skip
    assert made.events == [
        moved(Trigger.ROLL_BACK, State.CANARY, State.ROLLED_BACK, because, level="error"),
        moved(Trigger.RETIRE, State.PRODUCTION, State.RETIRED, because, version="1"),
        told("release.freed", f"adopted as it was found: {GONE}"),
    ]


def test_what_goes_home_when_its_endpoint_is_gone_goes_on_without() -> None:
    made = answered(shown(ROLLED_BACK, by=change(None)), "adopt")
    assert made.application.releases == (replace(ROLLED_BACK, ended_at=START, removed=True),)


def test_a_change_that_is_put_back_is_where_we_start_from() -> None:
    found = serving(v1=60, v2=40)
    retained = release(State.RETIRED, version="0", ended_at=BEFORE)
    by = change(found, alias=("moved",), named="2")
    known = shown(retained, stable(), TRIAL, by=by, endpoint_id="first", config_version=7)
    made = answered(known, "revert")
    assert made.application == replace(
        known,
        change=None,
        answer=made.application.answer,
        hold=None,
        seen=found,
        seen_alias="2",
        seen_alias_of="production",
        endpoint_id="second",
        followed=FROM_NOW,
    )
    assert made.events == [told("release.freed", "is put back, as ordered: traffic moved; moved")]


def test_what_the_alias_was_asked_to_name_is_over_once_another_is_accepted() -> None:
    moved = change(serving(v3=100), alias=("moved",), named="3")
    after = answered(shown(stable(), by=moved, asked_alias="2"), "adopt").application
    assert (after.seen_alias, after.asked_alias) == ("3", None)
    assert after.followed[NAMED] == START
    elsewhere = change(serving(v1=90, v2=10))
    after = answered(shown(stable(), by=elsewhere, asked_alias="2"), "adopt").application
    assert (after.asked_alias, NAMED in after.followed) == ("2", False)


def test_only_what_was_changed_is_put_back() -> None:
    before = {"seen": serving(v1=100), "endpoint_id": "first", "seen_alias": "1"}
    fallback = change(serving(v1=99), endpoint=(FALLBACK,), fallback=True)
    known = shown(stable(), by=fallback, **before)
    after = answered(known, "revert").application
    assert after == replace(known, change=None, hold=None, answer=after.answer, fallback_off=True)
    lost = change(serving(v3=100), alias=("gone",), registry=("deleted",))
    after = answered(shown(stable(), by=lost, **before), "revert").application
    assert (after.seen, after.seen_alias, after.fallback_off) == (serving(v3=100), "1", False)


@pytest.mark.parametrize("state", [State.TESTING, State.CANARY])
def test_an_endpoint_that_is_made_again_shuts_the_gate_until_the_version_is_ready(
    state: State,
) -> None:
    old = release(State.RETIRED, version="0", ended_at=BEFORE)
    former = stable(ended_at=BEFORE)
    live = replace(TRIAL, state=state, on_step=timedelta(hours=1))
    known = shown(
        old, former, live, by=change(None, endpoint=(GONE,)), config_version=7,
        endpoint_id="first", seen=serving(v1=95, v2=5),
    )  # fmt: skip
    made = answered(known, "revert")
    because = "its endpoint is created again: the step is opened once it is ready"
    shut = replace(
        live,
        shut=True,
        settled=False,
        because=because,
        on_step=timedelta(),
        spans=(Span(number=1, step=1, weight=0, starts_at=START, settled=False),),
    )
    assert made.application == replace(
        known,
        change=None, answer=made.application.answer, hold=None, seen=None, endpoint_id="",
        ours=True, config_version=0, followed=FROM_NOW,
        releases=(
            replace(old, removed=True), former, shut if state is State.CANARY else live
        ),
    )  # fmt: skip
    freed = told("release.freed", f"is put back, as ordered: {GONE}")
    shuts = moved(Trigger.RETREAT, State.CANARY, State.CANARY, because)
    assert made.events == ([shuts, freed] if state is State.CANARY else [freed])


def test_a_first_release_whose_endpoint_is_made_again_has_no_gate_to_shut() -> None:
    first = replace(TRIAL, pinned=replace(PINNED, baseline=None, incumbent=None))
    made = answered(shown(first, by=change(None, endpoint=(GONE,)), stable=None), "revert")
    assert made.application.releases == (first,)
