"""The sentence: both counts and both rates, the bound, and what is missing; one for all readers.

The log, `explain` and the tree print what these functions say, and nothing else.
"""

import math
from collections.abc import Iterable
from datetime import timedelta

from policies.criterion import Criterion, Telling
from policies.evidence import Arm, Block, total
from policies.wealth import mean, seen
from policies.words import amount, duration, percent

MOST = 1_000_000
"""Odds above which nobody counts."""


def tell(telling: Telling, blocks: Iterable[Block]) -> str:
    """Both arms' counts and rates in words; the same in log, `explain` and tree."""
    candidate, stable = total(blocks)
    told = f"candidate {_share(telling, candidate)}"
    beside = seen(telling.observed(stable)) > 0
    return f"{told}, stable {_share(telling, stable)}" if beside else told


def counts(guard: str, telling: Telling, blocks: Iterable[Block]) -> dict[str, float | int]:
    """Both arms' counts and rates as numbers."""
    found: dict[str, float | int] = {}
    for name, arm in zip(("candidate", "stable"), total(blocks), strict=True):
        values = telling.observed(arm)
        rate = mean(values)
        found[f"{name}_requests"] = round(seen(values))
        if telling.scale is None:
            found[f"{name}_{guard}"] = round(rate * seen(values))
            found[f"{name}_rate"] = round(rate, 6)
        else:
            found[f"{name}_mean"] = float(f"{rate * telling.scale:.6g}")
    return found


def wait(
    missing: int | None,
    weight: int,
    pace: float | None,
    lag: timedelta,
    numbers: dict[str, float | int],
) -> str:
    """What is missing and when it may come, in words; the numbers are added.

    `pace` is the endpoint's requests per second, and `lag` how late its source tells of them.
    """
    if missing is None:
        return "it does not come at the rates seen so far"
    numbers["missing"] = missing
    told = f"about {missing:,} more requests are missing"
    if not pace:
        return told
    seconds = missing / (pace * weight / 100)
    numbers["seconds_missing"] = round(seconds + lag.total_seconds())
    late = f", and {duration(lag)} until they are told of" if lag else ""
    return f"{told}, {duration(seconds)} at {pace:.3g} requests/s{late}"


def _share(telling: Telling, arm: Arm) -> str:
    values = telling.observed(arm)
    rate, number = mean(values), round(seen(values))
    if not number:
        return "not counted yet"
    if telling.scale is not None:
        return f"mean {amount(rate * telling.scale)} {telling.noun} over {number:,} answers"
    return f"{round(rate * number):,} of {number:,} {telling.noun} ({percent(rate)})"


def rate_in_words(criterion: Criterion, rate: float) -> str:
    """A share as a percentage; a mean in what it is counted in."""
    scale = criterion.telling.scale
    return percent(rate) if scale is None else amount(rate * scale)


def odds(log: float) -> str:
    """Log evidence as odds, as people read them."""
    times = shown(log)
    if times >= MOST:
        return f"over {MOST:,}:1"
    return f"{times:,.0f}:1" if times >= 10 else f"{times:.2g}:1"  # noqa: PLR2004 - two digits


def shown(log: float) -> float:
    """Evidence for people: the odds themselves, to three digits, capped where digits end."""
    return float(f"{math.exp(min(log, math.log(MOST))):.3g}")
