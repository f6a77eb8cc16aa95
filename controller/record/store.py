"""The store: what was decided, written down in one transaction before anything is done."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock as ThreadLock
from threading import RLock
from typing import Literal

from sqlalchemy import URL, Connection, Select, and_, bindparam, or_, select, update

from controller.record import words
from controller.record.asking import Via
from controller.record.budget import Budget
from controller.record.errors import OrderRefused, StoreUnusable, Unreadable
from controller.record.leases import Lease, prove
from controller.record.lines import Line, application_state, rendered, unreadable_state
from controller.record.loading import (
    Known,
    Loaded,
    after,
    counter,
    legible,
    load_application,
    now,
    understood,
)
from controller.record.lock import Lock
from controller.record.opening import check, place_of, told
from controller.record.orders import answer, give, wish
from controller.record.redaction import clean
from controller.record.schema import (
    APPLICATIONS,
    CALLS,
    COUNTERS,
    JOURNAL,
    PRINTED,
    RELEASES,
    SEQ,
)
from controller.record.sqlite import File
from controller.record.times import moment
from controller.record.upgrades import migrate
from controller.record.writing import (
    append,
    event_row,
    move_calls,
    write_application,
    write_calls,
    write_minutes,
    write_releases,
)
from states.machine import State
from states.plan import Call, Event, Plan
from states.release import Order
from states.setup import Setup
from states.spec import Spec

PAGE = 500
"""Journal rows per read: a reader that lingers would keep writers waiting."""
# Made once, as those of `loading`: every pass asks these.
_GOING_HOME = or_(
    RELEASES.c.order_ == Order.ABORT.value, RELEASES.c.state == State.ROLLED_BACK.value
)
_SHUT = and_(
    RELEASES.c.state == State.CANARY.value,
    RELEASES.c.settled.is_(False),
    RELEASES.c.body["shut"].as_boolean(),
)
_LIVE = select(RELEASES.c.application).where(RELEASES.c.live).order_by(RELEASES.c.application)
_HOMEWARD = _LIVE.where(_GOING_HOME)
_URGENT = _LIVE.where(or_(_GOING_HOME, _SHUT))
_JOURNAL = (
    select(JOURNAL).where(JOURNAL.c.seq > bindparam("after")).order_by(JOURNAL.c.seq).limit(PAGE)
)
_CURSOR = (
    update(COUNTERS)
    .where(COUNTERS.c.name == PRINTED, COUNTERS.c.value < bindparam("printed"))
    .values(value=bindparam("printed"))
)


def utc_now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Committed:
    """What a commit wrote: journal rows, and as many of the calls as there was room for."""

    seqs: tuple[int, ...]
    calls: tuple[int, ...]
    as_of_seq: int
    """The last journal row at this commit: the record is told up to here."""


class Store:
    """Every application, its releases, and the journal of all that changed.

    In a SQLite file, or in PostgreSQL. Threads share a store, and so do processes: of a file one
    daemon at a time is the holder; the replicas of a `shared` store take leases. The clock is a
    file's only: PostgreSQL has its own.
    """

    def __init__(
        self, url: str | URL, *, clock: Callable[[], datetime] | None = None, create: bool = True
    ) -> None:
        self.place = place_of(url)
        self.shared = self.place.shared
        assert clock is None or not self.shared, "the time of a shared store is its database's"
        # Threads of one process queue here: SQLite's own queue is a poll without order.
        self._writing = nullcontext() if self.shared else RLock()
        self._reopening = ThreadLock()
        self._printed: int | None = None
        self._followed = False
        self._known: dict[str, Known] = {}
        with told(self.place):
            self.place.prepare(create=create)
            self._engine = self.place.engine(clock or utc_now)
            try:
                migrate(self._engine, self.place) if create else check(self._engine, self.place)
            except BaseException:
                self._engine.dispose()
                raise

    @property
    def path(self) -> Path:
        """The file of a store that is one."""
        assert isinstance(self.place, File), "a shared store is no file"
        return self.place.path

    def close(self) -> None:
        """Close all connections; how far the log was printed is written down first."""
        try:
            # Where it cannot be, some lines are printed twice: readers know them by their `seq`.
            with suppress(StoreUnusable):
                if self._printed is not None:
                    with self.writing() as connection:
                        self._save_cursor(connection)
        finally:
            self._engine.dispose()

    def now(self) -> datetime:
        """The store's time: the one clock by which durations are told."""
        with self.reading() as connection:
            return moment(now(connection))

    def hold_lock(self) -> Lock | ExitStack:
        """Hold the store as its only daemon, until the lock is closed or the process ends.

        `StoreHeld`, if another does. Of a shared store nothing is held: see `leases`.
        """
        return self.place.hold()

    def load(self, name: str, spec: Spec | None = None, *, whole: bool = True) -> Loaded:
        """An application with the releases that matter; an unknown one is fresh, not adopted.

        Without a spec, it has what the store knows of it: enough for reading and for orders. Not
        `whole`, it comes without its endpoint's minutes unless a release is live: enough for a
        glance, and without a day's rows.
        """
        with self.reading() as connection:
            known = self._known.get(name, Known())
            # Replaced whole, so that a concurrent load never sees half of it.
            with understood(name):
                loaded, self._known[name] = load_application(
                    connection, name, spec, known, whole=whole
                )
            return loaded

    def applications(self) -> tuple[str, ...]:
        """The names of all applications in the record."""
        return self._names(select(APPLICATIONS.c.name).order_by(APPLICATIONS.c.name))

    def versions(self) -> dict[str, set[str]]:
        """The versions that each application has releases of; of a new one none."""
        names = {name: set[str]() for name in self.applications()}
        with self.reading() as connection:
            for name, version in connection.execute(
                select(RELEASES.c.application, RELEASES.c.version).distinct()
            ):
                names[name].add(version)
        return names

    def homeward(self) -> tuple[str, ...]:
        """The applications whose users are to go home: aborted, or rolled back and not home yet."""
        return self._names(_HOMEWARD)

    def urgent(self) -> tuple[str, ...]:
        """Those, and the ones whose gate was shut and not seen so yet: users are taken from it."""
        return self._names(_URGENT)

    def _names(self, query: Select[tuple[str]]) -> tuple[str, ...]:
        with self.reading() as connection:
            return tuple(connection.execute(query).scalars())

    def under_way(self) -> dict[str, str]:
        """The live release of each application that has one, by name."""
        query = select(RELEASES.c.application, RELEASES.c.version).where(RELEASES.c.live)
        with self.reading() as connection:
            found = connection.execute(query.order_by(RELEASES.c.application)).tuples()
            return {name: f"{name}/{version}" for name, version in found}

    def states(self, names: Collection[str] | None = None, *, every: bool = False) -> list[Line]:
        """Every application's heartbeat at one moment: what `status` is read from.

        One whose record cannot be understood has a sentence in place of its releases. `names`: of
        these alone. `every`: with all releases that matter still, and not only the shown ones.
        """
        seq, found = self._at_once(names)
        return [
            unreadable_state(name, one, seq)
            if isinstance(one, str)
            else application_state(one.application, seq, every=every)
            for name, one in found.items()
        ]

    def everything(self) -> dict[str, Loaded | str]:
        """Every application at one moment, by name; a sentence for one that cannot be understood.

        Without minutes, and quick: what has not changed since it was last read is not read again.
        """
        return self._at_once()[1]

    def _at_once(self, names: Collection[str] | None = None) -> tuple[int, dict[str, Loaded | str]]:
        query = select(APPLICATIONS.c.name, APPLICATIONS.c.row).order_by(APPLICATIONS.c.name)
        with self.reading() as connection:
            seq = counter(connection, SEQ)
            rows = connection.execute(query).tuples().all()
            wanted = [one for one in rows if names is None or one[0] in names]
            return seq, {name: self._glanced(connection, name, row) for name, row in wanted}

    def _glanced(self, connection: Connection, name: str, row: int) -> Loaded | str:
        """An application as of its row; whoever changes anything of it raises that."""
        known = self._known.get(name, Known())
        if known.loaded is not None and known.loaded.row == row:
            return known.loaded
        try:
            with understood(name):
                loaded, self._known[name] = load_application(
                    connection, name, None, known, whole=False
                )
        except Unreadable as error:
            return str(error)
        return loaded

    def commit(
        self,
        loaded: Loaded,
        plan: Plan,
        calls: Sequence[Call] = (),
        lease: Lease | None = None,
        budget: Budget | None = None,
    ) -> Committed:
        """Write a plan down in one transaction, or nothing at all.

        Of the calls, the first ones that the budget has room for, if one is given. `Conflict`, if
        the record changed or an order was given since it was loaded; `LeaseLost`, if the lease
        that is given is not held any more, or none is given, and another has one.
        """
        assert plan.application.name == loaded.application.name, "a plan of another application"
        assert lease is None or lease.application == plan.application.name, "another's lease"
        # In a file, no other thread asks the budget before what was granted here is counted.
        with self._writing:
            with self.writing() as connection:
                if lease is not None or self.shared:
                    prove(connection, plan.application.name, lease)
                write_application(connection, loaded, plan.application)
                write_minutes(connection, loaded.application.minutes, plan.application)
                write_releases(connection, loaded, plan.application)
                move_calls(connection, loaded, plan.application)
                rows = [event_row(event, plan.application) for event in plan.events]
                seqs = append(connection, rows)
                if budget is not None:
                    back = plan.application.taking_back
                    calls = budget.granted(connection, calls, back=back)
                sent = write_calls(connection, plan.application, calls, lease)
                self._save_cursor(connection)
            if budget is not None:
                budget.sent(calls[: len(sent)])
        name = plan.application.name
        known = self._known.get(name, Known())
        self._known[name] = replace(known, loaded=after(loaded, plan.application))
        as_of_seq = seqs[-1] if seqs else loaded.as_of_seq
        return Committed(seqs=seqs, calls=sent, as_of_seq=as_of_seq)

    def settle_call(
        self, call: int, outcome: Literal["done", "refused", "unsent"], because: str
    ) -> None:
        """Write down what became of a call; one whose outcome stays unknown stays open."""
        change = (
            update(CALLS).where(CALLS.c.id == call).values(outcome=outcome, because=clean(because))
        )
        with self.writing() as connection:
            assert connection.execute(change).rowcount == 1, f"there is no call {call}"

    def withdraw(
        self, application: str, calls: Mapping[int, tuple[Literal["refused", "unsent"], str]]
    ) -> None:
        """Write down of an application's calls that they were not sent, what that is, and why.

        One that is settled is left; so is one that is not there, as after an older backup.
        """
        with self.writing() as connection:
            for call, (outcome, because) in calls.items():
                connection.execute(
                    update(CALLS)
                    .where(CALLS.c.id == call, CALLS.c.application == application)
                    .where(CALLS.c.outcome == "open")
                    .values(outcome=outcome, because=clean(because))
                )

    def give_order(  # noqa: PLR0913 - an order has this many parts
        self,
        application: str,
        version: str | None,
        order: Order,
        actor: str,
        reason: str,
        *,
        via: Via = "store",
    ) -> str:
        """Write an operator's order down; the sentence tells what was done.

        Without a version: of the live release, else of the newest that waits. Giving the same
        order twice is giving it once. `OrderRefused`, where there is nothing to order.
        """
        with self.writing() as connection:
            return give(connection, application, version, order, actor, reason, via)

    def give_answer(
        self,
        application: str,
        word: Literal["adopt", "revert"],
        actor: str,
        reason: str,
        *,
        via: Via = "store",
    ) -> str:
        """Write down a person's answer to a change by others; the sentence tells what was done.

        Giving the same answer twice is giving it once. `OrderRefused`, where nothing is to be
        answered, or the answer cannot be done.
        """
        with self.writing() as connection:
            return answer(connection, application, word, actor, reason, via)

    def approve(
        self,
        application: str,
        version: str | None,
        actor: str,
        reason: str,
        *,
        via: Via = "store",
    ) -> str:
        """Write down a person's approval of what a release asks; the sentence tells what was done.

        Approving twice is approving once. `OrderRefused`, where nothing waits for it.
        """
        with self.writing() as connection:
            return words.approve(connection, application, version, actor, reason, via)

    def promote(  # noqa: PLR0913 - as above
        self,
        application: str,
        version: str | None,
        actor: str,
        reason: str,
        *,
        override: bool = False,
        via: Via = "store",
    ) -> str:
        """Write down that the next step is to be opened, or the bake ended, now.

        `OrderRefused`, where there is no next step, or it lacks proof and nothing overrides that.
        """
        with self.writing() as connection:
            return words.promote(connection, application, version, actor, reason, override, via)

    def begin(  # noqa: PLR0913 - as above
        self,
        application: str,
        version: str | None,
        verb: Literal["release", "retry"],
        actor: str,
        reason: str,
        *,
        via: Via = "store",
    ) -> str:
        """Write down another attempt at a version; without one, at what was rolled back last.

        `OrderRefused`, where it is under way or stable already, or there is nothing to retry.
        """
        with self.writing() as connection:
            if verb == "retry":
                return words.retry(connection, application, version, actor, reason, via)
            if version is None:
                raise OrderRefused(f"name the version to release: {application}/VERSION")
            return words.begin(connection, application, version, verb, actor, reason, via)

    def undo(self, application: str, actor: str, reason: str, *, via: Via = "store") -> str:
        """Write down that users go back to the version that was stable before.

        `OrderRefused`, where none is known, or users are on their way home already.
        """
        with self.writing() as connection:
            return words.undo(connection, application, actor, reason, via)

    def give_wish(
        self, application: str, setup: Setup, actor: str, reason: str, *, via: Via = "store"
    ) -> str:
        """Write down that the running version is to be set up so; the sentence tells what was done.

        `OrderRefused`, while a release is under way or anything is held, or before the first.
        """
        with self.writing() as connection:
            return wish(connection, application, setup, actor, reason, via)

    def note(self, event: Event) -> int:
        """Journal something about the daemon itself, that belongs to no application."""
        assert event.release is None, "a release's events are committed with it"
        with self.writing() as connection:
            return append(connection, [event_row(event, None)])[0]

    def journal(
        self, after: int = 0, application: str | None = None, release: str | None = None
    ) -> Iterator[Line]:
        """The journal as log lines, in order, from the row that follows `after`.

        Of one application, or of one release of it, if they are named. `Unreadable`, where nobody
        can understand a row.
        """
        query = _JOURNAL
        if application is not None:
            query = query.where(JOURNAL.c.application == application)
        if release is not None:
            query = query.where(JOURNAL.c.release == release)
        while True:
            what = f"the journal of this store after seq {after}"
            with legible(what, "until then releases go on, and their log does not"):
                with self.reading() as connection:
                    found = connection.execute(query, {"after": after}).mappings().all()
                lines = [rendered(dict(row)) for row in found]
            yield from lines
            if len(found) < PAGE:
                return
            after = found[-1]["seq"]

    def recent(self, application: str, count: int, *, without: str) -> list[Line]:
        """An application's last lines, the newest first, but for one kind of event."""
        query = (
            select(JOURNAL)
            .where(JOURNAL.c.application == application, JOURNAL.c.event != without)
            .order_by(JOURNAL.c.seq.desc())
            .limit(count)
        )
        with self.reading() as connection:
            found = connection.execute(query).mappings().all()
        return [rendered(dict(row)) for row in found]

    def last_seq(self) -> int:
        """The number of the last journal row; 0 while there is none."""
        with self.reading() as connection:
            return counter(connection, SEQ)

    def printed(self) -> int:
        """The last journal row known to be printed, by this replica or by another."""
        if self._printed is not None and not self._followed:
            return self._printed
        with self.reading() as connection:
            return max(counter(connection, PRINTED), self._printed or 0)

    def mark_printed(self, seq: int) -> None:
        """Remember how far the log was printed; it is written with the next transaction.

        A crash before that prints some lines twice: readers know them by their `seq`.
        """
        self._printed, self._followed = seq, False

    def forget(self) -> None:
        """Read everything anew: while this replica was away, anything may have happened."""
        self._known.clear()
        self._printed = None

    def others_print(self) -> None:
        """Another replica may print from here on: the store knows how far, once it has written."""
        self._followed = True

    def _save_cursor(self, connection: Connection) -> None:
        if self._printed is not None:
            connection.execute(_CURSOR, {"printed": self._printed})

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one moment, and changes nothing."""
        return self._transaction(writes=False)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write: all of it happens, or nothing."""
        with self._writing, self._transaction(writes=True) as connection:
            yield connection

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        if self.place.replaced():
            self._reopen()
        options = self.place.options(writes=writes)
        with (
            told(self.place),
            self._engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            yield connection

    def _reopen(self) -> None:
        """Go on with another file of the same name, which has to be a store: a backup put back."""
        with self._reopening, told(self.place):
            if not self.place.replaced():
                return
            self._engine.dispose()
            try:
                check(self._engine, self.place)
            except BaseException:
                # No connection to the wrong file may be left for when the right one is back.
                self._engine.dispose()
                raise
            self.forget()
            self.place.prepare(create=False)
