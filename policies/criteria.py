"""What each guard asks of the counts: its null hypotheses, as data for one way of judging.

The null hypotheses and margins are those of the study that the README cites; all of them compare
observations in [0, 1] that an arm's counts hold exactly, so that no test interpolates.
"""

from collections.abc import Callable, Mapping
from functools import partial

from policies.criterion import Alone, Criterion, Limit, Question, Telling
from policies.evidence import CHECKS, Arm, Measure, Tally
from policies.guards import (
    ANSWERS,
    ERRORS,
    LATENCY,
    LENGTH,
    LONGER,
    PEACE,
    QUANTILES,
    SHORTER,
    TOKENS,
    AnswerGuard,
    ErrorGuard,
    Guards,
    History,
    ScoreGuard,
    TokenGuard,
    widening,
)
from policies.latency import LEAST_SLOW, latency
from policies.length import length
from policies.sequential import Comparison
from policies.wealth import Values, binary, rate_of, spread
from policies.words import percent, points

USUAL = 1 / 8
"""The mean, as a share of its cap, that is guessed before any was seen."""
MOST_FAILED = 0.5
"""Share of requests that may fail at 100 %, however few of stable's the past has."""


def criteria(
    guards: Guards,
    measures: Mapping[str, Measure],
    history: History | None,
    sources: Mapping[str, str],
    dispersion: float = 1.0,
) -> tuple[Criterion, ...]:
    """The guards that something counts for, errors first."""
    makers: dict[str, Callable[[str], Criterion]] = {
        ERRORS: partial(_errors, guards.errors, dispersion, history)
    }
    if history is not None and LATENCY in measures:
        makers[LATENCY] = partial(latency, guards.latency, measures[LATENCY], history)
    if ANSWERS in measures:
        makers[ANSWERS] = partial(_answers, guards.answers, history)
    if guards.tokens is not None and TOKENS in measures:
        makers[TOKENS] = partial(_tokens, guards.tokens, measures[TOKENS])
    if guards.length is not None and history is not None and LENGTH in measures:
        for side in (SHORTER, LONGER):
            makers[side] = partial(length, side, guards.length, measures[LENGTH], history)
    for name, guard in guards.scores.items():
        makers[name] = partial(_score, name, guard)
    return tuple(make(sources[name]) for name, make in makers.items() if name in sources)


def _errors(
    guard: ErrorGuard, dispersion: float, history: History | None, source: str
) -> Criterion:
    known = history is not None and history.requests > 0
    usual = history.errors / history.requests if history is not None and known else 0.0
    failed = Telling(observed=_failed, noun="failed")

    def question(margin: float) -> Question:
        return Question(
            candidate=_failed,
            stable=_failed,
            comparison=Comparison(margin=margin, dispersion=dispersion),
            expected=(rate_of(usual, 1.0), rate_of(usual, 1.0)),
            known=known,
            words=f"more errors than stable by over {points(margin)}",
        )

    return Criterion(
        guard=ERRORS,
        source=source,
        observe=guard.observe,
        margin=guard.margin,
        relative=False,
        harm=(question(guard.harm_margin),),
        safety=lambda weight: question(guard.margin * widening(weight)),
        alone=Alone(
            telling=failed, slack=guard.harm_margin, most=MOST_FAILED, words="more errors than"
        ),
        limit=Limit(
            telling=Telling(observed=_server_failed, noun="failed with server errors"),
            permitted=guard.limit,
            words=f"server errors above the limit of {percent(guard.limit)}",
        ),
        telling=failed,
    )


def _failed(arm: Arm) -> Values:
    return binary(arm.requests, arm.errors)


def _server_failed(arm: Arm) -> Values:
    return binary(arm.requests, arm.server_errors)


def _wide(mean: float) -> Values:
    """One observation in parts, as far around its mean as token counts and scores are."""
    return ((0.0, 0.5), (2 * mean, 0.5))


