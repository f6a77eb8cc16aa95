"""Which passes run, and in what order, while others hang."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from controller.daemon.lanes import RESCUERS, WORKERS, Passes
from controller.record.store import Store
from states.release import Order
from states.spec import Spec
from tests.controller.house import NAME, House, opened


@dataclass
class Hanging:
    """A pass that hangs until it is let go."""

    let_go: threading.Event
    spec: Spec = field(default_factory=lambda: Spec(model="main.a.b", endpoint="e"))
    running: threading.Event = field(default_factory=threading.Event)
    runs: int = 0

    def run(self) -> bool:
        self.runs += 1
        self.running.set()
        assert self.let_go.wait(30)
        return True

    def quarantine(self, why: str) -> None:
        raise AssertionError(why)


@dataclass
class Counting(Hanging):
    """A pass that tells how many of its kind run at once."""

    order: list[str] = field(default_factory=list)
    name: str = ""

    def run(self) -> bool:
        self.order.append(self.name)
        return True


@dataclass
class Orders:
    """A store that knows of urgent applications only."""

    urgently: tuple[str, ...] = ()

    def urgent(self) -> tuple[str, ...]:
        return self.urgently


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path) as house:
        house.passes()
        house.outside.story.register(2)
        house.until("Canary")
        house.passes(2)
        yield house


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def store(orders: Orders) -> Store:
    return orders  # type: ignore[return-value]


def soon(what: str, true: object) -> None:
    assert callable(true)
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def test_eight_passes_that_hang_do_not_keep_a_rollback_waiting(
    house: House, let_go: threading.Event
) -> None:
    hanging = {f"hanging-{number}": Hanging(let_go) for number in range(WORKERS)}
    lanes = Passes({**hanging, NAME: house.one}, house.store)
    lanes._started[NAME] = 1e12
    lanes.start_due()
    for one in hanging.values():
        assert one.running.wait(10)
    assert house.outside.story.weight(2) > 0, "its ordinary pass waits for a slot"
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "users complain")
    lanes.start_due()
    soon("users are home", lambda: house.outside.story.weight(2) == 0)
    let_go.set()
    assert lanes.end(10) == 0


def test_an_application_has_one_pass_under_way_whatever_is_ordered(
    let_go: threading.Event,
) -> None:
    one, orders = Hanging(let_go), Orders()
    lanes = Passes({"one": one}, store(orders))
    lanes.start_due()
    assert one.running.wait(10)
    orders.urgently = ("one",)
    for _ in range(3):
        lanes.start_due()
    assert one.runs == 1
    let_go.set()
    soon("the first has ended", lambda: lanes.longest_s() == 0.0)
    lanes.start_due()
    soon("the next one runs", lambda: one.runs == 2)
    assert lanes.end(10) == 0


def test_those_that_waited_longest_come_first(let_go: threading.Event) -> None:
    order: list[str] = []
    blockers = {f"blocker-{number}": Hanging(let_go) for number in range(WORKERS)}
    last = {name: Counting(let_go, order=order, name=name) for name in "abc"}
    lanes = Passes({**last, **blockers}, store(Orders()))
    lanes._started |= {"a": 30.0, "b": 10.0, "c": 20.0}
    lanes.start_due()
    let_go.set()
    soon("all have run", lambda: len(order) == 3)
    assert order == ["b", "c", "a"]
    assert lanes.end(10) == 0


def test_rollbacks_that_hang_leave_the_ordinary_slots_alone(let_go: threading.Event) -> None:
    stuck = {f"stuck-{number}": Hanging(let_go) for number in range(RESCUERS + 2)}
    ordinary = Counting(let_go, name="ordinary")
    lanes = Passes({**stuck, "ordinary": ordinary}, store(Orders(tuple(stuck))))
    lanes.start_due()
    soon("the ordinary one has run", lambda: ordinary.order == ["ordinary"])
    assert sum(one.runs for one in stuck.values()) <= RESCUERS
    let_go.set()
    assert lanes.end(10) == 0


@dataclass
class Exiting(Hanging):
    """A pass that ends its thread, as no exception of the program's own does."""

    def run(self) -> bool:
        raise SystemExit


def test_a_slot_is_free_again_whatever_became_of_its_pass(let_go: threading.Event) -> None:
    exiting = {f"exiting-{number}": Exiting(let_go) for number in range(WORKERS)}
    one = Counting(let_go, name="one")
    lanes = Passes({**exiting, "one": one}, store(Orders()))
    lanes.start_due()
    soon("the one that waited for a slot runs", lambda: one.order == ["one"])
    assert lanes.end(10) == 0
    lanes.start_due()
    assert not lanes.busy(), "nothing begins after the end"


