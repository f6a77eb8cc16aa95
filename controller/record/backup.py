"""A whole record in one file, taken at one moment, which either kind of store can be made of.

gzip of JSON lines: a head (`headgate_backup` 1, `schema`, `seq`, `at`), one line for each row, and
a tail with the number of rows and the SHA-256 of all lines before it. A file without its tail is
not a backup. Replicas are left out: who lives is no part of the record.
"""

import glob
import gzip
import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, groupby, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import JSON, URL, Connection, MetaData, Table, func, insert, inspect, select, text

from controller.record.errors import AnotherPrograms, BackupUnusable, StoreHeld, StoreUnusable
from controller.record.leases import anyone
from controller.record.loading import counter
from controller.record.lock import lock_file
from controller.record.opening import Place, place_of, recognised, told
from controller.record.opening import version as schema_of
from controller.record.schema import APPLICATIONS, JOURNAL, LEASES, METADATA, REPLICAS, SEQ, VERSION
from controller.record.sqlite import ASIDE, RESTORING, File, restoring, url_of
from controller.record.store import Store
from controller.record.upgrades import upgrade

if TYPE_CHECKING:
    from controller.record.postgres import Server

FORMAT: Final = 1
AT_ONCE: Final = 500
"""Rows per statement."""
_KEPT_BY_SQLITE: Final = ("-journal", "-wal", "-shm")
"""What SQLite adds to a database's name to call the files that it keeps beside it."""
_TABLES: Final = tuple(table for table in METADATA.sorted_tables if table is not REPLICAS)

Check = Callable[[Store], None]
"""Whether a store is whole; RecordError if not."""


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A file that was read through, and is what was written."""

    path: Path
    schema: str
    seq: int
    """The last journal row."""
    at: str
    rows: int

    def lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Table and columns of each row, in an order in which they can be written."""
        with gzip.open(self.path, "rt", encoding="utf-8") as file:
            next(file)
            for line in file:
                told = json.loads(line)
                if "table" in told:
                    yield told["table"], told["row"]


def take(store: Store, path: Path, check: Check) -> Backup:
    """Write a store down, restore it elsewhere, check that, and only then name the file.

    A store that is in use stays so. `BackupUnusable`, if the file cannot be written, or would be
    one of the store's own.
    """
    try:
        _see_file(path)
        partial = path.with_name(path.name + ".partial")
        _see_apart(store, path, partial)
        try:
            with _standing_still(store) as connection:
                _write(connection, partial)
            found = read(partial)
            with TemporaryDirectory(prefix=f"{path.name}.", dir=path.absolute().parent) as folder:
                _made(found, Path(folder) / "headgate.db", check)
            partial.replace(path)
            _sync(path.absolute().parent)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise BackupUnusable(f"{path} cannot be written: {error.strerror or error}") from error
    return Backup(path=path, schema=found.schema, seq=found.seq, at=found.at, rows=found.rows)


def _see_apart(store: Store, *paths: Path) -> None:
    """See that none of the files that a backup writes is one of the store's, by whatever name."""
    if store.shared:
        return
    for path in paths:
        if _belongs(path, store.path):
            raise BackupUnusable(
                f"the store {store.place.name} would be harmed by a backup in {paths[0]}: {path} "
                "belongs to that store. Nothing was written: name another file"
            )


def _belongs(path: Path, store: Path) -> bool:
    """Whether a path leads to a store's file, or to one that stands beside it for its sake."""
    real = Path(os.path.realpath(path))
    if real.parent == store.parent and _named_for(store, real):
        return True
    if not real.exists():
        return False
    beside = store.parent.glob(f"{glob.escape(store.name)}*")
    return any(_named_for(store, one) and one.exists() and one.samefile(real) for one in beside)


def _named_for(store: Path, path: Path) -> bool:
    """Whether a file of the store's folder has a name that the store needs; it need not exist."""
    if not path.name.startswith(store.name):
        return False
    end = path.name.removeprefix(store.name)
    own = path in (store, lock_file(store))
    return own or end in _KEPT_BY_SQLITE or end.startswith((ASIDE, RESTORING))


