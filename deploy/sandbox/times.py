"""What Databricks means by functions of dates and times."""

import re

from sqlglot import exp

from deploy.sandbox.nodes import as_date, as_instant, as_int, call, cast, is_text, unsupported


def elapsed(node: exp.TimestampDiff) -> exp.Expr:
    """Count whole units between two times; DuckDB's other function counts boundaries crossed."""
    unit = exp.Literal.string(node.text("unit").lower())
    return call("date_sub", unit, node.expression, node.this)


def unix(node: exp.StrToUnix) -> exp.Expr:
    """Whole seconds since 1970."""
    moment = cast(node.this, "TIMESTAMPTZ")
    return exp.cast(call("epoch", moment), "BIGINT")


def zoned(node: exp.DataType) -> exp.Expr | None:
    """Databricks' TIMESTAMP is an instant; some of SQLGlot's functions make it one without zone."""
    if node.this != exp.DataType.Type.TIMESTAMP:
        return None
    return exp.DataType.build("TIMESTAMPTZ", dialect="duckdb")


_UNITS = {"MM": "MONTH", "MON": "MONTH", "YYYY": "YEAR", "YY": "YEAR"}


def cut_date(node: exp.DateTrunc) -> exp.Expr:
    """The first day of a unit, as a date."""
    unit = node.text("unit").upper()
    unit = _UNITS.get(unit, unit)
    if unit not in {"MONTH", "YEAR", "QUARTER", "WEEK"}:
        raise unsupported(f"trunc() to {unit}")
    return as_date(call("date_trunc", exp.Literal.string(unit), node.this))


def weekday(node: exp.Expr) -> exp.Expr:
    """1 is Sunday in Databricks; DuckDB begins with 0."""
    one = exp.Literal.number(1)
    return as_int(exp.Add(this=call("dayofweek", node.this), expression=one))


def extracted(node: exp.Extract) -> exp.Expr:
    """One field of a time, where both count it alike."""
    unit = node.name.upper()
    if unit in {"DOW", "DAYOFWEEK"}:
        return weekday(exp.DayOfWeek(this=node.expression))
    if unit not in {"YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE"}:
        raise unsupported(f"extract({unit})")
    return as_int(node)


def to_zone(node: exp.AtTimeZone) -> exp.Expr:
    """The wall clock of a zone, told as if it were UTC's."""
    local = call("timezone", node.args["zone"], node.this)
    return call("timezone", exp.Literal.string("UTC"), local)


def from_zone(node: exp.FromTimeZone) -> exp.Expr:
    """The instant at which a zone's wall clock showed what UTC's shows now."""
    wall = call("timezone", exp.Literal.string("UTC"), node.this)
    return call("timezone", node.args["zone"], wall)


_FORMAT = re.compile(r"%-?[YmdHMSAaBbpIyj]|%g|[^A-Za-z%']")


def formatted(node: exp.Expr) -> exp.Expr:
    """A format, if each of its letters is known; those in quotes stand for themselves."""
    given = node.args.get("format")
    if given is None:
        return node.copy()
    if not is_text(given):
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


def parsed_time(node: exp.StrToTime) -> exp.Expr:
    """A text that a known format reads, as an instant."""
    return as_instant(formatted(node))
