"""Nodes of a statement's syntax tree, and the error of a statement that is refused."""

from datetime import UTC, datetime
from typing import Any

from sqlglot import exp


class SqlError(Exception):
    """A statement that the warehouse refuses, with its SQLSTATE."""

    def __init__(self, sql_state: str, message: str) -> None:
        super().__init__(message)
        self.sql_state = sql_state


def unsupported(what: str) -> SqlError:
    """What Databricks may know, and the sandbox does not model."""
    return SqlError("0A000", f"[UNSUPPORTED_FEATURE] the sandbox does not model {what}.")


def moment_of(now: datetime) -> exp.Expr:
    """A literal of one moment."""
    text = exp.Literal.string(now.astimezone(UTC).isoformat())
    return exp.cast(text, "TIMESTAMPTZ", dialect="duckdb")


def call(name: str, *arguments: Any) -> exp.Expr:  # noqa: ANN401 - SQLGlot's nodes
    """A call of one of our macros, or of a function by its DuckDB name."""
    return exp.Anonymous(this=name, expressions=[one.copy() for one in arguments])


def cast(node: exp.Expr, kind: str) -> exp.Expr:
    """The node, cast to a type of DuckDB's."""
    return exp.cast(node.copy(), kind, dialect="duckdb")


def as_int(node: exp.Expr) -> exp.Expr:
    """Databricks' INT, where DuckDB counts in BIGINT."""
    return cast(node, "INTEGER")


def as_instant(node: exp.Expr) -> exp.Expr:
    """Databricks' TIMESTAMP, which is a moment whatever the zone."""
    return cast(node, "TIMESTAMPTZ")


def as_date(node: exp.Expr) -> exp.Expr:
    """Databricks' date arithmetic gives a date; DuckDB's gives a timestamp."""
    return cast(node, "DATE")


def is_text(node: exp.Expr) -> bool:
    """Whether it is a literal text."""
    return isinstance(node, exp.Literal) and node.is_string
