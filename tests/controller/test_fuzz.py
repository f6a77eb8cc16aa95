"""Configuration, log and webhook are fed with anything; `make fuzz` does it for longer."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import targets
from tests.fuzz.seeds import seeds

LEAF = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["5s", "1pp", "5%", "none", "2026-11-27T04:00:00Z", "9" * 400, "-1", "1e999"])
    | st.sampled_from([2**63, -(2**63) - 1, 10**400, 1e308, -0.0, "\ud800", "\x00", "\u202e"])
)
ANY = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:  # noqa: ANN401 - any document
    """A document with something else in one place or two, or without it."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 2))):
        place = document
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or draw(st.integers(0, 3)) == 0:
                if draw(st.booleans()):
                    place[key] = draw(ANY)
                else:
                    del place[key]
                break
            place = place[key]
    return document


def yaml_of(document: object) -> bytes:
    return yaml.safe_dump(document, allow_unicode=False).encode()


def lines_of(lines: list[Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@st.composite
def logs(draw: st.DrawFn) -> bytes:
    """Some lines of a real log, one or two of which are not what they were."""
    lines = [json.loads(line) for line in seeds("log")[0].splitlines()]
    for _ in range(draw(st.integers(1, 2))):
        number = draw(st.integers(0, len(lines) - 1))
        lines[number] = draw(changed(lines[number]))
    first = draw(st.integers(0, 20))
    return lines_of(lines[first:]) + draw(st.binary(max_size=20))


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(changed(yaml.safe_load(seeds("configuration")[0])).map(yaml_of) | st.binary(max_size=60))
def test_whatever_stands_in_a_configuration_is_read_or_refused_in_words(data: bytes) -> None:
    targets.configuration(data)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(logs())
def test_whatever_stands_in_a_log_is_read_or_refused_in_words(data: bytes) -> None:
    targets.log(data)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from(seeds("webhook"))
    .flatmap(lambda one: changed(json.loads(one)))
    .map(lambda one: json.dumps(one).encode())
    | st.binary(max_size=60)
)
def test_whatever_a_signed_delivery_says_is_taken_or_refused_in_words(data: bytes) -> None:
    targets.webhook(data)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_what_is_well_formed_is_taken(name: str) -> None:
    """What the others begin from: were it refused, they would show nothing."""
    assert all(targets.TARGETS[name](one) for one in seeds(name))


@pytest.mark.parametrize("name", targets.TARGETS)
@pytest.mark.parametrize("opening", [b"[", b'{"a":', b"- "])
def test_what_is_nested_without_end_is_refused_in_words(name: str, opening: bytes) -> None:
    targets.TARGETS[name](opening * 1500)


@pytest.mark.parametrize(
    "name", ["application", "release", "attempt", "order", "earliest", "steps"]
)
@pytest.mark.parametrize("value", [None, [], {}, "x", -1, True])
def test_a_field_of_another_kind_is_refused_in_words(name: str, value: object) -> None:
    """Found by atheris: each of the first five once ended in a traceback."""
    for line in map(json.loads, seeds("log")[0].splitlines()[::9]):
        targets.log(lines_of([{**line, name: value}]))
