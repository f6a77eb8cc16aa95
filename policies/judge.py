"""Judging: whether the candidate is worse, or shown to be no worse than a step's margins.

Two questions, two tests. *Harm* is one false-rollback budget over all guards and the whole release:
the weighted average of all evidence closes the gate. *Safety* is each guard's own, on one step's
blocks alone: every deciding guard must show it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from policies.bounds import CLOSES, FALSE_PASS, FALSE_ROLLBACK, LEANS, OPENS
from policies.criterion import Criterion, charged, pairs
from policies.evidence import NOTHING, Block, total
from policies.fuse import Fuse
from policies.outlook import missing
from policies.sequential import safety_wealth
from policies.standing import Standing
from policies.telling import counts, mostly, odds, shown, tell, wait
from policies.verdict import Outcome, Verdict


def harmful(
    criteria: Sequence[Criterion], blocks: tuple[Block, ...], before: Fuse | None = None
) -> Verdict | None:
    """FAIL once the evidence of harm, over the whole release, reaches its bound; else None.

    `before` is the fuse that was set when the candidate got all users: by it the endpoint's own
    errors of before are known.
    The guard that adds most to the average is named; so is any other that would do alone.
    """
    standing = Standing.start(criteria, before).after(*blocks)
    return verdict_of(standing, blocks)


def leaning(standing: Standing) -> bool:
    """Whether the evidence of harm is too strong to open a step, though too weak to close it."""
    return standing.evidence() > LEANS


def over_limits(standing: Standing, blocks: Iterable[Block]) -> list[Verdict]:
    """Which guards' hard limits the counts of `blocks` lie above, though harm is not proven.

    A stay like that is not within its limits, however little it proves.
    """
    found: list[Verdict] = []
    for one in standing.criteria:
        if one.limit is None:
            continue
        arms = total(of_source(one, blocks))
        if standing.over_limit(one, one.limit, arms[0]):
            because = f"{tell(one.limit.telling, arms)}: {one.limit.words}, not proven yet"
            found.append(Verdict(outcome=Outcome.INSUFFICIENT, guard=one.guard, because=because))
    return found


def verdict_of(standing: Standing, blocks: tuple[Block, ...]) -> Verdict | None:
    """The same, of blocks that were folded already."""
    whole = standing.evidence()
    if whole < CLOSES:
        return None
    clues, criteria = standing.clues(), standing.criteria
    heaviest = max(clues, key=lambda clue: clue.weight)
    blamed = next(one for one in criteria if one.guard == heaviest.guard)
    own = [one for one in of_source(blamed, blocks) if one.whole == heaviest.alone]
    if heaviest.alone:
        # What was seen of the version alone; a stray request of stable's compares nothing.
        own = [replace(one, stable=NOTHING) for one in own]
    arms = total(own)
    also = {clue.guard for clue in clues if clue.weight >= CLOSES} - {blamed.guard}
    others = f"; {', '.join(sorted(also))} alone would do as well" if also else ""
    where = " at 100 %" if heaviest.alone else ""
    told = (
        f"{tell(heaviest.telling, arms)}{where}: {heaviest.words}{mostly(heaviest.telling, arms)}, "
        f"evidence {odds(whole)} of {odds(CLOSES)}"
    )
    because = f"{told}{others}"
    numbers = {
        **counts(blamed.guard, heaviest.telling, arms),
        "evidence": shown(whole),
        "closes_at": 1 / FALSE_ROLLBACK,
    }
    if heaviest.permitted is not None:
        numbers["permitted_rate"] = round(heaviest.permitted, 6)
    return Verdict(outcome=Outcome.FAIL, guard=blamed.guard, because=because, numbers=numbers)


def no_worse(
    criterion: Criterion,
    blocks: tuple[Block, ...],
    *,
    weight: int,
    pace: float | None,
    lag: timedelta = timedelta(),
) -> Verdict:
    """PASS once the step's own blocks show the candidate within the step's margin of stable.

    `blocks` are those of the present span only; `pace` is the endpoint's requests per second, and
    `lag` how late its source is, from which the wait is told. Errors that only the metrics saw are
    put on the candidate.
    """
    own = tuple(charged(block) for block in of_source(criterion, blocks))
    arms, question = total(own), criterion.safety(weight)
    likely = question.likely(weight) if question.known else None
    wealth = safety_wealth(question.comparison, pairs(question, own), likely)
    numbers: dict[str, float | int] = {
        **counts(criterion.guard, criterion.telling, arms),
        "margin": criterion.margin_at(weight),
        "evidence": shown(wealth.evidence),
        "opens_at": 1 / FALSE_PASS,
    }
    told = (
        f"{tell(criterion.telling, arms)}: within {criterion.within(weight)}, "
        f"evidence {odds(wealth.evidence)} of {odds(OPENS)}"
    )
    if wealth.evidence >= OPENS:
        outcome = Outcome.PASS
        return Verdict(outcome=outcome, guard=criterion.guard, because=told, numbers=numbers)
    lacking = missing(criterion, own, wealth, weight)
    because = f"{told}; {wait(lacking, weight, pace, lag, numbers)}"
    return Verdict(
        outcome=Outcome.INSUFFICIENT, guard=criterion.guard, because=because, numbers=numbers
    )


def of_source(criterion: Criterion, blocks: Iterable[Block]) -> tuple[Block, ...]:
    """The blocks of the guard's own counting source that may be tested."""
    return tuple(one for one in blocks if one.source == criterion.source and not one.mixed)
