"""The registry of events and the code that tells them say the same, both ways."""

import json
import re
from collections.abc import Iterator

import pytest
from jsonschema_rs import Draft202012Validator
from typer.testing import CliRunner

from controller.console import cli
from controller.record.contract import json_schema, schema_text
from controller.record.events import EVENTS, FACTS, HEAD, JOURNAL, RAISED, STATUS_FIELDS
from controller.record.lines import HEARTBEAT, STATUS
from controller.record.vocabulary import Field
from states.status import SCHEMA
from tests.controller.record.telling import MADE, ROOT, emissions


def test_every_event_that_the_code_tells_is_registered_and_no_other() -> None:
    told, _ = emissions()
    assert set(told) == set(EVENTS) - {HEARTBEAT}


def test_fields_are_made_where_this_test_looks() -> None:
    _, expanded = emissions()
    assert set(MADE) == expanded


@pytest.mark.parametrize("name", sorted(set(EVENTS) - {HEARTBEAT}))
def test_an_event_has_the_registered_fields_and_no_dead_one(name: str) -> None:
    code, _ = emissions()
    told, known = code[name], {one.name for one in EVENTS[name].fields}
    standing = {one.name for one in HEAD}
    assert told.fields - standing - known == set(), "told, and not registered"
    assert {one for one in known if not told.tells(one)} == set(), "registered, and never told"
    if told.levels:
        assert told.levels == set(EVENTS[name].levels)


def test_the_status_in_a_line_has_the_registered_fields_in_their_order() -> None:
    assert tuple(one.name for one in STATUS_FIELDS) == STATUS


def test_each_event_and_field_is_told_of_in_one_plain_sentence() -> None:
    for known in EVENTS.values():
        assert re.fullmatch(r"[A-Z][^\n]+\.", known.meaning), known
        assert len(known.meaning) <= 90, known
        assert 1 <= known.since <= SCHEMA
        assert len({one.name for one in known.fields}) == len(known.fields), known.name
    for one in (*HEAD, *JOURNAL, *FACTS, *STATUS_FIELDS, *_all_fields()):
        assert one.meaning, one
        assert not one.meaning.endswith("."), one
        assert 1 <= one.since <= SCHEMA


def _all_fields() -> Iterator[Field]:
    for known in EVENTS.values():
        yield from known.fields


def test_the_published_schema_is_current_and_a_schema() -> None:
    committed = (ROOT / "deploy" / "logs" / "schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "run: headgate events --schema > deploy/logs/schema.json"
    assert json.loads(committed) == json_schema()


LINE = {
    "timestamp": "2026-11-23T12:00:00.000000Z",
    "level": "info",
    "event": "release.confirmed",
    "seq": 1,
}


@pytest.mark.parametrize(
    ("changes", "valid"),
    [
        ({}, True),
        ({"schema": SCHEMA, "application": "a", "stable": "1"}, True),
        ({"event": "release.promoted"}, False),
        ({"colour": "red"}, False),
        ({"level": "warning"}, False),
        ({"seq": 0}, False),
        ({"timestamp": "yesterday"}, False),
        ({"release": "a/1"}, False),
        ({"event": "order.given", "actor": "ann", "verb": "approve"}, True),
        ({"event": "order.given", "actor": 7}, False),
        ({"event": "daemon.ready", "seconds": 1.5, "store": "x"}, False),
        ({"event": "a library's words", "logger": "alembic", "anything": 1}, True),
    ],
)
def test_the_schema_takes_what_is_registered_and_nothing_else(
    changes: dict[str, object], *, valid: bool
) -> None:
    validator = Draft202012Validator(json_schema(), validate_formats=True)
    assert validator.is_valid({**LINE, **changes}) is valid


def test_a_line_of_a_defect_may_have_its_places_and_no_other_line() -> None:
    validator = Draft202012Validator(json_schema())
    for name, known in EVENTS.items():
        if known.channel == "process" and not any(one.always for one in known.fields):
            line = {**LINE, "event": name, "level": known.levels[0], "exception": []}
            del line["seq"]
            assert validator.is_valid(line) is (name in RAISED), name


def test_the_command_lists_every_event_and_explains_one() -> None:
    listed = CliRunner().invoke(cli.app, ["events"])
    assert listed.exit_code == 0
    for name, known in EVENTS.items():
        row = rf"^{re.escape(name)} .*{re.escape(known.meaning)}$"
        assert re.search(row, listed.stdout, re.MULTILINE), name
    told = CliRunner().invoke(cli.app, ["events", "alias.moved"]).stdout
    assert re.search(r"^from_version +version +1 +what it named before$", told, re.MULTILINE), told
    assert f"schema {SCHEMA}" in told


def test_the_command_is_for_programs_too() -> None:
    listed = json.loads(CliRunner().invoke(cli.app, ["events", "--json"]).stdout)
    assert [one["name"] for one in listed] == list(EVENTS)
    (one,) = json.loads(CliRunner().invoke(cli.app, ["events", "alias.moved", "--json"]).stdout)
    assert one["fields"][0]["name"] == "alias"
    assert CliRunner().invoke(cli.app, ["events", "--schema"]).stdout == schema_text()


def test_an_unknown_event_is_told_the_nearest() -> None:
    told = CliRunner().invoke(cli.app, ["events", "alias.move"])
    assert told.exit_code == 2
    assert told.stderr == "headgate: there is no event alias.move; did you mean alias.moved?\n"
