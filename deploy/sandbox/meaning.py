"""What Databricks SQL means, where DuckDB would run the same words and mean something else.

A wrong answer is worse than a refusal. So a function must be known to mean the same in both
(`_SAME`), or be mended here (`_MENDED`), or it is refused; and what only the values' types decide
is decided while the statement runs, by macros that raise where the two would differ.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlglot import exp
from sqlglot.dialects.databricks import Databricks as _Dialect
from sqlglot.errors import SqlglotError


class SqlError(Exception):
    """A statement that the warehouse refuses, with its SQLSTATE."""

    def __init__(self, sql_state: str, message: str) -> None:
        super().__init__(message)
        self.sql_state = sql_state


def unsupported(what: str) -> SqlError:
    """What Databricks may know, and the sandbox does not model."""
    return SqlError("0A000", f"[UNSUPPORTED_FEATURE] the sandbox does not model {what}.")


def _refusal(what: str) -> str:
    """The same, as an expression that raises while the statement runs."""
    return f"error('[UNSUPPORTED_FEATURE] the sandbox does not model {what}.')"


def _is(*types: str) -> str:
    """Whether the macro's `a` has one of these DuckDB types."""
    return "typeof(a) IN (" + ", ".join(f"'{one}'" for one in types) + ")"


_FLOATS = _is("DOUBLE", "FLOAT")
_INTEGERS = {"TINYINT": "tinyint", "SMALLINT": "smallint", "INT": "int", "BIGINT": "bigint"}


def _to_integer(name: str, *, tries: bool) -> str:
    """A macro that casts to an integer: text must be whole, and a fraction is cut, not rounded."""
    cast = "TRY_CAST" if tries else "CAST"
    text = "trim(CAST(a AS VARCHAR))"
    wrong = (
        "NULL"
        if tries
        else "error('[CAST_INVALID_INPUT] The value ''' || CAST(a AS VARCHAR) || ''' of the type "
        f'"STRING" cannot be cast to "{name}" because it is malformed. Use try_cast to tolerate '
        "malformed input.')"
    )
    return (
        f"{'try' if tries else 'to'}_{_INTEGERS[name]}(a) AS CASE "
        f"WHEN {_is('VARCHAR')} THEN CASE WHEN regexp_full_match({text}, '[+-]?[0-9]+') "
        f"THEN {cast}({text} AS {name}) WHEN a IS NOT NULL THEN {wrong} END "
        f"WHEN {_FLOATS} THEN {cast}(trunc(TRY_CAST(a AS DOUBLE)) AS {name}) "
        f"WHEN typeof(a) LIKE 'DECIMAL%' "
        f"THEN {cast}(split_part(CAST(a AS VARCHAR), '.', 1) AS {name}) "
        f"WHEN {_is('TIMESTAMP WITH TIME ZONE')} "
        f"THEN {cast}(floor(epoch(TRY_CAST(CAST(a AS VARCHAR) AS TIMESTAMPTZ))) AS {name}) "
        f"ELSE {cast}(a AS {name}) END"
    )


_ZERO = "error('[DIVIDE_BY_ZERO] Division by zero. Use try_divide to tolerate divisor being 0.')"
_DECIMALS = "typeof(a) LIKE 'DECIMAL%' OR typeof(b) LIKE 'DECIMAL%'"
# A DOUBLE on either side makes the quotient a DOUBLE in both.
_DECIMAL_QUOTIENT = (
    f"({_DECIMALS}) AND typeof(a) NOT IN ('DOUBLE', 'FLOAT') "
    "AND typeof(b) NOT IN ('DOUBLE', 'FLOAT')"
)
_NO_DECIMALS = _refusal("the type of this quotient of decimals: cast one side to DOUBLE")
_BEFORE = _refusal("a substring that begins before the text")
_NO_INDEX = _refusal("an index into this type")

