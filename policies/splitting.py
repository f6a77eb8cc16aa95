"""A pretended candidate out of stable's own counts: split off by chance, then worsened on purpose.

Chance is handed in, as a binomial draw. What is split is what was counted: how an answer's latency
goes together with its failing was not written down, so each tally is split by itself.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from policies.evidence import NOTHING, Arm, Pair, Tally
from policies.guards import ANSWERS, LATENCY
from policies.rollout import WHOLE

Draw = Callable[[int, float], int]
"""How many of so many come, each with this chance."""


@dataclass(frozen=True, kw_only=True)
class Harm:
    """What is wrong with a pretended candidate; by default nothing, as stable is."""

    name: str
    times: float = 1.0
    """Its error rate, as a multiple of stable's in the same window."""
    plus: float = 0.0
    """Errors on top of that, in shares of requests."""
    slower: float = 1.0
    """Its latency, as a multiple of stable's."""


HARMS = (
    Harm(name="as stable"),
    Harm(name="errors x2", times=2.0),
    Harm(name="errors x4", times=4.0),
    Harm(name="errors +5 pp", plus=0.05),
    Harm(name="errors +20 pp", plus=0.20),
    Harm(name="latency x1.5", slower=1.5),
    Harm(name="latency x2", slower=2.0),
)
"""What is tried; the first is the trial of false alarms."""


def binomial(number: int, chance: float, uniform: float) -> int:
    """The draw that belongs to a uniform number in [0, 1): inversion, from the mode outwards.

    Exact but for rounding, in about as many steps as the standard deviation.
    """
    if number <= 0 or chance <= 0:
        return 0
    if chance >= 1:
        return number
    odds = chance / (1 - chance)
    mode = min(number, math.floor((number + 1) * chance))
    at_mode = math.exp(
        math.lgamma(number + 1)
        - math.lgamma(mode + 1)
        - math.lgamma(number - mode + 1)
        + mode * math.log(chance)
        + (number - mode) * math.log1p(-chance)
    )
    low, high, below, above = mode, mode, at_mode, at_mode
    left = uniform - at_mode
    while left > 0 and (low > 0 or high < number):
        if high < number:
            above *= odds * (number - high) / (high + 1)
            high += 1
            left -= above
            if left <= 0:
                return high
        if low > 0:
            below *= low / (odds * (number - low + 1))
            low -= 1
            left -= below
            if left <= 0:
                return low
        if max(above, below) <= 0.0:
            break  # what is left is less than a float can tell
    return mode


def split(arm: Arm, weight: int, draw: Draw) -> Pair:
    """Stable's requests, each given to the pretended candidate with the chance of its weight."""
    if weight >= WHOLE:
        return arm, NOTHING
    share = weight / WHOLE
    server = draw(arm.server_errors, share)
    other = draw(arm.errors - arm.server_errors, share)
    rejected = draw(arm.rejected, share)
    fine = draw(arm.requests - arm.errors - arm.rejected, share)
    tallies = {name: _split(name, one, share, draw) for name, one in arm.tallies.items()}
    candidate = Arm(
        requests=server + other + rejected + fine,
        errors=server + other,
        server_errors=server,
        rejected=rejected,
        tallies={name: ours for name, (ours, _) in tallies.items()},
    )
    rest = Arm(
        requests=arm.requests - candidate.requests,
        errors=arm.errors - candidate.errors,
        server_errors=arm.server_errors - candidate.server_errors,
        rejected=arm.rejected - candidate.rejected,
        tallies={name: theirs for name, (_, theirs) in tallies.items()},
    )
    return candidate, rest


def worsened(arm: Arm, harm: Harm, usual: float, edges: Sequence[float], draw: Draw) -> Arm:
    """The arm with a harm; `usual` is stable's error rate in the same window.

    More errors fall on requests that went well. Slower answers are moved up the latency's edges by
    no more than the factor: an answer is known to lie between two edges only, and what is above an
    edge when all are s times as slow was above edge / s, of which the next edge up tells the least.
    """
    wanted = min(1.0, usual * harm.times + harm.plus)
    more = 0
    if wanted > usual:
        fine = arm.requests - arm.errors - arm.rejected
        more = draw(fine, (wanted - usual) / (1 - usual))
    tallies = dict(arm.tallies)
    tally = tallies.get(LATENCY)
    if harm.slower > 1 and tally is not None and len(tally.counts) == len(edges):
        tallies[LATENCY] = replace(tally, counts=_slowed(tally.counts, edges, harm.slower))
    return replace(arm, errors=arm.errors + more, tallies=tallies)


def _slowed(counts: tuple[int, ...], edges: Sequence[float], factor: float) -> tuple[int, ...]:
    sources = [
        next(below for below, lower in enumerate(edges) if lower >= edge / factor) for edge in edges
    ]
    return tuple(counts[below] for below in sources)


def _split(name: str, tally: Tally, share: float, draw: Draw) -> tuple[Tally, Tally]:
    # How the checks of an answer overlap is not told; failing any of them is what is judged.
    counts = tally.counts[:1] if name == ANSWERS else tally.counts
    above, below = (tally.seen, *counts), (*counts, 0)
    cells = [draw(over - under, share) for over, under in zip(above, below, strict=True)]
    ours = tuple(sum(cells[index:]) for index in range(len(cells)))
    seen, own = ours[0], ours[1:]
    # Parts of an answer are shared in proportion: they are not drawn.
    mass = tuple(draw(math.floor(part), share) + share * (part % 1) for part in tally.mass)
    rest = tuple(part - drawn for part, drawn in zip(tally.mass, mass, strict=True))
    theirs = tuple(count - drawn for count, drawn in zip(counts, own, strict=True))
    return (
        Tally(seen=seen, counts=own, mass=mass),
        Tally(seen=tally.seen - seen, counts=theirs, mass=rest),
    )
