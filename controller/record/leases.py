"""Which replica looks after which application: leases with epochs, on the database's clock.

A replica is alive until a time that it moves on by one update; while it lives, it has what it took.
Taking an application raises its epoch, and every commit proves that the epoch is still its own: a
replica that was stopped, and wakes up late, writes nothing. That it *sends* nothing late is for its
own clock to guard, by `until`: no database can stop a call that is already on its way.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import (
    BigInteger,
    Connection,
    and_,
    bindparam,
    delete,
    func,
    insert,
    not_,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from controller.record.errors import LeaseLost, StoreHeld
from controller.record.loading import now
from controller.record.opening import known
from controller.record.schema import LEASES, RELEASES, REPLICAS
from controller.record.times import MICROSECOND
from controller.steady import steady

if TYPE_CHECKING:
    from controller.record.store import Store

PRINTER: Final = "$journal"
"""The pseudo-application whose holder prints the log."""
TTL: Final = timedelta(seconds=30)
RENEW_EVERY: Final = timedelta(seconds=5)
FORGOTTEN: Final = timedelta(days=1)
"""A replica that has been silent for this long is struck off the list."""


@dataclass(frozen=True)
class Lease:
    """The right to commit an application's changes, while its replica lives."""

    application: str
    replica: str
    epoch: int


class Leases:
    """What one replica holds; one thread renews and shares, any may read `left_s` and `until`."""

    def __init__(
        self,
        store: "Store",
        replica: str,
        ttl: timedelta = TTL,
        *,
        clock: Callable[[], float] = steady,
    ) -> None:
        self._store = store
        self.replica = replica
        self.ttl = ttl
        self._clock = clock
        self._enlisted = False
        self._sent: float | None = None

    @property
    def left_s(self) -> float:
        """Seconds for which the leases are surely still ours, on this process's own clock."""
        return max(0.0, self.until - self._clock())

    @property
    def until(self) -> float:
        """The moment of this process's own clock up to which they are; long past, if never."""
        return -math.inf if self._sent is None else self._sent + self.ttl.total_seconds()

    def living(self) -> frozenset[str]:
        """The replicas that live now, by the database's clock."""
        with self._store.reading() as connection:
            return frozenset(_living(connection, self._ttl))

    def renew(self) -> bool:
        """Live on for another `ttl`; False if it came too late, and all that was held is lost.

        The next renewal after that enlists the replica anew, with nothing in its hands.
        """
        sent = self._clock()
        with self._store.writing() as connection:
            enlisted = True
            if self._enlisted:
                mine = {"replica": self.replica, "ttl": self._ttl}
                enlisted = connection.execute(_RENEWED, mine).rowcount == 1
            else:
                self._enlist(connection)
        self._enlisted = enlisted
        self._sent = sent if enlisted else None
        return self._enlisted

    def _enlist(self, connection: Connection) -> None:
        # While this replica was away, a later Headgate may have changed the tables.
        known(self._store.place, connection)
        self._store.forget()
        at = now(connection)
        _strike_off(connection, at)
        row = select(REPLICAS.c.until).where(REPLICAS.c.name == self.replica)
        until = connection.execute(row.with_for_update()).scalar()
        if until is not None and at < until <= at + 2 * self._ttl:
            raise StoreHeld(
                f"another replica is named {self.replica}, and lives: give each its own name, or "
                f"wait {(until - at) // 1_000_000 + 1} s until it is known to be gone"
            )
        mine = REPLICAS.c.name == self.replica
        connection.execute(delete(REPLICAS).where(mine))
        times = {"until": at + self._ttl, "started_at": at}
        try:
            connection.execute(insert(REPLICAS).values(name=self.replica, **times))
        except IntegrityError as error:
            raise StoreHeld(
                f"another replica is named {self.replica}, and began at the same moment: give each "
                "its own name"
            ) from error
        # A namesake of before is gone: what it held is free, and is taken with a new epoch.
        held = LEASES.c.replica == self.replica
        connection.execute(update(LEASES).where(held).values(replica=None))

    def share(self, names: Iterable[str], busy: Collection[str] = ()) -> Mapping[str, Lease]:
        """What is held after taking a fair share of what is free, and giving back what is over.

        Nothing is given back that is `busy` or has a live release. The printer's lease comes
        beside the share: whoever finds it free takes it. Nothing at all, if the replica lapsed.
        """
        wanted = sorted({*names, PRINTER})
        with self._store.writing() as connection:
            living = _living(connection, self._ttl)
            if self.replica not in living:
                return {}
            rows = _rows(connection, wanted)
            _end(connection, {holder for holder, _ in rows.values() if holder} - living, self._ttl)
            mine = {name for name, (holder, _) in rows.items() if holder == self.replica}
            free = [name for name, (holder, _) in rows.items() if holder not in living]
            fair = math.ceil((len(wanted) - 1) / len(living))
            room = fair - len(mine - {PRINTER})
            chosen = [name for name in free if name != PRINTER][: max(room, 0)]
            if PRINTER in free:
                chosen.append(PRINTER)
            epochs = {name: rows[name][1] for name in mine}
            epochs |= self._take(connection, chosen)
            if room < 0:
                for name in self._give(connection, sorted(mine - {PRINTER, *busy}), -room):
                    del epochs[name]
        return {name: Lease(name, self.replica, epoch) for name, epoch in sorted(epochs.items())}

    def give_back(self) -> None:
        """Let others take over at once: what a clean stop does."""
        with self._store.writing() as connection:
            held = LEASES.c.replica == self.replica
            connection.execute(update(LEASES).where(held).values(replica=None))
            connection.execute(delete(REPLICAS).where(REPLICAS.c.name == self.replica))
        self._enlisted, self._sent = False, None

    def _take(self, connection: Connection, names: Sequence[str]) -> dict[str, int]:
        """Take those that are still free once their rows are locked; none that a commit locks."""
        if not names:
            return {}
        locked = (
            select(LEASES.c.application, LEASES.c.replica)
            .where(LEASES.c.application.in_(names))
            .order_by(LEASES.c.application)
            .with_for_update(skip_locked=True)
        )
        holders = dict(connection.execute(locked).tuples().all())
        # Who lives is asked again: whoever enlisted before we had the rows may have them.
        living = _living(connection, self._ttl)
        free = [name for name, holder in holders.items() if holder not in living]
        change = (
            update(LEASES)
            .where(LEASES.c.application.in_(free))
            .values(replica=self.replica, epoch=LEASES.c.epoch + 1)
            .returning(LEASES.c.application, LEASES.c.epoch)
        )
        return dict(connection.execute(change).tuples().all())

    def _give(self, connection: Connection, names: Sequence[str], number: int) -> list[str]:
        query = select(RELEASES.c.application).where(RELEASES.c.live)
        live = set(connection.execute(query).scalars())
        given = [name for name in names if name not in live][:number]
        ours = LEASES.c.application.in_(given) & (LEASES.c.replica == self.replica)
        connection.execute(update(LEASES).where(ours).values(replica=None))
        return given

    @property
    def _ttl(self) -> int:
        return self.ttl // MICROSECOND


