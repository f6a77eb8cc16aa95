"""How counts, what is missing, and odds are told: the whole text, and every number beside it."""

from dataclasses import replace
from datetime import timedelta
from math import inf, log

import pytest

from policies.criterion import Criterion, Telling
from policies.evidence import NOTHING, Arm, Block, Tally, total
from policies.guards import Guards, ScoreGuard, TokenGuard
from policies.telling import counts, mostly, odds, rate_in_words, shown, tell, wait
from tests.policies.counts import arm, averaged, block, errors_by, faulty, guards_by

ERRORS = errors_by().telling
PRICED = Guards(tokens=TokenGuard(price_per_1k=2.0), scores={"truth": ScoreGuard()})
ALL = {one.guard: one for one in guards_by(PRICED)}
TOKENS, TRUTH, ANSWERS = (ALL[name].telling for name in ("tokens", "truth", "answers"))
CAP = 4480.0
"""Of tokens: four times the p99 of 1,120."""


def checked(seen: int, failed: int, unsourced: int) -> Arm:
    tally = Tally(seen=seen, counts=(failed, failed - unsourced, unsourced, 0, 0))
    return arm(seen, answers=tally)


def spent(tokens: float, number: int) -> Arm:
    return arm(number, tokens=averaged([tokens] * number, CAP))


def blocks(*pairs: tuple[Arm, Arm]) -> tuple[Block, ...]:
    return tuple(block(one, other, number=number) for number, (one, other) in enumerate(pairs, 1))


SHARED = blocks((arm(600, 3), arm(11_400, 7)), (arm(634, 2), arm(600, 5)))
"""Two windows, of which the sum is told: 5 of 1,234, and 12 of 12,000."""
MEANS = blocks((spent(448, 30), spent(896, 40)))


def test_shares_are_told_as_how_many_of_how_many() -> None:
    assert tell(ERRORS, total(SHARED)) == (
        "candidate 5 of 1,234 failed (0.405 %), stable 12 of 12,000 failed (0.1 %)"
    )
    assert counts("errors", ERRORS, total(SHARED)) == {
        "candidate_requests": 1234,
        "candidate_errors": 5,
        "candidate_rate": 0.004052,
        "stable_requests": 12_000,
        "stable_errors": 12,
        "stable_rate": 0.001,
    }


def test_means_are_told_in_their_own_unit_with_what_they_cost() -> None:
    assert tell(TOKENS, total(MEANS)) == (
        "candidate mean 448 tokens for 0.896 over 30 answers, "
        "stable mean 896 tokens for 1.79 over 40 answers"
    )
    assert counts("tokens", TOKENS, total(MEANS)) == {
        "candidate_requests": 30,
        "candidate_mean": 448.0,
        "candidate_cost": 0.896,
        "stable_requests": 40,
        "stable_mean": 896.0,
        "stable_cost": 1.792,
    }
    free = replace(TOKENS, price=None)
    thousands = blocks((spent(1234.5, 2000), spent(0, 1)))
    assert tell(free, total(thousands)) == (
        "candidate mean 1,234 tokens over 2,000 answers, stable mean 0 tokens over 1 answers"
    )
    assert counts("tokens", free, total(thousands)) == {
        "candidate_requests": 2000,
        "candidate_mean": 1234.5,
        "stable_requests": 1,
        "stable_mean": 0.0,
    }
    assert counts("tokens", free, total(blocks((spent(1234.5678, 3), NOTHING))))[
        "candidate_mean"
    ] == (1234.57)


def test_a_score_is_told_from_0_to_1() -> None:
    scored = blocks((arm(4, truth=averaged([0.25] * 4, 1.0)), NOTHING))
    assert tell(TRUTH, total(scored)) == "candidate mean 0.25 truth over 4 answers"
    assert counts("truth", TRUTH, total(scored)) == {
        "candidate_requests": 4,
        "candidate_mean": 0.25,
        "stable_requests": 0,
        "stable_mean": 0.0,
    }


def test_an_arm_without_requests_is_left_out_or_not_counted_yet() -> None:
    assert tell(ERRORS, total(blocks((arm(7), NOTHING)))) == "candidate 0 of 7 failed (0 %)"
    assert tell(ERRORS, total(blocks((NOTHING, arm(1, 1))))) == (
        "candidate not counted yet, stable 1 of 1 failed (100 %)"
    )
    assert tell(ERRORS, total(())) == "candidate not counted yet"


def test_of_faulty_answers_it_is_told_where_they_went_wrong_and_what_rose_by_most() -> None:
    worse = blocks((checked(100, 9, 6), checked(1000, 20, 15)))
    assert tell(ANSWERS, total(worse)) == (
        "candidate 9 of 100 answers faulty (9 %: 6 by retrieval, 3 by generation), "
        "stable 20 of 1,000 answers faulty (2 %: 15 by retrieval, 5 by generation)"
    )
    assert counts("answers", ANSWERS, total(worse)) == {
        "candidate_requests": 100,
        "candidate_answers": 9,
        "candidate_rate": 0.09,
        "candidate_retrieval": 6,
        "candidate_generation": 3,
        "stable_requests": 1000,
        "stable_answers": 20,
        "stable_rate": 0.02,
        "stable_retrieval": 15,
        "stable_generation": 5,
    }
    assert tell(ANSWERS, total(blocks((checked(5, 0, 0), NOTHING)))) == (
        "candidate 0 of 5 answers faulty (0 %)"
    )


