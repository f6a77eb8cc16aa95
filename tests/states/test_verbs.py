"""What operators are answered, verb by verb, state by state: what comes of it, or why not."""

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest

from policies.evidence import Block
from policies.golden import Round
from policies.guards import ErrorGuard, Guards, History
from policies.judge import no_worse
from states.consent import Verb
from states.judging import UNPROVABLE, guards_of
from states.machine import State
from states.release import Application, Order, Release
from states.span import Span
from states.verbs import (
    UNTOLD,
    approve_refusal,
    begin_refusal,
    order_refusal,
    ordered,
    promote_refusal,
    undo_refusal,
    unproven,
)
from tests.policies.counts import arm, block
from tests.states.records import KEY, PINNED, application, release
from tests.states.story import START

LIVE = (State.PROVISIONING, State.TESTING, State.CANARY, State.PRODUCTION)
PASSED = Round(asked=8, candidate_failed=(), stable_failed=())
HELD = "nobody knows"


def promoting(one: Release, *, override: bool = False, **facts: object) -> str | None:
    return promote_refusal(application(one, **facts), one, override=override)


@pytest.mark.parametrize("state", LIVE)
def test_an_abort_leads_home_where_there_is_one(state: State) -> None:
    assert ordered(release(state), Order.ABORT) == "is aborted: it goes back with the next look"
    nowhere = "is aborted, with the next look; there is nothing to go back to"
    first = release(state, pinned=replace(PINNED, incumbent=None))
    assert ordered(first, Order.ABORT) == nowhere
    assert ordered(release(state, pinned=None), Order.ABORT) == nowhere


def test_what_waits_is_aborted_where_it_stands_and_what_goes_home_goes_on() -> None:
    waits = "is aborted: it does not begin, and is retired with the next look"
    assert ordered(release(State.REGISTERED), Order.ABORT) == waits
    home = "is aborted: it is on its way home"
    assert ordered(release(State.ROLLED_BACK), Order.ABORT) == home


@pytest.mark.parametrize(
    ("state", "what"),
    [
        (State.REGISTERED, "it does not begin"),
        (State.PROVISIONING, "its exposure does not rise"),
        (State.TESTING, "its exposure does not rise"),
        (State.CANARY, "its exposure does not rise"),
        (State.PRODUCTION, "its watch does not end"),
    ],
)
def test_a_pause_says_what_it_stops(state: State, what: str) -> None:
    assert ordered(release(state), Order.PAUSE) == f"is paused: {what} until `headgate resume`"


def test_resume_says_whether_anything_goes_on() -> None:
    assert ordered(release(), Order.RUN) == "is not paused, and goes on by itself"
    for state, hold in product((State.TESTING, State.CANARY), (None, HELD)):
        paused = release(state, order=Order.PAUSE, hold=hold)
        goes_on = hold is None or state is State.CANARY
        told = "goes on" if goes_on else f"is not paused any more, and is held: {HELD}"
        assert ordered(paused, Order.RUN) == told


@pytest.mark.parametrize(("order", "typed"), [("pause", "pause"), ("run", "resume")])
def test_an_abort_is_taken_back_by_no_other_order(order: str, typed: str) -> None:
    for state, anew in ((State.REGISTERED, "release"), (State.CANARY, "retry")):
        told = (
            f"cannot {typed} {KEY}: it is aborted, which nothing takes back; `headgate {anew} "
            f"{KEY}` begins another attempt once that is done"
        )
        assert order_refusal(release(state, order=Order.ABORT), Order(order)) == told


@pytest.mark.parametrize(
    ("order", "typed"), [("pause", "pause"), ("run", "resume"), ("abort", "abort")]
)
def test_the_way_home_takes_no_orders(order: str, typed: str) -> None:
    told = f"cannot {typed} {KEY}: it is on its way home already"
    assert order_refusal(release(State.ROLLED_BACK), Order(order)) == told


@pytest.mark.parametrize("state", [State.REGISTERED, *LIVE])
def test_elsewhere_orders_are_taken(state: State) -> None:
    assert [order_refusal(release(state), one) for one in Order] == [None] * 3
    assert order_refusal(release(state, order=Order.ABORT), Order.ABORT) is None
    assert order_refusal(release(state, order=Order.PAUSE, hold=HELD), Order.RUN) is None
    told = f"cannot resume {KEY}: it is not paused, but held for something else: {HELD}"
    assert order_refusal(release(state, hold=HELD), Order.RUN) == told


@pytest.mark.parametrize("state", LIVE)
def test_approve_says_what_a_release_does_that_asks_nobody(state: State) -> None:
    nothing = f"nothing of {KEY} waits for approval: it"
    assert approve_refusal(release(state)) == f"{nothing} is in {state.value}"
    told = f"{nothing} is held for something else: {HELD}"
    assert approve_refusal(release(state, hold=HELD)) == told
    aborted = release(state, order=Order.ABORT, ask="for its first users")
    assert approve_refusal(aborted) == f"cannot approve {KEY}: it is aborted"
    assert approve_refusal(release(state, ask="for its first users")) is None


