"""Databricks SQL in DuckDB's words, where the two would differ in meaning and not only in spelling.

SQLGlot translates the spelling. What it leaves or gets wrong is mended here, node by node. The
differences that are known and not mended: an index out of an array's range gives NULL, where an
ANSI warehouse raises; `window()`, `xxhash64()`, `exists()` over arrays and `ai_query()` fail.
"""

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

# SQLGlot warns of commands that it does not parse; the statement's own failure says it.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

MACROS = (
    # An ANSI warehouse raises where DuckDB answers infinity.
    """
    CREATE OR REPLACE MACRO ansi_div(a, b) AS CASE WHEN b = 0 THEN
    error('[DIVIDE_BY_ZERO] Division by zero. Use try_divide to tolerate divisor being 0.')
    ELSE a / b END
    """,
    # Databricks answers NULL for text that is not JSON; DuckDB raises.
    """
    CREATE OR REPLACE MACRO json_text(a, p) AS
    CASE WHEN json_valid(a) THEN json_extract_string(a, p) END
    """,
    "CREATE OR REPLACE MACRO timestamp_seconds(s) AS to_timestamp(s)",
    "CREATE OR REPLACE MACRO timestamp_millis(ms) AS to_timestamp(ms / 1000.0)",
    "CREATE OR REPLACE MACRO timestamp_micros(us) AS to_timestamp(us / 1000000.0)",
)
"""What the database must define before a translated statement can run."""

_SHOW_TABLES = re.compile(r"\s*TABLES(?:\s+(?:IN|FROM)\s+(?P<place>[\w.`-]+))?\s*", re.IGNORECASE)
_TYPE = re.compile(r"[A-Z_]+(\(\s*\d+\s*(,\s*\d+\s*)?\))?")
_SIMPLE_TYPES = frozenset(
    (
        *("STRING", "TINYINT", "BYTE", "SMALLINT", "SHORT", "INT", "INTEGER", "BIGINT", "LONG"),
        *("FLOAT", "REAL", "DOUBLE", "DECIMAL", "DEC", "NUMERIC", "BOOLEAN", "BINARY"),
        *("DATE", "TIMESTAMP", "TIMESTAMP_NTZ"),
    )
)


class SqlError(Exception):
    """A statement that the warehouse refuses, with its SQLSTATE."""

    def __init__(self, sql_state: str, message: str) -> None:
        super().__init__(message)
        self.sql_state = sql_state


@dataclass(frozen=True)
class Parameter:
    """A named parameter: its text, or None for NULL, and its Databricks type."""

    value: str | None
    type: str


@dataclass(frozen=True)
class Translated:
    """A statement for DuckDB. `kind` tells how its result is shown."""

    sql: str
    kind: str
    """`rows`, `changes` (a count), `nothing`, or `columns` (a description of a table)."""


@dataclass(frozen=True)
class Context:
    """What a statement's meaning depends on."""

    now: float
    catalog: str
    schema: str
    parameters: dict[str, Parameter]


def translate(statement: str, context: Context) -> Translated:
    """Translate one statement; SqlError if it is not one statement that the sandbox knows."""
    try:
        parsed = [tree for tree in sqlglot.parse(statement, read="databricks") if tree is not None]
    except SqlglotError as error:
        raise SqlError("42601", f"[PARSE_SYNTAX_ERROR] {error}") from error
    if len(parsed) != 1:
        raise SqlError("42601", "[PARSE_SYNTAX_ERROR] Expected exactly one statement.")
    tree: exp.Expr = parsed[0]
    if isinstance(tree, exp.Command):
        return Translated(_command(tree, context), "rows")
    if isinstance(tree, exp.Select):
        _name_columns(tree)
    _place_parameters(tree, context)
    _place_tables(tree, context)
    now = datetime.fromtimestamp(context.now, UTC)
    for node in reversed(list(tree.walk(bfs=True))):
        mended = _mend(node, now)
        if mended is not None:
            node.replace(mended)
    if isinstance(tree, exp.Describe):
        return Translated(f"DESCRIBE {tree.this.sql('duckdb')}", "columns")
    sql = tree.sql("duckdb")
    if isinstance(tree, exp.Query):
        return Translated(sql, "rows")
    changes = isinstance(tree, exp.Insert | exp.Update | exp.Delete | exp.Merge)
    return Translated(sql, "changes" if changes else "nothing")


