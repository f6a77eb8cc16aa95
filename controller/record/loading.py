"""Reading an application from the store: the releases that still matter, and what they cost."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from sys import intern

from sqlalchemy import (
    BigInteger,
    Connection,
    RowMapping,
    and_,
    bindparam,
    cast,
    func,
    or_,
    select,
)

from controller.record import codec
from controller.record.errors import Unreadable
from controller.record.schema import APPLICATIONS, BLOCKS, CALLS, COUNTERS, MINUTES, RELEASES, SEQ
from controller.record.times import MICROSECOND, micros, moment
from policies.evidence import Block
from policies.fuse import DAY, Minute
from states.attempt import MEMORY, Attempt
from states.machine import State
from states.release import Application, Order, Release
from states.spec import Spec

RECENT_VERSIONS = 20
"""Versions whose newest attempt is loaded whatever became of it."""

Mark = tuple[str, int]
"""Version and attempt: a release within its application."""
Blocks = dict[int, tuple[Block, ...]]
"""Blocks by the id of their release."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What was read of an application and never changes: it need not be read again."""

    blocks: Blocks = field(default_factory=dict)
    minutes: tuple[Minute, ...] = ()
    """Of an application with a live release: a day of every idle one would fill the memory."""
    loaded: "Loaded | None" = None
    """The whole of it, good for as long as the application's row has this version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A release's row as it was loaded: the fence of the next write."""

    id: int
    row: int
    order: Order
    unknown: codec.Row = field(default_factory=dict)
    """Fields of another version's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """An application as the store had it at one moment."""

    application: Application
    row: int
    """The application's row version; 0 if the store does not know it yet."""
    releases: Mapping[Mark, Seen]
    as_of_seq: int
    """The last journal row at that moment."""
    now: datetime
    """That moment, on the store's clock."""
    stored: tuple[str, str, str | None] | None = None
    """Model, endpoint and alias as the store has them."""
    unknown: codec.Row = field(default_factory=dict)
    """Fields of another version's."""


def mark(release: Release) -> Mark:
    """What tells a release from the others of its application."""
    return release.version, release.attempt


@contextmanager
def legible(what: str, then: str) -> Iterator[None]:
    """Tell of rows that nobody can read, as a sentence: what they are, and what goes on then."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(
            f"{what} cannot be understood ({type(error).__name__}): restore a backup with "
            f"`headgate restore`; {then}"
        ) from error


def understood(name: str) -> AbstractContextManager[None]:
    """The same of one application's rows."""
    return legible(f"the record of {name} in this store", "the other applications go on")


def load_application(
    connection: Connection, name: str, spec: Spec | None, known: Known, *, whole: bool = True
) -> tuple[Loaded, Known]:
    """Read an application within one transaction, and what to remember of it for the next time.

    Not `whole`: an application without a live release comes without its endpoint's minutes.
    """
    seq, at, version = connection.execute(_GLANCE, {"name": name}).one()
    then = moment(at)
    if version is None:
        fresh = Application(name=name, spec=spec or Spec(model="", endpoint=""))
        return Loaded(application=fresh, row=0, releases={}, as_of_seq=seq, now=then), Known()
    had = known.loaded
    if had is not None and had.row == version:
        # Whoever changes anything but a call's outcome raises the row: it need not be read again.
        minutes = had.application.minutes
        if whole and had.application.live is None:
            minutes = _minutes(connection, name, ())
        attempts = _attempts(connection, had.application, at)
        same = replace(had.application, spec=spec or _spec(had), attempts=attempts, minutes=minutes)
        return replace(had, application=same, as_of_seq=seq, now=then), known
    row = connection.execute(_APPLICATION, {"name": name}).mappings().one()
    application = codec.application_of(row, spec)
    rows = _release_rows(connection, application)
    blocks = _blocks(connection, [one["id"] for one in rows], known.blocks)
    releases = [codec.release_of(one, blocks[one["id"]]) for one in rows]
    application = replace(
        application,
        watermark=max(application.watermark, _left_behind(connection, name)),
        releases=tuple(sorted(releases, key=lambda one: (int(one.version), one.attempt))),
        attempts=_attempts(connection, application, at),
    )
    live = application.live is not None
    if whole or live:
        minutes = _minutes(connection, name, known.minutes)
        application = replace(application, minutes=minutes)
    seen = {
        (one["version"], one["attempt"]): Seen(
            id=one["id"],
            row=one["row"],
            order=Order(one["order_"]),
            unknown=codec.unknown(one, Release),
        )
        for one in rows
    }
    loaded = Loaded(
        application=application,
        row=row["row"],
        releases=seen,
        as_of_seq=seq,
        now=then,
        # Of thousands of applications each name is there once, wherever it was read.
        stored=(
            intern(row["model"]),
            intern(row["endpoint"]),
            row["alias"] and intern(row["alias"]),
        ),
        unknown=codec.unknown(row, Application),
    )
    if live:
        return loaded, Known(blocks=blocks, minutes=application.minutes, loaded=loaded)
    return loaded, Known(blocks=blocks, loaded=_idle(loaded))