_DEFINED = (
    *(_to_integer(name, tries=tries) for name in _INTEGERS for tries in (False, True)),
    # An ANSI warehouse raises where DuckDB answers infinity.
    (
        f"ansi_div(a, b) AS CASE WHEN {_DECIMAL_QUOTIENT} THEN {_NO_DECIMALS} "
        f"WHEN b = 0 THEN {_ZERO} ELSE a / b END"
    ),
    (
        f"try_div(a, b) AS CASE WHEN {_DECIMAL_QUOTIENT} THEN {_NO_DECIMALS} "
        "WHEN b = 0 THEN NULL ELSE a / b END"
    ),
    (
        f"ansi_idiv(a, b) AS CASE WHEN {_FLOATS} OR {_DECIMALS} "
        f"THEN {_refusal('div of other numbers than integers')} "
        f"WHEN b = 0 THEN {_ZERO} ELSE CAST(a // b AS BIGINT) END"
    ),
    # A whole number of 1/p as a decimal's text: DuckDB itself divides in doubles.
    (
        "scaled(n, p, s) AS (CASE WHEN n < 0 THEN '-' ELSE '' END) || "
        "CAST(abs(n) // p AS VARCHAR) || '.' || lpad(CAST(abs(n) % p AS VARCHAR), s, '0')"
    ),
    # Databricks gives an INTERVAL, whose text is its own.
    (
        "ansi_sub(a, b) AS CASE WHEN typeof(a) = 'DATE' AND typeof(b) = 'DATE' "
        f"THEN {_refusal('the difference of dates as an INTERVAL: use datediff')} ELSE a - b END"
    ),
    # Whole days keep a date a date; hours make it a timestamp.
    (
        "shift_days(a DATE, d INTERVAL) AS CAST(a + d AS DATE), "
        "(a TIMESTAMPTZ, d INTERVAL) AS a + d, (a TIMESTAMP, d INTERVAL) AS a + d"
    ),
    (
        "shift_time(a DATE, d INTERVAL) AS CAST(a AS TIMESTAMPTZ) + d, "
        "(a TIMESTAMPTZ, d INTERVAL) AS a + d, (a TIMESTAMP, d INTERVAL) AS a + d"
    ),
    # A timestamp's text has no offset; Java writes large and small doubles with an exponent.
    (
        "as_text(a) AS CASE "
        f"WHEN {_is('TIMESTAMP WITH TIME ZONE')} "
        r"THEN regexp_replace(CAST(a AS VARCHAR), '\+00$', '') "
        f"WHEN {_FLOATS} AND NOT (abs(TRY_CAST(a AS DOUBLE)) >= 0.001 "
        "AND abs(TRY_CAST(a AS DOUBLE)) < 10000000 OR TRY_CAST(a AS DOUBLE) = 0) "
        f"THEN {_refusal('the text of a double that is written with an exponent')} "
        f"WHEN {_is('INTERVAL', 'BLOB', 'JSON')} OR regexp_matches(typeof(a), '\\]$|^STRUCT|^MAP') "
        f"THEN {_refusal('the text of this type')} ELSE CAST(a AS VARCHAR) END"
    ),
    (
        f"ansi_round(a, n) AS CASE WHEN {_FLOATS} AND round(a, n) IS DISTINCT "
        "FROM CAST(round(CAST(CAST(a AS VARCHAR) AS DECIMAL(38, 18)), n) AS DOUBLE) "
        f"THEN {_refusal('the rounding of this double, which lies between two')} "
        "ELSE round(a, n) END"
    ),
    (
        "mean_of(a) AS CASE WHEN typeof(a) LIKE 'DECIMAL%' "
        f"THEN {_refusal('the type of the mean of decimals: cast to DOUBLE')} ELSE a END"
    ),
    (
        "item(a, i) AS CASE WHEN typeof(a) NOT LIKE '%]' AND a IS NOT NULL "
        f"THEN {_NO_INDEX} "
        "WHEN i < 0 OR i >= len(a) THEN error('[INVALID_ARRAY_INDEX] The index ' || i || "
        "' is out of bounds. The array has ' || len(a) || ' elements. Use get() to tolerate it.') "
        "ELSE a[i + 1] END"
    ),
    (
        "element(a, i) AS CASE WHEN typeof(a) NOT LIKE '%]' AND a IS NOT NULL "
        f"THEN {_NO_INDEX} "
        "WHEN i = 0 OR abs(i) > len(a) THEN error('[INVALID_ARRAY_INDEX_IN_ELEMENT_AT] The index ' "
        "|| i || ' is out of bounds. The array has ' || len(a) || ' elements.') "
        "ELSE a[i] END"
    ),
    "get_item(a, i) AS CASE WHEN i >= 0 THEN a[i + 1] END",
    (
        "part(a, i) AS substring(a, CASE WHEN i = 0 THEN 1 "
        f"WHEN -i > length(a) THEN {_BEFORE} ELSE i END)"
    ),
    (
        "part_of(a, i, n) AS substring(a, CASE WHEN i = 0 THEN 1 "
        f"WHEN -i > length(a) THEN {_BEFORE} ELSE i END, "
        "n)"
    ),
    # Databricks answers NULL for text that is not JSON; DuckDB raises, ahead of any CASE around it.
    "valid(a) AS CASE WHEN json_valid(a) THEN a END",
    "json_text(a, p) AS json_extract_string(valid(a), p)",
    # `column:name` does not mind the case of a name, which DuckDB does.
    (
        "json_field(a, p) AS CASE "
        f"WHEN {_is('JSON')} THEN {_refusal('a field of a VARIANT without a cast')} "
        "WHEN json_extract_string(valid(a), p) IS NULL "
        "AND json_extract_string(lower(CAST(valid(a) AS VARCHAR)), lower(p)) IS NOT NULL "
        f"THEN {_refusal('a field that is written in another case than in the JSON')} "
        "ELSE json_extract_string(valid(a), p) END"
    ),
    (
        "json_list_length(a) AS CASE WHEN json_type(valid(a)) = 'ARRAY' "
        "THEN CAST(json_array_length(valid(a)) AS INTEGER) END"
    ),
    "timestamp_seconds(s) AS to_timestamp(s)",
    "timestamp_millis(ms) AS to_timestamp(ms / 1000.0)",
    "timestamp_micros(us) AS to_timestamp(us / 1000000.0)",
)
MACROS = tuple(f"CREATE OR REPLACE MACRO {one}" for one in _DEFINED)
"""What the database must define before a translated statement can run."""

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
        return _moment(now)
    if isinstance(node, exp.CurrentDate):
        return exp.cast(exp.Literal.string(now.date().isoformat()), "DATE")
    mending = _MENDED.get(type(node))
    if mending is None:
        return None
    exact = _exact(node)
    mended = mending(node)
    if mended is not None:
        mended.meta[_KNOWN] = exact
    return mended


