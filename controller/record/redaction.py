"""What never enters journal or log: secrets, numbers that JSON cannot carry, terminal tricks.

A secret is known by the name of its key, by its form, or because this process holds it (`hide`).
"""

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

REDACTED = "[redacted]"
_KEYS = re.compile(r"token|secret|password|authorization|api_?key|credential", re.IGNORECASE)
_VALUES = re.compile(
    r"\b(?:dapi|dose|dkea|dsapi)[0-9a-f]{8,}(?:-\d+)?"
    r"|\b(?:Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
    # libpq's words for a connection, `host=h password=p`, and those of a query.
    r"|\b(?:password|passwd|pwd|client_secret|access_token|X-Amz-Signature|sig)=[^\s&;'\"]+",
    re.IGNORECASE,
)
_USER_AND_PASSWORD = re.compile(r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)")
_HOOKS = re.compile(
    r"\bhttps://(?:hooks\.slack\.com|discord(?:app)?\.com/api/webhooks|[\w.-]+\.webhook\.office\.com"
    r"|api\.telegram\.org|events\.pagerduty\.com)/\S+",
    re.IGNORECASE,
)
"""Addresses that let whoever knows them speak: the address is the secret."""
_OTHER_SCHEMES = re.compile(
    r"\b(?!(?:https?|postgres(?:ql)?(?:\+psycopg)?|sqlite|models|runs|dbfs|file|databricks(?:-uc)?"
    r"|s3a?|abfss?|wasbs?|gs|tcp)://)[a-z][a-z0-9+.-]{1,20}://\S+",
    re.IGNORECASE,
)
"""Apprise's addresses, such as `slack://A/B/C`: each service puts its token in another part."""

SHORTEST = 8
"""Characters of a value that is looked for wherever it may be; a shorter one is in many words."""
SHORTEST_WORD = 16
"""The same of one that is of letters alone, which the language may have as well."""
MOST = 64
"""Values of one thing that is renewed that are looked for, the newest: old ones end."""
_live: dict[str, dict[str, None]] = {}
"""The values by what is renewed with them; by the empty text those that stay."""

# Marks of direction and what has no width are not shown either: they hide what a name is.
_UNPRINTABLE = re.compile(
    r"[^\x20-\x7e\u00a1-\u00ac\u00ae-\u061b\u061d-\u180d\u180f-\u200a\u2010-\u2027"
    r"\u2030-\u205f\u2070-\ud7ff\uf900-\ufefe]"
)


def hide(*secrets: str | None, renewing: str = "") -> None:
    """Let these values of the process itself never be told, as they are or as in a URL.

    For as long as it runs; of what is `renewing`, as a token every hour, the newest values alone.
    """
    held = _live.setdefault(renewing, {})
    for secret in secrets:
        if secret is None or len(secret) < (SHORTEST_WORD if secret.isalpha() else SHORTEST):
            continue
        for form in {secret, quote(secret, safe="")}:
            held.pop(form, None)
            held[form] = None
    while renewing and len(held) > MOST:
        # Another thread may have made room already.
        held.pop(next(iter(held)), None)


def without_secrets(text: str) -> str:
    """The text with each secret that can be known for one replaced."""
    for held in tuple(_live.values()):
        for secret in tuple(held):
            text = text.replace(secret, REDACTED)
    if "://" in text:
        text = _USER_AND_PASSWORD.sub(REDACTED, text)
        text = _OTHER_SCHEMES.sub(REDACTED, _HOOKS.sub(REDACTED, text))
    return _VALUES.sub(REDACTED, text)


def printable(text: str) -> str:
    """Text without control and direction characters: what others wrote cannot steer a terminal."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def clean(value: object, key: str = "") -> Any:  # noqa: ANN401 - any JSON value
    """The same value without secrets: by the name of its key, and by what it looks like.

    Numbers are kept under any key: `tokens` counts, it does not tell one.
    """
    match value:
        case str():
            return REDACTED if value and _KEYS.search(key) else without_secrets(value)
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
