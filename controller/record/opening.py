"""Opening a store: where it is, its schema, and its errors put into sentences."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from controller.record.errors import StoreUnusable
from controller.record.schema import VERSION
from controller.record.sqlite import File

if TYPE_CHECKING:
    from controller.record.postgres import Server

Place: TypeAlias = "File | Server"
"""Where a store is."""


def place_of(url: str) -> Place:
    """What a store's URL names; what can be no store is refused with a sentence."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        # It may hold a password, and is not repeated; neither is the error's own text.
        raise StoreUnusable(
            "HEADGATE_STORE is not a store's URL: write one like sqlite:///headgate.db, or "
            "postgresql://user@host/database"
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


def migrate(engine: Engine, place: Place, *, to: str = VERSION) -> None:
    """Bring the store to a schema, in one transaction; a current one is left alone."""
    reads, writes = (place.options(writes=writes) for writes in (False, True))
    with engine.connect().execution_options(**reads) as connection, connection.begin():
        if version(connection) == to:
            return
    with engine.connect().execution_options(**writes) as connection, connection.begin():
        place.queue_for_migrations(connection)
        if known(place, connection) != to:
            upgrade(connection, to)


def check(engine: Engine, place: Place) -> None:
    """See whether a store can be read as it is: looking at one must not change it."""
    options = place.options(writes=False)
    with engine.connect().execution_options(**options) as connection, connection.begin():
        found = known(place, connection)
        if found is None:
            raise StoreUnusable(
                f"{place.name} is no Headgate store yet: start the daemon, or name another one"
            )
        if found != VERSION:
            raise StoreUnusable(
                f"{place.name} was written by an earlier Headgate (schema {found}, this "
                f"one reads {VERSION}): start this daemon on it once, which brings it up to date, "
                "or read the log with --logs"
            )


def known(place: Place, connection: Connection) -> str | None:
    """The schema of a store; None for an empty one. StoreUnusable for what is none of ours."""
    found = version(connection)
    if found is None and inspect(connection).get_table_names():
        remedy = "database, or a schema of its own," if place.shared else "file"
        raise StoreUnusable(
            f"{place.name} is a database of another program: name another {remedy} in "
            "HEADGATE_STORE"
        )
    if found is not None and found > VERSION:
        raise StoreUnusable(
            f"{place.name} was written by a later Headgate (schema {found}, this one "
            f"knows {VERSION}): run that version, or restore an earlier backup"
        )
    return found


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


def upgrade(connection: Connection, to: str) -> None:
    """Run the migrations up to a schema, within the caller's transaction."""
    # Imported late: commands that only read a current store need no migration tool.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("path_separator", "os")
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)


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
    except DBAPIError as error:
        sentence = place.sentence(error.orig) if error.orig is not None else None
        if sentence is None:
            raise
        raise StoreUnusable(f"the store {place.name} cannot be used: {sentence}") from error
