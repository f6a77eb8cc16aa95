from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.sandbox.endpoints import Entity, Record
from deploy.sandbox.inference import Exchange, Inference
from deploy.sandbox.warehouse import Warehouse
from deploy.sandbox.workspace import Database, Settings, Workspace
from tests.deploy.sandbox.stage import CALLER, Stage, serving, staged

LAG_S = 60.0
COLUMNS = [
    *("request_date", "databricks_request_id", "client_request_id", "request_time"),
    *("status_code", "sampling_fraction", "execution_duration_ms", "request", "response"),
    *("served_entity_id", "logging_error_codes", "requester"),
]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from staged(tmp_path_factory, update_s=0.0, table_lag_s=LAG_S)


def _table(name: str) -> dict[str, Any]:
    place = {"catalog_name": "main", "schema_name": "rag", "table_name_prefix": name}
    return {"inference_table_config": {**place, "enabled": True}}


def test_rows_are_the_requests_and_appear_only_after_the_lag(stage: Stage) -> None:
    stage.create("lag", serving(v1=100), ai_gateway=_table("lag"))
    for number in range(20):
        stage.ask("lag", "hello", client_request_id=f"c-{number}")
    count = "SELECT count(*), count(DISTINCT client_request_id) FROM main.rag.lag_payload"
    assert stage.rows(count) == [["0", "0"]]
    stage.time.ahead += LAG_S - 5
    assert stage.rows(count) == [["0", "0"]]
    stage.time.ahead += 10
    assert stage.rows(count) == [["20", "20"]]


def test_the_change_data_feed_tells_when_each_row_was_committed(stage: Stage) -> None:
    stage.create("feed", serving(v1=100), ai_gateway=_table("feed"))
    changes = (
        "SELECT _change_type, unix_millis(_commit_timestamp) - unix_millis(request_time) AS lag_ms "
        "FROM table_changes('`main`.`rag`.`feed_payload`', '2020-01-01 00:00:00')"
    )
    stage.ask("feed", "hello")
    assert stage.rows(changes) == []
    stage.time.ahead += LAG_S + 1
    [[kind, lag_ms]] = stage.rows(changes)
    assert (kind, round(int(lag_ms or 0) / 1000)) == ("insert", LAG_S)
    version = stage.rows(
        "SELECT _commit_version FROM table_changes('main.rag.feed_payload', '2020-01-01')"
    )
    assert version == [["1"]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("'main.rag.none_payload', '2020-01-01'", "[UNSUPPORTED_FEATURE]"),
        ("'main.rag.fed_payload', '2100-01-01'", "[DELTA_TIMESTAMP_GREATER_THAN_COMMIT]"),
        ("'main.rag.fed_payload', 3", "[UNSUPPORTED_FEATURE]"),
        ("'main.rag.fed_payload', '2020-01-01', '2021-01-01'", "[UNSUPPORTED_FEATURE]"),
    ],
)
def test_a_change_data_feed_that_the_sandbox_does_not_have_is_refused(
    stage: Stage, call: str, words: str
) -> None:
    if "fed" not in {one.name for one in stage.sdk.serving_endpoints.list()}:
        stage.create("fed", serving(v1=100), ai_gateway=_table("fed"))
        stage.ask("fed", "hello")
        stage.time.ahead += LAG_S + 1
    answer = stage.sdk.statement_execution.execute_statement(
        f"SELECT * FROM table_changes({call})",  # noqa: S608 - the test's own
        "sandbox",
    )
    assert answer.status is not None
    assert answer.status.error is not None
    assert str(answer.status.error.message).startswith(words)


def test_a_row_tells_what_was_asked_and_answered(stage: Stage) -> None:
    stage.create("row", serving(v1=100), ai_gateway=_table("row"))
    stage.ask("row", "hello", client_request_id="mine")
    stage.ask("row", "boom")
    stage.time.ahead += LAG_S + 1
    described = stage.rows("DESCRIBE TABLE main.rag.row_payload")
    assert [row[0] for row in described] == COLUMNS
    types = {str(row[0]): row[1] for row in described}
    assert types["request_time"] == "timestamp"
    assert types["logging_error_codes"] == "array<string>"
    [good, bad] = stage.rows("SELECT * FROM main.rag.row_payload ORDER BY request_time")
    shown = dict(zip(COLUMNS, good, strict=True))
    assert shown["client_request_id"] == "mine"
    assert shown["status_code"] == "200"
    assert shown["requester"] == CALLER
    assert shown["logging_error_codes"] == "[]"
    assert '"mine"' in str(shown["request"])
    assert shown["response"] == '{"predictions": ["one"]}'
    assert dict(zip(COLUMNS, bad, strict=True))["status_code"] == "400"


