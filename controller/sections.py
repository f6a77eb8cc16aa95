"""The parts of an application's configuration: what each key takes, and its default."""

import json
import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from hashlib import sha256
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
from policies.replay import Margins, Replay, fewest_pairs, strictest
from policies.rollout import MOST_HELD_BACK, Rollout
from states.release import Spec
from states.world import Grant, Size, Variables

NAME = re.compile(r"[A-Za-z0-9_-]{1,63}\Z")
"""Databricks' alphabet and length for endpoints; ours for applications."""
NAME_LENGTH = 63
STAGING = "-staging"
SELECT = re.compile(r"(?is)\s*(?:SELECT|WITH)\b[^;]*")
TABLE = re.compile(r"[^\s./`]+\.[^\s./`]+\.[^\s./`]+")
MOST_REPEATED = 20
"""Times that one query is asked in a round."""
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SECRET = re.compile(r"\{\{secrets/[^/{}\s]+/[^/{}\s]+\}\}")
PROFILE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:instance-profile/\S+")
CPU = "CPU"
WorkloadType = Literal[
    "CPU", "CPU_MEDIUM", "CPU_LARGE", "GPU_SMALL", "GPU_MEDIUM", "GPU_LARGE", "GPU_XLARGE",
    "GPU_XLARGE_8", "MULTIGPU_MEDIUM",
]  # fmt: skip
DIGEST_LENGTH = 16
"""Hexadecimal digits: enough to tell two sets of variables apart."""
_TOKENS = (
    "is for foundation models, in tokens per second: size a custom model with workload_size, or "
    "with min_concurrency and max_concurrency"
)
_OTHER_KIND = (
    "is another kind of served entity, which has no versions to release: Headgate serves the "
    "registered model that `model:` names"
)
_OTHERWISE = {
    "min_provisioned_throughput": _TOKENS,
    "max_provisioned_throughput": _TOKENS,
    "provisioned_model_units": "is for foundation models: size a custom model with workload_size, "
    "or with min_concurrency and max_concurrency",
    "burst_scaling_enabled": "is for foundation models, beyond their provisioned_model_units: "
    "leave room for bursts with max_concurrency",
    "external_model": _OTHER_KIND,
    "foundation_model": _OTHER_KIND,
    "foundation_model_name": _OTHER_KIND,
    "entity_name": "is what `model:` names",
    "entity_version": "is what a release is about: `headgate release` begins one",
    "name": "is given by Headgate, from the model and the version",
    "min_provisioned_concurrency": "is called min_concurrency here",
    "max_provisioned_concurrency": "is called max_concurrency here",
    "scale_to_zero_enabled": "is called scale_to_zero here",
    "environment_vars": "is called environment here",
    "instance_profile_arn": "is called instance_profile here",
}
"""What the API's served entity has besides, and what to use instead."""
DEFAULTS = Rollout()
SPEC = Spec(model="", endpoint="")
RULES = Rules()
REPLAY, MARGINS = Replay(), Margins()
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
WIDEST = 2.0
"""A relative margin of pairs must leave room to four times, beyond which nothing is told apart."""
LONGEST_REPLAY = timedelta(minutes=45)
"""What is left of the tests' deadline is for golden queries, and for a workspace that is slow."""


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
    """How a new served entity is sized and set up; running ones keep their size until `apply`."""

    workload_size: Literal["Small", "Medium", "Large"] | None = None
    """Without it, and without concurrency: as big as the stable version is, or else Small."""
    min_concurrency: int | None = Field(default=None, ge=0, multiple_of=4)
    max_concurrency: int | None = Field(default=None, ge=4, multiple_of=4)
    workload_type: WorkloadType | None = None
    """Without it: as the stable version's, or else CPU."""
    scale_to_zero: bool = False
    environment: dict[str, str] | Literal["none"] | None = None
    """Variables of every version; secrets as `{{secrets/scope/key}}`."""
    instance_profile: str | None = None
    usage_tracking: bool = False
    """Off: Databricks counts no usage of custom models there, and refuses it for agents."""

    @model_validator(mode="before")
    @classmethod
    def _for_custom_models(cls, value: object) -> object:
        """What the API has beside these is for other kinds of models, or has another name here."""
        for key in value if isinstance(value, Mapping) else ():
            if key in _OTHERWISE:
                raise refusal((key,), _OTHERWISE[key])
        return value

    @field_validator("environment")
    @classmethod
    def _readable(cls, environment: dict[str, str] | str | None) -> dict[str, str] | str | None:
        """Values are never told: what is wrong is told of their names."""
        for name, value in environment.items() if isinstance(environment, dict) else ():
            if not VARIABLE.fullmatch(name):
                raise refusal((name,), "name a variable with letters, digits and _")
            if "{{" in value and not SECRET.fullmatch(value):
                told = "write a secret as {{secrets/SCOPE/KEY}}, and nothing beside it"
                raise refusal((name,), told)
        return environment

    @field_validator("instance_profile")
    @classmethod
    def _arn(cls, arn: str | None) -> str | None:
        if arn is not None and not PROFILE.fullmatch(arn):
            raise ValueError("write the profile's ARN: arn:aws:iam::ACCOUNT:instance-profile/NAME")
        return arn

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        low, high = self.min_concurrency, self.max_concurrency
        if self.workload_size and (low is not None or high is not None):
            raise ValueError("say workload_size, or min_concurrency and max_concurrency, not both")
        if (low is None) != (high is None):
            raise ValueError("min_concurrency and max_concurrency go together")
        if low is not None and high is not None and low > high:
            raise ValueError(f"min_concurrency is {low}, above max_concurrency, which is {high}")
        return self

    @property
    def size(self) -> Size | None:
        """The size that is stated; None where none is, and a version is sized as stable."""
        sized = self.max_concurrency is not None
        if not sized and self.workload_size is None and self.workload_type is None:
            return None
        return Size(
            workload_size=None if sized else self.workload_size or "Small",
            min_concurrency=self.min_concurrency,
            max_concurrency=self.max_concurrency,
            workload_type=self.workload_type or CPU,
            scale_to_zero=self.scale_to_zero,
        )

    @property
    def variables(self) -> Variables:
        """What may be told of the variables: their names, and whether they are the same."""
        told = self.environment if isinstance(self.environment, dict) else {}
        text = json.dumps(sorted(told.items()))
        digest = sha256(text.encode()).hexdigest()[:DIGEST_LENGTH] if told else ""
        return Variables(tuple(sorted(told)), digest)


