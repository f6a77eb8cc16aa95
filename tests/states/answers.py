"""What a version's answers are like, counted exactly as often as they are to be expected."""

from dataclasses import dataclass
from math import erf, log, sqrt

from policies.evidence import GRID, Measure, Tally
from policies.guards import QUANTILES, History

MEDIAN_MS, MEDIAN_TOKENS, MEDIAN_CHARACTERS, SIGMA = 120.0, 200.0, 400.0, 0.5
DEVIATIONS = (0.0, 0.6745, 1.2816, 1.6449, 2.3263)
"""Of a normal distribution, at `QUANTILES`."""


def over(edge: float, median: float) -> float:
    """The share of lognormal numbers above an edge."""
    if edge <= 0:
        return 1.0
    return (1 - erf(log(edge / median) / SIGMA / sqrt(2))) / 2


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How slow, long, faulty and good answers are; by default as stable's last day tells."""

    slower: float = 1.0
    longer: float = 1.0
    """In tokens."""
    wordier: float = 1.0
    """In characters."""
    faulty: float = 0.03
    score: float = 0.8

    def tally(self, guard: str, seen: int, measure: Measure) -> Tally:
        """What a guard counts of so many answers."""
        if guard == "answers":
            failed = round(seen * self.faulty)
            return Tally(seen=seen, counts=(failed, failed))
        median = {
            "latency": MEDIAN_MS * self.slower,
            "tokens": MEDIAN_TOKENS * self.longer,
            "length": MEDIAN_CHARACTERS * self.wordier,
        }.get(guard, 1.0)
        counts = tuple(round(seen * over(edge, median)) for edge in measure.edges)
        mass: tuple[float, ...] = ()
        if measure.cap is not None:
            mean = self.score if guard not in ("latency", "tokens") else median / measure.cap
            mass = _around(min(1.0, mean), seen)
        return Tally(seen=seen, counts=counts, mass=mass)


def _around(mean: float, seen: int) -> tuple[float, ...]:
    """All of it on the two points of the grid next to the mean."""
    place = min(GRID - 1e-9, mean * GRID)
    mass, low = [0.0] * (GRID + 1), int(place)
    mass[low], mass[low + 1] = seen * (1 - (place - low)), seen * (place - low)
    return tuple(mass)


RICH = History(
    requests=90_000,
    answers=80_000,
    latency_ms=tuple(MEDIAN_MS * 2.718281828 ** (SIGMA * one) for one in DEVIATIONS),
    tokens=tuple(MEDIAN_TOKENS * 2.718281828 ** (SIGMA * one) for one in DEVIATIONS),
    length=tuple(MEDIAN_CHARACTERS * 2.718281828 ** (SIGMA * one) for one in (-0.6745, 0, 0.6745)),
    checked=60_000,
    faulty=1_800,
)
"""A last day that all guards can be judged by."""

assert len(DEVIATIONS) == len(QUANTILES)
