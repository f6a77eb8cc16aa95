"""What stops a release that is otherwise ready, and whose word lets it past."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.admission import Approval, Column, Rules
from policies.calendar import Freeze, Window
from states.consent import Signs, Word
from states.gates import (
    Gate,
    admission_gate,
    by_word,
    consent,
    first_users_gate,
    gated,
    hold_at,
    last_gate,
    opening_gate,
    overridden,
    position,
    promoted,
    read_signs,
    unlooked,
    word_on,
)
from states.machine import State
from states.release import Release
from states.span import Span
from states.turn import Turn
from states.world import ModelVersion
from tests.states.byhand import NOW, candidate, event, record, shown, turn
from tests.states.story import SPEC, START, version
from tests.states.test_desired import PINNED

HOUR = timedelta(hours=1)
FREEZE = Freeze(begins=NOW - HOUR, ends=NOW + HOUR, reason="the launch")
ICE = "frozen (the launch) until Mon 2026-11-23 16:00 UTC; going back is never frozen"
FROZEN = replace(SPEC, admission=Rules(freezes=(FREEZE,)))
OUTSIDE = replace(SPEC, admission=Rules(windows=(Window.parse("Tue 09:00-17:00"),)))
HELD = "held by the tag headgate.hold on its version: it goes on once the tag is taken off"
TAGGED = Gate(why=HELD, needs_person=True)
WAITS = candidate()
TESTED = candidate(state=State.TESTING)
CANARY = candidate(state=State.CANARY, step=2)
BAKING = candidate(state=State.CANARY, step=4)
HOLD = Signs(hold=True)
TEXT = Column(name="query", type="string")


def word(release: Release, verb: str, finding: str, **facts: object) -> Release:
    """A person's word, after all that were given before."""
    said = Word(verb=verb, finding=finding, seq=1, actor="ada")  # type: ignore[arg-type]
    return replace(release, words=(*release.words, replace(said, **facts)))  # type: ignore[arg-type]


def going_on(release: Release, **facts: object) -> Release:
    """Somebody said `promote` of where it is."""
    return word(release, "promote", position(release), **facts)


def planned(release: Release, **facts: object) -> Release:
    return replace(release, pinned=replace(PINNED, **facts))  # type: ignore[arg-type]


def seen(one: int, **facts: object) -> ModelVersion:
    return replace(version(one), **facts)  # type: ignore[arg-type]


def look(release: Release, *versions: ModelVersion, **facts: object) -> Turn:
    return turn(record(release, **facts), shown(), versions=versions)


def test_a_gate_holds_with_what_may_let_it_past() -> None:
    signs = Signs(approved=("approval_a",), void=())
    release = replace(TESTED, signs=signs)
    gate = Gate(why="why", needs_person=True, ask="this")
    made = look(release)
    held = replace(release, hold="why", needs_person=True, ask="this")
    assert hold_at(made, release, gate) == held
    assert made.application == record(held)
    assert made.events == [event("release.held", release, "why", "warning")]
    anew = replace(held, signs=replace(signs, void=("approval_a",)))
    assert hold_at(look(release), release, replace(gate, anew=True)) == anew
    waits = replace(release, hold="why")
    assert hold_at(look(release), release, Gate(why="why", needs_person=False)) == waits


@pytest.mark.parametrize("state", [State.REGISTERED, State.TESTING, State.PRODUCTION])
def test_tags_are_noted_of_whatever_is_on_its_way(state: State) -> None:
    release = candidate(state=state)
    tags = {"headgate.hold": "", "approval_b": "Approved", "Approval_a": "Approved", "x": "y"}
    made = look(release, seen(1, tags=tags), seen(2, tags=tags))
    read_signs(made)
    approved = ("Approval_a", "approval_b")
    noted = replace(release, signs=Signs(hold=True, approved=approved, void=approved))
    assert made.application == record(noted), "what is there at first is void"
    known = replace(release, signs=Signs(hold=True, approved=("old",), void=("old", "approval_b")))
    made = look(known, seen(2, tags={"approval_b": "Approved", "Approval_a": "Approved"}))
    read_signs(made)
    after = Signs(approved=approved, void=("approval_b",))
    assert made.application == record(replace(known, signs=after)), "what was taken off is free"


