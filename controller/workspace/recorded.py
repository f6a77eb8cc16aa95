"""Recorded requests: drawn from the inference table by id, and read for as long as they are asked.

A draw is reproducible: requests stand in the order of a keyed hash of their ids, the release being
the key. They are drawn in turn from four strata of equal size by length, so that any beginning of
the sample has long requests in it as often as users' requests are long. Texts pass through memory
alone: no sentence of this module, and none of its errors, holds one.
"""

# ruff: noqa: S608 - statements in pieces, of checked names and numbers alone

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from databricks.sdk import WorkspaceClient

from controller.workspace import markers
from controller.workspace.inference import InferenceTable
from controller.workspace.names import identifier
from controller.workspace.statements import Parameter, Statements
from policies.replay import Drawn

STRATA = 4
HOUR = timedelta(hours=1)
LONGEST = 65_536
"""Characters of a request that is replayed; longer ones are rare, and slow on both versions."""
AT_ONCE = 40
"""Texts in one answer of the warehouse: 2.5 million characters at most, of 25 MiB."""
ASKED = "status < 400 OR status = 400 OR status >= 500"
"""What is replayed: what a version answered, well or not. A refused token, a missing version and a
full queue were no answer of the model's; one without a status may have been cut by its sender."""


@dataclass(frozen=True)
class Recorded:
    """A recorded request: its text, and whether it was answered well then."""

    id: str
    body: str = field(repr=False)
    succeeded: bool


@dataclass(frozen=True)
class Texts:
    """A request and what was answered to it, for the eyes of whoever may read the table."""

    request: str = field(repr=False)
    answers: tuple[tuple[str, int | None, str], ...] = field(repr=False)
    """Marker (empty: the user's own), status, and the response: each version's last."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Which recorded requests are wanted: a served entity's, of the last hours, so many at most."""

    table: str
    endpoint: str
    application: str
    entity: str
    over: timedelta
    most: int
    salt: str
    """The key of the draw: the same one draws the same of the same rows."""


