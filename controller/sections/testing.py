"""Golden queries: what is asked, and what an answer must show."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_validator,
)

from controller.golden import golden_file
from controller.places import meant
from controller.sections.base import Strict
from controller.units import SomeTime
from controller.workspace import json_text
from controller.workspace.inputs import malformed, placed
from controller.workspace.jsonpath import JsonPath
from controller.workspace.patterns import pattern_trouble, schema_trouble
from policies.golden import GoldenQuery
from policies.languages import NAMES

TABLE = re.compile(r"[^\s./`]+\.[^\s./`]+\.[^\s./`]+")
MOST_REPEATED = 20
"""Times that one query is asked in a round."""


def _pattern(text: str) -> str:
    if (why := pattern_trouble(text)) is not None:
        raise ValueError(why)
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]


class Expect(Strict):
    """What a golden answer must show."""

    answer_contains: tuple[str, ...] = ()
    """Words that the answer has, letter by letter."""
    answer_not_contains: tuple[str, ...] = ()
    """Words that it has not."""
    answer_matches: tuple[Pattern, ...] = ()
    """Regular expressions that are found in it."""
    json_schema: dict[str, Any] | None = None
    """Of the answer, or of what its text says in JSON."""
    language: str | None = None
    """The code of the language that it is in, such as `en`."""
    min_length: int = Field(default=0, ge=0)
    """In characters."""
    max_length: int | None = Field(default=None, ge=0)
    """In characters."""
    min_sources: int = Field(default=0, ge=0)
    """How many sources it names, at least."""
    sources_required: tuple[str, ...] = ()
    """Sources that it names."""
    sources_forbidden: tuple[str, ...] = ()
    """Sources that it does not name."""
    max_latency: SomeTime | None = None
    """As Headgate sees it: the network and a new connection are part of it."""
    max_tokens: int | None = Field(default=None, ge=0)
    """As `response.tokens` counts them."""

    @field_validator("json_schema")
    @classmethod
    def _usable(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is None:
            return None
        why = json_text.unwritable(schema) or schema_trouble(json.dumps(schema))
        if why is not None:
            raise ValueError(why)
        return schema

    @field_validator("language")
    @classmethod
    def _known(cls, code: str | None) -> str | None:
        if code is not None and code not in NAMES:
            raise ValueError(f"no such language{meant(code, list(NAMES))}")
        return code

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if self.max_length is not None and self.max_length < self.min_length:
            raise ValueError("no answer is as long as min_length and no longer than max_length")
        return self


class Test(Strict):
    """One golden query: a question as text, or a whole request."""

    query: str | None = Field(default=None, min_length=1)
    """The question, put where `request.query` says, or the signature."""
    request: dict[str, Any] | None = None
    """In any form that serving takes and the model's signature accepts."""
    expect: Expect = Expect()
    repeat: int = Field(default=1, ge=1, le=MOST_REPEATED)
    """Times that it is asked in a round."""
    must_pass: int | None = Field(default=None, ge=1)
    """How many of the repeated answers must be as expected; all, if it is not said."""

    @field_validator("request")
    @classmethod
    def _well_formed(cls, request: dict[str, Any] | None) -> dict[str, Any] | None:
        if request is not None and (why := malformed(request)) is not None:
            raise ValueError(why)
        return request

    @model_validator(mode="after")
    def _asks_once(self) -> Self:
        if (self.query is None) == (self.request is None):
            raise ValueError("state query, a text, or request, a whole one; and not both")
        if self.must_pass is not None and self.must_pass > self.repeat:
            raise ValueError("must_pass is at most repeat")
        return self

    def golden(self, at: str | None, *, quotable: bool = True) -> GoldenQuery:
        """What the states decide by; `at` is where a question is put, if that is configured."""
        stated = self.request
        if stated is None and at is not None:
            assert self.query is not None, "checked above"
            stated = placed(JsonPath.parse(at), self.query)
        expected = dict(self.expect)
        schema, code = expected.pop("json_schema"), expected.pop("language")
        return GoldenQuery(
            query="" if stated is not None else self.query or "",
            body="" if stated is None else json.dumps(stated),
            repeat=self.repeat,
            must_pass=self.must_pass,
            json_schema="" if schema is None else json.dumps(schema),
            language=code or "",
            quotable=quotable,
            **expected,
        )


class TestsSettings(Strict):
    """Golden queries from several places; the file's are read with the configuration."""

    queries: tuple[Test, ...] = ()
    """As in a list."""
    file: tuple[Test, ...] = ()
    """A YAML or JSONL file beside the configuration, of queries as in a list."""
    table: str | None = None
    """A table in Unity Catalog; it is read, and pinned, when a release enters Testing."""

    @field_validator("file", mode="before", json_schema_input_type=str)
    @classmethod
    def _read(cls, name: object, info: ValidationInfo) -> object:
        """The queries in a file, relative to the configuration file."""
        if not isinstance(name, str):
            raise ValueError("name a YAML or JSONL file")  # noqa: TRY004 - pydantic's way
        return golden_file((info.context or {}).get("folder", Path()) / name, Test)

    @field_validator("table")
    @classmethod
    def _three_parts(cls, table: str | None) -> str | None:
        if table is not None and not TABLE.fullmatch(table):
            raise ValueError("name the table as catalog.schema.table, as Unity Catalog does")
        return table

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.queries and not self.file and self.table is None:
            raise ValueError("state queries, a file or a table with golden queries")
        return self


def _either(value: object, info: ValidationInfo) -> object:
    """Golden queries as a list, or from several places, so that places in the file stay right."""
    if isinstance(value, Mapping):
        return TestsSettings.model_validate(value, context=info.context)
    return LISTED.validate_python(value)


LISTED = TypeAdapter[tuple[Test, ...]](Annotated[tuple[Test, ...], Field(min_length=1)])
Tests = Annotated[tuple[Test, ...] | TestsSettings, BeforeValidator(_either)]
