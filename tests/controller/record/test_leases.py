"""Who may write what, and until when: on the database's clock, whatever a replica believes."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from threading import Barrier, Thread

import pytest

from controller.record.errors import Conflict, LeaseLost, StoreHeld
from controller.record.leases import PRINTER, Lease, Leases
from controller.record.store import Store
from states.machine import State
from states.plan import MoveAlias
from states.spec import Spec
from tests.controller.record.conftest import Home
from tests.controller.record.making import SPEC, release, told, unchanged, write

TTL = timedelta(seconds=30)
NAMES = [f"app-{number}" for number in range(6)]


@dataclass
class Replica:
    """One daemon's hands: a store of its own, its leases, and a stopwatch of its own."""

    name: str
    store: Store
    stopwatch: list[float] = field(default_factory=lambda: [0.0])
    leases: Leases = field(init=False)

    def __post_init__(self) -> None:
        self.leases = Leases(self.store, self.name, TTL, clock=lambda: self.stopwatch[0])

    def starts(self) -> "Replica":
        assert self.leases.renew()
        return self

    def share(self, names: list[str] = NAMES, busy: tuple[str, ...] = ()) -> Mapping[str, Lease]:
        """What it has of the applications, beside the printer's lease."""
        held = self.leases.share(names, busy)
        return {name: lease for name, lease in held.items() if name != PRINTER}


def replica(home: Home, name: str) -> Replica:
    return Replica(name, home.store()).starts()


def test_one_replica_has_everything_and_each_epoch_is_the_first(home: Home) -> None:
    held = replica(home, "one").leases.share(NAMES)
    assert held == {name: Lease(name, "one", 1) for name in sorted([*NAMES, PRINTER])}


def test_asking_again_changes_nothing(home: Home) -> None:
    one = replica(home, "one")
    assert one.leases.share(NAMES) == one.leases.share(NAMES)


def test_a_second_replica_gets_its_fair_share(home: Home) -> None:
    one, two = replica(home, "one"), replica(home, "two")
    assert len(one.share()) == 3
    assert len(two.share()) == 3
    assert one.share().keys() | two.share().keys() == set(NAMES)


def test_a_replica_that_comes_later_is_given_what_is_over_with_new_epochs(home: Home) -> None:
    one = replica(home, "one")
    before = one.share()
    two = replica(home, "two")
    assert two.share() == {}, "all is taken"
    after, theirs = one.share(), two.share()
    assert (len(after), len(theirs)) == (3, 3)
    assert after.items() <= before.items(), "what was kept has kept its epoch"
    assert all(lease.epoch == before[name].epoch + 1 for name, lease in theirs.items())


def test_neither_a_live_release_nor_what_is_in_work_is_given_back(home: Home) -> None:
    one = replica(home, "one")
    for name in NAMES[:4]:
        loaded = one.store.load(name, Spec(model=name, endpoint=name))
        live = replace(release("2", State.CANARY, step=1), application=name)
        one.store.commit(
            loaded, replace(unchanged(loaded), application=loaded.application.with_release(live))
        )
    one.share()
    two = replica(home, "two")
    assert one.share(busy=(NAMES[4],)).keys() == set(NAMES[:5])
    assert two.share().keys() == {NAMES[5]}


def test_who_does_not_renew_loses_all_by_the_databases_clock(home: Home) -> None:
    one, two = replica(home, "one"), replica(home, "two")
    held = one.share()
    home.clock.turn(seconds=29)
    assert two.leases.renew()
    assert len(two.share()) == 3, "its holder's time is not over"
    home.clock.turn(seconds=2)
    taken = two.share()
    assert taken.keys() == set(NAMES)
    assert all(taken[name].epoch == lease.epoch + 1 for name, lease in held.items())
    assert one.share() == {}
    assert not one.leases.renew(), "it learns that it is too late"
    assert one.leases.left_s == 0
    assert one.leases.renew(), "and enlists anew"
    assert one.share() == {}, "with nothing in its hands"


def test_what_nobody_took_meanwhile_is_taken_again_with_a_new_epoch(home: Home) -> None:
    one = replica(home, "one")
    before = one.share()
    home.clock.turn(seconds=31)
    assert not one.leases.renew()
    assert one.leases.renew()
    after = one.share()
    assert all(after[name].epoch == lease.epoch + 1 for name, lease in before.items())


def test_a_clean_stop_gives_everything_back_at_once(home: Home) -> None:
    one, two = replica(home, "one"), replica(home, "two")
    one.share()
    two.share()
    one.leases.give_back()
    assert one.leases.left_s == 0
    assert two.leases.share(NAMES).keys() == {*NAMES, PRINTER}
    assert home.ask("SELECT name FROM replicas") == [("two",)]


def test_a_commit_under_a_lease_that_was_taken_over_writes_nothing(home: Home) -> None:
    one = replica(home, "one")
    write(one.store, release("2", State.CANARY, step=1))
    lease = one.share(["rag"])["rag"]
    loaded = one.store.load("rag", SPEC)
    home.clock.turn(seconds=31)
    two = replica(home, "two")
    theirs = two.share(["rag"])["rag"]
    before = list(one.store.journal())
    with pytest.raises(LeaseLost, match=r"rag is no longer one's .epoch 1.: nothing was written"):
        one.store.commit(loaded, unchanged(loaded), [MoveAlias("2")], lease)
    assert list(one.store.journal()) == before
    assert home.ask("SELECT count(*) FROM calls") == [(0,)]
    two.store.commit(loaded, unchanged(loaded), [MoveAlias("2")], theirs)
    assert home.ask("SELECT epoch FROM calls") == [(2,)]


