"""Reading what a release will need of a workspace, for `headgate doctor`: nothing here writes."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound

from controller.address import is_loopback
from controller.workspace import counting, markers
from controller.workspace.client import translated
from controller.workspace.errors import Refused, Unreachable
from controller.workspace.names import identifier, segment
from controller.workspace.statements import Row, Statements
from states.counted import Paths
from states.world import Absent

NEEDED = (
    "request_date",
    "databricks_request_id",
    "client_request_id",
    "request_time",
    "status_code",
    "served_entity_id",
)
"""The columns of an inference table by which errors are counted."""
COLUMNS = (
    *NEEDED,
    "sampling_fraction",
    "execution_duration_ms",
    "request",
    "response",
    "logging_error_codes",
    "requester",
)
"""All of them (Databricks' documentation, "AI Gateway-enabled inference tables")."""
MINUTE_MS, DAY_S = 60_000, 86_400

# One day by the warehouse's clock; the clustering column with a margin for the session's zone.
_SEEN = """
WITH seen AS (
  SELECT
    databricks_request_id,
    min(unix_millis(request_time)) AS at_ms,
    count(*) AS copies,
    max(status_code) AS status,
    max(served_entity_id) AS entity_id
  FROM {table}
  WHERE request_date >= date_sub(current_date(), 2)
    AND unix_millis(request_time) >= unix_millis(current_timestamp()) - 86400000
  GROUP BY databricks_request_id
)
"""
HEALTH = f"""{_SEEN}
SELECT
  unix_millis(current_timestamp()) AS now_ms,
  count_if(at_ms >= unix_millis(current_timestamp()) - 3600000) AS hour_requests,
  count(*) AS day_requests,
  coalesce(sum(copies), 0) AS day_rows,
  max(at_ms) AS newest_ms,
  count_if(entity_id IS NULL) AS nameless
FROM seen
"""  # noqa: S608 - constants of this module
WINDOW = f"""{_SEEN}
SELECT
  count(*) AS requests,
  count_if(status IS NULL OR status >= 400) AS errors
FROM seen
WHERE at_ms >= :since_ms AND at_ms < :until_ms
"""  # noqa: S608
STATUSES = f"""{_SEEN}
SELECT status, count(*) AS requests FROM seen GROUP BY status ORDER BY status
"""  # noqa: S608
NEWEST_BY_ID = f"""{_SEEN}
SELECT entity_id, max(at_ms) AS newest_ms FROM seen WHERE entity_id IS NOT NULL GROUP BY entity_id
"""  # noqa: S608
# The table's change data feed tells when each row was committed; compacting commits no rows.
LAG = """
SELECT
  count(*) AS row_count,
  percentile_approx(lag_s, 0.05) AS p5,
  percentile_approx(lag_s, 0.5) AS p50,
  percentile_approx(lag_s, 0.95) AS p95,
  percentile_approx(lag_s, 0.99) AS p99,
  max(lag_s) AS most
FROM (
  SELECT CAST(unix_millis(_commit_timestamp) - unix_millis(request_time) AS DOUBLE) / 1000 AS lag_s
  FROM table_changes({table}, {since})
  WHERE _change_type = 'insert'
) AS rows_of_a_day
"""
SERVED_ENTITIES = """
SELECT
  served_entity_id,
  served_entity_name,
  entity_version,
  endpoint_config_version,
  unix_millis(change_time) AS changed_ms
FROM system.serving.served_entities
WHERE endpoint_name = :endpoint
ORDER BY change_time DESC
LIMIT 500
"""
ACTIONS = """
SELECT DISTINCT service_name, action_name
FROM system.access.audit
WHERE event_date >= date_sub(current_date(), 1)
  AND lower(action_name) LIKE '%endpoint%'
ORDER BY service_name, action_name
LIMIT 200
"""
USAGE = """
SELECT count(*) AS row_count
FROM system.serving.endpoint_usage
WHERE request_time >= date_sub(current_date(), 1)
  AND served_entity_id IN (
    SELECT served_entity_id
    FROM system.serving.served_entities
    WHERE endpoint_name = :endpoint
  )
"""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who asks, and how it signed in."""

    name: str
    """A user's e-mail address, or a service principal's application id."""
    groups: frozenset[str]
    method: str
    """As the SDK calls it: `pat`, `oauth-m2m`, and others."""
    loopback: bool
    """The workspace is on this very machine, as the sandbox is."""

    @property
    def kind(self) -> str:
        """The key under which the permissions API names it."""
        return "user_name" if "@" in self.name else "service_principal_name"


@dataclass(frozen=True, kw_only=True)
class Offset:
    """The warehouse's clock less this machine's, and how far that may be wrong."""

    ahead: timedelta
    within: timedelta


@dataclass(frozen=True, kw_only=True)
class Health:
    """What one day of an inference table looks like; times are the warehouse's."""

    now: datetime
    hour_requests: int
    day_requests: int
    day_rows: int
    """With those that were written twice."""
    newest: datetime | None
    nameless: int
    """Requests of the day without a served entity."""

    @property
    def age(self) -> timedelta | None:
        """How old the newest row is: the table's lag is at most that, while there are requests."""
        return None if self.newest is None else self.now - self.newest


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What can be read of one day's answers to users; each number is one of requests."""

    answered: int
    """With a status below 400."""
    readable: int
    """Of them, those whose response is JSON."""
    texts: int
    """Of these, those with an answer at its path."""
    sourced: int
    counted: int
    """With a number of tokens."""
    streamed: int
    """Of the answered ones, those that asked for a stream."""


@dataclass(frozen=True, kw_only=True)
class ServedEntity:
    """One row of `system.serving.served_entities`."""

    id: str
    name: str
    version: str
    config_version: int | None


class Checks:
    """Single looks at a workspace; each raises this package's errors."""

    def __init__(self, client: WorkspaceClient, warehouse_id: str | None) -> None:
        self._client = client
        self._warehouse_id = warehouse_id or ""
        self.statements = Statements(client, self._warehouse_id)

    def identity(self) -> Identity:
        """Who the workspace says that we are."""
        with translated("the Databricks workspace"):
            me = self._client.current_user.me()
        if not me.user_name:
            raise Unreachable(
                "the Databricks workspace: what answers does not know who asks: "
                "check that DATABRICKS_HOST is a workspace"
            )
        host = urlsplit(self._client.config.host or "").hostname or ""
        return Identity(
            name=me.user_name,
            groups=frozenset(group.display for group in me.groups or () if group.display),
            method=self._client.config.auth_type or "unknown",
            loopback=is_loopback(host),
        )

    def owner(self, model: str) -> str | Absent | None:
        """Who owns a registered model; None, if that is not told."""
        with translated(f"model {model}"):
            try:
                return self._client.registered_models.get(segment(model)).owner
            except NotFound:
                return Absent()

    def warehouse_state(self) -> str | None:
        """The warehouse's state; None is a word that the SDK does not know."""
        with translated(f"SQL warehouse {self._warehouse_id}"):
            state = self._client.warehouses.get(segment(self._warehouse_id)).state
        return state and state.value

    def offset(self) -> Offset:
        """Run the smallest statement there is, and compare its clock with ours."""
        asked, started = time.time(), time.monotonic()
        rows = self._rows("clock", "SELECT 1 AS one, unix_millis(current_timestamp()) AS now_ms")
        half = (time.monotonic() - started) / 2
        ahead = int(rows[0][1] or 0) / 1000 - (asked + half)
        return Offset(ahead=timedelta(seconds=ahead), within=timedelta(seconds=half))

    def columns(self, table: str) -> dict[str, str]:
        """Names and types of a table's columns, without what DESCRIBE tells below them."""
        found: dict[str, str] = {}
        for row in self._rows(f"inference table {table}", f"DESCRIBE TABLE {identifier(table)}"):
            if not row[0] or row[0].startswith("#"):
                break
            found[row[0]] = row[1] or ""
        return found

    def health(self, table: str) -> Health:
        """One day of an inference table."""
        [row] = self._of(table, HEALTH)
        now, newest = _time(row[0]), _time(row[4])
        assert now is not None, "the statement tells the warehouse's time"
        return Health(
            now=now,
            hour_requests=int(row[1] or 0),
            day_requests=int(row[2] or 0),
            day_rows=int(row[3] or 0),
            newest=newest,
            nameless=int(row[5] or 0),
        )

    def answers(self, table: str, paths: Paths) -> Answers:
        """What one day's answers have where they are looked for."""
        from_ms = int((time.time() - DAY_S) * 1000)
        name = identifier(table)
        statement = f"""
WITH {counting.rows(table, paths, from_ms)},
asked AS (
  SELECT
    databricks_request_id AS id,
    max(CASE WHEN get_json_object(request, '$.stream') = 'true' THEN 1 ELSE 0 END) AS streamed
  FROM {name}
  WHERE request_date >= date_sub(current_date(), 2)
  GROUP BY databricks_request_id
)
SELECT
  count(*) AS answered,
  count_if(readable = 1) AS readable,
  count_if(readable = 1 AND empty = 0) AS texts,
  count_if(readable = 1 AND unsourced = 0) AS sourced,
  count(tokens) AS counted,
  count_if(streamed = 1) AS streamed
FROM seen JOIN asked ON asked.id = seen.request_id
WHERE status < 400 AND NOT startswith(marker, :own)
"""  # noqa: S608 - a checked name, checked paths and a number
        [row] = self._rows(f"inference table {table}", statement, {"own": markers.OWN})
        numbers = (int(cell or 0) for cell in row)
        answered, readable, texts, sourced, counted, streamed = numbers
        return Answers(
            answered=answered,
            readable=readable,
            texts=texts,
            sourced=sourced,
            counted=counted,
            streamed=streamed,
        )

    def minute(self, table: str, end_ms: int) -> tuple[int, int]:
        """Requests and errors (any status from 400) of the minute that ended then."""
        since = {"since_ms": end_ms - MINUTE_MS, "until_ms": end_ms}
        [row] = self._of(table, WINDOW, since)
        return int(row[0] or 0), int(row[1] or 0)

    def statuses(self, table: str) -> dict[str, int]:
        """How many requests of the last day ended with each status."""
        return {row[0] or "none": int(row[1] or 0) for row in self._of(table, STATUSES)}

    def newest_by_id(self, table: str) -> dict[str, int]:
        """When each served entity id was last seen in the table, in ms."""
        return {row[0] or "": int(row[1] or 0) for row in self._of(table, NEWEST_BY_ID)}

    def lag(self, table: str, since: datetime) -> dict[str, float]:
        """Seconds from request to commit, by the table's change data feed from then on.

        Its function takes literals only. The session's zone moves the start, but not the lag.
        """
        name = identifier(table).replace("\\", "\\\\").replace("'", "\\'")
        start = since.strftime("%Y-%m-%d %H:%M:%S")
        statement = LAG.format(table=f"'{name}'", since=f"'{start}'")
        [row] = self._rows(f"inference table {table}", statement)
        if not row[0] or int(row[0]) == 0:
            raise Refused(f"inference table {table}: its change data feed tells of no rows")
        names = ("rows", "p5", "p50", "p95", "p99", "max")
        return {name: float(cell or 0) for name, cell in zip(names, row, strict=True)}

    def served_entities(self, endpoint: str) -> list[ServedEntity]:
        """The ids that the system table knows of an endpoint, the latest first."""
        rows = self._rows("system.serving.served_entities", SERVED_ENTITIES, {"endpoint": endpoint})
        return [
            ServedEntity(
                id=row[0] or "",
                name=row[1] or "",
                version=row[2] or "",
                config_version=None if row[3] is None else int(row[3]),
            )
            for row in rows
        ]

    def actions(self) -> list[str]:
        """Names of the audit log's actions on endpoints, of the last two days."""
        return [f"{row[0]}.{row[1]}" for row in self._rows("system.access.audit", ACTIONS)]

    def usage_rows(self, endpoint: str) -> int:
        """How many rows `system.serving.endpoint_usage` has of an endpoint since yesterday."""
        place = "system.serving.endpoint_usage"
        return int(self._rows(place, USAGE, {"endpoint": endpoint})[0][0] or 0)

    def _of(
        self, table: str, statement: str, parameters: Mapping[str, str | int | None] | None = None
    ) -> list[Row]:
        text = statement.format(table=identifier(table))
        return self._rows(f"inference table {table}", text, parameters)

    def _rows(
        self, place: str, statement: str, parameters: Mapping[str, str | int | None] | None = None
    ) -> list[Row]:
        return self.statements.rows(place, statement, parameters or {})


def _time(cell: str | None) -> datetime | None:
    return None if cell is None else datetime.fromtimestamp(int(cell) / 1000, UTC)