def test_where_a_slot_can_have_no_thread_nothing_begins(
    let_go: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, start = list[str](), threading.Thread.start

    def few(thread: threading.Thread) -> None:
        if len(started) == WORKERS - 1:
            raise RuntimeError("can't start new thread")
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", few)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        Passes({"one": Counting(let_go, name="one")}, store(Orders()))


def test_an_application_that_is_not_configured_any_more_is_left_alone(
    let_go: threading.Event,
) -> None:
    one = Counting(let_go, name="one")
    lanes = Passes({"one": one}, store(Orders(("gone",))))
    lanes.start_due()
    soon("the one that is there runs", lambda: one.order == ["one"])
    assert lanes.end(10) == 0


def test_the_watchdog_may_ask_while_thousands_of_passes_are_started() -> None:
    order: list[str] = []
    names = [f"app-{number}" for number in range(3000)]
    let_go = threading.Event()
    many = {name: Counting(let_go, order=order, name=name) for name in names}
    passes = Passes(many, Orders())  # type: ignore[arg-type]
    starting = threading.Thread(target=passes.start_due)
    starting.start()
    while starting.is_alive():
        assert passes.longest_s() < 60
    # What still waits for a slot would be called off.
    deadline = time.monotonic() + 60
    while len(order) < len(names):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert passes.end(60) == 0
    assert sorted(order) == sorted(names)


@dataclass
class Watched(Hanging):
    """A pass that tells how often it ran; it hangs only while it is told to."""

    hangs: bool = False

    def run(self) -> bool:
        self.runs += 1
        self.running.set()
        if self.hangs:
            assert self.let_go.wait(30)
        return True


RARELY_S = 1e9
"""Rollbacks are looked for by the beat alone."""


@dataclass
class Ringing:
    """Passes of two applications, on a clock that is set by hand."""

    let_go: threading.Event
    now: float = 0.0
    orders: Orders = field(default_factory=Orders)

    def __post_init__(self) -> None:
        self.one, self.other = Watched(self.let_go), Watched(self.let_go)
        both = {"one": self.one, "other": self.other}
        self.lanes = Passes(both, store(self.orders), clock=lambda: self.now)
        self.lanes.start_urgent()

    def between(self) -> float:
        """What the beat does between two beats; then nothing is under way that does not hang."""
        again_s = self.lanes.start_between(RARELY_S)
        soon("the passes end", lambda: not self.lanes.busy() or self.one.hangs)
        return again_s


@pytest.fixture
def ringing(let_go: threading.Event) -> Iterator[Ringing]:
    found = Ringing(let_go)
    yield found
    let_go.set()
    assert found.lanes.end(10) == 0


def test_whoever_rings_gets_a_pass_at_once_and_nobody_else_does(ringing: Ringing) -> None:
    assert ringing.lanes.ring({"one", "gone"}) == ["one"]
    ringing.between()
    ringing.between()
    assert (ringing.one.runs, ringing.other.runs) == (1, 0)


def test_a_flood_of_rings_is_one_pass_a_second_and_the_last_ring_is_not_lost(
    ringing: Ringing,
) -> None:
    for tick in range(95):
        ringing.now = tick * 0.099
        ringing.lanes.ring(["one"])
        again_s = ringing.between()
        assert ringing.one.runs <= 1 + ringing.now
    assert ringing.one.runs == 9
    assert 0 < again_s <= 1, "the beat comes back for the last of them"
    ringing.now += again_s
    ringing.between()
    assert ringing.one.runs == 10
    ringing.now += 60
    assert ringing.between() > 1, "then nobody waits any more"
    assert ringing.one.runs == 10


def test_a_ring_during_a_pass_is_followed_by_another_which_sees_what_it_was_about(
    ringing: Ringing,
) -> None:
    ringing.one.hangs = True
    ringing.lanes.ring(["one"])
    ringing.between()
    assert ringing.one.running.wait(10)
    ringing.lanes.ring(["one"])
    ringing.now = 5
    assert ringing.between() <= 0.1, "it is looked again whether the pass has ended"
    assert ringing.one.runs == 1
    ringing.one.hangs = False
    ringing.let_go.set()
    soon("the first has ended", lambda: not ringing.lanes.busy())
    ringing.between()
    assert ringing.one.runs == 2


def test_a_pass_that_the_beat_starts_sees_what_was_rung_for_before(ringing: Ringing) -> None:
    ringing.lanes.ring(["one"])
    ringing.lanes.start_due()
    soon("the passes end", lambda: not ringing.lanes.busy())
    ringing.between()
    assert (ringing.one.runs, ringing.other.runs) == (1, 1)


def test_an_abort_that_is_rung_for_goes_the_way_of_the_rollbacks(let_go: threading.Event) -> None:
    hanging = {f"hanging-{number}": Hanging(let_go) for number in range(WORKERS)}
    going, orders = Watched(let_go), Orders()
    lanes = Passes({**hanging, "going": going}, store(orders))
    lanes._started["going"] = 1e12
    lanes.start_due()
    for one in hanging.values():
        assert one.running.wait(10)
    assert going.runs == 0, "its ordinary pass waits for a slot"
    orders.urgently = ("going",)
    lanes.ring(["going"])
    lanes.start_between(RARELY_S)
    soon("it is looked at", lambda: going.runs == 1)
    let_go.set()
    assert lanes.end(10) == 0


def test_what_another_replica_looks_after_is_not_started_by_a_ring(ringing: Ringing) -> None:
    ringing.lanes.tenure = Elsewhere()  # type: ignore[assignment]
    assert ringing.lanes.ring(["one", "other"]) == ["other"]
    ringing.between()
    assert (ringing.one.runs, ringing.other.runs) == (0, 1)


class Elsewhere:
    """One of the two is another's."""

    def __contains__(self, name: str) -> bool:
        return name == "other"
