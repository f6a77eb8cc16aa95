"""The guards: what each watches, within what margin, and why its default is what it is.

A guard has two margins. *Safety* is shown when the candidate is within `margin` of stable (wider on
early steps); *harm* when it is worse by over a fifth of that. Between the two lies peace: neither
proof comes quickly, and either decision would do.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from policies.evidence import Measure

ERRORS, LATENCY, ANSWERS, TOKENS, CAPACITY = "errors", "latency", "answers", "tokens", "capacity"
LENGTH, SHORTER, LONGER = "length", "shorter", "longer"
"""One measure, and one guard in the configuration, that is judged on either side."""
PEACE = 5
"""Safety's margin over harm's."""
QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99)
"""Of stable's past, where exceedance is compared; p95 alone is 1.3 to 2.8 times slower."""
QUARTILES = (0.25, 0.5, 0.75)
"""Of stable's past, where lengths of answers are compared: what is cut off is short in any part."""
JUDGED = QUANTILES.index(0.95)
"""The quantile that safety is shown at."""
LEAST_SLOWER_MS = 5
"""No rise of latency below this counts: the table has whole milliseconds, and nobody feels it."""
LEAST_DOUBLED_MS = 50
"""Nor, where only stable's past is left to compare with, one below this: what a busy machine adds
to answers of a few milliseconds is not the version's doing, and half of the tenth of a second that
people begin to feel is soon enough to tell."""
FEWEST = 200
"""Answers of the past that quantiles need: p95 then rests on ten."""
CAP_TIMES = 4
"""Tokens above this multiple of the past's p99 count as much as it: the mean needs a bound."""


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What all guards have."""

    observe: bool = False
    """It reports, and never decides."""


@dataclass(frozen=True, kw_only=True)
class ErrorGuard(Guard):
    """How many more errors than stable a candidate may show, and how many at all."""

    margin: float = 0.005
    """Safety margin of the last compared step, in shares of requests (0.005 is 0.5 pp): the
    smallest that 50 % of a modest endpoint's users show within an hour."""
    limit: float = 0.05
    """Hard limit on 5xx and timeouts of the candidate alone, in shares of requests."""

    def __post_init__(self) -> None:
        assert 0 < self.margin < 1, "without a margin nothing is ever shown to be within it"
        assert 0 < self.limit < 1, "a limit is a share of requests"

    @property
    def harm_margin(self) -> float:
        """What counts as worse, in shares of requests.

        A twentieth of safety's: with a tenth, a version with twice the errors cost a sixth more
        users; with none, busy endpoints would roll back what is a hair worse.
        """
        return self.margin / (4 * PEACE)


@dataclass(frozen=True, kw_only=True)
class LatencyGuard(Guard):
    """How much slower than stable a candidate may answer."""

    margin: float = 0.25
    """Relative rise of p95: below it few users would notice."""
    limit_ms: float | None = None
    """Hard limit: one answer in twenty may take longer. None: what is slow is the user's to say."""

    def __post_init__(self) -> None:
        assert self.margin > 0, "without a margin nothing is ever shown to be within it"


@dataclass(frozen=True, kw_only=True)
class AnswerGuard(Guard):
    """How many more answers than stable's may be empty, without sources, cut off, or refusals."""

    margin: float = 0.02
    """In shares of answers: a RAG application's own rate is a few percent, and moves by one."""

    def __post_init__(self) -> None:
        assert 0 < self.margin < 1, "without a margin nothing is ever shown to be within it"


@dataclass(frozen=True, kw_only=True)
class TokenGuard(Guard):
    """How many more tokens per answer a candidate may spend."""

    margin: float = 0.25
    """Relative rise of the mean: a quarter more cost is worth a look."""
    price_per_1k: float | None = None
    """What a thousand tokens cost, in any currency; told with the tokens, and never judged."""

    def __post_init__(self) -> None:
        assert self.margin > 0, "without a margin nothing is ever shown to be within it"


@dataclass(frozen=True, kw_only=True)
class LengthGuard(Guard):
    """How many more answers than stable's may be short, or long, as its past goes."""

    margin: float = 0.1
    """In shares of the answers on one side of a quartile: of answers half as long, 40 pp more are
    below the median, and the hour of the day moves that by one or two."""

    def __post_init__(self) -> None:
        assert 0 < self.margin < 1, "without a margin nothing is ever shown to be within it"


@dataclass(frozen=True, kw_only=True)
class ScoreGuard(Guard):
    """How much lower than stable's a score in [0, 1] may be; 1 is best."""

    margin: float = 0.05
    """Of the mean: what judges of answers agree upon among themselves."""

    def __post_init__(self) -> None:
        assert 0 < self.margin < 1, "without a margin nothing is ever shown to be within it"


