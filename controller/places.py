"""Places in a configuration file: lines, keys given twice, and sentences for what is refused.

Unknown keys are refused with the line and the nearest known key: a misspelt guard must never be a
guard that is silently not there.
"""

import difflib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticCustomError

from controller.record.redaction import printable

Place = tuple[str | int, ...]
"""Keys and indexes from the top of the file."""

LISTED = 20
"""Words that a sentence names, of those that would have been right: a store may have thousands."""


def refusal(place: Place, sentence: str) -> PydanticCustomError:
    """What a model's validator raises of a place below it."""
    return PydanticCustomError("refused", "{sentence}", {"sentence": sentence, "place": place})


def sentences(
    path: Path, known: Mapping[Place, int], details: Sequence[Any], root: type[BaseModel]
) -> str:
    """What is wrong with a file whose lines are known, a line for each complaint of pydantic's."""
    told = (_sentence(path, known, detail, root) for detail in _deepest(details))
    return "\n".join(map(printable, told))


def lines(node: yaml.Node, at: Place) -> dict[Place, int]:
    """The line (from 1) of every key and item, by its place."""
    found = {at: node.start_mark.line + 1}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*at, str(key.value))
            found |= lines(value, place)
            found[place] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            found |= lines(value, (*at, index))
    return found


def twice(node: yaml.Node | None) -> tuple[str, int] | None:
    """The first key that stands twice in one mapping, with its line."""
    if isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, value in node.value:
            if key.value in seen:
                return str(key.value), key.start_mark.line + 1
            seen.add(key.value)
            if found := twice(value):
                return found
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            if found := twice(value):
                return found
    return None


def _sentence(
    path: Path,
    lines: Mapping[Place, int],
    detail: Any,  # noqa: ANN401 - pydantic's
    root: type[BaseModel],
) -> str:
    place = (*detail["loc"], *detail.get("ctx", {}).get("place", ()))
    known = place
    while known and known not in lines:
        known = known[:-1]
    where = f"{path}:{lines.get(known, 1)}: {'.'.join(str(part) for part in place) or 'file'}"
    if detail["type"] == "extra_forbidden":
        return f"{where}: unknown key{meant(str(place[-1]), _keys(root, place[:-1]))}"
    if detail["type"] == "missing":
        return f"{where}: is missing; state it"
    return f"{where}: {detail['msg'].removeprefix('Value error, ')}"


def meant(word: str, known: Sequence[str], others: str = "known:") -> str:
    """The end of a sentence that refuses a word: the nearest known one, or which there are."""
    nearest = near(word, known)
    if nearest:
        return f"; did you mean {nearest}?"
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return f"; {others} {', '.join(known[:LISTED])}{more}"


def near(word: str, known: Sequence[str], *, alike: float = 0.6) -> str | None:
    """The known word that is most like one, if any is; 1 would be the very same."""
    found = difflib.get_close_matches(word, known, n=1, cutoff=alike)
    return found[0] if found else None


def _deepest(details: Sequence[Any]) -> list[Any]:
    """The complaints without those that only follow from one further down, as of an empty list."""
    places = [tuple(detail["loc"]) for detail in details]
    return [
        detail
        for detail, place in zip(details, places, strict=True)
        if not any(len(other) > len(place) and other[: len(place)] == place for other in places)
    ]


def _keys(root: type[BaseModel], place: Place) -> list[str]:
    """The keys that a place in the file knows."""
    at: Any = root
    for part in place:
        at = _below(at, part)
    fields = [one for model in models_of(at) for one in model.model_fields.items()]
    return [field.alias or name for name, field in fields]


def _below(annotation: Any, part: str | int) -> Any:  # noqa: ANN401 - type expressions
    """The type of what stands at a key or index of a value of a type."""
    if (named := named_values(annotation)) is not None:
        return named
    models = models_of(annotation)
    if not models or isinstance(part, int):
        return models[0] if models else None
    for model in models:
        for name, field in model.model_fields.items():
            if part in (name, field.alias):
                return field.annotation
    # What a model allows besides its fields has a type of its own.
    return named_values(models[0].__annotations__.get("__pydantic_extra__"))


def named_values(annotation: Any) -> Any:  # noqa: ANN401 - type expressions
    """The type of a mapping's values; None for what is no mapping."""
    return annotation.__args__[1] if getattr(annotation, "__origin__", None) is dict else None


def models_of(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401 - a type expression
    """The models that a type expression is made of, in order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in models_of(part)]
