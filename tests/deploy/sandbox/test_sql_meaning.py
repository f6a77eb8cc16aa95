"""What a statement means on Databricks, worked out by hand: rows in, statement, cells as strings.

The answers follow from the language's rules: nobody read them off the sandbox. A refusal is an
answer too: it says that the sandbox does not know, where DuckDB would have said something.
"""
# ruff: noqa: S608 - statements are put together from this file's own constants

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from databricks.sdk.service.sql import StatementParameterListItem, StatementState

from controller.workspace.inference import SERVED_ENTITIES, Ask, InferenceTable
from deploy.sandbox.workspace import Settings
from policies.evidence import NOTHING, Arm
from tests.deploy.sandbox.stage import Stage

NOON = 1_767_355_200.0
"""2026-01-02 12:00:00 UTC: what every statement here takes for now."""

PAYLOAD = "main.mon.rag_payload"
TABLES = (
    "CREATE SCHEMA main.mon",
    f"""CREATE TABLE {PAYLOAD} (request_date DATE, databricks_request_id STRING,
    client_request_id STRING, request_time TIMESTAMP, status_code INT, sampling_fraction DOUBLE,
    execution_duration_ms BIGINT, request STRING, response STRING, served_entity_id STRING,
    logging_error_codes ARRAY<STRING>, requester STRING) USING DELTA""",
    "CREATE TABLE main.mon.seen (id STRING, at TIMESTAMP, n INT) USING DELTA",
    "CREATE TABLE main.mon.few (x INT, g STRING) USING DELTA",
    "INSERT INTO main.mon.few VALUES (10, 'a'), (NULL, 'a'), (30, 'b'), (40, NULL)",
)
# Request, client's id, time, status, milliseconds, tokens in the response, entity.
REQUESTS = (
    ("r1", None, "2026-01-01 10:00:00", 200, 100, 10, "e1"),
    ("r2", None, "2026-01-01 10:20:00", 200, 200, 20, "e1"),
    ("r3", None, "2026-01-01 10:40:00", 200, 300, 30, "e1"),
    ("r4", None, "2026-01-01 23:59:59.999", 400, 1000, None, "e2"),
    ("r5", None, "2026-01-02 00:00:00", 200, 150, 40, "e2"),
    ("r5", None, "2026-01-02 00:00:00", 200, 150, 40, "e2"),  # at least once: twice
    ("r6", None, "2026-01-02 09:00:00", 500, 50, None, "e2"),
    ("r7", None, "2026-01-02 11:00:00", None, None, None, None),
    ("s1", "headgate/app/v1/1", "2026-01-02 11:20:00", 200, 5, None, "e1"),
    ("c1", "headgate/app/v2/1", "2026-01-02 11:30:00", 200, 5, None, "e2"),
)
ENTITIES = (
    ("e1", "main.rag.chatbot", "1", 3, "2026-01-01 09:00:00+00"),
    ("e2", "main.rag.chatbot", "2", 3, "2026-01-01 09:00:00+00"),
    # The table changes slowly: an older state of the same entity.
    ("e1", "main.rag.chatbot", "1", 2, "2025-12-31 09:00:00+00"),
)


def _inserted() -> str:
    def literal(value: object) -> str:
        return "NULL" if value is None else f"'{value}'" if isinstance(value, str) else str(value)

    rows = []
    for request, client, time, status, ms, tokens, entity in REQUESTS:
        response = None if tokens is None else f'{{"usage":{{"total_tokens":{tokens}}}}}'
        cells = (time[:10], request, client, time, status, 1.0, ms, "{}", response, entity)
        rows.append(", ".join(map(literal, cells)) + ", NULL, NULL")
    return f"INSERT INTO {PAYLOAD} VALUES ({'), ('.join(rows)})"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage({}, Settings(data=tmp_path_factory.mktemp("data"))) as stage:
        stage.workspace.clock = lambda: NOON
        for statement in (*TABLES, _inserted()):
            stage.rows(statement)
        stage.rows("SELECT 1 FROM system.serving.served_entities")
        connection = stage.workspace.warehouse._open()
        for entity, model, version, config, time in ENTITIES:
            connection.execute(
                'INSERT INTO sandbox."system.serving.served_entities" (served_entity_id, '
                "endpoint_name, served_entity_name, entity_name, entity_version, "
                "endpoint_config_version, change_time, visible_from) "
                "VALUES (?, 'rag', ?, ?, ?, ?, ?, 0)",
                [entity, f"v{version}", model, version, config, time],
            )
        yield stage


