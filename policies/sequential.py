"""Tests that are valid at every look: two-arm and one-arm betting e-processes.

Each test bets against its null hypothesis, block by block. Its wealth is a non-negative
supermartingale starting at 1 as long as the null holds, so by Ville's inequality the chance that
it ever reaches 1/a is at most a, however often one looks and whenever one stops. Wealth is a pure
fold of immutable blocks, kept in logarithms; whatever was folded may be kept and folded on.

Two arms see observations x in [0, 1] in one closed window: n_c of the candidate with mean p_c, n_b
of stable with mean p_b; r = n_c / n_b from the *observed* counts. With a relative margin t, an
absolute margin d, and any guess m of p_b that was made before the window,

    log e = sum_c log(1 + L (x - t m - d)) + sum_b log(1 - L t r (x - m))                   (1)
    log e = sum_c log(1 + L x) + sum_b log(1 - L t r x) - n_c d L                           (2)

For L > 0 they bet on harm (null: p_c <= t p_b + d), for L < 0 on safety (null: p_c >= t p_b + d).
Proof of (1): given the counts n, 1 + u <= exp(u) bounds the mean of e by
exp(n_c L (p_c - t m - d) - n_b L t r (p_b - m)) = exp(n_c L (p_c - t p_b - d)) <= 1: the guess
cancels, so a wrong one costs power, never validity. (2) is the same with m = 0 and the margin
taken out; it is the sharper one for rare events. Nothing is asked of p_b, which may drift or burst
from block to block as it likes.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial, reduce
from math import exp, log1p

from policies.evidence import GRID, Tally

Values = tuple[tuple[float, float], ...]
"""Observations in [0, 1], each with how often it was met. One may be shared between its two
neighbours: the logarithm is concave, so that only ever lowers a wealth."""
Pair = tuple[Values, Values]
"""The candidate's and stable's observations over the same minutes."""

EFFECTS = (0.3, 1.0, 3.0, 9.0, 27.0)
"""Relative harms that are bet on. Where harm is large a coarse grid costs a request or two; where
it is small each bet more costs the others a share."""
STAKES = (0.15, 0.3, 0.5, 0.7, 0.85, 0.97)
"""Shares of the wealth that safety stakes on the candidate's doing no worse."""
EXCESSES = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)
"""Multiples of the permitted rate that the one-arm test bets on."""
START = 0.7
"""Share of the wealth that bets from the first block on; the rest waits for a later onset."""
LATE = 1 / 64
"""Share of the waiting wealth that enters with each block that has requests."""
RARE = 0.05
"""Means below this are judged by (2), others by (1)."""
BOUND = 0.95
"""Of the largest stake that cannot lose everything at once."""
MEMORY = 0.9
"""What the guess of stable's mean keeps of its weight from block to block."""
PRIOR = 50.0
"""Observations that the first guess is worth."""
HALVINGS = 60  # of an interval between 0 and 1, until floats cannot be told apart


def binary(seen: int, bad: int) -> Values:
    """Observations that are bad (1) or not (0)."""
    return ((0.0, seen - bad), (1.0, bad))


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


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A two-arm null hypothesis: the candidate's mean is `ratio` times stable's plus `margin`."""

    margin: float = 0.0
    ratio: float = 1.0
    guess: float = 0.0
    """What is taken for stable's mean before any was seen."""
    dispersion: float = 1.0
    """How much more than chance observations come in clusters; every gain is divided by it. The
    root of a supermartingale is one too, by Jensen's inequality."""

    @property
    def effects(self) -> tuple[float, ...]:
        """Bets on harm that can win: a mean of a half cannot rise to eight times that."""
        return tuple(effect for effect in EFFECTS if effect * self.guess <= 1)


def harm(comparison: Comparison, pairs: Iterable[Pair]) -> float:
    """Log evidence that the candidate is worse by more than the comparison's margins."""
    start = unharmed(comparison)
    return reduce(lambda had, pair: harm_after(comparison, had, pair), pairs, start).evidence


def unharmed(comparison: Comparison) -> Wealth:
    """Before the first block."""
    return _start(len(comparison.effects))


def harm_after(comparison: Comparison, had: Wealth, pair: Pair) -> Wealth:
    """Fold one more pair, in which both arms saw something."""
    ratio, guess = _ratio(comparison, pair), _guess(comparison, had)
    highest = _highest(comparison, ratio, guess)
    effects = comparison.effects
    stakes = [min(effect / (1 + ratio * (1 + effect)), highest) for effect in effects]
    return _learned(_entered(had, _gains(comparison, pair, stakes, ratio, guess)), pair[1])


def safety(comparison: Comparison, pairs: Iterable[Pair]) -> float:
    """Log evidence that the candidate is worse by less than the comparison's margins."""
    return safety_wealth(comparison, pairs).evidence


def safety_wealth(comparison: Comparison, pairs: Iterable[Pair]) -> Wealth:
    """The wealth of a safety test; its bets are in the order of `STAKES`."""
    return reduce(lambda had, pair: safety_after(comparison, had, pair), pairs, unproven())


