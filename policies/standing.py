"""Where a release stands: the wealth of every test for harm, as a fold of its blocks.

Each block is folded in once. Folding on from any point gives bit for bit what folding all blocks
anew gives, so whoever keeps a standing keeps nothing but time.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

from policies.bounds import FALSE_ROLLBACK
from policies.criterion import Criterion, Observed
from policies.evidence import Block
from policies.fuse import Fuse
from policies.guards import ERRORS
from policies.onearm import excess_after, highest_rate, unexceeded
from policies.sequential import Comparison, Pair, harm_after, unharmed
from policies.telling import rate_in_words
from policies.wealth import Values, Wealth, mean, seen, weighted

MISJUDGED = 0.05
"""Part of the false-rollback budget for judging stable's past lower than it was."""
OTHERS = 0.3
"""Part of the budget for all guards but errors, which find most and do most harm."""
LIMITED = 0.05
"""Of a guard's part, what its hard limit has: the comparison finds nearly all of it before."""
UNCOMPARED = 0.2
"""Error rate, whoever's mistakes, that a version without any past to compare with is held to."""


@dataclass(frozen=True, kw_only=True)
class Clue:
    """One e-process: its part of the budget, its log evidence, and what it says."""

    guard: str
    share: float
    evidence: float
    words: str

    @property
    def weight(self) -> float:
        """Log of what it adds to the average."""
        return math.log(self.share) + self.evidence


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
    permitted: float | None = None
    """What that past permits, once there is nothing left to compare with."""
    alone: Wealth = field(default_factory=unexceeded)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """All deciding guards, with what has come of each."""

    criteria: tuple[Criterion, ...]
    before: Fuse | None
    """What the endpoint's errors were like when the candidate got all users; None: not known."""
    positions: Mapping[str, Position]

    @classmethod
    def start(cls, criteria: Sequence[Criterion], before: Fuse | None = None) -> "Standing":
        """Before the first block."""
        deciding = tuple(one for one in criteria if not one.observe)
        positions = {one.guard: _before(one) for one in deciding}
        return cls(criteria=deciding, before=before, positions=positions)

    def after(self, block: Block) -> "Standing":
        """With one more block."""
        positions = dict(self.positions)
        for one in self.criteria:
            if one.source == block.source:
                at = positions[one.guard]
                beside = block.comparable or block.stable.requests or not block.candidate.requests
                after = _compared if beside or block.step <= at.step else self._unaccompanied
                positions[one.guard] = after(one, at, block)
        return replace(self, positions=positions)

    def after_all(self, blocks: Iterable[Block]) -> "Standing":
        """With several more blocks."""
        return reduce(Standing.after, blocks, self)

    def clues(self) -> list[Clue]:
        """Every e-process of the release, with its part of the one budget."""
        shares = _shares(self.criteria)
        found: list[Clue] = []
        for one in self.criteria:
            found += _clues(one, self.positions[one.guard], shares[one.guard])
        return found

    def evidence(self) -> float:
        """Log of the weighted average of all evidence; of no guard at all it is 0."""
        clues = self.clues()
        return weighted((clue.share, clue.evidence) for clue in clues) if clues else 0.0

    def _unaccompanied(self, criterion: Criterion, at: Position, block: Block) -> Position:
        """The candidate at 100 %, where stable has no users to compare with."""
        permitted = at.permitted
        if permitted is None:
            permitted = self._permitted(criterion, at)
        alone, limit = at.alone, at.limit_alone
        dispersion, most = self._bursts(criterion, block)
        values = criterion.alone.observed(block.candidate)
        if permitted is not None and seen(values):
            alone = excess_after(permitted, alone, values, dispersion, most)
        if criterion.limit is not None and seen(criterion.limit.observed(block.candidate)):
            values = criterion.limit.observed(block.candidate)
            limit = excess_after(criterion.limit.permitted, limit, values, dispersion, most)
        return replace(at, permitted=permitted, alone=alone, limit_alone=limit)

    def _bursts(self, criterion: Criterion, block: Block) -> tuple[float, tuple[float, ...]]:
        """How errors clustered before, and the most that each bet may then win by a block.

        What befell the endpoint in bursts, whoever served, may befall it again.
        """
        dispersion, before = criterion.harm[0].comparison.dispersion, self.before
        if before is None or criterion.guard != ERRORS:
            return dispersion, ()
        most = before.most_of(block.closed_at - block.opened_at)
        return max(dispersion, before.dispersion), most

    def _permitted(self, criterion: Criterion, at: Position) -> float | None:
        miss = FALSE_ROLLBACK * MISJUDGED / len(self.criteria)
        permitted = permitted_by(criterion, at.past, miss)
        if criterion.guard != ERRORS:
            return criterion.alone.otherwise if permitted is None else permitted
        # A last compared step of minutes may lie in a trough of what is usual within the hour.
        known = [permitted, self.before.permitted if self.before else None]
        return max((one for one in known if one is not None), default=UNCOMPARED)


