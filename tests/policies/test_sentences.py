"""What each guard says: both counts, both rates, margin and bound, in words and as numbers."""

import pytest

from policies.criterion import Criterion
from policies.evidence import GRID, NOTHING, Arm, Tally
from policies.guards import Guards, TokenGuard
from policies.judge import harmful, no_worse
from policies.verdict import Verdict
from tests.policies.counts import arm, block, faulty, guards_by, minutes
from tests.policies.worlds import CRITERIA, MEASURES

BY_NAME = {one.guard: one for one in CRITERIA}
SURE = "evidence over 1,000,000:1 of"


def all_at(place: int) -> tuple[float, ...]:
    """A hundred answers, all at one point of the grid."""
    return tuple(100.0 * (index == place) for index in range(GRID + 1))


def answered(
    errors: int = 0, slow: int = 10, faults: int = 3, tokens: int = 4, truth: int = 16
) -> Arm:
    """A hundred requests: failed, slow, faulty; tokens and truth in twentieths."""
    spent = Tally(seen=100, counts=(0,) * len(MEASURES["tokens"].edges), mass=all_at(tokens))
    return arm(
        100,
        errors,
        latency=Tally(seen=100, counts=(slow,) * len(MEASURES["latency"].edges)),
        answers=faulty(100, faults),
        tokens=spent,
        truth=Tally(seen=100, mass=all_at(truth)),
    )


WORSE = {
    "errors": answered(errors=20),
    "latency": answered(slow=60),
    "answers": answered(faults=30),
    "tokens": answered(tokens=12),
    "truth": answered(truth=6),
}


def failed(criterion: Criterion) -> Verdict:
    """Twenty minutes beside stable, as bad as the guard's own example."""
    verdict = harmful([criterion], minutes(20, WORSE[criterion.guard], answered()))
    assert verdict is not None
    return verdict


@pytest.mark.parametrize(
    ("guard", "sentence"),
    [
        (
            "errors",
            (
                "candidate 400 of 2,000 failed (20 %), stable 0 of 2,000 failed (0 %): "
                "more errors than stable by over 0.025 pp"
            ),
        ),
        (
            "latency",
            (
                "candidate 1,200 of 2,000 over 273 ms (60 %), stable 200 of "
                "2,000 over 273 ms (10 %): "
                "slower than stable by over 5 %"
            ),
        ),
        (
            "answers",
            (
                "candidate 600 of 2,000 answers faulty (30 %: 0 by retrieval, 600 by generation), "
                "stable 60 of 2,000 answers faulty (3 %: 0 by retrieval, 60 by generation): "
                "more empty, unsourced, cut-off or refused answers than "
                "stable by over 0.4 pp, mostly by generation"
            ),
        ),
        (
            "tokens",
            (
                "candidate mean 2,688 tokens over 2,000 answers, stable mean 896 tokens over 2,000 "
                "answers: more tokens per answer than stable by over 5 %"
            ),
        ),
        (
            "truth",
            (
                "candidate mean 0.3 truth over 2,000 answers, stable mean 0.8 truth over 2,000 "
                "answers: truth lower than stable's by over 0.02"
            ),
        ),
    ],
)
def test_harm_is_told_with_both_counts_both_rates_the_margin_and_the_bound(
    guard: str, sentence: str
) -> None:
    assert failed(BY_NAME[guard]).because == f"{sentence}, {SURE} 100:1"


@pytest.mark.parametrize(
    ("guard", "sentence"),
    [
        (
            "errors",
            (
                "candidate 400 of 2,000 failed (20 %) at 100 %: "
                "more errors than the 0.439 % that the past permits"
            ),
        ),
        (
            "latency",
            (
                "candidate 1,200 of 2,000 over 546 ms (60 %) at 100 %: more "
                "answers above 546 ms, far "
                "above stable's p95, than the 13.8 % that the past permits"
            ),
        ),
        (
            "answers",
            (
                "candidate 600 of 2,000 answers faulty (30 %: 0 by retrieval, 600 by generation) "
                "at 100 %: more faulty answers than the 6.73 % that the past permits, "
                "mostly by generation"
            ),
        ),
        (
            "tokens",
            (
                "candidate mean 2,688 tokens over 2,000 answers at 100 %: "
                "more tokens per answer than the 1,324 that the past permits"
            ),
        ),
        (
            "truth",
            (
                "candidate mean 0.7 short of 1 over 2,000 answers at 100 %: "
                "truth further below 1 than the 0.286 that the past permits"
            ),
        ),
    ],
)
def test_at_100_percent_it_is_told_of_the_candidate_alone_and_what_its_past_permits(
    guard: str, sentence: str
) -> None:
    past = minutes(20, answered(), answered())
    alone = tuple(
        block(WORSE[guard], NOTHING, number=number + 21, step=2, whole=True) for number in range(20)
    )
    verdict = harmful([BY_NAME[guard]], (*past, *alone))
    assert verdict is not None
    assert verdict.because == f"{sentence}, {SURE} 100:1"
    assert 0 < float(verdict.numbers["permitted_rate"]) < 0.3
    assert verdict.numbers["stable_requests"] == 0