Rows = list[list[str | None]]

ONCE = f"""(SELECT * FROM {PAYLOAD} WHERE client_request_id IS NULL
QUALIFY row_number() OVER (PARTITION BY databricks_request_id ORDER BY request_time) = 1)"""

GUIDE: list[tuple[str, Rows]] = [
    # The guide's step 5, on the true columns: requests, mean and p95 latency, errors per day.
    (
        f"""SELECT request_date, COUNT(*) AS requests, AVG(execution_duration_ms) AS mean_ms,
        PERCENTILE_APPROX(execution_duration_ms, 0.95) AS p95_ms,
        SUM(CASE WHEN status_code >= 400 THEN 1 ELSE 0 END) AS errors
        FROM {PAYLOAD} WHERE client_request_id IS NULL
        GROUP BY request_date ORDER BY request_date DESC""",
        [
            ["2026-01-02", "4", "116.66666666666667", "150", "1"],
            ["2026-01-01", "4", "400.0", "1000", "1"],
        ],
    ),
    # The same without the rows that came twice, and with the rate in percent.
    (
        f"""SELECT date(request_time) AS day, count(*) AS requests,
        percentile(execution_duration_ms, 0.5) AS p50,
        round(100.0 * count_if(status_code >= 400) / count(*), 2) AS percent
        FROM {ONCE} GROUP BY ALL ORDER BY day""",
        [["2026-01-01", "4", "250.0", "25.00"], ["2026-01-02", "3", "100.0", "33.33"]],
    ),
    (
        f"""SELECT count_if(status_code >= 500) / count(*) AS rate,
        try_divide(count_if(status_code >= 500), count(status_code)) AS of_answered FROM {ONCE}""",
        [["0.14285714285714285", "0.16666666666666666"]],
    ),
    # Tokens are in the response only.
    (
        f"""SELECT served_entity_id, sum(response:usage.total_tokens::bigint) AS tokens,
        sum(get_json_object(response, '$.usage.total_tokens')::int) AS again,
        avg(from_json(response, 'usage STRUCT<total_tokens: BIGINT>').usage.total_tokens) AS mean
        FROM {ONCE} WHERE response IS NOT NULL GROUP BY served_entity_id ORDER BY 1""",
        [["e1", "60", "60", "20.0"], ["e2", "40", "40", "40.0"]],
    ),
    # Versions by the newest state of the system table.
    (
        f"""WITH named AS (
          SELECT served_entity_id, entity_name, entity_version FROM system.serving.served_entities
          WHERE endpoint_name = 'rag'
          QUALIFY row_number() OVER (PARTITION BY served_entity_id ORDER BY change_time DESC) = 1)
        SELECT e.entity_version, count(*) AS requests, max_by(p.databricks_request_id,
          p.request_time) AS newest, min(p.request_time) AS first
        FROM {ONCE} p LEFT JOIN named e ON e.served_entity_id = p.served_entity_id
        GROUP BY e.entity_version ORDER BY e.entity_version""",
        [
            [None, "1", "r7", "2026-01-02T11:00:00.000Z"],
            ["1", "3", "r3", "2026-01-01T10:00:00.000Z"],
            ["2", "3", "r6", "2026-01-01T23:59:59.999Z"],
        ],
    ),
    # Hours, and a window of the last day that `now` closes.
    (
        f"""SELECT date_trunc('HOUR', request_time) AS hour, count(*) AS n FROM {PAYLOAD}
        WHERE request_date >= current_date() - INTERVAL 1 DAY
        AND request_time >= current_timestamp() - INTERVAL 12 HOURS
        GROUP BY hour ORDER BY hour""",
        [
            ["2026-01-02T00:00:00.000Z", "2"],
            ["2026-01-02T09:00:00.000Z", "1"],
            ["2026-01-02T11:00:00.000Z", "3"],
        ],
    ),
    (
        f"""SELECT date_format(request_time, 'yyyy-MM-dd HH:mm') AS minute, status_code
        FROM {PAYLOAD} WHERE request_time BETWEEN '2026-01-01 10:20:00' AND '2026-01-01 10:40:00'
        ORDER BY request_time""",
        [["2026-01-01 10:20", "200"], ["2026-01-01 10:40", "200"]],
    ),
    (
        f"""SELECT databricks_request_id AS id, datediff(SECOND, lag(request_time) OVER
        (ORDER BY request_time), request_time) AS since
        FROM {ONCE} ORDER BY request_time LIMIT 3""",
        [["r1", None], ["r2", "1200"], ["r3", "1200"]],
    ),
]