def permitted_by(criterion: Criterion, past: Values, miss: float) -> float | None:
    """The mean that stable's past permits at 100 %; None without one.

    Stable's mean is only known from a sample. The highest that this sample allows for is taken
    (the chance that it was higher is `miss`): against the sample's own, hours at 100 % would prove
    its chance error, and call that harm.
    """
    # Clusters make the sample worth fewer observations than it has.
    number, alone = seen(past) / criterion.harm[0].comparison.dispersion, criterion.alone
    if not number:
        return None
    highest = highest_rate(mean(past) * number, number, miss)
    return min(alone.most, highest * (1 + alone.rise) + alone.slack)


def _before(criterion: Criterion) -> Position:
    harm = tuple(Compared(worse=unharmed(question.comparison)) for question in criterion.harm)
    return Position(harm=harm, limit=Compared(worse=unharmed(_fair(criterion))))


def _fair(criterion: Criterion) -> Comparison:
    """The comparison that a hard limit is held beside: no margin, the same clusters."""
    return Comparison(dispersion=criterion.harm[0].comparison.dispersion)


def _compared(criterion: Criterion, at: Position, block: Block) -> Position:
    """The comparisons with stable, and stable's observations on the last compared step."""
    asked = zip(criterion.harm, at.harm, strict=True)
    harm = tuple(
        _after(had, block, question.candidate, question.stable, question.comparison)
        for question, had in asked
    )
    limit = at.limit
    if criterion.limit is not None:
        observed = criterion.limit.observed
        fair, most = _fair(criterion), criterion.limit.permitted
        limit = _after(limit, block, observed, observed, fair, most)
    step, past, permitted = at.step, at.past, at.permitted
    if block.comparable and block.step >= at.step:
        own = criterion.alone.observed(block.stable)
        if block.step > at.step:
            past, permitted = (), None
        step, past = block.step, own + past
    return replace(at, harm=harm, limit=limit, step=step, past=_merged(past), permitted=permitted)


def _after(  # noqa: PLR0913, PLR0917 - one comparison's parts
    had: Compared,
    block: Block,
    candidate: Observed,
    stable: Observed,
    comparison: Comparison,
    permitted: float | None = None,
) -> Compared:
    waiting = had.waiting.after(block, candidate, stable)
    pair = waiting.pair
    if pair is None:
        return replace(had, waiting=waiting)
    over = had.over
    if permitted is not None:
        over = excess_after(permitted, over, pair[0], comparison.dispersion)
    worse = harm_after(comparison, had.worse, pair)
    return Compared(waiting=Waiting(block.span), worse=worse, over=over)


def _merged(values: Values) -> Values:
    """The same observations, each value once."""
    together: dict[float, float] = {}
    for value, count in values:
        together[value] = together.get(value, 0.0) + count
    return tuple(together.items())


def _clues(criterion: Criterion, at: Position, share: float) -> list[Clue]:
    """A guard's e-processes.

    What is won at 100 % multiplies what the comparison left: no block is in both, and each factor
    is fair given all before it.
    """
    limit = LIMITED * share if criterion.limit else 0.0
    each, alone = (share - limit) / len(criterion.harm), at.alone.evidence
    past = criterion.alone.words
    if at.permitted is not None:
        past = f"{past} the {rate_in_words(criterion, at.permitted)} that the past permits"
    found = [
        Clue(
            guard=criterion.guard,
            share=each,
            evidence=had.worse.evidence + alone,
            words=past if alone > had.worse.evidence else question.words,
        )
        for question, had in zip(criterion.harm, at.harm, strict=True)
    ]
    if criterion.limit is not None:
        # Beside stable both must be shown, over the limit and worse than stable; the weaker of two
        # e-processes is one against either null.
        beside = min(at.limit.over.evidence, at.limit.worse.evidence)
        over = weighted([(0.5, at.limit_alone.evidence), (0.5, beside)])
        told = criterion.limit.words
        found.append(Clue(guard=criterion.guard, share=limit, evidence=over, words=told))
    return found


def _shares(criteria: Sequence[Criterion]) -> dict[str, float]:
    """Each guard's part of what is left of the budget, by its name."""
    left = 1 - MISJUDGED
    others = [one.guard for one in criteria if one.guard != ERRORS]
    if len(others) == len(criteria):
        return dict.fromkeys(others, left / len(others)) if others else {}
    shares = {ERRORS: left - OTHERS if others else left}
    return shares | {name: OTHERS / len(others) for name in others}
