"""The parts of an application's configuration: what each key takes, and its default."""

import json
import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_validator,
)

from controller.golden import golden_file
from controller.places import meant, refusal
from controller.units import Duration, JsonPathText, Percentage, Rise, Share, SomeTime
from controller.workspace.inputs import malformed, placed
from controller.workspace.jsonpath import JsonPath
from controller.workspace.patterns import pattern_trouble, schema_trouble
from policies.admission import Approval, Rules, Sequencing
from policies.calendar import Freeze, Window
from policies.golden import GoldenQuery
from policies.guards import (
    LONGER,
    SHORTER,
    AnswerGuard,
    CapacityGuard,
    ErrorGuard,
    LatencyGuard,
    LengthGuard,
    ScoreGuard,
    TokenGuard,
)
from policies.languages import NAMES
from policies.rollout import MOST_HELD_BACK, Rollout
from states.release import Spec

NAME = re.compile(r"[A-Za-z0-9_-]{1,63}\Z")
"""Databricks' alphabet and length for endpoints; ours for applications."""
NAME_LENGTH = 63
STAGING = "-staging"
SELECT = re.compile(r"(?is)\s*(?:SELECT|WITH)\b[^;]*")
TABLE = re.compile(r"[^\s./`]+\.[^\s./`]+\.[^\s./`]+")
MOST_REPEATED = 20
"""Times that one query is asked in a round."""
DEFAULTS = Rollout()
SPEC = Spec(model="", endpoint="")
RULES = Rules()


def _pattern(text: str) -> str:
    if (why := pattern_trouble(text)) is not None:
        raise ValueError(why)
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]


class Strict(BaseModel):
    """Every key is known, or refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Expect(Strict):
    """What a golden answer must show."""

    answer_contains: tuple[str, ...] = ()
    answer_not_contains: tuple[str, ...] = ()
    answer_matches: tuple[Pattern, ...] = ()
    json_schema: dict[str, Any] | None = None
    """Of the answer, or of what its text says in JSON."""
    language: str | None = None
    min_length: int = Field(default=0, ge=0)
    max_length: int | None = Field(default=None, ge=0)
    min_sources: int = Field(default=0, ge=0)
    sources_required: tuple[str, ...] = ()
    sources_forbidden: tuple[str, ...] = ()
    max_latency: SomeTime | None = None
    """As Headgate sees it: the network and a new connection are part of it."""
    max_tokens: int | None = Field(default=None, ge=0)

    @field_validator("json_schema")
    @classmethod
    def _usable(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is not None and (why := schema_trouble(json.dumps(schema))) is not None:
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
    request: dict[str, Any] | None = None
    """In any form that serving takes and the model's signature accepts."""
    expect: Expect = Expect()
    repeat: int = Field(default=1, ge=1, le=MOST_REPEATED)
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

    def golden(self, at: JsonPath | None, *, quotable: bool = True) -> GoldenQuery:
        """What the states decide by; `at` is where a question is put, if that is configured."""
        stated = self.request
        if stated is None and at is not None:
            assert self.query is not None, "checked above"
            stated = placed(at, self.query)
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
    file: tuple[Test, ...] = ()
    table: str | None = None
    """A table in Unity Catalog; it is read, and pinned, when a release enters Testing."""

    @field_validator("file", mode="before")
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


class ServingSettings(Strict):
    """How a new served entity is sized and set up; running ones keep their size."""

    workload_size: Literal["Small", "Medium", "Large"] | None = None
    min_concurrency: int | None = Field(default=None, ge=0, multiple_of=4)
    max_concurrency: int | None = Field(default=None, ge=4, multiple_of=4)
    workload_type: str = "CPU"
    scale_to_zero: bool = False
    environment: dict[str, str] | Literal["none"] | None = None
    instance_profile: str | None = None

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        ends = [self.min_concurrency, self.max_concurrency]
        if self.workload_size and any(end is not None for end in ends):
            raise ValueError("say workload_size, or min_concurrency and max_concurrency, not both")
        if (ends[0] is None) != (ends[1] is None):
            raise ValueError("min_concurrency and max_concurrency go together")
        return self


