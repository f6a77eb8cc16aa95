"""Users on their way home where calls fail: nobody is told to be home before that is so."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controller.daemon.quarantine import PERMITTED
from controller.record.budget import BUDGET
from controller.workspace.errors import Refused, Unreachable, WorkspaceError
from states.attempt import MEMORY
from states.desired import desired
from states.plan import Serve
from states.release import Order, Release
from states.world import Endpoint
from tests.controller.daemon.test_passes import beat, broken, lanes, spend, written
from tests.controller.house import NAME, House, opened

LOST = "serving endpoint: no answer in time"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path) as house:
        house.passes()
        yield house


def second(house: House) -> Release:
    newest = house.application().newest("2")
    assert newest is not None
    return newest


def asked_for(house: House) -> Serve:
    wanted = desired(house.application())
    assert wanted is not None
    return Serve(wanted)


def unread() -> WorkspaceError:
    """What is served could not be read before it was to be changed."""
    error = Unreachable("serving endpoint: 503")
    error.outcome = "unsent"
    return error


@pytest.mark.parametrize("why", ["the endpoint asked for rest", "unread", "refused", "no writes"])
def test_nobody_is_home_while_a_raise_may_come_that_home_was_not_sent_after(
    house: House, why: str
) -> None:
    story, failing = house.outside.story, house.outside.failing_at
    story.register(2)
    house.until("Testing")
    rest = 20 if why == "the endpoint asked for rest" else None
    failing["serve"] = Unreachable(LOST, retry_after_s=rest)
    house.until("Canary")
    raised = asked_for(house)
    assert (house.application().attempts[-1].outcome, story.weight(2)) == ("open", 0)
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "")
    ways = {"unread": unread(), "refused": Refused("serving endpoint: busy")}
    failing["serve"] = ways.get(why, Unreachable(LOST))
    if why == "no writes":
        spend(house, BUDGET - written(house))
    sent = house.outside.sent.count(f"serve {raised.target}")
    house.passes(2, after=5)
    assert (second(house).state, story.weight(2)) == ("RolledBack", 0)
    assert not second(house).settled, "the raise may still come"
    story.obey(raised)
    failing.clear()
    house.passes(8, after=60)
    assert (second(house).settled, story.weight(2)) == (True, 0)
    assert house.outside.sent.count(f"serve {raised.target}") == sent
    told = [one["event"] for one in house.store.journal() if one.get("release") == f"{NAME}/2"]
    assert "endpoint.update" not in told[told.index("release.post_mortem") :]


def test_an_update_that_began_before_a_long_silence_is_nobody_elses(house: House) -> None:
    story, failing = house.outside.story, house.outside.failing_at
    story.register(2)
    failing["serve"] = Unreachable(LOST)
    house.passes()
    made = asked_for(house)
    assert [one.outcome for one in house.application().attempts] == ["open"]
    failing.clear()
    assert isinstance(story.endpoint, Endpoint)
    story.endpoint = replace(story.endpoint, updating=True, pending=made.serving)
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "")
    house.passes(after=(MEMORY + timedelta(minutes=5)).total_seconds())
    story.obey(made)
    house.passes()
    assert house.application().change is None
    house.passes(4)
    assert second(house).settled
    assert list(story.endpoint.serving.shares) == ["rag_chatbot-v1"]


def test_a_gate_that_was_shut_is_closed_to_users_in_quarantine_without_delay(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    story, failing = house.outside.story, house.outside.failing_at
    story.register(2)
    house.until("Canary")
    house.passes(2)
    assert story.weight(2) == 5
    failing["serve"] = Refused("serving endpoint: busy")
    story.table_speaks = False
    for _ in range(500):
        house.passes()
        if second(house).shut:
            break
    assert (second(house).shut, story.weight(2)) == (True, 5)
    failing.clear()
    passes = lanes(house, [0.0])
    with monkeypatch.context() as patch, capture_logs():
        broken(house, patch)
        beat(passes, house, PERMITTED + 2)
    assert "quarantined" in (second(house).hold or "")
    beat(passes, house)
    assert story.weight(2) == 0, "the pace of quarantine is not waited for"
    assert second(house).state == "Canary"
    assert passes.end(10) == 0


def test_what_is_shut_and_seen_so_is_not_urgent_any_more(house: House) -> None:
    story = house.outside.story
    story.register(2)
    house.until("Canary")
    house.passes(2)
    assert house.store.urgent() == ()
    story.table_speaks = False
    seen = set[tuple[bool, bool]]()
    for _ in range(300):
        house.passes()
        one = second(house)
        urgent = house.store.urgent() == (NAME,)
        seen.add((one.shut, urgent))
        assert urgent is (one.shut and not one.settled)
        assert house.store.homeward() == ()
    assert seen == {(False, False), (True, True), (True, False)}
