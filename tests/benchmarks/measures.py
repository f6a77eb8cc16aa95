"""What is reported of many releases, and the least that any test could have needed."""

import math
from collections.abc import Sequence

import numpy as np

from tests.benchmarks.arena import Outcome

ALPHA = 0.01
"""The false-rollback budget of a release."""


def upper_bound(events: int, of: int, confidence: float = 0.95) -> float:
    """Clopper and Pearson's one-sided upper bound of a share."""
    # Takes seconds: who only collects the tests need not wait for it.
    from scipy.stats import beta  # type: ignore[import-untyped]  # noqa: PLC0415

    return 1.0 if events >= of else float(beta.ppf(confidence, events + 1, of - events))


def divergence(one: float, other: float) -> float:
    """Kullback and Leibler's, between two chances, in nats."""
    found = 0.0
    for p, q in ((one, other), (1 - one, 1 - other)):
        if p > 0:
            found += p * math.log(p / q)
    return found


def evidence(candidate: float, stable: float, share: float, margin: float = 0.0) -> float:
    """Nats that one candidate request brings, at best, when both error rates are unknown.

    Against the worst case of "the candidate is worse by no more than the margin". Without one, both
    then have the pooled rate at this share; with one, the worst case is searched for.
    """
    ratio = share / (1 - share)

    def against(rate: float) -> float:
        return divergence(candidate, rate + margin) + divergence(stable, rate) / ratio

    if not margin:
        return against((ratio * candidate + stable) / (1 + ratio))
    if candidate - stable <= margin:
        return 0.0
    from scipy.optimize import (  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
        minimize_scalar,
    )

    found = minimize_scalar(against, bounds=(stable / 2, candidate), method="bounded")
    return float(found.fun)


def wald_bound(
    candidate: float, stable: float, share: float, alpha: float = ALPHA, margin: float = 0.0
) -> float:
    """Candidate requests that any test at this level needs in the mean, at one share."""
    return math.log(1 / alpha) / evidence(candidate, stable, share, margin)


def bound_on_a_ramp(
    candidate: float,
    stable: float,
    offered: Sequence[tuple[float, float]],
    alpha: float = ALPHA,
    margin: float = 0.0,
) -> float:
    """The same along steps, each a share and the candidate requests that it offers; may be inf."""
    missing, spent = math.log(1 / alpha), 0.0
    for share, requests in offered:
        each = evidence(candidate, stable, share, margin)
        if each and missing <= each * requests:
            return spent + missing / each
        missing, spent = missing - each * requests, spent + requests
    return math.inf


def summary(outcomes: Sequence[Outcome]) -> dict[str, float | None]:
    """Shares, requests and minutes; a miss counts with what it cost until the horizon."""
    many = len(outcomes)
    back = sum(one.rolled_back_s is not None for one in outcomes)
    exposed = [one.exposed for one in outcomes]
    promoted = [one.promoted_s for one in outcomes]
    in_time = [math.inf if at is None else at / 60 for at in promoted]
    return {
        "releases": many,
        "rolled_back": back / many,
        "rolled_back_at_most": upper_bound(back, many),
        "promoted": sum(at is not None for at in promoted) / many,
        "exposed_median": float(np.median(exposed)),
        "exposed_p90": float(np.quantile(exposed, 0.9)),
        "exposed_mean": float(np.mean(exposed)),
        "failed_mean": float(np.mean([one.failed for one in outcomes])),
        "fused": sum(one.fuses > 0 for one in outcomes) / many,
        "minutes_to_promotion_median": _finite(float(np.quantile(in_time, 0.5, method="higher"))),
        "minutes_to_promotion_p90": _finite(float(np.quantile(in_time, 0.9, method="higher"))),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