class StagingSettings(Strict):
    """An endpoint on which a version is tested first: created for it, and removed after.

    It is asked a few questions as soon as it is ready, and may sleep if nobody removes it.
    """

    endpoint: str | None = None
    """None: the application's endpoint and `-staging`, in the platform's length."""
    workload_size: Literal["Small", "Medium", "Large"] = "Small"
    scale_to_zero: bool = True

    @field_validator("endpoint")
    @classmethod
    def _name(cls, name: str | None) -> str | None:
        if name is not None and not NAME.match(name):
            raise ValueError("use 1 to 63 letters, digits, - and _")
        return name

    def name(self, endpoint: str) -> str:
        """The staging endpoint of an application's endpoint."""
        return self.endpoint or endpoint[: NAME_LENGTH - len(STAGING)] + STAGING


class TableSettings(Strict):
    """Where the AI Gateway inference table of a new endpoint is written."""

    catalog: str
    schema_name: str = Field(alias="schema")
    prefix: str | None = None


class ResponseSettings(Strict):
    """Where a response has what is counted of it; JSONPath, for tests, replay and SQL alike."""

    answer: JsonPathText = "$.predictions[0].answer"
    sources: JsonPathText = "$.predictions[0].sources"
    tokens: JsonPathText | None = None
    """A number; without it tokens are not guarded."""
    finish: JsonPathText | None = None
    """Why the answer ended; `length` and `max_tokens` are answers that were cut off."""


class RequestSettings(Strict):
    """Where a request has what is counted of it."""

    query: JsonPathText | None = None
    """Where a golden query's text is put, such as $.messages[0].content; else the signature tells:
    its single text column, its messages, or a column called query."""
    session: JsonPathText | None = None
    """With it, only the first request of a session counts in each look: its retries are none."""

    @field_validator("query")
    @classmethod
    def _makes_a_request(cls, path: str | None) -> str | None:
        if path is not None:
            why = malformed(placed(JsonPath.parse(path), "?"))
            if why is not None:
                raise ValueError(f"a question there makes no request: {why}")
        return path


class QuerySettings(Strict):
    """A counting source of the user's own: one row for each request.

    Its columns are `served_entity_name`, `request_time` (TIMESTAMP) and `value`: 0 or 1 for errors,
    milliseconds for latency, 0 to 1 for a score.
    """

    sql: str
    counts: Literal["errors", "latency", "score"]

    @field_validator("sql")
    @classmethod
    def _one_select(cls, sql: str) -> str:
        text = sql.strip().removesuffix(";").strip()
        if SELECT.fullmatch(text) is None:
            raise ValueError("write one SELECT, without a semicolon in it")
        return text


class EvidenceSettings(Strict):
    """How often the counting sources are asked, and when their silence means that they broke."""

    every: SomeTime = SPEC.evidence_every
    max_lag: Duration = SPEC.max_lag
    queries: dict[str, QuerySettings] = {}

    @field_validator("queries")
    @classmethod
    def _one_source_each(cls, queries: dict[str, QuerySettings]) -> dict[str, QuerySettings]:
        owners: dict[str, str] = {}
        for name, query in queries.items():
            if not NAME.match(name):
                raise refusal((name,), "name a query with 1 to 63 letters, digits, - and _")
            if query.counts == "score" and name in (*GuardSettings.model_fields, SHORTER, LONGER):
                told = f"{name} is a guard of its own: name the score otherwise"
                raise refusal((name,), told)
            if query.counts != "score" and query.counts in owners:
                told = f"{owners[query.counts]} counts {query.counts} already: keep one of the two"
                raise refusal((name,), told)
            owners[query.counts] = name
        return queries


class FreezeSettings(Strict):
    """Days, or moments, between which no release begins or opens further; both ends included."""

    begins: datetime | date = Field(alias="from")
    ends: datetime | date = Field(alias="to")
    zone: str = "UTC"
    reason: str = ""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        self.freeze()
        return self

    def freeze(self) -> Freeze:
        """As the policies have it."""
        return Freeze.between(self.begins, self.ends, zone=self.zone, reason=self.reason)


