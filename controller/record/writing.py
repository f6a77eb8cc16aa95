"""The parts of a commit, each within the caller's transaction: all of it happens, or nothing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from controller.record import codec
from controller.record.errors import Conflict, Taken
from controller.record.leases import Lease
from controller.record.lines import event_fields
from controller.record.loading import Loaded, mark, now
from controller.record.schema import (
    APPLICATIONS,
    BLOCKS,
    CALLS,
    COUNTERS,
    JOURNAL,
    MINUTES,
    RELEASES,
    SEQ,
)
from controller.record.times import micros
from policies.fuse import DAY, MINUTE, Minute
from states.plan import Call, Event
from states.release import Application, Release


def write_application(connection: Connection, loaded: Loaded, application: Application) -> None:
    """Write the application's own row, if nobody else did since it was loaded."""
    spec = application.spec
    if loaded.stored != (spec.model, spec.endpoint, spec.alias):
        _check_unclaimed(connection, application)
    row = codec.application_row(application)
    row["body"] |= loaded.unknown
    if loaded.row == 0:
        exists = select(APPLICATIONS.c.name).where(APPLICATIONS.c.name == application.name)
        if connection.execute(exists).first() is not None:
            raise Conflict(f"{application.name} was first written by another meanwhile")
        with _unclaimed_still(application):
            connection.execute(insert(APPLICATIONS).values(**row, row=1))
        return
    with _unclaimed_still(application):
        fenced = {**row, "was": loaded.row, "of": application.name, "row": loaded.row + 1}
        changed = connection.execute(_UPDATE, fenced).rowcount
    if changed != 1:
        raise Conflict(f"{application.name} changed since it was loaded: nothing was written")


# Made once: to build a statement takes longer than to run it.
_UPDATE = update(APPLICATIONS).where(
    APPLICATIONS.c.name == bindparam("of"), APPLICATIONS.c.row == bindparam("was")
)


_BEGIN = insert(RELEASES).returning(RELEASES.c.id)
_CHANGE = update(RELEASES).where(
    RELEASES.c.id == bindparam("of"),
    RELEASES.c.row == bindparam("was"),
    RELEASES.c.order_ == bindparam("ordered"),
)
_RAISE = (
    update(COUNTERS)
    .where(COUNTERS.c.name == SEQ)
    .values(value=COUNTERS.c.value + bindparam("by"))
    .returning(COUNTERS.c.value)
)
_JOURNALLED = insert(JOURNAL)


@contextmanager
def _unclaimed_still(application: Application) -> Iterator[None]:
    """Another writer of a shared store may have come first since it was looked at."""
    try:
        yield
    except IntegrityError as error:
        raise Conflict(
            f"{application.name}, or its endpoint or alias, was written by another meanwhile: "
            "nothing was written"
        ) from error


def _check_unclaimed(connection: Connection, application: Application) -> None:
    spec = application.spec
    same = APPLICATIONS.c.endpoint == spec.endpoint
    if spec.alias is not None:
        same |= (APPLICATIONS.c.model == spec.model) & (APPLICATIONS.c.alias == spec.alias)
    query = select(APPLICATIONS.c.name).where(same, APPLICATIONS.c.name != application.name)
    other = connection.execute(query).scalar()
    if other is not None:
        raise Taken(
            f"{other} has the endpoint {spec.endpoint}, or the alias {spec.alias} of {spec.model}, "
            f"in this store: give {application.name} an endpoint and an alias of its own; if it "
            f"is {other} renamed, give it its old name back"
        )


def write_minutes(
    connection: Connection, known: tuple[Minute, ...], application: Application
) -> None:
    """Add the endpoint's new minutes, and remove what is over a day older than the newest.

    Of an application without a live release few minutes are known: others may be there already.
    """
    last = known[-1].ends_at if known else None
    rows = [
        {
            "application": application.name,
            "ends_at": micros(one.ends_at),
            "requests": one.requests,
            "errors": one.errors,
        }
        for one in application.minutes
        if last is None or one.ends_at > last
    ]
    if not rows:
        return
    connection.execute(_ADD_MINUTES[connection.dialect.name], rows)
    first = micros(application.minutes[-1].ends_at - DAY * MINUTE)
    connection.execute(_OLD_MINUTES, {"name": application.name, "first": first})


