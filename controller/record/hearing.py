"""Whether a daemon will see an order that was written into the store, as far as the store tells.

An order stands until somebody obeys it. Who gives one at night must not wait for nobody.
"""

from datetime import timedelta

from sqlalchemy import Row, func, select

from controller.record.schema import JOURNAL, LEASES, REPLICAS
from controller.record.store import Store
from controller.record.times import moment

SILENT = timedelta(minutes=5)
"""While a release is live each look is written down: after so long without, nobody looks."""
WAITS = "the order waits in the store until a daemon looks after"


def unheard(store: Store, application: str) -> str | None:
    """Why no daemon will see an order for an application soon; None where one should."""
    alone = _alone(store, application)
    if alone is not None:
        return f"{alone}: {WAITS} {application}"
    known, now = store.load(application, whole=False).application, store.now()
    if known.live is None or known.looked_at is None or now - known.looked_at < SILENT:
        return None
    minutes = (now - known.looked_at) // timedelta(minutes=1)
    return f"nobody has looked at {application} for {minutes} min: {WAITS} it"


def gone(store: Store) -> str | None:
    """That no daemon runs on a store, by what daemons wrote of themselves; None: nothing says so.

    One that was killed on a store of its own has left no word of it.
    """
    if store.shared:
        living = select(REPLICAS.c.name).where(REPLICAS.c.until > func.headgate_now())
        with store.reading() as connection:
            found = connection.execute(living).first() is not None
        return None if found else "no daemon runs on this store"
    ended = _last(store, "daemon.started", "daemon.stopped")
    if ended is not None and ended.event == "daemon.stopped":
        return f"the daemon ended at {moment(ended.at):%Y-%m-%d %H:%M} UTC"
    return None


def _alone(store: Store, application: str) -> str | None:
    if store.shared:
        holder = (
            select(LEASES.c.replica)
            .join(REPLICAS, REPLICAS.c.name == LEASES.c.replica)
            .where(LEASES.c.application == application, REPLICAS.c.until > func.headgate_now())
        )
        with store.reading() as connection:
            held = connection.execute(holder).first() is not None
        return None if held else f"no daemon holds the lease of {application}"
    none = gone(store)
    if none is not None:
        return none
    loaded = _last(store, "config.loaded")
    if loaded is not None and application not in loaded.fields.get("applications", [application]):
        since = f"{moment(loaded.at):%Y-%m-%d %H:%M} UTC"
        return f"{application} is not in the configuration that the daemon loaded at {since}"
    return None


def _last(store: Store, *events: str) -> Row[tuple[str, int, dict[str, object]]] | None:
    """The newest of these rows of the journal, which belong to no application."""
    query = (
        select(JOURNAL.c.event, JOURNAL.c.at, JOURNAL.c.fields)
        .where(JOURNAL.c.application.is_(None), JOURNAL.c.event.in_(events))
        .order_by(JOURNAL.c.seq.desc())
        .limit(1)
    )
    with store.reading() as connection:
        return connection.execute(query).first()
