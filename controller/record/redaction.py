"""What never enters journal or log: secrets, and numbers that JSON cannot carry."""

import math
import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"
_KEYS = re.compile(r"token|secret|password|authorization", re.IGNORECASE)
_VALUES = re.compile(
    r"\bdapi[0-9a-f]{8,}(?:-\d+)?"
    r"|\b(?:Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*",
    re.IGNORECASE,
)


def clean(value: object, key: str = "") -> Any:  # noqa: ANN401 - any JSON value
    """The same value without secrets: by the name of its key, and by what it looks like.

    Numbers are kept under any key: `tokens` counts, it does not tell one.
    """
    match value:
        case str():
            return REDACTED if value and _KEYS.search(key) else _VALUES.sub(REDACTED, value)
        case bool() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping():
            return {str(name): clean(inner, str(name)) for name, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [clean(inner, key) for inner in value]
        case _:
            return clean(str(value), key)
