"""One guard's place in a release: its tests' wealth, and the e-processes that come of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from policies.criterion import Criterion, Observed, Question, Telling
from policies.evidence import Block
from policies.guards import ERRORS
from policies.onearm import unexceeded
from policies.sequential import Pair
from policies.telling import rate_in_words
from policies.wealth import Values, Wealth, seen, weighted

MISJUDGED = 0.05
"""Part of the false-rollback budget for judging stable's past lower than it was."""
OTHERS = 0.3
"""Part of the budget for all guards but errors, which find most and do most harm."""
LIMITED = 0.05
"""Of a guard's part, what its hard limit has: the comparison finds nearly all of it before."""


@dataclass(frozen=True)
class Waiting:
    """Observations that wait for the other arm's, within one span."""

    span: int = 0
    candidate: Values = ()
    stable: Values = ()

    def after(self, block: Block, candidate: Observed, stable: Observed) -> "Waiting":
        """With one more block; what waited in another span spoke of another weight, and is gone."""
        ours, theirs = candidate(block.candidate), stable(block.stable)
        if block.span != self.span:
            return Waiting(block.span, ours, theirs)
        return Waiting(self.span, self.candidate + ours, self.stable + theirs)

    @property
    def pair(self) -> Pair | None:
        """Both arms' observations, once both have some."""
        both = seen(self.candidate) and seen(self.stable)
        return (self.candidate, self.stable) if both else None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One comparison with stable, and what has come of it."""

    waiting: Waiting = Waiting()
    worse: Wealth
    over: Wealth = field(default_factory=unexceeded)
    """For a hard limit: the candidate's own evidence, over the same pairs."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where one guard stands."""

    harm: tuple[Compared, ...]
    limit: Compared
    limit_alone: Wealth = field(default_factory=unexceeded)
    step: int = 0
    """The last compared one."""
    past: Values = ()
    """Stable's observations on it."""
    past_limit: Values = ()
    """The same, of what the hard limit is about."""
    permitted: float | None = None
    """What that past permits, once there is nothing left to compare with."""
    alone: Wealth = field(default_factory=unexceeded)


@dataclass(frozen=True, kw_only=True)
class Clue:
    """One e-process: its part of the budget, its log evidence, and what it says."""

    guard: str
    share: float
    evidence: float
    words: str
    telling: Telling
    alone: bool = False
    """It speaks of the candidate at 100 %, and not of both versions side by side."""
    permitted: float | None = None
    """What the candidate alone is held to."""

    @property
    def weight(self) -> float:
        """Log of what it adds to the average."""
        return math.log(self.share) + self.evidence


def clues_of(criterion: Criterion, at: Position, share: float) -> list[Clue]:
    """A guard's e-processes.

    What is won at 100 % multiplies what the comparison left: no block is in both, and each factor
    is fair given all before it.
    """
    limit = LIMITED * share if criterion.limit else 0.0
    each = (share - limit) / len(criterion.harm)
    asked = zip(criterion.harm, at.harm, strict=True)
    found = [_clue(criterion, at, question, had, each) for question, had in asked]
    if criterion.limit is not None:
        # Beside stable both must be shown, over the limit and worse than stable; the weaker of two
        # e-processes is one against either null.
        beside, alone = (
            min(at.limit.over.evidence, at.limit.worse.evidence),
            at.limit_alone.evidence,
        )
        found.append(
            Clue(
                guard=criterion.guard,
                share=limit,
                evidence=weighted([(0.5, alone), (0.5, beside)]),
                words=criterion.limit.words,
                telling=criterion.limit.telling,
                alone=alone > beside,
            )
        )
    return found


def _clue(
    criterion: Criterion, at: Position, question: Question, had: Compared, share: float
) -> Clue:
    """One comparison's e-process, times what the candidate did alone."""
    compared, alone = had.worse.evidence, at.alone.evidence
    if alone <= compared:
        return Clue(
            guard=criterion.guard,
            share=share,
            evidence=compared + alone,
            words=question.words,
            telling=criterion.telling,
        )
    words, permitted = criterion.alone.words, at.permitted
    if permitted is not None:
        words = f"{words} the {rate_in_words(criterion, permitted)} that the past permits"
    return Clue(
        guard=criterion.guard,
        share=share,
        evidence=compared + alone,
        words=words,
        telling=criterion.alone.telling,
        alone=True,
        permitted=permitted,
    )


def shares(criteria: Sequence[Criterion]) -> dict[str, float]:
    """Each guard's part of what is left of the budget, by its name."""
    left = 1 - MISJUDGED
    others = [one.guard for one in criteria if one.guard != ERRORS]
    if len(others) == len(criteria):
        return dict.fromkeys(others, left / len(others)) if others else {}
    shares = {ERRORS: left - OTHERS if others else left}
    return shares | {name: OTHERS / len(others) for name in others}