def _command(tree: exp.Command, context: Context) -> str:
    """Translate a command that SQLGlot keeps as text: SHOW TABLES."""
    text = tree.expression.name if isinstance(tree.expression, exp.Expr) else ""
    match = _SHOW_TABLES.fullmatch(text)
    if str(tree.this).upper() != "SHOW" or match is None:
        raise SqlError("0A000", f"[UNSUPPORTED_FEATURE] the sandbox does not model {tree.this}.")
    parts = (match["place"] or context.schema).replace("`", "").split(".")
    catalog = parts[0] if len(parts) > 1 else context.catalog
    schema = exp.Literal.string(f"{catalog}.{parts[-1]}").sql("duckdb")
    return (
        f"SELECT split_part(table_schema, '.', 2) AS database, table_name AS tableName, "  # noqa: S608
        f"false AS isTemporary FROM information_schema.tables WHERE table_schema = {schema} "
        "ORDER BY table_name"
    )


def _name_columns(tree: exp.Select) -> None:
    """Name the result's unnamed columns as Databricks does, as far as that is known."""
    for node in list(tree.expressions):
        if isinstance(node, exp.Alias | exp.Column | exp.Star) or node.is_star:
            continue
        text = node.sql("databricks", normalize_functions="lower").replace("(*)", "(1)")
        node.replace(exp.alias_(node.copy(), text, quoted=True))


def _place_parameters(tree: exp.Expr, context: Context) -> None:
    """Put typed literals in the place of named parameters."""
    for node in list(tree.find_all(exp.Placeholder)):
        name = node.name
        if name not in context.parameters:
            raise SqlError(
                "42P02", f"[UNBOUND_SQL_PARAMETER] Found the unbound parameter: {name or '?'}."
            )
        given = context.parameters[name]
        literal = exp.null() if given.value is None else exp.Literal.string(given.value)
        if _is_identifier_call(node.parent) or given.type == "STRING":
            node.replace(literal)
        else:
            node.replace(exp.cast(literal, given.type, dialect="databricks"))


def check_type(wanted: str) -> str:
    """Read a parameter's type, or refuse one that parameters cannot have."""
    name = wanted.upper().strip()
    if not _TYPE.fullmatch(name) or name.split("(")[0].strip() not in _SIMPLE_TYPES:
        raise SqlError("0A000", f"[UNSUPPORTED_TYPE] parameters cannot be of type {wanted}.")
    return name


def _is_identifier_call(node: exp.Expr | None) -> bool:
    return isinstance(node, exp.Anonymous) and node.name.lower() == "identifier"


def _place_tables(tree: exp.Expr, context: Context) -> None:
    """Write `catalog.schema.table` as a table in the schema "catalog.schema".

    DuckDB reserves the catalog name `main`, which Databricks uses, so that catalogs are not
    DuckDB's catalogs here.
    """
    common = {cte.alias_or_name.lower() for cte in tree.find_all(exp.CTE)}
    is_schema = isinstance(tree, exp.Create | exp.Drop) and tree.args.get("kind") == "SCHEMA"
    for table in list(tree.find_all(exp.Table)):
        if _is_identifier_call(table.this):
            _name_table(table, table.this.expressions[0].name)
        elif not is_schema and not isinstance(table.this, exp.Identifier):
            continue  # a function that makes rows
        schema, catalog = table.db, table.catalog
        if not schema and table.name.lower() in common:
            continue
        place = f"{catalog or context.catalog}.{schema or context.schema}".lower()
        table.set("catalog", None)
        table.set("db", exp.to_identifier(place, quoted=True))
    for column in tree.find_all(exp.Column):
        if column.args.get("db"):
            column.set("db", None)
            column.set("catalog", None)


def _name_table(table: exp.Table, name: str) -> None:
    """Put the table that a string names in the place of IDENTIFIER()."""
    named = exp.to_table(name, dialect="databricks")
    for part in ("this", "db", "catalog"):
        table.set(part, named.args.get(part))


def _mend(node: exp.Expr, now: datetime) -> exp.Expr | None:
    """Mend what would run and mean something else; None to leave the node as it is."""
    if isinstance(node, exp.CurrentTimestamp):
        return _moment(now)
    if isinstance(node, exp.CurrentDate):
        return exp.cast(exp.Literal.string(now.date().isoformat()), "DATE")
    mend = _MENDED.get(type(node))
    return None if mend is None else mend(node)


