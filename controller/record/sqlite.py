"""A store in a SQLite file: one process at a time, durable settings, errors put into sentences."""

import os
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from controller.record.errors import StoreUnusable
from controller.record.lock import Lock
from controller.record.times import micros

BUSY_MILLISECONDS = 5000
WRITES = "headgate_writes"
"""Execution option of a connection that is going to write."""

RESTORING: Final = ".restoring"
"""What a file is called, after the store's name, until a restore lets it take the store's place."""

ASIDE: Final = ".before-restore"
"""What a file that was replaced is called from then on, after its name; `-2` follows, and so on."""
_LONGEST: Final = f"{ASIDE}-99-journal"
"""The most that follows the store's name where something stands beside it."""

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
_COLUMNS_GONE = (
    "it is damaged, as columns of its tables are gone: restore a backup with `headgate restore`"
)
_WORDS = {
    # Of an SQLITE_ERROR, which says nothing by itself, and of the driver's own errors.
    "Could not decode to UTF-8": "it is damaged: restore a backup with `headgate restore`",
    "no such table": "its tables are gone: restore a backup with `headgate restore`",
    "no such column": _COLUMNS_GONE,
    "has no column named": _COLUMNS_GONE,
}

Identity = tuple[int, int]
"""Device and inode: a file that was deleted, or replaced by another, is told by it."""


def url_of(path: Path) -> URL:
    """The URL of a store in a file, whatever its name: written as text, `?` would end that."""
    return URL.create("sqlite", database=str(path))


def restoring(store: Path) -> Path:
    """The file in which a restore makes what is to take a store's place."""
    return store.with_name(store.name + RESTORING)