def unproven() -> Wealth:
    """Before the first block: all of it bets from the start."""
    share = -math.log(len(STAKES))
    return Wealth((share,) * len(STAKES), -math.inf, 0.0, 0.0)


def safety_after(comparison: Comparison, had: Wealth, pair: Pair) -> Wealth:
    """Fold one more pair, in which both arms saw something."""
    ratio, guess = _ratio(comparison, pair), _guess(comparison, had)
    lowest = -BOUND / (ratio * guess) if guess >= RARE else -1.0
    stakes = [max(-stake, lowest) for stake in STAKES]
    gains = _gains(comparison, pair, stakes, ratio, guess)
    bets = tuple(own + gain for own, gain in zip(had.bets, gains, strict=True))
    return _learned(Wealth(bets, had.waiting, had.total, had.weight), pair[1])


def excess(arms: Iterable[Values], permitted: float, dispersion: float = 1.0) -> float:
    """Log evidence that one arm's mean is over `permitted`; for rates, a likelihood ratio."""
    folded = (values for values in arms if seen(values))
    after = partial(excess_after, permitted, dispersion=dispersion)
    return reduce(after, folded, unexceeded()).evidence


def unexceeded() -> Wealth:
    """Before the first block."""
    return _start(len(EXCESSES))


def excess_after(permitted: float, had: Wealth, values: Values, dispersion: float = 1.0) -> Wealth:
    """Fold one more block; one in which nothing was seen must not be here."""
    stakes = _one_arm_stakes(permitted)
    return _entered(had, _one_arm_gains(values, permitted, stakes, dispersion))


def _one_arm_stakes(permitted: float) -> list[float]:
    assert 0 < permitted < 1, permitted
    rates = [min(permitted * times, (1 + permitted) / 2) for times in EXCESSES]
    return [(rate - permitted) / (permitted * (1 - permitted)) for rate in rates]


def _one_arm_gains(
    values: Values, permitted: float, stakes: list[float], dispersion: float
) -> list[float]:
    return [
        sum(count * log1p(stake * (value - permitted)) for value, count in values) / dispersion
        for stake in stakes
    ]


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


def weighted(evidence: Iterable[tuple[float, float]]) -> float:
    """Log of the weighted average of e-processes, from (weight, log evidence) pairs.

    It is an e-process itself, however they depend on each other.
    """
    return _log_sum([math.log(weight) + log for weight, log in evidence])


def _start(size: int) -> Wealth:
    return Wealth((math.log(START / size),) * size, math.log(1 - START), 0.0, 0.0)


def _entered(had: Wealth, gains: list[float]) -> Wealth:
    """Let a part of what waits enter, and then all bets gain.

    A regression that begins at a later step is so met by bets that have not lost before it.
    """
    entering = had.waiting + math.log(LATE / len(gains))
    bets = tuple(_log_add(own, entering) + gain for own, gain in zip(had.bets, gains, strict=True))
    return Wealth(bets, had.waiting + log1p(-LATE), had.total, had.weight)


def _learned(had: Wealth, stable: Values) -> Wealth:
    total = MEMORY * had.total + sum(value * count for value, count in stable)
    return Wealth(had.bets, had.waiting, total, MEMORY * had.weight + seen(stable))


def _ratio(comparison: Comparison, pair: Pair) -> float:
    return comparison.ratio * seen(pair[0]) / seen(pair[1])


def _guess(comparison: Comparison, had: Wealth) -> float:
    """Stable's mean, guessed from past blocks alone."""
    return (PRIOR * comparison.guess + had.total) / (PRIOR + had.weight)


def _highest(comparison: Comparison, ratio: float, guess: float) -> float:
    """The largest stake on harm under which no observation can take the whole wealth."""
    if guess < RARE:
        return math.inf
    own = comparison.ratio * guess + comparison.margin
    return BOUND / max(own, ratio * (1 - guess))


def _gains(
    comparison: Comparison, pair: Pair, stakes: list[float], ratio: float, guess: float
) -> list[float]:
    """Formula (1), or (2) where the guess is rare, for every stake; `ratio` is t r."""
    candidate, stable = pair
    if guess < RARE:
        centre, own, fixed = 0.0, 0.0, seen(candidate) * comparison.margin
    else:
        centre, own, fixed = guess, comparison.ratio * guess + comparison.margin, 0.0
    terms = [(value - own, count) for value, count in candidate if count and value != own]
    terms += [
        (-ratio * (value - centre), count) for value, count in stable if count and value != centre
    ]
    gains = [-fixed * stake for stake in stakes]
    for term, count in terms:
        for index, stake in enumerate(stakes):
            gains[index] += count * log1p(stake * term)
    if comparison.dispersion > 1:
        return [gain / comparison.dispersion for gain in gains]
    return gains


def _log_add(one: float, other: float) -> float:
    if one >= other:
        return one + log1p(exp(other - one))
    return other + log1p(exp(one - other))


def _log_sum(logs: Iterable[float]) -> float:
    logs = tuple(logs)
    high = max(logs)
    return high + math.log(math.fsum(exp(log - high) for log in logs))
