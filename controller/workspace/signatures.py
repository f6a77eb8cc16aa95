"""The input columns of a model, as its MLmodel file describes them.

MLflow writes a signature's inputs as JSON text: columns with a type each, or tensors. A type is
kept in one spelling, so that two are equal if and only if they say the same.
"""

import json
from collections.abc import Mapping
from typing import Any

from controller.workspace import json_text
from policies.admission import Column

PARTS = ("type", "tensor-spec", "properties", "items", "values")
"""The keys of a column that make its type."""


def input_columns(signature: Mapping[str, Any]) -> tuple[Column, ...] | None:
    """The columns of an MLmodel file's signature; None without one, none where it names none.

    ValueError, for a signature that is not written as MLflow writes them.
    """
    if not signature:
        return None
    told = signature.get("inputs")
    inputs = [] if told is None else json_text.read(told)
    if not isinstance(inputs, list) or not all(isinstance(one, Mapping) for one in inputs):
        raise ValueError("its signature's inputs are no list of columns")
    return tuple(_column(one) for one in inputs)


def _column(one: Mapping[str, Any]) -> Column:
    parts = {key: one[key] for key in PARTS if key in one}
    plain = set(parts) == {"type"} and isinstance(parts["type"], str)
    spelled = parts["type"] if plain else json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return Column(
        name=str(one.get("name") or ""), type=spelled, required=bool(one.get("required", True))
    )
