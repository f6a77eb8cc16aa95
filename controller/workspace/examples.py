"""Some requests that went wrong, of an inference table: by id, never what was asked or answered."""

from datetime import UTC, datetime

from databricks.sdk import WorkspaceClient

from controller.workspace import counting, markers
from controller.workspace.counting import LOOKBACK_MS, ms
from controller.workspace.errors import Refused
from controller.workspace.serving import Endpoints
from controller.workspace.statements import Statements
from policies.evidence import CHECKS
from policies.guards import ANSWERS, ERRORS, LATENCY, TOKENS
from states.examples import MOST, Found, Wanted
from states.release import Application
from states.world import Endpoint

DEADLINE_S = 15.0
"""They are worth no more: the table was asked minutes ago, so that its warehouse is awake."""
LONGEST_ID = 128


class Examples:
    """Looks them up once, for one application."""

    def __init__(self, client: WorkspaceClient, warehouse_id: str) -> None:
        self._endpoints = Endpoints(client)
        self._statements = Statements(client, warehouse_id, deadline_s=DEADLINE_S)

    def look(self, application: Application, wanted: Wanted) -> Found:
        """What the table has of the bad requests; raises this package's errors."""
        endpoint = self._endpoints.observe(application.spec.endpoint)
        table = endpoint.inference_table if isinstance(endpoint, Endpoint) else None
        bad = _bad(wanted)
        if table is None or bad is None:
            return Found()
        marked = markers.prefix(application.name, wanted.entity)
        seen = counting.rows(table, wanted.paths, ms(wanted.since) - LOOKBACK_MS)
        rows = self._statements.rows(
            f"inference table {table}",
            _statement(seen, wanted, *bad),
            {"own": markers.OWN, "candidate": marked},
        )
        ids = tuple(one for kind, one, _, _ in rows if kind == "id" and one)
        if any(len(one) > LONGEST_ID or not one.isprintable() for one in ids):
            raise Refused(f"inference table {table}: its request ids are none")
        statuses = [(str(one), int(n or 0)) for kind, one, n, _ in rows if kind == "status"]
        firsts = [int(at) for kind, _, _, at in rows if kind == "status" and at]
        return Found(
            ids=ids,
            statuses=tuple(sorted(statuses)),
            first_at=datetime.fromtimestamp(min(firsts) / 1000, UTC) if firsts else None,
        )


def _statement(rows: str, wanted: Wanted, condition: str, order: str) -> str:
    """Ids of a few, and how many there are of each status: rows of one form, told apart by kind."""
    return f"""
WITH {rows},
bad AS (
  SELECT * FROM seen
  WHERE NOT startswith(marker, :own)
    AND at_ms >= {ms(wanted.since)}
    AND entity_id IN (SELECT entity_id FROM seen WHERE startswith(marker, :candidate))
    AND ({condition})
),
few AS (SELECT request_id FROM bad ORDER BY {order}, request_id LIMIT {MOST})
SELECT 'id' AS kind, request_id AS told, CAST(1 AS BIGINT) AS number, CAST(NULL AS BIGINT) AS at_ms
FROM few
UNION ALL
SELECT 'status', coalesce(CAST(status AS STRING), 'none'), count(*), min(at_ms)
FROM bad
GROUP BY status
"""  # noqa: S608 - our own conditions, and numbers


def _bad(wanted: Wanted) -> tuple[str, str] | None:
    """What makes a request bad, and which of them come first; None where the table cannot tell."""
    if wanted.guard == ERRORS:
        return counting.FAILED, "at_ms"
    if wanted.guard == LATENCY and wanted.slow_ms is not None:
        return f"status < 400 AND duration_ms > {wanted.slow_ms:.0f}", "duration_ms DESC"
    if wanted.guard == ANSWERS:
        return f"readable = 1 AND {' + '.join(CHECKS)} > 0", "at_ms"
    if wanted.guard == TOKENS:
        return "tokens IS NOT NULL", "tokens DESC"
    return None
