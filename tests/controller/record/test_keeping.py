"""What taking a backup, or putting one back, must never destroy, and what is no whole record."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import insert

from controller.record.leases import Leases
from controller.record.schema import APPLICATIONS, METADATA, VERSION
from controller.record.store import Store
from controller.record.upgrades import downgrade
from states.machine import State
from tests.controller.postgres import Postgres
from tests.controller.record.conftest import Home
from tests.controller.record.making import release, seqs, store_in, write
from tests.controller.record.test_backup import busy, headgate

LATER = f"{int(VERSION) + 1:04}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store that nobody has open, with a backup of it beside the folder that it stands in."""
    folder = tmp_path / "data"
    folder.mkdir()
    with closing(store_in(folder)) as store:
        busy(store)
        assert headgate("backup", tmp_path / "kept.gz", "--store", url_of(store.path))[0] == 0
        return store.path


@pytest.fixture
def kept(file: Path) -> Path:
    """The backup."""
    return file.parent.with_name("kept.gz")


def url_of(file: Path) -> str:
    return f"sqlite:///{file}"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, but for the note in the lock file of who was the last to hold it."""
    found = {one.name: one.read_bytes() for one in folder.iterdir()}
    return {name: b"" if name.endswith(".lock") else held for name, held in found.items()}


def symbolic(file: Path) -> Path:
    link = file.with_name("link.gz")
    link.symlink_to(file.name)
    return link


def hard(file: Path) -> Path:
    link = file.with_name("link.gz")
    link.hardlink_to(file)
    return link


def by_its_folder(file: Path) -> Path:
    link = file.parent.with_name("link")
    link.symlink_to(file.parent)
    return link / file.name


def written_through(file: Path) -> Path:
    """The name under which a backup is written at first leads to the store."""
    file.with_name("new.gz.partial").hardlink_to(file)
    return file.with_name("new.gz")


def put_aside(file: Path) -> Path:
    aside = file.with_name("headgate.db.before-restore")
    aside.write_bytes(b"what was there before")
    return hard(aside)


@pytest.mark.parametrize(
    "way",
    [
        lambda file: file,
        symbolic,
        hard,
        by_its_folder,
        written_through,
        put_aside,
        *(
            lambda file, end=end: file.with_name(file.name + end)
            for end in (
                *("-journal", "-wal", "-shm", ".lock", ".restoring"),
                *(".before-restore", ".before-restore-journal", ".before-restore-2"),
            )
        ),
    ],
)
def test_a_backup_never_takes_the_place_of_a_file_of_its_store(
    file: Path, way: Callable[[Path], Path]
) -> None:
    target = way(file)
    before = contents(file.parent)
    code, said = headgate("backup", target, "--store", url_of(file))
    assert (code, "belongs to that store" in said, "name another file" in said) == (6, True, True)
    assert contents(file.parent) == before
    with closing(Store(url_of(file), create=False)) as store:
        assert list(seqs(store)) == [1, 2, 3]


def test_a_store_that_is_named_like_an_unfinished_backup_is_not_written_over(
    file: Path,
) -> None:
    store = file.rename(file.with_name("headgate.db.partial"))
    before = store.read_bytes()
    code, said = headgate("backup", file, "--store", url_of(store))
    assert (code, f"{store} belongs to that store" in said) == (6, True), said
    assert store.read_bytes() == before


def test_a_backup_may_stand_beside_its_store_under_its_name(file: Path) -> None:
    for end in (".gz", ".backup", "-2026-11-23"):
        kept = file.with_name(file.name + end)
        assert headgate("backup", kept, "--store", url_of(file))[0] == 0
        # Once more, in the place of the one before.
        assert headgate("backup", kept, "--store", url_of(file))[0] == 0


def test_whatever_was_put_aside_stays_however_often_a_backup_is_put_back(
    file: Path, kept: Path
) -> None:
    for version, aside in (("7", ""), ("8", "-2"), ("9", "-3")):
        with closing(store_in(file.parent)) as store:
            write(store, release(version))
        code, said = headgate("restore", kept, "--store", url_of(file), "--replace")
        assert code == 0, said
        assert f"; what was there is now {file}.before-restore{aside}; " in said
    for version, aside in (("7", ""), ("8", "-2"), ("9", "-3")):
        with closing(Store(url_of(Path(f"{file}.before-restore{aside}")), create=False)) as store:
            assert store.versions() == {"rag": {"1", "2", version}}
    with closing(Store(url_of(file), create=False)) as store:
        assert store.versions() == {"rag": {"1", "2"}}


def test_a_journal_that_was_put_aside_stays_and_goes_with_no_other_file(
    file: Path, kept: Path
) -> None:
    """A restore that was cut off may leave it alone; with another file it would undo that one."""
    left = file.with_name("headgate.db.before-restore-journal")
    left.write_bytes(b"half a transaction of an earlier file")
    file.with_name("headgate.db-journal").write_bytes(b"half a transaction of this file")
    old = file.read_bytes()
    code, said = headgate("restore", kept, "--store", url_of(file), "--replace")
    assert code == 0, said
    assert {name: held for name, held in contents(file.parent).items() if "before" in name} == {
        left.name: b"half a transaction of an earlier file",
        "headgate.db.before-restore-2": old,
        "headgate.db.before-restore-2-journal": b"half a transaction of this file",
    }


def test_a_link_that_leads_nowhere_has_its_name_too(file: Path, kept: Path, tmp_path: Path) -> None:
    link = file.with_name("headgate.db.before-restore")
    link.symlink_to(tmp_path / "a disk that is not mounted")
    code, said = headgate("restore", kept, "--store", url_of(file), "--replace")
    assert (code, "what was there is now" in said) == (0, True), said
    assert link.is_symlink()


RELEASES_GONE = "DROP TRIGGER blocks_no_delete; DELETE FROM blocks; DELETE FROM releases;"


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("""UPDATE applications SET body = '{"watermark": "no number"}'""", "cannot be understood"),
        ("UPDATE releases SET body = '{}'", "cannot be understood"),
        (RELEASES_GONE, "disagree about rag"),
        (RELEASES_GONE + "UPDATE applications SET body = '{}'", "disagree about rag"),  # noqa: S608
        (
            RELEASES_GONE + "DELETE FROM calls; DELETE FROM minutes; DELETE FROM applications",  # noqa: S608
            "disagree about rag",
        ),
    ],
)
def test_a_record_with_a_damaged_application_is_no_backup(
    file: Path, tmp_path: Path, harm: str, told: str
) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(harm)
    code, said = headgate("backup", tmp_path / "second.gz", "--store", url_of(file))
    assert (code, told in said) == (6, True), said
    assert not (tmp_path / "second.gz").exists()


def test_an_application_without_releases_of_which_the_journal_tells_none_is_whole(
    home: Home, tmp_path: Path
) -> None:
    store = home.store()
    busy(store)
    new = {"name": "new", "model": "main.a.new", "endpoint": "new", "alias": "x", "row": 1}
    with store.writing() as connection:
        connection.execute(insert(APPLICATIONS), [new | {"body": {}}])
    code, said = headgate("backup", tmp_path / "kept.gz", "--store", home.url)
    assert (code, "checked" in said) == (0, True), said


def test_a_damaged_backup_of_before_drops_nothing_of_a_shared_store(
    postgres: Postgres, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(RELEASES_GONE)
    # As a Headgate did that compared less.
    monkeypatch.setattr("controller.console.keeping.whole", lambda _: None)
    assert headgate("backup", tmp_path / "bad.gz", "--store", url_of(file))[0] == 0
    monkeypatch.undo()
    url = postgres.url(postgres.database())
    with closing(Store(url)) as store:
        write(store, release("9"))
    code, said = headgate("restore", tmp_path / "bad.gz", "--store", url, "--replace")
    assert (code, "disagree about rag" in said) == (6, True), said
    with closing(Store(url, create=False)) as store:
        assert store.versions() == {"rag": {"9"}}


def at_schema(url: str, schema: str) -> None:
    """Bring a shared store to an earlier schema; or let it say that it has a later one."""
    if schema < VERSION:
        downgrade(url, schema, discard=True)
        return
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", [schema])
        connection.execute("ALTER TABLE replicas ADD COLUMN mood TEXT")
        connection.execute("DELETE FROM counters WHERE name LIKE 'oldest%'")


@pytest.mark.parametrize("schema", ["0003", "0005", LATER])
def test_a_shared_store_of_another_schema_is_not_dropped_under_the_hands_of_a_replica(
    postgres: Postgres, kept: Path, schema: str
) -> None:
    database = postgres.database()
    url = postgres.url(database)
    store = Store(url)
    write(store, release("9", State.CANARY, step=1))
    at_schema(url, schema)
    living = Leases(store, "living")
    postgres.ask("INSERT INTO replicas SELECT 'living', headgate_now() + 60000000, 0", database)
    postgres.ask("INSERT INTO leases VALUES ('rag', 'living', 41)", database)
    code, said = headgate("restore", kept, "--store", url, "--replace")
    assert (code, "is in use by the replica living: stop all replicas first" in said) == (6, True)
    assert postgres.ask("SELECT version_num FROM alembic_version", database) == [(schema,)]
    assert postgres.ask("SELECT version FROM releases", database) == [("9",)]
    living.give_back()
    code, said = headgate("restore", kept, "--store", url, "--replace")
    assert code == 0, said
    assert store.versions() == {"rag": {"1", "2"}}
    next_ = Leases(store, "next")
    assert next_.renew()
    assert next_.share(["rag"])["rag"].epoch == 42, "no epoch comes twice"
    store.close()


@pytest.mark.parametrize("schema", ["0001", "0002"])
def test_a_shared_store_of_before_replicas_gives_way_to_a_backup(
    postgres: Postgres, kept: Path, schema: str
) -> None:
    url = postgres.url(postgres.database())
    Store(url).close()
    at_schema(url, schema)
    assert headgate("restore", kept, "--store", url, "--replace")[0] == 0
    with closing(Store(url, create=False)) as store:
        assert store.versions() == {"rag": {"1", "2"}}


@pytest.mark.parametrize(
    "gone",
    [
        "minutes, blocks",
        "counters",
        "leases, applications",
        "replicas",
        ", ".join(METADATA.tables),
    ],
)
def test_a_shared_store_whose_tables_are_gone_gives_way_to_a_backup(
    postgres: Postgres, kept: Path, gone: str
) -> None:
    database = postgres.database()
    postgres.ask(f"DROP TABLE {gone} CASCADE", database)
    url = postgres.url(database)
    code, said = headgate("restore", kept, "--store", url, "--replace")
    assert code == 0, said
    with closing(Store(url, create=False)) as store:
        assert store.versions() == {"rag": {"1", "2"}}


SONGS = "CREATE TABLE releases (id int PRIMARY KEY, song text); INSERT INTO releases VALUES (1, '')"
ALEMBIC = "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES "


@pytest.mark.parametrize(
    "theirs",
    [
        SONGS,
        f"{SONGS}; {ALEMBIC} ('1975ea83b712')",
        f"{SONGS}; {ALEMBIC} ('0a75ea83b712')",
        f"{SONGS}; CREATE TABLE artists (name text); {ALEMBIC} ('0002')",
        f"{SONGS}; CREATE TABLE counters (song int, heard int); {ALEMBIC} ('{VERSION}')",
    ],
)
def test_another_programs_database_is_not_made_a_store_of_whatever_is_said(
    postgres: Postgres, kept: Path, theirs: str
) -> None:
    database = postgres.empty()
    postgres.ask(theirs, database)
    columns = (
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    before = postgres.ask(columns, database)
    url = postgres.url(database)
    for flags in ([], ["--replace"]):
        code, said = headgate("restore", kept, "--store", url, *flags)
        assert (code, "is a database of another program: name another" in said) == (6, True), said
        assert "drops it" not in said, "nothing does"
    code, said = headgate("status", "--store", url)
    assert "is a database of another program" in said
    assert postgres.ask(columns, database) == before
    assert postgres.ask("SELECT id FROM releases", database) == [(1,)]