@pytest.mark.parametrize(("statement", "rows"), GUIDE)
def test_what_a_user_of_the_guide_asks_the_tables(stage: Stage, statement: str, rows: Rows) -> None:
    assert stage.rows(statement) == rows


def test_the_products_look_at_an_inference_table(stage: Stage) -> None:
    ten = datetime(2026, 1, 1, 10, tzinfo=UTC)
    midnight = datetime(2026, 1, 2, tzinfo=UTC)
    answer = InferenceTable(stage.sdk, "sandbox").look(
        Ask(
            application="app",
            endpoint="rag",
            table=PAYLOAD,
            candidate_entity="v2",
            stable_entity="v1",
            since=ten,
            cuts=(midnight,),
        )
    )
    assert answer.now == datetime(2026, 1, 2, 12, tzinfo=UTC)
    # A request stands where it was answered: both came on the minute.
    took = timedelta(milliseconds=5)
    # The candidate's beat is of ten minutes later: what both have told of is known.
    assert answer.watermark == datetime(2026, 1, 2, 11, 20, tzinfo=UTC) + took
    before, after = answer.windows
    assert (before.opened, before.closed, after.closed) == (ten, midnight, answer.watermark)
    assert before.stable == Arm(requests=3, errors=0, server_errors=0)
    assert before.candidate == NOTHING, "what came just before midnight was answered after it"
    assert after.stable == NOTHING
    # What came twice is counted once; a missing status is a timeout, and nobody's by name.
    assert after.candidate == Arm(requests=3, errors=2, server_errors=1)
    assert after.unattributed == 1


def test_the_products_question_for_names(stage: Stage) -> None:
    endpoint = StatementParameterListItem(name="endpoint", value="rag", type="STRING")
    rows = stage.rows(SERVED_ENTITIES, [endpoint])
    assert sorted(rows) == [["e1", "v1"], ["e1", "v1"], ["e2", "v2"]]


MERGE = f"""MERGE INTO main.mon.seen AS t
USING (SELECT databricks_request_id AS id, max(request_time) AS at, count(*) AS n
  FROM {PAYLOAD} WHERE client_request_id IS NULL GROUP BY databricks_request_id) AS s
ON t.id = s.id
WHEN MATCHED AND t.n <> s.n THEN UPDATE SET t.n = s.n
WHEN NOT MATCHED THEN INSERT (id, at, n) VALUES (s.id, s.at, s.n)"""


def test_a_merge_keeps_each_request_once_and_tells_what_it_changed(stage: Stage) -> None:
    stage.rows("DELETE FROM main.mon.seen")
    stage.rows("INSERT INTO main.mon.seen VALUES ('r5', timestamp'2026-01-02 00:00:00', 1)")
    # Affected, updated, deleted, inserted.
    assert stage.rows(MERGE) == [["7", "1", "0", "6"]]
    assert stage.rows(MERGE) == [["0", "0", "0", "0"]]
    assert stage.rows("SELECT id, n FROM main.mon.seen WHERE n > 1") == [["r5", "2"]]
    # Two rows for one: Databricks does not choose.
    twice = f"""MERGE INTO main.mon.seen t USING {PAYLOAD} s ON t.id = s.databricks_request_id
    WHEN MATCHED THEN UPDATE SET n = s.status_code"""
    assert "MERGE_CARDINALITY_VIOLATION" in _failure(stage, twice)


