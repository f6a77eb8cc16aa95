"""What an operator is offered to type: the verbs that make sense, by the status of a release."""

from typing import Any

import pytest

from states.machine import State
from states.options import of_application, options
from states.release import Order, Release
from states.status import status
from states.verbs import undo_refusal
from tests.states.records import application, release

RISING = (State.PROVISIONING, State.TESTING, State.CANARY, State.PRODUCTION)
STOPS = ["pause", "abort"]
OVERRIDE = "promote --override"
FROZEN = "frozen until 2026-11-30 08:00 Europe/Berlin"
MASKED = "AI Gateway's fallback hides a canary's errors: switch fallback_config off"
STUCK = "endpoint rag-chatbot-endpoint is still being updated after 1 h: mend it, and the release "
TAG = "held by the tag headgate.hold on its version: it goes on once the tag is taken off"
PASSING = {"guard": "errors", "verdict": "PASS", "observe": False}
WAITING = {"guard": "latency", "verdict": "WAIT", "observe": False}


def offered(
    one: Release, *looks: dict[str, Any], live: str | None = "2", **facts: object
) -> list[str]:
    """For version 2 beside stable version 1; what is live is said with the facts."""
    told = status(application(one), one)
    return options(told, {"live": live, "stable": "1", **facts}, looks)


@pytest.mark.parametrize("state", [State.PROVISIONING, State.TESTING, State.PRODUCTION])
def test_on_its_way_a_release_is_paused_or_aborted(state: State) -> None:
    assert offered(release(state), PASSING) == STOPS


@pytest.mark.parametrize("state", RISING)
def test_what_is_paused_is_resumed_whatever_it_waits_for(state: State) -> None:
    paused = release(state, order=Order.PAUSE, ask="the first users", hold="waits for approval")
    assert offered(paused) == ["resume", "abort"]


@pytest.mark.parametrize("state", [*RISING, State.ROLLED_BACK, State.REGISTERED])
def test_who_said_abort_has_said_it(state: State) -> None:
    aborted = release(state, order=Order.ABORT)
    assert offered(aborted) == []
    assert offered(aborted, former="0") == []


@pytest.mark.parametrize("state", RISING)
def test_what_asks_is_approved(state: State) -> None:
    asks = release(state, ask="the first users", hold="waits for approval of the first users")
    assert offered(asks) == ["approve", "pause", "abort"]


def test_no_word_goes_past_what_holds_the_whole_application() -> None:
    asks = release(State.CANARY, step=1, ask="the first users", hold="waits for approval")
    assert offered(asks, PASSING, application_hold="the endpoint was changed by hand") == STOPS
    shown = release(State.CANARY, step=1)
    assert offered(shown, PASSING, application_hold="the endpoint was changed by hand") == STOPS


@pytest.mark.parametrize(
    "hold",
    [
        MASKED,
        "quarantined: KeyError in states.canary",
        TAG,
        "endpoint x does not serve what was asked for after 1 h: mend it, and the release goes on",
    ],
)
@pytest.mark.parametrize("state", [State.TESTING, State.CANARY])
def test_what_only_the_world_can_mend_is_not_promoted_past(state: State, hold: str) -> None:
    assert offered(release(state, step=1, hold=hold), PASSING) == STOPS


@pytest.mark.parametrize("hold", ["query 1 fails on both versions", f"{STUCK}stays", f"not {TAG}"])
def test_any_other_hold_is_promoted_past_by_override(hold: str) -> None:
    for state in (State.TESTING, State.CANARY):
        assert offered(release(state, step=1, hold=hold), PASSING) == [OVERRIDE, *STOPS]
    for state in (State.PROVISIONING, State.PRODUCTION):
        assert offered(release(state, hold=hold), PASSING) == STOPS


@pytest.mark.parametrize(
    "looks",
    [
        [PASSING],
        [PASSING, {**PASSING, "guard": "latency"}],
        [PASSING, {"guard": "tokens", "verdict": "WAIT", "observe": True}],
        [PASSING, {"guard": "tokens", "verdict": None, "observe": False}],
        [{"guard": "errors", "verdict": "PASS"}],
    ],
)
def test_a_step_whose_deciding_guards_have_all_passed_is_promoted(
    looks: list[dict[str, Any]],
) -> None:
    assert offered(release(step=1), *looks) == ["promote", *STOPS]


@pytest.mark.parametrize(
    "looks",
    [
        [],
        [WAITING],
        [PASSING, WAITING],
        [PASSING, {"guard": "tokens", "verdict": "WAIT"}],
        [{**PASSING, "observe": True}],
        [{**PASSING, "verdict": None}],
    ],
)
def test_a_step_that_is_not_shown_is_promoted_by_override(looks: list[dict[str, Any]]) -> None:
    assert offered(release(step=1), *looks) == [OVERRIDE, *STOPS]


