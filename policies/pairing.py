"""Answers of both versions to the same questions: whether the candidate's are worse on average."""

from collections.abc import Iterable
from math import log1p

from policies.sequential import STAKES
from policies.wealth import weighted


def paired_differences(differences: Iterable[tuple[float, float]], margin: float) -> float:
    """Log evidence that paired differences (candidate's minus stable's) average over `margin`.

    For answers to the same questions, each difference in [-1, 1] with how often it was met:
    log e = sum log(1 + L (d - margin)) with L < 1 / (1 + margin), averaged over bets.
    """
    found = tuple(differences)
    stakes = [share / (1 + margin) for share in STAKES]
    return weighted(
        (1 / len(stakes), sum(count * log1p(stake * (value - margin)) for value, count in found))
        for stake in stakes
    )
