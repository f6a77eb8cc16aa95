"""Clocks that jump and clocks that stand still, over a whole release on a real store."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controller.record.budget import Budget
from controller.record.errors import StoreUnusable
from controller.record.leases import Lease
from controller.record.loading import Loaded
from controller.record.store import Committed
from controller.workspace.errors import Unreachable
from policies.fuse import FRESH
from states.machine import State
from states.plan import Call, Plan
from states.release import Order
from states.world import Endpoint
from tests.controller.house import NAME, House, opened
from tests.states.story import QUICK, START

HOUR = timedelta(hours=1)
JUMPS = [-24 * HOUR, -HOUR, HOUR, 24 * HOUR]
PACE = 30.0
Asked = tuple[Loaded, Plan, Sequence[Call]]
Log = list[tuple[str, int, float]]
"""State, step, and how many true seconds it lasted."""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path) as house:
        begin(house)
        yield house


def begin(house: House) -> None:
    """Version 2 appears on an endpoint whose metrics tell of a calm hour."""
    house.outside.requests, house.outside.errors = 6000, 30
    house.passes()
    house.outside.story.register(2)


def told(house: House, *events: str) -> list[str]:
    return [str(line["event"]) for line in house.store.journal() if line["event"] in events]


def released(house: House, happens: Callable[[int], None], limit: int = 400) -> Log:
    """Release version 2 to its end; what happens before each pass is the test's."""
    log: Log = []
    for number in range(limit):
        happens(number)
        house.passes(after=PACE)
        one = house.application().newest("2")
        assert one is not None
        if not log or log[-1][:2] != (one.state.value, one.step):
            log.append((one.state.value, one.step, 0.0))
        log[-1] = (*log[-1][:2], log[-1][2] + PACE)
        if one.confirmed:
            return log
    raise AssertionError(f"never confirmed: {log}")


def assert_nothing_was_shortened(house: House, log: Log) -> None:
    assert [one[:2] for one in log] == [
        ("Provisioning", 0),
        ("Testing", 0),
        *(("Canary", step) for step in (1, 2, 3, 4)),
        ("Production", 4),
    ]
    for state, step, seconds in log:
        if state == "Canary" and step < 4:
            assert seconds >= QUICK.min_step.total_seconds()
        elif state == "Canary":
            assert seconds >= QUICK.bake.total_seconds()
        elif state == "Production":
            assert seconds >= QUICK.watch.total_seconds()
    assert told(house, "evidence.blind", "fuse.blown", "endpoint.foreign_change") == []


@pytest.mark.parametrize("jump", JUMPS, ids=str)
@pytest.mark.parametrize("every", [1, 5])
def test_a_release_takes_as_long_as_it_should_whatever_the_clock_is_set_to(
    house: House, jump: timedelta, every: int
) -> None:
    def happens(number: int) -> None:
        if number % every == every - 1:
            house.clock[0] += jump if number % (2 * every) < every else -jump

    log = released(house, happens)
    assert_nothing_was_shortened(house, log)


def test_a_frozen_clock_shortens_nothing_and_rolls_nothing_back(house: House) -> None:
    def happens(number: int) -> None:
        house.frozen = 6 <= number < 20

    log = released(house, happens)
    assert_nothing_was_shortened(house, log)


def test_a_look_that_takes_long_is_no_leap_of_the_clock(house: House) -> None:
    def slow() -> None:
        house.ticks[0] += 90
        house.clock[0] += timedelta(seconds=90)

    house.outside.meanwhile = slow
    with capture_logs() as logs:
        released(house, lambda _: None)
    assert "clock.leapt" not in {line["event"] for line in logs}


def test_a_stay_begins_when_a_slow_look_that_settled_the_step_was_over(house: House) -> None:
    def slow() -> None:
        live = house.application().live
        if live is not None and not live.settled:
            house.ticks[0] += 55
            house.clock[0] += timedelta(seconds=55)

    house.outside.meanwhile = slow
    begun: dict[tuple[str, int], float] = {}
    for _ in range(400):
        house.passes(after=PACE)
        live = house.application().live
        if live is None:
            break
        if live.state is State.CANARY and live.settled:
            begun.setdefault((live.state.value, live.step), house.ticks[0])
        for step in range(1, live.step):
            # The look that ended the stay is over too, and it was a quick one.
            stayed = house.ticks[0] - begun.pop(("Canary", step), -1000)
            assert stayed >= QUICK.min_step.total_seconds(), f"step {step} lasted {stayed:g} s"
    assert live is None
    assert list(begun) == [("Canary", len(QUICK.steps))]


