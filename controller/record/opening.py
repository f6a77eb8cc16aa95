"""Opening a store's file: its settings, its schema, and its errors put into sentences."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from controller.record.errors import StoreUnusable
from controller.record.schema import VERSION
from controller.record.times import micros

BUSY_MILLISECONDS = 5000
WRITES = "headgate_writes"
"""Execution option of a connection that is going to write."""

_CONDITIONS = {
    "SQLITE_FULL": "the disk is full: free some space; nothing was lost, and the daemon goes on",
    "SQLITE_READONLY": "it is read-only: give this user the right to write it and its directory",
    "SQLITE_NOTADB": "it is not a Headgate store: name another file in HEADGATE_STORE",
    "SQLITE_CANTOPEN": "it cannot be opened: its directory must exist, and this user may use it",
    "SQLITE_PERM": "this user may not use it: change its owner or its permissions",
    "SQLITE_AUTH": "this user may not use it: change its owner or its permissions",
    "SQLITE_IOERR": "the disk fails to read or write: check the disk and the space left on it",
    "SQLITE_CORRUPT": "it is damaged: restore a backup with `headgate restore`",
    "SQLITE_BUSY": (
        f"another process has kept it locked for {BUSY_MILLISECONDS // 1000} s: "
        "end that process, or wait for it"
    ),
}


def store_path(url: str) -> Path:
    """The file that a store's URL names; anything but a SQLite file is refused with a sentence."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreUnusable(
            f"{url!r} is not a store's URL: write one like sqlite:///headgate.db"
        ) from error
    if parsed.get_backend_name() != "sqlite":
        raise StoreUnusable(
            f"a store in {parsed.get_backend_name()} is not supported yet; PostgreSQL arrives in a "
            "later version: until then, use a file, like sqlite:///headgate.db"
        )
    if not parsed.database or parsed.database == ":memory:":
        raise StoreUnusable("a store in memory forgets: name a file, like sqlite:///headgate.db")
    return Path(parsed.database)


def open_engine(path: Path, clock: Callable[[], datetime], *, create: bool) -> Engine:
    """Connect to the store's file with the settings that its promises rest on."""
    _ensure_file(path, create=create)
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _connected(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        assert isinstance(connection, sqlite3.Connection), connection
        # SQLAlchemy begins transactions by the event below, not the driver at its own discretion.
        connection.isolation_level = None
        connection.create_function("headgate_now", 0, lambda: micros(clock()))
        for pragma in (
            f"busy_timeout = {BUSY_MILLISECONDS}",
            # Not WAL: before SQLite 3.51.3, two processes that write can reset and corrupt it.
            "journal_mode = DELETE",
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _began(connection: Connection) -> None:
        # A reader that becomes a writer fails at once, whatever the timeout: writers say so first.
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def migrate(engine: Engine) -> None:
    """Bring the store to this code's schema, in one transaction; a current one is left alone."""
    with engine.connect() as connection, connection.begin():
        if _version(connection) == VERSION:
            return
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        found = _known(engine, connection)
        if found != VERSION:
            _upgrade(connection)


def check(engine: Engine) -> None:
    """See whether a store can be read as it is: looking at one must not change it."""
    with engine.connect() as connection, connection.begin():
        found = _known(engine, connection)
        if found is None:
            raise StoreUnusable(
                f"{engine.url.database} is no Headgate store yet: start the daemon, or name "
                "another file"
            )
        if found != VERSION:
            raise StoreUnusable(
                f"{engine.url.database} was written by an earlier Headgate (schema {found}, this "
                f"one reads {VERSION}): start this daemon on it once, which brings it up to date, "
                "or read the log with --logs"
            )


def _known(engine: Engine, connection: Connection) -> str | None:
    """The schema of a store; None for an empty file. StoreUnusable for what is none of ours."""
    found = _version(connection)
    if found is None and inspect(connection).get_table_names():
        raise StoreUnusable(
            f"{engine.url.database} is a database of another program: "
            "name another file in HEADGATE_STORE"
        )
    if found is not None and found > VERSION:
        raise StoreUnusable(
            f"{engine.url.database} was written by a later Headgate (schema {found}, this one "
            f"knows {VERSION}): run that version, or restore an earlier backup"
        )
    return found


def _upgrade(connection: Connection) -> None:
    # Imported late: commands that only read a current store need no migration tool.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("path_separator", "os")
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _ensure_file(path: Path, *, create: bool) -> None:
    if path.exists():
        return
    if not create:
        raise StoreUnusable(
            f"there is no store at {path}: name the daemon's with --store or HEADGATE_STORE"
        )
    try:
        # For its owner only: it tells what is served where.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreUnusable(
            f"the store {path} cannot be created ({error.strerror}): "
            "its directory must exist, and this user may write to it"
        ) from error


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Put the file's troubles into sentences; what is a bug of ours stays as it is."""
    try:
        yield
    except DBAPIError as error:
        sentence = _sentence(error.orig)
        if sentence is None:
            raise
        raise StoreUnusable(f"the store {path} cannot be used: {sentence}") from error


def _sentence(error: BaseException | None) -> str | None:
    name = getattr(error, "sqlite_errorname", "")
    return next((said for code, said in _CONDITIONS.items() if name.startswith(code)), None)
