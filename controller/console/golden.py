"""Golden queries, looked at as the next release will ask them."""

from collections.abc import Callable
from dataclasses import dataclass

from databricks.sdk import WorkspaceClient

from controller.console.findings import CONFIGURATION, Section
from controller.daemon.golden_table import GoldenReader
from controller.settings import ApplicationSettings
from controller.workspace.errors import WorkspaceError
from controller.workspace.inputs import Inputs, misfit, request_of
from controller.workspace.markers import marker
from controller.workspace.probes import Probes
from controller.workspace.registry import Registry
from controller.workspace.statements import Statements
from policies.golden import GoldenQuery
from policies.rollout import WHOLE
from states.release import Application
from states.world import Endpoint

CORRECT = "correct the test: one that the running version fails holds every release"


@dataclass
class GoldenExamination:
    """The golden queries of one application."""

    client: WorkspaceClient
    settings: ApplicationSettings
    known: Application
    says: Section
    statements: Statements | None
    """The warehouse, if it answers."""
    remedy: Callable[[], str]
    """The grant that a question to the endpoint needs."""
    probe: bool

    def run(self, endpoint: Endpoint) -> None:
        """Read them all, hold them against stable's signature, and ask one if that is wanted."""
        tests = (*self.known.spec.tests, *self._table())
        full = [one for one, share in endpoint.serving.shares.items() if share.weight == WHOLE]
        version = endpoint.serving.shares[full[0]].version if full else None
        registry = Registry(self.client)
        inputs = None if version is None else registry.inputs(self.settings.model, version)
        if tests and version is not None:
            self._signature(tests, version, inputs)
        self._probe(tests, full, inputs)

    def _table(self) -> tuple[GoldenQuery, ...]:
        """The queries in a table, if one is named and can be read."""
        what, table = "golden table", self.known.spec.tests_table
        if table is None:
            return ()
        if self.statements is None:
            self.says.skip(what, "the warehouse does not answer")
            return ()
        reader = GoldenReader(self.statements)
        try:
            found = reader.read(table, self.settings.counted.paths)
        except WorkspaceError as error:
            self.says.trouble(what, error, f"GRANT SELECT ON TABLE {table}", warns=False)
            return ()
        if found.trouble is not None:
            told, _, remedy = found.trouble.rpartition(": ")
            self.says.stops(what, told, remedy)
            return ()
        self.says.ok(what, f"{len(found.queries)} golden queries in {table}")
        return found.queries

    def _signature(
        self, tests: tuple[GoldenQuery, ...], version: str, inputs: Inputs | None
    ) -> None:
        """Whether the version that serves would take every query."""
        what = "golden queries"
        if inputs is None:
            self.says.skip(what, f"the signature of version {version} cannot be read")
            return
        for number, query in enumerate(tests, start=1):
            why = misfit(request_of(query.query, query.body, inputs), inputs)
            if why is not None:
                found = f"query {number} does not fit version {version}: {why}"
                self.says.stops(what, found, CORRECT, CONFIGURATION)
                return
        self.says.ok(what, f"all {len(tests)} fit the signature of version {version}")

    def _probe(
        self, tests: tuple[GoldenQuery, ...], full: list[str], inputs: Inputs | None
    ) -> None:
        """A golden query to the entity with all traffic, marked as Headgate's own."""
        what = "golden query"
        if not self.probe:
            self.says.skip(what, "it is a request to the model; `--probe` sends it")
        elif not full:
            self.says.skip(what, "no entity has 100 %")
        elif not tests:
            self.says.skip(what, "none is known")
        else:
            self._ask(what, full[0], tests[0], inputs)

    def _ask(self, what: str, entity: str, query: GoldenQuery, inputs: Inputs | None) -> None:
        probes = Probes(self.client, self.settings.endpoint, self.known.name)
        mark, paths = marker(self.known.name, entity), self.settings.counted.paths
        try:
            why = probes.ask(entity, query, mark, paths, inputs)
        except WorkspaceError as error:
            self.says.trouble(what, error, self.remedy(), warns=False)
            return
        if why is None:
            self.says.ok(what, f"{entity} answers the first as expected")
        else:
            self.says.stops(what, f"{entity} fails the first: {why}", CORRECT)
