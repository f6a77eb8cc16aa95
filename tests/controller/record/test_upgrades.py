"""Stores of other versions: back and forth in the middle of a canary, and side by side."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller.console.cli import app
from controller.record.errors import StoreHeld, StoreUnusable
from controller.record.leases import Leases
from controller.record.printer import Printer
from controller.record.schema import OLDEST, VERSION
from controller.record.store import Store
from controller.record.upgrades import downgrade
from states.machine import State
from states.release import Order
from tests.controller.house import NAME, House, opened
from tests.controller.record.conftest import Home
from tests.controller.record.making import SPEC, release, write
from tests.states.story import START

EARLIER = [f"{number:04}" for number in range(1, int(VERSION))]
LATER = f"{int(VERSION) + 1:04}"


@contextmanager
def house_in(home: Home, folder: Path) -> Iterator[House]:
    """A pass of a daemon on a store of either kind, whose clock goes with the house's."""
    home.clock.now = START
    with opened(folder) as house:
        file = house.store
        _move_in(house, home.store())
        yield house
        house.store = file


def _move_in(house: House, store: Store) -> None:
    house.store = house.one.store = house.one.actor.store = store
    house.one.printer = Printer(store)


def passes(house: House, home: Home, until: Callable[[], bool]) -> None:
    for _ in range(60):
        if until():
            return
        home.clock.turn(seconds=30)
        house.passes()
    raise AssertionError(house.application())


def in_canary(house: House, home: Home) -> None:
    """Version 2 has been judged on its first step, and has users."""
    passes(house, home, lambda: house.application().adopted)
    house.outside.story.register(2)

    def counted() -> bool:
        live = house.application().live
        return live is not None and live.state is State.CANARY and len(live.blocks) > 2

    passes(house, home, counted)


@pytest.mark.parametrize("to", EARLIER)
def test_a_canary_goes_on_after_its_store_went_back_and_forth(
    home: Home, tmp_path: Path, to: str
) -> None:
    with house_in(home, tmp_path / "house") as house:
        in_canary(house, home)
        before, told = house.application(), list(house.store.journal())
        assert before.live is not None
        house.store.close()
        home.opened.clear()
        said = downgrade(home.url, to, discard=True)
        assert f"has schema {to} now" in said
        assert home.ask("SELECT version_num FROM alembic_version") == [(to,)]
        _move_in(house, home.store())
        after = house.application()
        assert after.live is not None
        assert list(house.store.journal()) == told
        assert (after.live.version, after.live.state, after.live.step, after.live.weight) == (
            "2", State.CANARY, before.live.step, before.live.weight
        )  # fmt: skip
        assert [one.candidate.errors for one in after.live.blocks] == [
            one.candidate.errors for one in before.live.blocks
        ]
        if "given up" not in said:
            # How users are split is seen anew by the next look.
            assert after == before.with_release(replace(before.live, split=None))
        weights = list[int]()

        def confirmed() -> bool:
            weights.append(house.outside.story.weight(2))
            return house.application().stable == "2"

        passes(house, home, confirmed)
        assert weights == sorted(weights), "no step is taken twice, and nobody is sent home"
        assert house.outside.story.alias == "2"


def test_what_would_be_lost_is_told_and_kept(home: Home) -> None:
    store = home.store()
    write(store, release("2", State.CANARY, step=1))
    store.give_order("rag", "2", Order.PAUSE, "ann", "lunch")
    home.ask("UPDATE releases SET words = '[]'")
    before = home.ask("SELECT * FROM releases")
    store.close()
    with pytest.raises(StoreUnusable) as caught:
        downgrade(home.url, "0003", discard=False)
    said = str(caught.value)
    assert "what operators said of rag/2 (approvals, promotions)" in said
    assert "Nothing was changed: take a backup, then say --discard" in said
    assert home.ask("SELECT version_num FROM alembic_version") == [(VERSION,)]
    assert home.ask("SELECT * FROM releases") == before
    told = CliRunner().invoke(app, ["downgrade", "--to", "0003", "--store", home.url])
    assert told.exit_code == 6
    assert (
        CliRunner()
        .invoke(app, ["downgrade", "--to", "0003", "--discard", "--store", home.url])
        .stdout.endswith("given up: what operators said of rag/2 (approvals, promotions)\n")
    )
    (live,) = home.store().load("rag", SPEC).application.releases
    assert live.order is Order.PAUSE


