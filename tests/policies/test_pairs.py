"""How two answers to one question differ: check by check, as a score, and in a few words."""

from dataclasses import replace
from math import log

import pytest

from policies.pairs import Pair, Reply, difference, differences, in_words, ratio, score, told

GOOD = Reply(latency_ms=780, length=580, sources=4, tokens=149)
"""With what is added to each: 800 ms, 600 characters, 150 tokens."""
SLOWER = replace(GOOD, latency_ms=1580)
FAILED = Reply(failed=True, latency_ms=30_000)
SAME = {"errors": 0, "latency": 0, "answers": 0, "sources": 0, "tokens": 0, "length": 0}


def pair(candidate: Reply = GOOD, stable: Reply = GOOD, overlap: float | None = None) -> Pair:
    return Pair(request="r", candidate=candidate, stable=stable, overlap=overlap)


def better(**more: object) -> Reply:
    return replace(GOOD, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("candidate", "found"),
    [
        (GOOD, {}),
        (SLOWER, {"latency": 0.5}),
        (better(latency_ms=180), {"latency": -1}),
        (better(latency_ms=60_000), {"latency": 1}),
        (better(tokens=299), {"tokens": 0.5}),
        (better(tokens=36.5), {"tokens": -1}),
        (better(tokens=10_000), {"tokens": 1}),
        (better(sources=0), {"sources": 1}),
        (better(sources=None), {"sources": 1}),
        (better(length=1180), {"length": 1 / 3}),
        (better(length=55), {"length": -1}),
        (better(length=9_000), {"length": 1}),
    ],
)
def test_a_difference_tells_how_many_times_as_much_four_being_one_and_eight_of_length(
    candidate: Reply, found: dict[str, float]
) -> None:
    assert differences(pair(candidate)) == pytest.approx({**SAME, **found})
    mirrored = {check: -value for check, value in found.items()}
    assert differences(pair(GOOD, candidate)) == pytest.approx({**SAME, **mirrored})


@pytest.mark.parametrize("lost", [0, None])
def test_an_answer_that_is_empty_has_no_length_to_compare(lost: int | None) -> None:
    left = {check: value for check, value in SAME.items() if check != "length"}
    assert differences(pair(better(length=lost))) == {**left, "answers": 1}
    assert differences(pair(GOOD, better(length=lost))) == {**left, "answers": -1}
    assert differences(pair(better(length=lost), better(length=lost))) == left


def test_tokens_are_compared_where_both_tell_them_and_never_below_none() -> None:
    left = {check: value for check, value in SAME.items() if check != "tokens"}
    assert differences(pair(better(tokens=None))) == left
    assert differences(pair(GOOD, better(tokens=None))) == left
    assert differences(pair(better(tokens=-5), better(tokens=0))) == SAME
    assert differences(pair(better(tokens=1), better(tokens=-5))) == {**SAME, "tokens": 0.5}


@pytest.mark.parametrize(("overlap", "apart"), [(0.0, 1), (0.099, 1), (0.1, 0), (1.0, 0)])
def test_sources_that_share_less_than_a_tenth_are_other_ones(overlap: float, apart: int) -> None:
    assert differences(pair(overlap=overlap)) == {**SAME, "overlap": apart}


@pytest.mark.parametrize(
    ("candidate", "stable", "worse"), [(FAILED, GOOD, 1), (GOOD, FAILED, -1), (FAILED, FAILED, 0)]
)
def test_of_an_answer_that_failed_nothing_else_is_compared(
    candidate: Reply, stable: Reply, worse: int
) -> None:
    assert differences(pair(candidate, stable, overlap=0.0)) == {"errors": worse}


def test_neither_is_to_blame_where_both_fail_what_was_answered_before() -> None:
    both = pair(FAILED, FAILED)
    assert both.troubled
    assert not replace(both, succeeded=False).troubled
    assert not pair(FAILED, GOOD).troubled
    assert not pair(GOOD, FAILED).troubled


@pytest.mark.parametrize(
    ("reply", "bad"),
    [
        (GOOD, []),
        (FAILED, ["errors"]),
        (better(length=0), ["answers"]),
        (better(length=None), ["answers"]),
        (better(sources=0), ["sources"]),
        (better(sources=None, length=0), ["answers", "sources"]),
    ],
)
def test_an_answer_is_bad_by_each_check_that_it_fails_and_a_failure_by_that_alone(
    reply: Reply, bad: list[str]
) -> None:
    assert [check for check in ("errors", "answers", "sources") if told(check, reply)] == bad


@pytest.mark.parametrize(
    ("one", "points"),
    [
        (pair(), 0),
        (pair(FAILED), 4),
        (pair(GOOD, FAILED), 0),
        (pair(SLOWER), 0.5),
        (pair(GOOD, SLOWER), 0),
        (pair(better(latency_ms=1580, sources=0, tokens=299)), 2),
        (pair(better(latency_ms=180, sources=0)), 1),
        (pair(overlap=0.0), 1),
        (pair(better(length=1180)), 1 / 3),
        (pair(GOOD, better(length=1180)), 1 / 3),
        (pair(better(length=0, sources=0)), 2),
    ],
)
def test_a_score_adds_what_is_worse_and_what_is_of_another_length(one: Pair, points: float) -> None:
    assert score(one) == pytest.approx(points)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (pair(), "little"),
        (pair(FAILED), "the candidate fails"),
        (pair(GOOD, FAILED), "stable fails"),
        (pair(FAILED, FAILED), "little"),
        (pair(better(length=0)), "no answer"),
        (pair(GOOD, better(length=0)), "little"),
        (pair(better(sources=0)), "sources lost"),
        (pair(GOOD, better(sources=0)), "little"),
        (pair(overlap=0.05), "other sources"),
        (pair(overlap=0.5), "little"),
        (pair(SLOWER), "2 times the latency"),
        (pair(GOOD, SLOWER), "little"),
        (pair(better(latency_ms=1190)), "1.5 times the latency"),
        (pair(better(latency_ms=1170)), "little"),
        (pair(better(tokens=299)), "2 times the tokens"),
        (pair(GOOD, better(tokens=299)), "little"),
        (pair(better(length=1180)), "2 times the length"),
        (pair(GOOD, better(length=1180)), "0.5 times the length"),
        (pair(better(length=890)), "1.5 times the length"),
        (pair(better(length=870)), "little"),
        (pair(better(length=370)), "0.65 times the length"),
        (pair(better(length=390)), "little"),
        (
            pair(better(latency_ms=3180, sources=0, tokens=449, length=280), overlap=0.0),
            (
                "sources lost, other sources, 4 times the latency, 3 times the tokens, "
                "0.5 times the length"
            ),
        ),
    ],
)
def test_what_is_worse_is_said_in_a_few_words(one: Pair, words: str) -> None:
    assert in_words(one) == words


@pytest.mark.parametrize(
    ("check", "times", "apart"),
    [
        ("latency", 4.0, 1.0),
        ("latency", 0.5, -0.5),
        ("tokens", 1.25, log(1.25) / log(4)),
        ("length", 8.0, 1.0),
        ("length", 0.5, -1 / 3),
    ],
)
def test_a_ratio_and_a_difference_stand_for_each_other(
    check: str, times: float, apart: float
) -> None:
    assert difference(check, times) == pytest.approx(apart)
    assert ratio(check, apart) == pytest.approx(times)