FEW = "FROM main.mon.few"
QUERIES: list[tuple[str, Rows]] = [
    # NULL comes first ascending and last descending; rows of nothing are counted as 0, summed NULL.
    (f"SELECT x {FEW} ORDER BY x", [[None], ["10"], ["30"], ["40"]]),
    (f"SELECT x {FEW} ORDER BY x DESC", [["40"], ["30"], ["10"], [None]]),
    (f"SELECT x {FEW} ORDER BY x NULLS LAST", [["10"], ["30"], ["40"], [None]]),
    (f"SELECT x, rank() OVER (ORDER BY x) AS r {FEW} WHERE x > 1 ORDER BY x DESC LIMIT 1",
     [["40", "3"]]),
    (f"SELECT count(*), count(x), count_if(x > 10), sum(x), avg(x), min(x), max(g) {FEW}",
     [["4", "3", "2", "80", "26.666666666666668", "10", "b"]]),
    (f"SELECT count_if(x > 10), sum(x), avg(x), max(x), count(*) {FEW} WHERE x > 99",
     [["0", None, None, None, "0"]]),
    (f"SELECT g, sum(x) AS s {FEW} GROUP BY g ORDER BY g",
     [[None, "40"], ["a", "10"], ["b", "30"]]),
    (f"SELECT count(DISTINCT g), approx_count_distinct(g), collect_list(x) {FEW}",
     [["2", "2", "[10, 30, 40]"]]),
    # Interpolated, or one of the values: the documentation's three functions.
    (f"SELECT percentile(x, 0.75), median(x), percentile_approx(x, 0.5) {FEW}",
     [["35.0", "30.0", "30"]]),
    ("SELECT percentile_approx(c, array(0.5, 0.4, 0.1), 100) FROM VALUES (0), (1), (2), (10) t(c)",
     [["[1, 1, 0]"]]),
    ("SELECT percentile(c, array(0.25, 0.75)) FROM VALUES (0), (10) t(c)", [["[2.5, 7.5]"]]),
    ("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY c) FROM VALUES (1), (2) t(c)", [["1.5"]]),
    # The answer that goes with the greatest value may itself be NULL.
    ("SELECT max_by(a, b), min_by(a, b) FROM VALUES (NULL, 2), (1, 1) t(a, b)", [[None, "1"]]),
    (f"SELECT x {FEW} WHERE g NOT IN ('b', NULL)", []),
    (f"SELECT sum(x) FILTER (WHERE g = 'a') AS a, bool_or(x > 30), bool_and(x > 30) {FEW}",
     [["10", "true", "false"]]),
    ("SELECT stddev(c), stddev_pop(c), variance(c) FROM VALUES (2), (4) t(c)",
     [["1.4142135623730951", "1.0", "2.0"]]),
    ("SELECT v FROM (SELECT explode(array(3, 4)) AS v) ORDER BY v", [["3"], ["4"]]),
    ("SELECT t.v FROM (SELECT 1 AS one) LATERAL VIEW explode(array(7)) t AS v", [["7"]]),
    ("SELECT id FROM range(2) ORDER BY id", [["0"], ["1"]]),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "rows"), QUERIES)
def test_queries(stage: Stage, statement: str, rows: Rows) -> None:
    assert stage.rows(statement) == rows


