"""What every guard of a live release says by now, also where it says what it said before.

The journal has a verdict when it changes or decides. Between two of them the numbers move at every
block: this tells them, from the blocks alone, so that record and log give the same answer.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from policies.bounds import CLOSES
from policies.criterion import Criterion
from policies.evidence import Block, total
from policies.judge import no_worse, of_source, over_limits
from policies.standing import Standing
from policies.telling import odds, tell
from policies.verdict import Outcome
from states.machine import State
from states.rejudging import Bench
from states.release import Application, Release
from states.status import Status, status

RECENT = timedelta(hours=1)
"""By the blocks of so long the endpoint's requests per second are told."""

Look = dict[str, Any]
"""`guard`, `verdict` (null where nothing is waited for), `observe`, `because`, and numbers."""


def looks_of(application: Application, release: Release) -> list[Look]:
    """The last look of each guard, of the record; none unless users are on trial."""
    if not release.sources or release.pinned is None:
        return []
    return last_looks(Bench.of(release), release.blocks, status(application, release))


def last_looks(bench: Bench, blocks: Sequence[Block], told: Status) -> list[Look]:
    """The same of what a release is judged by, its blocks so far, and its status.

    On a compared step each guard is asked whether it is shown to be no worse, as a pass asks it.
    While the gate is shut, in the bake and in the watch nothing is waited for but harm.
    """
    step, steps = told["step"], told["steps"]
    if told["state"] not in (State.CANARY, State.PRODUCTION) or not step:
        return []
    compared = told["state"] == State.CANARY and step < len(steps) and told["weight"] > 0
    own = tuple(one for one in blocks if one.span == told["evidence_span"])
    standing = Standing.start(bench.criteria).after(*blocks)
    if compared:
        found = [_asked(one, bench, own, blocks, told["weight"]) for one in bench.criteria]
        return [*_limited(found, standing, own), _harm(standing)] if found else []
    shown = own if told["weight"] else tuple(blocks)
    found = [_watched(one, shown) for one in bench.criteria]
    return _limited(found, standing, own) if told["weight"] else found


def _asked(
    guard: Criterion, bench: Bench, own: Sequence[Block], blocks: Sequence[Block], weight: int
) -> Look:
    present = tuple(one for one in own if one.comparable)
    lag = (bench.history and bench.history.lag) or timedelta()
    pace = _pace(of_source(guard, blocks))
    verdict = no_worse(guard, present, weight=weight, pace=pace, lag=lag)
    return {
        "guard": guard.guard,
        "verdict": verdict.outcome.value,
        "observe": guard.observe,
        "because": verdict.because,
        **verdict.numbers,
    }


def _watched(guard: Criterion, own: Sequence[Block]) -> Look:
    because = tell(guard.telling, total(of_source(guard, own)))
    return {"guard": guard.guard, "verdict": None, "observe": guard.observe, "because": because}


def _limited(looks: list[Look], standing: Standing, own: Sequence[Block]) -> list[Look]:
    """The looks, where a guard that has nothing else to wait for has its hard limit to keep."""
    over = {one.guard: one for one in over_limits(standing, own)}
    return [
        {**look, "verdict": over[guard].outcome.value, "because": over[guard].because}
        if (guard := look["guard"]) in over and look["verdict"] in (None, Outcome.PASS.value)
        else look
        for look in looks
    ]


def _harm(standing: Standing) -> Look:
    """The one budget of all guards, as long as stable is there to be compared with."""
    because = f"evidence {odds(standing.evidence())} of {odds(CLOSES)} that closes the gate"
    return {"guard": "harm", "verdict": None, "observe": False, "because": because}


def _pace(blocks: Sequence[Block]) -> float | None:
    """The endpoint's requests per second, by what one source has told of lately."""
    if not blocks:
        return None
    lately = [one for one in blocks if one.closed_at > blocks[-1].closed_at - RECENT]
    seconds = sum((one.closed_at - one.opened_at).total_seconds() for one in lately)
    counted = sum(one.candidate.requests + one.stable.requests + one.unattributed for one in lately)
    return counted / seconds if seconds > 0 and counted else None
