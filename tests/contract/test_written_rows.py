"""What is counted of rows that are written out, so that each of them is known: by real SQL."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from databricks.sdk import WorkspaceClient

from controller.workspace import counting
from controller.workspace.inference import Ask, InferenceTable, QueryAsk, Window
from controller.workspace.markers import marker
from controller.workspace.names import identifier
from controller.workspace.statements import Statements
from policies.evidence import Arm, Measure, Tally
from policies.guards import History
from states.counted import Paths
from tests.contract.conftest import entity, name
from tests.contract.test_inference import to_ms

SCHEMA, APPLICATION, ENDPOINT = "main.written", "app", "written"
COLUMNS = (
    "request_date DATE, databricks_request_id STRING, client_request_id STRING, "
    "request_time TIMESTAMP, execution_duration_ms BIGINT, status_code INT, "
    "served_entity_id STRING, request STRING, response STRING"
)
PATHS = Paths(answer="$.answer", tokens="$.tokens")
MINUTE = timedelta(minutes=1)


@dataclass
class Log:
    """An inference table that a test writes; ids are the versions, and marks name them."""

    source: InferenceTable
    statements: Statements
    table: str
    now: datetime = field(default_factory=lambda: to_ms(datetime.now(UTC)))
    rows: list[str] = field(default_factory=list)

    def wrote(  # noqa: PLR0913 - a row has that many parts
        self,
        version: str,
        times: int = 1,
        *,
        status: int = 200,
        tokens: float | None = None,
        took_ms: int = 100,
        session: str = "",
        ago: timedelta = 30 * MINUTE,
        own: bool = False,
    ) -> None:
        """So many requests that a version answered alike; `own` are Headgate's."""
        came = f"{self.now - ago:%Y-%m-%d %H:%M:%S.%f}"
        told = {"answer": "well", "tokens": tokens}
        if tokens is None:
            del told["tokens"]
        for _ in range(times):
            by = marker(APPLICATION, entity(version)) if own else "a user's"
            cells = [came[:10], name(), by.replace("'", "\\'"), came]
            texts = [version, json.dumps({"session": session}), json.dumps(told)]
            if status >= 400:
                texts[-1] = "no JSON"
            first, last = ", ".join(f"'{one}'" for one in cells), "', '".join(texts)
            self.rows.append(f"({first}, {took_ms}, {status}, '{last}')")

    def shown(self) -> None:
        """All of it is in the table."""
        values = ", ".join(self.rows)
        self.statements.rows(
            self.table,
            f"INSERT INTO {identifier(self.table)} VALUES {values}",  # noqa: S608 - a test's own
            {},
        )

    def beats(self) -> None:
        """Headgate's newest marks: everything before a minute ago has arrived."""
        for version in ("v1", "v2"):
            self.wrote(version, ago=MINUTE, own=True)
        self.shown()

    def ask(
        self, counted: dict[str, Measure] | None = None, paths: Paths = PATHS, **queries: QueryAsk
    ) -> Ask:
        """The last hour's question about v2 as the candidate."""
        return Ask(
            application=APPLICATION,
            endpoint=ENDPOINT,
            table=self.table,
            candidate_entity=entity("v2"),
            stable_entity=entity("v1"),
            since=self.now - 60 * MINUTE,
            measures=counted or {},
            paths=paths,
            queries=queries,
        )

    def window(self, counted: dict[str, Measure] | None = None, paths: Paths = PATHS) -> Window:
        """The hour up to the beats."""
        [window] = self.source.look(self.ask(counted, paths)).windows
        return window

    def queried(
        self,
        counts: str,
        rows: str,
        since: datetime | None = None,
        measured: dict[str, Measure] | None = None,
        where: str = "TRUE",
    ) -> tuple[Window, ...]:
        """What a configured query's rows (entity, ms from now, value) come to, from `since` on."""
        written = "written(served_entity_name, after_ms, value)"
        sql = (
            "SELECT served_entity_name, "  # noqa: S608 - a test's own
            f"timestamp_millis({int(self.now.timestamp() * 1000)} + after_ms) AS request_time, "
            f"value FROM VALUES {rows} AS {written} WHERE {where}"
        )
        query = QueryAsk(sql=sql, counts=counts, since=since or self.now - 60 * MINUTE)
        return self.source.look(self.ask(measured, judged=query)).queries["judged"]

    def history(self) -> History:
        """What v1's last day was like."""
        return self.source.history(
            table=self.table,
            endpoint=ENDPOINT,
            stable_entity=entity("v1"),
            application=APPLICATION,
            paths=PATHS,
        )


@pytest.fixture
def log(client: WorkspaceClient) -> Iterator[Log]:
    statements, table = Statements(client, "sandbox"), f"{SCHEMA}.{name()}"
    statements.rows(table, f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}", {})
    statements.rows(table, f"CREATE TABLE {identifier(table)} ({COLUMNS})", {})
    yield Log(InferenceTable(client, "sandbox"), statements, table)
    statements.rows(table, f"DROP TABLE {identifier(table)}", {})


def points(tally: Tally) -> dict[int, float]:
    """The points of the grid that something fell to."""
    return {at: round(part, 6) for at, part in enumerate(tally.mass) if part}


