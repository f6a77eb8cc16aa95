"""The inference table as a counting source: what users' requests came to, version by version.

The table (Databricks' documentation, "AI Gateway-enabled inference tables") is written at least
once and up to an hour late. It names the served entity by an id only; Headgate's own marked rows
tell whose id that is, how late the table is, and that it lives.
"""

# ruff: noqa: S608, ISC004 - statements in pieces, of checked names and numbers alone

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from databricks.sdk import WorkspaceClient

from controller.workspace import counting, markers
from controller.workspace.checks import Checks
from controller.workspace.counting import MINUTE_MS, ms
from controller.workspace.errors import Denied, Refused, WorkspaceError
from controller.workspace.statements import Parameter, Row, Statements
from policies.evidence import CHECKS, GRID, NOTHING, Arm, Measure, Tally
from policies.guards import QUANTILES, QUARTILES, History
from states.counted import Paths

__all__ = ["Answer", "Ask", "InferenceTable", "QueryAsk", "Window"]

ASK_AGAIN_S = 600.0
"""Seconds before the system table is asked once more for an id that it did not have."""
GATHER_S = 0.2
"""How long a look waits for others: passes that begin in one beat meet in one statement."""
MOST = 40
"""Applications in one statement: each has six parameters of the 256 that Databricks allows."""
DAY_MS = 24 * 3600 * 1000
CANDIDATE, STABLE = "candidate", "stable"
HEAD = 5
"""Numbers before the tallies: requests, errors, server errors, rejected, what is no score."""

SERVED_ENTITIES = """
SELECT served_entity_id, served_entity_name
FROM system.serving.served_entities
WHERE endpoint_name = :endpoint
"""


