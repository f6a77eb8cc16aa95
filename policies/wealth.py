"""Observations of one arm, and the wealth that a test keeps: what all the tests are made of.

A test's wealth is kept in logarithms, a number for each of its bets.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, log1p

from policies.evidence import GRID, Tally

Values = tuple[tuple[float, float], ...]
"""Observations in [0, 1], each with how often it was met. One may be shared between its two
neighbours: the logarithm is concave, so that only ever lowers a wealth."""
START = 0.9
"""Share of the wealth that bets from the first block on; the rest waits for a later onset."""
LATE = 1 / 32
"""Share of the waiting wealth that enters with each block that has requests."""


def binary(seen: float, bad: float) -> Values:
    """Observations that are bad (1) or not (0)."""
    return ((0.0, seen - bad), (1.0, bad))


def rate_of(rate: float, count: float) -> Values:
    """So many observations, parts of one allowed, of which a share is bad."""
    return ((0.0, count * (1 - rate)), (1.0, count * rate))


def spread(tally: Tally) -> Values:
    """The observations of a mean, at the points of the grid."""
    return tuple((index / GRID, part) for index, part in enumerate(tally.mass) if part)


def seen(values: Values) -> float:
    """How many observations there are."""
    return sum(count for _, count in values)


def mean(values: Values) -> float:
    """Their mean; of nothing it is 0."""
    whole = seen(values)
    return sum(value * count for value, count in values) / whole if whole else 0.0


@dataclass(frozen=True, slots=True)
class Wealth:
    """What a test has come to: the log wealth of each bet, and what is needed to go on."""

    bets: tuple[float, ...]
    waiting: float
    """Log of the wealth that has not entered yet; minus infinity where all bets from the start."""
    total: float
    """Sum of stable's observations, decayed."""
    weight: float
    """Number of stable's observations, decayed."""

    @property
    def evidence(self) -> float:
        """Log of the whole wealth."""
        return _log_sum((*self.bets, self.waiting))


def weighted(evidence: Iterable[tuple[float, float]]) -> float:
    """Log of the weighted average of e-processes, from (weight, log evidence) pairs.

    It is an e-process itself, however they depend on each other.
    """
    return _log_sum([math.log(weight) + log for weight, log in evidence])


def started(size: int) -> Wealth:
    """Before the first block: so many bets of equal wealth, and what waits for a later onset."""
    return Wealth((math.log(START / size),) * size, math.log(1 - START), 0.0, 0.0)


def entered(had: Wealth, gains: list[float]) -> Wealth:
    """Let a part of what waits enter, and then all bets gain.

    A regression that begins at a later step is so met by bets that have not lost before it.
    """
    entering = had.waiting + math.log(LATE / len(gains))
    bets = tuple(_log_add(own, entering) + gain for own, gain in zip(had.bets, gains, strict=True))
    return Wealth(bets, had.waiting + log1p(-LATE), had.total, had.weight)


def _log_add(one: float, other: float) -> float:
    if one >= other:
        return one + log1p(exp(other - one))
    return other + log1p(exp(one - other))


def _log_sum(logs: Iterable[float]) -> float:
    logs = tuple(logs)
    high = max(logs)
    return high + math.log(math.fsum(exp(log - high) for log in logs))