def _difference(node: exp.Expr) -> exp.Expr | None:
    """Count whole units between two times; DuckDB's other function counts boundaries crossed.

    Days between two dates are the same either way, and the two-argument `datediff` means those.
    """
    unit = node.text("unit").lower()
    if isinstance(node, exp.DateDiff) and unit in {"", "day"}:
        return None
    return _call("date_sub", exp.Literal.string(unit), node.expression, node.this)


def _unix(node: exp.Expr) -> exp.Expr:
    moment = exp.cast(node.this, "TIMESTAMPTZ", dialect="duckdb")
    return exp.cast(_call("epoch", moment), "BIGINT")


def _zoned(node: exp.Expr) -> exp.Expr | None:
    """Databricks' TIMESTAMP is an instant; some of SQLGlot's functions make it one without zone."""
    if node.this != exp.DataType.Type.TIMESTAMP:
        return None
    return exp.DataType.build("TIMESTAMPTZ", dialect="duckdb")


def _json_text(node: exp.Expr) -> exp.Expr:
    path = str(node.expression.sql("duckdb")).strip("'")
    return _call("json_text", node.this, exp.Literal.string(path))


def _dated(node: exp.Expr) -> exp.Expr:
    """Databricks' date arithmetic gives a date; DuckDB's gives a timestamp."""
    return exp.cast(node.copy(), "DATE", dialect="duckdb")


def _instant(node: exp.Expr) -> exp.Expr:
    return exp.cast(node.copy(), "TIMESTAMPTZ", dialect="duckdb")


def _as_cast(node: exp.Anonymous) -> exp.Expr | None:
    """`bigint(x)` is a cast."""
    name = node.name.upper()
    if name not in _SIMPLE_TYPES or len(node.expressions) != 1:
        return None
    return exp.cast(node.expressions[0].copy(), name, dialect="databricks")


def _from_json(node: exp.Expr) -> exp.Expr:
    """DuckDB takes the wanted type as JSON, not as DDL."""
    text = node.expression.name
    wanted = text if "<" in text.split(" ", 1)[0] else f"STRUCT<{text}>"
    try:
        kind = exp.DataType.build(wanted, dialect="databricks")
    except SqlglotError as error:
        raise SqlError("42601", f"[PARSE_SYNTAX_ERROR] {text!r} is not a schema.") from error
    structure = exp.Literal.string(json.dumps(_structure(kind)))
    return _call("from_json", node.this, structure)


def _structure(kind: exp.Expr) -> Any:  # noqa: ANN401 - a JSON value
    """A type as DuckDB's JSON functions describe one."""
    if kind.this == exp.DataType.Type.STRUCT:
        return {field.name: _structure(field.args["kind"]) for field in kind.expressions}
    if kind.this == exp.DataType.Type.ARRAY:
        return [_structure(kind.expressions[0])]
    return kind.sql("duckdb")


_MENDED: dict[type[exp.Expr], Callable[[Any], exp.Expr | None]] = {
    exp.Div: lambda node: _call("ansi_div", node.this, node.expression),
    # On the few rows of a laptop Databricks' approximation is one of the values.
    exp.ApproxQuantile: lambda node: _call("quantile_disc", node.this, node.args["quantile"]),
    exp.Quantile: lambda node: _call("quantile_cont", node.this, node.args["quantile"]),
    exp.JSONExtract: _json_text,
    exp.JSONExtractScalar: _json_text,
    exp.TimestampDiff: _difference,
    exp.DateDiff: _difference,
    exp.StrToUnix: _unix,
    exp.DataType: _zoned,
    exp.TsOrDsAdd: _dated,
    exp.StrToTime: _instant,
    exp.TimestampFromParts: _instant,
    exp.Anonymous: _as_cast,
    exp.FromJson: _from_json,
}
"""How each kind of node is mended."""


def _moment(now: datetime) -> exp.Expr:
    return exp.cast(exp.Literal.string(now.isoformat()), "TIMESTAMPTZ", dialect="duckdb")


def _call(name: str, *arguments: Any) -> exp.Expr:  # noqa: ANN401
    return exp.Anonymous(this=name, expressions=[one.copy() for one in arguments])
