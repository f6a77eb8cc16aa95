"""The tables that the platform writes: inference tables and `system.serving.served_entities`.

Rows reach DuckDB in batches at once, each with the time from which SQL may see it. The table that
users name is a view that shows only what has become visible by the workspace's clock.
"""

import json
import random
import threading
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from deploy.sandbox.endpoints import Entity, Record, payload_table
from deploy.sandbox.rules import TableFault
from deploy.sandbox.translate import CHANGES
from deploy.sandbox.workspace import Workspace

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Place = tuple[str, str, str]
"""Catalog, schema and table."""

PAYLOAD_COLUMNS = {
    "request_date": "DATE",
    "databricks_request_id": "VARCHAR",
    "client_request_id": "VARCHAR",
    "request_time": "TIMESTAMPTZ",
    "status_code": "INTEGER",
    "sampling_fraction": "DOUBLE",
    "execution_duration_ms": "BIGINT",
    "request": "VARCHAR",
    "response": "VARCHAR",
    "served_entity_id": "VARCHAR",
    "logging_error_codes": "VARCHAR[]",
    "requester": "VARCHAR",
}
"""The columns of an AI Gateway inference table, as a real table's definition has them."""

ENTITY_COLUMNS = {
    "served_entity_id": "VARCHAR",
    "account_id": "VARCHAR",
    "workspace_id": "VARCHAR",
    "created_by": "VARCHAR",
    "endpoint_name": "VARCHAR",
    "endpoint_id": "VARCHAR",
    "served_entity_name": "VARCHAR",
    "entity_type": "VARCHAR",
    "entity_name": "VARCHAR",
    "entity_version": "VARCHAR",
    "endpoint_config_version": "BIGINT",
    "change_time": "TIMESTAMPTZ",
    "endpoint_delete_time": "TIMESTAMPTZ",
}
SERVED_ENTITIES: Place = ("system", "serving", "served_entities")
_ACCOUNT = "00000000-0000-4000-8000-000000000000"
_LARGEST = 1 << 20
"""A request or response of more bytes than this is not logged."""


@dataclass(frozen=True)
class Delivery:
    """How a row is delivered."""

    lag_s: float
    jitter_s: float
    duplicates: float
    drops: float
    skip_statuses: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and its response, as the router saw them."""

    time: float
    entity: Entity
    status: int
    execution_ms: float
    request: bytes
    response: bytes
    client_request_id: str | None
    requester: str


class Inference:
    """Collects rows on the event loop; the warehouse's threads write them."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._random = random.Random(f"{workspace.settings.seed}:table")  # noqa: S311
        self._rows: dict[Place, list[Sequence[Any]]] = defaultdict(list)
        self._wanted: dict[Place, dict[str, str]] = {SERVED_ENTITIES: ENTITY_COLUMNS}
        self._lock = threading.Lock()
        self._writing = threading.Lock()

    def open(self, place: Place) -> None:
        """Have an inference table from now on."""
        with self._lock:
            self._wanted[place] = PAYLOAD_COLUMNS

    def log(self, record: Record, exchange: Exchange) -> None:
        """Log an exchange, unless the endpoint has no table or its status is one left out."""
        place = payload_table(record.name, record.ai_gateway)
        if place is None:
            return
        delivery = self._delivery(place, record.name)
        if exchange.status in delivery.skip_statuses:
            return
        row = _payload_row(exchange)
        twice = self._random.random() < delivery.duplicates
        # Without drops no number is drawn: the sequence of a seed stays what it was.
        if delivery.drops and self._random.random() < delivery.drops:
            return
        with self._lock:
            for _ in range(1 + twice):
                self._rows[place].append((*row, self._visible_from(exchange.time, delivery)))

    def entities(
        self, record: Record, entities: Sequence[Entity], version: int, *, deleted: bool = False
    ) -> None:
        """Tell `system.serving.served_entities` that entities came, or went with the endpoint."""
        now = self._workspace.clock()
        time = datetime.fromtimestamp(now, UTC)
        identity = (_ACCOUNT, self._workspace.workspace_id)
        delivery = self._delivery(SERVED_ENTITIES, record.name)
        with self._lock:
            for entity in entities:
                model = (entity.name, "CUSTOM_MODEL", entity.entity_name, entity.entity_version)
                row = (entity.served_entity_id, *identity, entity.creator, record.name, record.id)
                times = (time, time if deleted else None, self._visible_from(now, delivery))
                self._rows[SERVED_ENTITIES].append((*row, *model, version, *times))

    @property
    def unwritten(self) -> bool:
        """Whether anything waits to be written."""
        return bool(self._rows or self._wanted)

    def write(self, connection: "DuckDBPyConnection") -> None:
        """Write what has been collected: run by the warehouse, off the event loop."""
        # One writer at a time, so that a statement that finds nothing left to write cannot overtake
        # a batch that is half written. The event loop takes the other lock only, and never waits.
        with self._writing:
            with self._lock:
                wanted, rows = self._wanted, self._rows
                self._wanted, self._rows = {}, defaultdict(list)
            for place, columns in wanted.items():
                _create(connection, place, columns)
            for place, batch in rows.items():
                # One list for each column: DuckDB takes rows one by one many times more slowly.
                lists = ", ".join(["unnest(?)"] * len(batch[0]))
                insert = f"INSERT INTO {_stored(place)} SELECT {lists}"
                connection.execute(insert, [list(column) for column in zip(*batch, strict=True)])

    def _delivery(self, place: Place, endpoint: str) -> "Delivery":
        """How this row is delivered: as the settings say, or as a fault says."""
        settings = self._workspace.settings
        usual = Delivery(
            settings.table_lag_s,
            settings.table_lag_jitter_s,
            settings.table_duplicate_share,
            settings.table_drop_share,
            settings.table_skip_statuses,
        )
        taken = self._workspace.faults.take(
            "table", TableFault, "row", table=".".join(place), endpoint=endpoint
        )
        if taken is None:
            return usual
        given = {key: value for key, value in asdict(taken[1]).items() if value is not None}
        return replace(usual, **given)

    def _visible_from(self, time: float, delivery: "Delivery") -> float:
        return time + delivery.lag_s + delivery.jitter_s * self._random.random()


