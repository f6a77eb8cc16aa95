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
JSON, HTML = "application/json", "text/html"
_REF = "#/components/schemas/{model}"
F = TypeVar("F", bound=Callable[..., object])


class Error(BaseModel):
    """Why something was refused, or failed, in one sentence."""

    error: str
    kind: str | None = None


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a route takes and answers: JSON of a known form, or text of some kinds."""

    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    kinds: tuple[str, ...] = ()
    """Media types of what it answers, where that is not JSON."""
    page: bool = False
    """It is HTML for people, to whom a browser's login opens it too, as does the token."""
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
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "login": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "any name, and the token as the password",
                },
            },
        },
    }


def _what(one: Route) -> Described:
    found = getattr(one.endpoint, "described", None)
    return found if isinstance(found, Described) else Described()


def _operation(one: Route, *, free: bool) -> dict[str, Any]:
    what, doc = _what(one), getdoc(one.endpoint) or one.name
    summary, _, description = doc.partition("\n\n")
    kinds: dict[str, Any] = {kind: {} for kind in (HTML,) * what.page + what.kinds}
    answer = kinds if what.answer is None else _json(what.answer)
    refusal = {**_json(what.refusal), **({HTML: {}} if what.page else {})}
    told: dict[str, Any] = {
        "summary": " ".join(summary.split()),
        "security": [] if free else [{"token": []}, *([{"login": []}] if what.page else [])],
        "responses": {
            "2XX": {"description": "as asked", **({"content": answer} if answer else {})},
            "default": {"description": "refused, or failed", "content": refusal},
        },
    }
    if description:
        told["description"] = " ".join(description.split())
    text = {"schema": {"type": "string"}}
    placed = [
        {"name": name, "in": "path", "required": True, **text} for name in one.param_convertors
    ]
    asked = [
        {"name": name, "in": "query", "description": means, **text}
        for name, means in what.query.items()
    ]
    if placed or asked:
        told["parameters"] = [*placed, *asked]
    if what.body is not None:
        told["requestBody"] = {"required": True, "content": _json(what.body)}
    return told


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {JSON: {"schema": {"$ref": _REF.format(model=model.__name__)}}}
