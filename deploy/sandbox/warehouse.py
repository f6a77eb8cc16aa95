"""The SQL warehouse: Databricks' statement API over DuckDB, in threads beside the event loop."""

import asyncio
import json
import logging
import math
import re
import struct
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.sandbox.nodes import unsupported
from deploy.sandbox.rules import SqlFault
from deploy.sandbox.translate import (
    CHANGES,
    MACROS,
    Context,
    Parameter,
    SqlError,
    Translated,
    check_type,
    translate,
)
from deploy.sandbox.wire import Json, invalid, missing, not_modelled, read_json, reply
from deploy.sandbox.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from duckdb import DuckDBPyConnection

_log = logging.getLogger("sandbox")

WAREHOUSE_ID = "sandbox"
STATEMENTS = "/api/2.0/sql/statements"
_THREADS = 4
_LOOK_S = 0.02
"""How often a statement looks whether the warehouse has started, in real seconds."""
_KEPT = 1000
"""Finished statements that stay readable; the platform keeps results for an hour."""
_SHORTEST_WAIT_S, _LONGEST_WAIT_S = 5, 50

_TYPES = {
    "TINYINT": ("BYTE", "TINYINT"),
    "SMALLINT": ("SHORT", "SMALLINT"),
    "INTEGER": ("INT", "INT"),
    "BIGINT": ("LONG", "BIGINT"),
    # DuckDB's sums are wider than Databricks'.
    "HUGEINT": ("LONG", "BIGINT"),
    "UBIGINT": ("LONG", "BIGINT"),
    "FLOAT": ("FLOAT", "FLOAT"),
    "DOUBLE": ("DOUBLE", "DOUBLE"),
    "BOOLEAN": ("BOOLEAN", "BOOLEAN"),
    "VARCHAR": ("STRING", "STRING"),
    "UUID": ("STRING", "STRING"),
    "JSON": ("VARIANT", "VARIANT"),
    "BLOB": ("BINARY", "BINARY"),
    "DATE": ("DATE", "DATE"),
    "TIMESTAMP WITH TIME ZONE": ("TIMESTAMP", "TIMESTAMP"),
    "TIMESTAMP": ("TIMESTAMP_NTZ", "TIMESTAMP_NTZ"),
    "INTERVAL": ("INTERVAL", "INTERVAL"),
    '"NULL"': ("NULL", "VOID"),
}
"""Databricks' type name and type text for DuckDB's types."""

_FAILURES = (
    (duckdb.CatalogException, CHANGES, "0A000", "UNSUPPORTED_FEATURE"),
    (duckdb.CatalogException, "Table with name", "42P01", "TABLE_OR_VIEW_NOT_FOUND"),
    (duckdb.CatalogException, "Schema with name", "42704", "SCHEMA_NOT_FOUND"),
    (duckdb.CatalogException, "already exists", "42P07", "TABLE_OR_VIEW_ALREADY_EXISTS"),
    (duckdb.CatalogException, "Function with name", "42883", "UNRESOLVED_ROUTINE"),
    (duckdb.BinderException, "olumn", "42703", "UNRESOLVED_COLUMN"),
    (duckdb.BinderException, "Referenced table", "42703", "UNRESOLVED_COLUMN"),
    (duckdb.BinderException, "", "42K09", "DATATYPE_MISMATCH"),
    (duckdb.ParserException, "", "42601", "PARSE_SYNTAX_ERROR"),
    (duckdb.ConversionException, "out of range", "22003", "CAST_OVERFLOW"),
    (duckdb.ConversionException, "", "22018", "CAST_INVALID_INPUT"),
    (duckdb.OutOfRangeException, "", "22003", "ARITHMETIC_OVERFLOW"),
    (duckdb.InvalidInputException, "Division by zero", "22012", "REMAINDER_BY_ZERO"),
    (duckdb.InvalidInputException, "Could not parse string", "22007", "CANNOT_PARSE_TIMESTAMP"),
    (duckdb.InvalidInputException, "more than once", "23K01", "MERGE_CARDINALITY_VIOLATION"),
    (duckdb.InvalidInputException, "Malformed JSON", "22023", "MALFORMED_RECORD_IN_PARSING"),
)
"""DuckDB's exceptions and words, and the SQLSTATE and error class they stand for."""

