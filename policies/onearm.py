"""The one-arm test, valid at every look: whether one arm's mean is over what is permitted.

With observations x in [0, 1] and the permitted mean p, for bets on a mean of q > p,

    log e = sum log(1 + L (x - p)),    L = (q - p) / (p (1 - p))

which for rates is the likelihood ratio of q to p. Under the null, a mean of p at most, each factor
is at most 1 on average: the wealth is a supermartingale, as in `policies.sequential`.
"""

import math
from collections.abc import Iterable, Sequence
from functools import partial, reduce
from math import log1p

from policies.wealth import Values, Wealth, entered, seen, started

EXCESSES = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)
"""Multiples of the permitted rate that are bet on."""
HALVINGS = 60  # of an interval between 0 and 1, until floats cannot be told apart


def excess(arms: Iterable[Values], permitted: float, dispersion: float = 1.0) -> float:
    """Log evidence that one arm's mean is over `permitted`; for rates, a likelihood ratio."""
    folded = (values for values in arms if seen(values))
    after = partial(excess_after, permitted, dispersion=dispersion)
    return reduce(after, folded, unexceeded()).evidence


def unexceeded() -> Wealth:
    """Before the first block."""
    return started(len(EXCESSES))


def excess_after(
    permitted: float,
    had: Wealth,
    values: Values,
    dispersion: float = 1.0,
    most: Sequence[float] = (),
) -> Wealth:
    """Fold one more block; one in which nothing was seen must not be here.

    `most` is what each bet may win by it at most: less than it won, which is fair too.
    """
    gains = gains_over(permitted, values, dispersion)
    return entered(had, list(map(min, gains, most) if most else gains))


def gains_over(permitted: float, values: Values, dispersion: float = 1.0) -> tuple[float, ...]:
    """What each bet gains by a block."""
    return tuple(
        sum(count * log1p(stake * (value - permitted)) for value, count in values) / dispersion
        for stake in _stakes(permitted)
    )


def each_over(permitted: float) -> tuple[tuple[float, float], ...]:
    """What each bet gains by one observation that is not bad, and by one that is."""
    return tuple(
        (log1p(-stake * permitted), log1p(stake * (1 - permitted))) for stake in _stakes(permitted)
    )


def _stakes(permitted: float) -> list[float]:
    assert 0 < permitted < 1, permitted
    rates = [min(permitted * times, (1 + permitted) / 2) for times in EXCESSES]
    return [(rate - permitted) / (permitted * (1 - permitted)) for rate in rates]


def without_lulls(gains: Iterable[float]) -> list[float]:
    """The same for `worst_stretch`, and shorter: blocks in a row that win nothing are one.

    It asks for what is left of what was won, or nothing; losses in a row leave the same as their
    sum.
    """
    found = [0.0]
    for gain in gains:
        if gain <= 0 and found[-1] <= 0:
            found[-1] += gain
        else:
            found.append(gain)
    return found


def worst_stretch(gains: Iterable[float], most: float) -> float:
    """The most that a bet would have won over any stretch of blocks, at most so much by a block."""
    won = worst = 0.0
    for gain in gains:
        won = max(0.0, won + min(most, gain))
        worst = max(worst, won)
    return worst


def highest_rate(bad: float, observations: float, miss: float) -> float:
    """The highest mean that a sample allows for; the chance that the true one is higher is `miss`.

    Chernoff's bound turned round: the rate at which `observations` times the divergence from the
    sample's rate is log(1 / miss). It holds for any observations in [0, 1] (Hoeffding 1963).
    """
    share = bad / observations if observations else 0.0

    def allowed(rate: float) -> bool:
        divergence = 0.0
        if share > 0:
            divergence += share * math.log(share / rate)
        if share < 1:
            divergence += (1 - share) * (log1p(-share) - log1p(-rate))
        return observations * divergence <= math.log(1 / miss)

    low, high = share, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if middle < 1 and allowed(middle) else (low, middle)
    return high


def interval(bad: float, observations: float, miss: float = 0.05) -> tuple[float, float]:
    """The lowest and the highest mean that a sample allows for; the true one is outside by `miss`.

    Half of the chance is on each side. For telling, of a number that was fixed beforehand: it is
    not valid at every look, as the tests are.
    """
    low = 1 - highest_rate(observations - bad, observations, miss / 2)
    return max(0.0, low), highest_rate(bad, observations, miss / 2)
