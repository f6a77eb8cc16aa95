"""JSON that others wrote: models, users, owners of tables. It may be anything, and ends no pass.

One limit on nesting for all of it, so that whatever was read can be looked through, held against a
schema (`jsonschema_rs` looks 254 levels deep) and sent, wherever in the program that is done.
"""

import json
import math
from collections.abc import Callable
from typing import Any

DEEPEST = 200
"""Levels of lists and objects within each other; Python itself fails somewhere below 1,000."""


def read(text: object, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:  # noqa: ANN401 - JSON is anything
    """What a text says in JSON; ValueError where it is no text, no JSON, or nests too deep.

    NaN and infinities are read, as models answer with them: `number` and `unwritable` tell.
    """
    if not isinstance(text, str | bytes):
        raise ValueError("it is no text")  # noqa: TRY004 - as of any other that is not JSON
    try:
        document = json.loads(text, object_pairs_hook=pairs)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error
    if _too_deep(document):
        raise ValueError("it nests too deep")
    return document


def unwritable(value: object) -> str | None:
    """Why JSON text cannot say a value so that others read it, with the remedy; None if it can."""
    try:
        json.dumps(value, allow_nan=False)
    except TypeError:
        return "put dates into quotes: JSON has no such values"
    except ValueError:
        return "leave NaN and infinities out: JSON has no such numbers"
    except RecursionError:
        return _SHALLOW
    return _SHALLOW if _too_deep(value) else None


def number(value: object) -> float | None:
    """A finite number; None for whatever else is there, a truth value for instance."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


_SHALLOW = f"nest it less: {DEEPEST} levels at most"


def _too_deep(document: object) -> bool:
    """Whether there are containers in containers beyond the limit, found level by level."""
    level = [document]
    for _ in range(DEEPEST):
        level = [inner for one in level for inner in _within(one)]
        if not level:
            return False
    return any(isinstance(one, dict | list) for one in level)


def _within(one: object) -> list[Any]:
    if isinstance(one, dict):
        return list(one.values())
    return one if isinstance(one, list) else []
