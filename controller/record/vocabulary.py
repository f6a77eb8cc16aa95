"""What the registry of events is written in: events, their fields, and what a field may hold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from states.plan import Level

Kind = Mapping[str, Any]
"""What a field may hold, as a JSON Schema."""
Channel = Literal["journal", "heartbeat", "process"]
"""Where a line comes from: a row of the journal, an application's state told at intervals, or
something that the process met and that changed nothing in the record."""

TEXT: Kind = {"type": "string"}
TIME: Kind = {"type": "string", "format": "date-time"}
FLAG: Kind = {"type": "boolean"}
COUNT: Kind = {"type": "integer", "minimum": 0}
NUMBER: Kind = {"type": "number"}
PERCENT: Kind = {"type": "integer", "minimum": 0, "maximum": 100}
VERSION: Kind = {"type": "string", "pattern": "^[0-9]+$"}
TEXTS: Kind = {"type": "array", "items": {"type": "string"}}
LIST: Kind = {"type": "array"}
OBJECT: Kind = {"type": "object"}


def one_of(values: Iterable[str]) -> Kind:
    """One of some words."""
    return {"enum": [str(one) for one in values]}


def each(kind: Kind) -> Kind:
    """An object whose values are all alike; its keys are names."""
    return {"type": "object", "additionalProperties": dict(kind)}


def list_of(kind: Kind) -> Kind:
    """A list whose items are all alike."""
    return {"type": "array", "items": dict(kind)}


def pair_of(first: Kind, second: Kind) -> Kind:
    """A list of two."""
    return {"type": "array", "prefixItems": [dict(first), dict(second)], "items": False}


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a line."""

    name: str
    meaning: str
    """In a few words."""
    kind: Kind
    unit: str = ""
    """What it counts; nothing where it counts nothing, or the meaning says so."""
    always: bool = False
    """Every line of its event has it; others are absent where they do not apply."""
    since: int = 1
    """The first schema that has it."""


def field(  # noqa: PLR0913 - a field has this many parts
    name: str, kind: Kind, meaning: str, *, unit: str = "", always: bool = False, since: int = 1
) -> Field:
    """A field, in one line."""
    return Field(name=name, meaning=meaning, kind=kind, unit=unit, always=always, since=since)


@dataclass(frozen=True, kw_only=True)
class Known:
    """One event that the daemon can tell."""

    name: str
    meaning: str
    """In one sentence."""
    levels: tuple[Level, ...] = ("info",)
    fields: tuple[Field, ...] = ()
    """Its own, beside those of every line of its channel."""
    channel: Channel = "journal"
    since: int = 1
    """The first schema that has it."""
