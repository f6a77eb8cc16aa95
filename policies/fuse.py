"""The fuse: an alarm on the endpoint as a whole, minutes before anybody can be blamed.

The per-version record may be an hour late; the endpoint's own metrics are a minute old, but count
both versions together. So a fuse accuses nobody: it tests, with one arm, whether the endpoint errs
more since a step was opened than in the hour before it, and shuts the gate first.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from policies.evidence import Arm
from policies.sequential import excess, highest_rate
from policies.verdict import Outcome, Verdict
from policies.words import percent

GUARD = "fuse"
FALSE_FUSE = 0.01
"""Chance that a step's fuse blows although the endpoint errs no more than before."""
MISJUDGED = 0.001
"""Chance that the hour's rate is judged lower than it was."""
LEAST_RISE = 0.001
"""A rise of less than this share of requests is no alarm: it is the errors' harm margin."""
HISTORY, KEPT = 60, 240
"""Minutes before a step that its fuse is set by, and minutes of a step that it looks back on."""
PRIOR = 20.0
"""Pseudo-counts that hold the dispersion of a short history near 1; the A/A study has 20."""
BLOWS = math.log(1 / FALSE_FUSE)


@dataclass(frozen=True, kw_only=True)
class Minute:
    """One closed minute of the whole endpoint, all versions together."""

    ends_at: datetime
    requests: int
    errors: int
    """Responses of 4xx and 5xx: the metrics tell no finer."""


@dataclass(frozen=True, kw_only=True)
class Fuse:
    """What a step's fuse was set to when the step was opened."""

    set_at: datetime
    permitted: float
    """The highest error rate that the hour before allows for, plus the least rise."""
    dispersion: float
    """How much more than chance the hour's errors came in bursts; 1 for chance alone."""


def fuse(before: Iterable[Minute], now: datetime) -> Fuse | None:
    """Set a fuse by the minutes before a step; None where there were none with requests."""
    minutes = sorted((one for one in before if one.requests), key=lambda one: one.ends_at)
    minutes = minutes[-HISTORY:]
    if not minutes:
        return None
    requests = sum(one.requests for one in minutes)
    errors = sum(one.errors for one in minutes)
    rate = errors / requests
    spread = sum((one.errors - one.requests * rate) ** 2 for one in minutes)
    dispersion = max(1.0, (PRIOR + spread) / (PRIOR + errors))
    # Bursts make the hour worth fewer requests than it had.
    worth = round(requests / dispersion)
    highest = highest_rate(round(errors / dispersion), worth, MISJUDGED)
    return Fuse(set_at=now, permitted=min(0.5, highest + LEAST_RISE), dispersion=dispersion)


def blown(setting: Fuse, since: Iterable[Minute]) -> Verdict | None:
    """FAIL once the endpoint is shown to err more than the fuse permits; else None.

    The verdict is about the endpoint: it names no version, and must roll none back.
    """
    minutes = [one for one in since if one.ends_at > setting.set_at]
    arms = [
        Arm(requests=one.requests, errors=min(one.errors, one.requests), server_errors=0)
        for one in minutes
    ]
    evidence = excess(arms, setting.permitted, lambda arm: arm.errors, setting.dispersion)
    if evidence < BLOWS:
        return None
    requests, errors = sum(arm.requests for arm in arms), sum(arm.errors for arm in arms)
    because = (
        f"{errors:,} of {requests:,} requests to the endpoint failed "
        f"({percent(errors / requests)}) since the step was opened; the hour before it permits "
        f"{percent(setting.permitted)}; nobody is blamed until the counts by version arrive"
    )
    numbers: dict[str, float | int] = {
        "endpoint_requests": requests,
        "endpoint_errors": errors,
        "permitted_rate": round(setting.permitted, 6),
        "dispersion": round(setting.dispersion, 3),
    }
    return Verdict(outcome=Outcome.FAIL, guard=GUARD, because=because, numbers=numbers)
