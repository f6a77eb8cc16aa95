"""What taking a backup, or putting one back, must never destroy, and what is no whole record."""

import errno
import itertools
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import insert

from controller.record.backup import read
from controller.record.errors import BackupUnusable, StoreUnusable
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


def test_no_daemon_begins_an_empty_record_where_a_restore_failed_halfway(
    file: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old file was put aside, and its journal cannot be: nothing has the store's name."""
    file.with_name("headgate.db-journal").write_bytes(b"half a transaction of this file")
    old, move = file.read_bytes(), Path.replace

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith("-journal"):
            raise OSError(errno.EIO, "Input/output error")
        return move(self, target)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", failing)
        code, said = headgate("restore", kept, "--store", url_of(file), "--replace")
    assert (code, "cannot be replaced: Input/output error" in said) == (6, True), said
    assert contents(file.parent)["headgate.db.before-restore"] == old
    with pytest.raises(StoreUnusable, match="run `headgate restore` again"):
        Store(url_of(file))
    assert headgate("restore", kept, "--store", url_of(file))[0] == 0
    with closing(Store(url_of(file), create=False)) as store:
        assert store.versions() == {"rag": {"1", "2"}}


def leave_half_a_transaction(file: Path) -> None:
    """As a process does that dies while it writes: some pages are new, and a journal is hot."""
    with closing(sqlite3.connect(file)) as dying:
        dying.execute("PRAGMA cache_size = 5")
        dying.execute("UPDATE releases SET body = body || printf('%5000s', '')")
        left = {one: one.read_bytes() for one in (file, file.with_name(f"{file.name}-journal"))}
    for one, held in left.items():
        one.write_bytes(held)


def sound(file: Path) -> bool:
    with closing(sqlite3.connect(file)) as store:
        return store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_the_journal_of_a_file_that_was_lost_undoes_nothing_of_what_is_put_back(
    file: Path, kept: Path
) -> None:
    with closing(store_in(file.parent)) as store:
        for number in range(3, 30):
            write(store, release(str(number)))
    leave_half_a_transaction(file)
    file.unlink()
    code, said = headgate("restore", kept, "--store", url_of(file))
    assert (code, "what was there is now" in said) == (0, False), said
    assert sound(file)
    with closing(Store(url_of(file), create=False)) as store:
        assert list(seqs(store)) == [1, 2, 3]


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_restore_that_is_killed_leaves_a_whole_record_or_none_that_a_daemon_begins_on(
    file: Path, kept: Path, step: int
) -> None:
    """At each of the three moves: the file's, its journal's, and that of what takes its place."""
    with closing(store_in(file.parent)) as store:
        for number in range(3, 30):
            write(store, release(str(number)))
    leave_half_a_transaction(file)
    if (child := os.fork()) == 0:
        moves, move = itertools.count(1), Path.replace
        Path.replace = lambda one, to: os._exit(9) if next(moves) == step else move(one, to)  # type: ignore[method-assign,assignment]
        headgate("restore", kept, "--store", url_of(file), "--replace")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    if file.exists():
        assert sound(file)
        with closing(Store(url_of(file))) as store:
            assert list(seqs(store)) == list(range(1, 31))
    else:
        with pytest.raises(StoreUnusable, match="run `headgate restore` again"):
            Store(url_of(file))
        assert not file.exists()
    code, said = headgate("restore", kept, "--store", url_of(file), "--replace")
    assert code == 0, said
    assert sound(file)
    with closing(Store(url_of(file), create=False)) as store:
        assert list(seqs(store)) == [1, 2, 3]


@pytest.mark.parametrize("name", [b"what?", b"no#1", b"100%41", b"not \xff text"])
def test_whatever_the_folder_is_called_a_backup_is_taken_there_and_put_back(
    file: Path, tmp_path: Path, name: bytes
) -> None:
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    code, said = headgate("backup", folder / "kept?.gz", "--store", url_of(file))
    assert code == 0, said
    code, said = headgate("restore", folder / "kept?.gz", "--store", url_of(tmp_path / "new.db"))
    assert code == 0, said


def test_what_is_no_file_gives_way_to_no_backup_and_is_read_for_none(
    file: Path, kept: Path, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (pipe, tmp_path, Path(), Path("/")):
        code, said = headgate("backup", place, "--store", url_of(file))
        assert (code, "is no file, and a backup is one" in said) == (6, True), said
    assert pipe.is_fifo()
    reading, writing = os.pipe()
    os.write(writing, kept.read_bytes())
    os.close(writing)
    code, said = headgate("restore", f"/dev/fd/{reading}", "--store", url_of(tmp_path / "new.db"))
    os.close(reading)
    assert (code, "is no file, and a backup is one" in said) == (6, True), said


def test_a_byte_of_a_backup_that_changed_is_noticed_wherever_it_is(
    kept: Path, tmp_path: Path
) -> None:
    whole, changed = kept.read_bytes(), tmp_path / "changed.gz"
    written, unnoticed = read(kept), 0
    for place in range(0, len(whole), 3):
        changed.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with suppress(BackupUnusable):
            assert replace(read(changed), path=kept) == written
            unnoticed += 1
    # Bytes 4 to 9 say when gzip wrote it, and on what machine, and nothing of the record.
    assert unnoticed <= 2
    for more in (b"more", whole):
        changed.write_bytes(whole + more)
        with pytest.raises(BackupUnusable, match="name another"):
            read(changed)


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


@pytest.mark.parametrize(
    "harm",
    [
        "DELETE FROM counters",
        "ALTER TABLE journal RENAME COLUMN seq TO other",
        "ALTER TABLE applications RENAME COLUMN row TO other",
    ],
)
def test_a_record_that_lacks_rows_or_columns_is_told_as_damaged(
    home: Home, tmp_path: Path, harm: str
) -> None:
    busy(home.store())
    kept = tmp_path / "kept.gz"
    assert headgate("backup", kept, "--store", home.url)[0] == 0
    home.ask(harm)
    commands: list[tuple[object, ...]] = [("resume", "rag"), ("backup", tmp_path / "second.gz")]
    if "journal" not in harm:
        commands.append(("status",))
    if "applications" not in harm:
        commands.append(("restore", kept))
    for command in commands:
        code, said = headgate(*command, "--store", home.url)
        assert (code, "it is damaged, as" in said, "`headgate restore`" in said) == (6, True, True)
    assert ("nothing was restored" in said) is ("applications" not in harm), said
    code, said = headgate("restore", kept, "--store", home.url, "--replace")
    assert code == 0, said
    assert list(seqs(home.store())) == [1, 2, 3]


def test_a_view_in_a_tables_place_is_to_be_dropped_before_a_restore(
    postgres: Postgres, kept: Path
) -> None:
    name = postgres.database()
    url = postgres.url(name)
    postgres.ask("DROP TABLE journal; CREATE VIEW journal AS SELECT 1 AS seq", name)
    code, said = headgate("restore", kept, "--store", url)
    assert (code, "it is damaged, as columns of its tables are gone" in said) == (6, True), said
    code, said = headgate("restore", kept, "--store", url, "--replace")
    remedy = "drop that, and restore a backup with `headgate restore`"
    assert (code, remedy in said) == (6, True), said
    postgres.ask("DROP VIEW journal", name)
    code, said = headgate("restore", kept, "--store", url, "--replace")
    assert code == 0, said


def test_a_view_in_an_empty_database_with_a_tables_name_is_told(postgres: Postgres) -> None:
    name = postgres.empty()
    postgres.ask("CREATE VIEW journal AS SELECT 1 AS seq", name)
    with pytest.raises(StoreUnusable, match="or name another database in HEADGATE_STORE"):
        Store(postgres.url(name))


def test_a_store_with_the_longest_name_that_is_taken_can_be_replaced(
    kept: Path, tmp_path: Path
) -> None:
    url = url_of(tmp_path / ("x" * (255 - len(".before-restore-99-journal"))))
    for _ in range(2):
        code, said = headgate("restore", kept, "--store", url, "--replace")
        assert code == 0, said
    assert "what was there is now" in said


TEXT = "UPDATE calls SET because = CAST(x'ff' AS TEXT)"
JOURNAL_LINE = "DROP TRIGGER journal_no_update; UPDATE journal SET fields = 'no JSON'"


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("UPDATE applications SET body = 'no JSON'", "the table applications of the store is"),
        ("UPDATE releases SET body = x'ff'", "the table releases of the store is"),
        (JOURNAL_LINE, "the table journal of the store is"),
        (TEXT, "cannot be used: it is"),
    ],
)
def test_what_is_no_json_or_no_text_is_told_as_damaged(
    file: Path, kept: Path, tmp_path: Path, harm: str, told: str
) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(harm)
    code, said = headgate("backup", tmp_path / "second.gz", "--store", url_of(file))
    assert (code, f"{told} damaged" in said, "`headgate restore`" in said) == (6, True, True), said
    code, said = headgate("restore", kept, "--store", url_of(file))
    if harm == JOURNAL_LINE:
        assert (code, "nothing was restored: with --replace" in said) == (6, True), said
    else:
        assert code == 0, said


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