VALUES: list[tuple[str, str | None]] = [
    # Division: doubles of integers, decimals of decimals, `div` towards zero.
    ("7 / 2", "3.5"),
    ("4 / 2", "2.0"),
    ("7 div 2", "3"),
    ("-7 div 2", "-3"),
    ("-7 % 3", "-1"),
    ("try_divide(1, 0)", None),
    ("1.5 / 2", "0.750000"),
    ("2.0 / 3", "0.666667"),
    ("-2.0 / 3", "-0.666667"),
    ("100.0 * count(*) / count(*)", "100.00000000000000"),
    ("CAST(1 AS DECIMAL(10, 2)) / 3", "0.333333"),
    ("1.0 / CAST(3 AS DOUBLE)", "0.3333333333333333"),
    ("0.1 + 0.2", "0.3"),
    ("1.5 * 2.25", "3.375"),
    ("CAST(0 AS DECIMAL(10, 6))", "0.000000"),
    # Casts to integers cut, and take whole numbers only from text.
    ("CAST(5.7 AS INT)", "5"),
    ("CAST(-5.7D AS BIGINT)", "-5"),
    ("CAST(' 12 ' AS INT)", "12"),
    ("try_cast('5.7' AS INT)", None),
    ("try_cast('x' AS BIGINT)", None),
    ("bigint('7')", "7"),
    ("CAST(true AS INT)", "1"),
    ("CAST(timestamp'1970-01-01 00:00:10.9' AS BIGINT)", "10"),
    # Numbers as text, and rounding half up.
    ("CAST(1.0D AS STRING)", "1.0"),
    ("CAST(1.50 AS STRING)", "1.50"),
    ("12345678.0D", "1.2345678E7"),
    ("0.0001D", "1.0E-4"),
    ("CAST(0.1 AS FLOAT)", "0.1"),
    ("sqrt(-1)", "NaN"),
    ("ln(0)", None),
    ("round(2.5)", "3"),
    ("round(-2.5)", "-3"),
    ("round(2.345, 2)", "2.35"),
    ("round(2.5D)", "3.0"),
    ("floor(-2.5)", "-3"),
    ("ceil(2.1D)", "3"),
    # Comparisons and NULL.
    ("'10' < '9'", "true"),
    ("'10' < 9", "false"),
    ("'a' < 'B'", "false"),
    ("NULL = NULL", None),
    ("NULL <=> NULL", "true"),
    ("greatest(1, NULL, 3)", "3"),
    ("coalesce(NULL, 'x')", "x"),
    ("CASE WHEN NULL THEN 1 ELSE 2 END", "2"),
    # Text.
    ("concat('a', NULL)", None),
    ("concat_ws('-', 'a', NULL, 1)", "a-1"),
    ("'n' || 1.5D", "n1.5"),
    ("concat('at ', timestamp'2026-01-02 03:04:05')", "at 2026-01-02 03:04:05"),
    ("substr('hello', 0, 2)", "he"),
    ("substring('hello', -3)", "llo"),
    (r"'a_c' LIKE 'a\\_c'", "true"),
    (r"'abc' LIKE 'a\\_c'", "false"),
    ("'abc' LIKE 'A%'", "false"),
    ("'abc' ILIKE 'A%'", "true"),
    (r"regexp_extract('foo-123', '(\\d+)', 1)", "123"),
    ("regexp_replace('aXbX', 'X', '-')", "a-b-"),
    ("size(split('a,b,,', ','))", "4"),
    ("length('héllo')", "5"),
    ("md5('a')", "0cc175b9c0f1b6a831c399e269772661"),
    # JSON: NULL for what is not there or is no JSON.
    ("""get_json_object('{"a":[{"b":"x"}]}', '$.a[0].b')""", "x"),
    ("""get_json_object('{"a":null}', '$.a')""", None),
    ("get_json_object('no json', '$.a')", None),
    ("""'{"a":{"b":"x"}}':a""", '{"b":"x"}'),
    ("""'{"a":{"b":"x"}}':a.b""", "x"),
    ("""'{"a":[1,2]}':a[1]::int""", "2"),
    ("""parse_json('{"a":1}'):a::int""", "1"),
    ("from_json('no json', 'a INT').a", None),
    ("""from_json('{"a":[{"b":2}]}', 'a ARRAY<STRUCT<b: INT>>').a[0].b""", "2"),
    ("json_array_length('[1,2,3]')", "3"),
    ("json_array_length('no json')", None),
    # Arrays begin at 0, `element_at` at 1.
    ("array(1, 2)[0]", "1"),
    ("get(array(1, 2), 5)", None),
    ("element_at(array(1, 2), 1)", "1"),
    ("element_at(array(1, 2), -1)", "2"),
    ("try_element_at(array(1, 2), 5)", None),
    ("map('a', 1)['b']", None),
    ("array_contains(array(1, 2), 2)", "true"),
    # Times: the session's zone is UTC, a TIMESTAMP is an instant.
    ("CAST(timestamp'2026-01-02 03:04:05.120' AS STRING)", "2026-01-02 03:04:05.12"),
    ("CAST(timestamp'2026-01-02 03:04:05' AS STRING)", "2026-01-02 03:04:05"),
    ("timestamp'2026-01-02 03:04:05+02:00'", "2026-01-02T01:04:05.000Z"),
    ("timestamp_ntz'2026-01-02 03:04:05'", "2026-01-02T03:04:05.000"),
    ("CAST('2026-01-02T03:04:05Z' AS TIMESTAMP)", "2026-01-02T03:04:05.000Z"),
    ("CAST(timestamp'2026-01-01 23:30:00-01:00' AS DATE)", "2026-01-02"),
    ("now()", "2026-01-02T12:00:00.000Z"),
    ("current_date() - INTERVAL 7 DAYS", "2025-12-26"),
    ("date'2026-01-31' + INTERVAL 1 MONTH", "2026-02-28"),
    ("date'2026-01-03' + INTERVAL 5 HOURS", "2026-01-03T05:00:00.000Z"),
    ("date'2026-01-03' - 2", "2026-01-01"),
    ("date_add(date'2026-01-01', 5)", "2026-01-06"),
    ("add_months(date'2026-01-31', 1)", "2026-02-28"),
    ("timestampadd(MINUTE, 5, timestamp'2026-01-01 00:00:00')", "2026-01-01T00:05:00.000Z"),
    ("timestampadd(DAY, 1, date'2026-01-01')", "2026-01-02T00:00:00.000Z"),
    ("datediff(timestamp'2026-01-03 01:00:00', timestamp'2026-01-01 23:00:00')", "2"),
    ("datediff(DAY, timestamp'2026-01-01 23:00:00', timestamp'2026-01-03 01:00:00')", "1"),
    ("datediff(HOUR, timestamp'2026-01-01 23:30:00', timestamp'2026-01-02 00:10:00')", "0"),
    ("date_trunc('WEEK', timestamp'2026-01-01 05:06:07')", "2025-12-29T00:00:00.000Z"),
    ("date_trunc('MONTH', date'2026-01-15')", "2026-01-01T00:00:00.000Z"),
    ("trunc(date'2026-01-15', 'MM')", "2026-01-01"),
    ("dayofweek(date'2026-01-04')", "1"),
    ("weekday(date'2026-01-04')", "6"),
    ("extract(DOW FROM date'2026-01-05')", "2"),
    ("hour(timestamp'2026-01-01 05:06:07')", "5"),
    ("to_date('02.01.2026', 'dd.MM.yyyy')", "2026-01-02"),
    ("to_timestamp('02/01/2026 03', 'dd/MM/yyyy HH')", "2026-01-02T03:00:00.000Z"),
    ("date_format(timestamp'2026-01-02 15:04:05.678', 'EEEE h a, HH:mm:ss.SSS')",
     "Friday 3 PM, 15:04:05.678"),
    ("""date_format(timestamp'2026-01-02 15:04:05', "yyyy-MM-dd'T'HH:mm")""", "2026-01-02T15:04"),
    ("unix_millis(timestamp'1970-01-01 00:00:01.5')", "1500"),
    ("unix_timestamp(timestamp'1970-01-01 00:00:10')", "10"),
    ("timestamp_millis(1500)", "1970-01-01T00:00:01.500Z"),
    ("from_unixtime(0)", "1970-01-01 00:00:00"),
    ("from_utc_timestamp(timestamp'2026-01-01 00:00:00', 'Europe/Paris')",
     "2026-01-01T01:00:00.000Z"),
    ("to_utc_timestamp(timestamp'2026-01-01 00:00:00', 'Europe/Paris')",
     "2025-12-31T23:00:00.000Z"),
]  # fmt: skip


