"""How far a proof is off: the requests that it still needs, if both arms go on as expected."""

from dataclasses import replace

from policies.bounds import OPENS
from policies.criterion import Criterion, Question
from policies.evidence import Block, total
from policies.sequential import guessed, safety_gains
from policies.wealth import Values, Wealth, mean, seen, weighted

FARTHEST = 1 << 40
"""Requests beyond which nothing is foretold."""


def missing(
    criterion: Criterion, blocks: tuple[Block, ...], wealth: Wealth, weight: int
) -> int | None:
    """Candidate requests still needed, if it does as stable does; without error while unknown."""
    question = criterion.safety(weight)
    _, stable = total(blocks)
    as_stable = _one(question.candidate(stable)), _one(question.stable(stable))
    expected = as_stable if seen(question.stable(stable)) else question.expected
    return requests_needed(replace(question, expected=expected), weight, wealth)


def _one(values: Values) -> Values:
    """The observations as parts of one."""
    whole = seen(values)
    return tuple((value, count / whole) for value, count in values) if whole else ()


def requests_needed(question: Question, weight: int, wealth: Wealth | None = None) -> int | None:
    """Candidate requests until safety is shown, if both arms go on as expected; None: never.

    `wealth` is what the test has come to; None: it has not begun.
    """
    likely = question.likely(weight)
    wealth = wealth or question.unproven(weight)
    comparison = question.comparison
    guess = guessed(comparison, wealth) if wealth.weight else mean(likely[1])
    growth = safety_gains(comparison, guess, likely)

    def reached(requests: int) -> bool:
        grown = [had + requests * gain for had, gain in zip(wealth.bets, growth, strict=True)]
        return weighted((1.0, one) for one in grown) >= OPENS

    if reached(0):
        return 0
    high = 1
    while not reached(high):
        high *= 2
        if high > FARTHEST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
