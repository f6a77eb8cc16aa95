"""The latency guard: shares of answers above stable's past quantiles, and safety at its p95."""

import math

from policies.criterion import Alone, Criterion, Limit, Observed, Question, Telling
from policies.evidence import Arm, Measure
from policies.guards import (
    JUDGED,
    LATENCY,
    PEACE,
    QUANTILES,
    History,
    LatencyGuard,
    slower,
    twice,
    widening,
)
from policies.sequential import Comparison
from policies.wealth import Values, binary, rate_of
from policies.words import percent

LEAST_SLOW = 0.01
"""Slack, in shares of answers, of those far above stable's p95, once it is all that is left."""


def latency(guard: LatencyGuard, measure: Measure, history: History, source: str) -> Criterion:
    """The guard by its past: harm at every quantile, safety at p95, and alone far above it."""
    past = [float(round(threshold)) for threshold in history.latency_ms]

    def question(index: int, rise: float) -> Question:
        return Question(
            candidate=_over(measure, slower(past[index], rise)),
            stable=_over(measure, past[index]),
            comparison=Comparison(guess=1 - QUANTILES[index]),
            expected=(
                rate_of(_beyond(past, slower(past[index], rise)), 1.0),
                rate_of(1 - QUANTILES[index], 1.0),
            ),
            known=True,
            words=f"slower than stable by over {percent(rise)}",
        )

    def over(edge: float) -> Telling:
        return Telling(observed=_over(measure, edge), noun=f"over {edge:,.0f} ms")

    doubled, limit = twice(past[JUDGED]), None
    if guard.limit_ms is not None:
        told = f"more than one answer in twenty above the limit of {guard.limit_ms:,.0f} ms"
        limit = Limit(telling=over(guard.limit_ms), permitted=1 - QUANTILES[JUDGED], words=told)
    return Criterion(
        guard=LATENCY,
        source=source,
        observe=guard.observe,
        margin=guard.margin,
        relative=True,
        harm=tuple(question(index, guard.margin / PEACE) for index in range(len(past))),
        safety=lambda weight: question(JUDGED, guard.margin * widening(weight)),
        alone=Alone(
            telling=over(doubled),
            slack=LEAST_SLOW,
            otherwise=1 - QUANTILES[JUDGED],
            words=f"more answers above {doubled:,.0f} ms, far above stable's p95, than",
        ),
        limit=limit,
        telling=over(past[JUDGED]),
    )


def _beyond(past: list[float], edge: float) -> float:
    """The share of answers above an edge, guessed from the quantiles for a forecast; never tested.

    The edge is one of the past's or above it, so that there is a quantile to begin from.
    Between two quantiles, and beyond the last two, the share falls as a power of the latency.
    """
    known = [(value, 1 - share) for value, share in zip(past, QUANTILES, strict=True)]
    below = max(i for i, (value, _) in enumerate(known[:-1]) if value <= edge)
    (low, share), (high, less) = known[below], known[below + 1]
    if high <= low or low <= 0:
        return less
    power = math.log(less / share) / math.log(high / low)
    return share * math.exp(power * math.log(edge / low))


def _over(measure: Measure, edge: float) -> Observed:
    index = measure.edges.index(edge)

    def observed(arm: Arm) -> Values:
        tally = arm.tallies.get(LATENCY)
        return binary(tally.seen, tally.counts[index]) if tally and tally.counts else ()

    return observed