class File:
    """The file that a store's URL names: the file itself, whatever links lead to it.

    Its lock, SQLite's journal and what a restore puts aside stand beside it, named after it: all of
    these, and whoever comes by another way, must mean the same file.
    """

    shared = False
    """One daemon works on it: others are refused."""

    def __init__(self, url: URL) -> None:
        if not url.database or url.database == ":memory:":
            raise StoreUnusable(
                "a store in memory forgets: name a file, like sqlite:///headgate.db"
            )
        if url.host or url.query:
            # Another file than the one that is meant would be made, and forgotten with its folder.
            raise StoreUnusable(
                "what --store or HEADGATE_STORE says of a file is more than its path: write "
                "sqlite:/// and the path, which begins with a slash of its own if it is a whole "
                "one (sqlite:////var/lib/headgate/headgate.db), and has no ? in it"
            )
        self.name = str(Path(url.database))
        self._named = str(Path(url.database).absolute())
        self.path = Path(os.path.realpath(url.database))
        self._opened: Identity | None = None
        self._see_names()

    def _see_names(self) -> None:
        """See that the store can have its name, and what stands beside it a longer one."""
        if not self.path.name:
            raise StoreUnusable(f"the store {self.name} is a folder: name a file in it")
        try:
            # What a restore makes stands beside the store only until it has the store's name.
            os.lstat(f"{str(self.path).removesuffix(RESTORING)}{_LONGEST}")
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise StoreUnusable(
                f"the store {self.name} cannot be used ({error.strerror}): its directory must be "
                f"one that this user may use, and take a file of its name and {_LONGEST}, as a "
                "restore makes it: name another file in HEADGATE_STORE"
            ) from error

    def prepare(self, *, create: bool) -> None:
        """See that there is a file, or make it; what is opened from here on is that file."""
        if not self.path.exists():
            # An empty record is neither the one that was there, nor the one that is wanted.
            if (made := restoring(self.path)).exists():
                raise StoreUnusable(
                    f"the store {self.name} is not there, and its restore goes on or was cut off: "
                    f"wait for it, or run `headgate restore` again; to do without, remove {made}"
                )
            if not create:
                raise StoreUnusable(
                    f"there is no store at {self.name}: name the daemon's with --store or "
                    "HEADGATE_STORE"
                )
            try:
                # For its owner only: it tells what is served where.
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            except OSError as error:
                raise StoreUnusable(
                    f"the store {self.name} cannot be created ({error.strerror}): "
                    "its directory must exist, and this user may write to it"
                ) from error
        self._opened = self._identity()

    def replaced(self) -> bool:
        """Whether another file has its name by now; StoreUnusable while there is none.

        SQLite would go on writing to a file that was deleted, and all of it would be lost.
        """
        return self._identity() != self._opened

    def _identity(self) -> Identity:
        try:
            # At every transaction: twice as fast as pathlib's.
            found, own = os.stat(self._named), os.lstat(self.path)  # noqa: PTH116
        except OSError as error:
            raise StoreUnusable(
                f"the store {self.name} is gone ({error.strerror}): put it back, or restore a "
                "backup with `headgate restore`; until then nothing is decided"
            ) from error
        if not os.path.samestat(found, own):
            raise StoreUnusable(
                f"the store {self.name} is not {self.path} any more, which was opened: it was "
                "moved, or a symbolic link leads elsewhere: put it back, or start again; until "
                "then nothing is decided"
            )
        return found.st_dev, found.st_ino

    def engine(self, clock: Callable[[], datetime]) -> Engine:
        """Connect with the settings that the store's promises rest on."""
        # Only a file that is there: a new one in its place would be an empty record.
        address = f"file:{quote(os.fsencode(self.path))}?mode=rw"

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(address, uri=True, check_same_thread=False)

        engine = create_engine(url_of(self.path), creator=connect, hide_parameters=True)

        @event.listens_for(engine, "connect")
        def _connected(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
            assert isinstance(connection, sqlite3.Connection), connection
            # SQLAlchemy begins transactions by the event below, not the driver as it sees fit.
            connection.isolation_level = None
            connection.create_function("headgate_now", 0, lambda: micros(clock()))
            for pragma in (
                f"busy_timeout = {BUSY_MILLISECONDS}",
                # Not WAL: before SQLite 3.51.3, two processes that write can reset and corrupt it.
                "journal_mode = DELETE",
                "synchronous = FULL",
                "foreign_keys = ON",
                # In KB, of each connection: where thousands of applications are read in turn, what
                # more is kept is not found again.
                "cache_size = -512",
            ):
                connection.execute(f"PRAGMA {pragma}").close()

        @event.listens_for(engine, "begin")
        def _began(connection: Connection) -> None:
            # A reader that becomes a writer fails at once, whatever the timeout: writers say so
            # first.
            writes = connection.get_execution_options().get(WRITES, False)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

        return engine

    def options(self, *, writes: bool) -> dict[str, object]:
        """The execution options of a transaction."""
        return {WRITES: writes}

    def queue_for_migrations(self, connection: Connection) -> None:
        """Nothing to do: whoever writes has the file to itself."""

    def hold(self) -> Lock:
        """Hold the store as its only daemon.

        `StoreHeld`, if another does, by whatever path. `StoreUnusable`, if the file has several
        names (hard links): a lock, like SQLite's journal, stands beside one of them alone.
        """
        names = self.path.stat().st_nlink if self.path.is_file() else 1
        if names > 1:
            raise StoreUnusable(
                f"the store {self.name} has {names} names (hard links), and another daemon could "
                f"work on it by another one: keep one of those that `find / -xdev -samefile "
                f"{self.path}` shows"
            )
        return Lock(self.path)

    def sentence(self, error: BaseException) -> str | None:
        """What is wrong with the file; None for what is a bug of ours."""
        name = getattr(error, "sqlite_errorname", "")
        if name in ("", "SQLITE_ERROR"):
            return next((said for word, said in _WORDS.items() if word in str(error)), None)
        return next((said for code, said in _CONDITIONS.items() if name.startswith(code)), None)
