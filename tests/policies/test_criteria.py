"""What each guard asks, whole: every null hypothesis in figures, and what it counts for it."""

from dataclasses import replace

import pytest

from policies.criteria import criteria
from policies.criterion import Criterion, Question
from policies.evidence import GRID, Arm, Measure, Tally
from policies.guards import (
    Guards,
    History,
    LatencyGuard,
    LengthGuard,
    ScoreGuard,
    TokenGuard,
    measures,
)
from tests.policies.counts import HISTORY, TABLE, guards_by

SCORE = "groundedness"
ALL = Guards(
    latency=LatencyGuard(limit_ms=900.0),
    tokens=TokenGuard(price_per_1k=2.0),
    length=LengthGuard(),
    scores={SCORE: ScoreGuard()},
)
PAST = replace(HISTORY, errors=100, length=(200.0, 400.0, 800.0))
"""2 in 1,000 failed, 3 in 100 were faulty, and half of all answers had 200 to 800 characters."""
NAMES = ("errors", "latency", "answers", "tokens", "shorter", "longer", SCORE)


def found() -> dict[str, Criterion]:
    """What each guard asks, by its name; made in the test, so that it is what is tested."""
    measured = measures(ALL, PAST, (5, 25, 50, 100))
    made = criteria(ALL, measured, PAST, dict.fromkeys(NAMES, TABLE), dispersion=2.0)
    return {one.guard: one for one in made}


def edges_of(name: str) -> tuple[float, ...]:
    """Above which values a guard's answers are counted."""
    return measures(ALL, PAST, (5, 25, 50, 100))[name].edges


def counted(name: str) -> Tally:
    """100 answers of which no two edges were passed by equally many: so a count tells its edge."""
    return Tally(seen=100, counts=tuple(90 - 5 * index for index in range(len(edges_of(name)))))


MASS = (20.0, 30.0, *(0.0,) * (GRID - 2), 50.0)


def answering() -> Arm:
    """An arm of 100 requests, whatever it is asked for."""
    return Arm(
        requests=100,
        errors=7,
        server_errors=3,
        tallies={
            "latency": counted("latency"),
            "length": counted("length"),
            "tokens": replace(counted("tokens"), mass=MASS),
            "answers": Tally(seen=100, counts=(9, 1, 2, 3, 4)),
            SCORE: Tally(seen=100, mass=MASS),
        },
    )


def passed(name: str, edge: float) -> int:
    """How many of its answers were above an edge."""
    return counted(name).counts[edges_of(name).index(edge)]


def bad(values: tuple[tuple[float, float], ...]) -> float:
    """Of observations that are bad or not: how many are."""
    assert sum(count for _, count in values) == pytest.approx(100)
    return dict(values)[1.0]


def figures(question: Question) -> tuple[float, float, float, float]:
    """A null hypothesis: p_c <= ratio p_b + margin; the guess of p_b; and the clusters."""
    one = question.comparison
    return one.margin, one.ratio, one.guess, one.dispersion


def shares(question: Question) -> tuple[float, ...]:
    """Of what is expected of each arm, the part that is bad; parts add up to one observation."""
    for side in question.expected:
        assert sum(part for _, part in side) == pytest.approx(1)
    return tuple(dict(side)[1.0] for side in question.expected)


def at_steps(one: Criterion) -> list[str]:
    """Its safety margin in words, step by step."""
    return [one.within(weight) for weight in (1, 5, 25, 50)]


def test_errors_are_compared_in_points_on_sessions_that_cluster() -> None:
    one = found()["errors"]
    [harm] = one.harm
    assert figures(harm) == pytest.approx((0.00025, 1, 0, 2))
    assert harm.words == "more errors than stable by over 0.025 pp"
    assert figures(one.safety(5)) == pytest.approx((0.03, 1, 0, 2))
    assert shares(one.safety(5)) == pytest.approx((0.002, 0.002))
    assert one.safety(5).known
    assert at_steps(one) == [f"{told} pp of stable" for told in ("10", "3", "1", "0.5")]
    assert bad(harm.candidate(answering())) == bad(harm.stable(answering())) == 7
    assert (one.alone.slack, one.alone.rise, one.alone.most) == pytest.approx((0.00025, 0, 0.5))
    assert one.alone.otherwise is None
    assert one.alone.words == "more errors than"
    assert bad(one.alone.observed(answering())) == 7
    assert one.limit is not None
    assert (one.limit.permitted, bad(one.limit.observed(answering()))) == (0.05, 3)
    assert one.limit.words == "server errors above the limit of 5 %"


