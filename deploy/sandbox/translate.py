"""Databricks SQL in DuckDB's words: one statement, its parameters, its tables, its columns' names.

SQLGlot translates the spelling; `meaning` mends or refuses what would then mean something else.
"""

import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from deploy.sandbox.macros import MACROS
from deploy.sandbox.meaning import SIMPLE_TYPES, DatabricksSql, check, mend
from deploy.sandbox.nodes import SqlError, unsupported

__all__ = ["MACROS", "Context", "Parameter", "SqlError", "Translated", "check_type", "translate"]

# SQLGlot warns of commands that it does not parse; the statement's own failure says it.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

_SHOW_TABLES = re.compile(r"\s*TABLES(?:\s+(?:IN|FROM)\s+(?P<place>[\w.`-]+))?\s*", re.IGNORECASE)
CHANGES = "changes of "
"""How the view of a table's commits is called, in the schema `sandbox`."""
_LATER_THAN_ALL = (
    "[DELTA_TIMESTAMP_GREATER_THAN_COMMIT] The provided timestamp is after the latest version "
    "available to this table."
)
_TYPE = re.compile(r"[A-Z_]+(\(\s*\d+\s*(,\s*\d+\s*)?\))?")


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
    """`rows`, `nothing`, `columns` (a description of a table), or what was changed: `changes` (a
    count), `inserted` (the same, said twice), `merged` (each row's action)."""


@dataclass(frozen=True)
class Context:
    """What a statement's meaning depends on."""

    now: float
    catalog: str
    schema: str
    parameters: dict[str, Parameter]


def translate(statement: str, context: Context) -> Translated:
    """Translate one statement; SqlError if it is not one statement that the sandbox knows."""
    tree = _parse(statement)
    if isinstance(tree, exp.Command):
        return Translated(_command(tree, context), "rows")
    check(tree)
    if isinstance(tree, exp.Query):
        _name_columns(tree)
    _place_parameters(tree, context)
    _place_tables(tree, context)
    now = datetime.fromtimestamp(context.now, UTC)
    # From the leaves to the root, so that what is mended has mended parts.
    for node in reversed(list(tree.walk(bfs=True))):
        mended = mend(node, now)
        if mended is not None:
            node.replace(mended)
    if isinstance(tree, exp.Describe):
        return Translated(f"DESCRIBE {tree.this.sql('duckdb')}", "columns")
    sql = tree.sql("duckdb", copy=False)
    if isinstance(tree, exp.Query):
        return Translated(sql, "rows")
    if isinstance(tree, exp.Merge):
        return Translated(f"{sql} RETURNING merge_action", "merged")
    if isinstance(tree, exp.Insert):
        return Translated(sql, "inserted")
    changes = isinstance(tree, exp.Update | exp.Delete)
    return Translated(sql, "changes" if changes else "nothing")


def _parse(statement: str) -> exp.Expr:
    """The one statement that there must be."""
    try:
        parsed = [tree for tree in sqlglot.parse(statement, read=DatabricksSql) if tree is not None]
    except SqlglotError as error:
        raise SqlError("42601", f"[PARSE_SYNTAX_ERROR] {error}") from error
    if len(parsed) != 1:
        raise SqlError("42601", "[PARSE_SYNTAX_ERROR] Expected exactly one statement.")
    return parsed[0]


def _command(tree: exp.Command, context: Context) -> str:
    """Translate a command that SQLGlot keeps as text: SHOW TABLES."""
    text = tree.expression.name if isinstance(tree.expression, exp.Expr) else ""
    match = _SHOW_TABLES.fullmatch(text)
    if str(tree.this).upper() != "SHOW" or match is None:
        raise unsupported(str(tree.this))
    parts = (match["place"] or context.schema).replace("`", "").split(".")
    catalog = parts[0] if len(parts) > 1 else context.catalog
    schema = exp.Literal.string(f"{catalog}.{parts[-1]}").sql("duckdb")
    return (
        f"SELECT split_part(table_schema, '.', 2) AS database, table_name AS tableName, "  # noqa: S608
        f"false AS isTemporary FROM information_schema.tables WHERE table_schema = {schema} "
        "ORDER BY table_name"
    )


