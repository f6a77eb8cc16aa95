"""The platform's manners that a client sees only with time, or only under other settings."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk.errors import InvalidParameterValue, NotFound
from databricks.sdk.service.serving import (
    ServingEndpointAccessControlRequest,
    ServingEndpointPermissionLevel,
)
from databricks.sdk.service.sql import StatementState

from tests.deploy.sandbox.stage import CALLER, MODEL, Stage, entity, serving, staged, until

IDLE_S = 1000.0
LAG_S = 100.0


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A workspace whose metrics name entities, whose system tables are closed, and that forgets."""
    yield from staged(
        tmp_path_factory,
        update_s=0.0,
        idle_s=IDLE_S,
        table_lag_s=LAG_S,
        metrics_entity_labels=True,
        system_tables=False,
        table_drop_share=0.3,
    )


def _message(stage: Stage, name: str) -> str:
    served = stage.get(name)["config"]["served_entities"][0]
    return str(served["state"]["deployment_state_message"])


def _to_sleep(stage: Stage, name: str) -> dict[str, Any]:
    """An endpoint that has scaled to zero."""
    wanted = {"served_entities": [entity("1", scale_to_zero_enabled=True)]}
    stage.create(name, wanted)
    stage.answer(name, "hello")
    stage.time.ahead += IDLE_S + 1
    until(lambda: _message(stage, name) == "Scaled to zero")
    return stage.get(name)


def test_an_idle_entity_scales_to_zero_and_its_next_request_waits_for_a_start(
    stage: Stage,
) -> None:
    asleep = _to_sleep(stage, "zero")
    assert asleep["state"]["ready"] == "READY", "ready means that it would answer"
    assert asleep["config"]["served_entities"][0]["state"]["deployment"] == "DEPLOYMENT_READY"
    stage.workspace.faults.put(
        {"scope": "entity", "match": {"endpoint": "zero"}, "slow_start_s": 0.5, "times": 1}
    )
    began = time.monotonic()
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda _: stage.answer("zero", "pid"), range(4)))
    assert time.monotonic() - began >= 0.5
    assert len(set(answers)) == 1, "all of them wait for the same start"
    assert _message(stage, "zero") == ""
    stage.workspace.faults.clear()


def test_an_entity_that_may_not_scale_to_zero_stays_awake(stage: Stage) -> None:
    stage.create("awake", serving(v1=100))
    pid = stage.answer("awake", "pid")
    stage.time.ahead += 2 * IDLE_S
    time.sleep(1.0)
    assert stage.answer("awake", "pid") == pid


def test_an_endpoint_that_sleeps_exports_no_metrics(stage: Stage) -> None:
    _to_sleep(stage, "silent")
    stage.time.ahead += 130
    contents = stage.sdk.serving_endpoints.export_metrics("silent").contents
    assert contents is not None
    assert contents.read() == b""


def test_metrics_can_name_the_served_entity(stage: Stage) -> None:
    stage.time.ahead += 70 - stage.time() % 60
    stage.create("labels", serving(v1=50, v2=50))
    stage.time.ahead += 60 - stage.time() % 60
    for version, question in (("v1", "hello"), ("v2", "hello"), ("v2", "boom")):
        stage.ask("labels", question, version)
    stage.time.ahead += 60
    contents = stage.sdk.serving_endpoints.export_metrics("labels").contents
    assert contents is not None
    lines = contents.read().decode().splitlines()
    counts = {}
    for line in lines:
        name, _, rest = line.partition("{")
        if name in {"request_count_total", "request_4xx_count_total"}:
            version = rest.partition('served_entity_name="')[2].partition('"')[0]
            counts[name, version] = int(rest.partition("} ")[2].split()[0])
    assert counts == {
        ("request_count_total", "v1"): 1,
        ("request_count_total", "v2"): 2,
        ("request_4xx_count_total", "v1"): 0,
        ("request_4xx_count_total", "v2"): 1,
    }
    declared = [line for line in lines if line.startswith("# TYPE request_count_total")]
    assert len(declared) == 1, "a metric is declared once, whatever its labels"


