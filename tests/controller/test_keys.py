"""The editors' schema says what the configuration takes, and every key has its meaning."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from controller.console.keys import keys, schema
from controller.settings import SettingsError, load
from tests.markdown import ROOT, pages

VALID = jsonschema_rs.validator_for(schema())
BLOCKS = [
    block.text
    for page in pages()
    for block in page.blocks
    if block.kind == "yaml" and block.text.startswith("applications:")
]
BASE: dict[str, Any] = {"model": "a.b.c", "endpoint": "e", "tests": [{"query": "What?"}]}


def accepted(text: str) -> bool:
    return VALID.is_valid(json.loads(json.dumps(yaml.safe_load(text), default=str)))


@pytest.mark.parametrize(
    "text", [*BLOCKS, (ROOT / "deploy/sandbox/demo/headgate.yaml").read_text()]
)
def test_editors_accept_every_configuration_that_is_shown(text: str) -> None:
    assert accepted(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpiont": "e"},
        {"rollout": {"bake": "ten minutes"}},
        {"rollout": {"bake": 600}},
        {"guards": {"errors": {"margin": "5"}}},
        {"guards": {"mine": {"margn": "5pp"}}},
        {"response": {"answer": "answer"}},
        {"serving": {"workload_size": "Huge"}},
        {"tests": {"file": ["a"]}},
        {"model": None},
    ],
)
def test_editors_refuse_what_headgate_refuses(wrong: dict[str, Any], tmp_path: Path) -> None:
    text = yaml.safe_dump({"applications": {"bot": {**BASE, **wrong}}})
    assert not accepted(text)
    (tmp_path / "headgate.yaml").write_text(text)
    with pytest.raises(SettingsError):
        load(tmp_path / "headgate.yaml")


def test_every_key_has_a_meaning_and_defaults_are_as_one_would_write_them() -> None:
    found = {one.place: one for one in keys()}
    assert [place for place, one in found.items() if not one.meaning] == []
    written = {
        place: found[place].default
        for place in ("rollout.bake", "guards.errors.margin", "guards.tokens.margin", "alias")
    }
    assert written == {
        "rollout.bake": "30m",
        "guards.errors.margin": "0.5pp",
        "guards.tokens.margin": "25%",
        "alias": "production",
    }


def test_defaults_are_what_an_empty_configuration_gets(tmp_path: Path) -> None:
    """Stating every default of the reference changes nothing."""
    stated: dict[str, Any] = json.loads(json.dumps(BASE))
    for one in keys():
        optional = one.place.startswith(
            (
                *("replay", "staging", "guards.length", "guards.tokens", "guards.NAME"),
                "evidence.queries.NAME",
            )
        )
        if one.default and not optional and "[]" not in one.place:
            *above, name = one.place.split(".")
            section = stated
            for part in above:
                section = section.setdefault(part, {})
            section[name] = yaml.safe_load(one.default)
    assert len(stated["rollout"]) == 10
    file = tmp_path / "headgate.yaml"
    loaded = []
    for settings in (BASE, stated):
        file.write_text(yaml.safe_dump({"applications": {"bot": settings}}))
        loaded.append(load(file))
    assert loaded[0] == loaded[1]