def after(loaded: Loaded, application: Application) -> Loaded | None:
    """What loading it again would give after a commit; None where it has to be read."""
    before = loaded.application
    had = {mark(release): release for release in before.releases}
    # Which releases are read hangs on these.
    same = (
        had.keys() == {mark(release) for release in application.releases}
        and (before.stable, before.unproven) == (application.stable, application.unproven)
        and before.former == application.former
        and loaded.row > 0
    )
    if not same:
        return None
    releases = {
        mark(one): replace(seen, row=seen.row + 1) if one != had[mark(one)] else seen
        for one in application.releases
        if (seen := loaded.releases[mark(one)])
    }
    spec = application.spec
    stored = (spec.model, spec.endpoint, spec.alias)
    # Only operators write these: a commit leaves them as they are.
    application = replace(application, answer=before.answer, wish=before.wish)
    again = replace(
        loaded, application=application, row=loaded.row + 1, releases=releases, stored=stored
    )
    return again if application.live else _idle(again)


def _idle(loaded: Loaded) -> Loaded:
    """What is kept of an application without a live release: all but a day of minutes."""
    return replace(loaded, application=replace(loaded.application, minutes=()))


def _spec(had: Loaded) -> Spec:
    assert had.stored is not None, "it was read from a row"
    model, endpoint, alias = had.stored
    return Spec(model=model, endpoint=endpoint, alias=alias)


def counter(connection: Connection, name: str) -> int:
    """The value of a counter."""
    return int(connection.execute(_COUNTER, {"name": name}).scalar_one())


def now(connection: Connection) -> int:
    """The store's time in microseconds: a function of the database, not of this process."""
    return int(connection.execute(_NOW).scalar_one())


def _release_rows(connection: Connection, application: Application) -> Sequence[RowMapping]:
    named = (application.stable, application.former, application.unproven)
    serving = [version for version in named if version]
    if application.change is not None and application.change.serving is not None:
        # A person may adopt any of them, however old: as one more attempt.
        serving += [one.version for one in application.change.serving.shares.values()]
    given = {"name": application.name, "serving": serving}
    return connection.execute(_RELEASES, given).mappings().all()


def _left_behind(connection: Connection, name: str) -> int:
    """The highest version that is too old to be loaded whatever became of it; 0 if none is.

    It joins the watermark, or a version that is known, but not loaded, would look new for ever.
    """
    return int(connection.execute(_LEFT_BEHIND, {"name": name}).scalar() or 0)


def _blocks(connection: Connection, ids: Sequence[int], known: Blocks) -> Blocks:
    """Each release's blocks; only those are read that were not read before."""
    counts = dict(connection.execute(_COUNTED, {"ids": ids}).tuples().all())
    read = {id_: known.get(id_, ()) for id_ in ids}
    fresh: dict[int, list[Block]] = defaultdict(list)
    behind = [
        and_(BLOCKS.c.release == id_, BLOCKS.c.number > len(blocks))
        for id_, blocks in read.items()
        if counts.get(id_, 0) > len(blocks)
    ]
    if behind:
        query = select(BLOCKS).where(or_(*behind)).order_by(BLOCKS.c.release, BLOCKS.c.number)
        for row in connection.execute(query).mappings():
            fresh[row["release"]].append(codec.block_of(row))
    return {id_: (*blocks, *fresh.get(id_, ())) for id_, blocks in read.items()}