_RAISED = re.compile(r"\[(?P<name>[A-Z_]+)\] .*", re.DOTALL)
_SQL_STATES = {
    "CAST_INVALID_INPUT": "22018",
    "DELTA_TIMESTAMP_GREATER_THAN_COMMIT": "42816",
    "DIVIDE_BY_ZERO": "22012",
    "INVALID_ARRAY_INDEX": "22003",
    "INVALID_ARRAY_INDEX_IN_ELEMENT_AT": "22003",
    "UNSUPPORTED_FEATURE": "0A000",
}
"""SQLSTATEs of the errors that a translated statement raises in Databricks' words."""
_LARGEST = 2**63

Cell = str | None


@dataclass
class Table:
    """A result: columns (name, type name, type text) and cells as the API writes them."""

    columns: list[tuple[str, str, str]] = field(default_factory=list)
    rows: list[list[Cell]] = field(default_factory=list)
    truncated: bool = False
    chunk_rows: int | None = None
    """Rows per chunk, where a fault says other than the settings."""


@dataclass
class Statement:
    """A statement and what has become of it."""

    id: str
    text: str
    context: Context
    row_limit: int | None
    pending_answers: int
    """How often it still answers PENDING before it runs."""
    fault: SqlFault = field(default_factory=SqlFault)
    state: str = "PENDING"
    table: Table | None = None
    error: SqlError | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)
    cursor: "DuckDBPyConnection | None" = None
    task: "asyncio.Task[None] | None" = None