def _payload_row(exchange: Exchange) -> tuple[Any, ...]:
    """The row of an exchange, in the order of PAYLOAD_COLUMNS."""
    codes = []
    request: str | None = exchange.request.decode(errors="replace")
    response: str | None = exchange.response.decode(errors="replace")
    if len(exchange.request) > _LARGEST:
        request = None
        codes.append("MAX_REQUEST_SIZE_EXCEEDED")
    if len(exchange.response) > _LARGEST:
        response = None
        codes.append("MAX_RESPONSE_SIZE_EXCEEDED")
    moment = datetime.fromtimestamp(int(exchange.time * 1000) / 1000, UTC)
    return (
        *(moment.date(), str(uuid.uuid4()), exchange.client_request_id, moment),
        *(exchange.status, 1.0, round(exchange.execution_ms), request, response),
        *(exchange.entity.served_entity_id, codes, exchange.requester),
    )


def _stored(place: Place) -> str:
    """The table behind the view."""
    catalog, schema, table = place
    return _quoted("sandbox", f"{catalog}.{schema}.{table}")


def _quoted(*names: str) -> str:
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def _create(connection: "DuckDBPyConnection", place: Place, columns: dict[str, str]) -> None:
    """Make a table with its time of visibility, and the view that users read."""
    catalog, schema, table = place
    fields = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    shown = ", ".join(columns)
    connection.execute("CREATE SCHEMA IF NOT EXISTS sandbox")
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_quoted(f'{catalog}.{schema}')}")
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {_stored(place)} ({fields}, visible_from DOUBLE)"
    )
    connection.execute(
        f"CREATE VIEW IF NOT EXISTS {_quoted(f'{catalog}.{schema}', table)} AS "  # noqa: S608
        f"SELECT {shown} FROM {_stored(place)} WHERE visible_from <= getvariable('sandbox_now')"
    )
    if columns is not PAYLOAD_COLUMNS:
        return
    # A row is committed when it becomes visible: each such moment is a version of the table.
    changes = _quoted("sandbox", CHANGES + ".".join(place).lower())
    connection.execute(
        f"CREATE VIEW IF NOT EXISTS {changes} AS "  # noqa: S608
        f"SELECT {shown}, 'insert' AS _change_type, "
        "dense_rank() OVER (ORDER BY visible_from) AS _commit_version, "
        "to_timestamp(visible_from) AS _commit_timestamp "
        f"FROM {_stored(place)} WHERE visible_from <= getvariable('sandbox_now')"
    )


def client_request_id(body: bytes) -> tuple[str | None, bytes]:
    """The client's id of a request, and the body without what is meant for the platform."""
    if not any(f'"{key}"'.encode() in body for key in _FOR_THE_PLATFORM):
        return None, body
    try:
        content = json.loads(body)
    except ValueError:
        # Not JSON: the scoring server refuses it in its own words, or it is CSV that has the word.
        return None, body
    if not isinstance(content, dict):
        return None, body
    given = content.get("client_request_id")
    kept = {key: value for key, value in content.items() if key not in _FOR_THE_PLATFORM}
    return None if given is None else str(given), json.dumps(kept).encode()


_FOR_THE_PLATFORM = ("client_request_id", "databricks_options", "usage_context")