def prove(connection: Connection, application: str, lease: Lease | None) -> None:
    """Within the caller's transaction: the lease is held; LeaseLost if not.

    Whoever wants to take it waits until that transaction has ended. None proves something only
    where nobody has a lease of the application.
    """
    if lease is None:
        of = select(LEASES.c.replica).where(LEASES.c.application == application)
        holder = connection.execute(of.with_for_update(read=True)).scalar()
        if holder is not None:
            raise LeaseLost(f"{application} is {holder}'s: without a lease nothing was written")
        return
    if connection.execute(_PROOF, asdict(lease)).first() is None:
        raise LeaseLost(
            f"{lease.application} is no longer {lease.replica}'s (epoch {lease.epoch}): "
            "nothing was written, and whoever has it now looks after it"
        )


def anyone(connection: Connection) -> str | None:
    """The name of a living replica, if there is one."""
    return connection.execute(select(func.min(REPLICAS.c.name)).where(_LIVES)).scalar()


def _living(connection: Connection, ttl: int) -> set[str]:
    """Who is alive, by name. `ttl` is in microseconds.

    A time further off than anybody sets it was set before the clock was set back. Who lives moves
    it within seconds; who died would be waited for until the clock has caught up, maybe for a day.
    """
    return set(connection.execute(_LIVING, {"ttl": ttl}).scalars())


def _end(connection: Connection, lapsed: Collection[str], ttl: int) -> None:
    """Strike off holders that lapsed, before anything of theirs is taken.

    On a clock that is set back they would live again, and send until they look who holds what. A
    renewal at the same time comes first, and is left alone, or finds nothing to renew.
    """
    if lapsed:
        ended = delete(REPLICAS).where(REPLICAS.c.name.in_(lapsed), not_(_ALIVE))
        connection.execute(ended, {"ttl": ttl})


def _rows(connection: Connection, names: Sequence[str]) -> dict[str, tuple[str | None, int]]:
    """Holder and epoch of each; those that were never taken are written down as free."""
    rows = connection.execute(_LEASED).tuples()
    found = {name: (holder, epoch) for name, holder, epoch in rows}
    fresh = [name for name in names if name not in found]
    if fresh:
        added = text(
            "INSERT INTO leases (application, replica, epoch) VALUES (:name, NULL, 0) "
            "ON CONFLICT DO NOTHING"
        ).bindparams(bindparam("name"))
        connection.execute(added, [{"name": name} for name in fresh])
    return {name: found.get(name, (None, 0)) for name in names}


def _strike_off(connection: Connection, at: int) -> None:
    """Forget replicas that have been gone for long."""
    gone = REPLICAS.c.until < at - FORGOTTEN // MICROSECOND
    connection.execute(delete(REPLICAS).where(gone))


# Made once, as those of `loading`: a replica asks this every few seconds, and at every commit.
_NOW = func.headgate_now()
_TTL = bindparam("ttl", type_=BigInteger)
_LIVES = REPLICAS.c.until > _NOW
_ALIVE = and_(_LIVES, REPLICAS.c.until <= _NOW + 2 * _TTL)
_LIVING = select(REPLICAS.c.name).where(_ALIVE)
_RENEWED = (
    update(REPLICAS)
    .where(REPLICAS.c.name == bindparam("replica"), _LIVES)
    .values(until=_NOW + _TTL)
)
_LEASED = select(LEASES.c.application, LEASES.c.replica, LEASES.c.epoch)
_PROOF = (
    select(LEASES.c.epoch)
    .join(REPLICAS, REPLICAS.c.name == LEASES.c.replica)
    .where(
        LEASES.c.application == bindparam("application"),
        LEASES.c.replica == bindparam("replica"),
        LEASES.c.epoch == bindparam("epoch"),
        _LIVES,
    )
    .with_for_update(read=True, of=LEASES)
)