@dataclass(frozen=True, kw_only=True)
class CapacityGuard(Guard):
    """How many more requests than stable's may be rejected (429); it holds, and never blames."""

    margin: float = 0.01
    """In shares of requests: one in a hundred rejected is a queue that is full."""

    def __post_init__(self) -> None:
        assert 0 < self.margin < 1, "a margin is a share of requests"


@dataclass(frozen=True, kw_only=True, slots=True)
class Guards:
    """The guards of a release. None: nothing is configured that it could be counted from."""

    errors: ErrorGuard = field(default_factory=ErrorGuard)
    latency: LatencyGuard = field(default_factory=LatencyGuard)
    answers: AnswerGuard = field(default_factory=AnswerGuard)
    tokens: TokenGuard | None = None
    length: LengthGuard | None = None
    capacity: CapacityGuard = field(default_factory=CapacityGuard)
    scores: Mapping[str, ScoreGuard] = field(default_factory=dict)
    """By the name of the query that brings the score."""


@dataclass(frozen=True, kw_only=True)
class History:
    """Stable's last day, as the counting source tells of it, seen before the release opens."""

    requests: int = 0
    """All requests that stable got in that day."""
    errors: int = 0
    """Of them, those that went wrong, as an arm's `errors`."""
    answers: int = 0
    """Of them, those that were answered well: what quantiles are taken from."""
    latency_ms: tuple[float, ...] = ()
    """At `QUANTILES`; empty where there was no answer."""
    tokens: tuple[float, ...] = ()
    """Tokens per answer at `QUANTILES`; empty where none could be read."""
    length: tuple[float, ...] = ()
    """Characters per answer at `QUARTILES`; empty where none could be read."""
    checked: int = 0
    """Answers whose text, and sources, were looked at."""
    faulty: int = 0
    """Of them, those that failed a check."""
    lag: timedelta | None = None
    """How late the source's newest rows were: the 95th percentile over the day."""


def widening(weight: int) -> int:
    """By how much a step's safety margin is wider than the last one's: few users are exposed.

    The factors are those of the promotion study: 10, 3, 1 and 0.5 pp at 1, 5, 25 and 50 %.
    """
    if weight >= 50:  # noqa: PLR2004 - the study's steps
        return 1
    if weight >= 25:  # noqa: PLR2004
        return 2
    return 6 if weight >= 5 else 20  # noqa: PLR2004


def slower(threshold: float, rise: float, least_ms: float = LEAST_SLOWER_MS) -> float:
    """The edge that stands for a latency threshold with a relative rise, in whole ms."""
    return float(round(max(threshold * (1 + rise), threshold + least_ms)))


def twice(threshold: float) -> float:
    """The edge that a latency threshold is held to alone: twice as long, and to be felt."""
    return slower(threshold, 1.0, LEAST_DOUBLED_MS)


def measures(guards: Guards, history: History | None, steps: tuple[int, ...]) -> dict[str, Measure]:
    """What to count of answers, by guard; a guard that the past tells too little of is left out.

    Edges come from the past alone, so that no count can move what it is compared with.
    """
    found = {name: Measure(cap=1.0) for name in guards.scores}
    if history is None or history.answers < FEWEST:
        return found
    if history.checked >= FEWEST:
        found[ANSWERS] = Measure()
    if history.latency_ms:
        found[LATENCY] = Measure(edges=_latency_edges(guards.latency, history, steps))
    if guards.tokens is not None and history.tokens:
        cap = CAP_TIMES * max(1.0, history.tokens[-1])
        found[TOKENS] = Measure(edges=_rising(round(edge) for edge in history.tokens), cap=cap)
    if guards.length is not None and history.length:
        # What is above the character before is not shorter.
        edges = [round(edge) for edge in history.length]
        found[LENGTH] = Measure(edges=_rising([*edges, *(edge - 1 for edge in edges)]))
    return found


def _latency_edges(
    guard: LatencyGuard, history: History, steps: tuple[int, ...]
) -> tuple[float, ...]:
    past = [float(round(threshold)) for threshold in history.latency_ms]
    harm = [slower(threshold, guard.margin / PEACE) for threshold in past]
    rises = {guard.margin * widening(step) for step in steps}
    safe = [slower(past[JUDGED], rise) for rise in rises]
    doubled = [twice(past[JUDGED])]
    limit = [guard.limit_ms] if guard.limit_ms is not None else []
    return _rising([*past, *harm, *safe, *doubled, *limit])


def _rising(edges: Iterable[float]) -> tuple[float, ...]:
    return tuple(sorted({float(edge) for edge in edges}))