def test_a_bake_has_nothing_left_to_show() -> None:
    # Four steps by default.
    counted = {**WAITING, "verdict": None}
    assert offered(release(step=4)) == offered(release(step=4), counted) == ["promote", *STOPS]
    assert offered(release(step=4), WAITING) == [OVERRIDE, *STOPS], "above a hard limit"
    assert offered(release(step=3), WAITING) == [OVERRIDE, *STOPS]


def test_a_watch_that_cannot_be_decided_is_ended_by_override() -> None:
    watch = release(State.PRODUCTION, step=4)
    assert offered(watch) == STOPS
    asks, blind = "undecided after 1 d: errors: 9 %", "the table has told nothing for 2 h"
    assert offered(release(State.PRODUCTION, step=4, hold=asks)) == [OVERRIDE, *STOPS]
    assert offered(release(State.PRODUCTION, step=4, hold=blind)) == STOPS


def test_a_shut_gate_is_opened_by_override_whatever_was_shown() -> None:
    assert offered(release(step=1, shut=True), PASSING) == [OVERRIDE, *STOPS]
    assert offered(release(step=1, hold="a queue is full"), PASSING) == [OVERRIDE, *STOPS]


def test_what_waits_to_begin_is_aborted_or_let_past_what_it_waits_for() -> None:
    def waiting(**facts: object) -> list[str]:
        return offered(release(State.REGISTERED, **facts), live=None)

    assert waiting() == ["abort"]
    assert waiting(hold="its version is still PENDING_REGISTRATION") == ["abort"]
    assert waiting(hold=FROZEN) == [OVERRIDE, "abort"]
    assert waiting(hold="outside its release windows until Monday") == [OVERRIDE, "abort"]
    assert waiting(hold=FROZEN, ask="another input") == ["approve", "abort"]
    paused = {"order": Order.PAUSE, "hold": FROZEN, "ask": "another input"}
    assert waiting(**paused) == ["resume", "abort"]
    assert offered(release(State.REGISTERED), live="2") == ["abort"]
    assert offered(release(State.REGISTERED), live="3") == ["abort"]


def test_what_was_rolled_back_is_tried_again_once_it_is_home() -> None:
    back = release(State.ROLLED_BACK)
    assert offered(back, live=None) == ["retry"]
    assert offered(back, live="3") == ["retry"]
    assert offered(back, live="2") == []
    assert offered(back, live=None, unproven="2") == []
    assert offered(back, live=None, unproven="3") == ["retry"]


def test_the_foremost_release_is_undone_where_there_is_a_version_to_go_back_to() -> None:
    settled = release(State.PRODUCTION, version="1", confirmed=True)
    assert offered(settled, live=None, former="0") == ["undo"]
    assert offered(settled, live=None) == []
    assert offered(settled, live=None, former="0", application_hold="asked for elsewhere") == []
    assert offered(settled, live="2", former="0") == []
    replaced = release(State.RETIRED)
    assert offered(replaced, live=None, former="0") == []
    assert offered(replaced, live="2", former="0") == []


def test_nothing_is_undone_while_a_release_is_on_its_way_home() -> None:
    home = release(State.ROLLED_BACK, settled=False)
    assert offered(home, live="2", former="0") == []
    assert undo_refusal(application(home, former="0")) is not None


def test_a_change_by_others_is_answered_at_the_foremost_release_first_of_all() -> None:
    changed: dict[str, Any] = {
        "changed_by_others": True,
        "application_hold": "others changed the endpoint",
    }
    answers = ["adopt", "revert"]
    settled = release(State.PRODUCTION, version="1", confirmed=True)
    assert offered(settled, live=None, former="0", **changed) == answers
    assert offered(settled, live="2", **changed) == []
    assert offered(release(step=1), PASSING, **changed) == [*answers, *STOPS]
    assert offered(release(step=1, order=Order.ABORT), **changed) == answers
    assert offered(release(State.REGISTERED), live="2", **changed) == ["abort"]
    assert offered(release(State.REGISTERED), live=None, **changed) == ["abort"]
    new = release(State.REGISTERED, version="1")
    assert offered(new, live=None, **changed) == [*answers, "abort"]
    failed = release(State.ROLLED_BACK, version="1")
    assert offered(failed, live=None, **changed) == [*answers, "retry"]
    assert offered(settled, live=None, former="0", changed_by_others=True) == [*answers, "undo"]


@pytest.mark.parametrize("verb", ["adopt", "revert", "undo"])
def test_some_verbs_are_said_to_the_application(verb: str) -> None:
    assert of_application(verb) is True


@pytest.mark.parametrize("verb", ["approve", "pause", "abort", "retry", "promote", OVERRIDE, ""])
def test_the_others_are_said_to_a_release(verb: str) -> None:
    assert of_application(verb) is False
