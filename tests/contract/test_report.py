"""`headgate report APP` against the sandbox: what it says of days is what users met."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import requests
import yaml
from databricks.sdk import WorkspaceClient
from typer.testing import CliRunner, Result

from controller.console.cli import app
from controller.workspace.counting import FAILED
from controller.workspace.days import ALL, SQL, Day, Days
from controller.workspace.errors import Refused
from controller.workspace.markers import OWN, marker
from controller.workspace.names import identifier
from controller.workspace.probes import Probes
from controller.workspace.serving import Endpoints, ServingSettings, TableLocation
from controller.workspace.statements import Statements
from policies.golden import GoldenQuery
from tests.contract.conftest import LAG_S, Workspace, entity, name, serving, settled
from tests.controller.console.test_reading import Recorded
from tests.pages import Page

DENIED = "[INSUFFICIENT_PERMISSIONS] User does not have USE SCHEMA on system.serving"
FAILURE = 400
"""The status of a question at which the model raises."""
TOKENS = "$.predictions[0].query"
"""Where the model's answers have a number: it says its question again."""


@dataclass
class Users:
    """Users who remember each answer: by whom, how it ended, and the number in it."""

    workspace: Workspace
    endpoint: str
    table: str
    met: list[tuple[str, int, float]] = field(default_factory=list)

    def ask(self, query: str) -> None:
        """Ask once."""
        answer = requests.post(
            f"{self.workspace.host}/serving-endpoints/{self.endpoint}/invocations",
            json={"dataframe_records": [{"query": query}]},
            headers={"Authorization": f"Bearer {self.workspace.token}"},
            timeout=10,
        )
        number = float(query) if query.isdigit() else 0.0
        self.met.append((answer.headers["served-model-name"], answer.status_code, number))

    def of(self, version: str) -> list[tuple[int, float]]:
        """Statuses and numbers of one version's answers, or of all."""
        return [(s, n) for who, s, n in self.met if version == ALL or who == entity(f"v{version}")]