@pytest.mark.parametrize(
    ("release", "versions"),
    [
        (candidate(state=State.ROLLED_BACK, signs=HOLD), (seen(2, tags={}),)),
        (candidate(state=State.RETIRED, signs=HOLD), (seen(2, tags={}),)),
        (candidate(state=State.TESTING, signs=HOLD), (seen(2, tags=None), seen(3, tags={}))),
        (candidate(state=State.TESTING, signs=HOLD), ()),
    ],
)
def test_the_ended_and_the_unseen_say_what_they_said(
    release: Release, versions: tuple[ModelVersion, ...]
) -> None:
    made = look(release, *versions)
    read_signs(made)
    assert made.application == record(release)
    made = turn(record(release), shown(), versions=None)
    read_signs(made)
    assert made.application == record(release)


def test_a_version_that_is_unseen_keeps_no_other_from_being_read() -> None:
    later = candidate(version="3")
    made = turn(record(WAITS, later), shown(), versions=(seen(3, tags={"headgate.hold": ""}),))
    read_signs(made)
    noted = replace(later, signs=Signs(hold=True, void=()))
    assert made.application == record(WAITS, noted)


def test_a_word_counts_for_what_it_was_said_on_and_the_last_one_or_one_past_all() -> None:
    release = word(TESTED, "approve", "this", seq=1)
    assert word_on(release, "approve", "this") == release.words[0]
    assert word_on(release, "approve", "that") is None
    assert word_on(release, "promote", "this") is None
    twice = word(release, "approve", "this", seq=2)
    assert word_on(twice, "approve", "this") == twice.words[1]
    past = word(word(release, "approve", "this", seq=2, override=True), "approve", "this", seq=3)
    assert word_on(past, "approve", "this") == past.words[1]


@pytest.mark.parametrize(
    ("facts", "where"),
    [
        ({}, "Canary at step 2, 0 retreats"),
        ({"shut": True, "retreats": 1}, "Canary at step 2, 1 retreats, shut"),
        ({"pauses": 3}, "Canary at step 2, 0 retreats, paused 3 times"),
        ({"pauses": 1, "shut": True}, "Canary at step 2, 0 retreats, shut, paused 1 times"),
    ],
)
def test_promote_is_said_of_one_place_on_the_way(facts: dict[str, object], where: str) -> None:
    release = replace(CANARY, **facts)  # type: ignore[arg-type]
    assert position(release) == where
    assert promoted(release) is None
    assert not overridden(release)
    said = going_on(release)
    assert promoted(said) == said.words[0]
    assert not overridden(said)
    assert overridden(going_on(release, override=True))
    assert not overridden(replace(going_on(release, override=True), step=3))


@pytest.mark.parametrize(
    ("release", "spec", "gate"),
    [
        (WAITS, SPEC, None),
        (replace(WAITS, signs=HOLD), SPEC, TAGGED),
        (replace(WAITS, signs=HOLD, ordered="undo"), FROZEN, TAGGED),
        (replace(going_on(WAITS, override=True), signs=HOLD), FROZEN, TAGGED),
        (WAITS, FROZEN, Gate(why=ICE, needs_person=False)),
        (going_on(WAITS), FROZEN, Gate(why=ICE, needs_person=False)),
        (going_on(WAITS, override=True), FROZEN, None),
        (replace(WAITS, ordered="undo"), FROZEN, None),
        (replace(WAITS, ordered="retry"), FROZEN, Gate(why=ICE, needs_person=False)),
        (
            WAITS,
            OUTSIDE,
            Gate(
                why="outside its release windows (Tue 09:00-17:00): opens Tue 2026-11-24 09:00 UTC",
                needs_person=False,
            ),
        ),
    ],
)
def test_what_keeps_a_version_from_beginning(
    release: Release, spec: object, gate: Gate | None
) -> None:
    made = look(release, version(1), version(2), spec=spec)
    assert admission_gate(made, release, version(2)) == gate


LEFT_OUT = "; `headgate approve rag-chatbot/2` lets it begin all the same"
NEW = "requests for version 1 may fail at it: user (string) is new and required"
UNREAD = "the input of stable, version 1, cannot be read to be compared"
MORE = (TEXT, Column(name="user", type="string"))


