import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
import requests
from databricks.sdk import WorkspaceClient

from controller.daemon.windows import block_of
from controller.workspace.counting import ms
from controller.workspace.errors import Refused
from controller.workspace.examples import Examples
from controller.workspace.inference import Answer, Ask, InferenceTable, QueryAsk, Window
from controller.workspace.markers import marker
from controller.workspace.names import identifier
from controller.workspace.probes import Probes
from controller.workspace.serving import Endpoints, ServingSettings
from controller.workspace.statements import Statements
from policies.criteria import criteria
from policies.evidence import NOTHING, Arm, Measure, Tally
from policies.golden import GoldenQuery
from policies.guards import ErrorGuard, Guards
from policies.holds import environment
from policies.judge import harmful
from states.counted import Paths
from states.examples import Found, Wanted
from states.release import Application
from states.span import Span
from states.spec import Spec
from tests.contract.conftest import LAG_S, Split, Workspace, entity, name, serving, settled

WAREHOUSE = "sandbox"


def to_ms(moment: datetime) -> datetime:
    """The millisecond that it lies in: what a warehouse is asked for has no finer times."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


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
                entity(version),
                GoldenQuery(query="beat"),
                marker(self.application, entity(version)),
            )

    def ask(self, since: datetime, stable: str | None = "v1", **more: object) -> Ask:
        """The question about v2 as the candidate."""
        asked = Ask(
            application=self.application,
            endpoint=self.split.endpoint,
            table=self.split.table,
            candidate_entity=entity("v2"),
            stable_entity=stable and entity(stable),
            since=since,
        )
        return replace(asked, **more)  # type: ignore[arg-type]

    def look(self, since: datetime, stable: str | None = "v1", **more: object) -> Answer:
        """Look with v2 as the candidate."""
        return self.source.look(self.ask(since, stable, **more))

    def window(self, since: datetime, stable: str | None = "v1", **more: object) -> Window:
        """Look, and expect one window."""
        [window] = self.look(since, stable, **more).windows
        return window


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
    since = to_ms(datetime.now(UTC))
    users.ask("q", 20)
    users.ask("fail", 6)
    table.beat("v1", "v2")
    time.sleep(LAG_S + 0.3)
    answer = table.look(since)
    [window] = answer.windows
    assert window.stable == users.arm("v1")
    assert window.candidate == users.arm("v2")
    assert window.stable.requests + window.candidate.requests == 26
    assert window.unattributed == 0
    assert window.opened == since
    assert window.closed == answer.watermark
    assert abs(answer.now - datetime.now(UTC)) < timedelta(seconds=10)


def test_what_came_after_the_older_of_the_two_newest_beats_is_not_counted_yet(
    users: Users, table: Table
) -> None:
    since = to_ms(datetime.now(UTC))
    users.ask("q", 3)
    table.beat("v2")
    time.sleep(0.01)
    table.beat("v1")
    early = users.arm("v1") + users.arm("v2")
    users.ask("q", 4)
    time.sleep(LAG_S + 0.3)
    answer = table.look(since)
    [window] = answer.windows
    assert window.candidate + window.stable == early
    table.beat("v1", "v2")
    time.sleep(LAG_S + 0.3)
    later = table.window(window.closed)
    assert (later.candidate + later.stable).requests == 4


def test_cuts_part_the_requests_into_windows_of_their_own(users: Users, table: Table) -> None:
    since = to_ms(datetime.now(UTC))
    users.ask("q", 3)
    time.sleep(0.002)
    cut = to_ms(datetime.now(UTC))
    users.ask("q", 4)
    table.beat("v1", "v2")
    time.sleep(LAG_S + 0.3)
    windows = table.look(since, cuts=(cut,)).windows
    assert [(one.opened, one.closed) for one in windows] == [
        (since, cut),
        (cut, windows[1].closed),
    ]
    assert [one.candidate.requests + one.stable.requests for one in windows] == [3, 4]


def test_a_cut_that_the_watermark_has_not_reached_opens_no_window(
    users: Users, table: Table
) -> None:
    since = to_ms(datetime.now(UTC))
    users.ask("q", 3)
    table.beat("v1", "v2")
    time.sleep(LAG_S + 0.3)
    answer = table.look(since, cuts=(to_ms(datetime.now(UTC)),))
    assert [one.closed for one in answer.windows] == [answer.watermark]


def test_users_rows_of_the_time_before_are_counted_again_and_probes_are_not(
    users: Users, table: Table
) -> None:
    first = to_ms(datetime.now(UTC))
    users.ask("q", 5)
    table.beat("v1", "v2")
    time.sleep(0.002)
    since = to_ms(datetime.now(UTC))
    users.ask("q", 2)
    table.beat("v1", "v2")
    time.sleep(LAG_S + 0.3)
    answer = table.look(since, counted_since=first)
    assert answer.recounted == 5
    [window] = answer.windows
    assert (window.candidate + window.stable).requests == 2


def test_whole_minutes_have_all_rows_and_the_failed_ones_probes_too(
    users: Users, table: Table
) -> None:
    began = to_ms(datetime.now(UTC))
    users.ask("q", 3)
    users.ask("fail", 2)
    table.beat("v1", "v2")
    time.sleep(LAG_S + 0.3)
    # Asked for from now on, and so from a minute before: that in which the look before has ended.
    since, phase = to_ms(datetime.now(UTC)), ms(began) % 60_000
    minutes = table.look(since, minute_phase_ms=phase).minutes
    assert all(ms(end) % 60_000 == phase for end in minutes)
    counted, failed = minutes[began + timedelta(minutes=1)]
    # The watermark is the older beat's own time, so that at most one of the two is before it.
    assert counted in (5, 6)
    assert failed == 2


def test_a_session_counts_once_in_a_window_for_the_version_that_it_met_first(
    users: Users, table: Table
) -> None:
    since = to_ms(datetime.now(UTC))
    met: list[tuple[str, int]] = []
    for query in ("fail a", "fail b", "q c", "q d"):
        before = users.answers.copy()
        users.ask(query)
        met += (users.answers - before).elements()
    users.ask("fail a", 3)
    users.ask("fail b", 2)
    users.ask("q c", 5)
    table.beat("v1", "v2")
    time.sleep(LAG_S + 0.3)
    paths = Paths(session="$.dataframe_records[0].query")
    window = table.window(since, paths=paths)
    for version, arm in (("v1", window.stable), ("v2", window.candidate)):
        own = [status for who, status in met if who == entity(version)]
        assert (arm.requests, arm.errors) == (len(own), own.count(400))


def test_a_request_that_takes_long_is_counted_when_it_was_answered_and_is_not_lost(
    users: Users, table: Table
) -> None:
    since = to_ms(datetime.now(UTC))
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(users.ask, "sleep")
        time.sleep(0.5)
        table.beat("v1", "v2")
        time.sleep(LAG_S + 0.3)
        early = table.window(since)
        assert (early.candidate + early.stable).requests == 0, "it was not answered yet"
        long.result()
    table.beat("v1", "v2")
    time.sleep(LAG_S + 0.3)
    late = table.window(early.closed)
    assert (late.candidate + late.stable).requests == 1


def test_two_looks_at_once_are_one_statement_and_answer_each_its_own(
    client: WorkspaceClient, users: Users, table: Table, workspace: Workspace
) -> None:
    since = to_ms(datetime.now(UTC))
    users.ask("q", 6)
    table.beat("v1", "v2")
    time.sleep(LAG_S + 0.3)
    source = InferenceTable(client, WAREHOUSE)
    asks = [table.ask(since), table.ask(since, counted_since=since - timedelta(seconds=1))]
    before = workspace.last()
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(source.look, asks)
    sent = [path for verb, path, _ in workspace.asked(before) if verb == "POST"]
    assert sent == ["/api/2.0/sql/statements"]
    assert one.windows == other.windows
    [window] = one.windows
    assert (window.candidate, window.stable) == (users.arm("v2"), users.arm("v1"))


def test_one_table_that_is_not_there_breaks_no_other_look(
    client: WorkspaceClient, users: Users, table: Table
) -> None:
    since = to_ms(datetime.now(UTC))
    users.ask("q", 4)
    table.beat("v1", "v2")
    time.sleep(LAG_S + 0.3)
    source = InferenceTable(client, WAREHOUSE)
    asks = [table.ask(since), table.ask(since, table="main.serving.nowhere_payload")]
    with ThreadPoolExecutor(2) as pool:
        good, bad = [pool.submit(source.look, ask) for ask in asks]
        [window] = good.result().windows
        assert (window.candidate + window.stable).requests == 4
        with pytest.raises(Refused, match="nowhere_payload: there is no such table"):
            bad.result()


def test_a_configured_query_is_counted_by_the_entity_that_it_names(
    users: Users, table: Table
) -> None:
    since = to_ms(datetime.now(UTC))
    users.ask("q", 2)
    table.beat("v1", "v2")
    time.sleep(LAG_S + 0.3)
    rows = ", ".join(
        f"('{entity(who)}', timestamp_millis({ms(since) + after}), {value})"
        for who, after, value in (("v1", 1, 0), ("v1", 2, 1), ("v2", 3, 1), ("v2", 9, 0))
    )
    names = "rows_of(served_entity_name, request_time, value)"
    sql = f"SELECT * FROM VALUES {rows} AS {names}"  # noqa: S608 - the test's own
    asked = QueryAsk(sql=sql, counts="errors", since=since)
    [window] = table.look(since, queries={"gateway": asked}).queries["gateway"]
    # The newest row is where the query has come to: what is as new as that may not be all yet.
    assert window.closed == since + timedelta(milliseconds=9)
    assert (window.stable.requests, window.stable.errors) == (2, 1)
    assert (window.candidate.requests, window.candidate.errors) == (1, 1)


def fifteen_percent(since: datetime) -> str:
    """A gateway's log: 15 % of each version's requests fail, each with the server's status."""
    return f"""
SELECT
  concat('{entity("v1")[:-1]}', CAST(1 + id % 2 AS STRING)) AS served_entity_name,
  timestamp_millis({ms(since)} + id DIV 40) AS request_time,
  CASE WHEN id DIV 2 % 20 < 3 THEN 1 ELSE 0 END AS value,
  CASE WHEN id DIV 2 % 20 < 3 THEN 1 END AS server_error
FROM range(40000)
"""  # noqa: S608 - the test's own