def test_values(stage: Stage) -> None:
    """One statement per value would take most of the time in HTTP, so several share one."""
    for start in range(0, len(VALUES), 10):
        some = VALUES[start : start + 10]
        # A subquery each, so that an aggregate among them does not make the others one.
        columns = ", ".join(
            f"(SELECT {text}) AS c{number}" for number, (text, _) in enumerate(some)
        )
        [row] = stage.rows(f"SELECT {columns}")
        assert list(zip(some, row, strict=True)) == [((text, cell), cell) for text, cell in some]


def _failure(stage: Stage, statement: str) -> str:
    answer = stage.sdk.statement_execution.execute_statement(statement, "sandbox")
    assert answer.status is not None
    assert answer.status.state == StatementState.FAILED, f"{statement} was answered"
    assert answer.status.error is not None
    return str(answer.status.error.message)


RAISED = [
    ("SELECT 1 / 0", "[DIVIDE_BY_ZERO]"),
    ("SELECT 1.0 / 0", "[DIVIDE_BY_ZERO]"),
    ("SELECT 1 div 0", "[DIVIDE_BY_ZERO]"),
    ("SELECT 1 % 0", "[REMAINDER_BY_ZERO]"),
    ("SELECT CAST('5.7' AS INT)", "[CAST_INVALID_INPUT]"),
    ("SELECT CAST('abc' AS DOUBLE)", "[CAST_INVALID_INPUT]"),
    ("SELECT CAST('nonsense' AS TIMESTAMP)", "[CAST_INVALID_INPUT]"),
    ("SELECT to_timestamp('nonsense', 'yyyy-MM-dd')", "[CANNOT_PARSE_TIMESTAMP]"),
    ("SELECT CAST(3000000000 AS INT)", "[CAST_OVERFLOW]"),
    ("SELECT 2147483647 + 1", "[ARITHMETIC_OVERFLOW]"),
    ("SELECT 9223372036854775807 + 1", "[ARITHMETIC_OVERFLOW]"),
    ("SELECT sum(c) FROM VALUES (9223372036854775807), (1) t(c)", "[ARITHMETIC_OVERFLOW]"),
    ("SELECT array(1, 2)[5]", "[INVALID_ARRAY_INDEX]"),
    ("SELECT array(1, 2)[-1]", "[INVALID_ARRAY_INDEX]"),
    ("SELECT element_at(array(1, 2), 5)", "[INVALID_ARRAY_INDEX_IN_ELEMENT_AT]"),
    (f"SELECT g, x FROM {PAYLOAD}", "[UNRESOLVED_COLUMN]"),
]


