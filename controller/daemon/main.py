"""The daemon's whole life: its store, its configuration, then the daemon itself."""

import time
from pathlib import Path

import structlog

from controller import settings as configuration
from controller.daemon.doorbell import Doorbell
from controller.daemon.http import Server, application
from controller.daemon.readiness import Readiness
from controller.daemon.site import Site
from controller.daemon.tenure import Tenure
from controller.record.leases import Leases
from controller.record.printer import Printer
from controller.record.store import Store
from controller.settings import HttpSettings, ProcessSettings, SettingsError
from states.plan import Event

log = structlog.get_logger()


def run(config: Path, process: ProcessSettings, http: HttpSettings | None) -> int:
    """The daemon's whole life; the exit code."""
    started = time.monotonic()
    store = Store(process.store)
    try:
        with store.hold_lock():
            return _run(config, process, http, store, started)
    finally:
        store.close()


def _run(
    config: Path, process: ProcessSettings, http: HttpSettings | None, store: Store, started: float
) -> int:
    refusing = Printer(store, ours=lambda: not store.shared)
    try:
        loaded, warehouse = configuration.load(config), warehouse_of(process)
        # A port that is taken is refused like any other setting, while somebody looks on: whoever
        # asks /healthz there would be told of another process.
        server = Server(http) if http else None
    except SettingsError as error:
        store.note(Event(name="config.refused", level="error", because=str(error)))
        refusing.print_new()
        raise
    store.note(
        Event(
            name="config.loaded",
            because=f"{config.name}: {', '.join(loaded.applications)}",
            fields={"applications": list(loaded.applications)},
        )
    )
    # The workspace's clients take seconds to import: what is refused is refused before.
    from controller.daemon.building import built  # noqa: PLC0415

    leases = Leases(store, process.replica, process.lease) if store.shared else None
    tenure = Tenure(tuple(loaded.applications), leases)
    printer, readiness = Printer(store, tenure.prints), Readiness(store, process.poll)
    daemon = built(loaded.applications, warehouse, store, printer, process, readiness, tenure)
    models = {name: one.model for name, one in loaded.applications.items()}
    log.info("daemon.ready", seconds=round(time.monotonic() - started, 2), store=store.place.name)
    # Of thousands of applications the settings are most of the memory; passes have what they need.
    del loaded
    if server is None or http is None:
        return daemon.run()
    doorbell = Doorbell(http.secret, models, daemon.ring)
    checks = daemon.watchdog.trouble, readiness.trouble
    routes = [doorbell.route, *Site(store, *checks).routes]
    with server.serving(application(*checks, http.token, routes)):
        return daemon.run()


def warehouse_of(process: ProcessSettings) -> str:
    """The warehouse to ask; a sentence where none is named."""
    if process.warehouse is None:
        raise SettingsError(
            "DATABRICKS_WAREHOUSE_ID is not set: errors are counted per version by SQL on the "
            "inference table; name a SQL warehouse that Headgate may use"
        )
    return process.warehouse