def test_latency_is_compared_above_each_quantile_of_stables_past() -> None:
    one = found()["latency"]
    edges = ((120, 126), (168, 176), (228, 239), (273, 287), (384, 403))
    for harm, (past, slower), share in zip(
        one.harm, edges, (0.5, 0.25, 0.1, 0.05, 0.01), strict=True
    ):
        assert figures(harm) == pytest.approx((0, 1, share, 1))
        assert harm.words == "slower than stable by over 5 %"
        assert harm.known
        assert bad(harm.candidate(answering())) == passed("latency", slower)
        assert bad(harm.stable(answering())) == passed("latency", past)
        # Of a candidate that is as fast, fewer are above the higher edge, and not none.
        ours, theirs = shares(harm)
        assert theirs == pytest.approx(share)
        assert share * 0.7 < ours < share
    for weight, edge in ((5, 682), (25, 410), (50, 341)):
        assert bad(one.safety(weight).candidate(answering())) == passed("latency", edge)
        assert bad(one.safety(weight).stable(answering())) == passed("latency", 273)
    assert at_steps(one)[1:] == [f"{told} % of stable" for told in ("150", "50", "25")]
    assert one.alone.otherwise == pytest.approx(0.05)
    assert (one.alone.slack, one.alone.rise) == (0.01, 0)
    assert bad(one.alone.observed(answering())) == passed("latency", 546)
    assert one.alone.words == "more answers above 546 ms, far above stable's p95, than"
    assert one.limit is not None
    assert one.limit.permitted == pytest.approx(0.05)
    assert bad(one.limit.observed(answering())) == passed("latency", 900)
    assert one.limit.words == "more than one answer in twenty above the limit of 900 ms"


def test_answers_are_compared_by_the_failure_of_any_check() -> None:
    one = found()["answers"]
    [harm] = one.harm
    assert figures(harm) == pytest.approx((0.004, 1, 0.03, 1))
    assert harm.words == (
        "more empty, unsourced, cut-off or refused answers than stable by over 0.4 pp"
    )
    assert shares(harm) == pytest.approx((0.03, 0.03))
    assert harm.known
    assert bad(harm.candidate(answering())) == bad(harm.stable(answering())) == 9
    assert figures(one.safety(25)) == pytest.approx((0.04, 1, 0.03, 1))
    assert at_steps(one)[1:] == [f"{told} pp of stable" for told in ("12", "4", "2")]
    assert (one.alone.slack, one.alone.otherwise) == pytest.approx((0.02, 0.08))
    assert one.alone.words == "more faulty answers than"
    assert one.limit is None


def test_tokens_are_compared_by_their_mean_and_by_the_longest_in_a_hundred() -> None:
    one = found()["tokens"]
    spent, longest = one.harm
    assert figures(spent) == pytest.approx((0, 1.05, 0.125, 1))
    assert spent.words == "more tokens per answer than stable by over 5 %"
    assert spent.expected == (((0.0, 0.5), (0.25, 0.5)),) * 2
    assert not spent.known
    masses = ((0.0, 20.0), (0.05, 30.0), (1.0, 50.0))
    assert (
        spent.candidate(answering())
        == spent.stable(answering())
        == one.alone.observed(answering())
        == masses
    )
    assert figures(longest) == pytest.approx((0.01, 1, 0.01, 1))
    assert longest.words == "more answers of over 1,120 tokens than stable"
    assert shares(longest) == pytest.approx((0.01, 0.01))
    assert (
        bad(longest.candidate(answering()))
        == bad(longest.stable(answering()))
        == passed("tokens", 1120)
    )
    assert figures(one.safety(5)) == (0, 2.5, 0.125, 1)
    assert at_steps(one)[1:] == [f"{told} % of stable" for told in ("150", "50", "25")]
    assert (one.telling.scale, one.telling.price) == pytest.approx((4480, 0.002))
    assert (one.alone.slack, one.alone.rise, one.alone.otherwise) == (0, 0.25, None)
    assert one.alone.words == "more tokens per answer than"
    assert one.limit is None


@pytest.mark.parametrize(
    ("side", "parts", "below"),
    [("shorter", (0.25, 0.5, 0.75), 1), ("longer", (0.75, 0.5, 0.25), 0)],
)
def test_lengths_are_compared_at_each_quartile_of_stables_past(
    side: str, parts: tuple[float, ...], below: int
) -> None:
    one = found()[side]

    def beyond(edge: int) -> int:
        above = passed("length", edge - below)
        return 100 - above if below else above

    for harm, edge, share in zip(one.harm, (200, 400, 800), parts, strict=True):
        assert figures(harm) == pytest.approx((0.02, 1, share, 1))
        assert harm.words == f"more answers {side} than {edge} characters than stable by over 2 pp"
        assert shares(harm) == (share, share)
        assert harm.known
        assert bad(harm.candidate(answering())) == bad(harm.stable(answering())) == beyond(edge)
    assert figures(one.safety(5)) == pytest.approx((0.6, 1, 0.5, 1))
    assert bad(one.safety(5).candidate(answering())) == beyond(400)
    assert figures(one.safety(1))[0] == 0.99, "above it nothing could be shown"
    assert one.telling.noun == f"{side} than 400 characters"
    assert one.alone.words == f"more answers {side} than 400 characters than"
    assert (one.alone.slack, bad(one.alone.observed(answering()))) == (0.1, beyond(400))
    assert one.limit is None


