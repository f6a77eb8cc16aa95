"""When a release may begin, how it climbs, and what it is judged by."""

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from controller.places import refusal
from controller.sections.base import NAME, Strict
from controller.units import Duration, JsonPathText, Percentage, Rise, Share, SomeTime
from controller.workspace import counting
from controller.workspace.errors import Refused
from controller.workspace.inputs import malformed, placed
from controller.workspace.jsonpath import JsonPath
from policies.admission import Approval, Rules, Sequencing
from policies.calendar import Freeze, Window
from policies.guards import (
    ERRORS,
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
from policies.replay import Margins, Replay, fewest_pairs, strictest
from policies.rollout import MOST_HELD_BACK, Rollout
from states.spec import Spec

DEFAULTS = Rollout()
SPEC = Spec(model="", endpoint="")
RULES = Rules()
REPLAY, MARGINS = Replay(), Margins()
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
WIDEST = 2.0
"""A relative margin of pairs must leave room to four times, beyond which nothing is told apart."""
LONGEST_REPLAY = timedelta(minutes=45)
"""What is left of the tests' deadline is for golden queries, and for a workspace that is slow."""


def _countable_by(read: Callable[[str], str], text: str) -> str:
    """A text as the statement that counts will have it: what is refused there is refused here."""
    try:
        return read(text)
    except Refused as error:
        raise ValueError(str(error)) from error


def _in_sql(path: str) -> str:
    _countable_by(counting.in_sql, path)
    return path


CountedPath = Annotated[JsonPathText, AfterValidator(_in_sql)]
DAY_ALONE = re.compile(r"\d{4}-\d{2}-\d{2}")


class ResponseSettings(Strict):
    """Where a response has what is counted of it; JSONPath, for tests, replay and SQL alike."""

    answer: CountedPath = "$.predictions[0].answer"
    """The text that users read; the guard on answers looks at it."""
    sources: CountedPath = "$.predictions[0].sources"
    """What the answer rests on: a list; an answer without any counts as faulty."""
    tokens: CountedPath | None = None
    """A number; without it tokens are not guarded."""
    finish: CountedPath | None = None
    """Why the answer ended; `length` and `max_tokens` are answers that were cut off."""


class RequestSettings(Strict):
    """Where a request has what is counted of it."""

    query: JsonPathText | None = None
    """Where a golden query's text is put, such as $.messages[0].content; else the signature tells:
    its single text column, its messages, or a column called query."""
    session: CountedPath | None = None
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
    milliseconds for latency, 0 to 1 for a score; and `server_error`, where it says so.
    """

    sql: str
    """One SELECT: `served_entity_name`, `request_time` (TIMESTAMP) and `value` of each request."""
    counts: Literal["errors", "latency", "score"]
    """What `value` is: 0 or 1 for errors, milliseconds for latency, 0 to 1 for a score.

    A row without one (NULL, or NaN) is not counted. While any score is NaN, below 0 or above 1,
    nothing is counted of its query: write NULL where there is none.
    """
    server_errors: bool = False
    """For errors: a further column, `server_error`, is 1 where the server failed (5xx, no answer),
    and 0 where the client may have. Without it the query's errors break no `guards.errors.limit`,
    and are never taken for an outage."""

    @field_validator("sql")
    @classmethod
    def _one_select(cls, sql: str) -> str:
        return _countable_by(counting.subquery, sql)

    @model_validator(mode="after")
    def _errors_of_the_server(self) -> Self:
        if self.server_errors and self.counts != ERRORS:
            told = f"only errors are the server's, and this counts {self.counts}: leave it out"
            raise refusal(("server_errors",), told)
        return self


class EvidenceSettings(Strict):
    """How often the counting sources are asked, and when their silence means that they broke."""

    every: SomeTime = SPEC.evidence_every
    """How often the sources are asked while a release is live: warehouse time costs money."""
    max_lag: Duration = SPEC.max_lag
    queries: dict[str, QuerySettings] = Field(default_factory=dict)
    """Counting sources of your own, by name; one that brings a score makes a guard of that name."""

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
    """The first day, or moment."""
    ends: datetime | date = Field(alias="to")
    """The last day, or moment."""
    zone: str = "UTC"
    """The time zone of days and of moments without one."""
    reason: str = ""
    """Why; it is shown while a release waits."""

    @field_validator("begins", "ends", mode="before")
    @classmethod
    def _a_day_is_whole(cls, value: object) -> object:
        """In quotes, as JSON has it, a day is a day too, and not its first moment."""
        if isinstance(value, str) and DAY_ALONE.fullmatch(value.strip()):
            return date.fromisoformat(value.strip())
        return value

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
    """Must be stated as true: what is asked again may also be done again."""
    requests: int = Field(default=REPLAY.requests, ge=1, le=2000)
    hours: int = Field(default=REPLAY.over // HOUR, ge=1, le=720)
    """The age of the oldest request: a day has every hour's kind of question."""
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

    required_tags: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Keys of tags that a version must carry."""
    approval: Approval = RULES.approval
    """Where a person is asked."""
    windows: tuple[str, ...] = ()
    """Releases begin inside them, as `Mon-Fri 09:00-17:00 Europe/Berlin`; none: at any hour."""
    freeze: tuple[FreezeSettings, ...] = ()
    order: Sequencing = RULES.order
    """Which of several waiting versions is next: the newest, or each in turn."""

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
    """Hard limit: one answer in twenty may take longer."""
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