def test_approve_of_a_bake_comes_when_it_has_ended_and_not_while_it_is_paused() -> None:
    bakes = release(step=len(PINNED.rollout.steps))
    nothing = f"nothing of {KEY} waits for approval: it bakes, and asks once that has ended"
    assert approve_refusal(bakes) == nothing
    paused = replace(bakes, ask="before production", order=Order.PAUSE)
    void = (
        f"cannot approve {KEY}: it is paused, and its bake begins anew with `headgate resume`, "
        "which is what is asked about then"
    )
    assert approve_refusal(paused) == void
    assert approve_refusal(replace(paused, state=State.TESTING)) is None


@pytest.mark.parametrize("override", [False, True])
@pytest.mark.parametrize(
    ("state", "facts", "why"),
    [
        (State.ROLLED_BACK, {}, "it was rolled back: `headgate retry` begins another attempt"),
        (State.CANARY, {"order": Order.ABORT}, "it is aborted"),
        (State.CANARY, {"order": Order.PAUSE}, "it is paused: `headgate resume` it first"),
        (State.CANARY, {"ask": "x", "hold": HELD}, f"it waits for something else: {HELD}"),
        (
            State.CANARY,
            {"unlisted": True},
            "its version is not in the registry's list: it is looked for once more",
        ),
        (State.REGISTERED, {}, "it has not begun: it waits for its turn"),
        (State.REGISTERED, {"hold": HELD}, f"it has not begun: {HELD}"),
        (State.PROVISIONING, {}, "its served entity is not ready yet"),
        (
            State.PRODUCTION,
            {},
            "it has all users and the alias; the watch only keeps the way back ready",
        ),
    ],
)
def test_no_word_promotes_what_has_nowhere_to_go(
    state: State, facts: dict[str, object], why: str, *, override: bool
) -> None:
    assert promoting(release(state, **facts), override=override) == f"cannot promote {KEY}: {why}"


def test_no_word_promotes_past_what_holds_the_whole_application() -> None:
    assert promoting(release(), override=True, hold=HELD) == f"cannot promote {KEY}: {HELD}"


def test_a_shut_gate_is_promoted_by_override_alone() -> None:
    shut = release(shut=True, because="it errs")
    gate = "its gate is shut: it errs; it opens again by itself, or `--override`"
    assert promoting(shut) == f"cannot promote {KEY}: {gate}"
    assert promoting(shut, override=True) is None
    lasting = replace(shut, hold="still shut: it errs", needs_person=True)
    assert promoting(lasting) == f"cannot promote {KEY}: {gate}"
    asked = replace(shut, hold="the gate was shut for the second time: it errs", needs_person=True)
    person = "its gate is shut: it errs; only a person opens it again: `--override`"
    assert promoting(asked) == f"cannot promote {KEY}: {person}"


def test_a_hold_in_canary_is_promoted_past_by_override_alone() -> None:
    held = release(hold=HELD)
    told = f"it is held: {HELD}; `--override` goes past that, and says so in the log"
    assert promoting(held) == f"cannot promote {KEY}: {told}"
    assert promoting(held, override=True) is None


@pytest.mark.parametrize("hold", [None, HELD])
def test_no_word_promotes_past_golden_queries(hold: str | None) -> None:
    asked = "its golden queries are being asked: it opens by itself once they pass"
    end = f": {hold}" if hold else ""
    one = release(State.TESTING, hold=hold)
    assert promoting(one, override=True) == f"cannot promote {KEY}: {asked}{end}"
    unread = replace(one, pinned=replace(PINNED, tests_table="main.x.golden"))
    told = f"cannot promote {KEY}: its golden queries are not read yet{end}"
    assert promoting(unread, override=True) == told
    passed = promoting(replace(one, rounds=(PASSED,)), override=True)
    assert passed == (None if hold else f"cannot promote {KEY}: {asked}")


@pytest.mark.parametrize("verb", ["release", "retry"])
def test_a_version_is_begun_by_name_where_that_makes_sense(verb: Verb) -> None:
    beside = application(release(State.RETIRED))

    def refusal(known: Application, version: str, state: State | None) -> str | None:
        return begin_refusal(known, version, verb, state)

    unadopted = replace(beside, adopted=False)
    told = f"cannot {verb} {KEY}: the endpoint was not looked at yet"
    assert refusal(unadopted, "2", State.ROLLED_BACK) == told
    told = f"cannot {verb} {KEY}: {HELD}"
    assert refusal(replace(unadopted, hold=HELD), "2", State.ROLLED_BACK) == told
    stable = f"cannot {verb} rag-chatbot/1: it is stable, and has the users already"
    assert refusal(beside, "1", State.PRODUCTION) == stable
    for state in LIVE:
        under_way = f"cannot {verb} {KEY}: it is under way already, in {state.value}"
        assert refusal(application(release(state)), "2", state) == under_way
    home = f"cannot {verb} {KEY}: it is on its way home: wait until it is there"
    homeward = release(State.ROLLED_BACK, settled=False)
    assert refusal(application(homeward), "2", State.ROLLED_BACK) == home
    assert refusal(application(release()), "3", State.ROLLED_BACK) is None
    assert refusal(beside, "2", State.ROLLED_BACK) is None