def test_a_score_is_compared_by_what_it_falls_short_of_1() -> None:
    one = found()[SCORE]
    [harm] = one.harm
    assert figures(harm) == pytest.approx((0.02, 1, 0.25, 1))
    assert harm.words == "groundedness lower than stable's by over 0.02"
    assert harm.expected == (((0.0, 0.5), (0.5, 0.5)),) * 2
    short = ((1.0, 20.0), (0.95, 30.0), (0.0, 50.0))
    assert (
        harm.candidate(answering())
        == harm.stable(answering())
        == one.alone.observed(answering())
        == short
    )
    assert figures(one.safety(5)) == pytest.approx((0.3, 1, 0.25, 1))
    assert figures(one.safety(1))[0] == 0.99, "above it nothing could be shown"
    assert at_steps(one)[1:] == [f"{told} of stable" for told in ("0.3", "0.1", "0.05")]
    assert one.telling.observed(answering()) == ((0.0, 20.0), (0.05, 30.0), (1.0, 50.0))
    assert (one.telling.scale, one.alone.telling.scale) == (1, 1)
    assert (one.alone.slack, one.alone.words) == (0.05, "groundedness further below 1 than")


@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_counted_is_nothing_seen(name: str) -> None:
    nothing = Arm(requests=0, errors=0, server_errors=0)
    one = found()[name]
    for question in (*one.harm, one.safety(5)):
        for observed in (question.candidate, question.stable):
            assert sum(count for _, count in observed(nothing)) == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_guard_that_observes_says_so_and_asks_the_same(name: str) -> None:
    watching = {"observe": True}
    quiet = Guards(
        errors=replace(ALL.errors, **watching),
        latency=replace(ALL.latency, **watching),
        answers=replace(ALL.answers, **watching),
        tokens=TokenGuard(price_per_1k=2.0, observe=True),
        length=LengthGuard(observe=True),
        scores={SCORE: ScoreGuard(observe=True)},
    )
    [one] = guards_by(quiet, history=PAST, only=(name,), dispersion=2.0)
    known = found()[name]
    assert (one.observe, known.observe) == (True, False)
    assert (one.margin, one.relative, one.source) == (known.margin, known.relative, TABLE)
    assert [figures(harm) for harm in one.harm] == [figures(harm) for harm in known.harm]


def test_without_a_past_nothing_is_taken_for_known() -> None:
    for history in (None, History()):
        measured = {name: Measure() for name in ("answers", "latency", "tokens", "length")}
        guards = replace(Guards(), length=LengthGuard() if history is None else None)
        sources = dict.fromkeys(("errors", "latency", "answers", "shorter", "tokens"), TABLE)
        if history is not None:
            del measured["latency"]
        found = {one.guard: one for one in criteria(guards, measured, history, sources)}
        assert set(found) == {"errors", "answers"}, "others need a past, or to be wished for"
        for one in found.values():
            assert not one.safety(5).known
            assert shares(one.safety(5)) == (0, 0)
            assert figures(one.harm[0])[2:] == (0, 1)
            assert one.alone.otherwise is None


def test_a_past_of_nothing_but_faulty_answers_leaves_something_to_show() -> None:
    past = replace(PAST, faulty=PAST.checked)
    [one] = guards_by(ALL, history=past, only=("answers",))
    assert one.alone.otherwise == 0.5


NOUNS = {
    "errors": "failed",
    "latency": "over 273 ms",
    "answers": "answers faulty",
    "tokens": "tokens",
    "shorter": "shorter than 400 characters",
    "longer": "longer than 400 characters",
    SCORE: "groundedness",
}


def test_guards_come_in_one_order_errors_first() -> None:
    assert tuple(found()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_counts_are_told_as_what_they_are(name: str) -> None:
    one = found()[name]
    assert one.telling.noun == NOUNS[name]
    alone = {"latency": "over 546 ms", SCORE: "short of 1"}
    assert one.alone.telling.noun == alone.get(name, NOUNS[name])
    limits = {"errors": "failed with server errors", "latency": "over 900 ms"}
    assert (one.limit.telling.noun if one.limit else None) == limits.get(name)
    assert one.relative is (name in ("latency", "tokens"))
    if name not in ("latency", SCORE):
        assert one.telling.observed(answering()) == one.harm[len(one.harm) // 3].candidate(
            answering()
        )


def test_of_faulty_answers_it_is_told_where_they_went_wrong() -> None:
    parts = found()["answers"].telling.parts
    assert parts is not None
    assert parts(answering()) == {"retrieval": 2, "generation": 7}
    whole = Arm(requests=9, errors=0, server_errors=0, tallies={"answers": Tally(seen=9)})
    assert parts(whole) == {}
