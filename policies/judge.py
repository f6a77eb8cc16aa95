"""Judging: whether the candidate is worse, or shown to be no worse than a step's margins.

Two questions, two tests. *Harm* is one false-rollback budget over all guards and the whole release:
the weighted average of all evidence closes the gate. *Safety* is each guard's own, on one step's
blocks alone: every deciding guard must show it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from policies.bounds import CLOSES, FALSE_PASS, FALSE_ROLLBACK, OPENS
from policies.criterion import Criterion, charged, pairs, pairs_of
from policies.evidence import Arm, Block, total
from policies.guards import ERRORS
from policies.outlook import missing
from policies.sequential import (
    Comparison,
    excess,
    harm,
    highest_rate,
    mean,
    safety_wealth,
    seen,
    weighted,
)
from policies.telling import counts, odds, rate_in_words, shown, tell, wait
from policies.verdict import Outcome, Verdict

MISJUDGED = 0.1
"""Part of the false-rollback budget for judging stable's past lower than it was."""
OTHERS = 0.2
"""Part of the budget for all guards but errors, which find most and do most harm."""
COMPARED, ALONE = 0.75, 0.1
"""Of a guard's part: the comparison with stable, and stable's past; the rest is its hard limit's.
A guard without a limit compares with that, too."""
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


def harmful(
    criteria: Sequence[Criterion], blocks: tuple[Block, ...], past: float | None = None
) -> Verdict | None:
    """FAIL once the evidence of harm, over the whole release, reaches its bound; else None.

    `past` is the error rate that the hour before permits, for a release that compares nothing.
    The guard that adds most to the average is named; so is any other that would do alone.
    """
    clues = evidence(criteria, blocks, past)
    if not clues:
        return None
    whole = weighted((clue.share, clue.evidence) for clue in clues)
    if whole < CLOSES:
        return None
    heaviest = max(clues, key=lambda clue: clue.weight)
    blamed = next(one for one in criteria if one.guard == heaviest.guard)
    own = of_source(blamed, blocks)
    also = {clue.guard for clue in clues if clue.weight >= CLOSES} - {blamed.guard}
    others = f"; {', '.join(sorted(also))} alone would do as well" if also else ""
    because = f"{tell(blamed, own)}: {heaviest.words}, evidence {odds(whole)}{others}"
    numbers = {**counts(blamed, own), "evidence": shown(whole), "closes_at": 1 / FALSE_ROLLBACK}
    return Verdict(outcome=Outcome.FAIL, guard=blamed.guard, because=because, numbers=numbers)


def evidence(
    criteria: Sequence[Criterion], blocks: tuple[Block, ...], past: float | None = None
) -> list[Clue]:
    """Every e-process of the release, with its part of the one budget."""
    deciding = [one for one in criteria if not one.observe]
    shares = _shares(deciding)
    found: list[Clue] = []
    for one in deciding:
        own, share = of_source(one, blocks), shares[one.guard]
        alone = ALONE * share
        limit = (1 - COMPARED - ALONE) * share if one.limit else 0.0
        compared = (share - alone - limit) / len(one.harm)
        found += [
            Clue(
                guard=one.guard,
                share=compared,
                evidence=harm(question.comparison, pairs(question, own)),
                words=question.words,
            )
            for question in one.harm
        ]
        found.append(_alone(one, own, alone, past if one.guard == ERRORS else None, len(deciding)))
        if one.limit:
            over = _over_limit(one, own)
            found.append(Clue(guard=one.guard, share=limit, evidence=over, words=one.limit.words))
    return found


def no_worse(
    criterion: Criterion, blocks: tuple[Block, ...], *, weight: int, pace: float | None
) -> Verdict:
    """PASS once the step's own blocks show the candidate within the step's margin of stable.

    `blocks` are those of the present span only; `pace` is the endpoint's requests per second,
    from which the wait is told. Errors that only the metrics saw are put on the candidate.
    """
    own = tuple(charged(block) for block in of_source(criterion, blocks))
    question = criterion.safety(weight)
    wealth = safety_wealth(question.comparison, pairs(question, own))
    numbers: dict[str, float | int] = {
        **counts(criterion, own),
        "margin": criterion.margin_at(weight),
        "evidence": shown(wealth.evidence),
        "opens_at": 1 / FALSE_PASS,
    }
    told = (
        f"{tell(criterion, own)}: within {criterion.within(weight)}, "
        f"evidence {odds(wealth.evidence)}"
    )
    if wealth.evidence >= OPENS:
        outcome = Outcome.PASS
        return Verdict(outcome=outcome, guard=criterion.guard, because=told, numbers=numbers)
    lacking = missing(criterion, own, wealth, weight)
    because = f"{told} of {1 / FALSE_PASS:.0f}:1; {wait(lacking, weight, pace, numbers)}"
    return Verdict(
        outcome=Outcome.INSUFFICIENT, guard=criterion.guard, because=because, numbers=numbers
    )


