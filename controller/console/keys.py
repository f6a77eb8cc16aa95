"""The keys of the configuration: type, default and meaning of each, from the models that read it.

A meaning is the text below a field, or below the field of the policy that the section stands for,
whose reasons are given once. It is found by reading the source: nobody needs it at run time but
whoever asks for the reference, the editors' schema, or a first configuration.
"""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from controller.places import models_of
from controller.sections import judging
from controller.settings import Configuration
from controller.units import KINDS
from policies import guards
from policies.admission import Rules
from policies.replay import Margins, Replay
from policies.rollout import Rollout
from states.spec import Spec

STANDS_FOR: Mapping[type, type] = {
    judging.RolloutSettings: Rollout,
    judging.ErrorSettings: guards.ErrorGuard,
    judging.LatencySettings: guards.LatencyGuard,
    judging.AnswerSettings: guards.AnswerGuard,
    judging.TokenSettings: guards.TokenGuard,
    judging.LengthSettings: guards.LengthGuard,
    judging.CapacitySettings: guards.CapacityGuard,
    judging.ScoreSettings: guards.ScoreGuard,
    judging.ReplaySettings: Replay,
    judging.ReplayMargins: Margins,
    judging.AdmissionSettings: Rules,
    judging.EvidenceSettings: Spec,
}
DRAFT = "https://json-schema.org/draft/2020-12/schema"
TYPES = {
    "boolean": "`true` or `false`",
    "integer": "number",
    "number": "number",
    "object": "mapping",
    "string": "text",
}
ANY_NAME = "NAME"
"""Stands in a place for a name that the user gives."""


@dataclass(frozen=True)
class Key:
    """One key of the file."""

    place: str
    """Below an application; names of the user's are `NAME`, items of a list `[]`."""
    type: str
    default: str
    """As it would be written; empty where there is none, or where the keys below have theirs."""
    meaning: str
    required: bool


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file, for editors, with the meaning of each key."""
    found = Configuration.model_json_schema()
    definitions = {**found["$defs"], Configuration.__name__: found}
    for model in _models(Configuration):
        definition, meanings = definitions[model.__name__], meanings_of(model)
        definition["description"] = _line(model.__doc__ or "")
        definition.pop("title", None)
        for name, field in model.model_fields.items():
            given = definition["properties"][field.alias or name]
            _plainly(given, field)
            if name in meanings:
                given["description"] = meanings[name]
    return {"$schema": DRAFT, "title": "Headgate's configuration", **found}


def schema_text() -> str:
    """The same as the file that editors read."""
    return json.dumps(schema(), indent=2) + "\n"


def keys() -> tuple[Key, ...]:
    """Every key that an application may have, in the order of the models."""
    return tuple(_Walk().below(schema()["$defs"]["ApplicationSettings"], ""))


@cache
def meanings_of(model: type) -> dict[str, str]:
    """What a class says below each of its fields, and then the class that it stands for."""
    found: dict[str, str] = {}
    for one in (model, STANDS_FOR.get(model)):
        for owner in one.__mro__ if one is not None else ():
            if owner.__module__.split(".")[0] in ("controller", "policies", "states"):
                found = _texts(owner) | found
    return found


def _texts(owner: type) -> dict[str, str]:
    """By its name, the text below each field of one class."""
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    assert isinstance(tree, ast.ClassDef), "it is the source of a class"
    found: dict[str, str] = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ):
                found[name] = _line(text)
    return found


def _line(text: str) -> str:
    return " ".join(text.split())


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model, and all that its fields are made of."""
    yield model
    annotations = [field.annotation for field in model.model_fields.values()]
    for annotation in (*annotations, model.__annotations__.get("__pydantic_extra__")):
        for inner in models_of(annotation):
            yield from _models(inner)


def _plainly(given: dict[str, Any], field: FieldInfo) -> None:
    """Say of a key what a person would write, and nothing that only the reading needs."""
    given.pop("title", None)
    default = given.pop("default", None)
    for part in (given, *given.get("anyOf", ())):
        kind = KINDS.get(part.get("pattern", ""))
        if kind is not None:
            for bound in ("ge", "le", "gt", "lt", "minimum", "maximum"):
                part.pop(bound, None)
            default = kind[1](field.default) if default is not None else None
    if default not in (None, [], {}) and not isinstance(field.default, BaseModel):
        given["default"] = default


class _Walk:
    """Through the objects of the schema, each of which is told of where it is met first."""

    def __init__(self) -> None:
        self._met: dict[str, str] = {}

    def below(self, definition: Mapping[str, Any], place: str) -> Iterator[Key]:
        """The keys of an object, each followed by those below it."""
        required = definition.get("required", ())
        for name, given in definition["properties"].items():
            yield from self._key(given, f"{place}{name}", required=name in required)
        others = definition.get("additionalProperties")
        if isinstance(others, Mapping):
            yield from self._inside(others, f"{place}{ANY_NAME}")

    def _key(self, given: Mapping[str, Any], place: str, *, required: bool) -> Iterator[Key]:
        default = given.get("default", "")
        yield Key(
            place=place,
            type=_type(given),
            default=default if isinstance(default, str) else json.dumps(default),
            meaning=given.get("description") or _described(given),
            required=required,
        )
        yield from self._inside(given, place)

    def _inside(self, given: Mapping[str, Any], place: str) -> Iterator[Key]:
        """The keys below a value of whatever form."""
        if "$ref" in given and self._met.setdefault(given["$ref"], place) == place:
            yield from self.below(_named(given), f"{place}.")
        for part in given.get("anyOf", ()):
            yield from self._inside(part, place)
        if "items" in given:
            yield from self._inside(given["items"], f"{place}[]")
        others = given.get("additionalProperties")
        if isinstance(others, Mapping):
            yield from self._inside(others, f"{place}.{ANY_NAME}")


def _named(given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema()["$defs"][given["$ref"].rpartition("/")[2]]
    return found


def _described(given: Mapping[str, Any]) -> str:
    """The meaning of the object that a key holds, where the key itself has none."""
    for part in (given, *given.get("anyOf", ())):
        if "$ref" in part:
            return str(_named(part)["description"])
        if "$ref" in part.get("items", ()):
            return str(_named(part["items"])["description"])
    return ""


def _type(given: Mapping[str, Any]) -> str:
    if "enum" in given or "const" in given:
        words = given.get("enum") or [given["const"]]
        return " or ".join(f"`{one}`" for one in words)
    if "anyOf" in given:
        parts = [_type(part) for part in given["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    if given.get("pattern") in KINDS:
        return KINDS[given["pattern"]][0]
    if given.get("type") == "array":
        return f"list of {_type(given['items'])}"
    return TYPES[given.get("type", "object")]