_ADD_MINUTES = {
    "sqlite": sqlite.insert(MINUTES).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(MINUTES).on_conflict_do_nothing(),
}
_OLD_MINUTES = delete(MINUTES).where(
    MINUTES.c.application == bindparam("name"), MINUTES.c.ends_at <= bindparam("first")
)


def write_releases(connection: Connection, loaded: Loaded, application: Application) -> None:
    """Write what changed of the releases, those first that are no longer live."""
    before = {mark(release): release for release in loaded.application.releases}
    for release in sorted(application.releases, key=lambda one: one.live):
        old = before.get(mark(release))
        if old != release:
            id_ = _write_release(connection, loaded, release)
            _write_blocks(connection, id_, old, release)


def _write_release(connection: Connection, loaded: Loaded, release: Release) -> int:
    row = codec.release_row(release)
    seen = loaded.releases.get(mark(release))
    if seen is None:
        return int(connection.execute(_BEGIN, {**row, "row": 1}).scalar_one())
    assert row.pop("order_") == seen.order, "only operators write orders"
    row["body"] |= seen.unknown
    fence = {"of": seen.id, "was": seen.row, "ordered": seen.order.value}
    if connection.execute(_CHANGE, {**row, **fence, "row": seen.row + 1}).rowcount != 1:
        raise Conflict(
            f"{release.key} changed, or an order was given, since it was loaded: "
            "nothing was written"
        )
    return seen.id


def _write_blocks(connection: Connection, id_: int, old: Release | None, release: Release) -> None:
    known = old.blocks if old else ()
    assert release.blocks[: len(known)] == known, "blocks are only ever added"
    rows = [{"release": id_, **codec.block_row(one)} for one in release.blocks[len(known) :]]
    numbers = [row["number"] for row in rows]
    assert numbers == [len(known) + 1 + index for index in range(len(rows))], numbers
    if rows:
        connection.execute(insert(BLOCKS), rows)


def event_row(event: Event, application: Application | None) -> codec.Row:
    """A journal row of an event, but its number and time."""
    release = None
    if event.release is not None:
        assert application is not None, "a release has an application"
        release = next(one for one in application.releases if mark(one) == event.release)
    return {
        "level": event.level,
        "event": event.name,
        "application": application.name if application else None,
        "release": release.key if release else None,
        "attempt": release.attempt if release else None,
        "fields": event_fields(event, application, release),
    }


def append(connection: Connection, rows: Sequence[codec.Row]) -> tuple[int, ...]:
    """Add rows to the journal; a second writer waits, so that numbers rise in commit order."""
    if not rows:
        return ()
    last = int(connection.execute(_RAISE, {"by": len(rows)}).scalar_one())
    seqs = tuple(range(last - len(rows) + 1, last + 1))
    at = now(connection)
    numbered = [{**row, "seq": seq, "at": at} for row, seq in zip(rows, seqs, strict=True)]
    connection.execute(_JOURNALLED, numbered)
    return seqs


def move_calls(connection: Connection, loaded: Loaded, application: Application) -> None:
    """Move the times of calls along with a clock that was set, or those before would be forgotten.

    What is read of them later are the last while's, by the time that they have here.
    """
    known = {one.id: one.at for one in loaded.application.attempts}
    moved = [
        {"of": one.id, "to": micros(one.at)}
        for one in application.attempts
        if known.get(one.id, one.at) != one.at
    ]
    if moved:
        connection.execute(_MOVED, moved)


def write_calls(
    connection: Connection,
    application: Application,
    calls: Sequence[Call],
    lease: Lease | None,
) -> tuple[int, ...]:
    """Write calls down as open, before any of them is sent."""
    if not calls:
        return ()
    live = application.live
    at = now(connection)
    ids: list[int] = []
    for call in calls:
        row = {
            "application": application.name,
            "release": live.key if live else None,
            "kind": call.kind,
            "target": call.target,
            "target_json": codec.call_json(call),
            "base_config_version": application.config_version,
            "at": at,
            "outcome": "open",
            "because": "",
            "epoch": lease.epoch if lease else None,
        }
        ids.append(int(connection.execute(_SENT, row).scalar_one()))
    return tuple(ids)


_MOVED = update(CALLS).where(CALLS.c.id == bindparam("of")).values(at=bindparam("to"))
_SENT = insert(CALLS).returning(CALLS.c.id)
