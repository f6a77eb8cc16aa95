"""Golden queries in a file of their own: a YAML list, or JSON Lines."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from controller.places import Place, lines, refusal, sentences, twice
from controller.workspace import json_text

Model = TypeVar("Model", bound=BaseModel)
MOST = 500
"""Golden queries of one application: each is asked of both versions, and kept in the record."""


def golden_file(path: Path, model: type[Model]) -> tuple[Model, ...]:
    """The queries in a file; what is wrong with one is refused with the file's own line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise refusal((), f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise refusal((), f"{path}: is not UTF-8 text") from error
    items, known = _json_lines(path, text) if path.suffix == ".jsonl" else _yaml(path, text)
    if not isinstance(items, list) or not items:
        raise refusal((), f"{path}: write a list of golden queries, each with query and expect")
    try:
        return TypeAdapter(tuple[model, ...]).validate_python(items)  # type: ignore[valid-type]
    except ValidationError as error:
        raise refusal((), sentences(path, known, error.errors(), model)) from error


def _yaml(path: Path, text: str) -> tuple[Any, dict[Place, int]]:
    try:
        node, items = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
        doubled = twice(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise refusal((), f"{path}{line}: is not YAML") from error
    except RecursionError as error:
        raise refusal((), f"{path}: nests too deep to be golden queries") from error
    except ValueError as error:
        # A date or a number by its form, such as 2026-13-01.
        raise refusal((), f"{path}: {error}: put what is text into quotes") from error
    if doubled:
        raise refusal((), f"{path}:{doubled[1]}: key {doubled[0]} is given twice")
    return items, lines(node, ()) if node else {}


def _json_lines(path: Path, text: str) -> tuple[list[Any], dict[Place, int]]:
    items, known = list[Any](), dict[Place, int]()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        known[len(items),] = number
        try:
            items.append(json_text.read(line, _once))
        except ValueError as error:
            raise refusal((), f"{path}:{number}: is not JSON, or has a key twice") from error
    return items, known


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found
