"""The workspace's 50 writes in five minutes, with many applications that commit at once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest

from controller.record.budget import BUDGET, RESERVE, WINDOW, Budget
from controller.record.store import Store
from states.machine import State
from states.plan import Call, MoveAlias, Permit, Serve, SwitchFallbackOff, TagVersion
from states.spec import Spec
from states.world import Serving
from tests.controller.record.conftest import Home
from tests.controller.record.making import plan, release, send, store_in, written_since

AN_HOUR = timedelta(hours=1)
REPLICAS, THREADS = 3, 4


@pytest.fixture
def replicas(home: Home) -> list[tuple[Store, Budget]]:
    """Processes on one store, each with what it remembers of its own writes."""
    return [(home.store(), Budget(shared=True)) for _ in range(REPLICAS)]


def race(replicas: list[tuple[Store, Budget]], times: int, *, back: bool = False) -> int:
    """All threads of all replicas commit at once; how many calls were taken."""

    def one(number: int) -> int:
        store, budget = replicas[number % REPLICAS]
        name = f"{'back' if back else 'on'}-{number}"
        return sum(send(store, budget, name, back=back) for _ in range(times))

    with ThreadPoolExecutor(REPLICAS * THREADS) as pool:
        return sum(pool.map(one, range(REPLICAS * THREADS)))


def test_replicas_that_commit_at_the_same_instant_get_no_more_than_there_is(
    home: Home, replicas: list[tuple[Store, Budget]]
) -> None:
    assert race(replicas, 6) == BUDGET - RESERVE
    assert race(replicas, 2, back=True) == RESERVE
    store, _ = replicas[0]
    assert written_since(store, home.clock.now - WINDOW) == BUDGET
    home.clock.turn(seconds=WINDOW.total_seconds() + 1)
    later = [(one, Budget(shared=True)) for one, _ in replicas]
    assert race(later, 1) == REPLICAS * THREADS


class Preempted(Budget):
    """One that is left alone just before it counts, for as long as another thread needs to commit.

    Where that one has to wait for the counting, half a second is enough to see it.
    """

    meanwhile: Thread | None = None

    def sent(self, calls: Sequence[Call]) -> None:
        other, self.meanwhile = self.meanwhile, None
        if other is not None:
            other.start()
            other.join(0.5)
        super().sent(calls)


def test_threads_of_a_daemon_that_has_run_for_long_get_no_more_than_there_is(home: Home) -> None:
    """After five minutes, the only daemon of a file counts in memory alone."""
    time, store = [0.0], home.store()
    budget = Preempted(shared=home.shared, clock=lambda: time[0])
    time[0] += WINDOW.total_seconds()
    taken = [send(store, budget, back=True) for _ in range(BUDGET - 1)]
    other = Thread(target=lambda: taken.append(send(store, budget, "other", back=True)))
    budget.meanwhile = other
    taken.append(send(store, budget, back=True))
    other.join(30)
    assert sum(taken) == BUDGET
    assert len(taken) == BUDGET + 1
    assert written_since(store, home.clock.now - WINDOW) == BUDGET
    assert race([(store, budget)] * REPLICAS, 1, back=True) == 0


def test_what_does_not_fit_is_not_written_down_and_all_else_of_the_plan_is(home: Home) -> None:
    store, budget = home.store(), Budget(shared=True)
    assert sum(send(store, budget) for _ in range(BUDGET - RESERVE - 1)) == BUDGET - RESERVE - 1
    calls = (Serve(Serving()), SwitchFallbackOff())
    spec = Spec(model="main.ml.other", endpoint="other")
    loaded = store.load("other", spec)
    assert store.commit(loaded, plan(loaded.application), calls, budget=budget).calls == ()
    assert store.load("other", spec).row == 1
    assert store.load("other", spec).application.attempts == ()
    assert send(store, budget) == 1, "one call more would have fitted"


def test_of_a_way_back_the_first_calls_are_sent_as_far_as_there_is_room(home: Home) -> None:
    store, budget = home.store(), Budget(shared=True)
    assert sum(send(store, budget, back=True) for _ in range(BUDGET - 1)) == BUDGET - 1
    loaded = store.load("rag")
    calls = (Serve(Serving()), SwitchFallbackOff())
    assert len(store.commit(loaded, plan(loaded.application), calls, budget=budget).calls) == 1
    assert store.load("rag").application.attempts[-1].kind == "serve"


def test_what_the_registry_is_asked_for_has_no_part_in_it(home: Home) -> None:
    store, budget = home.store(), Budget(shared=True)
    assert sum(send(store, budget, back=True) for _ in range(BUDGET)) == BUDGET
    loaded = store.load("rag")
    calls = (MoveAlias("1"), TagVersion("2", "a", "b"), Permit(()))
    assert len(store.commit(loaded, plan(loaded.application), calls, budget=budget).calls) == 3


def test_what_was_sent_before_a_restart_counts(home: Home) -> None:
    store = home.store()
    assert send(store, Budget(shared=home.shared)) == 1
    spent = sum(send(store, Budget(shared=home.shared)) for _ in range(BUDGET))
    assert spent == BUDGET - RESERVE - 1


@pytest.mark.parametrize("jump", [-24 * AN_HOUR, -AN_HOUR, AN_HOUR, 24 * AN_HOUR])
def test_a_clock_that_jumps_neither_blocks_writes_for_longer_nor_grants_more(
    home: Home, jump: timedelta
) -> None:
    time, store = [0.0], home.store()
    budget = Budget(shared=home.shared, clock=lambda: time[0])
    assert sum(send(store, budget) for _ in range(BUDGET)) == BUDGET - RESERVE
    home.clock.now += jump
    assert send(store, budget) == 0, "they were sent just now, whatever the clock says"
    assert sum(send(store, budget, "back", back=True) for _ in range(BUDGET)) == RESERVE
    time[0] += WINDOW.total_seconds()
    home.clock.now += WINDOW + timedelta(seconds=1)
    assert send(store, budget) == 1


def test_a_frozen_clock_does_not_block_writes_for_ever(tmp_path: Path) -> None:
    time, store = [0.0], store_in(tmp_path)
    budget = Budget(clock=lambda: time[0])
    assert sum(send(store, budget) for _ in range(BUDGET)) == BUDGET - RESERVE
    time[0] += WINDOW.total_seconds()
    assert send(store, budget) == 1
    store.close()


def test_a_gate_that_is_shut_takes_users_back_with_what_is_kept_for_that(home: Home) -> None:
    store, budget = home.store(), Budget(shared=home.shared)
    assert sum(send(store, budget) for _ in range(BUDGET)) == BUDGET - RESERVE
    shut = release("2", State.CANARY, step=2, shut=True, settled=False)
    loaded = store.load("rag")
    made = plan(loaded.application, shut)
    assert len(store.commit(loaded, made, [Serve(Serving())], budget=budget).calls) == 1
