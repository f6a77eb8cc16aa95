"""Blocks, arms and guards, said shortly."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from random import Random

from policies.criteria import criteria
from policies.criterion import Criterion
from policies.evidence import GRID, Arm, Block, Coverage, Tally
from policies.fuse import Fuse
from policies.guards import QUANTILES, Guards, History, TokenGuard, measures
from policies.onearm import EXCESSES

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TABLE = "inference_table"
HISTORY = History(
    requests=50_000,
    errors=0,
    answers=49_000,
    latency_ms=(120.0, 168.0, 228.0, 273.0, 384.0),
    tokens=(200.0, 330.0, 510.0, 670.0, 1120.0),
    checked=40_000,
    faulty=1_200,
)
"""A day of lognormal latencies (median 120 ms, sigma a half), and of answers 3 % faulty."""
GUARDS = Guards(tokens=TokenGuard())


def arm(requests: int, errors: int = 0, server_errors: int | None = None, **tallies: Tally) -> Arm:
    """One arm's counts; server errors are none unless said."""
    return Arm(requests=requests, errors=errors, server_errors=server_errors or 0, tallies=tallies)


def block(  # noqa: PLR0913 - a block has this many parts
    candidate: Arm,
    stable: Arm,
    *,
    number: int = 1,
    span: int = 1,
    step: int = 1,
    whole: bool = False,
    source: str = TABLE,
    coverage: Coverage | None = None,
) -> Block:
    """A closed minute; `whole`: the candidate had all users, so it compares nothing."""
    opened = NOON + timedelta(minutes=number)
    return Block(
        number=number,
        source=source,
        span=span,
        step=step,
        comparable=not whole,
        whole=whole,
        opened_at=opened,
        closed_at=opened + timedelta(minutes=1),
        candidate=candidate,
        stable=stable,
        coverage=coverage,
    )


def set_to(permitted: float, most: float | None = None, dispersion: float = 1.0) -> Fuse:
    """What the endpoint's errors were like before the candidate got all users."""
    held_back = (most,) * len(EXCESSES) if most is not None else ()
    return Fuse(set_at=NOON, permitted=permitted, dispersion=dispersion, most=held_back)


def minutes(number: int, candidate: Arm, stable: Arm) -> tuple[Block, ...]:
    """The same minute, again and again."""
    return tuple(block(candidate, stable, number=index + 1) for index in range(number))


def guards_by(
    guards: Guards = GUARDS,
    *,
    history: History | None = HISTORY,
    only: Iterable[str] = (),
    steps: tuple[int, ...] = (5, 25, 50, 100),
    dispersion: float = 1.0,
) -> tuple[Criterion, ...]:
    """The guards, ready to judge by, all from one source."""
    counted = measures(guards, history, steps)
    names = tuple(only) or ("errors", *counted)
    found = criteria(guards, counted, history, dict.fromkeys(names, TABLE), dispersion)
    assert {one.guard for one in found} == set(names)
    return found


def errors_by(guards: Guards | None = None, dispersion: float = 1.0) -> Criterion:
    """The guard of errors alone."""
    chosen = guards or Guards()
    return guards_by(chosen, history=None, only=("errors",), dispersion=dispersion)[0]


def drawn(random: Random, requests: int, rate: float) -> int:
    """Rare errors among many requests (a Poisson draw, cut at the requests)."""
    bound, many, chance = math.exp(-requests * rate), 0, random.random()
    while chance > bound:
        many, chance = many + 1, chance * random.random()
    return min(many, requests)


def many(random: Random, requests: int, rate: float) -> int:
    """The normal approximation, for large counts."""
    mean = requests * rate
    return min(requests, max(0, round(random.gauss(mean, (mean * (1 - rate)) ** 0.5))))


def lognormal(random: Random, median: float, sigma: float, number: int) -> list[float]:
    """So many latencies, or token counts."""
    return [median * math.exp(random.gauss(0, sigma)) for _ in range(number)]


def above(values: Iterable[float], edges: Iterable[float]) -> Tally:
    """How many whole milliseconds are above each edge."""
    taken = [round(value) for value in values]
    counts = tuple(sum(value > edge for value in taken) for edge in edges)
    return Tally(seen=len(taken), counts=counts)


def averaged(values: Iterable[float], cap: float, edges: Iterable[float] = ()) -> Tally:
    """A mean's tally: each value shared between the two points of the grid next to it."""
    taken, mass = list(values), [0.0] * (GRID + 1)
    for value in taken:
        place = min(1.0, value / cap) * GRID
        low = min(GRID - 1, math.floor(place))
        mass[low] += 1 - (place - low)
        mass[low + 1] += place - low
    counts = tuple(sum(value > edge for value in taken) for edge in edges)
    return Tally(seen=len(taken), counts=counts, mass=tuple(mass))


def faulty(seen: int, failed: int) -> Tally:
    """Checked answers, of which some failed their first check."""
    return Tally(seen=seen, counts=(failed, failed, 0, 0, 0))


assert len(HISTORY.latency_ms) == len(HISTORY.tokens) == len(QUANTILES)