class RecordedRequests:
    """Reads the inference tables of one workspace."""

    def __init__(
        self,
        client: WorkspaceClient,
        warehouse_id: str,
        names: InferenceTable,
        *,
        deadline_s: float = 60,
    ) -> None:
        self._statements = Statements(client, warehouse_id, deadline_s=deadline_s)
        self._names = names

    def draw(self, sample: Sample) -> Drawn:
        """A sample of what one served entity answered to users in the last hours."""
        table, over = sample.table, sample.over
        from_ms = int(time.time() * 1000) - over // timedelta(milliseconds=1)
        place = f"inference table {table}"
        counted = f"""
SELECT entity_id, CAST(max(CASE WHEN startswith(marker, :stable) THEN 1 ELSE 0 END) AS STRING)
FROM ({_rows(table, from_ms)}) AS seen
GROUP BY entity_id
"""
        marks = {"stable": markers.prefix(sample.application, sample.entity)}
        found = self._statements.rows(place, counted, marks)
        own = [row[0] for row in self._names.own(sample.endpoint, sample.entity, found) if row[0]]
        if not own:
            told = "no request" if not found else "no request that is known to be stable's"
            return Drawn(why=f"the inference table has {told} of the last {over // HOUR} h")
        ids = {f"entity_{number}": one for number, one in enumerate(own)}
        statement = f"""
WITH pool AS (
  SELECT request_id, size
  FROM ({_rows(table, from_ms)}) AS seen
  WHERE entity_id IN ({", ".join(f":{name}" for name in ids)})
    AND NOT startswith(marker, :own)
    AND ({ASKED})
    AND size <= {LONGEST}
),
placed AS (
  SELECT
    request_id,
    ntile({STRATA}) OVER (ORDER BY size, request_id) AS stratum,
    sha2(concat(:salt, request_id), 256) AS lot
  FROM pool
),
ranked AS (
  SELECT
    request_id, lot, row_number() OVER (PARTITION BY stratum ORDER BY lot, request_id) AS turn
  FROM placed
)
SELECT request_id FROM ranked ORDER BY turn, lot, request_id LIMIT {int(sample.most)}
"""
        parameters: dict[str, Parameter] = {**ids, "own": markers.OWN, "salt": sample.salt}
        rows = self._statements.rows(place, statement, parameters)
        drawn = tuple(row[0] for row in rows if row[0])
        why = "" if drawn else f"stable has no request of users' in the last {over // HOUR} h"
        return Drawn(requests=drawn, why=why)

    def texts(self, table: str, ids: Sequence[str], over: timedelta) -> list[Recorded]:
        """The bodies of some requests, at most `AT_ONCE`; those that are there no more are not."""
        assert len(ids) <= AT_ONCE, "one answer of the warehouse has room for so many"
        wanted = {f"id_{number}": one for number, one in enumerate(ids)}
        statement = f"""
SELECT
  databricks_request_id,
  max(request) AS body,
  CAST(max(CASE WHEN status_code < 400 THEN 1 ELSE 0 END) AS STRING) AS succeeded
FROM {identifier(table)}
WHERE request_date >= CAST('{_day(over)}' AS DATE)
  AND databricks_request_id IN ({", ".join(f":{name}" for name in wanted)})
GROUP BY databricks_request_id
"""
        rows = self._statements.rows(f"inference table {table}", statement, dict(wanted))
        found = {
            row[0]: Recorded(row[0], row[1], row[2] == "1") for row in rows if row[0] and row[1]
        }
        return [found[one] for one in ids if one in found]

    def pair(self, table: str, application: str, request: str, since: datetime) -> Texts | None:
        """A recorded request with its answers, then and in the replay; None if it is not there."""
        statement = f"""
SELECT
  coalesce(client_request_id, '') AS marker,
  CAST(max(status_code) AS STRING) AS status,
  max(request) AS request,
  max(response) AS response,
  CAST(max(CASE WHEN databricks_request_id = :request THEN 1 ELSE 0 END) AS STRING) AS recorded
FROM {identifier(table)}
WHERE request_date >= CAST('{since.date().isoformat()}' AS DATE)
  AND (databricks_request_id = :request
    OR (startswith(client_request_id, :own) AND endswith(client_request_id, :tail)))
GROUP BY databricks_request_id, client_request_id
ORDER BY min(request_time)
"""
        own = markers.prefix(application, "")[:-1]
        tail = markers.replay_marker("", "", request).rsplit("/", 1)[-1]
        parameters: dict[str, Parameter] = {"request": request, "own": own, "tail": f"/{tail}"}
        rows = self._statements.rows(f"inference table {table}", statement, parameters)
        recorded = next((row for row in rows if row[4] == "1"), None)
        if recorded is None:
            return None
        # What was asked again after a kill has two answers of a version: the last one counted.
        answers = {
            "" if row[4] == "1" else row[0] or "": (int(row[1]) if row[1] else None, row[3] or "")
            for row in rows
        }
        told = tuple((marker, *answer) for marker, answer in answers.items())
        return Texts(request=recorded[2] or "", answers=told)


def _rows(table: str, from_ms: int) -> str:
    """Every request once, as far as a draw looks at it; the table is written at least once."""
    day = datetime.fromtimestamp(from_ms / 1000, UTC).date() - timedelta(days=1)
    return f"""
  SELECT
    databricks_request_id AS request_id,
    coalesce(max(client_request_id), '') AS marker,
    max(served_entity_id) AS entity_id,
    max(status_code) AS status,
    max(length(request)) AS size
  FROM {identifier(table)}
  WHERE request_date >= CAST('{day.isoformat()}' AS DATE)
    AND unix_millis(request_time) >= {from_ms}
  GROUP BY databricks_request_id
"""


def _day(over: timedelta) -> str:
    """The first day of what was drawn; one more for any zone, and one for how long ago that was."""
    return (datetime.now(UTC) - over - timedelta(days=2)).date().isoformat()
