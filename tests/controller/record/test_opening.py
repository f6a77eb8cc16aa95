import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, event

from controller.record import sqlite
from controller.record.errors import StoreHeld, StoreUnusable
from controller.record.schema import METADATA
from controller.record.store import Store
from states.machine import State
from tests.controller.record.earlier import store_of
from tests.controller.record.making import SPEC, block, plan, release, seqs, store_in, write


def test_the_migrations_make_the_tables_of_the_schema(store: Store) -> None:
    with store.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_a_store_is_for_its_owner_and_durable(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    with store.reading() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {
        "journal_mode": "delete",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 5000,
    }


def test_a_store_opened_again_has_what_it_had(tmp_path: Path) -> None:
    first = store_in(tmp_path)
    write(first, release())
    first.close()
    assert len(store_in(tmp_path).load("rag", SPEC).application.releases) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://host/db", "a store in mysql is not supported: use a file"),
        ("postgresql+psycopg2://host/db", "in postgresql.psycopg2 is not supported"),
        ("sqlite://", "a store in memory forgets"),
        ("sqlite://data/headgate.db", "more than its path: write sqlite:/// and the path"),
        ("sqlite:////tmp/headgate.db?mode=ro", "has no . in it"),
        ("headgate.db", "what --store or HEADGATE_STORE names is not a store's URL"),
        ("sqlite:////nowhere/at/all/headgate.db", "its directory must exist"),
        ("sqlite:////", "the store / is a folder: name a file in it"),
        (f"sqlite:////tmp/{'x' * 256}", r"\(File name too long\).*name another file"),
        # Its own name would do.
        (f"sqlite:////tmp/{'x' * 240}", r"a file of its name and \.before-restore"),
        ("postgresql://u@127.0.0.1/db?port=abc", "a parameter in HEADGATE_STORE has a value that"),
        ("postgresql://u@127.0.0.1/db?port=-1", "a parameter in HEADGATE_STORE has a value that"),
        ("postgresql://u@127.0.0.1/db?sslmode=x", "a parameter in HEADGATE_STORE has a value that"),
        ("sqlite:////proc", "cannot be opened: its directory"),
    ],
)
def test_a_url_that_cannot_be_a_store_is_refused_with_a_sentence(url: str, said: str) -> None:
    with pytest.raises(StoreUnusable, match=said):
        Store(url)


def test_reading_does_not_make_a_store(tmp_path: Path) -> None:
    path = tmp_path / "headgate.db"
    with pytest.raises(StoreUnusable, match="there is no store at"):
        Store(f"sqlite:///{path}", create=False)
    assert not path.exists()


def test_reading_brings_no_store_up_to_date(tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(StoreUnusable, match="no Headgate store yet"):
        Store(f"sqlite:///{empty}", create=False)
    assert empty.stat().st_size == 0
    old = tmp_path / "old.db"
    store_of("0001", old)
    before = old.read_bytes()
    with pytest.raises(StoreUnusable, match=r"an earlier Headgate .schema 0001"):
        Store(f"sqlite:///{old}", create=False)
    assert old.read_bytes() == before
    Store(f"sqlite:///{old}").close()
    Store(f"sqlite:///{old}", create=False).close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "headgate.db").write_text("a letter to my aunt, " * 100)
    with pytest.raises(StoreUnusable, match="not a Headgate store"):
        store_in(tmp_path)


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "headgate.db") as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    connection.close()
    with pytest.raises(StoreUnusable, match="database of another program"):
        store_in(tmp_path)


def test_a_later_headgates_store_is_left_alone(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreUnusable, match="written by a later Headgate"):
        store_in(tmp_path)


def test_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    write(store, release())

    def confine(pages: int) -> None:
        @event.listens_for(store._engine, "begin")
        def _(connection: Connection) -> None:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    confine(1)
    loaded = store.load("rag", SPEC)
    many = release(blocks=tuple(block(number) for number in range(1, 2000)))
    with pytest.raises(StoreUnusable, match=r"headgate\.db cannot be used: the disk is full"):
        store.commit(loaded, plan(loaded.application, many))
    assert store.load("rag", SPEC) == loaded
    confine(100_000)
    store.commit(loaded, plan(loaded.application, many))
    assert store.load("rag", SPEC).application.releases == (many,)


