"""How long answers are: shorter and longer ones are found, whatever part of them it befell."""

import math
from dataclasses import replace
from random import Random

import pytest

from policies.criterion import Criterion
from policies.evidence import Arm, Block
from policies.guards import LENGTH, LengthGuard, measures
from policies.judge import harmful, no_worse
from policies.verdict import Outcome, Verdict
from tests.policies.counts import GUARDS, HISTORY, above, arm, block, guards_by, lognormal

SEED = 20261126
MEDIAN, SIGMA = 400.0, 0.6
QUARTILE = math.exp(0.6745 * SIGMA)
PAST = replace(HISTORY, length=(MEDIAN / QUARTILE, MEDIAN, MEDIAN * QUARTILE))
WATCHED = replace(GUARDS, length=LengthGuard())
SIDES = ("shorter", "longer")
EDGES = measures(WATCHED, PAST, (5, 25, 50, 100))[LENGTH].edges


def watching(side: str) -> Criterion:
    return guards_by(WATCHED, history=PAST, only=(side,))[0]


def answered(random: Random, times: float = 1.0, most: float = math.inf) -> Arm:
    """Sixty answers; `times` as long as usual, and none longer than `most`."""
    lengths = lognormal(random, MEDIAN * times, SIGMA, 60)
    return arm(60, length=above((min(most, one) for one in lengths), EDGES))


def blocks(times: float = 1.0, most: float = math.inf, number: int = 25) -> tuple[Block, ...]:
    random = Random(SEED)  # noqa: S311 - repeatable, not secret
    return tuple(
        block(answered(random, times, most), answered(random), number=index + 1)
        for index in range(number)
    )


def judged(side: str, times: float = 1.0, most: float = math.inf) -> Verdict | None:
    return harmful([watching(side)], blocks(times, most))


@pytest.mark.parametrize(
    ("version", "side"),
    [
        ({"times": 0.5}, "shorter"),
        ({"most": MEDIAN * 1.1}, "shorter"),
        ({"times": 2.0}, "longer"),
    ],
)
def test_a_shift_is_found_on_its_side_alone(version: dict[str, float], side: str) -> None:
    found = {one: judged(one, **version) for one in SIDES}
    verdict = found.pop(side)
    assert verdict is not None, f"seed {SEED}"
    assert verdict.guard == side
    assert f"{side} than 400 characters" in verdict.because
    assert f"more answers {side} than " in verdict.because
    assert list(found.values()) == [None]


@pytest.mark.parametrize("side", SIDES)
def test_equal_lengths_are_left_in_peace_and_shown_to_be_within_the_margin(side: str) -> None:
    assert judged(side) is None
    safe = no_worse(watching(side), blocks(number=60), weight=50, pace=None)
    assert safe.outcome is Outcome.PASS, safe.because
    assert "within 10 pp of stable" in safe.because


def test_answers_of_one_length_are_told_from_those_that_are_a_character_shorter() -> None:
    past = replace(PAST, length=(400.0, 400.0, 400.0))
    edges = measures(WATCHED, past, (100,))[LENGTH].edges
    assert list(edges) == [399, 400]
    [shorter] = guards_by(WATCHED, history=past, only=("shorter",))
    same, less = (arm(60, length=above([one] * 60, edges)) for one in (400, 399))
    assert harmful([shorter], (block(same, same),) * 20) is None
    assert harmful([shorter], (block(less, same),) * 20) is not None


def test_at_100_percent_shorter_answers_are_held_to_stables_past() -> None:
    random = Random(SEED)  # noqa: S311
    past = blocks()
    alone = tuple(
        block(answered(random, 0.4), arm(0), number=26 + index, step=2, whole=True)
        for index in range(25)
    )
    verdict = harmful([watching("shorter")], (*past, *alone))
    assert verdict is not None
    assert "that the past permits" in verdict.because


def test_without_a_past_or_a_wish_lengths_are_not_counted() -> None:
    assert LENGTH not in measures(GUARDS, PAST, (100,))
    assert LENGTH not in measures(WATCHED, HISTORY, (100,))