class PermissionSettings(Strict):
    """Who may do what with an endpoint that Headgate creates."""

    group: str | None = Field(default=None, min_length=1)
    user: str | None = Field(default=None, min_length=1)
    service_principal: str | None = Field(default=None, min_length=1)
    level: Literal["CAN_QUERY", "CAN_VIEW", "CAN_MANAGE"]

    @model_validator(mode="after")
    def _one_holder(self) -> Self:
        holders = [self.group, self.user, self.service_principal]
        if sum(one is not None for one in holders) != 1:
            raise ValueError("name one of group, user and service_principal")
        return self

    @property
    def grant(self) -> Grant:
        """As the states have it."""
        named = {"group": self.group, "user": self.user}
        named["service_principal"] = self.service_principal
        kind, name = next((kind, name) for kind, name in named.items() if name is not None)
        return Grant(kind, name, self.level)


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


def _countable(rise: float) -> float:
    if rise > WIDEST:
        raise ValueError(
            "a pair counts at most four times stable's size: write a margin of at most "
            f"{100 * WIDEST:.0f}%"
        )
    return rise


class ReplayMargins(Strict):
    """How much worse the candidate may be; see `policies.replay` for the reason of each default."""

    errors: Share = MARGINS.errors
    latency: Annotated[Rise, AfterValidator(_countable)] = MARGINS.latency
    answers: Share = MARGINS.answers
    sources: Share = MARGINS.sources
    tokens: Annotated[Rise, AfterValidator(_countable)] = MARGINS.tokens


class ReplaySettings(Strict):
    """Recorded requests of the last hours, asked again of both versions before any user."""

    safe_to_repeat: bool = Field(default=False, validate_default=True)
    requests: int = Field(default=REPLAY.requests, ge=1, le=2000)
    hours: int = Field(default=REPLAY.over // HOUR, ge=1, le=720)
    within: SomeTime = REPLAY.within
    margins: ReplayMargins = ReplayMargins()
    on_undecided: Literal["ask", "roll_back", "go_on"] = REPLAY.on_undecided

    @field_validator("safe_to_repeat")
    @classmethod
    def _said(cls, value: bool) -> bool:  # noqa: FBT001 - a field's value
        if not value:
            raise ValueError(
                "what is asked again may also be done again: say `safe_to_repeat: true` if that "
                "does no harm, or leave replay out"
            )
        return value

    @field_validator("within")
    @classmethod
    def _leaves_room(cls, within: timedelta) -> timedelta:
        if within > LONGEST_REPLAY:
            raise ValueError(
                f"tests have {SPEC.testing_deadline // MINUTE} minutes in all: leave some for the "
                f"others, and say {LONGEST_REPLAY // MINUTE}m at most"
            )
        return within

    @model_validator(mode="after")
    def _can_pass(self) -> Self:
        """A replay that could not pass if both versions were one would be asked for nothing."""
        check, margin = strictest(Margins(**dict(self.margins)))
        needed = fewest_pairs(margin)
        if needed > self.requests:
            raise refusal(
                ("requests",),
                f"{self.requests} pairs without a difference do not show {check} within "
                f"{100 * margin:g}pp: ask for {needed} at least, or widen margins.{check}",
            )
        return self

    def replay(self) -> Replay:
        """As the policies have it."""
        return Replay(
            requests=self.requests,
            over=self.hours * HOUR,
            within=self.within,
            margins=Margins(**dict(self.margins)),
            on_undecided=self.on_undecided,
        )


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