@pytest.mark.parametrize("jump", [*JUMPS, timedelta(seconds=-PACE)], ids=str)
@pytest.mark.parametrize("happens", [{"written"}, set(), {"written", "ordered"}, {"ordered"}])
def test_a_leap_is_made_good_once_although_nobody_told_whether_it_was_written_down(
    house: House, monkeypatch: pytest.MonkeyPatch, jump: timedelta, happens: set[str]
) -> None:
    """The store fails while it is set, or stands still; an operator may have written as well."""
    house.until("Canary")
    house.passes()
    before, began = house.application().live, house.clock[0]
    assert before is not None
    assert before.settled
    commit = house.store.commit

    def unheard(*args: *Asked, lease: Lease | None, budget: Budget | None) -> Committed:
        if "written" in happens:
            commit(*args, lease=lease, budget=budget)
        raise StoreUnusable("the disk fails")

    house.clock[0] += jump
    with monkeypatch.context() as patch:
        patch.setattr(house.store, "commit", unheard)
        with pytest.raises(StoreUnusable):
            house.passes()
    if "ordered" in happens:
        house.store.give_order(NAME, "2", Order.PAUSE, "anna", "")
    house.passes()
    after = house.application().live
    assert after is not None
    passed = timedelta(seconds=2 * PACE)
    assert house.clock[0] - began == passed + jump
    told = after.spans[len(before.spans) - 1]
    assert told.starts_at - before.spans[-1].starts_at == jump
    if "ordered" not in happens:
        assert after.in_state - before.in_state == passed


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_no_jump_makes_a_deadline_pass(house: House, jump: timedelta) -> None:
    house.outside.story.golden_fails = frozenset({"1", "2"})
    house.until("Testing")
    for _ in range(20):
        house.clock[0] += jump
        house.passes()
    live = house.application().live
    assert live is not None
    assert live.state is State.TESTING


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_a_rollback_whose_call_failed_is_sent_again_in_time_although_the_clock_was_set(
    house: House, jump: timedelta
) -> None:
    house.until("Canary")
    house.passes(2)
    house.outside.failing = Unreachable("503")
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "")
    house.passes()
    assert house.outside.story.weight(2) > 0
    house.outside.failing = None
    house.clock[0] += jump
    house.passes(5)
    assert house.outside.story.weight(2) == 0


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_what_is_retained_stays_for_as_long_as_it_should(house: House, jump: timedelta) -> None:
    house.until("Canary")
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "")
    house.passes(4)
    assert house.application().live is None
    kept = QUICK.retain.total_seconds()
    began = house.ticks[0]
    for number in range(int(kept / 600) + 20):
        house.clock[0] += jump if number == 1 else timedelta()
        house.passes(after=600)
        if "rag_chatbot-v2" not in _serving(house):
            break
    assert house.ticks[0] - began >= kept - 4 * PACE
    assert "rag_chatbot-v2" not in _serving(house)


@pytest.mark.parametrize("back", [timedelta(hours=-1), timedelta(days=-1)], ids=str)
def test_a_clock_set_back_while_nobody_looked_keeps_nothing_longer(
    house: House, back: timedelta
) -> None:
    house.until("Canary")
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "")
    house.passes(4)
    house.clock[0] += back
    house.one.leaps.forget()  # A daemon that starts has no reading from before.
    kept = QUICK.retain.total_seconds()
    house.passes(int(kept / 600) + 2, after=600)
    assert "rag_chatbot-v2" not in _serving(house)


def taken_over(house: House, jump: timedelta) -> None:
    """The clock is set, and another replica goes on, which has no reading from before."""
    house.clock[0] += jump
    house.one.leaps.forget()
    house.outside.forget()


