"""The dead man's switch: a small job, run by a scheduler elsewhere, for when every daemon is gone.

While a release is live, each look at it is written down. Where `rollout.dead_man: stable` was
pinned and nobody has looked for a while, its users go home by the daemon's own passes: the order to
abort is journalled, then decided upon, written down and sent like any other. Whoever has the store,
or the lease, is never disturbed. Each application is by itself: what keeps one from going home is
told in the end, and keeps no other.
"""

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from controller import settings as configuration
from controller.daemon.courier import couriers
from controller.daemon.instruments import Instruments
from controller.daemon.lanes import Passes
from controller.daemon.main import warehouse_of
from controller.daemon.passes import Pass
from controller.daemon.readiness import Readiness
from controller.daemon.receivers import senders
from controller.daemon.tenure import Tenure
from controller.notify import NotifySettings
from controller.record.errors import OrderRefused, RecordError, StoreHeld
from controller.record.leases import Leases
from controller.record.printer import Printer
from controller.record.store import Store
from controller.settings import ApplicationSettings, ProcessSettings
from policies.words import duration
from states.machine import State
from states.release import Application, Order, Release

PATIENCE = timedelta(minutes=5)
"""How long the job stays for the traffic to arrive; it is sent for in the first seconds."""
ACTOR = "dead-man"
WELL, SENT_HOME, NEEDS_PERSON = 0, 1, 3
BY_HAND = "put stable to 100 % by hand"
log = structlog.get_logger()


@dataclass(frozen=True)
class Done:
    """What the job came to: an exit code as every command has them, and a sentence a line."""

    code: int
    sentences: tuple[str, ...]


def run(
    config: Path,
    process: ProcessSettings,
    after: timedelta,
    notify: NotifySettings | None = None,
) -> Done:
    """Look once, and stay until those who are sent home have arrived, or `PATIENCE` is over.

    A person is needed for whomever that does not bring home, whatever became of the others.
    """
    loaded, warehouse = configuration.load(config), warehouse_of(process)
    store, stuck = Store(process.store, create=False), list[str]()
    try:
        forsaken = _forsaken(store, after, stuck)
        mine = {name: one for name, one in loaded.applications.items() if name in forsaken}
        stuck += [
            f"{live.key}: not in the configuration: add {name} again, or {BY_HAND}"
            for name, live in forsaken.items()
            if name not in mine
        ]
        done = Done(WELL, ())
        if mine:
            wanted = {name: forsaken[name].version for name in mine}
            try:
                with store.hold_lock():
                    done = _take_over(mine, wanted, warehouse, store, process, notify)
            except StoreHeld as held:
                done = Done(NEEDS_PERSON, (f"{', '.join(mine)}: nobody looks, and yet {held}",))
        elif not stuck:
            told = f"nothing to do: no release was left alone for {duration(after)}"
            done = Done(WELL, (told,))
        return Done(NEEDS_PERSON if stuck else done.code, (*done.sentences, *stuck))
    finally:
        store.close()


@contextmanager
def _apart(name: str, stuck: list[str]) -> Iterator[None]:
    """Whatever goes wrong with one application is told in the end, and stops no other."""
    try:
        yield
    except RecordError as error:
        stuck.append(f"{name}: {error}")
    except Exception as error:
        log.exception("pass.failed", application=name)
        told = f"it fails unexpectedly ({type(error).__name__}), and the log has the traceback"
        stuck.append(f"{name}: {told} under pass.failed: {BY_HAND}")


def _forsaken(store: Store, after: timedelta, stuck: list[str]) -> dict[str, Release]:
    """The live releases that may have users, whom nobody looks after, and whose plan says so."""
    found, now = dict[str, Release](), store.now()
    for name in store.under_way():
        with _apart(name, stuck):
            application = store.load(name).application
            live = application.live
            if live is not None and _left_alone(application, live, now, after):
                found[name] = live
    return found


