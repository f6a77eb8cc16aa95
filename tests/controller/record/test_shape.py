"""What is stored is only ever added to, so that versions work side by side: see `upgrades`.

`earlier/shape.json` has every field that was ever stored, by its record: also those that were given
up, whose names are never used again. `python -m tests.controller.record.test_shape` adds new ones;
once `schema.OLDEST` is raised, it may be made anew.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from controller.record import codec
from states.plan import Call
from states.release import Application, Release

KNOWN = Path(__file__).parent / "earlier" / "shape.json"
TOLD = {"title", "description", "default"}
"""Of a field's schema, what says nothing of how it is stored."""
Shape = dict[str, dict[str, Any]]


def shape() -> Shape:
    """The fields of everything that is stored as JSON, by record, each with its JSON Schema."""
    found: Shape = {}
    records: tuple[Any, ...] = (Application, Release, Call)
    for stored in records:
        schema = TypeAdapter[Any](stored).json_schema(mode="serialization")
        parts = {getattr(stored, "__name__", "Call"): schema, **schema.get("$defs", {})}
        for name, one in parts.items():
            fields = one.get("properties", {}).items()
            found[name] = {
                field: {key: value for key, value in told.items() if key not in TOLD}
                for field, told in fields
            }
    return {name: fields for name, fields in found.items() if fields}


def changed(known: Shape, now: Shape) -> list[str]:
    """Fields that are stored otherwise than they were."""
    return [
        f"{record}.{name}"
        for record, fields in now.items()
        for name, schema in fields.items()
        if name in known.get(record, {}) and known[record][name] != schema
    ]


def test_no_field_is_stored_otherwise_than_it_was() -> None:
    known, now = json.loads(KNOWN.read_text()), shape()
    assert changed(known, now) == [], "older code beside this cannot read it: give it a new name"


def test_every_field_that_is_stored_is_known() -> None:
    known = json.loads(KNOWN.read_text())
    new = {f"{record}.{name}" for record, fields in shape().items() for name in fields}
    old = {f"{record}.{name}" for record, fields in known.items() for name in fields}
    assert new - old == set(), "add them: python -m tests.controller.record.test_shape"


def test_a_field_that_gets_another_type_is_noticed() -> None:
    known: Shape = {"Application": {"closing": {"type": "string"}, "hold": {"type": "string"}}}
    now: Shape = {"Application": {"closing": {"type": "array"}, "hold": {"type": "string"}}}
    assert changed(known, now) == ["Application.closing"]
    assert changed(known, {"Application": {"closings": {"type": "array"}}}) == []


def test_what_is_compared_is_what_the_record_stores() -> None:
    assert {*codec._IN_APPLICATION} >= {*shape()["Application"]} - {"spec"}
    assert {*codec._IN_RELEASE} >= {*shape()["Release"]}


if __name__ == "__main__":
    known: Shape = json.loads(KNOWN.read_text()) if KNOWN.exists() else {}
    for record, fields in shape().items():
        known[record] = {**fields, **known.get(record, {})}
    KNOWN.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