class Warehouse:
    """One SQL warehouse, always running unless a fault has stopped it."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.feeders: list[Callable[[DuckDBPyConnection], None]] = []
        """Called before each statement, in its thread: they write what the platform logs."""
        self._statements: dict[str, Statement] = {}
        self._starts = 0.0
        """The workspace's time from which the warehouse runs; a fault may set it ahead."""
        self._connection: DuckDBPyConnection | None = None
        self._opening = threading.Lock()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="warehouse")

    def routes(self) -> list[Route]:
        """The statement execution API, and the one warehouse."""
        one = STATEMENTS + "/{id}"
        return [
            Route(STATEMENTS, self._execute, methods=["POST"]),
            Route(one, self._get, methods=["GET"]),
            Route(one + "/result/chunks/{index:int}", self._chunk, methods=["GET"]),
            Route(one + "/cancel", self._cancel, methods=["POST"]),
            Route("/api/2.0/sql/warehouses", self._warehouses, methods=["GET"]),
            Route("/api/2.0/sql/warehouses/{id}", self._warehouse, methods=["GET"]),
            Route("/api/2.1/unity-catalog/tables/{name}/exists", self._exists, methods=["GET"]),
        ]

    async def start(self) -> None:
        """Open the database."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._open)

    async def stop(self) -> None:
        """Write what is still to be written, and close the database."""
        tasks = [one.task for one in self._statements.values() if one.task is not None]
        for one in self._statements.values():
            if one.cursor is not None:
                one.cursor.interrupt()
            elif one.task is not None and one.state == "PENDING":
                one.task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.feed()
        self._threads.shutdown()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def feed(self) -> None:
        """Let the platform's logs reach their tables."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._feed, None)

    def _open(self) -> "DuckDBPyConnection":
        with self._opening:
            if self._connection is None:
                path = self.workspace.settings.data / "warehouse.duckdb"
                # Nothing is fetched from the network: what DuckDB needs is in its wheel.
                connection = duckdb.connect(
                    str(path),
                    config={
                        "autoinstall_known_extensions": False,
                        "autoload_known_extensions": False,
                        "threads": 2,
                    },
                )
                for prepared in (
                    "SET GLOBAL TimeZone = 'UTC'",
                    'CREATE SCHEMA IF NOT EXISTS "main.default"',
                    *MACROS,
                ):
                    connection.execute(prepared)
                self._connection = connection
            return self._connection

    def _feed(self, cursor: "DuckDBPyConnection | None") -> None:
        if cursor is None:
            with self._open().cursor() as own:
                self._feed(own)
            return
        for feeder in self.feeders:
            feeder(cursor)

    async def _execute(self, request: Request) -> Response:
        body = await read_json(request)
        _check(body)
        wait_s = _wait(body.get("wait_timeout", "10s"))
        statement = self._read(body)
        self._statements[statement.id] = statement
        while len(self._statements) > _KEPT:
            del self._statements[next(iter(self._statements))]
        if statement.pending_answers:
            return self._answer(statement)
        self._begin(statement)
        if not wait_s:
            return reply({"statement_id": statement.id, "status": {"state": "PENDING"}})
        try:
            async with asyncio.timeout(wait_s):
                await statement.done.wait()
        except TimeoutError:
            if body.get("on_wait_timeout", "CONTINUE") == "CANCEL":
                _stop(statement)
        return self._answer(statement)

    def _read(self, body: Json) -> Statement:
        """The statement that the request describes."""
        parameters = {}
        for one in body.get("parameters") or []:
            try:
                kind = check_type(one.get("type") or "STRING")
            except SqlError as error:
                raise invalid(str(error)) from error
            parameters[str(one.get("name"))] = Parameter(one.get("value"), kind)
        context = Context(
            now=self.workspace.clock(),
            catalog=body.get("catalog") or "main",
            schema=body.get("schema") or "default",
            parameters=parameters,
        )
        taken = self.workspace.faults.take(
            "sql", SqlFault, "statement", statement=str(body["statement"])
        )
        fault = SqlFault() if taken is None else taken[1]
        if fault.starting_s:
            self._starts = self.workspace.clock() + fault.starting_s
        polls = self.workspace.settings.sql_pending_polls
        return Statement(
            id=str(uuid.uuid4()),
            text=body["statement"],
            context=context,
            row_limit=body.get("row_limit"),
            pending_answers=polls if fault.pending_polls is None else fault.pending_polls,
            fault=fault,
        )

    async def _get(self, request: Request) -> Response:
        return self._answer(self._find(request))

    async def _chunk(self, request: Request) -> Response:
        statement = self._find(request)
        index = request.path_params["index"]
        if statement.table is None:
            raise invalid(f"Statement {statement.id} has no result: it is {statement.state}.")
        if not 0 <= index < len(self._chunks(statement.table)):
            raise invalid(f"Statement {statement.id} has no chunk {index}.")
        return reply(self._result(statement, index))

    async def _cancel(self, request: Request) -> Response:
        _stop(self._find(request))
        return reply()

    async def _warehouses(self, _request: Request) -> Response:
        return reply({"warehouses": [self._described()]})

    async def _warehouse(self, request: Request) -> Response:
        if request.path_params["id"] != WAREHOUSE_ID:
            raise missing(f"SQL warehouse {request.path_params['id']} does not exist.")
        return reply(self._described())

    def _described(self) -> Json:
        """The warehouse; one that a fault has stopped waits for a statement to start it."""
        rules = self.workspace.faults.rules.get("sql", ())
        waiting = (rule.effect for rule in rules if not rule.spent)
        state = "RUNNING"
        if self.workspace.clock() < self._starts:
            state = "STARTING"
        elif any(isinstance(effect, SqlFault) and effect.starting_s for effect in waiting):
            state = "STOPPED"
        return {
            "id": WAREHOUSE_ID,
            "name": "Sandbox warehouse (emulated)",
            "state": state,
            "cluster_size": "2X-Small",
            "warehouse_type": "PRO",
            "enable_serverless_compute": True,
            "num_clusters": int(state == "RUNNING"),
            **({"health": {"status": "HEALTHY"}} if state == "RUNNING" else {}),
        }

    async def _exists(self, request: Request) -> Response:
        """Whether there is a table of that name; `databricks-agents` asks before it chooses one."""
        catalog, _, rest = request.path_params["name"].lower().partition(".")
        schema, _, table = rest.partition(".")
        question = (
            "SELECT count(*) FROM information_schema.tables "
            "WHERE lower(table_schema) = ? AND lower(table_name) = ?"
        )

        def ask() -> bool:
            with self._open().cursor() as cursor:
                self._feed(cursor)
                found = cursor.execute(question, [f"{catalog}.{schema}", table]).fetchone()
                return bool(found and found[0])

        exists = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return reply({"table_exists": exists})

    def _find(self, request: Request) -> Statement:
        statement = self._statements.get(request.path_params["id"])
        if statement is None:
            raise missing(f"The statement {request.path_params['id']} was not found.")
        return statement

    def _begin(self, statement: Statement) -> None:
        statement.task = asyncio.create_task(self._run(statement))

    async def _run(self, statement: Statement) -> None:
        """Run the statement in a thread and keep what it gave."""
        loop = asyncio.get_running_loop()
        while self.workspace.clock() < self._starts:  # noqa: ASYNC110 - the clock may be a test's
            await asyncio.sleep(_LOOK_S)
        if statement.state != "PENDING":
            return
        statement.state = "RUNNING"
        try:
            table = await loop.run_in_executor(self._threads, self._compute, statement)
        except SqlError as error:
            if statement.state == "RUNNING":
                statement.state, statement.error = "FAILED", error
        except Exception as error:  # noqa: BLE001 - it is told, and the client must not wait for ever
            _log.exception("the statement failed for a reason that is not the statement's")
            statement.state = "FAILED"
            statement.error = SqlError("XX000", f"[INTERNAL_ERROR] {error}")
        else:
            if statement.state == "RUNNING":
                statement.state, statement.table = "SUCCEEDED", table
                table.chunk_rows = statement.fault.chunk_rows
        finally:
            statement.done.set()

    def _compute(self, statement: Statement) -> Table:
        """Run the statement; this is a thread."""
        if statement.fault.failed is not None:
            raise SqlError("XX000", statement.fault.failed)
        translated = translate(statement.text, statement.context)
        if not self.workspace.settings.system_tables and '"system.' in translated.sql:
            raise SqlError(
                "42501",
                "[INSUFFICIENT_PERMISSIONS] Insufficient privileges: "
                "User does not have USE SCHEMA on Schema 'system.serving'.",
            )
        with self._open().cursor() as cursor:
            self._feed(cursor)
            cursor.execute("SET VARIABLE sandbox_now = ?", [statement.context.now])
            statement.cursor = cursor
            try:
                cursor.execute(translated.sql)
                return _table(cursor, translated, statement.row_limit)
            except duckdb.Error as error:
                raise _failure(error) from error
            finally:
                statement.cursor = None

    def _answer(self, statement: Statement) -> Response:
        """The statement's state, and its first chunk once it has one."""
        if statement.pending_answers:
            statement.pending_answers -= 1
            if not statement.pending_answers and statement.state == "PENDING":
                self._begin(statement)
            return reply({"statement_id": statement.id, "status": {"state": "PENDING"}})
        status: Json = {"state": statement.state}
        shown: Json = {"statement_id": statement.id, "status": status}
        if statement.error is not None:
            status["error"] = {"error_code": "BAD_REQUEST", "message": str(statement.error)}
            status["sql_state"] = statement.error.sql_state
        if statement.table is not None:
            shown["manifest"] = self._manifest(statement.table)
            shown["result"] = self._result(statement, 0) if statement.table.rows else {}
        return reply(shown)

    def _chunks(self, table: Table) -> list[Json]:
        """How the rows are cut."""
        size = table.chunk_rows or self.workspace.settings.chunk_rows
        return [
            {
                "chunk_index": number,
                "row_offset": number * size,
                "row_count": min(size, len(table.rows) - number * size),
            }
            for number in range(math.ceil(len(table.rows) / size))
        ]

    def _manifest(self, table: Table) -> Json:
        columns = [
            {"name": name, "type_name": kind, "type_text": text, "position": position}
            for position, (name, kind, text) in enumerate(table.columns)
        ]
        chunks = self._chunks(table)
        return {
            "format": "JSON_ARRAY",
            "schema": {"column_count": len(columns), "columns": columns},
            "total_row_count": len(table.rows),
            "total_chunk_count": len(chunks),
            "truncated": table.truncated,
            **({"chunks": chunks} if chunks else {}),
        }

    def _result(self, statement: Statement, index: int) -> Json:
        assert statement.table is not None, "only a finished statement has chunks"
        chunks = self._chunks(statement.table)
        start = chunks[index]["row_offset"]
        rows = statement.table.rows[start : start + chunks[index]["row_count"]]
        shown: Json = {**chunks[index], "data_array": rows}
        if index + 1 < len(chunks):
            link = f"{STATEMENTS}/{statement.id}/result/chunks/{index + 1}"
            shown |= {"next_chunk_index": index + 1, "next_chunk_internal_link": link}
        return shown


