"""How much more than chance errors come in clusters: retries of one failure, above all.

Neighbouring minutes of the day before a release stand for the two arms: what changes slowly, and an
outage that both arms share, cancels between them, while retries of one failure do not. Given the
errors of two minutes, chance alone shares them out as coins do; their squared difference, over what
coins have on average, is 1 in the mean, and for clusters as much as the dispersion.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import NamedTuple

from policies.fuse import DAY, Minute

PRIOR = 7.0
"""Pseudo-counts that hold the dispersion of a short history near 1: what trimming leaves of the 20
that the A/A study has."""
TRIMMED = 0.2
"""Part of the differences that is left out: an outage begins and ends between two minutes."""
HEAVIEST = 3.0
"""Times the median that a pair of minutes may weigh: those within an outage have most errors."""
FEW, FINE = 30, 20
"""Errors of two minutes above which coins are as good as normal, and the parts that the normal is
then cut into."""
NORMAL = tuple(NormalDist().inv_cdf(0.5 + (part + 0.5) / FINE / 2) ** 2 for part in range(FINE))


class Share(NamedTuple):
    """A squared difference, over its mean by chance; how likely it is, and what it weighs."""

    ratio: float
    chance: float
    weight: float


def clusters(before: Iterable[Minute]) -> float:
    """How much more than chance errors come in clusters, by the day before a release; from 1.

    The largest fifth of the differences is left out, and what is left is held against what would
    be left of chance alone. That is counted out: where two minutes have an error or two, coins
    have no tail to lose.
    """
    minutes = sorted(before, key=lambda one: one.ends_at)[-DAY:]
    both = [
        (one, other)
        for one, other in zip(minutes[::2], minutes[1::2], strict=False)
        if one.errors + other.errors and one.requests and other.requests
    ]
    if not both:
        return 1.0
    expected = [_expected(one, other) for one, other in both]
    most = HEAVIEST * sorted(expected)[len(expected) // 2]
    weights = [min(one, most) for one in expected]
    met = [_met(*pair, weight) for pair, weight in zip(both, weights, strict=True)]
    by_chance = [
        one for pair, weight in zip(both, weights, strict=True) for one in _by_chance(*pair, weight)
    ]
    kept = (1 - TRIMMED) * len(both)
    return max(1.0, (PRIOR + _least(met, kept)) / (PRIOR + _least(by_chance, kept)))


def _expected(one: Minute, other: Minute) -> float:
    """The mean of the squared difference by chance: of the first minute's errors from its share."""
    share = one.requests / (one.requests + other.requests)
    return (one.errors + other.errors) * share * (1 - share)


def _met(one: Minute, other: Minute, weight: float) -> Share:
    errors = one.errors + other.errors
    share = one.requests / (one.requests + other.requests)
    return Share((one.errors - errors * share) ** 2 / _expected(one, other), 1.0, weight)


def _by_chance(one: Minute, other: Minute, weight: float) -> list[Share]:
    """All that coins could have made of the two minutes' errors."""
    errors = one.errors + other.errors
    if errors > FEW:
        mean = math.fsum(NORMAL) / FINE
        return [Share(square / mean, 1 / FINE, weight) for square in NORMAL]
    share, expected = one.requests / (one.requests + other.requests), _expected(one, other)
    return [
        Share(
            (first - errors * share) ** 2 / expected,
            math.comb(errors, first) * share**first * (1 - share) ** (errors - first),
            weight,
        )
        for first in range(errors + 1)
    ]


def _least(shares: Sequence[Share], kept: float) -> float:
    """The weighted sum of the smallest ratios, until so many differences are in it."""
    found = 0.0
    for one in sorted(shares):
        part = min(one.chance, kept)
        found, kept = found + one.ratio * part * one.weight, kept - part
    return found