@dataclass(frozen=True, kw_only=True)
class QueryAsk:
    """A configured query: what it counts, and the windows wanted of it."""

    sql: str
    counts: str
    """errors, latency or score."""
    server_errors: bool = False
    """Its rows say which errors are the server's."""
    since: datetime
    cuts: tuple[datetime, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What one application wants to know at a look; all times are the warehouse's."""

    application: str
    endpoint: str
    table: str
    candidate_entity: str
    stable_entity: str | None
    since: datetime
    cuts: tuple[datetime, ...] = ()
    """Rising: windows are [since, cut), [cut, cut) ... [cut, watermark)."""
    counted_since: datetime | None = None
    """Users' rows from then to `since` are counted again, to tell of late ones."""
    measures: Mapping[str, Measure] = field(default_factory=dict)
    paths: Paths = Paths()  # noqa: RUF009 - immutable
    minute_phase_ms: int | None = None
    """Where in the clock's minutes the metrics' minutes end; None: no minutes are wanted."""
    queries: Mapping[str, QueryAsk] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Window:
    """Counts of one closed window, in the source's own time."""

    opened: datetime
    closed: datetime
    candidate: Arm
    stable: Arm
    unattributed: int
    """Requests whose served entity no source could name."""
    unattributed_errors: int = 0
    """Of them, those that went wrong."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the table said at one look; all times are the warehouse's, aware and UTC."""

    now: datetime
    watermark: datetime | None = None
    """Everything before this has arrived; None while an entity has no beat in six hours."""
    windows: tuple[Window, ...] = ()
    recounted: int = 0
    """Users' rows that are there now of the time before `since`."""
    minutes: Mapping[datetime, tuple[int, int]] = field(default_factory=dict)
    """By the end of a minute: rows, and failed rows, Headgate's own included; from a minute before
    `since` on, so that the one in which the look before ended is whole."""
    queries: Mapping[str, tuple[Window, ...]] = field(default_factory=dict)
    """None of a query with `strays`: nobody knows what the rest of its values mean."""
    strays: Mapping[str, int] = field(default_factory=dict)
    """By query of a score: how many rows from its `since` on have a value that is none, if any."""


@dataclass(frozen=True)
class _Count:
    """One served entity's numbers in one window."""

    window: int
    entity_id: str | None
    arm: str | None
    numbers: tuple[float, ...]

    @property
    def strays(self) -> int:
        """Rows whose value is no score."""
        return round(self.numbers[HEAD - 1])


@dataclass
class _Names:
    """Names of one endpoint's served entity ids, by the system table."""

    by_id: dict[str, str] = field(default_factory=dict)
    asked_at: float | None = None


@dataclass(eq=False)
class _Turn:
    """One look that waits for its statement."""

    ask: Ask
    woken: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    rows: list[Row] | None = None
    error: BaseException | None = None


class InferenceTable:
    """Counts users' requests by SQL: sufficient statistics, never rows."""

    def __init__(
        self,
        client: WorkspaceClient,
        warehouse_id: str,
        *,
        deadline_s: float = 60,
        gather_s: float = GATHER_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._statements = Statements(client, warehouse_id, deadline_s=deadline_s)
        self._checks = Checks(client, warehouse_id)
        self._names: dict[str, _Names] = {}
        self._gather_s, self._sleep = gather_s, sleep
        self._lock = threading.Lock()
        self._queue: list[_Turn] = []
        self._busy = False

    def look(self, ask: Ask) -> Answer:
        """Count what is asked; looks that come together share one statement of the warehouse."""
        turn = _Turn(ask)
        with self._lock:
            self._queue.append(turn)
            if not self._busy:
                self._busy = turn.leads = True
                turn.woken.set()
        turn.woken.wait()
        if turn.leads:
            self._lead()
        if turn.error is not None:
            raise turn.error
        assert turn.rows is not None, "answered, or failed"
        return self._read(ask, turn.rows)

    def history(
        self, *, table: str, endpoint: str, stable_entity: str, application: str, paths: Paths
    ) -> History:
        """Stable's last day: what its answers to users were like, before the release is opened.

        Headgate's own requests tell whose an id is, and nothing else.
        """
        from_ms = int(time.time() * 1000) - DAY_MS
        told_of = (
            ("status < 400", "duration_ms", QUANTILES),
            ("TRUE", "tokens", QUANTILES),
            ("TRUE", "characters", QUARTILES),
        )
        quantiles = [
            f"percentile(CASE WHEN users AND {which} THEN {column} END, {share})"
            for which, column, shares in told_of
            for share in shares
        ]
        faulty = f"readable = 1 AND {' + '.join(CHECKS)} > 0"
        conditions = ("TRUE", counting.FAILED, "status < 400", "readable = 1", faulty)
        counted = [
            *(f"count_if(users AND ({condition}))" for condition in conditions),
            *(f"coalesce({one}, -1)" for one in quantiles),
        ]
        statement = f"""
WITH {counting.rows(table, paths, from_ms)}
SELECT
  entity_id,
  max(CASE WHEN startswith(marker, :stable) THEN 1 ELSE 0 END) AS named,
  {counting.packed(counted)} AS numbers
FROM (SELECT seen.*, NOT startswith(marker, :own) AS users FROM seen) AS told
GROUP BY entity_id
"""
        marks = {"own": markers.OWN, "stable": markers.prefix(application, stable_entity)}
        found = self._statements.rows(f"inference table {table}", statement, marks)
        own = self.own(endpoint, stable_entity, found)
        told = [tuple(float(one) for one in (row[2] or "").split(",")) for row in own]
        # An id may change with the endpoint's configuration; quantiles of two cannot be merged.
        best = max(told, default=None, key=lambda one: one[0])
        return replace(_history(best), lag=self._lag(table, from_ms))

    def own(self, endpoint: str, entity: str, found: list[Row]) -> list[Row]:
        """Of rows that begin with a served entity id, and whether marks name it, those of one.

        A name is known by marks, or by the system table; the only id that there is needs none.
        """
        names = self._named(endpoint, (row[0] for row in found))
        return [row for row in found if row[1] == "1" or names.get(row[0] or "") == entity] or (
            found if len(found) == 1 else []
        )

    def _lag(self, table: str, from_ms: int) -> timedelta | None:
        """How late rows were, by the table's change data feed; None where that tells nothing."""
        try:
            found = self._checks.lag(table, datetime.fromtimestamp(from_ms / 1000, UTC))
        except (Denied, Refused):
            # The feed may be off: the lag is then not planned with, and patience covers it.
            return None
        return timedelta(seconds=max(0.0, found["p95"]))

    def _lead(self) -> None:
        """Ask for all that have come meanwhile, and pass the lead on."""
        self._sleep(self._gather_s)
        with self._lock:
            batch, self._queue = self._queue[:MOST], self._queue[MOST:]
        try:
            self._ask_all(batch)
        finally:
            with self._lock:
                if self._queue:
                    self._queue[0].leads = True
                    self._queue[0].woken.set()
                else:
                    self._busy = False
            for turn in batch:
                turn.woken.set()

    def _ask_all(self, batch: list[_Turn]) -> None:
        """One statement; where it is refused, each alone, so that one table breaks no other."""
        try:
            answers = self._ask([turn.ask for turn in batch])
        except (Denied, Refused) as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for turn in batch:
                self._ask_all([turn])
        except BaseException as error:
            for turn in batch:
                turn.error = error
            if not isinstance(error, WorkspaceError):
                raise
        else:
            for turn, rows in zip(batch, answers, strict=True):
                turn.rows = rows

    def _ask(self, asks: list[Ask]) -> list[list[Row]]:
        parts: list[str] = []
        parameters: dict[str, Parameter] = {"own": markers.OWN}
        for number, ask in enumerate(asks):
            parts.append(_part(number, ask))
            stable = ask.stable_entity
            parameters |= {
                f"candidate_{number}": markers.prefix(ask.application, ask.candidate_entity),
                f"stable_{number}": stable and markers.prefix(ask.application, stable),
                f"candidate_name_{number}": ask.candidate_entity,
                f"stable_name_{number}": stable,
            }
        used = {name: one for name, one in parameters.items() if f":{name}" in "".join(parts)}
        place = "inference table " + ", ".join(sorted({ask.table for ask in asks}))
        answers: list[list[Row]] = [[] for _ in asks]
        for row in self._statements.rows(place, "\nUNION ALL\n".join(parts), used):
            answers[int(row[0] or 0)].append(row[1:])
        return answers

    def _read(self, ask: Ask, rows: list[Row]) -> Answer:
        by_kind: dict[str, list[Row]] = {}
        for row in rows:
            by_kind.setdefault(row[0] or "", []).append(row[1:])
        [bounds] = by_kind["bounds"]
        now, watermark = (_time(one) for one in (bounds[3] or "").split(","))
        assert now is not None, "the warehouse has a clock"
        counts = [_count(row) for row in by_kind.get("window", [])]
        own = {name: one for name, one in ask.measures.items() if name in counting.COUNTED}
        recounted = sum(int(row[3] or 0) for row in by_kind.get("recount", []))
        minutes = {}
        for at_ms, _, _, numbers in by_kind.get("minute", []):
            counted, failed = (int(one) for one in (numbers or "0,0").split(","))
            minutes[datetime.fromtimestamp(int(at_ms or 0) / 1000, UTC)] = counted, failed
        brought = {
            name: [_count(row) for row in by_kind.get(f"query:{name}", [])] for name in ask.queries
        }
        strays = {name: sum(one.strays for one in counts) for name, counts in brought.items()}
        return Answer(
            now=now,
            watermark=watermark,
            windows=self._windows(ask, ask.since, ask.cuts, watermark, counts, own),
            recounted=recounted,
            minutes=minutes,
            queries={
                name: () if strays[name] else self._of_query(ask, name, by_kind, counts)
                for name, counts in brought.items()
            },
            strays={name: number for name, number in strays.items() if number},
        )

    def _of_query(
        self, ask: Ask, name: str, by_kind: dict[str, list[Row]], counts: list[_Count]
    ) -> tuple[Window, ...]:
        query = ask.queries[name]
        [mark] = by_kind[f"mark:{name}"]
        key = {"errors": None, "latency": "latency"}.get(query.counts, name)
        measures = {key: ask.measures[key]} if key in ask.measures and key is not None else {}
        return self._windows(ask, query.since, query.cuts, _time(mark[3]), counts, measures)

    def _windows(  # noqa: PLR0913, PLR0917 - one source's windows
        self,
        ask: Ask,
        since: datetime,
        cuts: tuple[datetime, ...],
        watermark: datetime | None,
        counts: list[_Count],
        measures: Mapping[str, Measure],
    ) -> tuple[Window, ...]:
        """The windows that the watermark has reached into, those without a request too."""
        if watermark is None:
            return ()
        windows: list[Window] = []
        for number, opened in enumerate((since, *cuts)):
            closed = min([watermark, *cuts[number : number + 1]])
            if closed <= opened:
                break
            own = [one for one in counts if one.window == number]
            arms, nobody = self._attributed(ask, own, measures)
            windows.append(
                Window(
                    opened=opened,
                    closed=closed,
                    candidate=arms[CANDIDATE],
                    stable=arms[STABLE],
                    unattributed=nobody.requests,
                    unattributed_errors=nobody.errors,
                )
            )
        return tuple(windows)

    def _attributed(
        self, ask: Ask, counts: list[_Count], measures: Mapping[str, Measure]
    ) -> tuple[dict[str, Arm], Arm]:
        """Both arms' sums, and that of requests which belong to nobody that could be named."""
        arms = {CANDIDATE: ask.candidate_entity, STABLE: ask.stable_entity}
        totals = {CANDIDATE: NOTHING, STABLE: NOTHING}
        nameless = [one for one in counts if one.arm is None and one.numbers[0]]
        names = self._named(ask.endpoint, (one.entity_id for one in nameless)) if nameless else {}
        nobody = NOTHING
        for one in counts:
            arm, name = one.arm, names.get(one.entity_id or "")
            if arm is None:
                arm = next((key for key, entity in arms.items() if name and entity == name), None)
            if arm is not None:
                totals[arm] += _arm(one.numbers, measures)
            elif name is None:
                nobody += _arm(one.numbers, measures)
        return totals, nobody

    def _named(self, endpoint: str, ids: Iterable[str | None]) -> dict[str, str]:
        """Names by the system table, which is asked only for ids that are still nameless."""
        with self._lock:
            names = self._names.setdefault(endpoint, _Names())
            wanted = {one for one in ids if one is not None} - names.by_id.keys()
            waited = names.asked_at is None or time.monotonic() - names.asked_at >= ASK_AGAIN_S
            if not wanted or not waited:
                return names.by_id
            names.asked_at = time.monotonic()
        names.by_id |= self._ask_names(endpoint)
        return names.by_id

    def _ask_names(self, endpoint: str) -> dict[str, str]:
        """What the system table has, nothing where it may not be read: most people may not."""
        place = f"inference table of {endpoint}, system.serving.served_entities"
        try:
            rows = self._statements.rows(place, SERVED_ENTITIES, {"endpoint": endpoint})
        except (Denied, Refused):
            # The rows stay unattributed, which is counted and shown: nothing is lost silently.
            return {}
        return {row[0]: row[1] for row in rows if row[0] and row[1]}


def _part(number: int, ask: Ask) -> str:
    """One application's part of the statement: rows of one form, told apart by their kind."""
    since_ms = ms(ask.since)
    counted_ms = ms(ask.counted_since) if ask.counted_since else since_ms
    # Beats are looked for in the last hours, whatever was counted since.
    recent_ms = ms(datetime.now(UTC)) - counting.LOOKBACK_MS
    stable = f":stable_{number}" if ask.stable_entity else "CAST(NULL AS STRING)"
    by_session, place = ask.paths.session is not None, counting.window_of(ask.cuts)
    users = f"NOT startswith(marker, :own) AND at_ms >= {since_ms} AND at_ms < watermark_ms"
    parts = [
        "SELECT 'bounds' AS kind, CAST(0 AS BIGINT) AS place, CAST(NULL AS STRING) AS entity_id, "
        "CAST(NULL AS STRING) AS arm, concat_ws(',', "
        "CAST(unix_millis(current_timestamp()) AS STRING), "
        "coalesce(CAST(watermark_ms AS STRING), '')) AS numbers FROM bounds",
        f"SELECT 'window', CAST(users.place AS BIGINT), users.entity_id, names.arm, users.numbers "
        f"FROM (SELECT place, entity_id, "
        f"{counting.packed(counting.numbers(ask.measures, by_session=by_session))} AS numbers "
        f"FROM (SELECT seen.*, {place} AS place, {counting.opens(place, by_session=by_session)} "
        f"AS opens FROM seen CROSS JOIN bounds WHERE {users}) AS placed "
        "GROUP BY place, entity_id) AS users "
        "LEFT JOIN names ON names.entity_id = users.entity_id",
    ]
    if ask.counted_since is not None:
        parts.append(
            "SELECT 'recount', CAST(0 AS BIGINT), CAST(NULL AS STRING), CAST(NULL AS STRING), "
            "CAST(count(*) AS STRING) FROM seen WHERE NOT startswith(marker, :own) "
            f"AND at_ms >= {counted_ms} AND at_ms < {since_ms}"
        )
    if ask.minute_phase_ms is not None:
        end = f"at_ms - (at_ms - {ask.minute_phase_ms}) % 60000 + 60000"
        failed = "count_if(status IS NULL OR status >= 400)"
        parts.append(
            f"SELECT 'minute', CAST({end} AS BIGINT), CAST(NULL AS STRING), CAST(NULL AS STRING), "
            f"{counting.packed(['count(*)', failed])} FROM seen CROSS JOIN bounds "
            f"WHERE at_ms >= {since_ms - MINUTE_MS} AND at_ms < watermark_ms GROUP BY 2"
        )
    for name, query in ask.queries.items():
        parts += _query_parts(number, name, query, ask)
    told = "\nUNION ALL\n".join(parts)
    return f"""
SELECT {number} AS part, kind, place, entity_id, arm, numbers FROM (
WITH {counting.rows(ask.table, ask.paths, min(counted_ms, recent_ms))},
marked AS (
  SELECT
    entity_id,
    at_ms,
    CASE
      WHEN startswith(marker, :candidate_{number}) THEN 'candidate'
      WHEN startswith(marker, {stable}) THEN 'stable'
    END AS arm
  FROM seen
  WHERE startswith(marker, :own)
),
names AS (
  SELECT entity_id, CASE WHEN min(arm) = max(arm) THEN min(arm) END AS arm
  FROM marked
  WHERE entity_id IS NOT NULL AND arm IS NOT NULL
  GROUP BY entity_id
),
beats AS (
  SELECT
    max(CASE WHEN arm = 'candidate' THEN at_ms END) AS candidate_ms,
    max(CASE WHEN arm = 'stable' THEN at_ms END) AS stable_ms
  FROM marked
  WHERE at_ms >= unix_millis(current_timestamp()) - {counting.LOOKBACK_MS}
),
bounds AS (
  SELECT
    CASE
      WHEN candidate_ms IS NULL THEN NULL
      WHEN {stable} IS NULL THEN candidate_ms
      WHEN stable_ms IS NULL THEN NULL
      ELSE least(candidate_ms, stable_ms)
    END AS watermark_ms
  FROM beats
)
{told}
) AS told_{number}
"""


def _query_parts(number: int, name: str, query: QueryAsk, ask: Ask) -> list[str]:
    """A configured query's windows and its watermark: the time of its newest row, at most now.

    A row that is ahead of now is not counted before now has passed it. Without any row there is no
    watermark: `least(NULL, now)` would be now.
    """
    try:
        own = counting.subquery(query.sql)
    except Refused as error:
        raise Refused(f"evidence.queries.{name}: {error}") from error
    value, told = "CAST(value AS DOUBLE)", counting.known
    # A score that is NaN is counted, as none.
    columns = f"{value if query.counts == 'score' else told(value)} AS value"
    if query.server_errors:
        columns += f", {told('CAST(server_error AS DOUBLE)')} AS server_error"
    asked = (
        "SELECT served_entity_name AS name, unix_millis(request_time) AS at_ms, "
        f"{columns} FROM ({own}) AS own"
    )
    now = "unix_millis(current_timestamp())"
    passed = f"CASE WHEN at_ms > {now} THEN {now} ELSE at_ms END"
    mark = f"SELECT max({passed}) AS mark_ms FROM ({asked}) AS marks"
    stable = f":stable_name_{number}" if ask.stable_entity else "CAST(NULL AS STRING)"
    arm = (
        f"CASE WHEN name = :candidate_name_{number} THEN 'candidate' "
        f"WHEN name = {stable} THEN 'stable' END"
    )
    packed = counting.packed(
        counting.of_query(query.counts, name, ask.measures, server_errors=query.server_errors)
    )
    return [
        f"SELECT 'mark:{name}', CAST(0 AS BIGINT), CAST(NULL AS STRING), CAST(NULL AS STRING), "
        f"CAST(mark_ms AS STRING) FROM ({mark}) AS newest",
        f"SELECT 'query:{name}', CAST({counting.window_of(query.cuts)} AS BIGINT), name, {arm}, "
        f"{packed} FROM ({asked}) AS rows_of CROSS JOIN ({mark}) AS newest "
        f"WHERE at_ms >= {ms(query.since)} AND at_ms < mark_ms GROUP BY 2, name",
    ]


def _count(row: Row) -> _Count:
    window, entity_id, arm, numbers = row
    told = tuple(float(one) for one in (numbers or "").split(","))
    return _Count(int(window or 0), entity_id, arm, told)


def _arm(numbers: tuple[float, ...], measures: Mapping[str, Measure]) -> Arm:
    requests, errors, server_errors, rejected, _ = (round(one) for one in numbers[:HEAD])
    tallies: dict[str, Tally] = {}
    at = HEAD
    for name in sorted(measures):
        measure = measures[name]
        counted = 1 + len(CHECKS) if name == "answers" else len(measure.edges)
        wide = GRID + 1 if measure.cap is not None else 0
        seen, *rest = numbers[at : at + 1 + counted + wide]
        tallies[name] = Tally(
            seen=round(seen),
            counts=tuple(round(one) for one in rest[:counted]),
            mass=tuple(rest[counted:]),
        )
        assert tallies[name].balanced, f"{name}: what was counted is not what was shared out"
        at += 1 + counted + wide
    return Arm(
        requests=requests,
        errors=errors,
        server_errors=server_errors,
        rejected=rejected,
        tallies=tallies,
    )


def _history(numbers: tuple[float, ...] | None) -> History:
    if numbers is None:
        return History()
    requests, errors, answers, checked, faulty, *quantiles = numbers
    slow, tokens = quantiles[: len(QUANTILES)], quantiles[len(QUANTILES) : 2 * len(QUANTILES)]
    length = quantiles[2 * len(QUANTILES) :]
    return History(
        requests=round(requests),
        errors=round(errors),
        answers=round(answers),
        latency_ms=tuple(slow) if slow[0] >= 0 else (),
        tokens=tuple(tokens) if tokens[0] >= 0 else (),
        length=tuple(length) if length[0] >= 0 else (),
        checked=round(checked),
        faulty=round(faulty),
    )


def _time(cell: str | None) -> datetime | None:
    """A time in the statement's milliseconds; exact, which a division would not be."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(cell)) if cell else None
