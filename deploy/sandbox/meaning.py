"""What Databricks SQL means, where DuckDB would run the same words and mean something else.

A wrong answer is worse than a refusal. So a function must be known to mean the same in both
(`_SAME`), or be mended here (`_MENDED`), or it is refused; and what only the values' types decide
is decided while the statement runs, by macros that raise where the two would differ.
"""

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlglot import exp
from sqlglot.dialects.databricks import Databricks as _Dialect
from sqlglot.errors import SqlglotError

from deploy.sandbox import times
from deploy.sandbox.decimals import KNOWN, exact_of, quotient
from deploy.sandbox.nodes import (
    SqlError,
    as_date,
    as_instant,
    as_int,
    call,
    cast,
    is_text,
    moment_of,
    unsupported,
)

SIMPLE_TYPES = frozenset(
    (
        *("STRING", "TINYINT", "BYTE", "SMALLINT", "SHORT", "INT", "INTEGER", "BIGINT", "LONG"),
        *("FLOAT", "REAL", "DOUBLE", "DECIMAL", "DEC", "NUMERIC", "BOOLEAN", "BINARY"),
        *("DATE", "TIMESTAMP", "TIMESTAMP_NTZ"),
    )
)


def _two_or_three(arguments: list[exp.Expr]) -> exp.Expr:
    """`datediff` of two arguments counts dates; of three, whole units of time."""
    built: exp.Expr = _Dialect.Parser.FUNCTIONS["DATEDIFF"](arguments)
    if len(arguments) == 2:  # noqa: PLR2004 - the two arguments of its name
        return built
    return exp.TimestampDiff(
        this=built.this, expression=built.expression, unit=built.args.get("unit")
    )


def _percentile(arguments: list[exp.Expr]) -> exp.Expr:
    if len(arguments) != 2:  # noqa: PLR2004 - the column and the percentage
        raise unsupported("the frequencies of percentile()")
    return exp.Quantile(this=arguments[0], quantile=arguments[1])


class DatabricksSql(_Dialect):
    """SQLGlot's Databricks, without what it reads and then forgets."""

    class Parser(_Dialect.Parser):  # type: ignore[misc, valid-type]
        """Its parser."""

        FUNCTIONS = {  # noqa: RUF012 - SQLGlot's own way
            **_Dialect.Parser.FUNCTIONS,
            "DATEDIFF": _two_or_three,
            "DATE_DIFF": _two_or_three,
            "PERCENTILE": _percentile,
        }
        # It would read two arguments and forget the third.
        FUNCTION_PARSERS = {  # noqa: RUF012
            name: read
            for name, read in _Dialect.Parser.FUNCTION_PARSERS.items()
            if name != "PERCENTILE"
        }


def check(tree: exp.Expr) -> None:
    """Refuse what is not known to mean the same in DuckDB."""
    for node in tree.walk():
        if isinstance(node, exp.TableSample | exp.Pivot):
            raise unsupported(f"{type(node).__name__.upper()}")
        if isinstance(node, exp.Lateral) and node.args.get("outer"):
            raise unsupported("LATERAL VIEW OUTER")
        if isinstance(node, exp.Anonymous):
            name = node.name.lower()
            if name not in _NAMED and name.upper() not in SIMPLE_TYPES:
                raise unsupported(f"the function {name}()")
        elif isinstance(node, exp.Func) and type(node) not in _MENDED and type(node) not in _SAME:
            raise unsupported(f"the function {node.sql_name().lower()}()")


def mend(node: exp.Expr, now: datetime) -> exp.Expr | None:
    """Mend what would run and mean something else; None to leave the node as it is."""
    if isinstance(node, exp.CurrentTimestamp):
        return moment_of(now)
    if isinstance(node, exp.CurrentDate):
        return exp.cast(exp.Literal.string(now.date().isoformat()), "DATE")
    mending = _MENDED.get(type(node))
    if mending is None:
        return None
    exact = exact_of(node)
    mended = mending(node)
    if mended is not None:
        mended.meta[KNOWN] = exact
    return mended


# Numbers.


def _difference(node: exp.Sub) -> exp.Expr | None:
    shifted = _shifted(node)
    if shifted is not None:
        return shifted
    if any(isinstance(side, exp.Literal) for side in (node.this, node.expression)):
        return None
    return exp.Paren(this=call("ansi_sub", node.this, node.expression))


_WHOLE_DAYS = ("DAY", "WEEK", "MONTH", "QUARTER", "YEAR")