@pytest.mark.parametrize(
    ("stable", "inputs", "change"),
    [
        (seen(1, inputs=(TEXT,)), (TEXT,), None),
        (seen(1, inputs=(TEXT,)), MORE, NEW),
        (seen(1, inputs=(TEXT,)), None, None),
        (seen(1, inputs=None), MORE, None),
        (seen(1, inputs=(TEXT,), tags=None), MORE, None),
        (seen(1, inputs=(TEXT,), has_signature=None), MORE, UNREAD),
        (seen(1, inputs=None, has_signature=None), None, UNREAD),
        (seen(3, inputs=(TEXT,)), MORE, None),
    ],
)
def test_requests_that_stable_accepts_and_that_may_fail_are_a_persons_to_know(
    stable: ModelVersion, inputs: tuple[Column, ...] | None, change: str | None
) -> None:
    trial = seen(2, inputs=inputs)
    gate = change and Gate(why=f"{change}{LEFT_OUT}", needs_person=True, ask=change)
    assert admission_gate(look(WAITS, stable, trial), WAITS, trial) == gate
    past = going_on(WAITS, override=True)
    assert admission_gate(look(past, stable, trial), past, trial) == gate, "it says nothing of it"
    back = replace(WAITS, ordered="undo")
    assert admission_gate(look(back, stable, trial), back, trial) is None
    told = word(WAITS, "approve", change or "")
    assert admission_gate(look(told, stable, trial), told, trial) is None
    frozen = look(told, stable, trial, spec=FROZEN)
    assert admission_gate(frozen, told, trial) == Gate(why=ICE, needs_person=False)
    if gate is not None:
        made = look(WAITS, stable, trial, spec=FROZEN)
        assert admission_gate(made, WAITS, trial) == gate, "before the calendar"


@pytest.mark.parametrize(
    ("release", "versions", "answer"),
    [
        (WAITS, (seen(1, tags=None),), True),
        (WAITS, (seen(1, tags={}),), False),
        (WAITS, (seen(2, tags=None),), False),
        (replace(WAITS, ordered="undo"), (seen(1, tags=None),), False),
        (replace(WAITS, ordered="retry"), (seen(2, tags={}), seen(1, tags=None)), True),
    ],
)
def test_stable_is_unlooked_where_it_was_listed_alone(
    release: Release, versions: tuple[ModelVersion, ...], *, answer: bool
) -> None:
    assert unlooked(look(release, *versions), release) is answer
    assert not unlooked(turn(record(release), shown(), versions=None), release)


@pytest.mark.parametrize(
    ("release", "gate"),
    [
        (CANARY, Gate(why=ICE, needs_person=False)),
        (going_on(CANARY), Gate(why=ICE, needs_person=False)),
        (going_on(CANARY, override=True), None),
        (planned(CANARY, proven=True), None),
        (replace(CANARY, signs=HOLD), TAGGED),
        (replace(planned(CANARY, proven=True), signs=HOLD), TAGGED),
        (replace(going_on(CANARY, override=True), signs=HOLD), TAGGED),
    ],
)
def test_what_keeps_a_release_from_more_users(release: Release, gate: Gate | None) -> None:
    assert opening_gate(look(release, spec=FROZEN), release) == gate
    thawed = gate if gate == TAGGED else None
    assert opening_gate(look(release), release) == thawed
    assert first_users_gate(look(release, spec=FROZEN), release) == gate


def asked(finding: str, early: str = "", *, anew: bool = False) -> Gate:
    told = f"; {early} was set too early to count: take it off and set it again" if early else ""
    why = (
        f"waits for approval of {finding}: `headgate approve rag-chatbot/2`, or a tag approval… "
        f"with the value Approved on its version{told}"
    )
    return Gate(why=why, needs_person=True, ask=finding, anew=anew)


FIRST = "the first users"
EARLY = Signs(approved=("approval_a", "approval_b"), void=("approval_a", "approval_b"))
IN_TIME = replace(EARLY, void=("approval_a",))


@pytest.mark.parametrize(
    ("approval", "facts", "gate"),
    [
        ("none", {}, None),
        ("before_production", {}, None),
        ("before_canary", {}, asked(FIRST)),
        ("before_canary", {"signs": EARLY}, asked(FIRST, "approval_a, approval_b")),
        ("before_canary", {"signs": IN_TIME}, None),
        ("before_canary", {"signs": replace(IN_TIME, hold=True)}, TAGGED),
        ("before_canary", word(TESTED, "approve", FIRST), None),
        ("before_canary", word(TESTED, "approve", "something else"), asked(FIRST)),
        ("before_canary", word(TESTED, "promote", FIRST), asked(FIRST)),
    ],
)
def test_first_users_are_asked_for_where_it_is_wished(
    approval: Approval, facts: dict[str, object] | Release, gate: Gate | None
) -> None:
    release = facts if isinstance(facts, Release) else replace(TESTED, **facts)  # type: ignore[arg-type]
    release = planned(release, approval=approval)
    assert first_users_gate(look(release), release) == gate
    frozen = Gate(why=ICE, needs_person=False) if gate != TAGGED else gate
    assert first_users_gate(look(release, spec=FROZEN), release) == frozen


