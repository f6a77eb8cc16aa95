"""The inference table as a counting source: what users' requests came to, version by version.

The table (Databricks' documentation, "AI Gateway-enabled inference tables") is written at least
once and up to an hour late. It names the served entity by an id only; Headgate's own marked rows
tell whose id that is, how late the table is, and that it lives.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from databricks.sdk import WorkspaceClient

from controller.workspace import markers
from controller.workspace.errors import Denied, Refused
from controller.workspace.names import identifier
from controller.workspace.statements import Row, Statements
from policies.evidence import NOTHING, Arm

LOOKBACK_MS = 6 * 3600 * 1000
"""How far back beats are looked for: a table later than that is broken by any measure."""
ASK_AGAIN_S = 600.0
"""Seconds before the system table is asked once more for an id that it did not have."""

CANDIDATE, STABLE = "candidate", "stable"

# Times are milliseconds since the epoch, so that no session's time zone matters, and both ends of
# a window mean the same in every look. `request_date` is the clustering column: one day of margin
# covers every zone that it may have been computed in. A user's row has no marker, or one that is
# not Headgate's. A null status is a request that got no answer.
LOOK = """
WITH seen AS (
  SELECT
    databricks_request_id AS request_id,
    max(coalesce(client_request_id, '')) AS marker,
    min(unix_millis(request_time)) AS at_ms,
    max(status_code) AS status,
    max(served_entity_id) AS entity_id
  FROM {table}
  WHERE request_date >= least(
      date_sub(current_date(), 1), date_sub(CAST(coalesce(:since_day, '9999-01-02') AS DATE), 1)
    )
    AND unix_millis(request_time) >= least(
      unix_millis(current_timestamp()) - :lookback_ms,
      coalesce(:since_ms, unix_millis(current_timestamp()))
    )
  GROUP BY databricks_request_id
),
marked AS (
  SELECT
    entity_id,
    at_ms,
    CASE
      WHEN startswith(marker, :candidate) THEN 'candidate'
      WHEN startswith(marker, :stable) THEN 'stable'
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
),
bounds AS (
  SELECT
    candidate_ms,
    stable_ms,
    CASE
      WHEN candidate_ms IS NULL THEN NULL
      WHEN :stable IS NULL THEN candidate_ms
      WHEN stable_ms IS NULL THEN NULL
      ELSE least(candidate_ms, stable_ms)
    END AS watermark_ms
  FROM beats
),
users AS (
  SELECT
    entity_id,
    count(*) AS requests,
    count_if(
      status IS NULL OR (status >= 400 AND status NOT IN (401, 403, 404, 429))
    ) AS errors,
    count_if(status IS NULL OR status >= 500) AS server_errors
  FROM seen
  CROSS JOIN bounds
  WHERE NOT startswith(marker, :own)
    AND at_ms >= :since_ms
    AND at_ms < least(coalesce(:until_ms, watermark_ms), watermark_ms)
  GROUP BY entity_id
)
SELECT
  unix_millis(current_timestamp()) AS now_ms,
  bounds.candidate_ms AS candidate_ms,
  bounds.stable_ms AS stable_ms,
  bounds.watermark_ms AS watermark_ms,
  users.entity_id AS entity_id,
  names.arm AS arm,
  coalesce(users.requests, 0) AS requests,
  coalesce(users.errors, 0) AS errors,
  coalesce(users.server_errors, 0) AS server_errors
FROM bounds
LEFT JOIN users ON TRUE
LEFT JOIN names ON names.entity_id = users.entity_id
"""

SERVED_ENTITIES = """
SELECT served_entity_id, served_entity_name
FROM system.serving.served_entities
WHERE endpoint_name = :endpoint
"""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the table said at one look; all times are the warehouse's, aware and UTC."""

    now: datetime
    candidate_beat: datetime | None = None
    """When the newest marked row of the candidate was requested; None: none in six hours."""
    stable_beat: datetime | None = None
    watermark: datetime | None = None
    """Everything before this has arrived; None while an entity has no beat."""
    opened: datetime | None = None
    closed: datetime | None = None
    """The window that was counted, without its end; None when nothing was to be counted."""
    candidate: Arm = NOTHING
    stable: Arm = NOTHING
    unattributed: int = 0
    """Requests in the window whose served entity no source could name."""