def test_the_ids_of_rows_lead_to_versions_and_outlive_a_change_of_traffic(stage: Stage) -> None:
    stage.create("ids", serving(v1=100, v2=0), ai_gateway=_table("ids"))
    stage.ask("ids", "hello", "v1")
    stage.ask("ids", "hello", "v2")
    stage.update("ids", serving(v1=50, v2=50))
    stage.ask("ids", "hello", "v2")
    stage.update("ids", serving(v1=100))
    stage.update("ids", serving(v1=100, v2=0))
    stage.ask("ids", "hello", "v2")
    stage.time.ahead += LAG_S + 1
    joined = stage.rows(
        "SELECT e.served_entity_name, e.entity_version, e.endpoint_config_version, count(*) AS n "
        "FROM main.rag.ids_payload AS p JOIN system.serving.served_entities AS e "
        "ON e.served_entity_id = p.served_entity_id AND e.endpoint_name = 'ids' "
        "GROUP BY ALL ORDER BY ALL"
    )
    # The second version left and came again: that is another served entity.
    assert joined == [["v1", "1", "1", "1"], ["v2", "2", "1", "2"], ["v2", "2", "4", "1"]]


def test_the_list_of_served_entities_lags_too(stage: Stage) -> None:
    stage.create("listed", serving(v1=100))
    count = (
        "SELECT count(*) AS n FROM system.serving.served_entities WHERE endpoint_name = 'listed'"
    )
    assert stage.rows(count) == [["0"]]
    stage.time.ahead += LAG_S + 1
    assert stage.rows(count) == [["1"]]


def test_a_deleted_endpoint_is_marked_in_the_list_of_served_entities(stage: Stage) -> None:
    stage.create("gone", serving(v1=100))
    stage.sdk.serving_endpoints.delete("gone")
    stage.time.ahead += LAG_S + 1
    rows = stage.rows(
        "SELECT endpoint_delete_time IS NOT NULL AS gone FROM system.serving.served_entities "
        "WHERE endpoint_name = 'gone' ORDER BY change_time"
    )
    assert [row[0] for row in rows] == ["false", "true"]


def test_what_is_too_large_is_left_out_and_said_so(stage: Stage) -> None:
    stage.create("size", serving(v1=100), ai_gateway=_table("size"))
    stage.ask("size", "much")
    stage.ask("size", "x" * (1 << 20))
    stage.time.ahead += LAG_S + 1
    rows = stage.rows(
        "SELECT request IS NULL, response IS NULL, logging_error_codes[0] "
        "FROM main.rag.size_payload ORDER BY request_time"
    )
    assert rows == [
        ["false", "true", "MAX_RESPONSE_SIZE_EXCEEDED"],
        ["true", "false", "MAX_REQUEST_SIZE_EXCEEDED"],
    ]


def test_an_endpoint_without_a_table_logs_nothing(stage: Stage) -> None:
    stage.create("bare", serving(v1=100))
    stage.ask("bare", "hello")
    failed = stage.sdk.statement_execution.execute_statement(
        "SELECT * FROM main.rag.bare_payload", "sandbox"
    )
    assert failed.status is not None
    assert failed.status.error is not None
    stage.call("PUT", "/bare/ai-gateway", _table("bare"))
    stage.ask("bare", "hello")
    stage.time.ahead += LAG_S + 1
    assert stage.rows("SELECT count(*) FROM main.rag.bare_payload") == [["1"]]


def test_a_table_cannot_move_while_it_is_enabled(stage: Stage) -> None:
    stage.create("move", serving(v1=100), ai_gateway=_table("move"))
    moved = stage.call("PUT", "/move/ai-gateway", _table("moved"))
    assert moved.status_code == 400
    assert "must be disabled" in moved.json()["message"]


def _exchange(status: int, time: float) -> Exchange:
    entity = Entity(
        name="v1",
        entity_name="m",
        entity_version="1",
        workload_type="CPU",
        workload_size="Small",
        min_concurrency=4,
        max_concurrency=4,
        scale_to_zero=False,
        environment={},
        served_entity_id="0" * 32,
    )
    return Exchange(
        time=time,
        entity=entity,
        status=status,
        execution_ms=1.0,
        request=b"{}",
        response=b"{}",
        client_request_id=None,
        requester="r",
    )


def test_statuses_are_left_out_rows_come_twice_and_out_of_order(tmp_path: Path) -> None:
    settings = Settings(
        data=tmp_path,
        table_lag_s=10,
        table_lag_jitter_s=10,
        table_duplicate_share=0.5,
        table_skip_statuses=(429, 500),
    )
    database = Database(tmp_path / "workspace.db")
    workspace = Workspace(settings, database, lambda: 0.0)
    inference, warehouse = Inference(workspace), Warehouse(workspace)
    record = Record("rag", "id", "me", 0, 0, ai_gateway=_table("rag"))
    inference.open(("main", "rag", "rag_payload"))
    for number in range(200):
        inference.log(record, _exchange((200, 429)[number % 2], 1000.0))
    with warehouse._open() as connection:
        inference.write(connection)

        def visible(now: float) -> Counter[str]:
            connection.execute("SET VARIABLE sandbox_now = ?", [now])
            rows = connection.execute(
                'SELECT databricks_request_id, status_code FROM "main.rag".rag_payload'
            ).fetchall()
            assert {row[1] for row in rows} <= {200}
            return Counter(row[0] for row in rows)

        assert visible(1009).total() == 0
        assert 50 <= visible(1015).total() <= 100
        complete = visible(1021)
    database.connection.close()
    assert len(complete) == 100
    assert 130 <= complete.total() <= 170
