"""The latency guard's edges and its guess of a tail, where stable's past is like no other's."""

from dataclasses import replace
from math import log

import pytest

from policies.criterion import Criterion
from policies.evidence import NOTHING, Arm, Tally
from policies.guards import Guards, LatencyGuard, measures
from policies.latency import latency
from tests.policies.counts import HISTORY, TABLE, arm

PAST = (120.0, 168.0, 228.0, 273.0, 384.0)
"""Half of all answers were above the first, a hundredth above the last."""
STEPS = (5, 25, 50, 100)


def guarded(past: tuple[float, ...] = PAST, guard: LatencyGuard | None = None) -> Criterion:
    guard = guard or LatencyGuard()
    history = replace(HISTORY, latency_ms=past)
    counted = measures(Guards(latency=guard), history, STEPS)["latency"]
    return latency(guard, counted, history, TABLE)


def expected(question: int, past: tuple[float, ...] = PAST) -> tuple[float, float]:
    """The share of each arm's answers that is expected above its edge."""
    ours, theirs = guarded(past).harm[question].expected
    return dict(ours)[1.0], dict(theirs)[1.0]


def tail(share: float, less: float, low: float, high: float, edge: float) -> float:
    """A power of the latency through two quantiles."""
    return float(share * (edge / low) ** (log(less / share) / log(high / low)))


@pytest.mark.parametrize(
    ("question", "ours", "theirs"),
    [
        (0, tail(0.5, 0.25, 120, 168, 126), 0.5),
        (1, tail(0.25, 0.1, 168, 228, 176), 0.25),
        (2, tail(0.1, 0.05, 228, 273, 239), 0.1),
        (3, tail(0.05, 0.01, 273, 384, 287), 0.05),
        (4, tail(0.05, 0.01, 273, 384, 403), 0.01),
    ],
)
def test_a_share_above_an_edge_is_guessed_by_a_power_between_two_quantiles(
    question: int, ours: float, theirs: float
) -> None:
    assert expected(question) == pytest.approx((ours, theirs))


@pytest.mark.parametrize(("weight", "edge"), [(5, 682), (25, 410), (50, 341)])
def test_a_wider_margin_expects_fewer_above_its_edge(weight: int, edge: int) -> None:
    question = guarded().safety(weight)
    ours, theirs = question.expected
    assert dict(ours) == pytest.approx(
        {1.0: tail(0.05, 0.01, 273, 384, edge), 0.0: 1 - tail(0.05, 0.01, 273, 384, edge)}
    )
    assert dict(theirs) == pytest.approx({1.0: 0.05, 0.0: 0.95})
    assert question.words == f"slower than stable by over {25 * {5: 6, 25: 2, 50: 1}[weight]} %"


def test_quantiles_that_fall_together_leave_the_lesser_share_above() -> None:
    """And so do latencies of nothing, of which no power is taken."""
    even = (100.0, 100.0, 100.0, 300.0, 300.0)
    assert expected(3, even) == pytest.approx((0.01, 0.05))
    assert expected(0, even) == pytest.approx((tail(0.1, 0.05, 100, 300, 105), 0.5))
    assert expected(0, (0.0, 100.0, 200.0, 300.0, 400.0)) == pytest.approx((0.25, 0.5))
    # One millisecond is enough to take one of: between it and four lies a power.
    steep = expected(0, (1.0, 10.0, 20.0, 30.0, 40.0))
    assert steep == pytest.approx((tail(0.5, 0.25, 1, 10, 6), 0.5))


def test_edges_are_whole_milliseconds_of_the_past() -> None:
    found = guarded((119.6, 168.4, 228.4, 273.0, 384.0))
    above = Arm(
        requests=100,
        errors=0,
        server_errors=0,
        tallies={"latency": Tally(seen=100, counts=tuple(range(90, 75, -1)))},
    )
    edges = measures(Guards(), replace(HISTORY, latency_ms=PAST), STEPS)["latency"].edges
    counted = dict(zip(edges, range(90, 75, -1), strict=False))
    assert found.harm[0].stable(above) == ((0.0, 100 - counted[120]), (1.0, counted[120]))
    assert found.harm[0].candidate(above) == ((0.0, 100 - counted[126]), (1.0, counted[126]))


@pytest.mark.parametrize("one", [NOTHING, arm(5), arm(5, latency=Tally(seen=5))])
def test_an_arm_whose_latencies_were_not_counted_says_nothing(one: Arm) -> None:
    assert [question.candidate(one) for question in guarded().harm] == [()] * 5
    assert guarded().telling.observed(one) == ()


def test_long_latencies_are_told_with_their_thousands_and_how_they_are_shown() -> None:
    slow = tuple(10 * one for one in PAST)
    found = guarded(slow, LatencyGuard(limit_ms=9000, margin=0.5, observe=True))
    assert found.telling.noun == "over 2,730 ms"
    assert found.alone.telling.noun == "over 5,460 ms"
    assert found.alone.words == "more answers above 5,460 ms, far above stable's p95, than"
    assert found.limit is not None
    assert found.limit.telling.noun == "over 9,000 ms"
    assert found.limit.words == "more than one answer in twenty above the limit of 9,000 ms"
    assert [one.words for one in found.harm] == ["slower than stable by over 10 %"] * 5
    assert (found.guard, found.source, found.observe, found.margin, found.relative) == (
        "latency", TABLE, True, 0.5, True,
    )  # fmt: skip
    assert guarded().limit is None
    assert not guarded().observe


def test_a_past_that_lacks_a_quantile_is_refused() -> None:
    with pytest.raises(ValueError, match="argument 2 is longer than argument 1"):
        guarded(PAST[:4])