def permitted_rate(
    criterion: Criterion, blocks: tuple[Block, ...], miss: float = FALSE_ROLLBACK * MISJUDGED
) -> float | None:
    """The mean that stable's last compared step permits at 100 %; None without one.

    Stable's mean is only known from a sample. The highest that this sample allows for is taken:
    against the sample's own, hours at 100 % would prove its chance error, and call that harm.
    """
    last = _last_compared(blocks)
    if last is None:
        return None
    _, stable = total(block for block in blocks if block.comparable and block.step == last)
    values, alone = criterion.alone.observed(stable), criterion.alone
    if not seen(values):
        return None
    bad = mean(values) * seen(values)
    highest = highest_rate(bad, seen(values), miss)
    return min(0.5, highest * (1 + alone.rise) + alone.slack)


def of_source(criterion: Criterion, blocks: Iterable[Block]) -> tuple[Block, ...]:
    """The blocks of the guard's own counting source."""
    return tuple(block for block in blocks if block.source == criterion.source)


def _shares(criteria: Sequence[Criterion]) -> dict[str, float]:
    """Each guard's part of what is left of the budget, by its name."""
    left = 1 - MISJUDGED
    others = [one.guard for one in criteria if one.guard != ERRORS]
    if len(others) == len(criteria):
        return dict.fromkeys(others, left / len(others)) if others else {}
    shares = {ERRORS: left - OTHERS if others else left}
    return shares | {name: OTHERS / len(others) for name in others}


def _alone(
    criterion: Criterion, blocks: tuple[Block, ...], share: float, past: float | None, tests: int
) -> Clue:
    """The candidate at 100 %, against what stable's past permits."""
    alone = criterion.alone
    permitted = permitted_rate(criterion, blocks, FALSE_ROLLBACK * MISJUDGED / tests)
    if permitted is None:
        permitted = past or alone.otherwise
    if permitted is None and criterion.guard == ERRORS:
        permitted = UNCOMPARED
    if permitted is None:
        return Clue(guard=criterion.guard, share=share, evidence=0.0, words=alone.words)
    dispersion = criterion.harm[0].comparison.dispersion
    found = excess((alone.observed(arm) for arm in _unaccompanied(blocks)), permitted, dispersion)
    words = f"{alone.words} the {rate_in_words(criterion, permitted)} that the past permits"
    return Clue(guard=criterion.guard, share=share, evidence=found, words=words)


def _over_limit(criterion: Criterion, blocks: tuple[Block, ...]) -> float:
    """Log evidence against the hard limit: alone, and beside a stable that does better.

    Beside stable both must be shown, over the limit and worse than stable; the weaker of two
    e-processes is one against either null.
    """
    limit = criterion.limit
    assert limit is not None, "asked for those that have one"
    dispersion = criterion.harm[0].comparison.dispersion
    alone = excess(map(limit.observed, _unaccompanied(blocks)), limit.permitted, dispersion)
    found = pairs_of(limit.observed, limit.observed, blocks)
    over = excess((candidate for candidate, _ in found), limit.permitted, dispersion)
    worse = harm(Comparison(dispersion=dispersion), found)
    return weighted([(0.5, alone), (0.5, min(over, worse))])


def _last_compared(blocks: Iterable[Block]) -> int | None:
    return max((block.step for block in blocks if block.comparable), default=None)


def _unaccompanied(blocks: tuple[Block, ...]) -> list[Arm]:
    """The candidate's counts at 100 %, where stable has no users to compare with."""
    last = _last_compared(blocks) or 0
    return [block.candidate for block in blocks if block.step > last and not block.stable.requests]
