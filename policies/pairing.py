"""Answers of both versions to the same questions: whether the candidate's are worse on average.

With paired differences d (candidate's minus stable's) in [-1, 1] and a margin m,

    harm (null: their mean is m at most):    log e = sum log(1 + L (d - m)),  L < 1 / (1 + m)
    safety (null: their mean is m or more):  log e = sum log(1 - L (d - m)),  L < 1 / (1 - m)

Each factor is 1 on average at most, whatever came before it: both are valid at every look. The
stakes are fixed, so that neither hangs on the order in which the pairs came.
"""

import math
from collections.abc import Iterable, Sequence
from math import log1p

from policies.sequential import STAKES, TRUST
from policies.wealth import weighted

Differences = tuple[tuple[float, float], ...]
"""Paired differences in [-1, 1], rising, each with how often it was met; parts allowed."""
GRID = 32
"""Steps from 0 to 1 on which differences are kept. One in between is shared by its neighbours,
which lowers every wealth: the logarithm is concave."""
ALIKE = (*(0.5 / (len(STAKES) - 1),) * (len(STAKES) - 1), TRUST)
"""Shares of a safety test's wealth where a pair is hardly ever different: half of it on the highest
stake, which is then the one that gains the most."""
EVEN = (1 / len(STAKES),) * len(STAKES)


def paired_differences(
    differences: Iterable[tuple[float, float]], margin: float, shares: Sequence[float] = EVEN
) -> float:
    """Log evidence that paired differences (candidate's minus stable's) average over `margin`.

    `shares` are those of the wealth that the stakes have, in the order of `STAKES`.
    """
    found = tuple(differences)
    stakes = [share / (1 + margin) for share in STAKES]
    return weighted(
        (share, sum(count * log1p(stake * (value - margin)) for value, count in found))
        for share, stake in zip(shares, stakes, strict=True)
    )


def paired_safety(
    differences: Iterable[tuple[float, float]], margin: float, shares: Sequence[float] = EVEN
) -> float:
    """Log evidence that paired differences average less than `margin`: harm's test, mirrored."""
    mirrored = ((-value, count) for value, count in differences)
    return paired_differences(mirrored, -margin, shares)


def with_difference(had: Differences, value: float) -> Differences:
    """The differences with one more, which is shared by its two neighbours on the grid."""
    at = max(-1.0, min(1.0, value)) * GRID
    below = math.floor(at)
    parts = {below: 1 - (at - below), below + 1: at - below}
    counts = dict(had)
    for index, part in parts.items():
        if part:
            counts[index / GRID] = counts.get(index / GRID, 0.0) + part
    return tuple(sorted(counts.items()))


def average(differences: Differences) -> float:
    """Their mean; of nothing it is 0."""
    whole = sum(count for _, count in differences)
    return sum(value * count for value, count in differences) / whole if whole else 0.0