BAKED = "production, after the bake of span 2"
SPANS = tuple(
    Span(number=number, step=4, weight=100, starts_at=START, settled=number > 1)
    for number in (1, 2)
)


@pytest.mark.parametrize(
    ("approval", "facts", "gate"),
    [
        ("none", {}, None),
        ("before_canary", {}, None),
        ("before_production", {}, asked(BAKED, anew=True)),
        ("before_production", {"ask": BAKED}, asked(BAKED)),
        (
            "before_production",
            {"ask": "production, after the bake of span 1"},
            asked(BAKED, anew=True),
        ),
        ("before_production", {"ask": BAKED, "signs": IN_TIME}, None),
        (
            "before_production",
            {"signs": IN_TIME},
            asked(BAKED, "approval_a, approval_b", anew=True),
        ),
        (
            "before_production",
            {"ask": BAKED, "signs": EARLY},
            asked(BAKED, "approval_a, approval_b"),
        ),
        ("before_production", {"signs": replace(IN_TIME, hold=True), "ask": BAKED}, TAGGED),
        ("none", {"signs": HOLD}, TAGGED),
        ("before_production", {"words": word(BAKING, "approve", BAKED).words}, None),
        (
            "before_production",
            {"words": word(BAKING, "approve", FIRST).words},
            asked(BAKED, anew=True),
        ),
    ],
)
def test_the_alias_is_asked_for_once_the_bake_has_shown_what_it_has(
    approval: Approval, facts: dict[str, object], gate: Gate | None
) -> None:
    release = planned(replace(BAKING, spans=SPANS, **facts), approval=approval)  # type: ignore[arg-type]
    assert release.weight == 100
    assert last_gate(look(release), release) == gate
    assert last_gate(look(release, spec=FROZEN), release) == gate, "its users it has already"
    proven = planned(release, approval=approval, proven=True)
    assert last_gate(look(proven), proven) == gate


def test_a_bake_of_fewer_than_all_users_opens_further_with_the_alias() -> None:
    part = replace(BAKING, spans=SPANS, shut=True)
    assert part.weight == 0
    release = planned(part, approval="before_production")
    frozen = Gate(why=ICE, needs_person=False)
    assert last_gate(look(release, spec=FROZEN), release) == frozen
    assert last_gate(look(release), release) == asked(BAKED, anew=True)
    held_back = planned(replace(BAKING, spans=SPANS), rollout=replace(PINNED.rollout, hold_back=1))
    assert held_back.weight == 99
    assert last_gate(look(held_back, spec=FROZEN), held_back) == frozen


@pytest.mark.parametrize(
    ("hold", "answer"),
    [
        (ICE, True),
        (HELD, True),
        ("outside its release windows (Tue 09:00-17:00): opens …", False),
        ("undecided after 1 d", False),
        (None, False),
        (f"XX{HELD}", False),
    ],
)
def test_it_is_known_of_a_hold_that_nothing_but_a_calendar_or_a_tag_says_it(
    hold: str | None, *, answer: bool
) -> None:
    assert gated(replace(CANARY, hold=hold)) is answer


def test_a_move_says_by_whose_word_it_is() -> None:
    assert by_word(CANARY) == ""
    assert by_word(going_on(CANARY)) == "; promoted by ada"
    past = "; promoted by ada, past what is not shown and what holds"
    assert by_word(going_on(CANARY, override=True)) == past


@pytest.mark.parametrize(
    ("release", "by"),
    [
        (word(planned(TESTED, approval="before_canary"), "approve", FIRST), "; approved by ada"),
        (
            word(
                word(planned(TESTED, approval="before_canary"), "approve", FIRST),
                "approve",
                "another",
                actor="bob",
            ),
            "; approved by bob",
        ),
        (
            replace(planned(TESTED, approval="before_canary"), signs=IN_TIME),
            "; approved by approval_b",
        ),
        (
            replace(planned(TESTED, approval="before_canary"), signs=replace(EARLY, void=())),
            "; approved by approval_a, approval_b",
        ),
        (replace(planned(TESTED, approval="before_canary"), signs=EARLY), ""),
        (word(planned(TESTED, approval="before_canary"), "promote", FIRST), ""),
        (word(planned(TESTED), "approve", FIRST), ""),
        (replace(word(TESTED, "approve", FIRST), pinned=None), ""),
    ],
)
def test_a_move_says_who_answered(release: Release, by: str) -> None:
    assert consent(release) == by
