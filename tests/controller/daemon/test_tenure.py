"""Replicas in one store: who looks after what, and who may still send."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controller.daemon.lanes import Passes
from controller.daemon.quarantine import PERMITTED
from controller.daemon.tenure import Tenure
from controller.record.errors import LeaseLost
from controller.record.leases import Leases
from controller.record.store import Store
from controller.workspace.deadlines import at_most
from states.examples import Found, Wanted
from states.leap import leapt
from states.plan import Call, Plan
from states.release import Application
from tests.controller.daemon.test_examples import Requests, rolled_back
from tests.controller.daemon.test_lanes import soon
from tests.controller.house import NAME, House, opened
from tests.controller.record.making import Clock
from tests.states.story import SPEC

TTL = timedelta(seconds=30)
NAMES = [f"app-{number}" for number in range(4)]


@dataclass
class Replica:
    """One daemon's tenure, on a store of its own, with a stopwatch of its own."""

    name: str
    store: Store
    stopwatch: list[float] = field(default_factory=lambda: [0.0])
    tenure: Tenure = field(init=False)

    def __post_init__(self) -> None:
        leases = Leases(self.store, self.name, TTL, clock=lambda: self.stopwatch[0])
        self.tenure = Tenure(NAMES, leases, clock=lambda: self.stopwatch[0])

    @property
    def has(self) -> list[str]:
        return [name for name in NAMES if name in self.tenure]


@dataclass
class Two:
    """Two replicas, and the time of all."""

    clock: Clock
    one: Replica
    two: Replica

    def pass_seconds(self, seconds: float, *looking: Replica) -> None:
        """Time passes second by second, and these replicas live."""
        for _ in range(int(seconds)):
            self.clock.turn(seconds=1)
            for replica in (self.one, self.two):
                replica.stopwatch[0] += 1
            for replica in looking:
                replica.tenure.keep()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    clock = Clock()
    url = f"sqlite:///{tmp_path / 'headgate.db'}"
    stores = [Store(url, clock=clock) for _ in range(2)]
    made = Two(clock, Replica("one", stores[0]), Replica("two", stores[1]))
    made.one.tenure.keep()
    made.two.tenure.keep()
    yield made
    for store in stores:
        store.close()


def test_replicas_come_to_share_what_there_is(two: Two) -> None:
    two.pass_seconds(6, two.one, two.two)
    assert len(two.one.has) == len(two.two.has) == 2
    assert sorted(two.one.has + two.two.has) == NAMES


def test_one_of_them_prints(two: Two) -> None:
    two.pass_seconds(6, two.one, two.two)
    assert [one.tenure.prints() for one in (two.one, two.two)].count(True) == 1


def test_what_a_silent_replica_had_is_taken_over_within_a_second_of_its_lease(two: Two) -> None:
    two.pass_seconds(6, two.one, two.two)
    two.pass_seconds(TTL.total_seconds() - 2, two.two)  # it renewed a second ago
    before = len(two.two.has)
    two.pass_seconds(2, two.two)
    assert (before, two.two.has) == (2, NAMES)
    assert two.two.tenure.prints()


def test_one_that_slept_past_its_lease_prints_nothing_beside_its_follower(two: Two) -> None:
    two.pass_seconds(6, two.one, two.two)
    [first] = [one for one in (two.one, two.two) if one.tenure.prints()]
    [other] = [one for one in (two.one, two.two) if one is not first]
    two.pass_seconds(TTL.total_seconds() + 1, other)
    assert (first.tenure.prints(), other.tenure.prints()) == (False, True)


def test_a_replica_that_wakes_up_late_has_nothing_until_it_shares_again(two: Two) -> None:
    two.pass_seconds(6, two.one, two.two)
    two.pass_seconds(TTL.total_seconds() + 1, two.two)
    assert not two.one.tenure.may_send(), "it knows by its own clock"
    two.one.tenure.keep()
    assert not two.one.has
    two.pass_seconds(6, two.one, two.two)
    assert len(two.one.has) == 2