@pytest.fixture(scope="module")
def users(running: Any, model: str) -> Iterator[Users]:  # noqa: ANN401 - the sandbox
    """Half of the users meet each of two versions; some fail, and Headgate asks as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABRICKS_HOST", running.host)
        patch.setenv("DATABRICKS_TOKEN", running.token)
        client = WorkspaceClient()
        endpoints, endpoint = Endpoints(client), name()
        settings = ServingSettings(model=model, inference_table=TableLocation("main", "serving"))
        endpoints.create(endpoint, serving(model, v1=50, v2=50), settings)
        table = settled(endpoints, endpoint).inference_table
        assert table is not None
        users = Users(Workspace(running.host, running.token), endpoint, table)
        probes = Probes(client, endpoint, "bot")
        for number in range(40):
            users.ask("fail" if number % 8 == 7 else str(100 + number))
            if number % 10 == 0:
                for version in ("v1", "v2"):
                    own = marker("bot", entity(version))
                    probes.beat(entity(version), GoldenQuery(query="fail"), own)
        # Who answers is chance: go on until each version has failed somebody.
        while {who for who, status, _ in users.met if status == FAILURE} != {
            entity("v1"),
            entity("v2"),
        }:
            users.ask("fail")
        time.sleep(LAG_S + 0.3)
        yield users
        client.serving_endpoints.delete(endpoint)


def days(client: WorkspaceClient, users: Users, length: int = 7, **more: Any) -> tuple[Day, ...]:  # noqa: ANN401
    given = {"table": users.table, "tokens": TOKENS, "known": {}, **more}
    return Days(client, "sandbox").read(endpoint=users.endpoint, days=length, **given)


def test_the_statement_counts_what_users_met_and_none_of_headgates_own(
    client: WorkspaceClient, users: Users
) -> None:
    found = {day.version: day for day in days(client, users)}
    assert found.keys() == {"1", "2", ALL}
    for version, day in found.items():
        met = users.of(str(version))
        answered = [number for status, number in met if status == 200]
        assert day.requests == len(met)
        assert day.errors == len(met) - len(answered)
        assert day.error_rate == day.errors / day.requests
        assert day.rejected == 0
        assert day.all_tokens == pytest.approx(sum(answered))
        assert day.mean_tokens == pytest.approx(fmean(answered))
    assert found["1"].requests + found["2"].requests == found[ALL].requests == len(users.met)
    assert {found["1"].entity, found["2"].entity} == {entity("v1"), entity("v2")}


def test_latencies_are_those_of_the_tables_answers(client: WorkspaceClient, users: Users) -> None:
    asked = (
        "SELECT databricks_request_id, served_entity_id, execution_duration_ms "  # noqa: S608 - the test's own
        f"FROM {identifier(users.table)} WHERE status_code = 200 AND client_request_id IS NULL"
    )
    lengths: dict[str, dict[str, float]] = defaultdict(dict)
    for request, who, length in Statements(client, "sandbox").rows("the table", asked, {}):
        lengths[str(who)][str(request)] = lengths[ALL][str(request)] = float(length or 0)
    expected = sorted(
        (fmean(each.values()), _p95(list(each.values()))) for each in lengths.values()
    )
    found = sorted((day.mean_ms, day.p95_ms) for day in days(client, users) if day.mean_ms)
    assert [pair for day in found for pair in day] == pytest.approx(
        [pair for day in expected for pair in day]
    )


def _p95(values: list[float]) -> float:
    """Between the two values next to it, as `percentile` has it."""
    place = 0.95 * (len(values) - 1)
    low = sorted(values)[int(place)]
    high = sorted(values)[min(int(place) + 1, len(values) - 1)]
    return low + (high - low) * (place - int(place))


def test_a_day_is_a_day_of_utc_and_older_days_are_left_out(
    client: WorkspaceClient, users: Users
) -> None:
    moved = f"main.serving.moved_{name().replace('-', '_')}"
    shifted = ", ".join(
        f"SELECT {shift} AS shift" if not shift else f"UNION ALL SELECT {shift}"
        for shift in (0, 1, 2, 6, 7)
    ).replace(", UNION", " UNION")
    Statements(client, "sandbox").rows(
        "a table of days",
        f"CREATE TABLE {identifier(moved)} AS SELECT "  # noqa: S608 - the test's own
        "date_sub(request_date, shift) AS request_date, "
        "concat(databricks_request_id, CAST(shift AS STRING)) AS databricks_request_id, "
        "client_request_id, timestamp_millis(unix_millis(request_time) - shift * 86400000) "
        "AS request_time, status_code, execution_duration_ms, response, served_entity_id "
        f"FROM {identifier(users.table)} CROSS JOIN ({shifted}) AS shifts",
        {},
    )
    found = days(client, users, table=moved)
    each = [day for day in found if day.version == ALL]
    assert [day.requests for day in each] == 4 * [len(users.met)]
    today = datetime.now(UTC).date()
    assert [(today - datetime.fromisoformat(day.day).date()).days for day in each] == [6, 2, 1, 0]
    assert len({day.day for day in days(client, users, 1, table=moved)}) == 1


def test_without_the_right_to_read_the_system_table_headgates_own_requests_name_the_versions(
    client: WorkspaceClient, workspace: Workspace, users: Users
) -> None:
    workspace.fault(scope="sql", match={"statement": r"FROM system\.serving"}, failed=DENIED)
    known = {entity("v1"): "1"}
    found = days(client, users, known=known)
    assert {(day.version, day.entity) for day in found} == {
        ("1", entity("v1")),
        (None, entity("v2")),
        (ALL, ""),
    }
    by_name = {day.entity: day for day in found}
    assert by_name[entity("v2")].requests == len(users.of("2"))


def test_a_table_that_is_not_there_is_named(client: WorkspaceClient, users: Users) -> None:
    with pytest.raises(Refused, match=r"main\.serving\.nowhere: there is no such table"):
        days(client, users, table="main.serving.nowhere")


def test_the_file_counts_by_the_houses_own_words() -> None:
    assert FAILED in SQL
    assert f"'{OWN}'" in SQL


def reported(folder: Path, users: Users, *options: str, of: str = "bot") -> Result:
    one = {
        "model": "main.ml_models.obedient",
        "endpoint": users.endpoint,
        "response": {"tokens": TOKENS},
        "tests": [{"query": "What is Delta?"}],
    }
    file = folder / "headgate.yaml"
    file.write_text(yaml.safe_dump({"applications": {"bot": one}}))
    return CliRunner().invoke(app, ["report", of, "--config", str(file), *options])


@pytest.fixture
def warehouse(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    assert workspace.host
    monkeypatch.setenv("DATABRICKS_WAREHOUSE_ID", "sandbox")


@pytest.mark.usefixtures("warehouse")
def test_the_command_tells_the_same_as_a_table_as_json_and_as_a_page(
    tmp_path: Path, users: Users
) -> None:
    told = reported(tmp_path, users, "--json")
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert found["emulated"] is True
    rows = {row["version"]: row for row in found["rows"]}
    assert {version: row["requests"] for version, row in rows.items()} == {
        version: len(users.of(version)) for version in ("1", "2", ALL)
    }
    html = tmp_path / "days.html"
    table = reported(tmp_path, users, "--html", str(html)).stdout
    page = Page.read(html.read_text())
    for version in ("1", "2"):
        row = rows[version]
        cells = [row["day"], f"version {version}", str(row["requests"]), str(row["errors"])]
        assert cells in [line[:4] for line in page.rows]
        assert all(cell in table for cell in cells)
    assert len(page.plots) == 5
    assert all("version 1" in plot and "all versions" in plot for plot in page.plots)
    assert "emulated" in page.text
    assert "emulated" in table


@pytest.mark.usefixtures("warehouse")
def test_the_bad_requests_of_a_release_are_looked_up_again_when_they_are_asked_for(
    tmp_path: Path, users: Users
) -> None:
    story = Recorded().keep(tmp_path)
    story.look(times=2)
    story.register(2)
    story.error_rates["2"] = 0.3
    story.until("RolledBack")
    story.look(times=3)
    began = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    log = tmp_path / "daemon.log"
    with log.open("w") as file:
        for line in story.store.journal():
            known = line | ({"first_bad_from": began} if "first_bad_from" in line else {})
            file.write(json.dumps(known).replace("rag-chatbot", "bot") + "\n")
    story.store.close()
    told = reported(tmp_path, users, "--logs", str(log), "--json", of="bot/2")
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    failed = [status for status, _ in users.of("2") if status != 200]
    assert found["asked_now"]["statuses"] == [["400", len(failed)]]
    assert len(found["request_ids"]) == min(3, len(failed))
    shown = reported(tmp_path, users, "--logs", str(log), of="bot/2")
    assert f"asked again: the inference table has {len(failed)} of the bad requests" in shown.stdout
    alone = CliRunner().invoke(app, ["report", "bot/2", "--logs", str(log), "--json"])
    assert json.loads(alone.stdout)["asked_now"] is None


@pytest.mark.usefixtures("warehouse")
def test_an_endpoint_that_is_not_there_and_an_application_that_is_not_configured_are_named(
    tmp_path: Path, users: Users
) -> None:
    gone = Users(users.workspace, "no-such-endpoint", "")
    told = reported(tmp_path, gone)
    assert (told.exit_code, told.stdout) == (2, "")
    assert "there is no endpoint no-such-endpoint yet" in told.stderr
    other = CliRunner().invoke(app, ["report", "rob", "--config", str(tmp_path / "headgate.yaml")])
    assert other.exit_code == 2
    assert "has no application rob; there is bot" in other.stderr
    assert "say --config FILE" in CliRunner().invoke(app, ["report", "bot"]).stderr