def _left_alone(application: Application, live: Release, now: datetime, after: timedelta) -> bool:
    if live.pinned is None or application.looked_at is None:
        return False
    wanted = live.pinned.rollout.dead_man == "stable" and live.pinned.baseline is not None
    return wanted and _exposed(live) and now - application.looked_at >= after


def _exposed(live: Release) -> bool:
    """Users may be on it: it has a weight, or what takes that away was not seen in effect.

    A daemon may have died between writing down that they go home and sending them.
    """
    if live.state is State.ROLLED_BACK:
        return bool(live.spans)
    return live.state in (State.CANARY, State.PRODUCTION) and (live.weight > 0 or not live.settled)


def _take_over(  # noqa: PLR0913, PLR0917 - all that the job is given
    mine: Mapping[str, ApplicationSettings],
    wanted: Mapping[str, str],
    warehouse: str,
    store: Store,
    process: ProcessSettings,
    notify: NotifySettings | None,
) -> Done:
    """Send the users of these home, from the versions that they are on."""
    # The workspace's clients take seconds to import: where nothing is to be done they are not.
    from controller.daemon.building import Shared, passes_of  # noqa: PLC0415

    leases = Leases(store, f"{ACTOR}-{socket.gethostname()}", process.lease)
    if store.shared and (others := _others(leases)):
        told = f"{others} of the store live: they take over what nobody looks after"
        return Done(WELL, (told,))
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
        done = _sent_home(passes, wanted, store, tenure, process.poll)
        if telling is not None:
            telling.once()
        return done
    finally:
        tenure.end()


def _others(leases: Leases) -> int:
    return len(leases.living() - {leases.replica})


def _sent_home(
    passes: Mapping[str, Pass],
    wanted: Mapping[str, str],
    store: Store,
    tenure: Tenure,
    poll: timedelta,
) -> Done:
    """Order all of them home, see them there, and tell of each who is not."""
    stuck, ordered = list[str](), list[str]()
    for name, version in wanted.items():
        with _apart(name, stuck):
            _order(store, name, version)
            ordered.append(name)
    away = _see_home(passes, frozenset(ordered), store, tenure, poll)
    home = [name for name in ordered if name not in away]
    for name in away:
        with _apart(name, stuck):
            stuck.append(_not_home(store.load(name).application, passes[name]))
    said = (f"sent home: {', '.join(home)}",) if home else ()
    return Done(NEEDS_PERSON if stuck else SENT_HOME, (*said, *stuck))


def _order(store: Store, name: str, version: str) -> None:
    try:
        store.give_order(name, version, Order.ABORT, ACTOR, "no daemon has looked for too long")
    except OrderRefused:
        # One that is on its way home already, or ended meanwhile, needs none.
        if name in store.under_way() and name not in store.homeward():
            raise


def _see_home(
    passes: Mapping[str, Pass],
    names: frozenset[str],
    store: Store,
    tenure: Tenure,
    poll: timedelta,
) -> list[str]:
    """Let passes run until these are home, or `PATIENCE` is over; who is not home then.

    As a daemon runs its rollbacks: beside each other, so that none waits for one that hangs, and
    whatever one fails with ends that pass alone.
    """
    lanes = Passes({name: passes[name] for name in names}, store, tenure=tenure)
    until = time.monotonic() + PATIENCE.total_seconds()
    try:
        while time.monotonic() < until and names & store.under_way().keys():
            lanes.start_urgent()
            time.sleep(min(poll.total_seconds(), 5.0))
    finally:
        # What is under way may send yet: until it has ended, the store must stay ours.
        lanes.end(None)
    return sorted(names & store.under_way().keys())


def _not_home(application: Application, one: Pass) -> str:
    """Why a release is not home yet, as far as is known, and what to do."""
    live = application.live
    key = live.key if live is not None else application.name
    held = (live.hold if live is not None else None) or application.hold
    known = [why for why in (one.observer.troubles.get("endpoint"), held) if why]
    cause = "; ".join(known) or "the log and `headgate status` say why"
    return f"{key}: not home after {duration(PATIENCE)}: {cause}; run this again, or {BY_HAND}"
