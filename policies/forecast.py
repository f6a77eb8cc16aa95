"""Whether a climb can decide at all, from the endpoint's own traffic, before it starts."""

from dataclasses import replace
from datetime import timedelta

from policies.errors import requests_needed
from policies.rollout import WHOLE, ErrorGuard, Rollout
from policies.words import duration


def time_needed(guard: ErrorGuard, weight: int, requests_per_second: float) -> timedelta | None:
    """The least time in which a compared step can pass; None if it never can.

    For a candidate without errors: every error of either arm lengthens it.
    """
    pace = requests_per_second * weight / 100
    if pace <= 0:
        return None
    return timedelta(seconds=requests_needed(guard, weight) / pace)


def pin(
    rollout: Rollout, guard: ErrorGuard, requests_per_second: float | None
) -> tuple[Rollout, str]:
    """The rollout to pin at admission, and why.

    A compared step that cannot decide within `patience` would only wait, and is left out; where
    none can, the steps are 100 alone. Traffic that was never seen changes nothing: patience
    covers it.
    """
    compared = [step for step in rollout.steps if step < WHOLE]
    if not compared:
        return rollout, "the configured steps compare nothing"
    if requests_per_second is None:
        return rollout, "the endpoint's traffic was not seen: steps as configured"
    seen, limit = f"{requests_per_second:.3g} requests/s", duration(rollout.patience)
    times = {step: time_needed(guard, step, requests_per_second) for step in compared}
    kept = [step for step, time in times.items() if time is not None and time <= rollout.patience]
    if kept == compared:
        return rollout, f"steps as configured, at {seen}"
    pinned = replace(rollout, steps=(*kept, WHOLE))
    if not kept:
        return pinned, f"no step below 100 can decide within {limit} at {seen}: steps are 100 alone"
    left = ", ".join(f"{step} %" for step in compared if step not in kept)
    return pinned, f"{left} cannot decide within {limit} at {seen}, and is left out"