def test_only_what_was_rolled_back_is_retried() -> None:
    begin = f"`headgate release {KEY}` begins an attempt"
    retired = begin_refusal(application(), "2", "retry", State.RETIRED)
    assert retired == f"cannot retry {KEY}: it is Retired; {begin}"
    never = begin_refusal(application(), "2", "retry", None)
    assert never == f"cannot retry {KEY}: it was never released; {begin}"
    assert begin_refusal(application(), "2", "release", None) is None


def test_undo_needs_somewhere_to_go_back_to() -> None:
    named = "`headgate release rag-chatbot/VERSION` takes one that you name"
    unknown = "cannot undo rag-chatbot: the record does not tell which version was stable before"
    assert undo_refusal(application()) == f"{unknown} 1; {named}"
    assert undo_refusal(application(stable=None)) == f"{unknown} any; {named}"
    assert undo_refusal(application(former="0")) is None
    assert undo_refusal(application(release())) is None
    home = "cannot undo rag-chatbot: rag-chatbot/2 is on its way home already"
    assert undo_refusal(application(release(State.ROLLED_BACK, settled=False), former="0")) == home


# What an override goes past.

SOURCES = {"errors": "inference_table"}
SPAN = Span(number=1, step=1, weight=5, starts_at=START, settled=True)
COMPARED = release(step=1, sources=SOURCES, spans=(SPAN,))
LEANING = block(arm(3_000, 12), arm(57_000, 120))
"""0.4 % against 0.21 %: within the margin, yet harm is likelier than not."""
SUSPICION = "all was shown that was asked for, yet harm is more likely than not by what was counted"


def lacking(one: Release, *blocks: Block, lag: timedelta = timedelta()) -> str:
    """The word of the guard of errors on a step."""
    [guard] = guards_of(one)
    return f"errors: {no_worse(guard, blocks, weight=5, pace=None, lag=lag).because}"


@pytest.mark.parametrize("state", [State.PROVISIONING, State.TESTING, State.PRODUCTION])
def test_elsewhere_than_in_canary_an_override_goes_past_a_hold_alone(state: State) -> None:
    assert unproven(release(state)) == []
    assert unproven(release(state, hold=HELD)) == [f"it is held: {HELD}"]


def test_an_override_goes_past_a_shut_gate() -> None:
    shut = release(shut=True, because="it errs", spans=(SPAN,), sources=SOURCES)
    assert unproven(shut) == ["its gate is shut: it errs"]
    held = replace(shut, hold=HELD)
    assert unproven(held) == [f"it is held: {HELD}", "its gate is shut: it errs"]


def test_an_override_goes_past_what_a_step_has_not_shown() -> None:
    few = block(arm(10), arm(190))
    counted = replace(COMPARED, blocks=(few,))
    assert unproven(counted) == [lacking(counted, few)]
    assert unproven(replace(counted, hold=HELD)) == [f"it is held: {HELD}", lacking(counted, few)]
    lag = replace(counted, history=History(lag=timedelta(minutes=7)))
    assert unproven(lag) == [lacking(lag, few, lag=timedelta(minutes=7))]
    enough = block(arm(3_000, 3), arm(57_000, 57))
    assert unproven(replace(COMPARED, blocks=(enough,))) == []
    for other in (replace(enough, span=2), replace(enough, comparable=False)):
        assert unproven(replace(COMPARED, blocks=(other,))) == [lacking(COMPARED)]
    assert unproven(replace(COMPARED, blocks=(LEANING,))) == [SUSPICION]
    assert unproven(replace(COMPARED, blocks=(LEANING,), spans=())) == [SUSPICION]
    assert unproven(replace(COMPARED, spans=())) == []


def test_an_override_goes_past_what_keeps_the_climb_and_says_it_once() -> None:
    uncounted = replace(COMPARED, sources={})
    assert unproven(uncounted) == [UNPROVABLE]
    assert unproven(replace(uncounted, hold=UNPROVABLE)) == [f"it is held: {UNPROVABLE}"]
    plan = replace(PINNED, guards=Guards(errors=ErrorGuard(observe=True)))
    assert unproven(replace(COMPARED, pinned=plan)) == [UNPROVABLE]


def test_an_override_goes_past_a_bake_that_nobody_told_of_yet() -> None:
    bakes = replace(COMPARED, step=4)
    assert unproven(bakes) == [UNTOLD]
    assert unproven(replace(bakes, hold=HELD)) == [f"it is held: {HELD}", UNTOLD]
    told = START + timedelta(minutes=3)
    seen = replace(bakes, on_step=timedelta(minutes=3), watermarks={"inference_table": told})
    assert unproven(seen) == []
