"""The error guard: whether the candidate is worse, or shown to be no worse than the margin."""

import math
from datetime import timedelta

from policies.evidence import Arm, Block, paired, total
from policies.rollout import ErrorGuard, margin_at
from policies.sequential import (
    clean_requests_needed,
    excess,
    harm,
    highest_rate,
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
NAMELESS, ENOUGH = 0.05, 100
"""Share of a span's requests that may belong to nobody, and from how many on it is looked at."""
COMPARED, OWN_PAST, LIMIT = 0.5, 0.15, 0.25
"""The false-rollback budget: half on the comparison, which finds most. The tenth that is missing
pays for `MISJUDGED`."""
MISJUDGED = FALSE_ROLLBACK / 10
"""Chance that stable's rate at the last compared step is judged lower than it is."""


UNCOMPARED = 0.2
"""Error rate, whoever's mistakes, that a version without any past to compare with is held to."""


def harmful(
    guard: ErrorGuard, blocks: tuple[Block, ...], past: float | None = None
) -> Verdict | None:
    """FAIL once the evidence of harm, over the whole release, reaches its bound; else None.

    Three e-processes share one budget: the comparison with stable over the same minutes; at 100 %,
    the candidate against stable's rate at the last compared step (without one, against `past`,
    the rate that the hour before permits); and the hard limit on 5xx and timeouts, which blames
    nobody while stable fails as well.
    """
    compared = harm(paired(blocks), guard.harm_margin)
    limit = _over_limit(guard, blocks)
    permitted = permitted_rate(guard, blocks) or past or UNCOMPARED
    own_past = excess(_alone(blocks), permitted, _errors)
    shares = [(COMPARED, compared), (OWN_PAST, own_past), (LIMIT, limit)]
    evidence = weighted(shares)
    if evidence < CLOSES:
        return None
    reasons = (
        f"more errors than stable by over {points(guard.harm_margin)}",
        f"more errors than the {percent(permitted)} that the past permits",
        f"server errors above the limit of {percent(guard.limit)}",
    )
    heaviest = max(range(len(shares)), key=lambda index: weighted([shares[index]]))
    sentence = f"{_counts(blocks)}: {reasons[heaviest]}, evidence {_odds(evidence)}"
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


def blind(blocks: tuple[Block, ...], silence: timedelta, max_lag: timedelta) -> Verdict | None:
    """BLIND where the counting source is broken; None while it speaks, or may yet speak.

    `silence` is the time since the last moment that the source is known to have told of; `blocks`
    are those of the present span, of which too large a part may belong to nobody.
    """
    if silence > max_lag:
        because = (
            f"the inference table has told nothing for {duration(silence)}, and may be "
            f"{duration(max_lag)} late: the probes' own rows do not arrive"
        )
        return _blind(because, silent_seconds=round(silence.total_seconds()))
    candidate, stable = total(blocks)
    nameless = sum(block.unattributed for block in blocks)
    seen = nameless + candidate.requests + stable.requests
    if seen >= ENOUGH and nameless > NAMELESS * seen:
        because = (
            f"{nameless:,} of {seen:,} requests bear a served entity id that nothing names: "
            "grant SELECT on system.serving.served_entities"
        )
        return _blind(because, unattributed=nameless, requests=seen)
    return None


def _blind(because: str, **numbers: int) -> Verdict:
    return Verdict(outcome=Outcome.BLIND, guard=GUARD, because=because, numbers=numbers)


def requests_needed(guard: ErrorGuard, weight: int) -> int:
    """The fewest candidate requests, all without error, that a compared step needs to pass."""
    return clean_requests_needed(safety_wealths([], 0), margin_at(weight, guard), OPENS)


def permitted_rate(guard: ErrorGuard, blocks: tuple[Block, ...]) -> float | None:
    """The rate that stable's errors at the last compared step permit at 100 %; None without one.

    Stable's rate is only known from a sample. The highest rate that this sample allows for is
    taken, plus the harm margin: against the sample's own rate, hours at 100 % would prove its
    chance error, and call that harm.
    """
    last = _last_compared(blocks)
    if last is None:
        return None
    _, stable = total(block for block in blocks if block.comparable and block.step == last)
    highest = highest_rate(stable.errors, stable.requests, MISJUDGED)
    return min(0.5, highest + guard.harm_margin)


def tell(blocks: tuple[Block, ...]) -> str:
    """Both arms' counts and rates in words."""
    return _counts(blocks)


def _over_limit(guard: ErrorGuard, blocks: tuple[Block, ...]) -> float:
    """Log evidence against the hard limit: alone, and beside a stable that does better.

    Beside stable both must be shown, over the limit and worse than stable; the weaker of two
    e-processes is one against either null.
    """
    alone = excess(_alone(blocks), guard.limit, _server_errors)
    pairs = paired(blocks)
    over = excess([candidate for candidate, _ in pairs], guard.limit, _server_errors)
    return weighted([(0.5, alone), (0.5, min(over, harm(pairs, 0.0)))])


def _last_compared(blocks: tuple[Block, ...]) -> int | None:
    return max((block.step for block in blocks if block.comparable), default=None)


def _alone(blocks: tuple[Block, ...]) -> list[Arm]:
    """The candidate's counts at 100 %, where stable has no users to compare with."""
    last = _last_compared(blocks) or 0
    return [block.candidate for block in blocks if block.step > last and not block.stable.requests]


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
