"""A pass whose store fails: told within that pass, nothing sent, and healed by itself."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from controller.record.errors import StoreUnusable
from controller.record.printer import Printer
from controller.record.store import Store
from states.plan import Event
from states.world import Absent
from tests.controller.house import NAME, House, opened
from tests.controller.postgres import Postgres, started
from tests.controller.record.making import seqs


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A version 2 is there, and the next pass has something to do."""
    with opened(tmp_path) as house:
        house.passes()
        house.outside.story.register(2)
        yield house


def fails(house: House, said: str) -> None:
    """Every pass says what is wrong, and sends nothing."""
    before = list(house.outside.sent)
    for _ in range(3):
        with pytest.raises(StoreUnusable, match=said):
            house.passes()
    assert house.outside.sent == before


def goes_on(house: House) -> None:
    """The next passes do what there was to do, and the journal tells all of it once."""
    house.until("Canary")
    assert house.outside.story.weight(2) == 5
    assert list(seqs(house.store)) == list(range(1, house.store.last_seq() + 1))
    calls = calls_of(house)
    assert len(calls) >= len(house.outside.sent), "each call has its row"


def calls_of(house: House) -> list[object]:
    with sqlite3.connect(house.store.path) as connection:
        found = connection.execute("SELECT id FROM calls").fetchall()
    connection.close()
    return found


def pragma(house: House, what: str) -> Callable[[], None]:
    """Set it for every transaction from now on; the answer takes that back."""

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA {what}")

    event.listen(house.store._engine, "begin", begin)
    return lambda: event.remove(house.store._engine, "begin", begin)


def noted(store: Store, size: int, times: int) -> None:
    for _ in range(times):
        store.note(Event(name="config.loaded", because="x" * size))


def filled(store: Store) -> None:
    """Use up every page that the file has."""
    for size in (3000, 300, 30):
        with pytest.raises(StoreUnusable, match="the disk is full"):
            noted(store, size, times=1000)


def test_a_full_disk_lets_nothing_be_sent_until_there_is_room(house: House) -> None:
    clear = pragma(house, "max_page_count = 1")
    filled(house.store)
    fails(house, "the disk is full: free some space")
    clear()
    pragma(house, "max_page_count = 1000000")
    goes_on(house)


def test_a_disk_that_became_read_only_lets_nothing_be_sent(house: House) -> None:
    clear = pragma(house, "query_only = ON")
    fails(house, "it is read-only: give this user the right")
    clear()
    pragma(house, "query_only = OFF")
    goes_on(house)


def test_a_file_that_was_deleted_is_missed_at_once_and_found_when_it_is_put_back(
    house: House,
) -> None:
    """SQLite itself would write on, into a file that nobody can ever open again."""
    away = house.store.path.with_name("away.db")
    house.store.path.rename(away)
    fails(house, "is gone .No such file or directory.: put it back, or restore a backup")
    assert not house.store.path.exists(), "no empty record is made in its place"
    away.rename(house.store.path)
    goes_on(house)


def test_a_copy_put_in_the_files_place_is_gone_on_with(house: House) -> None:
    copy = house.store.path.with_name("copy.db")
    shutil.copy(house.store.path, copy)
    copy.replace(house.store.path)
    goes_on(house)


def test_another_programs_file_in_its_place_is_refused_for_as_long_as_it_is_there(
    house: House,
) -> None:
    away, other = (house.store.path.with_name(name) for name in ("away.db", "other.db"))
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    house.store.path.rename(away)
    other.rename(house.store.path)
    fails(house, "is a database of another program")
    away.replace(house.store.path)
    goes_on(house)


def test_an_emptied_file_is_told(house: House) -> None:
    with house.store.path.open("r+b") as file:
        file.truncate(0)
    fails(house, "its tables are gone: restore a backup")


def test_a_damaged_file_is_told_with_the_remedy(house: House) -> None:
    # What it has read it need not read again: a new connection has read nothing.
    house.store._engine.dispose()
    with house.store.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (house.store.path.stat().st_size - 4096))
    fails(house, "it is damaged: restore a backup with `headgate restore`")


def test_a_server_that_is_gone_lets_nothing_be_sent_until_it_is_back(tmp_path: Path) -> None:
    with started() as server, opened(tmp_path) as house:
        file, url = house.store, server.url(server.database())
        house.store = Store(url)
        house.one.store = house.one.actor.store = house.store
        house.one.printer = Printer(house.store)
        house.passes()
        house.outside.story.register(2)
        server.stop()
        fails(house, "the server cannot be reached, or the connection was lost")
        server.start()
        for _ in range(60):
            turned(server, url, house)
        assert house.outside.story.weight(2) > 0
        assert list(seqs(house.store)) == list(range(1, house.store.last_seq() + 1))
        house.store.close()
        house.store = file


def turned(server: Postgres, url: str, house: House) -> None:
    """One pass, half a minute later by the server's clock."""
    database = url.partition("?")[0].rpartition("/")[2]
    server.ask("UPDATE test.clock SET at = at + 30000000", database)
    house.passes()


def test_an_empty_store_in_front_of_a_running_canary_asks_and_harms_nobody(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "one") as house:
        house.passes()
        house.outside.story.register(2)
        house.until("Canary")
        house.passes()
        story, now = house.outside.story, house.clock[0]
    split = (story.weight(1), story.weight(2))
    assert split == (95, 5)
    with opened(tmp_path / "two") as house:
        house.clock[0] = now
        house.outside.story = story
        house.passes(20)
        assert house.outside.sent == [], "what is not understood is not touched"
        assert (story.weight(1), story.weight(2)) == split
        application = house.application()
        assert not application.adopted
        assert application.hold is not None
        assert "100 %" in application.hold, "it says what a person can do"
        story.edit(v1=100, v2=0)
        house.passes(2)
        application = house.application()
        assert (application.adopted, application.stable) == (True, "1")
        house.passes(20)
        assert story.weight(2) == 0, "version 2 was there before: it does not start by itself"


def test_an_empty_store_never_starts_a_version_that_was_rolled_back(tmp_path: Path) -> None:
    with opened(tmp_path / "one") as house:
        house.passes()
        house.outside.story.register(2)
        house.outside.story.error_rates["2"] = 0.3
        house.until("RolledBack")
        house.passes(20)
        story, now = house.outside.story, house.clock[0]
    with opened(tmp_path / "two") as house:
        house.clock[0] = now
        house.outside.story = story
        house.passes(20)
        assert house.application().stable == "1"
        assert story.weight(2) == 0
        assert not any(call.startswith("serve") for call in house.outside.sent)


def test_a_store_that_is_lost_with_the_endpoint_waits_for_one(tmp_path: Path) -> None:
    """Nothing outside, nothing in the record: the first version that comes is a first release."""
    with opened(tmp_path) as house:
        house.outside.story.endpoint, house.outside.story.alias = Absent(), Absent()
        house.outside.story.versions.clear()
        house.passes(3)
        assert house.outside.sent == []
        assert house.application().name == NAME
