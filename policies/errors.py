"""The error guard: whether the candidate is worse, or shown to be no worse than the margin."""

import math

from policies.evidence import Arm, Block, paired, total
from policies.rollout import ErrorGuard, margin_at
from policies.sequential import (
    clean_requests_needed,
    excess,
    harm,
    log_mean,
    safety_wealths,
    weighted,
)
from policies.verdict import Outcome, Verdict
from policies.words import duration, percent, points

GUARD = "errors"
FALSE_ROLLBACK = 0.01
"""Chance that a release no worse than stable is ever rolled back on its evidence."""
FALSE_PASS = 0.05
"""Chance that a step opens for a candidate that is worse by the step's margin."""
CLOSES = math.log(1 / FALSE_ROLLBACK)
OPENS = math.log(1 / FALSE_PASS)
COMPARED, OWN_PAST, LIMIT = 0.5, 0.25, 0.25
"""The false-rollback budget: half on the comparison, which finds most; the rest elsewhere."""


def harmful(guard: ErrorGuard, blocks: tuple[Block, ...]) -> Verdict | None:
    """FAIL once the evidence of harm, over the whole release, reaches its bound; else None.

    Three e-processes share one budget: the comparison with stable over the same minutes; at 100 %,
    the candidate against stable's rate at the last compared step; and the hard limit on 5xx and
    timeouts.
    """
    if guard.observe:
        return None
    compared = harm(paired(blocks), guard.harm_margin)
    limit = excess([block.candidate for block in blocks], guard.limit, _server_errors)
    permitted = permitted_rate(guard, blocks)
    own_past = 0.0
    if permitted is not None:
        own_past = excess(_alone(blocks), permitted, _errors)
    evidence = weighted([(COMPARED, compared), (OWN_PAST, own_past), (LIMIT, limit)])
    if evidence < CLOSES:
        return None
    reasons = {
        compared: f"more errors than stable by over {points(guard.harm_margin)}",
        own_past: f"more errors than stable's {percent(permitted or 0)} before it had all users",
        limit: f"server errors above the limit of {percent(guard.limit)}",
    }
    sentence = f"{_counts(blocks)}: {reasons[max(reasons)]}, evidence {_odds(evidence)}"
    numbers = {**_numbers(blocks), "evidence": _shown(evidence), "closes_at": 1 / FALSE_ROLLBACK}
    return Verdict(outcome=Outcome.FAIL, guard=GUARD, because=sentence, numbers=numbers)


def no_worse(
    guard: ErrorGuard, blocks: tuple[Block, ...], *, weight: int, pace: float | None
) -> Verdict:
    """PASS once the step's own blocks show the candidate within the step's margin of stable.

    `blocks` are those of the present span only; `pace` is the endpoint's requests per second,
    from which the wait is told.
    """
    margin = margin_at(weight, guard)
    wealths = safety_wealths(paired(blocks), margin)
    evidence = log_mean(wealths)
    numbers: dict[str, float | int] = {
        **_numbers(blocks),
        "margin": margin,
        "evidence": _shown(evidence),
        "opens_at": 1 / FALSE_PASS,
    }
    told = f"{_counts(blocks)}: within {points(margin)} of stable, evidence {_odds(evidence)}"
    if evidence >= OPENS:
        return Verdict(outcome=Outcome.PASS, guard=GUARD, because=told, numbers=numbers)
    missing = clean_requests_needed(wealths, margin, OPENS)
    numbers["missing"] = missing
    wait = f"; {missing:,} more requests without error are missing"
    if pace:
        seconds = missing / (pace * weight / 100)
        numbers["seconds_missing"] = round(seconds)
        wait += f", about {duration(seconds)} at {pace:.3g} requests/s"
    because = f"{told} of {1 / FALSE_PASS:.0f}:1{wait}"
    return Verdict(outcome=Outcome.INSUFFICIENT, guard=GUARD, because=because, numbers=numbers)


def requests_needed(guard: ErrorGuard, weight: int) -> int:
    """The fewest candidate requests, all without error, that a compared step needs to pass."""
    return clean_requests_needed(safety_wealths([], 0), margin_at(weight, guard), OPENS)


def permitted_rate(guard: ErrorGuard, blocks: tuple[Block, ...]) -> float | None:
    """Stable's error rate at the last compared step, plus the harm margin; None without one.

    One request is added to the errors and to the requests, so that a short spotless stretch does
    not become a law of no errors at all.
    """
    compared = [block for block in blocks if block.comparable]
    if not compared:
        return None
    last = max(block.step for block in compared)
    _, stable = total(block for block in compared if block.step == last)
    return min(0.5, (stable.errors + 1) / (stable.requests + 1) + guard.harm_margin)


def tell(blocks: tuple[Block, ...]) -> str:
    """Both arms' counts and rates in words."""
    return _counts(blocks)


def _alone(blocks: tuple[Block, ...]) -> list[Arm]:
    """The candidate's counts where stable had no users to compare with."""
    return [
        block.candidate for block in blocks if not block.comparable and not block.stable.requests
    ]


def _errors(arm: Arm) -> int:
    return arm.errors


def _server_errors(arm: Arm) -> int:
    return arm.server_errors


def _counts(blocks: tuple[Block, ...]) -> str:
    candidate, stable = total(blocks)
    told = f"candidate {_share(candidate)}"
    return f"{told}, stable {_share(stable)}" if stable.requests else told


def _numbers(blocks: tuple[Block, ...]) -> dict[str, float | int]:
    candidate, stable = total(blocks)
    return {
        "candidate_requests": candidate.requests,
        "candidate_errors": candidate.errors,
        "candidate_rate": round(candidate.rate, 6),
        "stable_requests": stable.requests,
        "stable_errors": stable.errors,
        "stable_rate": round(stable.rate, 6),
    }


def _share(arm: Arm) -> str:
    return f"{arm.errors:,} of {arm.requests:,} failed ({percent(arm.rate)})"


def _odds(evidence: float) -> str:
    odds = _shown(evidence)
    return f"{odds:,.0f}:1" if odds >= 10 else f"{odds:.2g}:1"  # noqa: PLR2004 - two digits


def _shown(evidence: float) -> float:
    """Evidence for people: the odds themselves, to three digits, capped where digits end."""
    return float(f"{math.exp(min(evidence, math.log(1e6))):.3g}")
