"""A guard ready to judge by: its null hypotheses, as data for one way of judging."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from policies.evidence import Arm, Block
from policies.guards import widening
from policies.sequential import Comparison, Pair, unproven
from policies.wealth import Values, Wealth, seen
from policies.words import percent, points

Observed = Callable[[Arm], Values]
"""What an arm's counts say, as observations in [0, 1] of which more is worse."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A two-arm comparison, and how it is said that the candidate lost it."""

    candidate: Observed
    stable: Observed
    comparison: Comparison
    expected: Pair
    """One observation of each arm, in parts, of a candidate that does as stable does: for telling
    how long a proof takes before anything is seen."""
    known: bool = False
    """What is expected is what stable's past was like, and no mere assumption."""
    words: str

    def likely(self, weight: int) -> Pair:
        """What comes with one request of the candidate's, at a weight in percent."""
        candidate, stable = self.expected
        each = (100 - weight) / weight
        return candidate, tuple((value, part * each) for value, part in stable)

    def unproven(self, weight: int) -> Wealth:
        """Before the first block of a step: the wealth of its test of safety."""
        return unproven(self.comparison, self.likely(weight) if self.known else None)


@dataclass(frozen=True, kw_only=True)
class Telling:
    """How a guard's counts are shown: how many of how many, or a mean."""

    observed: Observed
    noun: str
    scale: float | None = None
    """For a mean: what 1 stands for."""
    parts: Callable[[Arm], Mapping[str, int]] | None = None
    """How many of an arm's there are of each kind; nothing, where that is not told."""
    price: float | None = None
    """What one of the mean's unit costs."""
    desired: bool = False
    """More of it is better, as of a score."""

    def amiss(self, arm: Arm) -> Values:
        """What was observed, as what went wrong: more of it is worse."""
        values = self.observed(arm)
        return tuple((1 - one, many) for one, many in values) if self.desired else values


@dataclass(frozen=True, kw_only=True)
class Alone:
    """A one-arm test for where nothing is left to compare with: against stable's own past."""

    slack: float = 0.0
    rise: float = 0.0
    """The permitted mean is the highest that the past allows for, times 1 + rise, plus slack."""
    most: float = 1 - 1e-9
    """Permitted at most, whatever the past; all but 1, where nothing could be shown."""
    otherwise: float | None = None
    """Permitted where no step was compared; None: nothing can be said then."""
    telling: Telling
    words: str

    @property
    def observed(self) -> Observed:
        """What may be over what is permitted, and is told of as it is counted."""
        return self.telling.observed


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A hard limit on one arm, whatever stable does, unless stable breaks it as well."""

    permitted: float
    telling: Telling
    words: str

    @property
    def observed(self) -> Observed:
        """What may be over the limit, and is told of as it is counted."""
        return self.telling.observed


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One guard of a release, ready to judge by."""

    guard: str
    source: str
    observe: bool
    margin: float
    """Safety's, of the last compared step; in the guard's own terms."""
    relative: bool
    harm: tuple[Question, ...]
    """Averaged evenly."""
    safety: Callable[[int], Question]
    """The question at a weight in percent."""
    alone: Alone
    limit: Limit | None
    telling: Telling

    def margin_at(self, weight: int) -> float:
        """The safety margin of a step."""
        return self.margin * widening(weight)

    def within(self, weight: int) -> str:
        """The safety margin of a step in words."""
        margin = self.margin_at(weight)
        if self.relative:
            told = percent(margin)
        else:
            told = points(margin) if self.telling.scale is None else f"{margin:.3g}"
        return f"{told} of stable"


def pairs(question: Question, blocks: Iterable[Block]) -> list[Pair]:
    """The blocks as pairs in which both arms have observations."""
    return pairs_of(question.candidate, question.stable, blocks)


def pairs_of(candidate: Observed, stable: Observed, blocks: Iterable[Block]) -> list[Pair]:
    """The blocks as pairs in which both arms have observations.

    A one-sided block waits for the next one of its span; it is never joined across a change of
    weight, where the two arms would speak of different minutes.
    """
    found: list[Pair] = []
    ours: Values = ()
    theirs: Values = ()
    span = None
    for block in blocks:
        if block.span != span:
            ours, theirs, span = (), (), block.span
        ours += candidate(block.candidate)
        theirs += stable(block.stable)
        if seen(ours) and seen(theirs):
            found.append((ours, theirs))
            ours, theirs = (), ()
    return found


def charged(block: Block) -> Block:
    """The block with all that may be the candidate's errors put on it: for opening alone.

    That is errors that only the metrics saw, and those of requests that nothing names.
    """
    cover = block.coverage
    unseen = max(0, cover.failed - cover.seen_failed) if cover else 0
    unseen += block.unattributed_errors
    if not unseen:
        return block
    arm = block.candidate
    more = replace(arm, requests=arm.requests + unseen, errors=arm.errors + unseen)
    return replace(block, candidate=more)
