"""The JSON Schema of a log line, made of the registry of events.

It is strict: an event, a field or a value that the registry does not have is none of that version
of Headgate. `states.status.SCHEMA` numbers it. The number is raised by what may break a reader
that skips what it does not know: an event or a field that goes, or gets another name, type, unit
or meaning, and one that every line had and some have not. What is added does not raise it.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from controller.record.events import (
    EVENTS,
    FACTS,
    HEAD,
    JOURNAL,
    RAISED,
    STATE_BECAUSE,
    STATUS_FIELDS,
)
from controller.record.vocabulary import Channel, Field, Known
from states.status import SCHEMA

TITLE = "A line of Headgate's log"
_STANDING = frozenset(one.name for one in (*HEAD, *JOURNAL, *FACTS, *STATUS_FIELDS))
"""Names that an event's own field may not take, where the line has another value under them."""


def renamed(event: str, name: str) -> str | None:
    """The other name of an event's own field, where the line has one of that name already."""
    noun = event.rsplit(".", 1)[-1]
    return f"{noun}_{name}" if name in _STANDING else None


def standing(channel: Channel) -> tuple[Field, ...]:
    """The fields that all lines of a channel may have, beside those of their event."""
    if channel == "process":
        return HEAD
    if channel == "heartbeat":
        return (*HEAD, *FACTS)
    own = (*HEAD, *JOURNAL, *FACTS, STATE_BECAUSE, *STATUS_FIELDS)
    return tuple({one.name: one for one in reversed(own)}.values())[::-1]


def json_schema() -> dict[str, Any]:
    """The schema of one line, whatever it tells."""
    others: dict[str, Any] = {"required": ["logger"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": TITLE,
        "description": (
            f"Schema {SCHEMA}. Lines with `logger` are of libraries, whose `event` is a text."
        ),
        "type": "object",
        "required": _names(HEAD),
        "properties": _properties(HEAD),
        "if": {"not": others},
        "then": {
            "properties": {"event": {"enum": sorted(EVENTS)}},
            "allOf": [
                {
                    "if": {"properties": {"event": {"const": name}}},
                    "then": {"$ref": f"#/$defs/{name}"},
                }
                for name in sorted(EVENTS)
            ],
        },
        "$defs": {
            **{name: _event(one) for name, one in sorted(EVENTS.items())},
            "journal": {
                "required": _names(JOURNAL),
                "properties": _properties((*JOURNAL, *FACTS)),
                "dependentRequired": {"release": _names(STATUS_FIELDS)},
            },
            "status": {"properties": _properties((*STATUS_FIELDS, STATE_BECAUSE))},
            "told": {
                "type": "object",
                "required": _names(STATUS_FIELDS),
                "properties": {
                    **_properties(STATUS_FIELDS),
                    "guards": {"description": "what each guard says by now", "type": "array"},
                },
                "additionalProperties": False,
            },
        },
    }


def schema_text() -> str:
    """The schema as its file has it: what it consists of, one a line."""

    def lines(whole: Mapping[str, Any], indent: str) -> str:
        told = (f"{indent}{json.dumps(name)}: {json.dumps(one)}" for name, one in whole.items())
        return ",\n".join(told)

    whole = json_schema()
    parts = whole.pop("$defs")
    return f'{{\n{lines(whole, " ")},\n "$defs": {{\n{lines(parts, "  ")}\n }}\n}}\n'


def _event(known: Known) -> dict[str, Any]:
    """One event's own part: what it requires, and what it may have."""
    properties: dict[str, Any] = {
        **{name: {} for name in _properties(HEAD)},
        "level": {"enum": list(known.levels)},
    }
    made: dict[str, Any] = {"description": known.meaning}
    if known.channel == "journal":
        made["allOf"] = [{"$ref": "#/$defs/journal"}, {"$ref": "#/$defs/status"}]
    elif known.channel == "heartbeat":
        properties |= _properties(FACTS)
        properties["releases"] = {"type": "array", "items": {"$ref": "#/$defs/told"}}
    if known.name in RAISED:
        properties["exception"] = {"type": "array"}
    for one in known.fields:
        other = renamed(known.name, one.name) if known.channel == "journal" else None
        if other is None:
            properties.setdefault(one.name, _property(one))
        else:
            properties[other] = _property(one)
            # Where the line has nothing else of that name, it keeps it.
            properties.setdefault(one.name, {})
    always = [
        one.name
        for one in known.fields
        if one.always and (known.channel != "journal" or one.name not in _STANDING)
    ]
    return {**made, "required": always, "properties": properties, "unevaluatedProperties": False}


def _properties(fields: Iterable[Field]) -> dict[str, Any]:
    return {one.name: _property(one) for one in fields}


def _property(one: Field) -> Mapping[str, Any]:
    unit = f" ({one.unit})" if one.unit else ""
    return {"description": f"{one.meaning}{unit}", **one.kind}


def _names(fields: Iterable[Field]) -> list[str]:
    return [one.name for one in fields if one.always]
