"""The real store on a file of its own, with a scheduling point around every transaction."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from controller.daemon.act import Actor
from controller.record.budget import Budget
from controller.record.errors import Conflict, LeaseLost, StoreUnusable
from controller.record.leases import Lease
from controller.record.loading import Loaded
from controller.record.store import Committed, Store
from states.plan import Call, Plan
from tests.simulation.promises import Promises
from tests.simulation.wire import Wire

MEMORY = Path("/dev/shm")  # noqa: S108 - a RAM disk, for folders with names of their own
"""Where files cost no disk, on Linux."""


def ram_disk() -> Path | None:
    """A folder in memory, where the machine has one; None: wherever temporary files go."""
    return MEMORY if MEMORY.is_dir() else None


def template(folder: Path) -> Path:
    """A migrated store without content, to be copied: so a run costs no migration."""
    path = folder / "template.db"
    Store(f"sqlite:///{path}").close()
    return path


def copied(template: Path, folder: Path) -> Path:
    """A new store, as the template has it."""
    path = folder / "headgate.db"
    shutil.copyfile(template, path)
    return path


class Record(Store):
    """A store as one replica has it open."""

    def __init__(
        self, path: Path, clock: Callable[[], datetime], wire: Wire, promises: Promises
    ) -> None:
        self._wire = wire
        self._promises = promises
        self.hands: Callable[[], Actor] = _none
        """What sends, for bugs that are put in."""
        super().__init__(f"sqlite:///{path}", clock=clock)
        _share(self._engine)

    def load(self, *args: object, **options: object) -> Loaded:
        loaded = super().load(*args, **options)  # type: ignore[arg-type]
        self._promises.loaded(self._wire.name)
        return loaded

    def commit(
        self,
        loaded: Loaded,
        plan: Plan,
        calls: Sequence[Call] = (),
        lease: Lease | None = None,
        budget: Budget | None = None,
    ) -> Committed:
        self._promises.committing(self._wire.name, loaded, plan, tuple(calls), lease)
        conflict = False
        try:
            committed = super().commit(loaded, plan, calls, lease, budget)
        except LeaseLost:
            self._wire.situations["commit after the lease was lost"] += 1
            raise
        except Conflict:
            conflict = True
            raise
        finally:
            self._promises.dropped(self._wire.name, conflict=conflict)
        self._wire.situations["write kept back"] += len(committed.calls) < len(calls)
        if committed.calls:
            self._wire.stall("stall_unsent", "commit", 1)
        return committed

    def die(self) -> None:
        """The process is gone: what it had open is closed, and nothing is written."""
        self._printed = None
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        self._wire.before("store.read")
        with super().reading() as connection:
            yield connection
        self._wire.after("store.read")

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        self._wire.before("store.write")
        fault = self._wire.struck("store.write", "disk_full", "store_unknown")
        with super().writing() as connection:
            if fault == "disk_full":
                _fill(connection)
            try:
                yield connection
            except DBAPIError:
                self._wire.situations["disk full"] += fault == "disk_full"
                raise
            finally:
                if fault == "disk_full":
                    _empty(connection)
        self._promises.committed(self._wire.name)
        if fault == "store_unknown":
            self._wire.situations["applied-unknown commit"] += 1
            raise StoreUnusable(f"the store {self.path} cannot be used: the disk fails")
        self._wire.after("store.write")


def _none() -> Actor:
    raise AssertionError("nothing sends yet")


_SHARED: list[Engine] = []
"""The first engine of this process, whose compiled statements serve all others."""


def _share(engine: Engine) -> None:
    """Compile each statement once for all runs: a fifth of the time would go there."""
    if not _SHARED:
        _SHARED.append(engine)
    engine.dialect = _SHARED[0].dialect
    engine._compiled_cache = _SHARED[0]._compiled_cache


def _fill(connection: Connection) -> None:
    """From here on there is no room for another page: SQLite itself says so."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.execute("PRAGMA max_page_count = 1").close()


def _empty(connection: Connection) -> None:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.execute("PRAGMA max_page_count = 1073741823").close()
