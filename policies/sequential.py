"""Two-arm tests that are valid at every look: betting e-processes, for harm and for safety.

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
from functools import reduce
from math import log1p

from policies.wealth import Values, Wealth, entered, mean, seen, started

Pair = tuple[Values, Values]
"""The candidate's and stable's observations over the same minutes."""

EFFECTS = (0.7, 1.2, 4.0, 25.0)
"""Relative harms that are bet on. Where harm is large a coarse grid costs a request or two; about
twice as many errors, which cost the most users, two neighbours win together: half of the wealth."""
STAKES = (0.15, 0.3, 0.5, 0.7, 0.85, 0.97)
"""Shares of the wealth that safety stakes on the candidate's doing no worse."""
TRUST = 0.5
"""Share of a safety test's wealth that is staked as stable's past suggests."""
RARE = 0.05
"""Means below this are judged by (2), others by (1)."""
BOUND = 0.95
"""Of the largest stake that cannot lose everything at once."""
MEMORY = 0.9
"""What the guess of stable's mean keeps of its weight from block to block."""
PRIOR = 50.0
"""Observations that the first guess is worth."""


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
    return started(len(comparison.effects))


def harm_after(comparison: Comparison, had: Wealth, pair: Pair) -> Wealth:
    """Fold one more pair, in which both arms saw something."""
    gains = harm_gains(comparison, guessed(comparison, had), pair)
    return _learned(entered(had, gains), pair[1])


def harm_gains(comparison: Comparison, guess: float, pair: Pair) -> list[float]:
    """What each bet on harm gains by a pair; `guess` is what stable's mean is taken for."""
    ratio, effects = _ratio(comparison, pair), comparison.effects
    highest = _highest(comparison, ratio, guess)
    stakes = [min(effect / (1 + ratio * (1 + effect)), highest) for effect in effects]
    return _gains(comparison, pair, stakes, ratio, guess)


def safety(comparison: Comparison, pairs: Iterable[Pair], likely: Pair | None = None) -> float:
    """Log evidence that the candidate is worse by less than the comparison's margins."""
    return safety_wealth(comparison, pairs, likely).evidence


def safety_wealth(
    comparison: Comparison, pairs: Iterable[Pair], likely: Pair | None = None
) -> Wealth:
    """The wealth of a safety test; its bets are in the order of `STAKES`."""
    start = unproven(comparison, likely)
    return reduce(lambda had, pair: safety_after(comparison, had, pair), pairs, start)


def unproven(comparison: Comparison, likely: Pair | None = None) -> Wealth:
    """Before the first block: all of it bets from the start.

    `likely` are observations, parts allowed, at the rates that stable's past had, of a candidate
    that is as good. A part of the wealth is put on the stake that would gain the most from them, so
    that the proof comes sooner if they come like that. Chosen before the first block it needs no
    reason to be valid, and a past that was otherwise costs it little.
    """
    shares = [1 / len(STAKES)] * len(STAKES)
    if likely is not None:
        gains = safety_gains(comparison, mean(likely[1]), likely)
        shares = [share * (1 - TRUST) for share in shares]
        shares[gains.index(max(gains))] += TRUST
    return Wealth(tuple(math.log(share) for share in shares), -math.inf, 0.0, 0.0)


def safety_after(comparison: Comparison, had: Wealth, pair: Pair) -> Wealth:
    """Fold one more pair, in which both arms saw something."""
    gains = safety_gains(comparison, guessed(comparison, had), pair)
    bets = tuple(own + gain for own, gain in zip(had.bets, gains, strict=True))
    return _learned(Wealth(bets, had.waiting, had.total, had.weight), pair[1])


def safety_gains(comparison: Comparison, guess: float, pair: Pair) -> list[float]:
    """What each bet on safety gains by a pair; `guess` is what stable's mean is taken for."""
    ratio = _ratio(comparison, pair)
    lowest = -BOUND / (ratio * guess) if guess >= RARE else -1.0
    return _gains(comparison, pair, [max(-stake, lowest) for stake in STAKES], ratio, guess)


def _learned(had: Wealth, stable: Values) -> Wealth:
    total = MEMORY * had.total + sum(value * count for value, count in stable)
    return Wealth(had.bets, had.waiting, total, MEMORY * had.weight + seen(stable))


def _ratio(comparison: Comparison, pair: Pair) -> float:
    return comparison.ratio * seen(pair[0]) / seen(pair[1])


def guessed(comparison: Comparison, had: Wealth) -> float:
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