def test_a_read_only_store_is_told(tmp_path: Path) -> None:
    store = store_in(tmp_path)

    @event.listens_for(store._engine, "begin")
    def _(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA query_only = ON")

    with pytest.raises(StoreUnusable, match="it is read-only: give this user the right"):
        write(store, release())


def test_a_store_that_another_program_keeps_locked_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_in(tmp_path).close()
    monkeypatch.setattr(sqlite, "BUSY_MILLISECONDS", 50)
    store = store_in(tmp_path)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnusable, match="another process has kept it locked"):
        write(store, release())
    other.execute("ROLLBACK")
    other.close()
    write(store, release())


def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    code = f"""
from controller.record import sqlite
from controller.record.errors import StoreHeld
from controller.record.store import Store
try:
    Store({f"sqlite:///{store.path}"!r}).hold_lock()
except StoreHeld as error:
    print(error)
"""
    with store.hold_lock():
        with pytest.raises(StoreHeld):
            store.hold_lock()
        told = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
    assert "one daemon works on one store" in told
    store.hold_lock().close()


@pytest.mark.parametrize("way", ["the file", "its folder", "both, and from elsewhere"])
def test_a_second_daemon_is_refused_whatever_symbolic_links_it_came_by(
    tmp_path: Path, way: str
) -> None:
    folder, other = tmp_path / "here", tmp_path / "there"
    folder.mkdir()
    store = store_in(folder)
    if way == "its folder":
        other.symlink_to(folder)
    else:
        other.mkdir()
        to = Path("../here") if way == "the file" else Path("../way")
        (tmp_path / "way").symlink_to(folder)
        (other / "headgate.db").symlink_to(to / "headgate.db")
    second = store_in(other)
    held = f"the store {store.path} is held by process .*: one daemon works on one store"
    for first, late in ((store, second), (second, store)):
        with first.hold_lock(), pytest.raises(StoreHeld, match=held):
            late.hold_lock()
    assert [one.name for one in other.iterdir() if "lock" in one.name] == (
        ["headgate.db.lock"] if way == "its folder" else []
    )


def test_a_store_with_two_names_has_no_daemon_until_it_has_one_name(tmp_path: Path) -> None:
    store, other = store_in(tmp_path), tmp_path / "other.db"
    other.hardlink_to(store.path)
    for one in (store, Store(f"sqlite:///{other}")):
        with pytest.raises(StoreUnusable, match=r"has 2 names .hard links.*keep one of those"):
            one.hold_lock()
    other.unlink()
    store.hold_lock().close()


def test_a_link_that_leads_elsewhere_by_now_stops_whoever_works_on_the_file_of_before(
    tmp_path: Path,
) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    first, second = (store_in(folder) for folder in folders)
    link = tmp_path / "headgate.db"
    link.symlink_to(first.path)
    store = store_in(tmp_path)
    link.unlink()
    link.symlink_to(second.path)
    with pytest.raises(StoreUnusable, match=f"is not {first.path} any more.*put it back, or start"):
        write(store, release())
    assert (first.last_seq(), second.last_seq()) == (0, 0), "the second's lock is not held"
    link.unlink()
    link.symlink_to(first.path)
    write(store, release())
    assert (first.last_seq(), second.last_seq()) == (1, 0)


def test_a_file_that_was_moved_behind_a_link_is_not_gone_on_with(tmp_path: Path) -> None:
    """Whoever is started now would hold a lock beside the file's new place."""
    store, moved = store_in(tmp_path), tmp_path / "moved.db"
    store.path.rename(moved)
    store.path.symlink_to(moved)
    with pytest.raises(StoreUnusable, match=f"is not {store.path} any more"):
        write(store, release())
    moved.replace(store.path)
    write(store, release())
    assert list(seqs(store)) == [1]


def test_a_console_writes_while_the_daemon_holds_the_store(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    with store.hold_lock():
        write(store_in(tmp_path), release("2", State.CANARY, step=1))
    assert list(seqs(store)) == [1]