def _name_columns(tree: exp.Query) -> None:
    """Name the result's columns as Databricks does, as far as that is known."""
    while isinstance(tree, exp.SetOperation | exp.Subquery):
        tree = tree.this
    for node in list(tree.expressions):
        if isinstance(node, exp.Alias | exp.Aliases | exp.Star) or node.is_star:
            continue
        node.replace(exp.alias_(node.copy(), _title(node), quoted=True))


def _title(node: exp.Expr) -> str:
    """What a column without a name is called: its expression, with operators in parentheses."""
    if isinstance(node, exp.Column | exp.Dot):
        return node.name
    if isinstance(node, exp.Explode):
        return "col"
    if isinstance(node, exp.Literal):
        return node.name
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal):
        return f"CAST({node.this.name} AS {node.to.sql('databricks')})"
    # A plain operator has no name of its own to be said as a function.
    if isinstance(node, exp.Add | exp.Sub | exp.Mul | exp.Div | exp.Mod | exp.Predicate) and (
        isinstance(node, exp.Binary) and not isinstance(node, exp.Func)
    ):
        text = node.sql("databricks", normalize_functions="lower")
        return f"({text})".replace("(*)", "(1)")
    return node.sql("databricks", normalize_functions="lower").replace("(*)", "(1)")


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
    if not _TYPE.fullmatch(name) or name.split("(")[0].strip() not in SIMPLE_TYPES:
        raise SqlError("0A000", f"[UNSUPPORTED_TYPE] parameters cannot be of type {wanted}.")
    return name


def _is_identifier_call(node: exp.Expr | None) -> bool:
    return _is_call(node, "identifier")


def _is_call(node: object, name: str) -> bool:
    return isinstance(node, exp.Anonymous) and node.name.lower() == name


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
        elif _is_call(table.this, "table_changes"):
            _read_changes(table, context)
            continue
        elif not is_schema and not isinstance(table.this, exp.Identifier):
            _name_range(table)
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
    for change in tree.find_all(exp.Update):
        for setting in change.expressions:
            setting.this.set("table", None)  # DuckDB takes the columns to set without their table


def _name_table(table: exp.Table, name: str) -> None:
    """Put the table that a string names in the place of IDENTIFIER()."""
    named = exp.to_table(name, dialect="databricks")
    for part in ("this", "db", "catalog"):
        table.set(part, named.args.get(part))


def _read_changes(table: exp.Table, context: Context) -> None:
    """`table_changes('table', 'from')`: the rows of an inference table with their commits."""
    arguments = table.this.expressions
    literal = all(isinstance(one, exp.Literal) and one.is_string for one in arguments)
    if len(arguments) != 2 or not literal:  # noqa: PLR2004 - the table and the first time
        raise unsupported("table_changes() but from a time on, of a table and a time as literals")
    named = exp.to_table(arguments[0].name, dialect="databricks")
    place = (named.catalog or context.catalog, named.db or context.schema, named.name)
    changes = exp.to_table(f'sandbox."{CHANGES}{".".join(place).lower()}"', dialect="duckdb")
    since = exp.cast(arguments[1].copy(), "TIMESTAMP", dialect="databricks")
    newest = exp.select(exp.Max(this=exp.column("_commit_timestamp"))).from_(changes.copy())
    shown = exp.column("_commit_timestamp") >= since
    late = exp.Literal.string(_LATER_THAN_ALL)
    condition = exp.Case(
        ifs=[exp.If(this=newest.subquery() < since.copy(), true=exp.func("error", late))],
        default=shown,
    )
    query = exp.select("*").from_(changes).where(condition)
    alias = table.alias or "table_changes"
    table.replace(query.subquery(alias))


def _name_range(table: exp.Table) -> None:
    """`range()` makes a column called id."""
    if isinstance(table.this, exp.Anonymous) and table.this.name.lower() == "range":
        alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier("range"))
        if not alias.columns:
            alias.set("columns", [exp.to_identifier("id")])
        table.set("alias", alias)
