"""Stories of an endpoint that keeps a release from going on: it is told, and nobody is blamed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from states.difference import Change
from states.machine import State
from states.release import Release
from states.stuck import MEND_IT, heed_stuck
from states.verbs import promote_refusal
from states.world import Absent, Endpoint
from tests.states.byhand import NOW, candidate, event, record, shown, turn
from tests.states.story import QUICK, SPEC, Story, serving
from tests.states.strangers import EDITS, at
from tests.states.test_strangers import say


def begun(state: str) -> Story:
    one = Story()
    one.look()
    one.register(2)
    one.until(state)
    return one


def down(one: Story, number: int) -> None:
    """A version is not ready any more."""
    assert isinstance(one.endpoint, Endpoint)
    ready = one.endpoint.ready - {f"rag_chatbot-v{number}"}
    one.endpoint = replace(one.endpoint, ready=ready)


def up(one: Story) -> None:
    """All is ready again."""
    assert isinstance(one.endpoint, Endpoint)
    one.endpoint = replace(one.endpoint, ready=frozenset(one.endpoint.serving.shares))


@pytest.mark.parametrize("state", ["Provisioning", "Testing"])
def test_a_version_is_not_blamed_while_only_stable_is_not_ready(state: str) -> None:
    one = begun("Provisioning")
    if state == "Testing":
        one.golden_fails = frozenset({"1", "2"})  # an environment that keeps it there
        one.until("Testing")
        one.golden_fails = frozenset()
    for _ in range(300):
        down(one, 1)
        one.look()
    assert one.live.state == state
    held = one.live.hold or ""
    assert held.startswith("version 1 has 100 % of users, and is not ready on rag-chatbot-endpoint")
    assert one.live.needs_person
    assert promote_refusal(one.application, one.live, override=True) is not None
    up(one)
    one.until("Canary")


def test_what_is_put_back_after_days_has_its_time_to_come() -> None:
    story = at("third step")
    limit = int(SPEC.provisioning_deadline.total_seconds() / 30)
    EDITS["another version with users"](story)
    story.look(times=2 * limit)
    say(story, "revert")
    story.obeys = False
    for _ in range(limit - 5):
        story.look()
        assert MEND_IT not in (story.live.hold or "")
    # That its calls had no effect is told of the endpoint.
    assert "it is asked for again, more slowly" in (story.application.hold or "")


def test_home_with_a_stable_that_is_not_ready_does_not_ask_for_what_is_so_already() -> None:
    one = begun("Canary")
    one.error_rates = {"2": 0.5}
    one.until("RolledBack")
    for _ in range(30):
        down(one, 1)
        one.look()
    assert "version 1 has 100 % of users, and is not ready" in (one.live.hold or "")
    assert "put stable to 100 %" not in (one.live.hold or "")


def test_home_with_an_alias_that_does_not_follow_names_the_alias() -> None:
    one = begun("Production")
    one.look()
    assert one.alias == "2"
    one.error_rates = {"2": 0.5}
    one.until("RolledBack")
    for _ in range(30):
        one.alias = "2"
        one.look()
    assert "alias production was not seen at version 1" in (one.live.hold or "")


@pytest.mark.parametrize("settled", [False, True])
def test_a_version_on_trial_that_is_not_ready_asks_a_person_instead_of_waiting_for_ever(
    settled: bool,  # noqa: FBT001 - a case
) -> None:
    one = begun("Canary")
    one.table_speaks = False  # nothing is counted, so that no guard tells of it
    if settled:
        one.look(times=2)
        assert one.live.settled
    for _ in range(5):
        one.look()
        down(one, 2)
    held = one.live.hold or ""
    assert held == (
        f"version 2 has 5 % of users, and is not ready on rag-chatbot-endpoint{MEND_IT}"
    )
    assert one.live.needs_person
    assert one.names().count("release.held") == 1, "said once"
    one.table_speaks = True
    up(one)
    one.until("Production")


@pytest.mark.parametrize("state", ["Canary", "Production"])
def test_an_update_that_never_ends_asks_a_person(state: str) -> None:
    one = Story()
    held_back = replace(SPEC, rollout=replace(QUICK, hold_back=10))
    one.application = replace(one.application, spec=held_back)
    one.look()
    one.register(2)
    one.until("Testing")
    before = one.endpoint
    while one.live.state != state:
        before = one.endpoint
        one.look()
    assert isinstance(before, Endpoint)
    for _ in range(150):
        one.endpoint = replace(before, updating=True)
        one.look()
    assert (one.live.hold or "").startswith("endpoint rag-chatbot-endpoint is still being updated")
    assert one.live.needs_person


def test_a_gate_that_was_shut_for_the_second_time_stays_a_persons_to_open() -> None:
    one = begun("Canary")
    one.look(times=2)
    asked = "the gate was shut for the second time: it was"
    shut = replace(one.live, shut=True, retreats=2, hold=asked, needs_person=True)
    one.application = one.application.with_release(shut)
    for _ in range(5):
        one.look()
        down(one, 1)
    up(one)
    one.look(times=20)
    assert one.live.hold == asked
    assert one.live.shut


@pytest.mark.parametrize("what", ["history", "environment", "table", "staging"])
def test_what_may_pass_by_itself_asks_a_person_once_it_has_lasted_too_long(what: str) -> None:
    one = Story()
    table, staging = "main.ml_models.golden", "rag-chatbot-staging"
    stated = {"table": {"tests_table": table}, "staging": {"staging": staging}}.get(what, {})
    one.application = replace(one.application, spec=replace(SPEC, **stated))  # type: ignore[arg-type]
    if what == "history":
        one.history = None
    if what in ("environment", "staging"):
        one.golden_fails = frozenset({"1", "2"})
    one.look()
    one.register(2)
    while one.application.live is None or one.live.hold is None:
        one.look()
    first = one.live
    one.look(times=130)
    assert (first.needs_person, one.live.needs_person) == (False, True)
    assert one.names().count("release.held") == 2, "once, and once more as a person is asked"


def test_a_failure_of_an_earlier_attempt_is_no_failure_of_this_one() -> None:
    one = Story()
    one.look()
    one.register(2)
    one.undeployable = frozenset({"2"})
    one.until("RolledBack")
    one.look(times=3)
    failed = frozenset({"rag_chatbot-v2"})
    assert isinstance(one.endpoint, Endpoint)
    one.endpoint = replace(one.endpoint, update_failed=True, failed=failed)
    again = Release(
        application="rag-chatbot", version="2", attempt=2, since=one.now, ordered="retry"
    )
    one.application = one.application.with_release(again)
    one.obeys = False
    one.look()
    refused = [replace(each, outcome="refused") for each in one.application.attempts]
    one.application = replace(one.application, attempts=tuple(refused))
    one.look()
    states = [one.live.state]
    one.look(times=3)
    assert one.release is not None
    states.append(one.release.state)
    assert states == ["Provisioning", "RolledBack"], "it fails once it was asked for again"


def test_an_alias_that_nobody_can_read_asks_a_person() -> None:
    one = begun("Production")
    one.alias = None
    one.look(times=130)
    assert "alias production cannot be read" in (one.live.hold or "")
    assert one.live.needs_person
    one.alias = "1"
    one.obeys = False
    one.look()
    assert one.live.hold is None, "it can be read, though it does not follow"
    one.obeys = True
    one.look(times=3)
    assert one.live.settled
    assert one.live.hold is None
    assert one.alias == "2"


def test_an_alias_that_is_left_at_a_version_without_users_is_told() -> None:
    one = Story(endpoint=Absent(), alias=Absent(), golden_fails=frozenset({"1"}))
    one.until("RolledBack")
    one.look(times=3)
    one.register(2)
    one.until("Production")
    one.look(times=2)
    assert one.alias == "2"
    one.error_rates = {"2": 0.6}
    one.until("RolledBack")
    one.look(times=3)
    assert (one.weight(1), one.weight(2)) == (100, 0)
    assert one.release is not None
    assert "alias production still names version 2" in (one.release.hold or "")


# One look, whole.

TRIED = candidate(state=State.CANARY, step=1)
ELSEWHERE = serving(v1=100, v2=0)
HOUR = timedelta(hours=1)
IDLE = (
    "endpoint rag-chatbot-endpoint does not serve what was asked for after 1 h: mend it, and the "
    "release goes on"
)
BUSY = (
    "endpoint rag-chatbot-endpoint is still being updated after 1 h: mend it, and the release goes "
    "on"
)
DOWN = (
    "version 1 has 95 % of users, and is not ready on rag-chatbot-endpoint: mend it, and the "
    "release goes on"
)
SINCE: dict[str, Any] = {"followed": {"serve": NOW - HOUR}}
UNREST: dict[str, Any] = {"followed": {"rest": NOW - HOUR}}


@pytest.mark.parametrize(
    ("facts", "seen", "why"),
    [
        (SINCE, shown(ELSEWHERE), IDLE),
        (SINCE, shown(ELSEWHERE, updating=True), BUSY),
        ({"followed": {"serve": NOW - HOUR + timedelta(seconds=1)}}, shown(ELSEWHERE), None),
        ({}, shown(ELSEWHERE), None),
        (SINCE, shown(serving(v1=95, v2=5)), None),
        (UNREST, shown(serving(v1=95, v2=5), updating=True), BUSY),
        (UNREST, shown(serving(v1=95, v2=5)), None),
        (SINCE, shown(serving(v1=95, v2=5), updating=True), None),
        (UNREST, shown(ELSEWHERE, updating=True), None),
        (SINCE, None, None),
        (SINCE | {"change": Change(number=1)}, shown(ELSEWHERE), None),
        (SINCE | {"hold": "asked"}, shown(ELSEWHERE), None),
        ({}, shown(serving(v1=95, v2=5), ready=frozenset({"rag_chatbot-v2"})), DOWN),
    ],
)
def test_what_only_the_endpoint_keeps_from_going_on_is_told_whole(
    facts: dict[str, Any], seen: Endpoint | None, why: str | None
) -> None:
    made = turn(record(TRIED, **facts), seen)
    after = heed_stuck(made, TRIED)
    if why is None:
        assert (after, made.events) == ((TRIED, False), [])
        return
    held = replace(TRIED, hold=why, needs_person=True)
    assert after == (held, True)
    assert made.application == record(held, **facts)
    assert made.events == [event("release.held", TRIED, why, "warning")]


def test_a_hold_of_another_kind_stays_and_its_own_goes_with_its_cause() -> None:
    asked = replace(TRIED, hold="asked")
    made = turn(record(asked, **SINCE), shown(ELSEWHERE))
    assert heed_stuck(made, asked) == (asked, True)
    well = turn(record(asked), shown(serving(v1=95, v2=5)))
    assert heed_stuck(well, asked) == (asked, False)
    assert (made.events, well.events) == ([], [])
    stuck = replace(TRIED, hold=IDLE, needs_person=True)
    still = turn(record(stuck, hold=IDLE, **SINCE), shown(ELSEWHERE, updating=True))
    assert heed_stuck(still, stuck) == (replace(stuck, hold=BUSY), True)
    mended = turn(record(stuck), shown(serving(v1=95, v2=5)))
    assert heed_stuck(mended, stuck) == (TRIED, False)
    assert mended.events == [event("release.freed", TRIED, f"no longer: {IDLE}")]


def test_an_update_that_never_ends_is_told_and_takes_none_of_the_versions_time() -> None:
    """Somebody's update hangs, although the endpoint goes on serving what is wanted."""
    one = begun("Provisioning")
    one.golden_fails = frozenset({"1", "2"})  # an environment that keeps it there
    one.until("Testing")
    one.golden_fails = frozenset()
    before = one.live.in_state
    assert isinstance(one.endpoint, Endpoint)
    one.endpoint = replace(one.endpoint, updating=True)
    while one.live.hold is None or not one.live.hold.endswith(MEND_IT):
        one.look()
        assert one.live.in_state <= before + timedelta(minutes=1)
    assert "is still being updated after" in one.live.hold
    assert one.live.needs_person
    one.endpoint = replace(one.endpoint, updating=False)
    one.until("Canary")