@pytest.mark.parametrize("told_apart", [True, False])
def test_a_querys_server_errors_break_the_limit_once_it_says_which_they_are(
    table: Table, *, told_apart: bool
) -> None:
    since = to_ms(datetime.now(UTC)) - timedelta(minutes=1)
    table.beat("v1", "v2")
    sql = fifteen_percent(since)
    asked = QueryAsk(sql=sql, counts="errors", server_errors=told_apart, since=since)
    [window] = table.look(since, queries={"gateway": asked}).queries["gateway"]
    for arm in (window.candidate, window.stable):
        assert arm.errors == pytest.approx(0.15 * arm.requests, rel=0.01)
        assert arm.requests > 19_000
        assert arm.server_errors == (arm.errors if told_apart else 0)
    span = Span(number=1, step=1, weight=50, starts_at=since, settled=True)
    both = block_of(window, span, 1, "query:gateway", mixed=False)
    guard = ErrorGuard(limit=0.01)
    assert (environment(guard, [both]) is not None) is told_apart
    alone = replace(both, stable=NOTHING, comparable=False, whole=True)
    judged = criteria(Guards(errors=guard), {}, None, {"errors": "query:gateway"})
    verdict = harmful(judged, (alone,))
    assert (verdict is not None) is told_apart
    assert verdict is None or "server errors above the limit of 1 %" in verdict.because


