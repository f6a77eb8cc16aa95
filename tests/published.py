"""Lines of the log held to what is published of them: the JSON Schema of a line."""

from collections.abc import Iterable
from typing import Any

from jsonschema_rs import Draft202012Validator

from controller.record.contract import json_schema
from controller.record.lines import event_fields, rendered
from states.plan import Plan

_SCHEMA = Draft202012Validator(json_schema(), validate_formats=True)


def assert_as_published(lines: Iterable[dict[str, Any]]) -> None:
    """Every line is one that the schema has; AssertionError with what is wrong about the first."""
    for line in lines:
        if not _SCHEMA.is_valid(line):
            told = [
                f"{one.instance_path}: {one.message[:300]}" for one in _SCHEMA.iter_errors(line)
            ]
            raise AssertionError(f"{line.get('event')} is not as published: {told}; {line}")


def lines_of(plan: Plan) -> Iterable[dict[str, Any]]:
    """The lines that a plan's events would be, were they the first of a journal."""
    releases = {(one.version, one.attempt): one for one in plan.application.releases}
    for seq, event in enumerate(plan.events, start=1):
        release = releases[event.release] if event.release is not None else None
        yield rendered(
            {
                "at": 0,
                "level": event.level,
                "event": event.name,
                "seq": seq,
                "application": plan.application.name,
                "release": release.key if release else None,
                "attempt": release.attempt if release else None,
                "fields": event_fields(event, plan.application, release),
            }
        )