@dataclass(frozen=True)
class _Count:
    """One served entity id's requests in the window."""

    entity_id: str | None
    arm: str | None
    counts: Arm


@dataclass
class _Names:
    """Names of one endpoint's served entity ids, by the system table."""

    by_id: dict[str, str] = field(default_factory=dict)
    asked_at: float | None = None


class InferenceTable:
    """Counts users' requests by SQL: sufficient statistics, never rows."""

    def __init__(
        self, client: WorkspaceClient, warehouse_id: str, *, deadline_s: float = 60
    ) -> None:
        self._statements = Statements(client, warehouse_id, deadline_s=deadline_s)
        self._names: dict[str, _Names] = {}

    def look(  # noqa: PLR0913 - all by name: what to read, whose rows, which window
        self,
        *,
        table: str,
        application: str,
        candidate_entity: str,
        stable_entity: str | None,
        endpoint: str,
        since: datetime | None,
        until: datetime | None = None,
    ) -> Look:
        """Count both entities over [since, until), as far as the table is complete."""
        rows = self._statements.rows(
            f"inference table {table}",
            LOOK.format(table=identifier(table)),
            {
                "own": markers.OWN,
                "candidate": markers.prefix(application, candidate_entity),
                "stable": stable_entity and markers.prefix(application, stable_entity),
                "lookback_ms": LOOKBACK_MS,
                "since_ms": _ms(since),
                "until_ms": _ms(until),
                "since_day": since.astimezone(UTC).date().isoformat() if since else None,
            },
        )
        assert rows, "the statement starts from one row of bounds"
        now, candidate_beat, stable_beat, watermark = (_time(cell) for cell in rows[0][:4])
        assert now is not None
        counts = [_count(row) for row in rows]
        arms = {CANDIDATE: candidate_entity, STABLE: stable_entity}
        candidate, stable, unattributed = self._attributed(endpoint, counts, arms)
        closed = _closed(since, until, watermark)
        return Look(
            now=now,
            candidate_beat=candidate_beat,
            stable_beat=stable_beat,
            watermark=watermark,
            opened=since if closed else None,
            closed=closed,
            candidate=candidate,
            stable=stable,
            unattributed=unattributed,
        )

    def _attributed(
        self, endpoint: str, counts: list[_Count], arms: dict[str, str | None]
    ) -> tuple[Arm, Arm, int]:
        """Both arms' sums, and how many requests belong to nobody that could be named."""
        totals = {CANDIDATE: NOTHING, STABLE: NOTHING}
        nameless = [one for one in counts if one.arm is None and one.counts.requests]
        for one in counts:
            if one.arm is not None:
                totals[one.arm] += one.counts
        unattributed = 0
        names = self._named(endpoint, (one.entity_id for one in nameless))
        for one in nameless:
            name = names.get(one.entity_id or "")
            arm = next((arm for arm, entity in arms.items() if name and entity == name), None)
            if arm is not None:
                totals[arm] += one.counts
            elif name is None:
                unattributed += one.counts.requests
        return totals[CANDIDATE], totals[STABLE], unattributed

    def _named(self, endpoint: str, ids: Iterable[str | None]) -> dict[str, str]:
        """Names by the system table, which is asked only for ids that are still nameless."""
        names = self._names.setdefault(endpoint, _Names())
        wanted = {one for one in ids if one is not None} - names.by_id.keys()
        waited = names.asked_at is None or time.monotonic() - names.asked_at >= ASK_AGAIN_S
        if wanted and waited:
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


def _count(row: Row) -> _Count:
    requests, errors, server_errors = (int(cell or 0) for cell in row[6:9])
    return _Count(
        row[4], row[5], Arm(requests=requests, errors=errors, server_errors=server_errors)
    )


def _closed(
    since: datetime | None, until: datetime | None, watermark: datetime | None
) -> datetime | None:
    """The end of the window; never before its beginning."""
    if since is None or watermark is None:
        return None
    end = watermark if until is None else min(until, watermark)
    return max(since, end)


def _ms(moment: datetime | None) -> int | None:
    """Whole milliseconds since the epoch, as the statement compares them."""
    return None if moment is None else int(moment.timestamp() * 1000)


def _time(cell: str | None) -> datetime | None:
    return None if cell is None else datetime.fromtimestamp(int(cell) / 1000, UTC)