def _check(body: Json) -> None:
    """Refuse a statement that cannot run, or whose result cannot be given as asked."""
    if body.get("warehouse_id") != WAREHOUSE_ID:
        raise missing(f"SQL warehouse {body.get('warehouse_id')!r} does not exist.")
    if not isinstance(body.get("statement"), str) or not body["statement"].strip():
        raise invalid("statement must not be empty.")
    if body.get("disposition", "INLINE") != "INLINE":
        raise not_modelled("results outside the response: disposition must be INLINE")
    if body.get("format", "JSON_ARRAY") != "JSON_ARRAY":
        raise not_modelled("result formats other than JSON_ARRAY")
    if body.get("byte_limit") is not None:
        raise not_modelled("byte_limit")


def _stop(statement: Statement) -> None:
    """Cancel what has not ended."""
    if statement.state in {"PENDING", "RUNNING"}:
        statement.state, statement.pending_answers = "CANCELED", 0
        statement.done.set()
        if statement.cursor is not None:
            statement.cursor.interrupt()


def _wait(text: Any) -> int:  # noqa: ANN401 - it is whatever the client sent
    """Seconds that the request waits for the result: 0, or 5 to 50."""
    seconds = text.removesuffix("s") if isinstance(text, str) else ""
    if seconds.isdigit() and (
        int(seconds) == 0 or _SHORTEST_WAIT_S <= int(seconds) <= _LONGEST_WAIT_S
    ):
        return int(seconds)
    raise invalid(f"wait_timeout must be 0s or between 5s and 50s, not {text!r}.")