def test_a_failure_that_is_not_said_to_be_the_servers_is_not_and_nan_is_no_failure(
    table: Table,
) -> None:
    since = to_ms(datetime.now(UTC)) - timedelta(minutes=1)
    table.beat("v1", "v2")
    nan = "CAST('NaN' AS DOUBLE)"
    rows = ", ".join(
        f"('{entity('v2')}', timestamp_millis({ms(since) + after}), {value}, {server})"
        for after, (value, server) in enumerate(
            [("1", "1"), ("1", "0"), ("1", "NULL"), ("1", nan), ("0", "1"), (nan, "1"), ("0", "0")]
        )
    )
    names = "rows_of(served_entity_name, request_time, value, server_error)"
    sql = f"SELECT * FROM VALUES {rows} AS {names}"  # noqa: S608 - the test's own
    asked = QueryAsk(sql=sql, counts="errors", server_errors=True, since=since)
    [window] = table.look(since, queries={"gateway": asked}).queries["gateway"]
    # The newest row is where the query has come to; the one with NaN tells of no request.
    assert window.candidate == Arm(requests=5, errors=4, server_errors=1)


def test_a_latency_that_is_nan_is_no_latency(table: Table) -> None:
    since = to_ms(datetime.now(UTC)) - timedelta(minutes=1)
    table.beat("v1", "v2")
    values = ("50", "CAST('NaN' AS DOUBLE)", "NULL", "500", "50")
    rows = ", ".join(
        f"('{entity('v2')}', timestamp_millis({ms(since) + after}), {value})"
        for after, value in enumerate(values)
    )
    names = "rows_of(served_entity_name, request_time, value)"
    sql = f"SELECT * FROM VALUES {rows} AS {names}"  # noqa: S608 - the test's own
    asked = QueryAsk(sql=sql, counts="latency", since=since)
    measures = {"latency": Measure(edges=(100.0, 1000.0))}
    answer = table.look(since, measures=measures, queries={"gateway": asked})
    [window] = answer.queries["gateway"]
    assert window.candidate.requests == 2
    assert window.candidate.tallies["latency"] == Tally(seen=2, counts=(1, 0))
    assert not answer.strays