def _shifted(node: exp.Add | exp.Sub) -> exp.Expr | None:
    """A time and an interval: whole days keep a date a date."""
    sides = [node.this, node.expression]
    if isinstance(node, exp.Add) and isinstance(sides[0], exp.Interval):
        sides.reverse()
    if not isinstance(sides[1], exp.Interval) or isinstance(sides[0], exp.Interval):
        return None
    unit = sides[1].text("unit").upper().removesuffix("S")
    delta: exp.Expr = sides[1].copy()
    if isinstance(node, exp.Sub):
        delta = exp.Mul(this=delta, expression=exp.Literal.number(-1))
    return call("shift_days" if unit in _WHOLE_DAYS else "shift_time", sides[0], delta)


def _cast_as_databricks(node: exp.Cast) -> exp.Expr | None:
    """A cast to an integer or to text, which DuckDB does in its own way."""
    kind, operand = node.to.this, node.this
    tries = isinstance(node, exp.TryCast)
    if kind in _INTEGER_TYPES:
        if isinstance(operand, exp.Literal) and operand.is_number and operand.name.isdigit():
            return None
        return call(f"{'try' if tries else 'to'}_{_INTEGER_TYPES[kind]}", operand)
    if kind in exp.DataType.TEXT_TYPES and not is_text(operand):
        return call("as_text", operand)
    return None


_INTEGER_TYPES = {
    exp.DataType.Type.TINYINT: "tinyint",
    exp.DataType.Type.SMALLINT: "smallint",
    exp.DataType.Type.INT: "int",
    exp.DataType.Type.BIGINT: "bigint",
}


def _rounded(node: exp.Round) -> exp.Expr:
    return call("ansi_round", node.this, node.args.get("decimals") or exp.Literal.number(0))


def _whole(node: exp.Floor | exp.Ceil) -> exp.Expr:
    if node.args.get("decimals") is not None:
        raise unsupported("floor() and ceil() to a number of digits")
    return cast(node, "BIGINT")


def _logarithm(node: exp.Ln) -> exp.Expr:
    """NULL where there is none."""
    return exp.If(
        this=exp.GT(this=node.this.copy(), expression=exp.Literal.number(0)), true=node.copy()
    )


# Aggregates.


def _counted(node: exp.CountIf) -> exp.Expr:
    """0 where nothing was counted; DuckDB's `count_if` is NULL over no rows."""
    one = exp.If(this=node.this.copy(), true=exp.Literal.number(1))
    return exp.Count(this=exp.Case(ifs=[one]))


def _mean(node: exp.Avg) -> exp.Expr:
    mean = node.copy()
    inner = mean.this
    if isinstance(inner, exp.Distinct):
        inner.set("expressions", [call("mean_of", one) for one in inner.expressions])
    else:
        mean.set("this", call("mean_of", inner))
    return mean


def _interpolated(node: exp.Quantile | exp.Median) -> exp.Expr:
    quantile = node.args.get("quantile") or exp.Literal.number("0.5")
    return call("quantile_cont", cast(node.this, "DOUBLE"), quantile)


def _distinct(node: exp.ApproxDistinct) -> exp.Expr:
    """On the few rows of a laptop the approximation is exact."""
    return exp.Count(this=exp.Distinct(expressions=[node.this.copy()]))


# Text and JSON.


def _escaped(node: exp.Like | exp.ILike) -> exp.Expr | None:
    """Databricks' patterns have an escape character by default."""
    if isinstance(node.parent, exp.Escape):
        return None
    return exp.Escape(this=node.copy(), expression=exp.Literal.string("\\"))


def _texts(node: exp.Expr) -> exp.Expr:
    """A concatenation, whose parts become text as Databricks writes it."""
    if isinstance(node, exp.DPipe):
        return exp.DPipe(this=_as_text(node.this), expression=_as_text(node.expression))
    joined = node.copy()
    joined.set("expressions", [_as_text(one) for one in node.expressions])
    return joined


def _as_text(node: exp.Expr) -> exp.Expr:
    return node.copy() if is_text(node) else call("as_text", node)


def _part(node: exp.Substring) -> exp.Expr | None:
    start, length = node.args["start"], node.args.get("length")
    if isinstance(start, exp.Literal) and int(start.name) > 0:
        return None
    if length is None:
        return call("part", node.this, start)
    return call("part_of", node.this, start, length)