def test_the_lease_alone_is_a_fence_even_while_nobody_else_wants_it(home: Home) -> None:
    one = replica(home, "one")
    lease = one.share(["rag"])["rag"]
    loaded = one.store.load("rag", SPEC)
    home.clock.turn(seconds=30)
    with pytest.raises(LeaseLost):
        one.store.commit(loaded, unchanged(loaded), lease=lease)
    assert one.store.applications() == ()


@pytest.mark.parametrize("forged", [{"epoch": 2}, {"replica": "two"}])
def test_no_lease_but_the_one_that_was_taken_is_good(home: Home, forged: dict[str, object]) -> None:
    one, _ = replica(home, "one"), replica(home, "two")
    lease = one.share(["rag"])["rag"]
    loaded = one.store.load("rag", SPEC)
    with pytest.raises(LeaseLost):
        one.store.commit(loaded, unchanged(loaded), lease=replace(lease, **forged))  # type: ignore[arg-type]
    one.store.commit(loaded, unchanged(loaded), lease=lease)


def test_the_time_left_is_told_from_before_the_renewal_was_sent(home: Home) -> None:
    one = replica(home, "one")
    assert one.leases.left_s == 30
    one.stopwatch[0] = 12
    assert one.leases.left_s == 18
    home.clock.turn(seconds=12)
    assert one.leases.renew()
    assert one.leases.left_s == 30
    one.stopwatch[0] = 100
    assert one.leases.left_s == 0


def test_two_replicas_of_one_name_are_refused(home: Home) -> None:
    replica(home, "one")
    with pytest.raises(StoreHeld, match="another replica is named one, and lives"):
        replica(home, "one")
    home.clock.turn(seconds=31)
    replica(home, "one")


def test_a_replica_that_is_long_gone_is_forgotten(home: Home) -> None:
    replica(home, "one")
    home.clock.turn(days=2)
    replica(home, "two")
    assert home.ask("SELECT name FROM replicas") == [("two",)]


def test_of_replicas_that_race_each_epoch_belongs_to_one(home: Home) -> None:
    """They take, lose and give back as fast as they can, each on a connection of its own."""
    names, rounds, racers = NAMES[:3], 12, 3
    start = Barrier(racers, timeout=30)
    seen: list[Lease] = []
    troubles: list[Exception] = []

    def race(name: str, store: Store) -> None:
        try:
            leases = Leases(store, name, TTL)
            start.wait()
            for _ in range(rounds):
                leases.renew()
                seen.extend(leases.share(names).values())
                leases.give_back()
        except Exception as error:  # noqa: BLE001 - told below
            troubles.append(error)

    threads = [
        Thread(target=race, args=(f"racer-{number}", home.store())) for number in range(racers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    holders = defaultdict(set)
    for lease in seen:
        holders[lease.application, lease.epoch].add(lease.replica)
    assert all(len(one) == 1 for one in holders.values()), holders
    for name in (*names, PRINTER):
        epochs = {epoch for application, epoch in holders if application == name}
        assert epochs == set(range(1, len(epochs) + 1)), "none was left out or came twice"


def test_of_a_holder_and_one_who_takes_over_only_one_writes_at_a_time(home: Home) -> None:
    """Two hands on one application, both sure of themselves: the database lets one in at a time."""
    stores = [home.store(), home.store()]
    write(stores[0], release())
    troubles: list[Exception] = []
    lost: list[str] = []

    def work(name: str, store: Store) -> None:
        try:
            leases = Leases(store, name, TTL)
            leases.renew()
            for _ in range(20):
                held = leases.share(["rag"])
                for _ in range(2 if "rag" in held else 0):
                    loaded = store.load("rag", SPEC)
                    (one,) = loaded.application.releases
                    more = replace(one, retreats=one.retreats + 1)
                    plan = replace(
                        unchanged(loaded),
                        application=loaded.application.with_release(more),
                        events=(told(more),),
                    )
                    try:
                        store.commit(loaded, plan, [MoveAlias("2")], held["rag"])
                    except Conflict as error:
                        lost.append(type(error).__name__)
                leases.give_back()
                leases.renew()
        except Exception as error:  # noqa: BLE001 - told below
            troubles.append(error)

    threads = [
        Thread(target=work, args=(f"hand-{number}", store)) for number, store in enumerate(stores)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    assert lost == [], "who holds the lease meets nobody"
    (one,) = stores[0].load("rag", SPEC).application.releases
    epochs = [row[0] for row in home.ask("SELECT epoch FROM calls ORDER BY id")]
    assert len(epochs) == one.retreats
    assert one.retreats > 2
    assert epochs == sorted(epochs), "no epoch writes after a later one has"  # type: ignore[type-var]


def test_a_clock_that_is_set_back_keeps_nobody_dead_alive(home: Home) -> None:
    replica(home, "one").share()
    home.clock.turn(days=-1)
    two = replica(home, "two")
    assert set(two.share()) == set(NAMES), "what one had until tomorrow is taken over"
    assert replica(home, "one").share() == {}, "and its namesake may start at once"


def test_whoever_was_taken_over_does_not_live_again_on_a_clock_that_is_set_back(
    home: Home,
) -> None:
    one, two = replica(home, "one"), replica(home, "two")
    held = one.share()
    assert held
    home.clock.turn(seconds=31)
    assert two.leases.renew() is False
    assert two.leases.renew()
    assert set(two.share()) == set(NAMES)
    home.clock.turn(seconds=-20)
    assert not one.leases.renew(), "it would send what it believes to hold"
    assert one.leases.left_s == 0