def test_a_row_that_the_table_does_not_show_yet_is_no_beat(table: Table) -> None:
    table.beat("v1", "v2")
    answer = table.look(to_ms(datetime.now(UTC) - timedelta(minutes=1)))
    assert answer.watermark is None
    assert answer.windows == ()


def test_without_a_beat_of_both_nothing_is_known_to_have_arrived(table: Table) -> None:
    table.beat("v2")
    time.sleep(LAG_S + 0.3)
    since = to_ms(datetime.now(UTC) - timedelta(minutes=1))
    assert table.look(since).watermark is None
    alone = table.look(since, stable=None).watermark
    assert alone is not None, "where nobody else is counted, the candidate's beat is enough"
    assert since < alone


def test_ids_that_no_probe_named_are_named_by_the_system_table(
    client: WorkspaceClient, settings: ServingSettings, workspace: Workspace
) -> None:
    endpoints, endpoint = Endpoints(client), name()
    endpoints.create(endpoint, serving(settings.model, v1=100), settings)
    settled(endpoints, endpoint)
    since, users = to_ms(datetime.now(UTC)), Users(workspace, endpoint)
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
    window = table.window(since, stable=None)
    assert window.candidate.requests == 2
    assert window.stable == NOTHING
    assert window.unattributed == 0


def test_a_warehouse_that_is_not_there_is_named(client: WorkspaceClient, table: Table) -> None:
    source = InferenceTable(client, "no-such-warehouse")
    with pytest.raises(Refused, match="SQL warehouse no-such-warehouse: not found"):
        source.look(table.ask(datetime.now(UTC)))


@pytest.mark.parametrize("table", ["a.b", "a.b.c.d", "a.b.c`; DROP TABLE x", "a.b.", "a.b.c d"])
def test_what_is_no_table_name_never_reaches_a_statement(table: str) -> None:
    with pytest.raises(Refused, match=r"catalog\.schema\.table"):
        identifier(table)


def test_bad_requests_are_looked_up_by_id_for_one_version_and_none_of_headgates_own(
    client: WorkspaceClient, users: Users, table: Table
) -> None:
    since = to_ms(datetime.now(UTC))
    table.beat("v1", "v2")
    # Who answers is drawn: version 2 is to have failed, and to have answered well, for certain.
    while (
        users.arm("v2").errors < 4
        or users.arm("v2").requests == users.arm("v2").errors
        or not users.arm("v1").errors
    ):
        users.ask("fail", 2)
        users.ask("q")
    for version in ("v1", "v2"):
        own = marker(table.application, entity(version))
        table.probes.beat(entity(version), GoldenQuery(query="fail"), own)
    time.sleep(LAG_S + 0.3)
    spec = Spec(model="main.ml_models.obedient", endpoint=table.split.endpoint)
    application = Application(name=table.application, spec=spec)
    source = Examples(client, WAREHOUSE)
    wanted = Wanted(
        version="2", attempt=1, entity=entity("v2"), guard="errors", since=since, paths=Paths()
    )
    failed = f"""
SELECT DISTINCT rows_of.databricks_request_id, rows_of.request_time,
  rows_of.execution_duration_ms
FROM {identifier(table.split.table)} AS rows_of
JOIN system.serving.served_entities AS names USING (served_entity_id)
WHERE names.served_entity_name = :entity AND rows_of.status_code = 400
  AND rows_of.client_request_id = 'a user\\'s own'
  AND unix_millis(rows_of.request_time) >= {ms(since)}
ORDER BY unix_millis(rows_of.request_time) + rows_of.execution_duration_ms, 1
"""  # noqa: S608 - the test's own
    rows = Statements(client, WAREHOUSE).rows("the table", failed, {"entity": entity("v2")})
    expected = [row[0] for row in rows]
    assert len(expected) == users.arm("v2").errors
    found = source.look(application, wanted)
    assert len(found.ids) == 3
    assert list(found.ids) == expected[:3], "the first of them"
    assert found.statuses == (("400", len(expected)),)
    assert found.first_at is not None
    assert since <= found.first_at <= datetime.now(UTC)
    slow = source.look(application, replace(wanted, guard="latency", slow_ms=-1.0))
    assert slow.statuses == (("200", users.arm("v2").requests - len(expected)),)
    assert not set(slow.ids) & set(expected)
    assert source.look(application, replace(wanted, guard="faithfulness")) == Found()
    later = replace(wanted, since=datetime.now(UTC) + timedelta(minutes=1))
    assert source.look(application, later) == Found()
