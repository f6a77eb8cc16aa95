"""Tests that are valid at every look: two-arm and one-arm betting e-processes.

Each test bets against its null hypothesis, block by block; in every pair both arms saw requests.
Its wealth is a non-negative supermartingale starting at 1 as long as the null holds, so by
Ville's inequality the chance that it ever reaches 1/a is at most a, however often one looks and
whenever one stops. Wealth is a pure fold of immutable blocks, kept in logarithms.

Two arms, rare events: with candidate counts (n_c, k_c), stable counts (n_b, k_b) of one closed
window, r = n_c / n_b from the *observed* counts, and an absolute margin d,

    log e = k_c log(1 + L) + k_b log(1 - L r) - n_c d L                                     (2)

For L > 0 it bets on harm (null: p_c <= p_b + d); for -1 < L < 0 on safety (null: p_c >= p_b + d).
Proof: given the counts n, 1 + u <= exp(u) gives E[(1 + L)^k_c] <= exp(n_c L p_c) and
E[(1 - L r)^k_b] <= exp(-n_b L r p_b), whose product is exp(n_c L (p_c - p_b)); the last term
brings it to exp(n_c L (p_c - p_b - d)) <= 1 under either null. Nothing is asked of p_b, which may
drift or burst from block to block as it likes.
"""

import math
from collections.abc import Callable, Iterable

from policies.evidence import NOTHING, Arm, Pair

EFFECTS = tuple(2.0**power for power in range(-2, 8))
"""Relative harms that are bet on: rates from 1.25 to 129 times stable's."""
STAKES = (0.15, 0.3, 0.5, 0.7, 0.85, 0.97)
"""Shares of the wealth that safety stakes on the candidate's making no error."""
EXCESSES = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)
"""Multiples of the permitted rate that the one-arm test bets on."""
START = 0.5
"""Share of the wealth that bets from the first block on; the rest waits for a later onset."""
LATE = 1 / 64
"""Share of the waiting wealth that enters with each block that has requests."""


HALVINGS = 60
"""Of an interval between 0 and 1, until floats cannot be told apart."""


def harm(pairs: Iterable[Pair], margin: float) -> float:
    """Log evidence that the candidate errs more than stable by over `margin` (in shares)."""

    def bets(candidate: Arm, stable: Arm) -> list[float]:
        ratio = candidate.requests / stable.requests
        stakes = [effect / (1 + ratio * (1 + effect)) for effect in EFFECTS]
        return [_two_arm(candidate, stable, ratio, stake, margin) for stake in stakes]

    return _late_mixture(pairs, bets, len(EFFECTS))


def safety(pairs: Iterable[Pair], margin: float) -> float:
    """Log evidence that the candidate errs more than stable by less than `margin` (in shares)."""
    return log_mean(safety_wealths(pairs, margin))


def safety_wealths(pairs: Iterable[Pair], margin: float) -> list[float]:
    """Log wealth of each safety bet, in the order of `STAKES`."""
    wealths = [0.0] * len(STAKES)
    for candidate, stable in pairs:
        ratio = candidate.requests / stable.requests
        for index, stake in enumerate(STAKES):
            wealths[index] += _two_arm(candidate, stable, ratio, -stake, margin)
    return wealths


def excess(
    arms: Iterable[Arm], permitted: float, count: Callable[[Arm], int], dispersion: float = 1.0
) -> float:
    """Log evidence that an arm's rate is over `permitted` (one arm, likelihood ratio).

    `count` picks what is counted of an arm: its errors, or its server errors. Counts that come in
    bursts have a `dispersion` above 1, which every gain is divided by: the root of a
    supermartingale is one too, by Jensen's inequality.
    """
    assert 0 < permitted < 1, permitted
    highest = [min(permitted * times, (1 + permitted) / 2) for times in EXCESSES]

    def bets(arm: Arm, _: Arm) -> list[float]:
        bad = count(arm)
        good = arm.requests - bad
        return [
            (
                bad * math.log(rate / permitted)
                + good * math.log1p(-rate)
                - good * math.log1p(-permitted)
            )
            / dispersion
            for rate in highest
        ]

    return _late_mixture(((arm, NOTHING) for arm in arms if arm.requests), bets, len(EXCESSES))


def highest_rate(bad: int, requests: int, miss: float) -> float:
    """The highest rate that a sample allows for; the chance that the true one is higher is `miss`.

    Chernoff's bound turned round: the rate at which `requests` times the divergence from the
    sample's rate is log(1 / miss).
    """
    share = bad / requests if requests else 0.0

    def allowed(rate: float) -> bool:
        divergence = 0.0
        if share > 0:
            divergence += share * math.log(share / rate)
        if share < 1:
            divergence += (1 - share) * (math.log1p(-share) - math.log1p(-rate))
        return requests * divergence <= math.log(1 / miss)

    low, high = share, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if middle < 1 and allowed(middle) else (low, middle)
    return high


def clean_requests_needed(wealths: list[float], margin: float, goal: float) -> int:
    """How many more candidate requests, all without error, bring safety to a log evidence.

    Without errors each bet gains `stake * margin` per candidate request; the mean is searched for.
    """

    def reached(requests: int) -> bool:
        grown = zip(wealths, STAKES, strict=True)
        return log_mean([wealth + requests * stake * margin for wealth, stake in grown]) >= goal

    if reached(0):
        return 0
    high = 1
    while not reached(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _two_arm(candidate: Arm, stable: Arm, ratio: float, stake: float, margin: float) -> float:
    """Formula (2) for one bet and one block."""
    return (
        candidate.errors * math.log1p(stake)
        + stable.errors * math.log1p(-stake * ratio)
        - candidate.requests * margin * stake
    )


def _late_mixture(
    blocks: Iterable[Pair], bets: Callable[[Arm, Arm], list[float]], size: int
) -> float:
    """Log wealth of an even mixture over bets, half of it entering block by block.

    A regression that begins at a later step is then met by bets that have not lost before it.
    """
    started = [math.log(START / size)] * size
    waiting = math.log(1 - START)
    for candidate, stable in blocks:
        entering = waiting + math.log(LATE / size)
        waiting += math.log1p(-LATE)
        gains = bets(candidate, stable)
        started = [_log_add(own, entering) + gain for own, gain in zip(started, gains, strict=True)]
    return _log_sum([*started, waiting])


def _log_add(one: float, other: float) -> float:
    high, low = max(one, other), min(one, other)
    return high + math.log1p(math.exp(low - high))


def _log_sum(logs: list[float]) -> float:
    high = max(logs)
    return high + math.log(math.fsum(math.exp(log - high) for log in logs))


def log_mean(logs: list[float]) -> float:
    """Log of the even average of e-processes."""
    return _log_sum(logs) - math.log(len(logs))


def weighted(evidence: Iterable[tuple[float, float]]) -> float:
    """Log of the weighted average of e-processes, from (weight, log evidence) pairs.

    An average of e-processes is an e-process under any dependence between them.
    """
    return _log_sum([math.log(weight) + log for weight, log in evidence])