@pytest.mark.parametrize(
    ("guard", "margin", "sentence"),
    [
        (
            "errors",
            0.01,
            (
                "candidate 0 of 200 failed (0 %), stable 0 of 200 failed (0 %): "
                "within 1 pp of stable, "
                "evidence 5.3:1 of 20:1; about 146 more requests are missing, "
                "58.4 s at 10 requests/s, and 1.5 min until they are told of"
            ),
        ),
        (
            "latency",
            0.5,
            (
                "candidate 20 of 200 over 273 ms (10 %), stable 20 of 200 over "
                "273 ms (10 %): within "
                "50 % of stable, evidence 0.071:1 of 20:1; it does not come at "
                "the rates seen so far"
            ),
        ),
        (
            "answers",
            0.04,
            (
                "candidate 6 of 200 answers faulty (3 %: 0 by retrieval, 6 by generation), "
                "stable 6 of 200 answers faulty (3 %: 0 by retrieval, 6 by generation): within "
                "4 pp of stable, evidence 6.9:1 of 20:1; about 86 more requests are missing, "
                "34.4 s at 10 requests/s, and 1.5 min until they are told of"
            ),
        ),
        (
            "tokens",
            0.5,
            (
                "candidate mean 896 tokens over 200 answers, stable mean 896 "
                "tokens over 200 answers: "
                f"within 50 % of stable, {SURE} 20:1"
            ),
        ),
        (
            "truth",
            0.1,
            (
                "candidate mean 0.8 truth over 200 answers, stable mean 0.8 "
                "truth over 200 answers: "
                f"within 0.1 of stable, {SURE} 20:1"
            ),
        ),
    ],
)
def test_safety_is_told_with_the_steps_margin_what_is_missing_and_when_it_may_come(
    guard: str, margin: float, sentence: str
) -> None:
    seen = minutes(2, answered(), answered())
    late = block(NOTHING, NOTHING).closed_at - block(NOTHING, NOTHING).opened_at
    verdict = no_worse(BY_NAME[guard], seen, weight=25, pace=10.0, lag=1.5 * late)
    assert verdict.because == sentence
    assert verdict.numbers["margin"] == pytest.approx(margin)
    assert verdict.numbers["opens_at"] == pytest.approx(20)
    if "missing," in sentence:
        missing = int(verdict.numbers["missing"])
        assert f"about {missing} more" in sentence
        assert verdict.numbers["seconds_missing"] == round(missing / 2.5 + 90)
    else:
        assert not {"missing", "seconds_missing"} & set(verdict.numbers)


@pytest.mark.parametrize(
    ("unsourced", "empty", "blamed"), [(30, 3, "retrieval"), (3, 30, "generation")]
)
def test_retrieval_and_generation_are_told_apart_by_whether_an_answer_has_sources(
    unsourced: int, empty: int, blamed: str
) -> None:
    # Two of those without sources are empty as well: what was not retrieved cannot be told.
    faults = Tally(seen=100, counts=(unsourced + empty - 2, empty, unsourced, 0, 0))
    usual = Tally(seen=100, counts=(4, 1, 3, 0, 0))
    seen = minutes(20, arm(100, answers=faults), arm(100, answers=usual))
    verdict = harmful([BY_NAME["answers"]], seen)
    assert verdict is not None
    by = f"{20 * unsourced} by retrieval, {20 * (empty - 2)} by generation"
    assert by in verdict.because
    assert "80 of 2,000 answers faulty (4 %: 60 by retrieval, 20 by generation)" in verdict.because
    assert f"by over 0.4 pp, mostly by {blamed}, evidence" in verdict.because
    assert verdict.numbers["candidate_retrieval"] == 20 * unsourced
    assert verdict.numbers["candidate_generation"] == 20 * (empty - 2)
    assert (verdict.numbers["stable_retrieval"], verdict.numbers["stable_generation"]) == (60, 20)


def test_what_tokens_cost_is_told_with_them_and_changes_no_verdict() -> None:
    priced = Guards(tokens=TokenGuard(price_per_1k=0.25))
    [plain], [dear] = guards_by(only=("tokens",)), guards_by(priced, only=("tokens",))
    seen = minutes(20, WORSE["tokens"], answered())
    without, told = harmful([plain], seen), harmful([dear], seen)
    assert without is not None
    assert told is not None
    assert told.because.startswith(
        "candidate mean 2,688 tokens for 0.672 over 2,000 answers, "
        "stable mean 896 tokens for 0.224 over 2,000 answers: "
    )
    assert (told.numbers["candidate_cost"], told.numbers["stable_cost"]) == (0.672, 0.224)
    costs = {"candidate_cost", "stable_cost"}
    assert {key: one for key, one in told.numbers.items() if key not in costs} == without.numbers


def test_counts_are_told_as_shares_and_means_in_their_own_unit() -> None:
    shares = failed(BY_NAME["latency"]).numbers
    assert shares == {
        "candidate_requests": 2000,
        "candidate_latency": 1200,
        "candidate_rate": 0.6,
        "stable_requests": 2000,
        "stable_latency": 200,
        "stable_rate": 0.1,
        "evidence": 1_000_000,
        "closes_at": 100,
    }
    means = failed(BY_NAME["tokens"]).numbers
    assert (means["candidate_mean"], means["stable_mean"]) == (2688, 896)
    assert not {"candidate_rate", "candidate_tokens"} & set(means)
    scores = failed(BY_NAME["truth"]).numbers
    assert (scores["candidate_mean"], scores["stable_mean"]) == (0.3, 0.8)


def test_an_arm_that_saw_nothing_is_said_not_to_be_counted_yet() -> None:
    verdict = no_worse(BY_NAME["answers"], (), weight=25, pace=None)
    assert verdict.because.startswith("candidate not counted yet: within 4 pp of stable, ")
    assert verdict.because.endswith(" more requests are missing")


def test_every_question_has_words() -> None:
    for criterion in CRITERIA:
        for question in (*criterion.harm, *(criterion.safety(one) for one in (5, 25, 50))):
            assert question.words
        assert criterion.alone.words.endswith(("than", "than stable"))
        assert criterion.telling.noun
