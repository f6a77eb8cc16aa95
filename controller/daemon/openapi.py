"""The HTTP interface as an OpenAPI document, made of the routes themselves.

A route's summary and description are its function's docstring; what it takes and answers is put
beside it with `described`. So there is no second place that could be wrong.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from inspect import getdoc
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

PATH = "/openapi.json"
JSON = "application/json"
_REF = "#/components/schemas/{model}"
F = TypeVar("F", bound=Callable[..., object])


class Error(BaseModel):
    """Why something was refused, or failed, in one sentence."""

    error: str
    kind: str | None = None


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a route takes and answers, where that is JSON of a known form."""

    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    refusal: type[BaseModel] = Error
    query: Mapping[str, str] = field(default_factory=dict)
    """Its parameters, and what each means."""


def described(what: Described) -> Callable[[F], F]:
    """Put beside a route's function what it takes and answers."""

    def mark(function: F) -> F:
        function.__dict__["described"] = what
        return function

    return mark


def route(routes: Iterable[BaseRoute], open_: Iterable[str]) -> Route:
    """Where the document is: of these routes, of which some need no token."""
    known, free = tuple(routes), frozenset(open_)

    async def openapi(_: Request) -> Response:
        """What this daemon answers, and to what: the document that you read."""
        return JSONResponse(document([*known, itself], free))

    itself = Route(PATH, openapi)
    return itself


def document(routes: Iterable[BaseRoute], open_: Iterable[str]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes; those that are open need no token."""
    own = [one for one in routes if isinstance(one, Route)]
    whats = [_what(one) for one in own]
    found = [model for what in whats for model in (what.body, what.answer, what.refusal)]
    models = {model for model in found if model is not None}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "validation") for model in ordered], ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for one in sorted(own, key=lambda route: route.path):
        for method in sorted((one.methods or set()) - {"HEAD"}):
            told = _operation(one, free=one.path in open_)
            paths.setdefault(one.path, {})[method.lower()] = told
    return {
        "openapi": "3.1.0",
        "info": {"title": "Headgate", "version": version("headgate")},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _what(one: Route) -> Described:
    found = getattr(one.endpoint, "described", None)
    return found if isinstance(found, Described) else Described()


def _operation(one: Route, *, free: bool) -> dict[str, Any]:
    what, doc = _what(one), getdoc(one.endpoint) or one.name
    summary, _, description = doc.partition("\n\n")
    answer = {} if what.answer is None else {"content": _json(what.answer)}
    told: dict[str, Any] = {
        "summary": " ".join(summary.split()),
        "security": [] if free else [{"token": []}],
        "responses": {
            "2XX": {"description": "as asked", **answer},
            "default": {"description": "refused, or failed", "content": _json(what.refusal)},
        },
    }
    if description:
        told["description"] = " ".join(description.split())
    if what.query:
        told["parameters"] = [
            {"name": name, "in": "query", "description": means, "schema": {"type": "string"}}
            for name, means in what.query.items()
        ]
    if what.body is not None:
        told["requestBody"] = {"required": True, "content": _json(what.body)}
    return told


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {JSON: {"schema": {"$ref": _REF.format(model=model.__name__)}}}