@pytest.mark.parametrize(
    ("to", "said"),
    [("12", "there is no schema 12: name one of 0001"), (LATER, f"there is no schema {LATER}")],
)
def test_a_way_back_that_there_is_not_is_told(home: Home, to: str, said: str) -> None:
    home.store().close()
    with pytest.raises(StoreUnusable, match=said):
        downgrade(home.url, to, discard=True)
    assert "nothing was changed" in downgrade(home.url, VERSION, discard=False)
    downgrade(home.url, "0002", discard=False)
    with pytest.raises(StoreUnusable, match="has schema 0002, which is earlier"):
        downgrade(home.url, "0003", discard=False)


def leases_of(store: Store, name: str = "other-1") -> Leases:
    made = Leases(store, name, timedelta(seconds=30))
    assert made.renew()
    return made


def test_nothing_goes_back_or_forth_under_the_hands_of_a_daemon(home: Home) -> None:
    store = home.store()
    write(store, release("2", State.CANARY, step=1))
    held = leases_of(store) if store.shared else store.hold_lock()
    with pytest.raises(StoreHeld):
        downgrade(home.url, "0003", discard=True)
    if isinstance(held, Leases):
        held.give_back()
    else:
        held.close()
    downgrade(home.url, "0003", discard=True)
    # An earlier Headgate's daemon begins on it, and lives.
    held = leases_of(store) if store.shared else store.hold_lock()
    with pytest.raises(StoreHeld, match=r"stop all replicas|one daemon works on one store"):
        home.store()
    assert home.ask("SELECT version_num FROM alembic_version") == [("0003",)]
    if isinstance(held, Leases):
        held.give_back()
    else:
        held.close()
    home.store().load("rag", SPEC)
    assert home.ask("SELECT version_num FROM alembic_version") == [(VERSION,)]


def expand(home: Home, *, oldest: str) -> None:
    """What the next version does to a store: a column and a field more, which may be empty."""
    home.ask("ALTER TABLE releases ADD COLUMN mood TEXT")
    home.ask("UPDATE releases SET mood = 'calm'")
    home.ask(f"UPDATE alembic_version SET version_num = '{LATER}'")  # noqa: S608
    row = f"name = 'oldest beside {LATER}', value = {int(oldest)}"
    home.ask(f"UPDATE counters SET {row} WHERE name LIKE 'oldest%'")  # noqa: S608
    kind = "JSON" if home.shared else "TEXT"
    for table in ("releases", "applications"):
        grown = f"""'{{"mood": {{"of": "{table}"}}, ' || substr(CAST(body AS TEXT), 2)"""
        home.ask(f"UPDATE {table} SET body = CAST({grown} AS {kind})")  # noqa: S608


def test_beside_a_later_headgate_that_only_adds_this_one_goes_on_and_keeps_what_is_new(
    home: Home, tmp_path: Path
) -> None:
    with house_in(home, tmp_path / "house") as house:
        in_canary(house, home)
        house.store.close()
        expand(home, oldest=VERSION)
        _move_in(house, home.store())
        with closing(Store(home.url, create=False)) as reader:
            assert reader.applications() == (NAME,)
        passes(house, home, lambda: house.application().stable == "2")
        kept = home.ask("SELECT mood, CAST(body AS TEXT) FROM releases WHERE version = '2'")
        assert kept[0][0] == "calm"
        assert '{"of": "releases"}' in str(kept[0][1])
        ((body,),) = home.ask("SELECT CAST(body AS TEXT) FROM applications")
        assert '{"of": "applications"}' in str(body)
        assert home.ask("SELECT version_num FROM alembic_version") == [(LATER,)]
        with pytest.raises(StoreUnusable, match="use the `headgate downgrade` of the version"):
            downgrade(home.url, "0003", discard=True)
        told = CliRunner().invoke(app, ["backup", str(tmp_path / "b"), "--store", home.url])
        assert "take the backup with the version that wrote it" in told.output


def test_a_later_headgate_that_changes_more_is_left_alone_even_by_one_that_slept(
    home: Home,
) -> None:
    store = home.store()
    write(store, release("2", State.CANARY, step=1))
    sleeper = leases_of(store) if store.shared else None
    home.clock.turn(seconds=60)
    expand(home, oldest=LATER)
    with pytest.raises(StoreUnusable, match=f"by a later Headgate .schema {LATER}"):
        home.store()
    if sleeper is not None:
        assert not sleeper.renew(), "it slept for longer than it may"
        with pytest.raises(StoreUnusable, match="by a later Headgate"):
            sleeper.renew()


def test_a_store_tells_from_which_version_on_it_may_be_worked_on(home: Home) -> None:
    home.store().close()
    told = "SELECT name, value FROM counters WHERE name LIKE 'oldest%'"
    assert home.ask(told) == [(f"oldest beside {VERSION}", int(OLDEST))]
    downgrade(home.url, "0003", discard=False)
    assert home.ask(told) == [], "an earlier one says nothing, and did not"
