import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from databricks.sdk import errors
from databricks.sdk.service.sql import (
    Disposition,
    StatementParameterListItem,
    StatementResponse,
    StatementState,
)

from deploy.sandbox.workspace import Settings
from tests.deploy.sandbox.stage import Stage, until


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    settings = Settings(data=tmp_path_factory.mktemp("data"), chunk_rows=10)
    with Stage({}, settings) as stage:
        stage.rows("CREATE SCHEMA main.facts")
        stage.rows(
            "CREATE TABLE main.facts.calls (id INT, ms BIGINT, at TIMESTAMP, body STRING) "
            "USING DELTA"
        )
        stage.rows(
            "INSERT INTO main.facts.calls SELECT id, id * 10, "
            "timestampadd(MINUTE, id, timestamp'2026-01-01 00:00:00'), "
            '\'{"a":{"b":"x"},"n":[1,2]}\' FROM (SELECT explode(sequence(1, 25)) AS id)'
        )
        yield stage


def _run(stage: Stage, sql: str) -> StatementResponse:
    return stage.sdk.statement_execution.execute_statement(sql, "sandbox")


def _one(stage: Stage, expression: str) -> str | None:
    [[cell]] = stage.rows(f"SELECT {expression} AS x")
    return cell


def test_a_failure_of_sql_is_a_successful_response_that_says_failed(stage: Stage) -> None:
    url = f"{stage.host}/api/2.0/sql/statements"
    body = {"warehouse_id": "sandbox", "statement": "SELECT * FROM main.facts.nothing"}
    response = stage.session.post(url, json=body, timeout=10)
    assert response.status_code == 200
    status = response.json()["status"]
    assert status["state"] == "FAILED"
    assert status["error"]["error_code"] == "BAD_REQUEST"
    assert "TABLE_OR_VIEW_NOT_FOUND" in status["error"]["message"]
    assert status["sql_state"] == "42P01"


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELEC 1", "PARSE_SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", "PARSE_SYNTAX_ERROR"),
        ("SELECT nothing FROM main.facts.calls", "UNRESOLVED_COLUMN"),
        ("SELECT 1 / 0", "DIVIDE_BY_ZERO"),
        ("SELECT ms / (id - id) FROM main.facts.calls", "DIVIDE_BY_ZERO"),
        ("SELECT CAST('x' AS INT)", "CAST_INVALID_INPUT"),
        ("SELECT :unbound", "UNBOUND_SQL_PARAMETER"),
        ("SELECT xxhash64('a')", "UNSUPPORTED_FEATURE"),
    ],
)
def test_statements_that_fail(stage: Stage, sql: str, words: str) -> None:
    failed = _run(stage, sql)
    assert failed.status is not None
    assert failed.status.state == StatementState.FAILED
    assert failed.status.error is not None
    assert words in str(failed.status.error.message)


@pytest.mark.parametrize(
    ("expression", "cell"),
    [
        ("1", "1"),
        ("true", "true"),
        ("NULL", None),
        ("7 / 2", "3.5"),
        ("try_divide(1, 0)", None),
        ("date'2026-01-02'", "2026-01-02"),
        ("timestamp'2026-01-02 03:04:05.678'", "2026-01-02T03:04:05.678Z"),
        ("array(1, 2)", "[1, 2]"),
        ("""get_json_object('{"a":[{"b":"x"}]}', '$.a[0].b')""", "x"),
        ("get_json_object('no json', '$.a')", None),
        (
            "timestampdiff(MINUTE, timestamp'2026-01-01 00:00:50', timestamp'2026-01-01 00:01:10')",
            "0",
        ),
        ("unix_millis(timestamp'1970-01-01 00:00:01')", "1000"),
        ("date_sub(date'2026-01-02', 1)", "2026-01-01"),
        ("bigint('5')", "5"),
        ("from_json('{\"a\":[1,2]}', 'a ARRAY<INT>').a[1]", "2"),
        ("to_timestamp('02/01/2026', 'dd/MM/yyyy')", "2026-01-02T00:00:00.000Z"),
        ("timestamp_millis(1500)", "1970-01-01T00:00:01.500Z"),
        ("CAST('2026-01-01' AS TIMESTAMP)", "2026-01-01T00:00:00.000Z"),
        ("date_trunc('HOUR', timestamp'2026-01-01 05:06:07')", "2026-01-01T05:00:00.000Z"),
    ],
)
def test_a_cell_is_a_string_as_databricks_writes_it(
    stage: Stage, expression: str, cell: str | None
) -> None:
    assert _one(stage, expression) == cell


