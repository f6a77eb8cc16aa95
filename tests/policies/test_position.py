"""A guard's place: what waits for the other arm, its part of the budget, what each test says."""

from dataclasses import replace
from math import exp, inf, log

import pytest

from policies.criterion import Criterion
from policies.evidence import NOTHING
from policies.guards import Guards, LatencyGuard
from policies.position import Clue, Compared, Position, Waiting, clues_of, shares
from policies.wealth import Wealth
from tests.policies.counts import arm, block, errors_by, guards_by

ERRORS = errors_by()
ALL = guards_by()
LATENCY = next(one for one in ALL if one.guard == "latency")
TOKENS = next(one for one in ALL if one.guard == "tokens")
LIMITED = guards_by(Guards(latency=LatencyGuard(limit_ms=900)), only=("latency",))[0]


def won(evidence: float) -> Wealth:
    """A test that has come to this log evidence."""
    return Wealth((evidence,), -inf, 0.0, 0.0)


def at(*compared: float, alone: float = 0.0, permitted: float | None = None) -> Position:
    harm = tuple(Compared(worse=won(one)) for one in compared)
    limit = Compared(worse=won(0.0), over=won(0.0))
    return Position(
        harm=harm, limit=limit, limit_alone=won(0.0), alone=won(alone), permitted=permitted
    )


def assert_same(found: Clue, expected: Clue) -> None:
    """In all but the last digits of its numbers."""
    numbers = expected.share, expected.evidence
    assert (found.share, found.evidence) == pytest.approx(numbers)
    assert replace(found, share=expected.share, evidence=expected.evidence) == expected


def test_observations_wait_for_the_other_arm_within_their_span() -> None:
    [question] = ERRORS.harm
    begun = Waiting().after(block(arm(3, 1), NOTHING), question.candidate, question.stable)
    assert begun == Waiting(1, ((0.0, 2), (1.0, 1)), ((0.0, 0), (1.0, 0)))
    assert begun.pair is None
    both = begun.after(block(arm(2), arm(5, 4)), question.candidate, question.stable)
    ours = ((0.0, 2), (1.0, 1), (0.0, 2), (1.0, 0))
    theirs = ((0.0, 0), (1.0, 0), (0.0, 1), (1.0, 4))
    assert both == Waiting(1, ours, theirs)
    assert both.pair == (ours, theirs)


def test_what_waited_at_another_weight_is_gone() -> None:
    [question] = ERRORS.harm
    begun = Waiting().after(block(arm(3), NOTHING), question.candidate, question.stable)
    later = begun.after(block(NOTHING, arm(5, 4), span=2), question.candidate, question.stable)
    assert later == Waiting(2, ((0.0, 0), (1.0, 0)), ((0.0, 1), (1.0, 4)))
    assert later.pair is None
    assert Waiting() == Waiting(0, (), ())
    assert Waiting().pair is None


def test_a_clue_weighs_its_evidence_by_its_part_of_the_budget() -> None:
    clue = Clue(guard="errors", share=0.2, evidence=3.0, words="", telling=ERRORS.telling)
    assert exp(clue.weight) == pytest.approx(0.2 * exp(3))
    assert (clue.alone, clue.permitted) == (False, None)


@pytest.mark.parametrize(
    ("guards", "parts"),
    [
        ((), {}),
        (ALL[:1], {"errors": 0.95}),
        (ALL[:2], {"errors": 0.65, "latency": 0.3}),
        (ALL, {"errors": 0.65, "latency": 0.1, "answers": 0.1, "tokens": 0.1}),
        (ALL[::-1], {"errors": 0.65, "latency": 0.1, "answers": 0.1, "tokens": 0.1}),
        (ALL[1:3], {"latency": 0.475, "answers": 0.475}),
    ],
)
def test_errors_have_most_of_the_budget_and_a_twentieth_is_for_the_past(
    guards: tuple[Criterion, ...], parts: dict[str, float]
) -> None:
    assert shares(guards) == pytest.approx(parts)


@pytest.mark.parametrize("alone", [-3.0, 0.0, 1.0])
def test_a_comparison_speaks_with_what_the_candidate_did_alone(alone: float) -> None:
    """While that is not the stronger of the two; both multiply."""
    found = clues_of(LATENCY, at(1, 2, 3, 4, 5, alone=alone, permitted=0.08), 0.1)
    expected = [
        Clue(
            guard="latency",
            share=0.02,
            evidence=compared + alone,
            words="slower than stable by over 5 %",
            telling=LATENCY.telling,
        )
        for compared in (1, 2, 3, 4, 5)
    ]
    for clue, one in zip(found, expected, strict=True):
        assert_same(clue, one)


@pytest.mark.parametrize(
    ("criterion", "permitted", "words"),
    [
        (ERRORS, 0.02, "more errors than the 2 % that the past permits"),
        (ERRORS, None, "more errors than"),
        (TOKENS, 0.125, "more tokens per answer than the 560 that the past permits"),
        (
            LATENCY,
            0.08,
            "more answers above 546 ms, far above stable's p95, than the 8 % that the past permits",
        ),
    ],
)
def test_what_the_candidate_did_alone_speaks_once_it_is_the_stronger(
    criterion: Criterion, permitted: float | None, words: str
) -> None:
    compared = (1.0,) * len(criterion.harm)
    first, *_ = clues_of(criterion, at(*compared, alone=1.5, permitted=permitted), 0.5)
    limit = 0.025 if criterion.limit else 0
    expected = Clue(
        guard=criterion.guard,
        share=(0.5 - limit) / len(criterion.harm),
        evidence=2.5,
        words=words,
        telling=criterion.alone.telling,
        alone=True,
        permitted=permitted,
    )
    assert_same(first, expected)


@pytest.mark.parametrize(
    ("over", "worse", "alone", "by_itself"),
    [(3.0, 1.0, 0.5, False), (1.0, 3.0, 0.5, False), (3.0, 1.0, 1.0, False), (2.0, 1.0, 1.5, True)],
)
def test_a_hard_limit_has_a_twentieth_of_its_guards_part(
    over: float, worse: float, alone: float, *, by_itself: bool
) -> None:
    """Beside stable the weaker of two proofs counts; half of the wealth is for each regime."""
    position = replace(
        at(0, 0, 0, 0, 0),
        limit=Compared(worse=won(worse), over=won(over)),
        limit_alone=won(alone),
    )
    *harm, limit = clues_of(LIMITED, position, 0.4)
    expected = Clue(
        guard="latency",
        share=0.02,
        evidence=log((exp(alone) + exp(min(over, worse))) / 2),
        words="more than one answer in twenty above the limit of 900 ms",
        telling=LIMITED.limit.telling if LIMITED.limit else LIMITED.telling,
        alone=by_itself,
    )
    assert_same(limit, expected)
    assert [one.share for one in harm] == pytest.approx([0.38 / 5] * 5)


def test_a_position_begins_with_nothing_seen_of_stable() -> None:
    begun = Position(harm=(), limit=Compared(worse=won(0.0)))
    assert (begun.step, begun.past, begun.past_limit, begun.permitted) == (0, (), (), None)
    for wealth in (begun.alone, begun.limit_alone, begun.limit.over):
        assert wealth.evidence == pytest.approx(0)


def test_a_position_of_another_guard_is_refused() -> None:
    """Latency asks five questions, and errors one."""
    with pytest.raises(ValueError, match="argument 2 is shorter than argument 1"):
        clues_of(LATENCY, at(1.0), 0.5)
