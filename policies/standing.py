"""Where a release stands: the wealth of every test for harm, as a fold of its blocks.

Each block is folded in once. Folding on from any point gives bit for bit what folding all blocks
anew gives, so whoever keeps a standing keeps nothing but time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from policies.bounds import FALSE_ROLLBACK
from policies.criterion import Criterion, Limit, Observed
from policies.evidence import Arm, Block
from policies.fuse import Fuse
from policies.guards import ERRORS
from policies.onearm import excess_after, highest_rate
from policies.position import MISJUDGED, Clue, Compared, Position, Waiting, clues_of, shares
from policies.sequential import Comparison, harm_after, unharmed
from policies.wealth import Values, mean, seen, weighted

MOST_BROKEN = 0.95
"""A hard limit that stable breaks as well still leaves something to show."""
UNCOMPARED = 0.2
"""Error rate, whoever's mistakes, that a version without any past to compare with is held to."""


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

    def after(self, *blocks: Block) -> "Standing":
        """With more blocks."""
        positions = dict(self.positions)
        for block in blocks:
            for one in self.criteria:
                if one.source == block.source and not block.mixed:
                    at = positions[one.guard]
                    after = self._unaccompanied if block.whole else _compared
                    positions[one.guard] = after(one, at, block)
        return replace(self, positions=positions)

    def clues(self) -> list[Clue]:
        """Every e-process of the release, with its part of the one budget."""
        parts = shares(self.criteria)
        found: list[Clue] = []
        for one in self.criteria:
            found += clues_of(one, self.positions[one.guard], parts[one.guard])
        return found

    def evidence(self) -> float:
        """Log of the weighted average of all evidence; of no guard at all it is 0."""
        clues = self.clues()
        return weighted((clue.share, clue.evidence) for clue in clues) if clues else 0.0

    def over_limit(self, criterion: Criterion, limit: Limit, arm: Arm) -> bool:
        """Whether what was counted of the candidate lies above a guard's hard limit, proven or not.

        Where stable was seen to break it as well, by over the margin above stable's share: what its
        requests allow for is for proof alone, and after bursts all but anything. A relative margin
        is none of shares: there the comparison with stable is all that is left. One bad request is
        no rate.
        """
        past, permitted = self.positions[criterion.guard].past_limit, limit.permitted
        if mean(past) * seen(past) > max(1, permitted * seen(past)):
            if criterion.relative:
                return False
            permitted = mean(past) + criterion.margin
        values = limit.observed(arm)
        number = seen(values)
        return mean(values) * number > max(1, permitted * number)

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
            limit = excess_after(self._limited(criterion, at), limit, values, dispersion, most)
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

    def _miss(self, criterion: Criterion) -> float:
        """The chance that one bound on a guard's past may fail: a hard limit takes a second one.

        The bounds are proven for samples whose sizes were fixed beforehand, while this one ends
        when safety is shown: that they fail no oftener then is simulated, and not proven.
        """
        bounds = 1 if criterion.limit is None else 2
        return FALSE_ROLLBACK * MISJUDGED / len(self.criteria) / bounds

    def _limited(self, criterion: Criterion, at: Position) -> float:
        """The hard limit, or what stable was seen to do that itself breaks it."""
        assert criterion.limit is not None, "asked of a guard that has one"
        # What stable's few requests allow for is no licence: it must have broken the limit itself.
        share = mean(at.past_limit)
        if share <= criterion.limit.permitted:
            return criterion.limit.permitted
        number = seen(at.past_limit) / criterion.harm[0].comparison.dispersion
        return min(MOST_BROKEN, highest_rate(share * number, number, self._miss(criterion)))

    def _permitted(self, criterion: Criterion, at: Position) -> float | None:
        permitted = permitted_by(criterion, at.past, self._miss(criterion))
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
    at = replace(at, harm=harm, limit=limit)
    return _remembered(criterion, at, block) if block.comparable else at


def _remembered(criterion: Criterion, at: Position, block: Block) -> Position:
    """With stable's observations of a block, where it is of the last compared step."""
    if block.step < at.step:
        return at
    if block.step > at.step:
        at = replace(at, past=(), past_limit=(), permitted=None)
    past, own = at.past_limit, criterion.alone.observed(block.stable)
    if criterion.limit is not None:
        past = _merged(criterion.limit.observed(block.stable) + past)
    return replace(at, step=block.step, past=_merged(own + at.past), past_limit=past)


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
