"""How long each step of a climb takes, what it can find and whom it may cost, before it starts.

All of it follows from the endpoint's own traffic and lag, and expects that both go on as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from policies.criterion import Criterion
from policies.guards import ERRORS
from policies.outlook import requests_needed
from policies.prospect import Traffic, failure_found, smallest_regression
from policies.rollout import WHOLE, Rollout
from policies.wealth import rate_of
from policies.words import amount, duration

AWAKE, AUTO_STOP = timedelta(minutes=1), timedelta(minutes=10)
"""What a statement is taken to keep a warehouse busy for, and how long it then stays awake."""
ENTITIES = 2
"""Both versions are provisioned while a release is live."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a guard needs to let a step go on, for a candidate that does as stable does."""

    guard: str
    requests: int | None
    """The candidate's; None: no number of them is enough."""
    time: timedelta | None


@dataclass(frozen=True, kw_only=True)
class StepForecast:
    """A compared step: what it needs, what it finds, and whom it exposes meanwhile."""

    weight: int
    margin: float | None
    """Of errors, by which this step is judged, in shares of requests; None: they decide nothing."""
    needs: tuple[Need, ...]
    """Of the guards that decide."""
    slowest: str
    """The guard that needs the longest; empty where none decides."""
    time: timedelta | None
    """From the weight being seen until the step can go on; None: it never can."""
    stay: timedelta
    """The same, but no longer than patience."""
    decides: bool
    """Within patience, at stable's own rate of errors."""
    smallest: float | None
    """The lowest error rate that harm is expected to find by the end of the stay; None: not even
    a total failure is, undetectable in principle."""
    found: timedelta | None
    """When a candidate that fails every request is shut out; None: not on this step."""
    by: str
    """What shuts it out: the fuse, or the counts by version."""
    failing: float
    """Requests that such a candidate answers until then, on this step."""
    undetected: float
    """Requests of the whole stay: what a candidate answers that is too little worse to be found."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """A climb, foretold."""

    steps: tuple[StepForecast, ...]
    """As configured, below 100 %."""
    pinned: tuple[int, ...]
    """The steps that would be kept when it opens, and 100."""
    because: str
    last: int
    """Percent of users of the last step: all but those who are held back."""
    stops_at: int | None
    """The step that cannot decide within patience, and then asks or goes back; None: there is
    none, and the climb comes to its end."""
    to_whole: timedelta | None
    """From the first users to the last step; updates of the endpoint itself are not counted."""
    to_production: timedelta | None
    to_confirmed: timedelta | None
    looks: int
    """Statements that the warehouse is asked until the end, or until the climb stops."""
    warehouse: timedelta
    """How long it is awake for them."""
    provisioning: timedelta
    """Entity-hours of both versions until then."""


def time_needed(criterion: Criterion, weight: int, requests_per_second: float) -> timedelta | None:
    """The time in which a compared step is expected to pass a guard; None if it never can.

    For a candidate that does as stable does; before anything is seen, for one without errors.
    """
    needed = requests_needed(criterion.safety(weight), weight)
    return _time(needed, weight, requests_per_second)


def slowest(
    criteria: Sequence[Criterion], weight: int, requests_per_second: float
) -> tuple[timedelta | None, str]:
    """The time that a compared step needs, and the guard that needs it."""
    needs = [
        Need(guard=one.guard, requests=None, time=time_needed(one, weight, requests_per_second))
        for one in criteria
        if not one.observe
    ]
    return _slowest(needs)


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
    seen, limit = f"{amount(requests_per_second)} requests/s", duration(rollout.patience)
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
    left = [f"{step} %" for step in compared if step not in kept]
    be = "is" if len(left) == 1 else "are"
    return pinned, f"{', '.join(left)} cannot decide {where}, and {be} left out"


def forecast(
    rollout: Rollout, criteria: Sequence[Criterion], traffic: Traffic, every: timedelta
) -> Forecast:
    """What a release at this traffic would take, could find, and might cost.

    `every` is the pace of evidence. A step takes max(min_step, settle + proof + lag + every / 2):
    min_step runs from the weight being seen, and the proof's last rows are read that much later.
    """
    pace, late = traffic.requests_per_second, traffic.lag + every / 2
    pinned, because = pin(rollout, criteria, pace, traffic.lag)
    compared = [weight for weight in rollout.steps if weight < WHOLE]
    steps = tuple(_step(rollout, criteria, traffic, every, weight) for weight in compared)
    kept = [one for one in steps if one.weight in pinned.steps]
    stops = next((one.weight for one in kept if not one.decides), None)
    climbed = [one.stay for one in kept if stops is None or one.weight <= stops]
    to_whole = sum(climbed, timedelta())
    to_production = to_whole + rollout.bake + late
    to_confirmed = to_production + rollout.watch + late
    end = to_confirmed if stops is None else to_whole
    looks = max(1, round(end / every)) if pace > 0 and every else 0
    return Forecast(
        steps=steps,
        pinned=pinned.steps,
        because=because,
        last=WHOLE - rollout.hold_back,
        stops_at=stops,
        to_whole=to_whole if stops is None else None,
        to_production=to_production if stops is None else None,
        to_confirmed=to_confirmed if stops is None else None,
        looks=looks,
        warehouse=looks * min(every, AWAKE + AUTO_STOP),
        provisioning=ENTITIES * end,
    )


def _step(
    rollout: Rollout,
    criteria: Sequence[Criterion],
    traffic: Traffic,
    every: timedelta,
    weight: int,
) -> StepForecast:
    needs = tuple(_need(one, weight, traffic) for one in criteria if not one.observe)
    proof, name = _slowest(needs)
    late = traffic.lag + every / 2
    time = None if proof is None else max(rollout.min_step, rollout.settle + proof + late)
    stay = rollout.patience if time is None else min(time, rollout.patience)
    pace = traffic.requests_per_second * weight / 100
    counted = max(timedelta(), stay - late).total_seconds() * pace
    found = failure_found(criteria, weight, traffic, every)
    if found is not None and found[0] > stay:
        found = None
    margins = [one.margin_at(weight) for one in criteria if one.guard == ERRORS and not one.observe]
    return StepForecast(
        weight=weight,
        margin=next(iter(margins), None),
        needs=needs,
        slowest=name,
        time=time,
        stay=stay,
        decides=bool(needs) and proof is not None and proof + traffic.lag <= rollout.patience,
        smallest=smallest_regression(criteria, counted, weight, traffic),
        found=found[0] if found else None,
        by=found[1] if found else "",
        failing=(found[0] if found else stay).total_seconds() * pace,
        undetected=stay.total_seconds() * pace,
    )


def _need(criterion: Criterion, weight: int, traffic: Traffic) -> Need:
    """What a guard needs; errors at the rate that stable is known to have."""
    question = criterion.safety(weight)
    if criterion.guard == ERRORS:
        as_stable = rate_of(traffic.errors, 1.0)
        question = replace(question, expected=(as_stable, as_stable))
    needed = requests_needed(question, weight)
    time = _time(needed, weight, traffic.requests_per_second)
    return Need(guard=criterion.guard, requests=needed, time=time)


def _slowest(needs: Sequence[Need]) -> tuple[timedelta | None, str]:
    """The longest time of all, and whose it is; one that never comes is longer than any."""
    worst, name = timedelta(), ""
    for need in needs:
        if need.time is None:
            return None, need.guard
        if need.time >= worst:
            worst, name = need.time, need.guard
    return worst, name


def _time(requests: int | None, weight: int, requests_per_second: float) -> timedelta | None:
    """How long so many of the candidate's requests take to come."""
    pace = requests_per_second * weight / WHOLE
    if pace <= 0 or requests is None:
        return None
    return timedelta(seconds=requests / pace)
