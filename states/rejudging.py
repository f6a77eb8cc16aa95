"""Judging again by what was written down: a verdict follows from blocks and inputs alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

from policies.blindness import blind, incomplete
from policies.criteria import criteria
from policies.criterion import Criterion
from policies.evidence import Block, Measure
from policies.fuse import GUARD as FUSE
from policies.fuse import Fuse, Minute, blown
from policies.guards import CAPACITY, ERRORS, Guards, History
from policies.holds import rejected
from policies.judge import harmful, no_worse
from policies.verdict import Outcome, Verdict
from states.release import Release

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a release is judged by, as it was pinned when the release opened."""

    guards: Guards
    measures: Mapping[str, Measure]
    history: History | None
    sources: Mapping[str, str]
    dispersion: float

    @classmethod
    def of(cls, release: Release) -> "Bench":
        """What a release is judged by; asked of one that was admitted."""
        return cls(
            guards=release.plan.guards,
            measures=release.measures,
            history=release.history,
            sources=release.sources,
            dispersion=release.dispersion,
        )

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """The guards, ready to judge by."""
        return criteria(self.guards, self.measures, self.history, self.sources, self.dispersion)

    def told(self) -> dict[str, Any]:
        """It as the fields of an event: enough to judge again by the log."""
        past = self.history
        late = past.lag.total_seconds() if past and past.lag else None
        return {
            # Pairs: what stands under a key like `tokens` would be taken for a secret.
            "sources": [list(pair) for pair in self.sources.items()],
            "guards": asdict(self.guards),
            "measures": {name: asdict(one) for name, one in self.measures.items()},
            "history": asdict(past) | {"lag": late} if past else None,
            "dispersion": self.dispersion,
        }


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a verdict is said to rest on, besides the blocks before it; None: it was not said."""

    guard: str
    outcome: Outcome
    span: int | None = None
    weight: int | None = None
    pace: float | None = None
    before: Fuse | None = None
    observe: bool = False
    silences: Mapping[str, timedelta] = field(default_factory=dict)
    max_lag: timedelta | None = None
    fuse: Fuse | None = None
    minutes: tuple[Minute, ...] = ()


class Untold(Exception):  # noqa: N818 - it names a condition
    """Something that the verdict rests on was not said; the message names it."""


def again(bench: Bench, blocks: tuple[Block, ...], given: Given) -> Verdict | None:
    """The verdict that blocks and inputs lead to; None where they lead to none of that kind.

    `blocks` are those that were there at the time. `Untold`, if an input is missing.
    """
    if given.guard == FUSE:
        return blown(_told(given.fuse, "the fuse"), given.minutes)
    if given.outcome is Outcome.BLIND:
        span, limit = _told(given.span, "the span"), _told(given.max_lag, "the longest lag")
        return unbelieved(bench.sources, blocks, span, given.silences, limit)
    if given.guard == CAPACITY and given.observe:
        return cramped(bench, blocks)
    own = [one for one in bench.criteria if one.guard == given.guard]
    if not own:
        raise Untold(f"the guard {given.guard} is not among those that the release is judged by")
    if given.outcome is Outcome.FAIL:
        if given.observe:
            return harmful([replace(own[0], observe=False)], blocks, given.before)
        return harmful(bench.criteria, blocks, given.before)
    span, weight = _told(given.span, "the span"), _told(given.weight, "the weight")
    present = tuple(one for one in blocks if one.span == span and one.comparable)
    lag = (bench.history and bench.history.lag) or timedelta()
    return no_worse(own[0], present, weight=weight, pace=given.pace, lag=lag)


def cramped(bench: Bench, blocks: Sequence[Block]) -> Verdict | None:
    """FAIL where the candidate rejects more than stable, by the source that counts rejections."""
    counted = [one for one in blocks if one.source == bench.sources.get(CAPACITY)]
    return rejected(bench.guards.capacity, counted)


def unbelieved(
    sources: Mapping[str, str],
    blocks: Sequence[Block],
    span: int,
    silences: Mapping[str, timedelta],
    max_lag: timedelta,
) -> Verdict | None:
    """BLIND for the first source that something waits for and that cannot be believed.

    `silences` names those, with the time since each has last told of anything.
    """
    for source, silence in sorted(silences.items()):
        own = tuple(block for block in blocks if block.source == source)
        present = tuple(block for block in own if block.span == span)
        verdict = blind(source, present, silence, max_lag)
        if verdict is None and source == sources.get(ERRORS):
            verdict = incomplete(source, own)
        if verdict is not None:
            return verdict
    return None


def _told(value: Value | None, what: str) -> Value:
    if value is None:
        raise Untold(f"{what} that it rests on is not told")
    return value
