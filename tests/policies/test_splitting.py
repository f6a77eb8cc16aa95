"""A pretended candidate in figures: each count's share, each harm, each draw by its chance."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import floor

import pytest

from policies.evidence import GRID, NOTHING, Arm, Tally
from policies.splitting import HARMS, Harm, binomial, split, worsened
from tests.policies.counts import arm

LEAST = 2.0**-53
"""The least that lies between two numbers below one."""


def evenly(number: int, chance: float) -> int:
    """What comes on average, in whole ones."""
    return floor(number * chance)


def undrawn(_number: int, _chance: float) -> int:
    raise AssertionError("nothing is drawn")


@pytest.mark.parametrize(
    ("number", "chance", "order"),
    [
        # From the mode outwards, above before below, each as long as its probability.
        (2, 0.5, [(1, Fraction(1, 2)), (2, Fraction(1, 4)), (0, Fraction(1, 4))]),
        (2, 0.25, [(0, Fraction(9, 16)), (1, Fraction(6, 16)), (2, Fraction(1, 16))]),
        (2, 0.75, [(2, Fraction(9, 16)), (1, Fraction(6, 16)), (0, Fraction(1, 16))]),
        (
            3,
            0.5,
            [(2, Fraction(3, 8)), (3, Fraction(1, 8)), (1, Fraction(3, 8)), (0, Fraction(1, 8))],
        ),
        (
            4,
            0.5,
            [
                (2, Fraction(6, 16)),
                (3, Fraction(4, 16)),
                (1, Fraction(4, 16)),
                (4, Fraction(1, 16)),
                (0, Fraction(1, 16)),
            ],
        ),
        (1, 0.25, [(0, Fraction(3, 4)), (1, Fraction(1, 4))]),
    ],
)
def test_a_uniform_number_draws_the_outcome_whose_stretch_it_lies_in(
    number: int, chance: float, order: Sequence[tuple[int, Fraction]]
) -> None:
    begins = Fraction(0)
    for outcome, probability in order:
        inside = [begins + probability * part / 1000 for part in (1, 500, 999)]
        assert [binomial(number, chance, float(one)) for one in inside] == [outcome] * 3
        begins += probability
    assert begins == 1


@pytest.mark.parametrize(
    ("number", "chance", "drawn"),
    [(0, 0.5, 0), (-3, 0.5, 0), (7, 0.0, 0), (7, -0.1, 0), (7, 1.0, 7), (7, 1.5, 7)],
)
@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - LEAST])
def test_what_never_or_always_comes_is_not_drawn(
    number: int, chance: float, drawn: int, uniform: float
) -> None:
    assert binomial(number, chance, uniform) == drawn


def test_what_is_less_than_a_float_can_tell_falls_to_the_likeliest() -> None:
    """Rounding leaves a part of the last uniform number that no outcome of the tails takes."""
    assert binomial(300, 0.5, 1 - LEAST) == 150
    assert binomial(6000, 0.25, 1 - LEAST) == 1500
    assert binomial(1_000_000, 0.3, 0.0) == 300_000


def test_a_split_shares_out_each_kind_of_request_and_each_tally_by_the_weight() -> None:
    """A quarter of 40 server errors, of 80 others, of 12 rejected and of 268 that went well."""
    mass = (2.5, 6.0, *(0.0,) * (GRID - 2), 91.5)
    whole = Arm(
        requests=400,
        errors=120,
        server_errors=40,
        rejected=12,
        tallies={
            # Cells of 60 up to the first edge, 20 and 8 between edges, and 12 above the last.
            "latency": Tally(seen=100, counts=(40, 20, 12)),
            "answers": Tally(seen=80, counts=(8, 4, 4, 0, 0)),
            "truth": Tally(seen=100, mass=mass),
        },
    )
    chances = set()

    def draw(number: int, chance: float) -> int:
        chances.add(chance)
        return evenly(number, chance)

    candidate, rest = split(whole, 25, draw)
    # Of a mean, whole observations are drawn, and parts of one are shared in proportion.
    own = (0 + 0.125, 1.0, *(0.0,) * (GRID - 2), 22 + 0.125)
    assert candidate == Arm(
        requests=10 + 20 + 3 + 67,
        errors=30,
        server_errors=10,
        rejected=3,
        tallies={
            "latency": Tally(seen=15 + 5 + 2 + 3, counts=(5 + 2 + 3, 2 + 3, 3)),
            "answers": Tally(seen=20, counts=(2,)),
            "truth": Tally(seen=25, mass=own),
        },
    )
    assert rest == Arm(
        requests=300,
        errors=90,
        server_errors=30,
        rejected=9,
        tallies={
            "latency": Tally(seen=75, counts=(30, 15, 9)),
            "answers": Tally(seen=60, counts=(6,)),
            "truth": Tally(seen=75, mass=(2.375, 5.0, *(0.0,) * (GRID - 2), 69.375)),
        },
    )
    assert chances == {0.25}


def test_all_go_to_the_candidate_at_100_percent_only() -> None:
    told = arm(200, 100, answers=Tally(seen=9, counts=(2, 1, 1, 0, 0)))
    assert split(told, 100, undrawn) == (told, NOTHING)
    whole = arm(200, 100)
    assert split(whole, 99, evenly) == (arm(198, 99), arm(2, 1))
    assert split(whole, 1, evenly) == (arm(2, 1), arm(198, 99))


@pytest.mark.parametrize(
    ("harm", "usual", "chance"),
    [
        # What goes wrong besides, of what went well: from 2 % to 4 %, to 7 %, and to all.
        (Harm(name="", times=2), 0.02, 0.02 / 0.98),
        (Harm(name="", plus=0.05), 0.02, 0.05 / 0.98),
        (Harm(name="", times=3, plus=0.5), 0.1, 0.7 / 0.9),
        (Harm(name="", times=60), 0.02, 1.0),
        (Harm(name="", plus=0.2), 0.0, 0.2),
    ],
)
def test_a_harm_draws_more_errors_from_what_went_well(
    harm: Harm, usual: float, chance: float
) -> None:
    asked: list[tuple[int, float]] = []

    def draw(number: int, chance: float) -> int:
        asked.append((number, chance))
        return 7

    whole = Arm(requests=100, errors=10, server_errors=4, rejected=5)
    assert worsened(whole, harm, usual, (), draw) == replace(whole, errors=17)
    [(fine, share)] = asked
    assert fine == 85
    assert share == pytest.approx(chance)


@pytest.mark.parametrize(
    ("harm", "usual"),
    [
        (Harm(name=""), 0.02),
        (Harm(name="", times=0.5), 0.02),
        (Harm(name="", times=4), 0.0),
        (Harm(name="", times=4), 1.0),
    ],
)
def test_a_harm_that_is_none_draws_nothing(harm: Harm, usual: float) -> None:
    whole = Arm(requests=100, errors=10, server_errors=4, rejected=5)
    assert worsened(whole, harm, usual, (), undrawn) == whole


EDGES = (100.0, 150.0, 200.0, 400.0)


@pytest.mark.parametrize(
    ("slower", "counts"),
    [
        # Above an edge is what was above edge / factor: of which the next edge up tells the least.
        (0.5, (50, 30, 20, 5)),
        (1.0, (50, 30, 20, 5)),
        (1.01, (50, 30, 20, 5)),
        (1.34, (50, 30, 30, 5)),
        (1.5, (50, 50, 30, 5)),
        (2.0, (50, 50, 50, 20)),
        (4.0, (50, 50, 50, 50)),
        (9.0, (50, 50, 50, 50)),
    ],
)
def test_answers_that_are_slower_are_above_more_edges(
    slower: float, counts: tuple[int, ...]
) -> None:
    other = Tally(seen=9, counts=(3,))
    tallies = {"latency": Tally(seen=100, counts=(50, 30, 20, 5)), "answers": other}
    whole = replace(arm(100, 2), tallies=tallies)
    found = worsened(whole, Harm(name="", slower=slower), 0.02, EDGES, evenly)
    moved = Tally(seen=100, counts=counts)
    assert found == replace(whole, tallies={"latency": moved, "answers": other})


def test_what_is_tried_begins_with_a_version_that_is_as_stable_is() -> None:
    assert HARMS[0] == Harm(name="as stable", times=1, plus=0, slower=1)
    assert [(one.name, one.times, one.plus, one.slower) for one in HARMS[1:]] == [
        ("errors x2", 2, 0, 1),
        ("errors x4", 4, 0, 1),
        ("errors +5 pp", 1, 0.05, 1),
        ("errors +20 pp", 1, 0.2, 1),
        ("latency x1.5", 1, 0, 1.5),
        ("latency x2", 1, 0, 2),
    ]
