"""Stores of other versions: forward by themselves, back by a person's word, and side by side.

**Expand, then contract.** A version of Headgate changes what is stored in one of two ways:

- It *expands* it: new tables, new columns that may be empty or have a default, new fields at the
  top of a release's or an application's body, with a default. `schema.OLDEST` stays. Code of before
  goes on beside it, restarts included: it ignores what is new, and keeps it as it is in what it
  writes.
- It *contracts* it, or gives what is there another meaning, or decides by something that code of
  before would not honour: OLDEST is raised to VERSION, with a revision of its own. A store is
  brought there only while nobody works on it, and code of before refuses it from then on.

So what is to be removed is left unused by one version, and removed by a later one. A name that was
given up is never used again: what older code wrote under it is still there.

Forward happens at the start of a daemon, in one transaction. Back is `headgate downgrade`, which
says what the earlier schema has no place for, and does nothing unless that is to be given up.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, delete, insert, text

from controller.record.errors import StoreHeld, StoreUnusable
from controller.record.leases import anyone
from controller.record.opening import Place, known, place_of, told, version
from controller.record.schema import COUNTERS, OLDEST, TOLERATED, VERSION

if TYPE_CHECKING:
    from alembic.config import Config

REPLICATED = "0003"
"""The first schema with replicas."""
_FORGET = delete(COUNTERS).where(COUNTERS.c.name.startswith(TOLERATED))


def migrate(engine: Engine, place: Place) -> None:
    """Bring the store to this schema, in one transaction; one that is fit for use is left alone.

    `StoreHeld`, while somebody works on it whose code would not understand what it becomes.
    """
    reads, writes = (place.options(writes=writes) for writes in (False, True))
    with engine.connect().execution_options(**reads) as connection, connection.begin():
        found = version(connection)
        if found == VERSION:
            return
    with (
        _to_itself(place, found),
        engine.connect().execution_options(**writes) as connection,
        connection.begin(),
    ):
        place.queue_for_migrations(connection)
        found = known(place, connection)
        if found is not None and found >= VERSION:
            return
        if found is not None and found < OLDEST:
            _see_nobody(connection, place, found)
        upgrade(connection, VERSION)


def _to_itself(place: Place, found: str | None) -> AbstractContextManager[object]:
    """Of a file that a daemon of before works on nothing is changed under its hands."""
    return ExitStack() if found is None or found > VERSION else place.hold()


def _see_nobody(connection: Connection, place: Place, found: str) -> None:
    """No replica works on a shared store, and none begins before this transaction has ended."""
    if not place.shared or found < REPLICATED:
        return
    connection.execute(text("LOCK TABLE replicas, applications IN ACCESS EXCLUSIVE MODE"))
    if holder := anyone(connection):
        raise StoreHeld(
            f"the store {place.name} (schema {found}) is in use by the replica {holder}, which "
            "does not know another schema: stop all replicas of that version first"
        )


def upgrade(connection: Connection, to: str) -> None:
    """Run the migrations up to a schema, within the caller's transaction."""
    # Imported late: commands that only read a current store need no migration tool.
    from alembic import command  # noqa: PLC0415

    command.upgrade(_config(connection), to)
    if to == VERSION:
        connection.execute(_FORGET)
        connection.execute(insert(COUNTERS).values(name=TOLERATED + VERSION, value=int(OLDEST)))


def _config(connection: Connection) -> "Config":
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("path_separator", "os")
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def downgrade(url: str, to: str, *, discard: bool) -> str:
    """Bring a store that nobody works on back to an earlier schema; a sentence tells what was done.

    `StoreUnusable`, if that would lose anything and nothing says that this is wanted; `StoreHeld`,
    if a daemon works on it. What it does happens in one transaction, or not at all.
    """
    place = place_of(url)
    place.prepare(create=False)
    with _alone(place) as connection:
        found = known(place, connection)
        _check_way(place, found, to)
        assert found is not None, "an empty one was refused"
        if found == to:
            return f"{place.name} has schema {to} already: nothing was changed"
        _see_nobody(connection, place, found)
        lost = list(_lost(connection, found, to))
        if lost and not discard:
            raise StoreUnusable(
                f"schema {to} has no place for this of {place.name}: {'; '.join(lost)}. Nothing "
                "was changed: take a backup, then say --discard to give it up"
            )
        from alembic import command  # noqa: PLC0415

        connection.execute(_FORGET)
        command.downgrade(_config(connection), to)
    gone = f"; given up: {'; '.join(lost)}" if lost else ", and nothing was lost"
    return f"{place.name} has schema {to} now, for the Headgate that wrote that{gone}"


@contextmanager
def _alone(place: Place) -> Iterator[Connection]:
    """A transaction on a store that no daemon holds."""
    engine = place.engine(lambda: datetime.now(UTC))
    options = place.options(writes=True)
    try:
        with (
            place.hold(),
            told(place),
            engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            place.queue_for_migrations(connection)
            yield connection
    finally:
        engine.dispose()


def _check_way(place: Place, found: str | None, to: str) -> None:
    steps = [f"{number:04}" for number in range(1, int(VERSION) + 1)]
    if to not in steps:
        raise StoreUnusable(f"there is no schema {to}: name one of {', '.join(steps)}")
    if found is None:
        raise StoreUnusable(f"{place.name} is no Headgate store yet: there is nothing to go back")
    if found > VERSION:
        raise StoreUnusable(
            f"{place.name} has schema {found}, which this Headgate does not know the way back "
            "from: use the `headgate downgrade` of the version that wrote it"
        )
    if found < to:
        raise StoreUnusable(
            f"{place.name} has schema {found}, which is earlier: `headgate run` of that version "
            "brings it forward"
        )


def _lost(connection: Connection, found: str, to: str) -> Iterator[str]:
    """What the schemas on the way back have no place for, a phrase each."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    scripts = ScriptDirectory.from_config(_config(connection))
    for script in scripts.iterate_revisions(found, to):
        yield from script.module.lost(connection)