def _minutes(connection: Connection, name: str, known: tuple[Minute, ...]) -> tuple[Minute, ...]:
    """The endpoint's minutes of the last day; only those are read that were not read before."""
    since = micros(known[-1].ends_at) if known else 0
    fresh = [
        Minute(ends_at=moment(ends_at), requests=requests, errors=errors)
        for ends_at, requests, errors in connection.execute(_MINUTES, {"name": name, "at": since})
    ]
    return (*known, *fresh)[-DAY:]


def _attempts(connection: Connection, application: Application, now: int) -> tuple[Attempt, ...]:
    """The calls of the last while, and those that no look has seen yet, however long that is."""
    since = now - MEMORY // MICROSECOND
    if application.looked_at is not None:
        since = min(since, micros(application.looked_at))
    return tuple(
        Attempt(
            kind=row.kind,
            target=row.target,
            at=moment(row.at),
            outcome=row.outcome,
            over=row.base_config_version,
            id=row.id,
        )
        for row in connection.execute(_CALLS, {"name": application.name, "since": since})
    )


# Made once: to build a statement takes longer than to run it.
_NOW = select(func.headgate_now())
_COUNTER = select(COUNTERS.c.value).where(COUNTERS.c.name == bindparam("name"))
_GLANCE = select(
    select(COUNTERS.c.value).where(COUNTERS.c.name == SEQ).scalar_subquery(),
    func.headgate_now(),
    select(APPLICATIONS.c.row).where(APPLICATIONS.c.name == bindparam("name")).scalar_subquery(),
)
_APPLICATION = select(APPLICATIONS).where(APPLICATIONS.c.name == bindparam("name"))
_CALLS = (
    select(
        CALLS.c.kind,
        CALLS.c.target,
        CALLS.c.at,
        CALLS.c.outcome,
        CALLS.c.base_config_version,
        CALLS.c.id,
    )
    .where(
        CALLS.c.application == bindparam("name"),
        CALLS.c.at >= bindparam("since"),
        # No attempt: how soon to try again is a matter of its endpoint's backoff alone.
        CALLS.c.outcome != "unsent",
    )
    .order_by(CALLS.c.id)
)
_MINUTES = (
    select(MINUTES.c.ends_at, MINUTES.c.requests, MINUTES.c.errors)
    .where(MINUTES.c.application == bindparam("name"), MINUTES.c.ends_at > bindparam("at"))
    .order_by(MINUTES.c.ends_at)
)
_VERSION = cast(RELEASES.c.version, BigInteger)
_LEFT_BEHIND = (
    select(_VERSION)
    .where(RELEASES.c.application == bindparam("name"))
    .distinct()
    .order_by(_VERSION.desc())
    .offset(RECENT_VERSIONS)
    .limit(1)
)
_COUNTED = (
    select(BLOCKS.c.release, func.count())
    .where(BLOCKS.c.release.in_(bindparam("ids", expanding=True)))
    .group_by(BLOCKS.c.release)
)
_NEWEST = (
    select(RELEASES.c.version, func.max(RELEASES.c.attempt).label("attempt"))
    .where(RELEASES.c.application == bindparam("name"))
    .group_by(RELEASES.c.version)
    .order_by(_VERSION.desc())
    .limit(RECENT_VERSIONS)
    .subquery()
)
_RELEASES = (
    select(RELEASES)
    .outerjoin(
        _NEWEST,
        and_(RELEASES.c.version == _NEWEST.c.version, RELEASES.c.attempt == _NEWEST.c.attempt),
    )
    .where(
        RELEASES.c.application == bindparam("name"),
        or_(
            _NEWEST.c.version.is_not(None),
            RELEASES.c.live,
            RELEASES.c.retained,
            RELEASES.c.state == State.REGISTERED.value,
            RELEASES.c.version.in_(bindparam("serving", expanding=True)),
        ),
    )
)
