"""What a step can find, and whom it may cost: told before a release starts, from traffic and lag.

All of this is expectation, of requests that come evenly; the tests' promises do not rest on it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from policies.bounds import CLOSES
from policies.criterion import Criterion
from policies.fuse import BLOWS, HISTORY, MINUTE, Fuse, Minute, fuse
from policies.guards import ERRORS
from policies.onearm import HALVINGS, excess
from policies.sequential import harm_gains
from policies.standing import Standing
from policies.wealth import START, rate_of

LONGEST = 1 << 10
"""Minutes within which a fuse blows, or is taken not to blow at all."""
_THEN = datetime(2000, 1, 1, tzinfo=UTC)
"""A fuse is set at some time; what it needs does not depend on when."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What is known of an endpoint before a release starts."""

    requests_per_second: float
    lag: timedelta = timedelta()
    """How late the counting source is."""
    errors: float = 0.0
    """Share of stable's requests that go wrong."""


def growth(criterion: Criterion, rate: float, weight: int, traffic: Traffic) -> list[float]:
    """What each bet on harm is expected to gain per request of a candidate that errs at `rate`.

    G_j(p) = p log(1 + L_j) + (q / r) log(1 - L_j r) - d L_j: formula (2) of `sequential`, with p
    the candidate's rate, q stable's, r the odds of the weight and d harm's margin. From a q of 5 %
    on it is formula (1).
    """
    share = weight / 100
    stable = rate_of(traffic.errors, (1 - share) / share)
    pair = rate_of(rate, 1.0), stable
    return harm_gains(criterion.harm[0].comparison, traffic.errors, pair)


def cost(criteria: Sequence[Criterion]) -> float | None:
    """The log wealth that the best bet on more errors must win to close the gate; None: no test.

    CLOSES, and what the bet does not have from the start: its part of the budget (-log share), of
    the grid (log J), and of the wealth that bets from the first block on (-log START).
    """
    errors = _errors(criteria)
    if errors is None:
        return None
    share = next(one.share for one in Standing.start(criteria).clues() if one.guard == ERRORS)
    grid = len(errors.harm[0].comparison.effects)
    return CLOSES - math.log(share) + math.log(grid / START)


def smallest_regression(
    criteria: Sequence[Criterion], requests: float, weight: int, traffic: Traffic
) -> float | None:
    """The lowest error rate that harm is expected to find among so many candidate requests.

    The p at which n max_j G_j(p) = `cost`, n being the requests; found by halving, since G grows
    with p. None where not even a total failure is found: undetectable in principle.
    """
    errors, wins = _errors(criteria), cost(criteria)
    if errors is None or wins is None:
        return None

    def found(rate: float) -> bool:
        return requests * max(growth(errors, rate, weight, traffic)) >= wins

    if not found(1.0):
        return None
    low, high = traffic.errors, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def failure_found(
    criteria: Sequence[Criterion], weight: int, traffic: Traffic, every: timedelta
) -> tuple[timedelta, str] | None:
    """When a candidate that fails every request is shut out, and whether by fuse or by counts.

    Whichever comes first after the weight is in effect; None where neither ever would.
    """
    asked = {"fuse": _by_fuse(weight, traffic), "counts": _by_counts(criteria, weight, traffic)}
    if (counted := asked["counts"]) is not None:
        asked["counts"] = counted + traffic.lag + every / 2
    return min(((after, by) for by, after in asked.items() if after is not None), default=None)


def _by_counts(criteria: Sequence[Criterion], weight: int, traffic: Traffic) -> timedelta | None:
    """How long the candidate's requests take that prove it by the counts of each version."""
    errors, wins = _errors(criteria), cost(criteria)
    pace = traffic.requests_per_second * weight / 100
    if errors is None or wins is None or pace <= 0:
        return None
    gain = max(growth(errors, 1.0, weight, traffic))
    return timedelta(seconds=wins / gain / pace) if gain > 0 else None


def _by_fuse(weight: int, traffic: Traffic) -> timedelta | None:
    """The minutes that blow a fuse which an hour of the same traffic has set.

    With them, the half minute until the first whole one begins, and the minute until it is read.
    """
    per_minute = traffic.requests_per_second * MINUTE.total_seconds()
    setting = _set(per_minute, traffic.errors, weight)
    if setting is None:
        return None
    share = weight / 100
    failing = rate_of(share + (1 - share) * traffic.errors, per_minute)

    def blows(minutes: int) -> bool:
        return excess([failing] * minutes, setting.permitted, setting.dispersion) >= BLOWS

    if not blows(LONGEST):
        return None
    low, high = 0, LONGEST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if blows(middle) else (middle, high)
    return high * MINUTE + MINUTE * 3 / 2


def _set(per_minute: float, errors: float, weight: int) -> Fuse | None:
    """The fuse that an hour of the same traffic sets; None where it had no request."""
    requests = round(per_minute * HISTORY)
    failed = round(requests * errors)
    minutes = [
        Minute(
            ends_at=_THEN + index * MINUTE,
            requests=_part(requests, index),
            errors=_part(failed, index),
        )
        for index in range(HISTORY)
    ]
    return fuse(minutes, _THEN, weight)


def _part(whole: int, index: int) -> int:
    """A minute's part of an hour's count, in whole requests."""
    return whole * (index + 1) // HISTORY - whole * index // HISTORY


def _errors(criteria: Sequence[Criterion]) -> Criterion | None:
    return next((one for one in criteria if one.guard == ERRORS and not one.observe), None)