def test_percentiles_are_a_value_and_medians_interpolate(stage: Stage) -> None:
    # The examples of the platform's documentation.
    values = "(SELECT explode(array(0, 1, 2, 10)) AS v)"
    [row] = stage.rows(
        f"SELECT percentile_approx(v, 0.5), percentile_approx(v, array(0.5, 0.25)), "  # noqa: S608
        f"percentile(v, 0.5), count_if(v > 1) FROM {values}"
    )
    assert row == ["1", "[1, 0]", "1.5", "2"]


def test_a_string_column_is_read_as_json_by_its_path(stage: Stage) -> None:
    rows = stage.rows("SELECT body:a.b, body:n[1]::int FROM main.facts.calls LIMIT 1")
    assert rows == [["x", "2"]]


def test_columns_have_databricks_types_and_names(stage: Stage) -> None:
    answer = _run(
        stage, "SELECT id, ms, at, body, count(*), avg(ms) AS m FROM main.facts.calls GROUP BY ALL"
    )
    assert answer.manifest is not None
    assert answer.manifest.schema is not None
    columns = answer.manifest.schema.columns or []
    assert [(one.name, one.type_text) for one in columns] == [
        ("id", "INT"),
        ("ms", "BIGINT"),
        ("at", "TIMESTAMP"),
        ("body", "STRING"),
        ("count(1)", "BIGINT"),
        ("m", "DOUBLE"),
    ]


def test_a_long_result_comes_in_chunks(stage: Stage) -> None:
    answer = _run(stage, "SELECT id FROM main.facts.calls ORDER BY id")
    assert answer.manifest is not None
    assert answer.manifest.total_chunk_count == 3
    assert answer.result is not None
    chunk, cells = answer.result, list(answer.result.data_array or [])
    while chunk.next_chunk_index is not None:
        chunk = stage.sdk.statement_execution.get_statement_result_chunk_n(
            str(answer.statement_id), chunk.next_chunk_index
        )
        cells += chunk.data_array or []
    assert [cell for [cell] in cells] == [str(number) for number in range(1, 26)]


def test_no_rows_are_an_empty_result(stage: Stage) -> None:
    answer = _run(stage, "SELECT id FROM main.facts.calls WHERE id < 0")
    assert answer.manifest is not None
    assert answer.manifest.total_chunk_count == 0
    assert answer.result is not None
    assert answer.result.data_array is None


def test_named_parameters_have_types(stage: Stage) -> None:
    def item(name: str, value: str | None, kind: str | None = None) -> StatementParameterListItem:
        return StatementParameterListItem(name=name, value=value, type=kind)

    rows = stage.rows(
        "SELECT count(*), max(:text), max(:none) FROM IDENTIFIER(:table) "
        "WHERE id >= :least AND at < :until",
        parameters=[
            item("table", "main.facts.calls"),
            item("least", "10", "INT"),
            item("until", "2026-01-01T00:20:00Z", "TIMESTAMP"),
            item("text", "it's; --"),
            item("none", None, "DATE"),
        ],
    )
    assert rows == [["10", "it's; --", None]]


def test_names_have_three_levels_and_defaults(stage: Stage) -> None:
    count = "SELECT count(*) AS n FROM calls"
    assert stage.rows(count, schema="facts") == [["25"]]
    assert stage.rows("WITH calls AS (SELECT 1 AS n) SELECT n FROM calls") == [["1"]]
    assert stage.rows("SELECT max(main.facts.calls.id) FROM main.facts.calls") == [["25"]]
    assert stage.rows("SHOW TABLES IN main.facts") == [["facts", "calls", "false"]]


