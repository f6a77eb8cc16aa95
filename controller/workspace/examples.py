"""Ids of some requests that went wrong, of an inference table; never what was asked or answered."""

from databricks.sdk import WorkspaceClient

from controller.workspace import counting, markers
from controller.workspace.counting import LOOKBACK_MS, Paths, ms
from controller.workspace.errors import Refused
from controller.workspace.serving import Endpoints
from controller.workspace.statements import Statements
from policies.guards import ANSWERS, ERRORS, LATENCY, TOKENS
from states.examples import MOST, Wanted
from states.release import Application
from states.world import Endpoint

DEADLINE_S = 15.0
"""They are worth no more: the table was asked minutes ago, so that its warehouse is awake."""
LONGEST_ID = 128


class Examples:
    """Looks them up once, for one application."""

    def __init__(self, client: WorkspaceClient, warehouse_id: str, paths: Paths) -> None:
        self._endpoints = Endpoints(client)
        self._statements = Statements(client, warehouse_id, deadline_s=DEADLINE_S)
        self._paths = paths

    def look(self, application: Application, wanted: Wanted) -> tuple[str, ...]:
        """At most three ids, the first or the worst of their kind; raises this package's errors."""
        endpoint = self._endpoints.observe(application.spec.endpoint)
        table = endpoint.inference_table if isinstance(endpoint, Endpoint) else None
        bad = _bad(wanted)
        if table is None or bad is None:
            return ()
        condition, order = bad
        rows = counting.rows(table, self._paths, ms(wanted.since) - LOOKBACK_MS)
        statement = f"""
WITH {rows}
SELECT request_id
FROM seen
WHERE NOT startswith(marker, :own)
  AND at_ms >= {ms(wanted.since)}
  AND entity_id IN (SELECT entity_id FROM seen WHERE startswith(marker, :candidate))
  AND ({condition})
ORDER BY {order}, request_id
LIMIT {MOST}
"""  # noqa: S608 - our own conditions, and numbers
        marked = markers.prefix(application.name, wanted.entity)
        found = self._statements.rows(
            f"inference table {table}", statement, {"own": markers.OWN, "candidate": marked}
        )
        ids = tuple(row[0] for row in found if row[0])
        if any(len(one) > LONGEST_ID or not one.isprintable() for one in ids):
            raise Refused(f"inference table {table}: its request ids are none")
        return ids


def _bad(wanted: Wanted) -> tuple[str, str] | None:
    """What makes a request bad, and which of them come first; None where the table cannot tell."""
    if wanted.guard == ERRORS:
        return counting.FAILED, "at_ms"
    if wanted.guard == LATENCY and wanted.slow_ms is not None:
        return f"status < 400 AND duration_ms > {wanted.slow_ms:.0f}", "duration_ms DESC"
    if wanted.guard == ANSWERS:
        return f"readable = 1 AND {' + '.join(counting.CHECKS)} > 0", "at_ms"
    if wanted.guard == TOKENS:
        return "tokens IS NOT NULL", "tokens DESC"
    return None