def test_rows_can_be_lost_for_ever(stage: Stage) -> None:
    place = {"catalog_name": "main", "schema_name": "manners", "enabled": True}
    stage.create("lost", serving(v1=100), ai_gateway={"inference_table_config": place})
    for _ in range(100):
        stage.ask("lost", "hello")
    stage.time.ahead += LAG_S + 1
    [[count]] = stage.rows("SELECT count(*) AS n FROM main.manners.lost_payload")
    assert 50 <= int(count or 0) <= 90


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM system.serving.served_entities",
        "SELECT count(*) FROM `system`.`serving`.`served_entities` AS e",
    ],
)
def test_without_access_to_system_tables_a_statement_fails_for_want_of_permission(
    stage: Stage, sql: str
) -> None:
    status = stage.sdk.statement_execution.execute_statement(sql, "sandbox").status
    assert status is not None
    assert status.state == StatementState.FAILED
    assert status.error is not None
    assert "INSUFFICIENT_PERMISSIONS" in str(status.error.message)


def test_every_answer_of_an_entity_names_it(stage: Stage) -> None:
    stage.create("named", serving(v1=100, v2=0))
    for question in ("hello", "boom"):
        assert stage.ask("named", question).headers["served-model-name"] == "v1"
        assert stage.ask("named", question, "v2").headers["served-model-name"] == "v2"


def test_permissions_go_by_the_endpoints_id(stage: Stage) -> None:
    shown = stage.create("permitted", serving(v1=100))
    endpoints = stage.sdk.serving_endpoints

    def levels() -> dict[str, str]:
        listed = endpoints.get_permissions(shown["id"]).access_control_list or []
        return {
            str(one.user_name or one.group_name or one.service_principal_name): str(
                (one.all_permissions or [])[0].permission_level
            ).rpartition(".")[2]
            for one in listed
        }

    everyone = {CALLER: "CAN_MANAGE", "admins": "CAN_MANAGE"}
    assert levels() == everyone
    query = ServingEndpointAccessControlRequest(
        group_name="users", permission_level=ServingEndpointPermissionLevel.CAN_QUERY
    )
    view = ServingEndpointAccessControlRequest(
        user_name="eve@example.com", permission_level=ServingEndpointPermissionLevel.CAN_VIEW
    )
    endpoints.set_permissions(shown["id"], access_control_list=[query])
    endpoints.update_permissions(shown["id"], access_control_list=[view])
    assert levels() == {**everyone, "users": "CAN_QUERY", "eve@example.com": "CAN_VIEW"}
    endpoints.set_permissions(shown["id"], access_control_list=[])
    assert levels() == everyone, "the creator and the administrators cannot be left out"
    offered = endpoints.get_permission_levels(shown["id"]).permission_levels or []
    assert {level.permission_level for level in offered} == set(ServingEndpointPermissionLevel)
    with pytest.raises(NotFound):
        endpoints.get_permissions("permitted")
    with pytest.raises(InvalidParameterValue):
        endpoints.set_permissions(
            shown["id"], access_control_list=[ServingEndpointAccessControlRequest()]
        )


def test_logs_tell_of_the_load_and_of_what_the_model_prints(stage: Stage) -> None:
    stage.create("logs", serving(v1=100))
    endpoints = stage.sdk.serving_endpoints
    assert "the index is loaded" in endpoints.build_logs("logs", "v1").logs
    assert "the index is loaded" not in endpoints.logs("logs", "v1").logs
    with pytest.raises(NotFound, match="no served entity"):
        endpoints.logs("logs", "v9")


def test_the_schema_of_an_endpoint_is_not_modelled_and_says_so(stage: Stage) -> None:
    stage.create("schema", serving(v1=100))
    with pytest.raises(Exception, match="does not model the OpenAPI schema"):
        stage.sdk.serving_endpoints.get_open_api("schema")


def test_the_deployments_client_of_mlflow_asks_and_lists(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from mlflow.deployments import get_deploy_client  # noqa: PLC0415 - seconds

    stage.create("deployments", serving(v1=100))
    monkeypatch.setenv("DATABRICKS_HOST", stage.host)
    monkeypatch.setenv("DATABRICKS_TOKEN", "any")
    monkeypatch.chdir(tmp_path)
    client: Any = get_deploy_client("databricks")  # type: ignore[no-untyped-call]
    answer = client.predict(
        endpoint="deployments", inputs={"dataframe_records": [{"question": "hello"}]}
    )
    assert answer["predictions"] == ["one"]
    assert client.get_endpoint("deployments")["config"]["served_models"][0]["model_name"] == MODEL
    assert "deployments" in [one["name"] for one in client.list_endpoints()]
