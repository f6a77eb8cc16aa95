"""Building the daemon from its settings."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from controller.daemon.act import Actor
from controller.daemon.backoff import Backoff
from controller.daemon.beat import Daemon
from controller.daemon.collect import Collector
from controller.daemon.golden_table import GoldenReader
from controller.daemon.instruments import Instruments
from controller.daemon.leaps import Leaps
from controller.daemon.observe import Observer
from controller.daemon.passes import Pass
from controller.daemon.past import Past
from controller.daemon.readiness import Readiness
from controller.daemon.replaying import Replayer
from controller.daemon.tenure import Tenure
from controller.record.budget import Budget
from controller.record.printer import Printer
from controller.record.store import Store
from controller.sections.base import interned
from controller.sections.serving import CPU, StagingSettings
from controller.settings import ApplicationSettings, ProcessSettings
from controller.steady import steady
from controller.workspace import serving
from controller.workspace.client import connect
from controller.workspace.examples import Examples
from controller.workspace.inference import InferenceTable
from controller.workspace.listing import Listing
from controller.workspace.metrics import Traffic
from controller.workspace.probes import Probes
from controller.workspace.recorded import RecordedRequests
from controller.workspace.registry import Registry
from controller.workspace.replays import Replays
from controller.workspace.statements import Statements
from states.world import Size

NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
MANY = 10
"""Applications from which on a list of all endpoints costs less than reading each of theirs."""


def built(  # noqa: PLR0913, PLR0917 - what a daemon is made of
    applications: Mapping[str, ApplicationSettings],
    warehouse: str,
    store: Store,
    printer: Printer,
    process: ProcessSettings,
    readiness: Readiness,
    tenure: Tenure,
) -> tuple[Daemon, "Shared"]:
    """The daemon, connected, and its parts; `Unconfigured` where no credentials are found."""
    shared = Shared(warehouse, store, pat=process.pat)
    passes = passes_of(applications, shared, store, printer, process, readiness, tenure)
    begin, instruments = shared.listing.renew, shared.instruments
    daemon = Daemon(
        store, printer, passes, process.poll, tenure, begin=begin, instruments=instruments
    )
    return daemon, shared


class Shared:
    """What has no state of any one application, and is made once for all of them."""

    def __init__(self, warehouse: str, store: Store, *, pat: bool = False) -> None:
        self.client, self.warehouse = connect(pat=pat), warehouse
        self.endpoints, self.registry = serving.Endpoints(self.client), Registry(self.client)
        self.listing, self.traffic = Listing(self.client), Traffic(self.client)
        self.table = InferenceTable(self.client, warehouse)
        self.statements = Statements(self.client, warehouse)
        self.recorded = RecordedRequests(self.client, warehouse, self.table)
        self.budget = Budget(shared=store.shared)
        self.instruments = Instruments()
        self.read, self.wrote = (
            partial(self.instruments.called, "read"),
            partial(self.instruments.called, "write"),
        )
        # As bound here, not anew for each application.
        self.now, self.homeward, self.inputs = store.now, store.homeward, self.registry.inputs
        self.examples = Examples(self.client, warehouse)


def passes_of(  # noqa: PLR0913, PLR0917 - what passes are made of
    applications: Mapping[str, ApplicationSettings],
    shared: Shared,
    store: Store,
    printer: Printer,
    process: ProcessSettings,
    readiness: Readiness,
    tenure: Tenure,
) -> dict[str, Pass]:
    """The pass of each application."""
    listing = shared.listing if len(applications) >= MANY else None
    seen = readiness.seen
    return {
        name: _pass(name, one, shared, listing, store, printer, process, seen, tenure)
        for name, one in applications.items()
    }


def _pass(  # noqa: PLR0913, PLR0917 - what a pass is made of
    name: str,
    settings: ApplicationSettings,
    shared: Shared,
    listing: Listing | None,
    store: Store,
    printer: Printer,
    process: ProcessSettings,
    seen: Callable[[], None],
    tenure: Tenure,
) -> Pass:
    endpoints, registry, table = shared.endpoints, shared.registry, shared.table
    probes = Probes(shared.client, settings.endpoint, name)
    traffic, inputs = shared.traffic, shared.inputs
    leaps = Leaps(steady)
    observer = Observer(
        endpoints=endpoints,
        registry=registry,
        probes=probes,
        traffic=traffic,
        collector=Collector(table, probes, traffic, shared.now, inputs),
        past=Past(table),
        replayer=Replayer(shared.recorded, Replays(probes, name)),
        poll=process.poll,
        tables=GoldenReader(shared.statements),
        inputs=inputs,
        listing=listing,
        homeward=shared.homeward,
        seen=seen,
        since_read=leaps.since_read,
        reading_took=leaps.reading_took,
        counted=shared.read,
    )
    actor = Actor(
        endpoints,
        registry,
        store,
        _serving(settings),
        shared.budget,
        Backoff(f"sending to {settings.endpoint}"),
        Backoff(f"sending to {settings.endpoint}'s staging endpoint"),
        Backoff(f"sending to the registry's {settings.model}"),
        staging=_staging(settings),
        counted=shared.wrote,
    )
    return Pass(
        name, settings.spec(), store, printer, observer, actor, leaps, tenure, shared.examples
    )


def _serving(settings: ApplicationSettings) -> serving.ServingSettings:
    """How new entities are set up; an endpoint of ours gets its table in the model's schema."""
    wanted, table = settings.serving, settings.inference_table
    catalog, schema, _ = settings.model.split(".")
    location = serving.TableLocation(catalog, schema)
    if table is not None:
        location = serving.TableLocation(table.catalog, table.schema_name, table.prefix)
    environment = wanted.environment if isinstance(wanted.environment, dict) else NO_VARIABLES
    return serving.ServingSettings(
        model=settings.model,
        size=interned(wanted.size or Size(scale_to_zero=wanted.scale_to_zero)),
        environment=environment,
        instance_profile=wanted.instance_profile,
        inference_table=interned(location),
        usage_tracking=wanted.usage_tracking,
    )


def _staging(settings: ApplicationSettings) -> serving.ServingSettings:
    """The same on the staging endpoint, in a size of its own; nobody's requests are recorded."""
    wanted, as_served = settings.staging or StagingSettings(), _serving(settings)
    size = Size(
        workload_size=wanted.workload_size,
        workload_type=settings.serving.workload_type or CPU,
        scale_to_zero=wanted.scale_to_zero,
    )
    return replace(as_served, size=interned(size), inference_table=None)