def _moment(now: datetime) -> exp.Expr:
    text = exp.Literal.string(now.astimezone(UTC).isoformat())
    return exp.cast(text, "TIMESTAMPTZ", dialect="duckdb")


def _call(name: str, *arguments: Any) -> exp.Expr:  # noqa: ANN401
    return exp.Anonymous(this=name, expressions=[one.copy() for one in arguments])


def _cast(node: exp.Expr, kind: str) -> exp.Expr:
    return exp.cast(node.copy(), kind, dialect="duckdb")


def _int(node: exp.Expr) -> exp.Expr:
    """Databricks' INT, where DuckDB counts in BIGINT."""
    return _cast(node, "INTEGER")


def _instant(node: exp.Expr) -> exp.Expr:
    return _cast(node, "TIMESTAMPTZ")


def _dated(node: exp.Expr) -> exp.Expr:
    """Databricks' date arithmetic gives a date; DuckDB's gives a timestamp."""
    return _cast(node, "DATE")


def _is_text(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and node.is_string


# Numbers.


@dataclass(frozen=True)
class _Exact:
    """The precision and scale of an exact number, and whether its type is DECIMAL."""

    precision: int
    scale: int
    decimal: bool = True


_KNOWN = "exact"
"""Under this, what replaces a node keeps the type that the node had."""


def _exact(node: exp.Expr) -> _Exact | None:
    """What is known of a number's type from the words alone."""
    found: _Exact | None = None
    if _KNOWN in node.meta:
        found = node.meta[_KNOWN]
    elif isinstance(node, exp.Paren | exp.Neg):
        found = _exact(node.this)
    elif isinstance(node, exp.Literal) and node.is_number and "e" not in node.name.lower():
        whole, dot, fraction = node.name.partition(".")
        digits = len(whole.lstrip("0")) + len(fraction)
        found = _Exact(max(digits, 1), len(fraction), bool(dot))
    elif isinstance(node, exp.Count | exp.CountIf):
        found = _Exact(20, 0, decimal=False)
    elif isinstance(node, exp.Cast):
        found = _exact_type(node.to)
    elif isinstance(node, exp.Mul):
        left, right = _exact(node.this), _exact(node.expression)
        if left is not None and right is not None and (left.decimal or right.decimal):
            found = _fitted(left.precision + right.precision + 1, left.scale + right.scale)
    return found


def _exact_type(kind: exp.DataType) -> _Exact | None:
    if kind.this == exp.DataType.Type.DECIMAL:
        sizes = [int(size.name) for size in kind.expressions] or [10]
        return _Exact(sizes[0], [*sizes, 0][1])
    digits = _DIGITS.get(kind.this)
    return None if digits is None else _Exact(digits, 0, decimal=False)


_DIGITS = {exp.DataType.Type.INT: 10, exp.DataType.Type.BIGINT: 20}
_WIDEST, _LEAST_SCALE = 38, 6


def _fitted(precision: int, scale: int) -> _Exact:
    """Databricks gives up digits after the point, down to six, before digits ahead of it."""
    if precision <= _WIDEST:
        return _Exact(precision, scale)
    whole = precision - scale
    return _Exact(_WIDEST, max(_WIDEST - whole, min(scale, _LEAST_SCALE)))


def _quotient(node: exp.Div) -> exp.Expr:
    """A quotient of decimals is a decimal, rounded half up; of anything else, a double."""
    left, right = _exact(node.this), _exact(node.expression)
    if left is None or right is None or not (left.decimal or right.decimal):
        return _call("ansi_div", node.this, node.expression)
    scale = max(_LEAST_SCALE, left.scale + right.precision + 1)
    whole = left.precision - left.scale + right.scale
    return _divided(node, left.scale, right.scale, _fitted(whole + scale, scale))


def _divided(node: exp.Div, left_scale: int, right_scale: int, result: _Exact) -> exp.Expr:
    """The quotient in integers: (a·10^x) ÷ b, with half of b added, signs apart."""
    precision, scale = result.precision, result.scale

    def unscaled(side: exp.Expr, digits: int) -> str:
        text = f"CAST(CAST({side.sql('duckdb')} AS DECIMAL(38, {digits})) AS VARCHAR)"
        return f"CAST(replace({text}, '.', '') AS HUGEINT)"

    def power(digits: int) -> str:
        return f"CAST('1{'0' * digits}' AS HUGEINT)"

    top, bottom = unscaled(node.this, left_scale), unscaled(node.expression, right_scale)
    grown = f"2 * abs({top}) * {power(scale - left_scale + right_scale)}"
    rounded = f"({grown} + abs({bottom})) // nullif(2 * abs({bottom}), 0)"
    text = (
        f"CASE WHEN {bottom} = 0 THEN {_ZERO} ELSE CAST(scaled(sign({top}) * sign({bottom}) * "
        f"({rounded}), {power(scale)}, {scale}) AS DECIMAL({precision}, {scale})) END"
    )
    return exp.maybe_parse(text, dialect="duckdb")


def _difference(node: exp.Sub) -> exp.Expr | None:
    shifted = _shifted(node)
    if shifted is not None:
        return shifted
    if any(isinstance(side, exp.Literal) for side in (node.this, node.expression)):
        return None
    return exp.Paren(this=_call("ansi_sub", node.this, node.expression))


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
    return _call("shift_days" if unit in _WHOLE_DAYS else "shift_time", sides[0], delta)


def _cast_as_databricks(node: exp.Cast) -> exp.Expr | None:
    """A cast to an integer or to text, which DuckDB does in its own way."""
    kind, operand = node.to.this, node.this
    tries = isinstance(node, exp.TryCast)
    if kind in _INTEGER_TYPES:
        if isinstance(operand, exp.Literal) and operand.is_number and operand.name.isdigit():
            return None
        return _call(f"{'try' if tries else 'to'}_{_INTEGER_TYPES[kind]}", operand)
    if kind in exp.DataType.TEXT_TYPES and not _is_text(operand):
        return _call("as_text", operand)
    return None


_INTEGER_TYPES = {
    exp.DataType.Type.TINYINT: "tinyint",
    exp.DataType.Type.SMALLINT: "smallint",
    exp.DataType.Type.INT: "int",
    exp.DataType.Type.BIGINT: "bigint",
}


def _rounded(node: exp.Round) -> exp.Expr:
    return _call("ansi_round", node.this, node.args.get("decimals") or exp.Literal.number(0))


def _whole(node: exp.Floor | exp.Ceil) -> exp.Expr:
    if node.args.get("decimals") is not None:
        raise unsupported("floor() and ceil() to a number of digits")
    return _cast(node, "BIGINT")


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
        inner.set("expressions", [_call("mean_of", one) for one in inner.expressions])
    else:
        mean.set("this", _call("mean_of", inner))
    return mean


def _interpolated(node: exp.Quantile | exp.Median) -> exp.Expr:
    quantile = node.args.get("quantile") or exp.Literal.number("0.5")
    return _call("quantile_cont", _cast(node.this, "DOUBLE"), quantile)


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
    return node.copy() if _is_text(node) else _call("as_text", node)


def _part(node: exp.Substring) -> exp.Expr | None:
    start, length = node.args["start"], node.args.get("length")
    if isinstance(start, exp.Literal) and int(start.name) > 0:
        return None
    if length is None:
        return _call("part", node.this, start)
    return _call("part_of", node.this, start, length)


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
    given = _cast(node.this, "VARCHAR") if isinstance(node.parent, exp.Cast) else node.this
    return _call(name, given, exp.Literal.string(path))


def _from_json(node: exp.FromJson) -> exp.Expr:
    """DuckDB takes the wanted type as JSON, not as DDL; text that is not JSON is NULL."""
    text = node.expression.name
    wanted = text if "<" in text.split(" ", 1)[0] else f"STRUCT<{text}>"
    try:
        kind = exp.DataType.build(wanted, dialect="databricks")
    except SqlglotError as error:
        raise SqlError("42601", f"[PARSE_SYNTAX_ERROR] {text!r} is not a schema.") from error
    structure = exp.Literal.string(json.dumps(_structure(kind)))
    return _call("from_json", _call("valid", node.this), structure)


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
    if _is_text(key) or node.args.get("safe"):
        return None
    return _call("element" if node.args.get("offset") else "item", node.this, key)


# Times.


def _elapsed(node: exp.TimestampDiff) -> exp.Expr:
    """Count whole units between two times; DuckDB's other function counts boundaries crossed."""
    unit = exp.Literal.string(node.text("unit").lower())
    return _call("date_sub", unit, node.expression, node.this)


def _unix(node: exp.StrToUnix) -> exp.Expr:
    moment = _cast(node.this, "TIMESTAMPTZ")
    return exp.cast(_call("epoch", moment), "BIGINT")


def _zoned(node: exp.DataType) -> exp.Expr | None:
    """Databricks' TIMESTAMP is an instant; some of SQLGlot's functions make it one without zone."""
    if node.this != exp.DataType.Type.TIMESTAMP:
        return None
    return exp.DataType.build("TIMESTAMPTZ", dialect="duckdb")


_UNITS = {"MM": "MONTH", "MON": "MONTH", "YYYY": "YEAR", "YY": "YEAR"}


def _cut_date(node: exp.DateTrunc) -> exp.Expr:
    unit = node.text("unit").upper()
    unit = _UNITS.get(unit, unit)
    if unit not in {"MONTH", "YEAR", "QUARTER", "WEEK"}:
        raise unsupported(f"trunc() to {unit}")
    return _dated(_call("date_trunc", exp.Literal.string(unit), node.this))


def _weekday(node: exp.Expr) -> exp.Expr:
    """1 is Sunday in Databricks; DuckDB begins with 0."""
    one = exp.Literal.number(1)
    return _int(exp.Add(this=_call("dayofweek", node.this), expression=one))


def _extracted(node: exp.Extract) -> exp.Expr:
    unit = node.name.upper()
    if unit in {"DOW", "DAYOFWEEK"}:
        return _weekday(exp.DayOfWeek(this=node.expression))
    if unit not in {"YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE"}:
        raise unsupported(f"extract({unit})")
    return _int(node)


def _to_zone(node: exp.AtTimeZone) -> exp.Expr:
    """The wall clock of a zone, told as if it were UTC's."""
    local = _call("timezone", node.args["zone"], node.this)
    return _call("timezone", exp.Literal.string("UTC"), local)


def _from_zone(node: exp.FromTimeZone) -> exp.Expr:
    """The instant at which a zone's wall clock showed what UTC's shows now."""
    wall = _call("timezone", exp.Literal.string("UTC"), node.this)
    return _call("timezone", node.args["zone"], wall)


_FORMAT = re.compile(r"%-?[YmdHMSAaBbpIyj]|%g|[^A-Za-z%']")


def _formatted(node: exp.Expr) -> exp.Expr:
    """A format, if each of its letters is known; those in quotes stand for themselves."""
    given = node.args.get("format")
    if given is None:
        return node.copy()
    if not _is_text(given):
        raise unsupported("a format that is not a literal")
    pieces = given.name.replace("strict", "").split("'")
    for index, piece in enumerate(pieces):
        if index % 2:
            if "%" in piece:
                raise unsupported(f"the format {given.name!r}")
            continue
        pieces[index] = (
            piece.replace("SSS", "%g")
            if piece.count("S") == len("SSS") + piece.count("%S")
            else piece
        )
        if _FORMAT.sub("", pieces[index]):
            raise unsupported(f"the format {given.name!r}")
    written = node.copy()
    written.set("format", exp.Literal.string("".join(pieces)))
    return written


def _parsed_time(node: exp.StrToTime) -> exp.Expr:
    return _instant(_formatted(node))


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
    "weekday": lambda node: _int(
        exp.Sub(this=_call("isodow", *node.expressions), expression=exp.Literal.number(1))
    ),
    "get": lambda node: _call("get_item", *node.expressions),
    "json_array_length": lambda node: _call("json_list_length", *node.expressions),
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
    exp.Div: _quotient,
    exp.IntDiv: lambda node: _call("ansi_idiv", node.this, node.expression),
    exp.SafeDivide: lambda node: _call("try_div", node.this, node.expression),
    exp.Cast: _cast_as_databricks,
    exp.TryCast: _cast_as_databricks,
    exp.Round: _rounded,
    exp.Floor: _whole,
    exp.Ceil: _whole,
    exp.Ln: _logarithm,
    exp.CountIf: _counted,
    exp.Avg: _mean,
    # On the few rows of a laptop Databricks' approximation is one of the values.
    exp.ApproxQuantile: lambda node: _call("quantile_disc", node.this, node.args["quantile"]),
    exp.Quantile: _interpolated,
    exp.Median: _interpolated,
    exp.ApproxDistinct: _distinct,
    # DuckDB's other function passes over a row whose answer is NULL.
    exp.ArgMax: lambda node: _call("arg_max_null", node.this, node.expression),
    exp.ArgMin: lambda node: _call("arg_min_null", node.this, node.expression),
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
    exp.Length: _int,
    exp.StrPosition: _int,
    exp.JSONExtract: _json,
    exp.JSONExtractScalar: _json,
    exp.FromJson: _from_json,
    exp.Bracket: _item,
    exp.ArraySize: _int,
    exp.TimestampDiff: _elapsed,
    exp.DateDiff: _int,
    exp.StrToUnix: _unix,
    exp.DataType: _zoned,
    exp.TsOrDsAdd: _dated,
    exp.AddMonths: _dated,
    exp.TimestampAdd: lambda node: _instant(
        exp.TimestampAdd(
            this=_instant(node.this), expression=node.expression.copy(), unit=node.args["unit"]
        )
    ),
    exp.TimestampTrunc: _instant,
    exp.DateTrunc: _cut_date,
    exp.DayOfWeek: _weekday,
    exp.Extract: _extracted,
    exp.AtTimeZone: _to_zone,
    exp.FromTimeZone: _from_zone,
    exp.StrToTime: _parsed_time,
    exp.TsOrDsToDate: _formatted,
    exp.TimeToStr: _formatted,
    exp.UnixToStr: _formatted,
    exp.TimestampFromParts: _instant,
    **dict.fromkeys(
        (exp.Year, exp.Quarter, exp.Month, exp.Day, exp.DayOfMonth, exp.DayOfYear), _int
    ),
    **dict.fromkeys((exp.WeekOfYear, exp.Hour, exp.Minute, exp.Second), _int),
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