def test_what_a_replica_gives_back_at_its_end_is_taken_at_once(two: Two) -> None:
    two.pass_seconds(6, two.one, two.two)
    two.one.tenure.end()
    two.pass_seconds(1, two.two)
    assert two.two.has == NAMES


def test_nothing_is_sent_that_could_outlast_the_lease(two: Two) -> None:
    assert two.one.tenure.may_send()
    two.pass_seconds(10)
    assert two.one.tenure.may_send()
    two.pass_seconds(1)
    assert not two.one.tenure.may_send()


def test_a_lease_runs_out_while_the_machine_sleeps(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A suspended machine's monotonic clock stands still; the database's goes on."""
    leases = Leases(two.one.store, "three", TTL)
    tenure = Tenure(NAMES, leases)
    tenure.keep()
    assert tenure.may_send()
    read, awake = time.clock_gettime, (time.CLOCK_MONOTONIC, time.CLOCK_MONOTONIC_RAW)
    slept = TTL.total_seconds()
    monkeypatch.setattr(
        time, "clock_gettime", lambda clock: read(clock) + (0 if clock in awake else slept)
    )
    two.clock.turn(seconds=slept)
    assert not tenure.may_send()
    assert leases.left_s == 0
    tenure.keep()
    assert tenure.may_send(), "the first look takes it anew"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path) as house:
        yield house


def leased(house: House) -> tuple[Leases, list[float]]:
    """Let the house's pass be a replica's, which renews while it looks."""
    stopwatch = [0.0]
    # Two looks fit into the lease: it is renewed once in a look here.
    leases = Leases(house.store, "one", 2 * TTL, clock=lambda: stopwatch[0])
    house.one.tenure = Tenure([NAME], leases, clock=lambda: stopwatch[0])

    def renews() -> None:
        stopwatch[0] += 30
        house.one.tenure.keep()

    renews()
    house.outside.meanwhile = renews
    return leases, stopwatch


def test_a_pass_of_a_lease_that_was_lost_meanwhile_writes_and_sends_nothing(house: House) -> None:
    leased(house)
    house.passes(2)
    house.outside.story.register(2)
    house.until("Provisioning")
    before, sent = house.store.last_seq(), list(house.outside.sent)
    other = Leases(house.store, "two", TTL)

    def lost() -> None:
        house.clock[0] += 2 * TTL + timedelta(seconds=1)
        assert other.renew()
        other.share([NAME])

    house.outside.meanwhile = lost
    house.passes(after=1)
    assert house.store.last_seq() == before
    assert house.outside.sent == sent


@dataclass
class Lost:
    """A replica whose lease lapses, on a clock of the house, and that enlists anew without it."""

    house: House
    stopwatch: list[float]
    known: bool = True
    """The replica has noticed."""

    def __call__(self) -> None:
        other = Leases(self.house.store, "two", TTL)
        self.house.clock[0] += 2 * TTL + timedelta(seconds=1)
        assert other.renew()
        assert NAME in other.share([NAME])
        if self.known:
            self.stopwatch[0] += 61
            self.house.one.tenure.keep()
            assert NAME not in self.house.one.tenure
            assert self.house.one.tenure.may_send(), "it lives, with nothing in its hands"


def in_canary(house: House) -> list[float]:
    """A replica's release that has users; the stopwatch of its leases."""
    _, stopwatch = leased(house)
    house.passes(2)
    house.outside.story.register(2)
    house.until("Canary")
    return stopwatch


@pytest.mark.parametrize("known", [True, False])
def test_a_pass_that_lost_its_lease_while_it_waited_frees_nothing_from_quarantine(
    house: House, *, known: bool
) -> None:
    stopwatch = in_canary(house)
    house.one.quarantine("its passes fail")
    house.passes()
    house.one.printer.print_new()
    Lost(house, stopwatch, known)()
    before, sent = house.store.last_seq(), list(house.outside.sent)
    assert not house.one.run()
    assert house.store.last_seq() == before
    assert house.outside.sent == sent
    live = house.application().live
    assert live is not None
    assert (live.hold or "").startswith("quarantined: ")


def test_a_pass_that_lost_its_lease_while_it_looked_frees_nothing_from_quarantine(
    house: House,
) -> None:
    stopwatch = in_canary(house)
    house.one.quarantine("its passes fail")
    house.passes()
    before = house.store.last_seq()
    house.outside.meanwhile = Lost(house, stopwatch)
    assert not house.one.run()
    assert house.store.last_seq() == before
    live = house.application().live
    assert live is not None
    assert (live.hold or "").startswith("quarantined: ")


@pytest.mark.parametrize("known", [True, False])
def test_a_failing_pass_whose_lease_was_lost_puts_nothing_in_quarantine(
    house: House, *, known: bool
) -> None:
    stopwatch = in_canary(house)
    Lost(house, stopwatch, known)()
    before = house.store.last_seq()
    house.one.quarantine("its passes fail")
    assert house.store.last_seq() == before
    live = house.application().live
    assert live is not None
    assert live.hold is None


def test_bad_requests_that_were_found_after_the_lease_was_lost_are_not_written_down(
    house: House,
) -> None:
    _, stopwatch = leased(house)
    lost = Lost(house, stopwatch)

    @dataclass
    class Slow(Requests):
        def look(self, application: Application, wanted: Wanted) -> Found:
            lost()
            return super().look(application, wanted)

    requests = Slow()
    rolled_back(house, requests)
    before = house.store.last_seq()
    house.one.run()
    assert len(requests.asked) == 1
    told = [line["event"] for line in house.store.journal() if line["seq"] > before]
    assert "release.examples" not in told


@pytest.mark.parametrize("known", [True, False])
def test_a_pass_that_was_overtaken_says_nothing_of_the_trouble_of_those_before(
    house: House, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    stopwatch = in_canary(house)
    tenure = house.one.tenure
    lanes = Passes({NAME: house.one}, house.store, lambda: 0.0, tenure)
    with monkeypatch.context() as patch, capture_logs():
        patch.setattr(house.outside, "meanwhile", lambda: 1 / 0)
        for _ in range(PERMITTED):
            lanes._start(NAME, lanes._ordinary)
            soon("the pass ends", lambda: not lanes.busy())
    assert lanes.quarantined() == {NAME}
    house.outside.meanwhile = Lost(house, stopwatch, known)
    with capture_logs() as logs:
        lanes._start(NAME, lanes._ordinary)
        soon("the pass ends", lambda: not lanes.busy())
    assert lanes.quarantined() == {NAME}
    assert not [line for line in logs if line["event"] == "application.freed"]
    assert lanes.end(10) == 0


def test_what_another_replica_has_can_be_proved_by_nothing(two: Two) -> None:
    two.pass_seconds(6, two.one, two.two)
    [theirs, *_] = two.two.has
    with pytest.raises(LeaseLost, match=f"{theirs} is not one's: nothing is written"):
        two.one.tenure.lease(theirs)
    assert not two.one.tenure.still(theirs, None)
    [ours, *_] = two.one.has
    lease = two.one.tenure.lease(ours)
    assert lease is not None
    assert two.one.tenure.still(ours, lease)
    assert not two.one.tenure.still(ours, None)
    assert not two.one.tenure.still(ours, replace(lease, epoch=lease.epoch - 1))


def test_where_nothing_is_leased_nothing_has_to_be_proved() -> None:
    tenure = Tenure(NAMES)
    assert tenure.lease(NAMES[0]) is None
    assert tenure.still(NAMES[0], None)


def test_a_call_written_down_by_a_replica_that_then_stalled_is_left_to_whoever_comes(
    house: House,
) -> None:
    _, stopwatch = leased(house)
    house.passes(2)
    renews = house.outside.meanwhile
    assert renews is not None
    house.outside.story.register(2)

    def stalls() -> None:
        renews()
        stopwatch[0] += 45

    house.outside.meanwhile = stalls
    house.passes(2)
    assert set(house.outcomes()) == {"refused"}, "nobody waits for its effect"
    assert not house.outside.sent
    house.outside.meanwhile = renews
    house.until("Canary")
    assert house.outside.sent


def test_a_call_of_a_lease_that_lapsed_is_not_sent_under_the_one_that_was_taken_after_it(
    house: House,
) -> None:
    _, stopwatch = leased(house)
    house.passes(2)
    house.outside.story.register(2)
    printed = house.one.printer.print_new
    tenure = house.one.tenure

    def lapses() -> int:
        """The process sleeps between commit and call, and has its lease anew when it wakes."""
        before = tenure.lease(NAME)
        house.clock[0] += timedelta(minutes=5)
        stopwatch[0] += 300
        tenure.keep()
        assert tenure.lease(NAME) != before
        assert tenure.may_send(), "and much of it is left"
        return printed()

    house.one.printer.print_new = lapses  # type: ignore[method-assign]
    house.passes(2)
    assert set(house.outcomes()) == {"refused"}, "nobody waits for its effect"
    assert not house.outside.sent


def test_a_lease_that_runs_out_while_the_store_is_asked_for_an_abort_sends_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, stopwatch = leased(house)
    house.passes(2)
    house.outside.story.register(2)
    homeward = house.store.homeward

    def slow() -> tuple[str, ...]:
        stopwatch[0] += 300
        return homeward()

    monkeypatch.setattr(house.store, "homeward", slow)
    house.passes(2)
    assert set(house.outcomes()) == {"refused"}, "nobody waits for its effect"
    assert not house.outside.sent


@pytest.mark.parametrize("replicas", [True, False])
def test_what_is_sent_has_to_be_over_before_the_lease_is(
    house: House, monkeypatch: pytest.MonkeyPatch, *, replicas: bool
) -> None:
    if replicas:
        house.one.tenure = Tenure([NAME], Leases(house.store, "one", TTL))
        house.one.tenure.keep()
    allowed, call = list[float](), house.outside._call

    def measured(one: Call) -> None:
        allowed.append(at_most(math.inf))
        call(one)

    monkeypatch.setattr(house.outside, "_call", measured)
    # The lease lives by the real clock: what passes here is the store's time, a second at a time.
    house.passes(2, after=1)
    house.outside.story.register(2)
    house.passes(3, after=1)
    assert allowed
    if replicas:
        assert all(0 < one <= TTL.total_seconds() for one in allowed)
    else:
        assert set(allowed) == {math.inf}


def test_a_leap_of_the_clock_while_another_looked_after_it_is_not_counted_again(
    house: House,
) -> None:
    leased(house)
    renews = house.outside.meanwhile
    assert renews is not None
    house.passes(2)
    house.outside.story.register(2)
    house.until("Canary")
    before = house.application().live
    other = Leases(house.store, "two", 2 * TTL)
    house.clock[0] += 2 * TTL + timedelta(seconds=1)
    assert other.renew()
    assert NAME in other.share([NAME])
    renews()
    by = timedelta(hours=1)
    house.clock[0] += by  # the other one noticed, and moved the record along
    loaded = house.store.load(NAME, SPEC)
    house.store.commit(loaded, Plan(application=leapt(loaded.application, by)))
    other.give_back()
    renews()
    assert house.one.tenure.lease(NAME) is not None
    house.passes()
    after = house.application().live
    assert before is not None
    assert after is not None
    assert after.spans[0].starts_at == before.spans[0].starts_at + by
