"""What a forecast reads of a workspace: the endpoint, its traffic, and stable's last day."""

from dataclasses import dataclass
from typing import Self

from databricks.sdk import WorkspaceClient

from controller.console.planning import Known
from controller.settings import ApplicationSettings, ProcessSettings
from controller.workspace.client import connect
from controller.workspace.errors import Unconfigured, WorkspaceError
from controller.workspace.inference import InferenceTable
from controller.workspace.metrics import Traffic
from controller.workspace.serving import Endpoints
from policies.guards import History
from policies.rollout import WHOLE
from states.world import Endpoint


@dataclass
class Surroundings:
    """A workspace that can be asked."""

    client: WorkspaceClient
    warehouse: str | None

    @classmethod
    def connected(cls, process: ProcessSettings) -> Self:
        """The workspace of this process; `Unconfigured`, if there are no credentials."""
        return cls(connect(), process.warehouse)

    def look(self, name: str, settings: ApplicationSettings) -> Known:
        """What is there of an application. Without its endpoint nothing can be foretold.

        `WorkspaceError`, if the endpoint cannot be read; what else cannot be is told as trouble.
        """
        endpoint = Endpoints(self.client).observe(settings.endpoint)
        if not isinstance(endpoint, Endpoint):
            return Known(endpoint=endpoint)
        troubles: list[str] = []
        traffic = Traffic(self.client)
        try:
            traffic.minutes(settings.endpoint, frozenset(endpoint.serving.shares))
        except Unconfigured:
            raise
        except WorkspaceError as error:
            troubles.append(str(error))
        return Known(
            endpoint=endpoint,
            requests_per_second=traffic.requests_per_second(settings.endpoint),
            labelled=traffic.labelled(settings.endpoint),
            history=self._history(name, settings, endpoint, troubles),
            troubles=tuple(troubles),
        )

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