def _failure(error: duckdb.Error) -> SqlError:
    """DuckDB's failure as Databricks would tell it."""
    text = str(error)
    raised = _RAISED.search(text) if isinstance(error, duckdb.InvalidInputException) else None
    if raised is not None and raised["name"] in _SQL_STATES:
        return SqlError(_SQL_STATES[raised["name"]], raised[0])
    for kind, words, sql_state, name in _FAILURES:
        if isinstance(error, kind) and words in text:
            return SqlError(sql_state, f"[{name}] {text}" if name else text)
    return SqlError("XX000", text)


_CHANGES = {
    "changes": ("num_affected_rows",),
    "inserted": ("num_affected_rows", "num_inserted_rows"),
    "merged": (
        *("num_affected_rows", "num_updated_rows", "num_deleted_rows"),
        "num_inserted_rows",
    ),
}
"""The columns in which a change tells how many rows it changed."""


def _table(cursor: "DuckDBPyConnection", translated: Translated, row_limit: int | None) -> Table:
    """The result of what the cursor has executed."""
    if translated.kind == "nothing":
        return Table()
    rows = cursor.fetchall()
    if translated.kind in _CHANGES:
        names = _CHANGES[translated.kind]
        actions = [row[0] for row in rows]
        counts = [actions.count(action) for action in ("UPDATE", "DELETE", "INSERT")]
        told = [len(rows), *counts] if translated.kind == "merged" else [rows[0][0]] * len(names)
        return Table([(name, "LONG", "BIGINT") for name in names], [[str(one) for one in told]])
    if translated.kind == "columns":
        names = ("col_name", "data_type", "comment")
        shown: list[list[Cell]] = [[row[0], _type(row[1])[1].lower(), None] for row in rows]
        return Table([(name, "STRING", "STRING") for name in names], shown)
    columns = [(name, *_type(str(kind))) for name, kind, *_ in cursor.description or ()]
    cut = row_limit is not None and len(rows) > row_limit
    kinds = [str(kind) for _, kind, *_ in cursor.description or ()]
    cells = [
        [_cell(value, kind) for value, kind in zip(row, kinds, strict=True)]
        for row in (rows[:row_limit] if cut else rows)
    ]
    return Table(columns, cells, truncated=cut)