def _see_file(path: Path) -> None:
    """See that a name is a file's, or nobody's.

    A device or a folder would give way to a backup; a pipe can be read once, and a backup is read
    once to be checked, and once more to be restored.
    """
    if path.exists() and not path.is_file():
        raise BackupUnusable(f"{path} is no file, and a backup is one: name a file")


def read(path: Path) -> Backup:
    """Read a backup through; `BackupUnusable` for what is none, or is damaged."""
    digest, rows, tail = hashlib.sha256(), 0, None
    try:
        _see_file(path)
        with gzip.open(path, "rb") as file:
            first = file.readline()
            head = json.loads(first)
            if head.get("headgate_backup") != FORMAT:
                raise BackupUnusable(f"{path} is no backup that this Headgate can read")
            digest.update(first)
            for line in file:
                if line.startswith(b'{"rows"'):
                    # Nothing follows, and to see that is to see the sums that gzip ends with, too.
                    tail = None if file.read(1) else json.loads(line)
                    break
                digest.update(line)
                rows += 1
    except (gzip.BadGzipFile, zlib.error, EOFError, ValueError, AttributeError) as error:
        raise BackupUnusable(f"{path} is no backup, or is damaged: name another one") from error
    except OSError as error:
        raise BackupUnusable(f"{path} cannot be read: {error.strerror or error}") from error
    if tail != {"rows": rows, "sha256": digest.hexdigest()}:
        raise BackupUnusable(f"{path} is not whole, or was changed: name another backup")
    if head["schema"] > VERSION:
        raise BackupUnusable(
            f"{path} was written by a later Headgate (schema {head['schema']}, this one knows "
            f"{VERSION}): restore it with that version"
        )
    return Backup(path=path, schema=head["schema"], seq=head["seq"], at=head["at"], rows=rows)


def restore(backup: Backup, url: str, check: Check, *, replace: bool) -> Path | None:
    """Make a store of a backup, whole or not at all; where the file that was there is now.

    `StoreHeld`, if a daemon works on it. `StoreUnusable`, if what is there would be lost: it has
    more than the backup, or another history, and `replace` does not say that this is wanted.
    """
    place = place_of(url)
    if not isinstance(place, File):
        _into_server(backup, place, url, check, replace=replace)
        return None
    with place.hold():
        if not replace:
            _refuse_loss(backup, url, place)
        made, there = restoring(place.path), place.path.exists()
        try:
            _made(backup, made, check)
            return _put_aside(place.path, made)
        except OSError as error:
            raise StoreUnusable(
                f"the store {place.name} cannot be replaced: {error.strerror}"
            ) from error
        finally:
            # Where the store was put aside and nothing took its place, this keeps a daemon from
            # beginning an empty record.
            if place.path.exists() or not there:
                made.unlink(missing_ok=True)


def _refuse_loss(backup: Backup, url: str, place: Place) -> None:
    """See that everything that is there is in the backup too."""
    if isinstance(place, File) and not place.path.exists():
        return
    remedy = "with --replace it is put aside" if isinstance(place, File) else "--replace drops it"
    try:
        last, row = _end_of(url)
    except StoreUnusable as error:
        if place.shared and isinstance(error, AnotherPrograms):
            raise
        empty = "no Headgate store yet" in str(error)
        if empty:
            return
        raise StoreUnusable(f"{error}; nothing was restored: {remedy}") from error
    if last > backup.seq:
        raise StoreUnusable(
            f"the store {place.name} is newer than {backup.path}: its journal ends with seq "
            f"{last}, the backup's with {backup.seq}. What came between would be lost, so nothing "
            f"was restored: {remedy}"
        )
    if row is not None and row != _same_row(backup, last):
        raise StoreUnusable(
            f"the store {place.name} has another history than {backup.path}: nothing was restored; "
            f"{remedy}"
        )


def _end_of(url: str) -> tuple[int, dict[str, Any] | None]:
    """A store's last number, and the journal's row of it."""
    with closing(Store(url, create=False)) as store, store.reading() as connection:
        last = counter(connection, SEQ)
        query = select(JOURNAL).where(JOURNAL.c.seq == last)
        with _legible(JOURNAL):
            found = connection.execute(query).mappings().first()
    return last, None if found is None else dict(found)