@pytest.mark.parametrize("jump", JUMPS, ids=str)
@pytest.mark.parametrize("asleep", [False, True])
def test_who_takes_over_on_a_clock_that_was_set_takes_nothing_for_what_was_counted_of_another_stay(
    house: House, jump: timedelta, *, asleep: bool
) -> None:
    """At its first look all of the record is from before, and moves along.

    If the warehouse is asleep then, what is told later is of no stay.
    """
    house.until("Canary")
    while not (live := house.application().live) or not live.blocks or not live.settled:
        house.passes()
    told_until = live.blocks[-1].closed_at
    house.outside.story.table_speaks = False
    house.passes(6)
    taken_over(house, jump)
    house.outside.warehouse = not asleep
    house.passes()
    house.outside.warehouse = house.outside.story.table_speaks = True
    begun = START + timedelta(seconds=house.ticks[0])
    with capture_logs() as logs:
        log = released(house, lambda _: None)
    forwards = jump > timedelta()  # a record that is ahead of its clock tells by itself
    cut = asleep and forwards
    assert [line["event"] for line in logs].count("clock.leapt") == cut
    one = house.application().newest("2")
    assert one is not None
    after = [block for block in one.blocks if block.opened_at >= told_until]
    assert (after[0].opened_at, after[0].mixed) == (told_until, cut)
    own = next(block for block in after if block.span != live.spans[0].number)
    if cut:
        assert after[0].closed_at >= begun, "nobody can place what was counted meanwhile"
    else:
        assert own.span == live.spans[-1].number
        late = own.opened_at - live.spans[-1].starts_at
        assert timedelta() <= late <= timedelta(seconds=PACE), "moved back by all but a look"
    mixed = [block.mixed for block in after]
    assert mixed == sorted(mixed, reverse=True), "and then the stays are known again"
    assert not mixed[len(mixed) // 2]
    stays = {state: seconds for state, step, seconds in log if step == len(QUICK.steps)}
    assert stays["Canary"] >= QUICK.bake.total_seconds()
    assert stays["Production"] >= QUICK.watch.total_seconds()


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_a_second_takeover_moves_no_record_that_the_first_one_has_written_on(
    house: House, jump: timedelta
) -> None:
    """The first one's looks were on the clock as it was set; the warehouse was asleep for them."""
    house.until("Canary")
    house.passes(3)
    taken_over(house, jump)
    house.outside.warehouse = house.outside.story.table_speaks = False
    house.passes(2)
    taken_over(house, timedelta())
    house.outside.warehouse = house.outside.story.table_speaks = True
    house.outside.story.error_rates["2"] = 0.3
    began = house.ticks[0]
    with capture_logs() as logs:
        while (live := house.application().live) and live.state is not State.ROLLED_BACK:
            house.passes(after=PACE)
            assert house.ticks[0] - began <= 300, "judging goes on"
    assert [line["event"] for line in logs].count("clock.leapt") == (jump > timedelta())


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_who_takes_over_before_the_table_has_told_anything_learns_of_a_set_clock_all_the_same(
    house: House, jump: timedelta
) -> None:
    """A table may be an hour late; the warehouse has answered."""
    house.outside.story.table_speaks = False
    house.until("Canary")
    opened_at = START + timedelta(seconds=house.ticks[0])
    house.passes(3)
    taken_over(house, jump)
    with capture_logs() as logs:
        house.passes(2)
    forwards = jump > timedelta()
    assert [line["event"] for line in logs].count("clock.leapt") == forwards
    house.outside.story.table_speaks = True
    released(house, lambda _: None)
    one = house.application().newest("2")
    assert one is not None
    assert told(house, "evidence.blind") == [], "nothing was silent for a day"
    late = one.blocks[0].opened_at - opened_at
    assert timedelta() <= late <= timedelta(seconds=PACE), "stable's day before is not compared"
    assert not any(block.mixed for block in one.blocks)


def _serving(house: House) -> set[str]:
    endpoint = house.outside.story.endpoint
    assert isinstance(endpoint, Endpoint)
    return set(endpoint.serving.shares)


@pytest.mark.parametrize("skew", [timedelta(), *JUMPS], ids=str)
@pytest.mark.parametrize("jump", [timedelta(), *JUMPS], ids=str)
def test_the_fuse_sees_a_bad_step_in_time_whatever_the_clock_is_set_to(
    tmp_path: Path, skew: timedelta, jump: timedelta
) -> None:
    """Off from the beginning, and set once more when the users are there."""
    with opened(tmp_path) as house:
        house.clock[0] += skew
        begin(house)
        house.outside.story.table_speaks = False
        house.until("Canary")
        house.clock[0] += jump
        house.outside.errors = 2000
        began = house.ticks[0]
        while not told(house, "fuse.blown"):
            house.passes()
            assert house.ticks[0] - began <= 120 + FRESH.total_seconds()
        house.passes()
        assert house.outside.story.weight(2) == 0


@pytest.mark.parametrize("jump", [timedelta(), *JUMPS], ids=str)
def test_errors_from_before_a_step_shut_no_step_whatever_the_clock_was_set_to(
    house: House, jump: timedelta
) -> None:
    house.clock[0] += jump
    house.passes(4)
    house.outside.errors = 2000
    house.until("Canary")
    house.outside.errors = 30
    log = released(house, lambda _: None)
    assert log[-1][0] == "Production"
    assert told(house, "fuse.blown") == []
