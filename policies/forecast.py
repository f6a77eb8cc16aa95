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

    If no step below 100 can decide within `patience`, comparing would only wait: the steps become
    100 alone. Traffic that was never seen changes nothing: patience covers it.
    """
    compared = [step for step in rollout.steps if step < WHOLE]
    if not compared:
        return rollout, "the configured steps compare nothing"
    if requests_per_second is None:
        return rollout, "the endpoint's traffic was not seen: steps as configured"
    seen = f"{requests_per_second:.3g} requests/s"
    times = [time_needed(guard, step, requests_per_second) for step in compared]
    if any(time is not None and time <= rollout.patience for time in times):
        return rollout, f"steps as configured, at {seen}"
    limit = duration(rollout.patience)
    because = f"no step below 100 can decide within {limit} at {seen}: steps are 100 alone"
    return replace(rollout, steps=(WHOLE,)), because
