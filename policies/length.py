"""The length guard: whether answers are shorter than stable's, or longer, by its past's quartiles.

Two criteria, as either may be harm without the other: an answer that is cut off is short, whatever
its finish reason says, and one that tells all it has found is long.
"""

from policies.criterion import Alone, Criterion, Observed, Question, Telling
from policies.evidence import Arm, Measure
from policies.guards import LENGTH, PEACE, QUARTILES, SHORTER, History, LengthGuard, widening
from policies.sequential import Comparison
from policies.wealth import Values, binary, rate_of
from policies.words import points

MEDIAN = QUARTILES.index(0.5)
MOST = 0.99
"""The widest safety margin: above it nothing could be shown."""


def length(
    side: str, guard: LengthGuard, measure: Measure, history: History, source: str
) -> Criterion:
    """One side of the guard: harm at every quartile, safety and what is told at the median."""
    short = side == SHORTER
    past = [float(round(edge)) for edge in history.length]

    def question(index: int, margin: float) -> Question:
        share = QUARTILES[index] if short else 1 - QUARTILES[index]
        observed = _beyond(measure, past[index], short=short)
        return Question(
            candidate=observed,
            stable=observed,
            comparison=Comparison(margin=min(margin, MOST), guess=share),
            expected=(rate_of(share, 1.0), rate_of(share, 1.0)),
            known=True,
            words=f"more answers {_named(side, past[index])} than stable by over {points(margin)}",
        )

    told = Telling(
        observed=_beyond(measure, past[MEDIAN], short=short), noun=_named(side, past[MEDIAN])
    )
    return Criterion(
        guard=side,
        source=source,
        observe=guard.observe,
        margin=guard.margin,
        relative=False,
        harm=tuple(question(index, guard.margin / PEACE) for index in range(len(past))),
        safety=lambda weight: question(MEDIAN, guard.margin * widening(weight)),
        alone=Alone(
            telling=told,
            slack=guard.margin,
            words=f"more answers {_named(side, past[MEDIAN])} than",
        ),
        limit=None,
        telling=told,
    )


def _named(side: str, edge: float) -> str:
    return f"{side} than {edge:,.0f} characters"


def _beyond(measure: Measure, edge: float, *, short: bool) -> Observed:
    """Answers above a length, or below it: those that are not above the one before."""
    index = measure.edges.index(edge - 1 if short else edge)

    def observed(arm: Arm) -> Values:
        tally = arm.tallies.get(LENGTH)
        if tally is None or not tally.counts:
            return ()
        above = tally.counts[index]
        return binary(tally.seen, tally.seen - above if short else above)

    return observed