def _replaced(node: exp.RegexpReplace) -> None:
    """The two name groups of the pattern differently."""
    new = node.args.get("replacement")
    if not isinstance(new, exp.Literal) or re.search(r"[$\\]", new.name):
        raise unsupported("a replacement that names groups of the pattern")


def _pieces(node: exp.RegexpSplit) -> None:
    if node.args.get("limit") is not None:
        raise unsupported("the limit of split()")


def _digest(node: exp.SHA2) -> None:
    if node.text("length") not in {"", "0", "256"}:
        raise unsupported("sha2() of other than 256 bits")


def _json(node: exp.JSONExtract | exp.JSONExtractScalar) -> exp.Expr:
    path = str(node.expression.sql("duckdb")).strip("'")
    if "*" in path:
        raise unsupported("a wildcard in a JSON path")
    name = "json_field" if node.args.get("variant_extract") else "json_text"
    # Once it is cast, a field of a VARIANT is what the same field of its text is.
    given = cast(node.this, "VARCHAR") if isinstance(node.parent, exp.Cast) else node.this
    return call(name, given, exp.Literal.string(path))


def _from_json(node: exp.FromJson) -> exp.Expr:
    """DuckDB takes the wanted type as JSON, not as DDL; text that is not JSON is NULL."""
    text = node.expression.name
    wanted = text if "<" in text.split(" ", 1)[0] else f"STRUCT<{text}>"
    try:
        kind = exp.DataType.build(wanted, dialect="databricks")
    except SqlglotError as error:
        raise SqlError("42601", f"[PARSE_SYNTAX_ERROR] {text!r} is not a schema.") from error
    structure = exp.Literal.string(json.dumps(_structure(kind)))
    return call("from_json", call("valid", node.this), structure)


def _structure(kind: exp.Expr) -> Any:  # noqa: ANN401 - a JSON value
    """A type as DuckDB's JSON functions describe one."""
    if kind.this == exp.DataType.Type.STRUCT:
        return {field.name: _structure(field.args["kind"]) for field in kind.expressions}
    if kind.this == exp.DataType.Type.ARRAY:
        return [_structure(kind.expressions[0])]
    return kind.sql("duckdb")


def _rows_exist(node: exp.Exists) -> None:
    if not isinstance(node.this, exp.Query):
        raise unsupported("exists() over an array")


def _series(node: exp.GenerateSeries) -> None:
    if node.args.get("step") is not None:
        raise unsupported("sequence() with a step")


def _item(node: exp.Bracket) -> exp.Expr | None:
    """An element of an array; out of its range an ANSI warehouse raises."""
    [key] = node.expressions
    if is_text(key) or node.args.get("safe"):
        return None
    return call("element" if node.args.get("offset") else "item", node.this, key)


def _named(node: exp.Anonymous) -> exp.Expr | None:
    """A function that SQLGlot knows only by its name."""
    name = node.name.lower()
    mended = _NAMED.get(name)
    if mended is not None:
        return mended(node)
    if name.upper() in SIMPLE_TYPES and len(node.expressions) == 1:
        [operand] = node.expressions
        kind = exp.cast(operand.copy(), name.upper(), dialect="databricks")
        return _cast_as_databricks(kind) or kind
    return None


def _same(_node: exp.Expr) -> None:
    return None


_NAMED: dict[str, Callable[[exp.Anonymous], exp.Expr | None]] = {
    "weekday": lambda node: as_int(
        exp.Sub(this=call("isodow", *node.expressions), expression=exp.Literal.number(1))
    ),
    "get": lambda node: call("get_item", *node.expressions),
    "json_array_length": lambda node: call("json_list_length", *node.expressions),
    "isnull": lambda node: exp.Is(this=node.expressions[0].copy(), expression=exp.null()),
    "make_date": _same,
    "timestamp_seconds": _same,
    "timestamp_millis": _same,
    "timestamp_micros": _same,
    "identifier": _same,
    "range": _same,
    "table_changes": _same,
}

