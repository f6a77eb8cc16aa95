"""Quotients of decimals, whose precision and scale Databricks derives from the operands' types."""

from dataclasses import dataclass

from sqlglot import exp

from deploy.sandbox.macros import ZERO
from deploy.sandbox.nodes import call


@dataclass(frozen=True)
class _Exact:
    """The precision and scale of an exact number, and whether its type is DECIMAL."""

    precision: int
    scale: int
    decimal: bool = True


KNOWN = "exact"
"""Under this, what replaces a node keeps the type that the node had."""


def exact_of(node: exp.Expr) -> _Exact | None:
    """What is known of a number's type from the words alone."""
    found: _Exact | None = None
    if KNOWN in node.meta:
        found = node.meta[KNOWN]
    elif isinstance(node, exp.Paren | exp.Neg):
        found = exact_of(node.this)
    elif isinstance(node, exp.Literal) and node.is_number and "e" not in node.name.lower():
        whole, dot, fraction = node.name.partition(".")
        digits = len(whole.lstrip("0")) + len(fraction)
        found = _Exact(max(digits, 1), len(fraction), bool(dot))
    elif isinstance(node, exp.Count | exp.CountIf):
        found = _Exact(20, 0, decimal=False)
    elif isinstance(node, exp.Cast):
        found = _exact_type(node.to)
    elif isinstance(node, exp.Mul):
        left, right = exact_of(node.this), exact_of(node.expression)
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


def quotient(node: exp.Div) -> exp.Expr:
    """A quotient of decimals is a decimal, rounded half up; of anything else, a double."""
    left, right = exact_of(node.this), exact_of(node.expression)
    if left is None or right is None or not (left.decimal or right.decimal):
        return call("ansi_div", node.this, node.expression)
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
        f"CASE WHEN {bottom} = 0 THEN {ZERO} ELSE CAST(scaled(sign({top}) * sign({bottom}) * "
        f"({rounded}), {power(scale)}, {scale}) AS DECIMAL({precision}, {scale})) END"
    )
    return exp.maybe_parse(text, dialect="duckdb")
