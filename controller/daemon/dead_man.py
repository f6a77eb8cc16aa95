"""The dead man's switch: a small job, run by a scheduler elsewhere, for when every daemon is gone.

While a release is live, each look at it is written down. Where `rollout.dead_man: stable` was
pinned and nobody has looked for a while, its users go home by the daemon's own pass: the order to
abort is journalled, then decided upon, written down and sent like any other. Whoever has the store,
or the lease, is never disturbed.
"""

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from controller import settings as configuration
from controller.daemon.courier import couriers
from controller.daemon.instruments import Instruments
from controller.daemon.main import warehouse_of
from controller.daemon.passes import Pass
from controller.daemon.readiness import Readiness
from controller.daemon.receivers import senders
from controller.daemon.tenure import Tenure
from controller.notify import NotifySettings
from controller.record.errors import OrderRefused, StoreHeld
from controller.record.leases import Leases
from controller.record.printer import Printer
from controller.record.store import Store
from controller.settings import ProcessSettings
from policies.words import duration
from states.machine import State
from states.release import Order, Release

PATIENCE = timedelta(minutes=5)
"""How long the job stays for the traffic to arrive; it is sent for in the first seconds."""
ACTOR = "dead-man"
WELL, SENT_HOME, NEEDS_PERSON = 0, 1, 3


@dataclass(frozen=True)
class Done:
    """What the job came to: an exit code as every command has them, and a sentence."""

    code: int
    sentence: str


def run(
    config: Path,
    process: ProcessSettings,
    after: timedelta,
    notify: NotifySettings | None = None,
) -> Done:
    """Look once, and stay until those who are sent home have arrived, or `PATIENCE` is over."""
    loaded, warehouse = configuration.load(config), warehouse_of(process)
    store = Store(process.store, create=False)
    try:
        forsaken = _forsaken(store, after)
        if not forsaken:
            return Done(WELL, f"nothing to do: no release was left alone for {duration(after)}")
        try:
            with store.hold_lock():
                return _take_over(loaded, warehouse, store, process, forsaken, notify)
        except StoreHeld as held:
            return Done(NEEDS_PERSON, f"{', '.join(forsaken)}: nobody looks, and yet {held}")
    finally:
        store.close()


def _forsaken(store: Store, after: timedelta) -> dict[str, Release]:
    """The live releases that may have users, whom nobody looks after, and whose plan says so."""
    found, now = {}, store.now()
    for name in store.applications():
        application = store.load(name).application
        live, looked_at = application.live, application.looked_at
        if live is None or live.pinned is None or looked_at is None:
            continue
        wanted = live.pinned.rollout.dead_man == "stable" and live.pinned.baseline
        if wanted and _exposed(live) and now - looked_at >= after:
            found[name] = live
    return found


def _exposed(live: Release) -> bool:
    """Users may be on it: it has a weight, or what takes that away was not seen in effect.

    A daemon may have died between writing down that they go home and sending them.
    """
    if live.state is State.ROLLED_BACK:
        return bool(live.spans)
    return live.state in (State.CANARY, State.PRODUCTION) and (live.weight > 0 or not live.settled)


def _take_over(  # noqa: PLR0913, PLR0917 - all that the job is given
    loaded: configuration.Configuration,
    warehouse: str,
    store: Store,
    process: ProcessSettings,
    forsaken: Mapping[str, Release],
    notify: NotifySettings | None,
) -> Done:
    # The workspace's clients take seconds to import: where nothing is to be done they are not.
    from controller.daemon.building import Shared, passes_of  # noqa: PLC0415

    mine = {name: one for name, one in loaded.applications.items() if name in forsaken}
    unknown = sorted(forsaken.keys() - mine.keys())
    if unknown:
        return Done(NEEDS_PERSON, f"{', '.join(unknown)}: not in the configuration: add it again")
    leases = Leases(store, f"{ACTOR}-{socket.gethostname()}", process.lease)
    if store.shared and (others := _others(leases)):
        return Done(WELL, f"{others} of the store live: they take over what nobody looks after")
    tenure = Tenure(mine.keys(), leases if store.shared else None)
    printer = Printer(store, tenure.prints if store.shared else lambda: True)
    tenure.begin(tuple)
    telling = (
        couriers(notify, senders(notify), store, printer.ours, Instruments()) if notify else None
    )
    try:
        if telling is not None:
            # Who was never told of anything is told from here on.
            telling.once()
        parts = Readiness(store, process.poll), tenure
        shared = Shared(warehouse, store, pat=process.pat)
        passes = passes_of(mine, shared, store, printer, process, *parts)
        for name in mine:
            _order(store, name, forsaken[name].version)
        done = _see_home(passes, store, process.poll)
        if telling is not None:
            telling.once()
        return done
    finally:
        tenure.end()


def _others(leases: Leases) -> int:
    return len(leases.living() - {leases.replica})


def _order(store: Store, name: str, version: str) -> None:
    try:
        store.give_order(name, version, Order.ABORT, ACTOR, "no daemon has looked for too long")
    except OrderRefused:
        # It is on its way home already, or ended meanwhile: the pass sees to both.
        return


def _see_home(passes: Mapping[str, Pass], store: Store, poll: timedelta) -> Done:
    until = time.monotonic() + PATIENCE.total_seconds()
    while True:
        for one in passes.values():
            one.run()
        away = [name for name in passes if store.load(name).application.live is not None]
        if not away:
            return Done(SENT_HOME, f"sent home: {', '.join(passes)}")
        if time.monotonic() >= until:
            return Done(
                NEEDS_PERSON, f"not home yet: {', '.join(away)}; `headgate status` says why"
            )
        time.sleep(min(poll.total_seconds(), 5.0))
