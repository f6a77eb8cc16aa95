"""An operator's order: written beside the release, never into it, and journalled at once."""

from dataclasses import replace

from sqlalchemy import Connection, select, update

from controller.record.errors import OrderRefused
from controller.record.loading import Known, load_application, mark
from controller.record.schema import APPLICATIONS, RELEASES
from controller.record.writing import append, event_row
from states.machine import State
from states.plan import Event
from states.release import Application, Order, Release

_DONE = {
    Order.RUN: "goes on",
    Order.PAUSE: "is paused: its exposure does not rise until `headgate resume`",
    Order.ABORT: "is aborted: it goes back with the next look",
}


def give(  # noqa: PLR0913, PLR0917 - an order has this many parts
    connection: Connection,
    application: str,
    version: str | None,
    order: Order,
    actor: str,
    reason: str,
) -> str:
    """Write an order down within the caller's transaction, and say what was done."""
    # The application's row first, as in every commit: two writers wait for each other in one order.
    row = select(APPLICATIONS.c.row).where(APPLICATIONS.c.name == application)
    connection.execute(row.with_for_update())
    loaded, _ = load_application(connection, application, None, Known())
    if loaded.row == 0:
        raise OrderRefused(f"there is no application {application} in this store")
    release = _chosen(loaded.application, version)
    if release.order is order:
        return f"{release.key} {_DONE[order]} (it was ordered before)"
    ordered = replace(release, order=order)
    changed = loaded.application.with_release(ordered)
    # Whatever pass is under way must look again, even one that writes nothing of this release.
    connection.execute(
        update(APPLICATIONS)
        .where(APPLICATIONS.c.name == application)
        .values(row=APPLICATIONS.c.row + 1)
    )
    seen = loaded.releases[mark(release)]
    connection.execute(update(RELEASES).where(RELEASES.c.id == seen.id).values(order_=order.value))
    event = Event(
        name="order.given",
        release=mark(release),
        because=reason or f"{actor} ordered {order.value}",
        fields={"actor": actor, "reason": reason},
    )
    append(connection, [event_row(event, changed)])
    return f"{release.key} {_DONE[order]}"


def _chosen(application: Application, version: str | None) -> Release:
    """The release that an order is for: the newest attempt, and one that an order can move."""
    if version is None:
        waiting = [one for one in application.releases if one.state is State.REGISTERED]
        chosen = application.live or max(
            waiting, key=lambda one: (int(one.version), one.attempt), default=None
        )
        if chosen is None:
            raise OrderRefused(
                f"no release of {application.name} is under way; {_existing(application)}"
            )
        return chosen
    found = application.newest(version)
    if found is None:
        raise OrderRefused(
            f"there is no release {application.name}/{version}; {_existing(application)}"
        )
    if not found.live and found.state is not State.REGISTERED:
        raise OrderRefused(
            f"{found.key} is {found.state.value} and over: an order cannot move it; "
            f"{_existing(application)}"
        )
    return found


def _existing(application: Application) -> str:
    if not application.releases:
        return f"{application.name} has no releases yet"
    newest = sorted({one.version for one in application.releases}, key=int, reverse=True)
    told = [application.newest(version) for version in newest[:5]]
    return "there is " + ", ".join(f"{one.key} ({one.state.value})" for one in told if one)
