"""Chance, keyed: every draw depends on the seed, who draws, what for, and for the how manieth time.

So leaving one fault out shifts no other draw, and a list of faults that are left out repeats the
rest exactly. That is what makes a failure shrink.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from math import exp, log, sqrt

WHOLE = float(1 << 64)
FEW = 30.0
"""Expected counts below this are drawn one by one; above it, chance is a normal curve."""


@dataclass
class Draws:
    """The chance of one run; `rates` are the chances of faults where they may strike."""

    seed: int
    rates: Mapping[str, float] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    """Keys of faults that do not strike, or names of whole kinds of them."""
    forced: Mapping[str, str] = field(default_factory=dict)
    """By place and number, the fault that strikes there, whatever the rates are."""
    quiet: bool = False
    """The world has healed: nothing strikes any more."""
    struck: list[str] = field(default_factory=list)
    """Keys of the faults that struck, in order."""
    _counts: Counter[str] = field(default_factory=Counter)

    def number(self, place: str) -> int:
        """How often this was asked for at a place; from 1."""
        self._counts[place] += 1
        return self._counts[place]

    def at(self, key: str) -> float:
        """The share in [0, 1) that belongs to a key, always the same."""
        digest = blake2b(f"{self.seed}/{key}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) / WHOLE

    def share(self, place: str) -> float:
        """The next share in [0, 1) at a place."""
        return self.at(f"{place}/{self.number(place)}")

    def between(self, place: str, low: float, high: float) -> float:
        """The next number between two at a place, small ones as often as large ones by ratio."""
        ratio: float = (high / low) ** self.share(place)
        return low * ratio

    def strikes(self, place: str, kinds: Collection[str]) -> str | None:
        """The fault, if any, that strikes at a place now: of those kinds, the first that does."""
        number = self.number(f"fault/{place}")
        found = self.forced.get(f"{place}/{number}")
        if found is not None and found in kinds:
            self.struck.append(f"{place}/{number}:{found}")
            return found
        if self.quiet:
            return None
        for kind in kinds:
            rate = self.rates.get(kind, 0.0)
            if not rate or kind in self.left_out:
                continue
            key = f"{place}/{number}:{kind}"
            if self.at(key) < rate and key not in self.left_out:
                self.struck.append(key)
                return kind
        return None

    def count(self, key: str, trials: int, rate: float) -> int:
        """How many of so many trials came true; the same for the same key."""
        expected, share = trials * rate, self.at(key)
        if rate <= 0 or trials <= 0:
            return 0
        if rate > 1 / 2:
            return trials - self.count(key, trials, 1 - rate)
        if expected > FEW:
            spread = sqrt(expected * (1 - rate)) * _normal(share)
            return min(trials, max(0, round(expected + spread)))
        return min(trials, _poisson(share, expected))


def _normal(share: float) -> float:
    """Nearly the standard normal quantile (Tukey's lambda), without its endless tails."""
    share = min(max(share, 1e-6), 1 - 1e-6)
    return float((share**0.135 - (1 - share) ** 0.135) / 0.1975)


def _poisson(share: float, expected: float) -> int:
    """The quantile of a Poisson count."""
    term = exp(-expected)
    total, found = term, 0
    while total < share and found < 10 * FEW:
        found += 1
        term = exp(log(term) + log(expected) - log(found)) if term else 0.0
        total += term
    return found