_MENDED: dict[type[exp.Expr], Callable[[Any], exp.Expr | None]] = {
    exp.Add: _shifted,
    exp.Sub: _difference,
    exp.Div: quotient,
    exp.IntDiv: lambda node: call("ansi_idiv", node.this, node.expression),
    exp.SafeDivide: lambda node: call("try_div", node.this, node.expression),
    exp.Cast: _cast_as_databricks,
    exp.TryCast: _cast_as_databricks,
    exp.Round: _rounded,
    exp.Floor: _whole,
    exp.Ceil: _whole,
    exp.Ln: _logarithm,
    exp.CountIf: _counted,
    exp.Avg: _mean,
    # On the few rows of a laptop Databricks' approximation is one of the values.
    exp.ApproxQuantile: lambda node: call("quantile_disc", node.this, node.args["quantile"]),
    exp.Quantile: _interpolated,
    exp.Median: _interpolated,
    exp.ApproxDistinct: _distinct,
    # DuckDB's other function passes over a row whose answer is NULL.
    exp.ArgMax: lambda node: call("arg_max_null", node.this, node.expression),
    exp.ArgMin: lambda node: call("arg_min_null", node.this, node.expression),
    exp.Like: _escaped,
    exp.ILike: _escaped,
    exp.DPipe: _texts,
    exp.Concat: _texts,
    exp.ConcatWs: _texts,
    exp.Exists: _rows_exist,
    exp.GenerateSeries: _series,
    exp.Substring: _part,
    exp.RegexpReplace: _replaced,
    exp.RegexpSplit: _pieces,
    exp.SHA2: _digest,
    exp.Length: as_int,
    exp.StrPosition: as_int,
    exp.JSONExtract: _json,
    exp.JSONExtractScalar: _json,
    exp.FromJson: _from_json,
    exp.Bracket: _item,
    exp.ArraySize: as_int,
    exp.TimestampDiff: times.elapsed,
    exp.DateDiff: as_int,
    exp.StrToUnix: times.unix,
    exp.DataType: times.zoned,
    exp.TsOrDsAdd: as_date,
    exp.AddMonths: as_date,
    exp.TimestampAdd: lambda node: as_instant(
        exp.TimestampAdd(
            this=as_instant(node.this), expression=node.expression.copy(), unit=node.args["unit"]
        )
    ),
    exp.TimestampTrunc: as_instant,
    exp.DateTrunc: times.cut_date,
    exp.DayOfWeek: times.weekday,
    exp.Extract: times.extracted,
    exp.AtTimeZone: times.to_zone,
    exp.FromTimeZone: times.from_zone,
    exp.StrToTime: times.parsed_time,
    exp.TsOrDsToDate: times.formatted,
    exp.TimeToStr: times.formatted,
    exp.UnixToStr: times.formatted,
    exp.TimestampFromParts: as_instant,
    **dict.fromkeys(
        (exp.Year, exp.Quarter, exp.Month, exp.Day, exp.DayOfMonth, exp.DayOfYear), as_int
    ),
    **dict.fromkeys((exp.WeekOfYear, exp.Hour, exp.Minute, exp.Second), as_int),
    exp.Anonymous: _named,
}
"""How each kind of node is mended."""

_SAME = frozenset(
    (
        *(exp.And, exp.Or, exp.Case, exp.If, exp.Coalesce, exp.Nullif, exp.Nvl2, exp.DecodeCase),
        *(exp.Abs, exp.Sign, exp.Sqrt, exp.Pow, exp.Exp, exp.Greatest, exp.Least, exp.Mod),
        *(exp.Count, exp.Sum, exp.Min, exp.Max, exp.LogicalAnd, exp.LogicalOr),
        *(exp.Stddev, exp.StddevSamp, exp.StddevPop, exp.Variance, exp.VariancePop),
        *(exp.PercentileCont, exp.PercentileDisc, exp.ArrayAgg, exp.ArrayUniqueAgg),
        *(exp.RowNumber, exp.Rank, exp.DenseRank, exp.Ntile, exp.Lag, exp.Lead),
        *(exp.Lower, exp.Upper, exp.Trim, exp.Replace, exp.Left, exp.Right, exp.Reverse, exp.Pad),
        *(exp.Contains, exp.StartsWith, exp.EndsWith, exp.Repeat, exp.SplitPart),
        *(exp.RegexpLike, exp.RegexpExtract, exp.MD5, exp.ParseJSON, exp.Uuid),
        *(exp.Array, exp.Struct, exp.Map, exp.VarMap, exp.MapKeys, exp.ArrayContains),
        *(exp.ArrayToString, exp.ArrayDistinct, exp.Flatten, exp.ArraySort, exp.ArrayMax),
        *(exp.ArrayMin, exp.Transform, exp.ArrayFilter, exp.Explode),
        *(exp.CurrentTimestamp, exp.CurrentDate, exp.UnixSeconds, exp.UnixMillis, exp.UnixMicros),
        *(exp.TimeStrToTime, exp.LastDay, exp.TsOrDsToTimestamp),
    )
)
"""Functions that mean the same in both, on everything that they take."""