def _answers(guard: AnswerGuard, history: History | None, source: str) -> Criterion:
    known = history is not None and history.checked > 0
    usual = history.faulty / history.checked if history is not None and known else 0.0
    faulty = Telling(observed=_faulty, noun="answers faulty", parts=_origins)

    def question(margin: float) -> Question:
        return Question(
            candidate=_faulty,
            stable=_faulty,
            comparison=Comparison(margin=margin, guess=usual),
            expected=(rate_of(usual, 1.0), rate_of(usual, 1.0)),
            known=known,
            words="more empty, unsourced, cut-off or refused answers than stable by over "
            f"{points(margin)}",
        )

    return Criterion(
        guard=ANSWERS,
        source=source,
        observe=guard.observe,
        margin=guard.margin,
        relative=False,
        harm=(question(guard.margin / PEACE),),
        safety=lambda weight: question(guard.margin * widening(weight)),
        alone=Alone(
            telling=faulty,
            slack=guard.margin,
            otherwise=min(0.5, 2 * usual + guard.margin) if known else None,
            words="more faulty answers than",
        ),
        limit=None,
        telling=faulty,
    )


def _faulty(arm: Arm) -> Values:
    tally = arm.tallies.get(ANSWERS)
    return binary(tally.seen, tally.counts[0]) if tally and tally.counts else ()


def _origins(arm: Arm) -> Mapping[str, int]:
    """Where faulty answers went wrong: without sources, nothing was retrieved to answer from."""
    tally = arm.tallies.get(ANSWERS)
    if tally is None or len(tally.counts) != 1 + len(CHECKS):
        return {}
    unsourced = tally.counts[1 + CHECKS.index("unsourced")]
    return {"retrieval": unsourced, "generation": tally.counts[0] - unsourced}


def _tokens(guard: TokenGuard, measure: Measure, source: str) -> Criterion:
    assert measure.cap is not None, "tokens are judged by their mean"

    def observed(arm: Arm) -> Values:
        return _spread(arm, TOKENS)

    price = guard.price_per_1k / 1000 if guard.price_per_1k is not None else None
    spent = Telling(observed=observed, noun="tokens", scale=measure.cap, price=price)

    def question(rise: float) -> Question:
        return Question(
            candidate=observed,
            stable=observed,
            comparison=Comparison(ratio=1 + rise, guess=USUAL),
            expected=(_wide(USUAL), _wide(USUAL)),
            words=f"more tokens per answer than stable by over {percent(rise)}",
        )

    def exceeds(index: int) -> Question:
        def over(arm: Arm) -> Values:
            tally = arm.tallies.get(TOKENS)
            return binary(tally.seen, tally.counts[index]) if tally and tally.counts else ()

        share = 1 - QUANTILES[min(index, len(QUANTILES) - 1)]
        return Question(
            candidate=over,
            stable=over,
            comparison=Comparison(margin=LEAST_SLOW, guess=share),
            expected=(rate_of(share, 1.0), rate_of(share, 1.0)),
            words=f"more answers of over {measure.edges[index]:,.0f} tokens than stable",
        )

    return Criterion(
        guard=TOKENS,
        source=source,
        observe=guard.observe,
        margin=guard.margin,
        relative=True,
        harm=(question(guard.margin / PEACE), exceeds(len(measure.edges) - 1)),
        safety=lambda weight: question(guard.margin * widening(weight)),
        alone=Alone(telling=spent, rise=guard.margin, words="more tokens per answer than"),
        limit=None,
        telling=spent,
    )


def _score(name: str, guard: ScoreGuard, source: str) -> Criterion:
    def loss(arm: Arm) -> Values:
        return tuple((1 - value, count) for value, count in _spread(arm, name))

    def question(margin: float) -> Question:
        return Question(
            candidate=loss,
            stable=loss,
            comparison=Comparison(margin=min(margin, 0.99), guess=2 * USUAL),
            expected=(_wide(2 * USUAL), _wide(2 * USUAL)),
            words=f"{name} lower than stable's by over {margin:.3g}",
        )

    return Criterion(
        guard=name,
        source=source,
        observe=guard.observe,
        margin=guard.margin,
        relative=False,
        harm=(question(guard.margin / PEACE * 2),),
        safety=lambda weight: question(guard.margin * widening(weight)),
        alone=Alone(
            telling=Telling(observed=loss, noun="short of 1", scale=1.0),
            slack=guard.margin,
            words=f"{name} further below 1 than",
        ),
        limit=None,
        telling=Telling(
            observed=lambda arm: _spread(arm, name), noun=name, scale=1.0, desired=True
        ),
    )


def _spread(arm: Arm, name: str) -> Values:
    tally: Tally | None = arm.tallies.get(name)
    return spread(tally) if tally else ()
