"""`headgate plan` against the sandbox: what it reads of an endpoint, and what it says without."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from databricks.sdk import WorkspaceClient
from typer.testing import CliRunner

from controller.console import surroundings
from controller.console.cli import app
from controller.workspace.errors import Unreachable
from controller.workspace.metrics import Traffic
from controller.workspace.serving import Endpoints, ServingSettings
from policies.guards import QUANTILES, History
from tests.contract.conftest import MODEL, Workspace, entity, name, serving, settled
from tests.controller.house import NAME, opened

PAST = History(
    requests=864_000,
    errors=4_320,
    answers=859_680,
    latency_ms=tuple(100.0 * (1 + index) for index in range(len(QUANTILES))),
    checked=859_680,
    faulty=8_600,
    lag=timedelta(minutes=20),
)


class Table:
    """Stable's last day, as the inference table would tell it."""

    asked: list[dict[str, Any]]
    answer: History | Unreachable = PAST

    def __init__(self, _client: WorkspaceClient, warehouse: str) -> None:
        assert warehouse == "sandbox"

    def history(self, **asked: object) -> History:
        type(self).asked.append(asked)
        if isinstance(self.answer, Unreachable):
            raise self.answer
        return self.answer


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> type[Table]:
    fresh = type("Fresh", (Table,), {"asked": [], "answer": PAST})
    monkeypatch.setattr(surroundings, "InferenceTable", fresh)
    monkeypatch.setenv("DATABRICKS_WAREHOUSE_ID", "sandbox")
    return fresh


@pytest.fixture
def endpoint(client: WorkspaceClient, settings: ServingSettings) -> Iterator[str]:
    endpoints, made = Endpoints(client), name()
    endpoints.create(made, serving(MODEL, v1=100), settings)
    settled(endpoints, made)
    yield made
    client.serving_endpoints.delete(made)


def planned(folder: Path, endpoint: str, application: str = "bot") -> dict[str, Any]:
    config = _config(folder, endpoint, application)
    told = CliRunner().invoke(app, ["plan", "--config", str(config), "--json"])
    assert told.exit_code == 0, told.output
    (found,) = json.loads(told.stdout)
    return dict(found)


def _config(folder: Path, endpoint: str, application: str = "bot") -> Path:
    one = {"model": MODEL, "endpoint": endpoint, "tests": [{"query": "What is Delta?"}]}
    file = folder / "headgate.yaml"
    file.write_text(yaml.safe_dump({"applications": {application: one}}))
    return file


def test_the_endpoints_own_traffic_and_stables_last_day_make_the_plan(
    tmp_path: Path, workspace: Workspace, client: WorkspaceClient, endpoint: str, table: type[Table]
) -> None:
    url = f"{workspace.host}/serving-endpoints/{endpoint}/invocations"
    head = {"Authorization": f"Bearer {workspace.token}"}
    deadline = time.monotonic() + 20
    while not Traffic(client).minutes(endpoint) or not planned(tmp_path, endpoint)["looks"]:
        assert time.monotonic() < deadline, "the metrics never saw a request"
        requests.post(
            url, headers=head, json={"dataframe_records": [{"query": "a"}]}, timeout=10
        ).raise_for_status()
    found = planned(tmp_path, endpoint)
    assert found["requests_per_second"] > 0
    assert found["lag_s"] == 1200
    assert found["error_rate"] == pytest.approx(0.005)
    assert set(found["guards"]) == {"errors", "latency", "answers"}
    (asked, *_) = table.asked
    assert (asked["endpoint"], asked["stable_entity"]) == (endpoint, entity("v1"))
    assert asked["application"] == "bot"


def test_a_table_that_cannot_be_read_is_an_assumption_and_no_failure(
    tmp_path: Path, endpoint: str, table: type[Table]
) -> None:
    table.answer = Unreachable("inference table t: the warehouse does not answer: start it")
    found = planned(tmp_path, endpoint)
    assert table.answer.args[0] in found["assumed"]
    assert found["lag_s"] == 3600
    assert set(found["guards"]) == {"errors"}


def test_the_records_minutes_make_the_pace_where_the_endpoint_is_quiet_now(
    tmp_path: Path, endpoint: str, table: type[Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    table.answer = Unreachable("inference table t: the warehouse does not answer: start it")
    with opened(tmp_path) as house:
        house.outside.requests = 1_200
        house.passes()
        store = f"sqlite:///{house.store.path}"
        kept = house.application().minutes
    assert {one.requests for one in kept} == {1_200}
    monkeypatch.setenv("HEADGATE_STORE", store)
    found = planned(tmp_path, endpoint, NAME)
    assert found["requests_per_second"] == pytest.approx(20, rel=0.2)
    assert any("that the endpoint's minutes, up to a day's, had" in one for one in found["assumed"])
    assert planned(tmp_path, endpoint)["requests_per_second"] < 1, "of another application"


def test_a_record_that_cannot_be_read_is_an_assumption_and_none_yet_is_no_news(
    tmp_path: Path, endpoint: str, table: type[Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert table.answer is PAST
    file = tmp_path / "other.db"
    monkeypatch.setenv("HEADGATE_STORE", f"sqlite:///{file}")
    assert not any("store" in one for one in planned(tmp_path, endpoint)["assumed"])
    assert not file.exists()
    file.write_text("nobody's database, and longer than the header of one would be")
    found = planned(tmp_path, endpoint)
    assert any(str(file) in one for one in found["assumed"])
    assert found["requests_per_second"] == pytest.approx(10, rel=0.01)


def test_an_endpoint_that_is_not_there_yet_is_a_first_release(
    tmp_path: Path, workspace: Workspace, table: type[Table]
) -> None:
    assert workspace.host
    found = planned(tmp_path, "not-there-yet")
    assert (found["steps"], found["pinned_steps"]) == ([], [100])
    assert any("there is no endpoint yet" in one for one in found["assumed"])
    assert not table.asked


def test_a_workspace_that_refuses_ends_with_5(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert workspace.host
    monkeypatch.setenv("DATABRICKS_TOKEN", "not-a-token")
    config = _config(tmp_path, "any")
    told = CliRunner().invoke(app, ["plan", "--config", str(config)])
    assert told.exit_code == 5
    assert told.stderr.startswith("headgate: ")
