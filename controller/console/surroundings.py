"""What a forecast reads: the endpoint, its traffic, stable's last day, and the record's minutes."""

from dataclasses import dataclass
from typing import Self

from databricks.sdk import WorkspaceClient

from controller.console.planning import Known
from controller.record.errors import RecordError
from controller.record.opening import place_of
from controller.record.sqlite import File
from controller.record.store import Store
from controller.settings import ApplicationSettings, ProcessSettings
from controller.workspace.client import connect
from controller.workspace.errors import Unconfigured, WorkspaceError
from controller.workspace.inference import InferenceTable
from controller.workspace.metrics import Traffic
from controller.workspace.serving import Endpoints
from policies.fuse import Minute
from policies.guards import History
from policies.rollout import WHOLE
from states.reconcile import remembered
from states.world import Endpoint


@dataclass
class Surroundings:
    """A workspace that can be asked, and the record beside it."""

    client: WorkspaceClient
    warehouse: str | None
    store: str
    """Its URL; there need be none yet."""

    @classmethod
    def connected(cls, process: ProcessSettings) -> Self:
        """The workspace of this process; `Unconfigured`, if there are no credentials."""
        return cls(connect(), process.warehouse, process.store)

    def look(self, name: str, settings: ApplicationSettings) -> Known:
        """What is there of an application. Without its endpoint nothing can be foretold.

        `WorkspaceError`, if the endpoint cannot be read; what else cannot be is told as trouble.
        """
        endpoint = Endpoints(self.client).observe(settings.endpoint)
        if not isinstance(endpoint, Endpoint):
            return Known(endpoint=endpoint)
        troubles: list[str] = []
        traffic, minutes = Traffic(self.client), self._recorded(name, troubles)
        try:
            told = traffic.minutes(settings.endpoint, frozenset(endpoint.serving.shares))
            minutes = remembered(minutes, told)
        except Unconfigured:
            raise
        except WorkspaceError as error:
            troubles.append(str(error))
        return Known(
            endpoint=endpoint,
            requests_per_second=traffic.requests_per_second(settings.endpoint),
            minutes=minutes,
            labelled=traffic.labelled(settings.endpoint),
            history=self._history(name, settings, endpoint, troubles),
            troubles=tuple(troubles),
        )

    def _recorded(self, name: str, troubles: list[str]) -> tuple[Minute, ...]:
        """The endpoint's minutes in the record; none, where there is no record yet."""
        try:
            place = place_of(self.store)
            if isinstance(place, File) and not place.path.exists():
                return ()
            store = Store(self.store, create=False)
            try:
                return store.load(name).application.minutes
            finally:
                store.close()
        except RecordError as error:
            troubles.append(str(error))
            return ()

    def _history(
        self, name: str, settings: ApplicationSettings, endpoint: Endpoint, troubles: list[str]
    ) -> History | None:
        """Stable's last day by the inference table, as a release would ask for it."""
        table, shares = endpoint.inference_table, endpoint.serving.shares
        stable = [entity for entity, share in shares.items() if share.weight == WHOLE]
        if table is None:
            troubles.append("the endpoint has no inference table: enable it in AI Gateway")
        elif self.warehouse is None:
            troubles.append("DATABRICKS_WAREHOUSE_ID is not set: stable's last day was not read")
        elif not stable:
            troubles.append("no version has all users now: stable's last day was not read")
        else:
            try:
                return InferenceTable(self.client, self.warehouse).history(
                    table=table,
                    endpoint=settings.endpoint,
                    stable_entity=stable[0],
                    application=name,
                    paths=settings.counted.paths,
                )
            except WorkspaceError as error:
                troubles.append(str(error))
        return None
