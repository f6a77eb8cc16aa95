from datetime import timedelta

import pytest

from policies.answer_checks import Expectation, Shown, unmet

ANSWER = "Delta Lake has ACID transactions, and keeps old files for seven days."
SHOWN = Shown(
    answer=ANSWER,
    sources=["delta-acid", {"id": "delta-vacuum", "page": 3}],
    tokens=120,
    latency=timedelta(milliseconds=700),
)
MET = Expectation(
    answer_contains=("ACID", "seven days"),
    answer_not_contains=("I do not know",),
    language="en",
    min_length=len(ANSWER),
    max_length=len(ANSWER),
    min_sources=2,
    sources_required=("delta-acid", "delta-vacuum"),
    sources_forbidden=("delta",),
    max_latency=timedelta(milliseconds=700),
    max_tokens=120,
)


def test_an_answer_that_shows_all_that_is_expected_passes() -> None:
    assert unmet(MET, SHOWN) is None
    assert unmet(Expectation(), Shown()) is None


@pytest.mark.parametrize(
    ("expected", "why"),
    [
        (Expectation(answer_contains=("ACID", "BASE")), "answer_contains: lacks 'BASE'"),
        (Expectation(answer_not_contains=("seven",)), "answer_not_contains: has 'seven'"),
        (Expectation(language="de"), "language: reads as English, German expected"),
        (Expectation(min_length=70), "min_length: 69 characters, 70 expected at least"),
        (Expectation(max_length=68), "max_length: 69 characters, 68 allowed"),
        (Expectation(min_sources=3), "min_sources: 2 sources, 3 expected"),
        (Expectation(sources_required=("acid",)), "sources_required: lacks 'acid'"),
        (Expectation(sources_forbidden=("delta-vacuum",)), "sources_forbidden: has 'delta-vacuum'"),
        (Expectation(max_tokens=119), "max_tokens: 120 tokens, 119 allowed"),
        (
            Expectation(max_latency=timedelta(milliseconds=699)),
            "max_latency: 700 ms, 699 ms allowed",
        ),
    ],
)
def test_the_first_check_that_fails_is_named_with_its_numbers(
    expected: Expectation, why: str
) -> None:
    assert unmet(expected, SHOWN) == why


@pytest.mark.parametrize(
    ("expected", "why"),
    [
        (Expectation(answer_matches=("x",)), "answer_matches: no text at $.a"),
        (Expectation(min_length=1), "min_length: no text at $.a"),
        (Expectation(sources_forbidden=("x",)), "sources_forbidden: no list at $.s"),
        (Expectation(max_tokens=9), "max_tokens: no number at $.t"),
    ],
)
def test_what_is_not_where_it_was_looked_for_is_no_pass(expected: Expectation, why: str) -> None:
    assert unmet(expected, Shown(places=("$.a", "$.s", "$.t"))) == why


def test_white_space_makes_no_answer_longer() -> None:
    assert unmet(Expectation(min_length=1), Shown(answer=" \n ")) == (
        "min_length: 0 characters, 1 expected at least"
    )


def test_a_failure_of_a_query_from_a_table_does_not_tell_its_words() -> None:
    secret = Expectation(answer_contains=("rosebud",), quotable=False)
    assert unmet(secret, SHOWN) == "answer_contains: lacks words that its table names"
    secret = Expectation(sources_required=("rosebud",), quotable=False)
    assert unmet(secret, SHOWN) == "sources_required: lacks words that its table names"


def test_an_answer_too_short_to_tell_its_language_is_no_pass() -> None:
    assert unmet(Expectation(language="en"), Shown(answer="42")) == (
        "language: too little of the answer tells that it is English"
    )
