"""What never enters journal or log: secrets, numbers that JSON cannot carry, terminal tricks."""

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

# Marks of direction and what has no width are not shown either: they hide what a name is.
_UNPRINTABLE = re.compile(
    r"[^\x20-\x7e\u00a1-\u00ac\u00ae-\u061b\u061d-\u180d\u180f-\u200a\u2010-\u2027"
    r"\u2030-\u205f\u2070-\ud7ff\uf900-\ufefe]"
)


def printable(text: str) -> str:
    """Text without control and direction characters: what others wrote cannot steer a terminal."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


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
