"""One pass on a real store, with a small world outside; what crashes and operators do to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert

from controller.daemon.act import BUDGET, RESERVE, WINDOW
from controller.record.schema import CALLS
from controller.record.times import micros
from controller.workspace.errors import Refused, Unreachable
from states.desired import desired
from states.plan import Serve
from states.release import Order
from states.world import Absent
from tests.controller.house import NAME, House, opened


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path) as house:
        yield house


def test_an_abort_that_lands_in_the_middle_of_a_pass_wins(house: House) -> None:
    house.passes()
    house.outside.story.register(2)
    house.until("Canary")
    house.passes(2)
    before = house.outside.story.weight(2)

    def abort() -> None:
        house.outside.meanwhile = None
        house.store.give_order(NAME, "2", Order.ABORT, "anna", "users complain")

    house.outside.meanwhile = abort
    house.passes()
    assert house.outside.story.weight(2) == before, "the pass that was overtaken sent nothing"
    house.passes(2)
    assert house.outside.story.weight(2) == 0
    newest = house.application().newest("2")
    assert newest is not None
    assert newest.state == "RolledBack"


def test_a_crash_between_commit_and_call_costs_time_and_nothing_else(house: House) -> None:
    house.passes()
    house.outside.story.register(2)
    house.outside.dies = True
    with pytest.raises(KeyboardInterrupt):
        house.passes()
    attempts = house.application().attempts
    assert [attempt.outcome for attempt in attempts] == ["open"]
    assert house.outside.sent == []
    house.outside.dies = False
    house.passes()
    assert len(house.outside.sent) == 1
    house.until("Canary")


def test_a_call_whose_outcome_is_unknown_stays_open_and_is_settled_by_looking(
    house: House,
) -> None:
    house.passes()
    house.outside.story.register(2)
    house.outside.failing = Unreachable("serving endpoint: 503")
    house.passes()
    assert [attempt.outcome for attempt in house.application().attempts] == ["open"]
    house.outside.failing = None
    wanted = desired(house.application())
    assert wanted is not None
    house.outside.story.obey(Serve(wanted))
    house.passes()
    assert len(house.outside.sent) == 1, "it had taken effect: it is not sent again"


def test_a_refused_call_is_written_down_as_refused(house: House) -> None:
    house.passes()
    house.outside.story.register(2)
    house.outside.failing = Refused("serving endpoint: busy")
    house.passes()
    assert [attempt.outcome for attempt in house.application().attempts] == ["refused"]


def test_a_rollback_is_sent_while_the_way_forward_has_used_up_its_writes(house: House) -> None:
    house.passes()
    story = house.outside.story
    story.register(2)
    house.until("Canary")
    spend(house, BUDGET - RESERVE - written(house))
    sent = len(house.outside.sent)
    house.passes(3)
    assert len(house.outside.sent) == sent, "no step opens on the reserve"
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "")
    house.passes()
    assert story.weight(2) == 0, "the way back has its own share"
    assert BUDGET - RESERVE < written(house) <= BUDGET


def test_not_even_a_rollback_passes_what_the_workspace_takes(house: House) -> None:
    house.passes()
    story = house.outside.story
    story.register(2)
    house.until("Canary")
    spend(house, BUDGET - written(house))
    before = story.weight(2)
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "")
    house.passes()
    assert story.weight(2) == before
    house.passes(after=300)
    assert story.weight(2) == 0, "it is sent as soon as there is room"


def spend(house: House, writes: int) -> None:
    """Let other applications of the workspace have written so often just now."""
    at = micros(house.clock[0])
    own = {"application": NAME, "kind": "serve", "target": "theirs", "target_json": {}}
    rest = {"base_config_version": 1, "at": at, "outcome": "done", "because": ""}
    with house.store._write() as connection:
        connection.execute(insert(CALLS), [own | rest] * writes)


def written(house: House) -> int:
    return house.store.writes_since(house.clock[0] - WINDOW)


def test_the_journal_tells_every_change_once_and_without_gaps(house: House) -> None:
    house.passes()
    house.outside.story.register(2)
    house.outside.story.error_rates["2"] = 0.2
    for _ in range(40):
        house.passes()
    lines = list(house.store.journal())
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    moves = [line["to_state"] for line in lines if line["event"] == "release.transition"]
    assert moves == ["Provisioning", "Testing", "Canary", "RolledBack"]
    assert not isinstance(house.outside.story.alias, Absent)
    assert house.outside.story.alias == "1"
