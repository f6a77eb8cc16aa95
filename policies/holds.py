"""What stops a climb without blaming the candidate: the environment, routing and capacity.

Rolling back helps against none of these: a bad world is bad for stable too, a router that does not
do as it was told says nothing of a version, and a full queue wants more concurrency.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import timedelta

from policies.bounds import CLOSES, FALSE_ROLLBACK
from policies.criterion import Telling
from policies.evidence import Arm, Block, total
from policies.guards import CAPACITY, PEACE, CapacityGuard, ErrorGuard
from policies.onearm import excess
from policies.sequential import Comparison, harm
from policies.telling import counts, shown
from policies.verdict import Outcome, Verdict
from policies.wealth import Values, binary
from policies.words import amount, percent

LATELY = timedelta(minutes=15)
"""How far back is looked: an outage that is over, and a queue that has room again, hold nothing."""
TOLERANCE = 1.25
"""Factor by which the candidate's observed share may differ from its weight: routers round."""
ROOM = 1.0
"""Part of the provisioned concurrency that the wanted share of the peak may fill."""


def environment(guard: ErrorGuard, blocks: Sequence[Block]) -> str | None:
    """Why nobody can be judged now: stable itself is over the hard limit, lately; else None."""
    lately = _lately(blocks)
    failed = [binary(one.stable.requests, one.stable.server_errors) for one in lately]
    if excess(failed, guard.limit) < CLOSES:
        return None
    _, stable = total(lately)
    rate = stable.server_errors / stable.requests
    return (
        f"stable itself fails with server errors ({stable.server_errors:,} of "
        f"{stable.requests:,}, {percent(rate)}, above the limit of {percent(guard.limit)}): the "
        "environment is at fault, and nobody is blamed until it is well"
    )


def sample_ratio(blocks: Iterable[Block], weight: int) -> str | None:
    """Why routing is in doubt: the candidate's share is shown to be far from its weight."""
    found = [one for one in blocks if one.comparable]
    share = weight / 100
    counts = [
        (one.candidate.requests, one.candidate.requests + one.stable.requests) for one in found
    ]
    more = excess([binary(both, own) for own, both in counts], min(0.99, share * TOLERANCE))
    less_than = 1 - share / TOLERANCE
    less = excess([binary(both, both - own) for own, both in counts], less_than)
    if max(more, less) - math.log(2) < CLOSES:
        return None
    candidate, stable = total(found)
    both = candidate.requests + stable.requests
    return (
        f"the candidate got {candidate.requests:,} of {both:,} requests "
        f"({percent(candidate.requests / both)}) at a weight of {weight} %: the endpoint does not "
        "route as it was told, or the counts leave requests out"
    )


def rejected(guard: CapacityGuard, blocks: Sequence[Block]) -> Verdict | None:
    """FAIL where the candidate has too little room: it rejects (429) more than stable, lately."""
    found = [one for one in _lately(blocks) if one.candidate.requests and one.stable.requests]
    pairs = [(_rejected(one.candidate), _rejected(one.stable)) for one in found]
    evidence = harm(Comparison(margin=guard.margin / PEACE), pairs)
    if evidence < CLOSES:
        return None
    candidate, stable = arms = total(found)
    because = (
        f"the candidate rejected {candidate.rejected:,} of {candidate.requests:,} requests with "
        f"429, stable {stable.rejected:,} of {stable.requests:,}: give it more provisioned "
        "concurrency"
    )
    numbers = {
        **counts(CAPACITY, Telling(observed=_rejected, noun="rejected"), arms),
        "evidence": shown(evidence),
        "closes_at": 1 / FALSE_ROLLBACK,
    }
    return Verdict(outcome=Outcome.FAIL, guard=CAPACITY, because=because, numbers=numbers)


def crowded(
    weight: int, peak: float | None, concurrency: int | None, version: str = "the candidate"
) -> str | None:
    """Why a version could not bear a weight: its share of the peak in flight, and its room.

    `peak` is the endpoint's, of the last hour; where either is unknown nothing is said.
    """
    if peak is None or not concurrency:
        return None
    wanted = peak * weight / 100
    if wanted <= ROOM * concurrency:
        return None
    return (
        f"{weight} % of the last hour's peak is {amount(wanted)} requests in flight, and {version} "
        f"is provisioned for {concurrency}: give it more concurrency, or wait for less traffic"
    )


def _lately(blocks: Sequence[Block]) -> Sequence[Block]:
    """The newest blocks; what holds the climb must be able to go away."""
    since = blocks[-1].closed_at - LATELY if blocks else None
    return [one for one in blocks if since and one.opened_at >= since] or blocks[-1:]


def _rejected(arm: Arm) -> Values:
    return binary(arm.requests, arm.rejected)
