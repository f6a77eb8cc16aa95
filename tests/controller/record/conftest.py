"""Both kinds of stores: what one promises, the other promises too."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from controller.record.store import Store
from tests.controller.postgres import DatabaseClock, Postgres
from tests.controller.record.making import Clock

Rows = list[tuple[object, ...]]
REFUSED = (sqlite3.IntegrityError, psycopg.IntegrityError)


@dataclass
class Home:
    """A place for one record, with a clock to turn."""

    url: str
    clock: Clock
    file: Path | None
    opened: list[Store] = field(default_factory=list)

    @property
    def shared(self) -> bool:
        """Whether it is PostgreSQL."""
        return self.file is None

    def store(self) -> Store:
        """The record opened once more, as another process would open it."""
        clock = None if self.shared else self.clock
        self.opened.append(Store(self.url, clock=clock))
        return self.opened[-1]

    def ask(self, statement: str) -> Rows:
        """What the database answers to somebody who is not Headgate."""
        if self.file is None:
            with psycopg.connect(self.url, autocommit=True) as connection:
                cursor = connection.execute(statement.encode())
                return cursor.fetchall() if cursor.description else []
        with closing(sqlite3.connect(self.file)) as file, file:
            return file.execute(statement).fetchall()


@pytest.fixture(params=["sqlite", "postgres"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    """An empty record in a file, and one in PostgreSQL."""
    if request.param == "sqlite":
        file = tmp_path / "headgate.db"
        made = Home(f"sqlite:///{file}", Clock(), file)
        yield made
    else:
        server: Postgres = request.getfixturevalue("postgres")
        url = server.url(server.database())
        clock = DatabaseClock(url)
        made = Home(url, clock, None)
        yield made
        clock.close()
    for store in made.opened:
        store.close()


@pytest.fixture
def store(home: Home) -> Store:
    return home.store()
