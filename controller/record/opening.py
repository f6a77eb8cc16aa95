"""Opening a store: where it is, its schema, and its errors put into sentences."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import URL, Connection, Engine, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoResultFound
from sqlalchemy.exc import TimeoutError as PoolExhausted

from controller.record.errors import AnotherPrograms, StoreUnusable
from controller.record.schema import COUNTERS, METADATA, TOLERATED, VERSION
from controller.record.sqlite import File

if TYPE_CHECKING:
    from controller.record.postgres import Server

Place: TypeAlias = "File | Server"
"""Where a store is."""

_REVISION = re.compile(r"\d{4}")
"""What a schema of Headgate's is called, of this and of any later version."""


def place_of(url: str | URL) -> Place:
    """What a store's URL names; what can be no store is refused with a sentence."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        # It may hold a password, and is not repeated; neither is the error's own text.
        raise StoreUnusable(
            "what --store or HEADGATE_STORE names is not a store's URL: write one "
            "like sqlite:///headgate.db, or postgresql://user@host/database"
        ) from error
    backend, _, driver = parsed.drivername.partition("+")
    if backend == "sqlite":
        return File(parsed)
    if backend in ("postgresql", "postgres") and driver in ("", "psycopg"):
        # Its driver takes longer to import than a file takes to open.
        from controller.record.postgres import Server  # noqa: PLC0415

        return Server(parsed)
    raise StoreUnusable(
        f"a store in {parsed.drivername} is not supported: use a file, like "
        "sqlite:///headgate.db, or PostgreSQL, like postgresql://user@host/database"
    )


def check(engine: Engine, place: Place) -> None:
    """See whether a store can be read as it is: looking at one must not change it."""
    options = place.options(writes=False)
    with engine.connect().execution_options(**options) as connection, connection.begin():
        found = known(place, connection)
        if found is None:
            raise StoreUnusable(
                f"{place.name} is no Headgate store yet: start the daemon, or name another one"
            )
        if found < VERSION:
            raise StoreUnusable(
                f"{place.name} was written by an earlier Headgate (schema {found}, this "
                f"one reads {VERSION}): start this daemon on it once, which brings it up to date, "
                "or read the log with --logs"
            )


def known(place: Place, connection: Connection) -> str | None:
    """The schema of a store that this code may work on; None for an empty one. Else StoreUnusable.

    A later one may be worked on if it says so: see `upgrades`.
    """
    found = recognised(place, connection)
    if found is not None and found > VERSION and not _tolerated(connection, found):
        raise StoreUnusable(
            f"{place.name} was written by a later Headgate (schema {found}, this one "
            f"knows {VERSION}): run that version, or restore an earlier backup"
        )
    return found


def recognised(place: Place, connection: Connection) -> str | None:
    """The schema of a store, whatever this code makes of it; None for an empty one.

    `AnotherPrograms`, if it is none of Headgate's.
    """
    found = version(connection)
    tables = inspect(connection).get_table_names()
    if tables and (found is None or not _ours(connection, found, tables)):
        remedy = "database, or a schema of its own," if place.shared else "file"
        raise AnotherPrograms(
            f"{place.name} is a database of another program: name another {remedy} in "
            "HEADGATE_STORE"
        )
    return found


def _ours(connection: Connection, found: str, tables: Sequence[str]) -> bool:
    """Whether a schema is Headgate's: other programs keep theirs by Alembic, too."""
    if _REVISION.fullmatch(found) is None:
        return False
    if COUNTERS.name in tables:
        columns = {one["name"] for one in inspect(connection).get_columns(COUNTERS.name)}
        return columns >= set(COUNTERS.columns.keys())
    # Of a damaged store what is left is ours, with nothing of anybody else's beside it.
    return {*METADATA.tables, "alembic_version"}.issuperset(tables)


def _tolerated(connection: Connection, found: str) -> bool:
    """Whether a later Headgate's store lets this one go on: it says so, and is asked each time."""
    said = select(COUNTERS.c.value).where(COUNTERS.c.name == TOLERATED + found)
    oldest = connection.execute(said).scalar()
    return oldest is not None and oldest <= int(VERSION)


def schema(place: Place) -> str | None:
    """The schema of a store that can be written, without writing to it; None for an empty one."""
    place.prepare(create=False)
    engine = place.engine(lambda: datetime.now(UTC))
    options = place.options(writes=True)
    try:
        with told(place), engine.connect().execution_options(**options) as connection:
            connection.begin()
            return known(place, connection)
    finally:
        engine.dispose()


def version(connection: Connection) -> str | None:
    """The schema that a store says it has; None if it says nothing."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


@contextmanager
def told(place: Place) -> Iterator[None]:
    """Put the store's troubles into sentences; what is a bug of ours stays as it is."""
    try:
        yield
    except PoolExhausted as error:
        raise StoreUnusable(
            f"the store {place.name} cannot be used: all connections to it are busy"
        ) from error
    except NoResultFound as error:
        # A counter, as a rule: what is asked for so is there for as long as the store is.
        raise StoreUnusable(
            f"the store {place.name} cannot be used: it is damaged, as rows of its tables are gone:"
            " restore a backup with `headgate restore`"
        ) from error
    except DBAPIError as error:
        sentence = place.sentence(error.orig) if error.orig is not None else None
        if sentence is None:
            raise
        raise StoreUnusable(f"the store {place.name} cannot be used: {sentence}") from error