def test_whether_a_table_exists_can_be_asked_for(stage: Stage) -> None:
    assert stage.sdk.tables.exists("main.facts.calls").table_exists is True
    assert stage.sdk.tables.exists("main.facts.nothing").table_exists is False


def test_changes_say_how_many_rows_they_changed(stage: Stage) -> None:
    stage.rows("CREATE TABLE main.facts.small AS SELECT 1 AS id UNION ALL SELECT 2")
    assert stage.rows("UPDATE main.facts.small SET id = 3 WHERE id = 2") == [["1"]]
    assert stage.rows("DELETE FROM main.facts.small") == [["2"]]
    stage.rows("DROP TABLE main.facts.small")


def test_now_is_the_workspaces_time_in_utc(stage: Stage) -> None:
    stage.time.ahead += 86_400
    try:
        cell = _one(stage, "current_timestamp()")
    finally:
        stage.time.ahead -= 86_400
    assert cell is not None
    ahead = datetime.fromisoformat(cell) - datetime.now(UTC)
    assert 86_300 < ahead.total_seconds() < 86_401
    assert _one(stage, "now() - current_timestamp() = INTERVAL 0 SECOND") == "true"


def test_a_statement_without_waiting_is_pending_first(stage: Stage) -> None:
    sdk = stage.sdk.statement_execution
    asked = sdk.execute_statement("SELECT 1", "sandbox", wait_timeout="0s")
    assert asked.status is not None
    assert asked.status.state == StatementState.PENDING

    def state() -> StatementState | None:
        status = sdk.get_statement(str(asked.statement_id)).status
        return None if status is None else status.state

    until(lambda: state() == StatementState.SUCCEEDED)


def test_a_statement_is_cancelled(stage: Stage) -> None:
    sdk = stage.sdk.statement_execution
    slow = "SELECT count(*) FROM range(1000000000) a, range(1000000) b"
    asked = sdk.execute_statement(slow, "sandbox", wait_timeout="0s")
    time.sleep(0.2)
    sdk.cancel_execution(str(asked.statement_id))
    status = sdk.get_statement(str(asked.statement_id)).status
    assert status is not None
    assert status.state == StatementState.CANCELED


def test_pending_may_be_answered_several_times(stage: Stage) -> None:
    settings = stage.workspace.settings
    object.__setattr__(settings, "sql_pending_polls", 2)
    try:
        asked = _run(stage, "SELECT 1")
    finally:
        object.__setattr__(settings, "sql_pending_polls", 0)
    states = [_state(asked)]
    while states[-1] != StatementState.SUCCEEDED:
        again = stage.sdk.statement_execution.get_statement(str(asked.statement_id))
        states.append(_state(again))
    assert states.count(StatementState.PENDING) == 2


def _state(asked: StatementResponse) -> StatementState | None:
    return None if asked.status is None else asked.status.state


def test_there_is_one_warehouse(stage: Stage) -> None:
    assert [one.id for one in stage.sdk.warehouses.list()] == ["sandbox"]
    assert stage.sdk.warehouses.get("sandbox").state is not None
    with pytest.raises(errors.NotFound):
        stage.sdk.statement_execution.execute_statement("SELECT 1", "another")


def test_requests_that_are_refused(stage: Stage) -> None:
    sdk = stage.sdk.statement_execution
    with pytest.raises(errors.InvalidParameterValue, match="wait_timeout"):
        sdk.execute_statement("SELECT 1", "sandbox", wait_timeout="3s")
    with pytest.raises(errors.NotImplemented):
        sdk.execute_statement("SELECT 1", "sandbox", disposition=Disposition.EXTERNAL_LINKS)
    with pytest.raises(errors.NotFound):
        sdk.get_statement("unknown")