@pytest.mark.parametrize(
    ("candidate", "stable", "words"),
    [
        (checked(100, 9, 6), checked(1000, 20, 15), ", mostly by retrieval"),
        (checked(100, 9, 6), checked(100, 9, 1), ", mostly by retrieval"),
        (checked(100, 9, 6), checked(100, 6, 6), ", mostly by generation"),
        (checked(100, 9, 6), checked(10, 5, 5), ", mostly by generation"),
        (checked(100, 9, 6), checked(100, 9, 6), ""),
        (checked(100, 1, 0), checked(100, 20, 15), ""),
        (checked(100, 1, 0), NOTHING, ", mostly by generation"),
        (NOTHING, checked(100, 1, 0), ""),
        (checked(0, 0, 0), checked(100, 1, 0), ""),
        (arm(9, answers=Tally(seen=9, counts=(3,))), NOTHING, ""),
    ],
)
def test_mostly_names_the_part_whose_share_of_answers_rose_by_most(
    candidate: Arm, stable: Arm, words: str
) -> None:
    assert mostly(ANSWERS, total(blocks((candidate, stable)))) == words


def test_a_guard_without_parts_rises_by_none_of_them() -> None:
    assert mostly(ERRORS, total(SHARED)) == ""


LATE = timedelta(minutes=90)


@pytest.mark.parametrize(
    ("missing", "weight", "pace", "lag", "words", "numbers"),
    [
        (None, 5, 10.0, LATE, "it does not come at the rates seen so far", {}),
        (1234, 5, None, LATE, "about 1,234 more requests are missing", {"missing": 1234}),
        (1234, 5, 0.0, LATE, "about 1,234 more requests are missing", {"missing": 1234}),
        (
            90,
            5,
            10.0,
            timedelta(),
            "about 90 more requests are missing, 3 min at 10 requests/s",
            {"missing": 90, "seconds_missing": 180},
        ),
        (
            0,
            50,
            0.12345,
            timedelta(),
            "about 0 more requests are missing, 0 s at 0.123 requests/s",
            {"missing": 0, "seconds_missing": 0},
        ),
        (
            4500,
            25,
            5.0,
            LATE,
            (
                "about 4,500 more requests are missing, 1 h at 5 requests/s, "
                "and 1.5 h until they are told of"
            ),
            {"missing": 4500, "seconds_missing": 3600 + 5400},
        ),
    ],
)
def test_what_is_missing_is_told_with_when_it_may_come(  # noqa: PLR0913, PLR0917 - all it hangs on
    missing: int | None,
    weight: int,
    pace: float | None,
    lag: timedelta,
    words: str,
    numbers: dict[str, float],
) -> None:
    told: dict[str, float | int] = {"candidate_requests": 7}
    assert wait(missing, weight, pace, lag, told) == words
    assert told == {"candidate_requests": 7, **numbers}


@pytest.mark.parametrize(
    ("criterion", "rate", "words"),
    [
        (errors_by(), 0.0123, "1.23 %"),
        (ALL["tokens"], 0.125, "560"),
        (ALL["tokens"], 0.001, "4.48"),
        (ALL["truth"], 0.8, "0.8"),
    ],
)
def test_a_rate_is_told_as_what_it_is_counted_in(
    criterion: Criterion, rate: float, words: str
) -> None:
    assert rate_in_words(criterion, rate) == words


@pytest.mark.parametrize(
    ("times", "number", "words"),
    [
        (0.0001234, 0.000123, "0.00012:1"),
        (0.5, 0.5, "0.5:1"),
        (1.0, 1.0, "1:1"),
        (9.96, 9.96, "10:1"),
        (9.9, 9.9, "9.9:1"),
        (10.0, 10.0, "10:1"),
        (10.4, 10.4, "10:1"),
        (123.4, 123.0, "123:1"),
        (123_456.0, 123_000.0, "123,000:1"),
        (998_000.0, 998_000.0, "998,000:1"),
        (999_900.0, 1e6, "over 1,000,000:1"),
        (1e6, 1e6, "over 1,000,000:1"),
        (1e300, 1e6, "over 1,000,000:1"),
    ],
)
def test_odds_have_three_digits_and_end_at_a_million(
    times: float, number: float, words: str
) -> None:
    assert shown(log(times)) == pytest.approx(number, rel=1e-12)
    assert odds(log(times)) == words


def test_evidence_of_any_size_is_told() -> None:
    assert (shown(inf), shown(1e6), shown(-inf), shown(-1e6)) == (1e6, 1e6, 0, 0)
    assert odds(-inf) == "0:1"


def test_an_unpriced_share_without_parts_is_told_as_it_is() -> None:
    bare = Telling(observed=ERRORS.observed, noun="lost")
    assert tell(bare, total(SHARED[:1])) == (
        "candidate 3 of 600 lost (0.5 %), stable 7 of 11,400 lost (0.0614 %)"
    )


def test_an_answer_that_fails_a_check_is_told_among_those_looked_at() -> None:
    found = blocks((arm(50, answers=faulty(40, 10)), NOTHING))
    assert tell(ANSWERS, total(found)) == (
        "candidate 10 of 40 answers faulty (25 %: 0 by retrieval, 10 by generation)"
    )
