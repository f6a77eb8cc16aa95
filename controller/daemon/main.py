"""The daemon's whole life: its store, its configuration, then the daemon itself."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from starlette.types import ASGIApp

from controller import settings as configuration
from controller.daemon.courier import Send, couriers
from controller.daemon.doorbell import Doorbell
from controller.daemon.exposition import Exposition, route
from controller.daemon.http import Server, application
from controller.daemon.orders_http import Orders
from controller.daemon.readiness import Readiness
from controller.daemon.site import Site
from controller.daemon.tenure import Tenure
from controller.notify import NotifySettings
from controller.record.leases import Leases
from controller.record.printer import Printer
from controller.record.sink import Sink
from controller.record.store import Store
from controller.settings import HttpSettings, ProcessSettings, SettingsError
from states.plan import Event

if TYPE_CHECKING:
    from controller.daemon.beat import Daemon
    from controller.daemon.building import Shared

log = structlog.get_logger()


def run(
    config: Path,
    process: ProcessSettings,
    http: HttpSettings | None,
    notify: NotifySettings | None,
    sink: Sink,
) -> int:
    """The daemon's whole life; the exit code.

    A log that cannot be written, whose `sink` is given, does not end it: releases are looked after,
    and `/readyz` fails until it can be written again.
    """
    started = time.monotonic()
    store = Store(process.store)
    try:
        with store.hold_lock():
            return _run(config, process, http, notify, sink, store, started)
    finally:
        store.close()


def _run(  # noqa: PLR0913, PLR0917 - all that a daemon is given
    config: Path,
    process: ProcessSettings,
    http: HttpSettings | None,
    notify: NotifySettings | None,
    sink: Sink,
    store: Store,
    started: float,
) -> int:
    refusing = Printer(store, ours=lambda: not store.shared, sink=sink)
    try:
        loaded, warehouse = configuration.load(config), warehouse_of(process)
        sending = _sending(notify, loaded) if notify else None
        # A port that is taken is refused like any other setting, while somebody looks on: whoever
        # asks /healthz there would be told of another process.
        server = Server(http) if http else None
    except SettingsError as error:
        store.note(Event(name="config.refused", level="error", because=str(error)))
        refusing.print_new()
        raise
    store.note(told_loaded(store, config.name, tuple(loaded.applications)))
    # The workspace's clients take seconds to import: what is refused is refused before.
    from controller.daemon.building import built  # noqa: PLC0415

    leases = Leases(store, process.replica, process.lease) if store.shared else None
    tenure = Tenure(tuple(loaded.applications), leases)
    printer = Printer(store, tenure.prints, sink)
    readiness = Readiness(store, process.poll, idle=lambda: tenure.idle)
    daemon, shared = built(
        loaded.applications, warehouse, store, printer, process, readiness, tenure
    )
    models = {name: one.model for name, one in loaded.applications.items()}
    log.info("daemon.ready", seconds=round(time.monotonic() - started, 2), store=store.place.name)
    # Of thousands of applications the settings are most of the memory; passes have what they need.
    del loaded
    with ExitStack() as beside:
        if notify is not None and sending is not None:
            telling = couriers(notify, sending, store, tenure.prints, shared.instruments)
            telling.begin()
            beside.callback(telling.end)
        if server is not None and http is not None:
            app = _pages(http, store, models, daemon, shared, readiness)
            beside.enter_context(server.serving(app))
        return daemon.run()


def told_loaded(store: Store, file: str, names: Sequence[str]) -> Event:
    """What is looked after from now on; and which release is left alone, if one is under way.

    Replicas may be started with other configurations: whether they name it, only people know.
    """
    left = [key for name, key in store.under_way().items() if name not in names]
    because = f"{file}: {', '.join(names)}"
    if left:
        because += (
            f"; {', '.join(left)} is under way and not named here: nobody looks after it until it "
            "is named again, unless another daemon does"
        )
    return Event(
        name="config.loaded",
        level="warning" if left else "info",
        because=because,
        fields={"applications": list(names)},
    )


def _sending(notify: NotifySettings, loaded: configuration.Configuration) -> Mapping[str, Send]:
    """How to send to whom is to be told; SettingsError where that cannot be."""
    # Its services take half a second to import: only where somebody is told.
    from controller.daemon.receivers import senders  # noqa: PLC0415

    notify.check(loaded.applications)
    return senders(notify)


def _pages(  # noqa: PLR0913, PLR0917 - what there is to answer from
    http: HttpSettings,
    store: Store,
    models: Mapping[str, str],
    daemon: "Daemon",
    shared: "Shared",
    readiness: Readiness,
) -> ASGIApp:
    """All that the daemon answers over HTTP."""
    doorbell = Doorbell(http.secret, models, daemon.ring)

    def unready() -> str | None:
        unstored = daemon.passes.trouble()
        if unstored:
            return f"store: {unstored}"
        return daemon.printer.trouble() or readiness.trouble()

    checks = daemon.watchdog.trouble, unready
    registry = shared.instruments.registry
    registry.register(Exposition(store, daemon, shared.budget))
    orders = Orders(store, models.keys(), daemon.ring, lambda: daemon.ending, http.host)
    routes = [doorbell.route, *orders.routes, route(registry), *Site(store, *checks).routes]
    return application(*checks, http.token, routes)


def warehouse_of(process: ProcessSettings) -> str:
    """The warehouse to ask; a sentence where none is named."""
    if process.warehouse is None:
        raise SettingsError(
            "DATABRICKS_WAREHOUSE_ID is not set: errors are counted per version by SQL on the "
            "inference table; name a SQL warehouse that Headgate may use"
        )
    return process.warehouse
