"""The workspace's 50 writes in five minutes, with many applications that ask at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from controller.daemon.act import BUDGET, RESERVE, WINDOW, Budget
from controller.record.store import Store
from states.plan import MoveAlias, Plan
from tests.controller.house import House, opened

CALL = (MoveAlias("2"),)
AN_HOUR = timedelta(hours=1)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path) as house:
        house.passes()
        yield house


def send(budget: Budget, store: Store, *, back: bool = False) -> int:
    """Commit the calls that are granted, as a pass does; how many were."""
    with budget.granted(CALL, back=back) as granted:
        if granted:
            loaded = store.load("rag-chatbot")
            store.commit(loaded, Plan(application=loaded.application), granted)
    return len(granted)


def test_many_that_ask_at_once_get_no_more_than_there_is(house: House) -> None:
    budget = Budget(house.store)
    with ThreadPoolExecutor(12) as pool:
        forward = sum(pool.map(lambda _: send(budget, house.store), range(60)))
        assert forward == BUDGET - RESERVE
        back = sum(pool.map(lambda _: send(budget, house.store, back=True), range(30)))
    assert back == RESERVE
    assert house.store.writes_since(house.clock[0] - WINDOW) == BUDGET


def test_what_was_sent_before_a_restart_counts(house: House) -> None:
    assert send(Budget(house.store), house.store) == 1
    spent = sum(send(Budget(house.store), house.store) for _ in range(BUDGET))
    assert spent == BUDGET - RESERVE - 1


@pytest.mark.parametrize("jump", [-24 * AN_HOUR, -AN_HOUR, AN_HOUR, 24 * AN_HOUR])
def test_a_clock_that_jumps_neither_blocks_writes_for_longer_nor_grants_more(
    house: House, jump: timedelta
) -> None:
    time = [0.0]
    budget = Budget(house.store, clock=lambda: time[0])
    assert sum(send(budget, house.store) for _ in range(BUDGET)) == BUDGET - RESERVE
    house.clock[0] += jump
    assert send(budget, house.store) == 0, "they were sent just now, whatever the clock says"
    assert sum(send(budget, house.store, back=True) for _ in range(BUDGET)) == RESERVE
    time[0] += WINDOW.total_seconds()
    house.clock[0] += WINDOW
    assert send(budget, house.store) == 1


def test_a_frozen_clock_does_not_block_writes_for_ever(house: House) -> None:
    time = [0.0]
    budget = Budget(house.store, clock=lambda: time[0])
    assert sum(send(budget, house.store) for _ in range(BUDGET)) == BUDGET - RESERVE
    time[0] += WINDOW.total_seconds()
    assert send(budget, house.store) == 1