def _same_row(backup: Backup, seq: int) -> dict[str, Any] | None:
    rows = (row for table, row in backup.lines() if table == JOURNAL.name and row["seq"] == seq)
    return next(rows, None)


@contextmanager
def _standing_still(store: Store) -> Iterator[Connection]:
    """A store at one moment, for as long as it takes to write it down; others go on writing."""
    if store.shared:
        with store.reading() as connection:
            from controller.record.postgres import without_limits  # noqa: PLC0415

            without_limits(connection)
            yield connection
        return
    # A reader keeps SQLite's writers waiting: it reads a copy, which is made in one go.
    with TemporaryDirectory(prefix="headgate-", dir=store.path.absolute().parent) as folder:
        copy = Path(folder) / "headgate.db"
        with (
            told(store.place),
            closing(sqlite3.connect(store.path)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            _copied(source, target, store)
        still = Store(url_of(copy), create=False)
        try:
            with still.reading() as connection:
                yield connection
        finally:
            still.close()


def _copied(source: sqlite3.Connection, target: sqlite3.Connection, store: Store) -> None:
    try:
        source.backup(target)
        found = [row[0] for row in target.execute("PRAGMA integrity_check")]
    except sqlite3.Error as error:
        why = store.place.sentence(error) or str(error)
        raise StoreUnusable(f"the store {store.place.name} cannot be copied: {why}") from error
    if found != ["ok"]:
        raise StoreUnusable(
            f"the store {store.place.name} is damaged ({found[0]}): restore an earlier backup"
        )


def _write(connection: Connection, path: Path) -> None:
    if (found := schema_of(connection)) != VERSION:
        raise BackupUnusable(
            f"the store has schema {found}, of which this Headgate knows {VERSION} only: take the "
            "backup with the version that wrote it"
        )
    seq = connection.execute(select(func.coalesce(func.max(JOURNAL.c.seq), 0))).scalar_one()
    at = datetime.now(UTC).isoformat(timespec="seconds")
    digest, rows = hashlib.sha256(), 0
    # For its owner only, as the store is.
    number = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(number, "wb") as raw:
        with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6, filename="") as file:

            def put(line: dict[str, Any]) -> None:
                told = json.dumps(line).encode("ascii") + b"\n"
                digest.update(told)
                file.write(told)

            put({"headgate_backup": FORMAT, "schema": VERSION, "seq": seq, "at": at})
            for table in _TABLES:
                query = select(table).order_by(*table.primary_key.columns)
                streamed = connection.execution_options(yield_per=AT_ONCE).execute(query)
                with _legible(table):
                    for row in streamed.mappings():
                        put({"table": table.name, "row": dict(row)})
                        rows += 1
            tail = {"rows": rows, "sha256": digest.hexdigest()}
            file.write(json.dumps(tail).encode("ascii") + b"\n")
        raw.flush()
        os.fsync(raw.fileno())


@contextmanager
def _legible(table: Table) -> Iterator[None]:
    """Tell of a row that nobody can read, as a sentence."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise StoreUnusable(
            f"the table {table.name} of the store is damaged, as a row cannot be understood "
            f"({type(error).__name__}): restore an earlier backup with `headgate restore`"
        ) from error


def _made(backup: Backup, path: Path, check: Check) -> None:
    """A new file that holds what the backup does, checked."""
    path.unlink(missing_ok=True)
    place = File(url_of(path))
    place.prepare(create=True)
    engine = place.engine(lambda: datetime.now(UTC))
    options = place.options(writes=True)
    try:
        with told(place), engine.connect().execution_options(**options) as connection:
            with connection.begin():
                _fill(backup, connection)
            found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
            assert found == ["ok"], found
    finally:
        engine.dispose()
    _checked(url_of(path), check)


def _checked(url: str | URL, check: Check) -> None:
    store = Store(url, create=False)
    try:
        check(store)
    finally:
        store.close()


def _fill(backup: Backup, connection: Connection) -> None:
    """Make the tables as the backup's Headgate had them, fill them, bring them up to date."""
    upgrade(connection, backup.schema)
    tables = MetaData()
    tables.reflect(connection)
    for table in tables.tables.values():
        for column in table.columns:
            if isinstance(column.type, JSON):
                column.type = JSON(none_as_null=True)
    connection.execute(tables.tables["counters"].delete())
    for name, lines in groupby(backup.lines(), key=lambda line: line[0]):
        while rows := [row for _, row in islice(lines, AT_ONCE)]:
            connection.execute(insert(tables.tables[name]), rows)
    upgrade(connection, VERSION)


def _into_server(
    backup: Backup, server: "Server", url: str, check: Check, *, replace: bool
) -> None:
    """Replace what is in the database, in one transaction."""
    if not replace:
        _refuse_loss(backup, url, server)
    # Nothing is dropped for what is not whole.
    with TemporaryDirectory(prefix="headgate-") as folder:
        _made(backup, Path(folder) / "headgate.db", check)
    engine = server.engine(lambda: datetime.now(UTC))
    options = server.options(writes=True)
    try:
        with (
            told(server),
            engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            server.queue_for_migrations(connection)
            epochs = _cleared(connection, server)
            _fill(backup, connection)
            _go_on_counting(connection, epochs)
    finally:
        engine.dispose()
    _checked(url, check)


def _cleared(connection: Connection, server: "Server") -> dict[str, int]:
    """Drop a record that nobody works on; the epochs that it gave, which must not come again.

    Of whatever schema, and damaged too: what is there is asked. `AnotherPrograms` is not dropped.
    """
    recognised(server, connection)
    tables = inspect(connection).get_table_names()
    if REPLICAS.name in tables:
        locked = ", ".join(one.name for one in (REPLICAS, APPLICATIONS) if one.name in tables)
        connection.execute(text(f"LOCK TABLE {locked} IN ACCESS EXCLUSIVE MODE"))
        if holder := anyone(connection):
            raise StoreHeld(
                f"the store {server.name} is in use by the replica {holder}: stop all replicas "
                "first"
            )
    epochs = dict[str, int]()
    if LEASES.name in tables:
        query = select(LEASES.c.application, LEASES.c.epoch)
        epochs = dict(connection.execute(query).tuples().all())
    _drop(connection)
    return epochs


def _drop(connection: Connection) -> None:
    METADATA.drop_all(connection)
    connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
    for name in ("headgate_now", "headgate_refuse"):
        connection.execute(text(f"DROP FUNCTION IF EXISTS {name}()"))


def _go_on_counting(connection: Connection, epochs: dict[str, int]) -> None:
    """Numbers that PostgreSQL gives out follow those that were restored; so do epochs."""
    for name in ("releases", "calls"):
        last = f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name}"  # noqa: S608
        connection.execute(text(f"{last} HAVING max(id) IS NOT NULL"))
    for application, epoch in epochs.items():
        connection.execute(
            text(
                "INSERT INTO leases (application, replica, epoch) VALUES (:application, NULL, "
                ":epoch) ON CONFLICT (application) DO UPDATE SET replica = NULL, "
                "epoch = greatest(leases.epoch, excluded.epoch)"
            ),
            {"application": application, "epoch": epoch},
        )


def _put_aside(path: Path, made: Path) -> Path | None:
    """Let the new file take the old one's place, together with what SQLite keeps beside it."""
    aside, there = _free(path), path.exists()
    # The file goes first: without its journal, half a transaction would stay in its place.
    if there:
        path.replace(aside)
    # A transaction that a crash cut off belongs to the old file, and must not reach the new: that
    # file may be lost, and its journal not.
    if _journal_of(path).exists():
        _journal_of(path).replace(_journal_of(aside))
    made.replace(path)
    _sync(path.absolute().parent)
    return aside if there else None


def _free(path: Path) -> Path:
    """A name to put a file aside under, which no other has.

    Nor has a journal its name: one that a restore left which was cut off, or a person who deleted
    its file, would be taken for this one's, and undo what it does not know.
    """
    ends = (ASIDE if number == 1 else f"{ASIDE}-{number}" for number in count(1))
    asides = (path.with_name(path.name + end) for end in ends)
    taken = os.path.lexists
    return next(one for one in asides if not taken(one) and not taken(_journal_of(one)))


def _journal_of(path: Path) -> Path:
    """Where SQLite keeps what undoes a transaction that is cut off."""
    return path.with_name(path.name + "-journal")


def _sync(folder: Path) -> None:
    """Let the folder's names reach the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
