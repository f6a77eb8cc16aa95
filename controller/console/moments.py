"""Moments of the past as operators write them: a time, a time of today, or how long ago."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from controller.settings import SettingsError
from controller.units import duration

_TODAY: Final = re.compile(r"\d\d?:\d\d(:\d\d)?")
_AGO: Final = re.compile(r"-(?P<minus>.+)|(?P<ago>.+?) ?ago")
_DATED: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d.*")
FORMS: Final = "write 2026-03-01T12:30:00Z, 12:30 (of today, UTC), -10m or '10m ago'"


def moment_of(text: str, now: datetime) -> datetime:
    """The moment that is meant, in UTC; `SettingsError` for none, and for one still to come.

    A time without an offset is UTC's.
    """
    written = text.strip()
    try:
        found = _read(written, now)
    except (OverflowError, ValueError) as error:
        raise SettingsError(f"--at {text}: {error}") from error
    if found > now:
        told = f"{found:%Y-%m-%d %H:%M:%S} UTC is still to come"
        day = "; for another day write its date too" if _TODAY.fullmatch(written) else ""
        raise SettingsError(f"--at {text}: {told}{day}")
    return found


def _read(text: str, now: datetime) -> datetime:
    if ago := _AGO.fullmatch(text):
        length = duration((ago["minus"] or ago["ago"]).replace(" ", ""))
        assert isinstance(length, timedelta), "what is read as a duration is one"
        return now - length
    if _TODAY.fullmatch(text):
        hour, *rest = (int(part) for part in text.split(":"))
        return now.astimezone(UTC).replace(
            hour=hour, minute=rest[0], second=rest[1] if len(rest) > 1 else 0, microsecond=0
        )
    if not _DATED.fullmatch(text):
        raise ValueError(FORMS)
    found = datetime.fromisoformat(text.upper())
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
