"""Whether a climb can decide at all, from the endpoint's own traffic, before it starts."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from policies.criterion import Criterion
from policies.outlook import requests_needed
from policies.rollout import WHOLE, Rollout
from policies.words import duration


def time_needed(criterion: Criterion, weight: int, requests_per_second: float) -> timedelta | None:
    """The time in which a compared step is expected to pass a guard; None if it never can.

    For a candidate that does as stable does; before anything is seen, for one without errors.
    """
    pace = requests_per_second * weight / 100
    question = criterion.safety(weight)
    needed = requests_needed(question.comparison, question.expected, weight)
    if pace <= 0 or needed is None:
        return None
    return timedelta(seconds=needed / pace)


def slowest(
    criteria: Sequence[Criterion], weight: int, requests_per_second: float
) -> tuple[timedelta | None, str]:
    """The time that a compared step needs, and the guard that needs it."""
    worst, name = timedelta(), ""
    for criterion in criteria:
        if criterion.observe:
            continue
        needed = time_needed(criterion, weight, requests_per_second)
        if needed is None:
            return None, criterion.guard
        if needed >= worst:
            worst, name = needed, criterion.guard
    return worst, name


def pin(
    rollout: Rollout,
    criteria: Sequence[Criterion],
    requests_per_second: float | None,
    lag: timedelta = timedelta(),
) -> tuple[Rollout, str]:
    """The rollout to pin, and why.

    A compared step that cannot decide within `patience`, evidence being `lag` late, would only
    wait, and is left out; where none can, the steps are 100 alone. Traffic that was never seen
    changes nothing: patience covers it.
    """
    compared = [step for step in rollout.steps if step < WHOLE]
    if not compared:
        return rollout, "the configured steps compare nothing"
    if requests_per_second is None:
        return rollout, "the endpoint's traffic was not seen: steps as configured"
    seen, limit = f"{requests_per_second:.3g} requests/s", duration(rollout.patience)
    late = f" and {duration(lag)} of lag" if lag else ""
    times = {step: slowest(criteria, step, requests_per_second)[0] for step in compared}
    kept = [
        step for step, time in times.items() if time is not None and time + lag <= rollout.patience
    ]
    if kept == compared:
        return rollout, f"steps as configured, at {seen}{late}"
    pinned = replace(rollout, steps=(*kept, WHOLE))
    where = f"within {limit} at {seen}{late}"
    if not kept:
        return pinned, f"no step below 100 can decide {where}: steps are 100 alone"
    left = ", ".join(f"{step} %" for step in compared if step not in kept)
    return pinned, f"{left} cannot decide {where}, and is left out"
