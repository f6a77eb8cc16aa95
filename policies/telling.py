"""The sentence: both counts and both rates, the bound, and what is missing; one for all readers.

The log, `explain` and the tree print what these functions say, and nothing else.
"""

import math
from collections.abc import Mapping
from datetime import timedelta

from policies.criterion import Criterion, Telling
from policies.evidence import Arm, Pair
from policies.wealth import mean, seen
from policies.words import amount, duration, percent

MOST = 1_000_000
"""Odds above which nobody counts."""


def tell(telling: Telling, arms: Pair) -> str:
    """Both arms' counts and rates in words; the same in log, `explain` and tree."""
    candidate, stable = arms
    told = f"candidate {_share(telling, candidate)}"
    beside = seen(telling.observed(stable)) > 0
    return f"{told}, stable {_share(telling, stable)}" if beside else told


def counts(guard: str, telling: Telling, arms: Pair) -> dict[str, float | int]:
    """Both arms' counts and rates as numbers."""
    found: dict[str, float | int] = {}
    for name, arm in zip(("candidate", "stable"), arms, strict=True):
        values = telling.observed(arm)
        rate = mean(values)
        found[f"{name}_requests"] = round(seen(values))
        if telling.scale is None:
            found[f"{name}_{guard}"] = round(rate * seen(values))
            found[f"{name}_rate"] = round(rate, 6)
        else:
            found[f"{name}_mean"] = float(f"{rate * telling.scale:.6g}")
            if telling.price is not None:
                found[f"{name}_cost"] = float(f"{rate * telling.scale * telling.price:.6g}")
        found |= {f"{name}_{part}": number for part, number in _parts(telling, arm).items()}
    return found


def mostly(telling: Telling, arms: Pair) -> str:
    """Which of its parts a guard's counts rose by most, beside stable; nothing without parts."""
    seen_of = [(arm, seen(telling.observed(arm))) for arm in arms]
    own, other = (
        {part: number / many for part, number in _parts(telling, arm).items()} if many else {}
        for arm, many in seen_of
    )
    rises = {part: share - other.get(part, 0.0) for part, share in own.items()}
    worst = max(rises, key=lambda part: rises[part], default=None)
    return f", mostly by {worst}" if worst is not None and rises[worst] > 0 else ""


def _parts(telling: Telling, arm: Arm) -> Mapping[str, int]:
    return telling.parts(arm) if telling.parts is not None else {}


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
    return f"{told}, {duration(seconds)} at {amount(pace)} requests/s{late}"


def _share(telling: Telling, arm: Arm) -> str:
    values = telling.observed(arm)
    rate, number = mean(values), round(seen(values))
    if not number:
        return "not counted yet"
    if telling.scale is not None:
        mean_ = rate * telling.scale
        cost = f" for {amount(mean_ * telling.price)}" if telling.price is not None else ""
        return f"mean {amount(mean_)} {telling.noun}{cost} over {number:,} answers"
    parts = _parts(telling, arm) if rate else {}
    told = ", ".join(f"{many:,} by {part}" for part, many in parts.items())
    told = f"{percent(rate)}: {told}" if told else percent(rate)
    return f"{round(rate * number):,} of {number:,} {telling.noun} ({told})"


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