class AdmissionSettings(Strict):
    """What a version must show before it may begin, when it may, and who is asked."""

    required_tags: tuple[str, ...] = ()
    approval: Approval = RULES.approval
    windows: tuple[str, ...] = ()
    freeze: tuple[FreezeSettings, ...] = ()
    order: Sequencing = RULES.order

    @field_validator("windows")
    @classmethod
    def _are_windows(cls, windows: tuple[str, ...]) -> tuple[str, ...]:
        for text in windows:
            Window.parse(text)
        return windows

    def rules(self) -> Rules:
        """As the policies have it."""
        return Rules(
            required_tags=self.required_tags,
            approval=self.approval,
            order=self.order,
            windows=tuple(Window.parse(text) for text in self.windows),
            freezes=tuple(one.freeze() for one in self.freeze),
        )


class RolloutSettings(Strict):
    """The climb; see `policies.rollout` for the reason of each default."""

    steps: tuple[int, ...] = DEFAULTS.steps
    settle: Duration = DEFAULTS.settle
    min_step: Duration = DEFAULTS.min_step
    bake: Duration = DEFAULTS.bake
    hold_back: Annotated[Percentage, Field(ge=0, le=MOST_HELD_BACK)] = DEFAULTS.hold_back
    watch: Duration = DEFAULTS.watch
    patience: Duration = DEFAULTS.patience
    on_undecided: Literal["ask", "roll_back"] = DEFAULTS.on_undecided
    retain: Duration = DEFAULTS.retain
    dead_man: Literal["stay", "stable"] = DEFAULTS.dead_man

    @model_validator(mode="after")
    def _last_step_is_one(self) -> Self:
        last = 100 - self.hold_back
        if self.hold_back and self.steps[:-1] and last <= self.steps[-2]:
            raise ValueError(
                f"hold_back leaves {last} % for the last step, which is not above the "
                f"{self.steps[-2]} % before it: lower that step, or hold_back"
            )
        if self.hold_back and not self.bake:
            raise ValueError("hold_back is for the bake: give it a duration, or hold nobody back")
        return self

    @field_validator("steps")
    @classmethod
    def _climbs(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if not steps or steps[-1] != 100 or steps[0] < 1 or list(steps) != sorted(set(steps)):  # noqa: PLR2004 - percent
            raise ValueError(
                "steps are rising percentages that end at 100, such as [5, 25, 50, 100]"
            )
        return steps


class ErrorSettings(Strict):
    """The guard on errors."""

    margin: Share = ErrorGuard.margin
    limit: Share = ErrorGuard.limit
    observe: bool = False


class LatencySettings(Strict):
    """The guard on latency; without a limit, what is slow is stable's to say."""

    margin: Rise = LatencyGuard.margin
    limit: SomeTime | None = None
    observe: bool = False

    def guard(self) -> LatencyGuard:
        """As the policies have it."""
        limit_ms = self.limit / timedelta(milliseconds=1) if self.limit is not None else None
        return LatencyGuard(margin=self.margin, limit_ms=limit_ms, observe=self.observe)


class AnswerSettings(Strict):
    """The guard on answers that are empty, without sources, cut off, or refusals."""

    margin: Share = AnswerGuard.margin
    observe: bool = False


class TokenSettings(Strict):
    """The guard on tokens per answer."""

    margin: Rise = TokenGuard.margin
    price_per_1k: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """What a thousand tokens cost, in any currency: then cost per answer is told beside tokens."""
    observe: bool = False


class LengthSettings(Strict):
    """The guard on how long answers are, in characters; it is there where it is named."""

    margin: Share = LengthGuard.margin
    observe: bool = False


class CapacitySettings(Strict):
    """The guard on rejected requests (429)."""

    margin: Share = CapacityGuard.margin
    observe: bool = False


class ScoreSettings(Strict):
    """The guard on a score that a configured query brings."""

    margin: Share = ScoreGuard.margin
    observe: bool = False


class GuardSettings(BaseModel):
    """The guards; each default has its reason in `policies.guards`. Other keys name scores."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, ScoreSettings] = Field(init=False)

    errors: ErrorSettings = ErrorSettings()
    latency: LatencySettings = LatencySettings()
    answers: AnswerSettings = AnswerSettings()
    tokens: TokenSettings = TokenSettings()
    length: LengthSettings | None = None
    capacity: CapacitySettings = CapacitySettings()

    def score(self, name: str) -> ScoreSettings:
        """The guard of a score, as configured or by default."""
        return self.__pydantic_extra__.get(name, ScoreSettings())
