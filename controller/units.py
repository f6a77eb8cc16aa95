"""How values are written in the configuration: durations, shares, relative rises, JSONPaths."""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from controller.workspace.jsonpath import JsonPath

DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h|d)$")
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
PERCENTAGE = re.compile(r"^(\d+)\s*%$")
LONGEST = timedelta(days=365)
SHARE = re.compile(r"^(\d+(?:\.\d+)?)\s*(%|pp)$")
RISE = re.compile(r"^(\d+(?:\.\d+)?)\s*%$")
PATH = re.compile(r"^\$")


def duration(value: object) -> object:
    """A time as it is written: ValueError for what is none."""
    if isinstance(value, timedelta):
        return value
    found = DURATION.match(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("write a duration such as 30s, 10m, 1h or 7d")
    seconds = float(found[1]) * UNITS[found[2]]
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"write a duration of at most {LONGEST.days}d")
    return timedelta(seconds=seconds)


def share(value: object) -> object:
    """A share as it is written: ValueError for what is none."""
    found = SHARE.match(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("write a share such as 0.5pp or 5%")
    return float(found[1]) / 100


def _percentage(value: object) -> object:
    found = PERCENTAGE.match(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("write a whole percentage such as 5%")
    return int(found[1])


def _rise(value: object) -> object:
    if isinstance(value, str) and value.endswith("%"):
        return share(value)
    raise ValueError("write a relative rise such as 25%")


def _path(text: str) -> str:
    return JsonPath.parse(text).text


def _some(time: timedelta) -> timedelta:
    if not time:
        raise ValueError("write a duration above 0, such as 30s")
    return time


def _written(pattern: re.Pattern[str]) -> WithJsonSchema:
    """What an editor is told: a text that looks so, whatever it is read as."""
    return WithJsonSchema({"type": "string", "pattern": pattern.pattern})


def _time_words(time: timedelta) -> str:
    """A duration in the largest unit that writes it with a whole number."""
    seconds = time.total_seconds()
    for unit, size in reversed(UNITS.items()):
        if seconds and not seconds % size:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


KINDS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    DURATION.pattern: ("duration, as `10m`", _time_words),
    SHARE.pattern: ("share, as `0.5pp`", lambda value: f"{100 * value:g}pp"),
    RISE.pattern: ("relative rise, as `25%`", lambda value: f"{100 * value:g}%"),
    PERCENTAGE.pattern: ("percentage, as `5%`", lambda value: f"{value}%"),
    PATH.pattern: ("JSONPath, as `$.choices[0].text`", str),
}
"""By its pattern, what such a text is called, and how a value of it is written."""

Duration = Annotated[
    timedelta, BeforeValidator(duration), Field(ge=timedelta()), _written(DURATION)
]
SomeTime = Annotated[Duration, AfterValidator(_some), _written(DURATION)]
Share = Annotated[float, BeforeValidator(share), Field(gt=0, lt=1), _written(SHARE)]
Percentage = Annotated[int, BeforeValidator(_percentage), _written(PERCENTAGE)]
Rise = Annotated[float, BeforeValidator(_rise), Field(gt=0), _written(RISE)]
JsonPathText = Annotated[str, AfterValidator(_path), _written(PATH)]