def _type(kind: str) -> tuple[str, str]:
    """Databricks' type name and type text for a DuckDB type."""
    if kind in _TYPES:
        return _TYPES[kind]
    if kind.startswith("DECIMAL"):
        return "DECIMAL", kind
    if kind.endswith("]"):
        return "ARRAY", f"ARRAY<{_type(kind[: kind.rindex('[')])[1]}>"
    name = kind.partition("(")[0]
    return (name, kind) if name in {"STRUCT", "MAP"} else ("STRING", "STRING")


def _cell(value: Any, kind: str = "") -> Cell:  # noqa: ANN401 - whatever DuckDB gives
    """One value as the API writes it: all are strings, or null."""
    if value is None:
        return None
    if kind in {"INTERVAL", "BLOB"}:
        raise unsupported(f"a result of type {_type(kind)[1]}")
    if kind in {"HUGEINT", "UBIGINT"} and not -_LARGEST <= value < _LARGEST:
        raise SqlError("22003", "[ARITHMETIC_OVERFLOW] long overflow.")
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, default=_plain)
    return _time(value) if isinstance(value, datetime) else _scalar(value, kind)


def _time(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat(timespec="milliseconds")
    moment = value.astimezone(UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


def _scalar(value: Any, kind: str) -> str:  # noqa: ANN401
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _java(value, single=kind == "FLOAT")
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _java(value: float, *, single: bool) -> str:
    """A floating-point number as Spark writes it, which is as Java does."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    text = repr(value)
    if single:
        packed = struct.pack("f", value)
        tries = (f"{value:.{digits}g}" for digits in range(1, 10))
        text = next(one for one in tries if struct.pack("f", float(one)) == packed)
    number = Decimal(text)
    if value == 0 or _PLAIN[0] <= abs(number) < _PLAIN[1]:
        plain = f"{number:f}"
        return plain if "." in plain else f"{plain}.0"
    sign, digits, exponent = number.normalize().as_tuple()
    assert isinstance(exponent, int), "the number is finite"
    first, *rest = (str(digit) for digit in digits)
    power = exponent + len(rest)
    return f"{'-' if sign else ''}{first}.{''.join(rest) or '0'}E{power}"


_PLAIN = (Decimal("0.001"), Decimal(10_000_000))
"""Between these, Java writes a number without an exponent."""


def _plain(value: Any) -> Any:  # noqa: ANN401
    """A value inside an array or a struct, for JSON."""
    return float(value) if isinstance(value, Decimal) else _cell(value)