def test_what_tells_no_tokens_is_in_no_mean_and_a_zero_that_was_told_is(log: Log) -> None:
    log.wrote("v1", 6, tokens=200)
    log.wrote("v1", 3)
    log.wrote("v1", 2, status=400)
    log.wrote("v1", 2, status=429)
    log.wrote("v2", 4, tokens=200)
    log.wrote("v2", 5, tokens=0)
    log.beats()
    window = log.window({"tokens": Measure(edges=(100.0,), cap=400.0)})
    stable, candidate = (arm.tallies["tokens"] for arm in (window.stable, window.candidate))
    assert window.stable.requests == 13
    assert (stable.seen, stable.counts, points(stable)) == (6, (6,), {10: 6.0})
    assert stable.mean == pytest.approx(0.5)
    assert (candidate.seen, candidate.counts, points(candidate)) == (9, (4,), {0: 5.0, 10: 4.0})


def test_a_version_that_tells_no_tokens_at_all_has_no_mean(log: Log) -> None:
    log.wrote("v1", 3, tokens=200)
    log.wrote("v2", 3)
    log.beats()
    window = log.window({"tokens": Measure(cap=400.0)})
    assert window.candidate.requests == 3
    assert window.candidate.tallies["tokens"].seen == 0
    assert points(window.candidate.tallies["tokens"]) == {}


def test_parts_of_a_mean_that_are_not_what_was_counted_are_judged_by_nobody(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.wrote("v2", 3, tokens=200)
    log.wrote("v2", 2)
    log.beats()
    right = counting.packed

    def wrong(counted: list[str]) -> str:
        return right([one.replace("tokens IS NOT NULL", "TRUE") for one in counted])

    monkeypatch.setattr(counting, "packed", wrong)
    with pytest.raises(AssertionError, match="tokens: what was counted is not what was shared out"):
        log.window({"tokens": Measure(cap=400.0)})


def test_what_was_not_scored_has_no_score(log: Log) -> None:
    rows = "('{0}', -9, 0.5), ('{0}', -8, NULL), ('{0}', -7, 0.0), ('{0}', -6, NULL), ('{0}', 0, 1)"
    [window] = log.queried(
        "score", rows.format(entity("v2")), measured={"judged": Measure(cap=1.0)}
    )
    tally = window.candidate.tallies["judged"]
    assert (tally.seen, points(tally)) == (2, {0: 1.0, 10: 1.0})
    assert window.candidate.requests == 2


def test_a_row_that_does_not_tell_whether_it_failed_did_not_go_well(log: Log) -> None:
    rows = "('{0}', -9, 1), ('{0}', -8, NULL), ('{0}', -7, NULL), ('{0}', -6, 0), ('{0}', 0, 0)"
    [window] = log.queried("errors", rows.format(entity("v2")))
    assert window.candidate == Arm(requests=2, errors=1, server_errors=0)


def test_a_querys_rows_that_are_ahead_of_now_are_counted_by_no_look_before(log: Log) -> None:
    ahead = 24 * 3600 * 1000
    rows = f"('{entity('v1')}', -9, 0), ('{entity('v2')}', {ahead}, 1), (NULL, {ahead + 9}, 1)"
    [first] = log.queried("errors", rows)
    assert first.closed < datetime.now(UTC) + MINUTE, "it comes to now, and no further"
    [second] = log.queried("errors", rows, since=first.closed)
    assert [one.stable.requests for one in (first, second)] == [1, 0]
    assert [one.candidate.requests for one in (first, second)] == [0, 0]
    assert [one.unattributed for one in (first, second)] == [0, 0]


def test_a_query_without_a_row_or_without_a_time_has_come_nowhere(log: Log) -> None:
    row = f"('{entity('v2')}', 0, 0)"
    assert log.queried("errors", row)
    assert log.queried("errors", row, where="value > 0") == ()
    assert log.queried("errors", f"('{entity('v2')}', CAST(NULL AS BIGINT), 0)") == ()


@pytest.mark.parametrize("session", [None, "$.session"])
def test_a_session_that_is_rejected_is_told_of_as_any_request_is(
    log: Log, session: str | None
) -> None:
    log.wrote("v1", session="one", ago=30 * MINUTE)
    log.wrote("v2", session="two", status=429, ago=30 * MINUTE)
    log.wrote("v2", session="three", status=500, ago=30 * MINUTE)
    # They ask again, which counts only where requests do.
    log.wrote("v2", 4, session="two", status=429, ago=20 * MINUTE)
    log.wrote("v2", 2, session="one", status=429, ago=20 * MINUTE)
    log.beats()
    window = log.window(paths=Paths(session=session))
    again = 6 if session is None else 0
    assert window.stable == Arm(requests=1, errors=0, server_errors=0)
    assert window.candidate == Arm(
        requests=2 + again, errors=1, server_errors=1, rejected=1 + again
    )


def test_headgates_own_requests_are_not_what_stables_last_day_was_like(log: Log) -> None:
    log.wrote("v1", 8, tokens=200, took_ms=100)
    log.wrote("v1", 2, status=500)
    log.wrote("v1", 30, tokens=4000, took_ms=9000, own=True)
    log.wrote("v1", 10, status=500, own=True)
    log.beats()
    past = log.history()
    assert (past.requests, past.errors, past.answers, past.checked) == (10, 2, 8, 8)
    assert set(past.latency_ms) == {100.0}
    assert set(past.tokens) == {200.0}
    assert set(past.length) == {len("well")}


def test_of_two_ids_of_stable_the_one_with_more_users_tells_of_its_last_day(log: Log) -> None:
    log.wrote("v1", 5, took_ms=100)
    log.wrote("v1", own=True)
    log.wrote("v1", 20, took_ms=9000, own=True)
    log.rows = [row.replace("9000, 200, 'v1'", "9000, 200, 'v1 before'") for row in log.rows]
    log.shown()
    past = log.history()
    assert past.requests == 5
    assert set(past.latency_ms) == {100.0}
