import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import requests
from databricks.sdk import WorkspaceClient

from controller.workspace.errors import Refused
from controller.workspace.inference import InferenceTable, Look
from controller.workspace.markers import marker
from controller.workspace.names import identifier
from controller.workspace.probes import Probes
from controller.workspace.serving import Endpoints, ServingSettings
from policies.evidence import NOTHING, Arm
from tests.contract.conftest import LAG_S, Split, Workspace, entity, name, serving, settled

WAREHOUSE = "sandbox"


@dataclass
class Users:
    """Users of an endpoint, who remember which version answered them, and how."""

    workspace: Workspace
    endpoint: str
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)

    def ask(self, query: str, times: int = 1) -> None:
        """Ask, and remember who answered how."""
        for _ in range(times):
            answer = requests.post(
                f"{self.workspace.host}/serving-endpoints/{self.endpoint}/invocations",
                json={"dataframe_records": [{"query": query}], "client_request_id": "a user's own"},
                headers={"Authorization": f"Bearer {self.workspace.token}"},
                timeout=10,
            )
            self.answers[answer.headers["served-model-name"], answer.status_code] += 1

    def arm(self, version: str) -> Arm:
        """What the table should say of a version."""
        own = {status: n for (who, status), n in self.answers.items() if who == entity(version)}
        return Arm(requests=sum(own.values()), errors=own.get(400, 0), server_errors=0)


@dataclass
class Table:
    """The table of one endpoint, looked at as one application."""

    source: InferenceTable
    probes: Probes
    split: Split
    application: str

    def beat(self, *versions: str) -> None:
        """Send one marked request to each version."""
        for version in versions:
            assert self.probes.beat(
                entity(version), "beat", marker(self.application, entity(version))
            )

    def look(
        self, since: datetime | None, until: datetime | None = None, stable: str | None = "v1"
    ) -> Look:
        """Look with v2 as the candidate."""
        return self.source.look(
            table=self.split.table,
            application=self.application,
            candidate_entity=entity("v2"),
            stable_entity=stable and entity(stable),
            endpoint=self.split.endpoint,
            since=since,
            until=until,
        )


@pytest.fixture
def users(workspace: Workspace, split: Split) -> Users:
    return Users(workspace, split.endpoint)


@pytest.fixture
def table(client: WorkspaceClient, split: Split) -> Table:
    application = name()
    return Table(
        InferenceTable(client, WAREHOUSE),
        Probes(client, split.endpoint, application),
        split,
        application,
    )


def test_users_requests_are_counted_exactly_and_headgates_own_are_not(
    users: Users, table: Table
) -> None:
    since = datetime.now(UTC)
    users.ask("q", 20)
    users.ask("fail", 6)
    table.beat("v1", "v2")
    time.sleep(LAG_S + 0.3)
    look = table.look(since)
    assert look.stable == users.arm("v1")
    assert look.candidate == users.arm("v2")
    assert look.stable.requests + look.candidate.requests == 26
    assert look.unattributed == 0
    assert look.opened == since
    assert look.closed == look.watermark
    assert abs(look.now - datetime.now(UTC)) < timedelta(seconds=10)


def test_what_came_after_the_older_of_the_two_newest_beats_is_not_counted_yet(
    users: Users, table: Table
) -> None:
    since = datetime.now(UTC)
    users.ask("q", 3)
    table.beat("v2")
    time.sleep(0.01)
    table.beat("v1")
    early = users.arm("v1") + users.arm("v2")
    users.ask("q", 4)
    time.sleep(LAG_S + 0.3)
    look = table.look(since)
    assert look.candidate_beat is not None
    assert look.stable_beat is not None
    assert look.watermark == min(look.candidate_beat, look.stable_beat)
    assert look.candidate + look.stable == early
    table.beat("v1", "v2")
    time.sleep(LAG_S + 0.3)
    later = table.look(look.closed)
    assert (later.candidate + later.stable).requests == 4


def test_a_window_ends_where_it_is_told_to(users: Users, table: Table) -> None:
    since = datetime.now(UTC)
    users.ask("q", 3)
    until = datetime.now(UTC)
    time.sleep(0.01)
    users.ask("q", 4)
    table.beat("v1", "v2")
    time.sleep(LAG_S + 0.3)
    look = table.look(since, until)
    assert look.closed == until
    assert (look.candidate + look.stable).requests == 3


def test_a_row_that_the_table_does_not_show_yet_is_no_beat(table: Table) -> None:
    table.beat("v1", "v2")
    look = table.look(datetime.now(UTC) - timedelta(minutes=1))
    assert look.watermark is None
    assert look.closed is None
    assert (look.candidate, look.stable) == (NOTHING, NOTHING)


def test_without_a_beat_of_both_nothing_is_known_to_have_arrived(table: Table) -> None:
    table.beat("v2")
    time.sleep(LAG_S + 0.3)
    look = table.look(datetime.now(UTC) - timedelta(minutes=1))
    assert look.candidate_beat is not None
    assert look.stable_beat is None
    assert look.watermark is None
    alone = table.look(datetime.now(UTC) - timedelta(minutes=1), stable=None)
    assert alone.watermark == look.candidate_beat


def test_without_a_beginning_only_the_heartbeat_is_looked_for(table: Table) -> None:
    table.beat("v1", "v2")
    time.sleep(LAG_S + 0.3)
    look = table.look(None)
    assert look.watermark is not None
    assert (look.opened, look.closed, look.candidate) == (None, None, NOTHING)


def test_ids_that_no_probe_named_are_named_by_the_system_table(
    client: WorkspaceClient, settings: ServingSettings, workspace: Workspace
) -> None:
    endpoints, endpoint = Endpoints(client), name()
    endpoints.serve(endpoint, serving(settings.model, v1=100), settings)
    settled(endpoints, endpoint)
    since, users = datetime.now(UTC), Users(workspace, endpoint)
    users.ask("q", 3)
    endpoints.serve(endpoint, serving(settings.model, v2=100), settings)
    seen = settled(endpoints, endpoint)
    assert seen.inference_table is not None
    split = Split(endpoint, seen.inference_table)
    users.ask("q", 2)
    probes = Probes(client, endpoint, "app")
    table = Table(InferenceTable(client, WAREHOUSE), probes, split, "app")
    table.beat("v2")
    time.sleep(LAG_S + 0.3)
    look = table.look(since, stable=None)
    assert look.candidate.requests == 2
    assert look.stable == NOTHING
    assert look.unattributed == 0


def test_a_table_that_is_not_there_is_named(client: WorkspaceClient) -> None:
    source = InferenceTable(client, WAREHOUSE)
    with pytest.raises(Refused, match=r"main\.serving\.nowhere_payload: there is no such table"):
        source.look(
            table="main.serving.nowhere_payload",
            application="app",
            candidate_entity="a",
            stable_entity=None,
            endpoint="e",
            since=None,
        )


def test_a_warehouse_that_is_not_there_is_named(client: WorkspaceClient, split: Split) -> None:
    source = InferenceTable(client, "no-such-warehouse")
    with pytest.raises(Refused, match="SQL warehouse no-such-warehouse: not found"):
        source.look(
            table=split.table,
            application="app",
            candidate_entity="a",
            stable_entity=None,
            endpoint=split.endpoint,
            since=None,
        )


@pytest.mark.parametrize("table", ["a.b", "a.b.c.d", "a.b.c`; DROP TABLE x", "a.b.", "a.b.c d"])
def test_what_is_no_table_name_never_reaches_a_statement(table: str) -> None:
    with pytest.raises(Refused, match=r"catalog\.schema\.table"):
        identifier(table)