@pytest.mark.parametrize(("statement", "words"), RAISED)
def test_what_an_ansi_warehouse_raises(stage: Stage, statement: str, words: str) -> None:
    assert _failure(stage, statement).startswith(words)


REFUSED = [
    # Another algorithm, or no order to agree on.
    "hash('a')",
    "xxhash64('a')",
    "crc32('a')",
    "first(x) FROM main.mon.few",
    "any_value(x) FROM main.mon.few",
    "mode(g) FROM main.mon.few",
    "listagg(g, ',') FROM main.mon.few",
    "rand()",
    "approx_top_k(x) FROM main.mon.few",
    # Not a function of a laptop's engine.
    "ai_query('m', 'hello')",
    "window(now(), '5 minutes')",
    "a_function_of_nobody(1)",
    # The same words with another meaning.
    "percentile(x, 0.5, 2) FROM main.mon.few",
    "to_json(named_struct('a', NULL))",
    "typeof(1)",
    "format_string('%d', 1)",
    "exists(array(1, 2), x -> x > 1)",
    "* FROM main.mon.few TABLESAMPLE (1 ROWS)",
    "v FROM (SELECT 1 AS one) LATERAL VIEW OUTER explode(array()) t AS v",
    "sequence(date'2026-01-01', date'2026-01-03', INTERVAL 1 DAY)",
    "regexp_replace('ab', '(a)', '$1$1')",
    "split('a,b', ',', 1)",
    "date_format(now(), 'QQQ')",
    "extract(SECOND FROM now())",
    # What only the values tell.
    "x / CAST(g AS DECIMAL(5, 1)) FROM (SELECT CAST(1 AS DECIMAL(5, 1)) AS x, '2' AS g)",
    "avg(CAST(x AS DECIMAL(10, 2))) FROM main.mon.few",
    "round(1.005D, 2)",
    "CAST(12345678.0D AS STRING)",
    "CAST(array(1) AS STRING)",
    "date'2026-01-03' - date'2026-01-01'",
    "now() - timestamp'2026-01-01 00:00:00'",
    "map('a', 1)[0]",
    "substring('hello', -9)",
    """'{"A":1}':a""",
    """parse_json('{"a":1}'):a""",
    """get_json_object('{"a":[1]}', '$.a[*]')""",
    "CAST('abc' AS BINARY)",
]


def test_what_would_be_silently_wrong_is_refused(stage: Stage) -> None:
    told = {expression: _failure(stage, f"SELECT {expression}") for expression in REFUSED}
    silent = [text for text in told.values() if "[UNSUPPORTED_FEATURE] the sandbox" not in text]
    # What DuckDB itself cannot bind fails too, in its words; all else says whose limit it is.
    assert [text for text in silent if "[DATATYPE_MISMATCH]" not in text] == []


def test_columns_without_a_name_are_called_by_their_expression(stage: Stage) -> None:
    statement = (
        f"SELECT x, X, count(*), sum(x), x + 1, 'text', max(x) AS `My max` {FEW} GROUP BY ALL"
    )
    answer = stage.sdk.statement_execution.execute_statement(statement, "sandbox")
    assert answer.manifest is not None
    assert answer.manifest.schema is not None
    names = [column.name for column in answer.manifest.schema.columns or []]
    assert names == ["x", "X", "count(1)", "sum(x)", "(x + 1)", "text", "My max"]
