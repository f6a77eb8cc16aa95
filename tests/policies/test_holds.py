"""What holds a climb and blames nobody: a bad world, a router that errs, and a full queue."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.evidence import Arm, Block
from policies.guards import CapacityGuard, ErrorGuard
from policies.holds import LATELY, crowded, environment, rejected, sample_ratio
from policies.judge import harmful
from policies.verdict import Outcome, Verdict
from tests.policies.counts import arm, errors_by, minutes

GUARD = ErrorGuard()


def after(blocks: tuple[Block, ...], later: tuple[Block, ...]) -> tuple[Block, ...]:
    """Blocks, and then others."""
    shift = blocks[-1].closed_at - later[0].opened_at
    moved = (
        replace(one, opened_at=one.opened_at + shift, closed_at=one.closed_at + shift)
        for one in later
    )
    return (*blocks, *moved)


WELL = minutes(30, arm(100), arm(1900, 4, 2))
OUTAGE = minutes(5, arm(100, 60, 60), arm(1900, 1140, 1140))


def test_an_outage_of_stable_itself_holds_and_is_over_when_it_is_over() -> None:
    assert environment(GUARD, ()) is None
    assert environment(GUARD, WELL) is None
    during = environment(GUARD, after(WELL, OUTAGE))
    assert during is not None
    assert during == (
        "stable itself fails with server errors (5,720 of 28,500, 20.1 %, above the limit of 5 %): "
        "the environment is at fault, and nobody is blamed until it is well"
    )
    assert environment(GUARD, after(OUTAGE, WELL)) is None, f"{LATELY} later it is forgotten"


def test_clients_mistakes_are_no_outage() -> None:
    assert environment(GUARD, minutes(9, arm(100, 60, 0), arm(1900, 1140, 0))) is None


def test_one_block_longer_than_the_memory_is_looked_at_whole() -> None:
    [hour] = minutes(1, arm(100, 60, 60), arm(1900, 1140, 1140))
    hour = replace(hour, opened_at=hour.closed_at - 4 * LATELY)
    assert environment(GUARD, (hour,)) is not None


def test_an_outage_in_which_stable_saw_nothing_holds_nothing() -> None:
    assert environment(GUARD, minutes(9, arm(100, 60, 60), arm(0))) is None


@pytest.mark.parametrize("weight", [1, 5, 25, 50, 95])
def test_routing_as_told_is_in_no_doubt_and_half_as_much_or_more_is(weight: int) -> None:
    whole = 40_000
    told = whole * weight // 100
    assert sample_ratio(minutes(9, arm(told), arm(whole - told)), weight) is None
    fewer = sample_ratio(minutes(9, arm(told // 2), arm(whole - told // 2)), weight)
    assert fewer is not None
    assert f"at a weight of {weight} %" in fewer
    if weight < 95:
        more = min(whole, told * 5 // 3)
        assert sample_ratio(minutes(9, arm(more), arm(whole - more)), weight) is not None


def test_what_is_not_comparable_says_nothing_of_routing() -> None:
    strange = minutes(9, arm(900), arm(100))
    assert sample_ratio(strange, 5) == (
        "the candidate got 8,100 of 9,000 requests (90 %) at a weight of 5 %: the endpoint does "
        "not route as it was told, or the counts leave requests out"
    )
    assert sample_ratio([replace(one, comparable=False) for one in strange], 5) is None
    assert sample_ratio((), 5) is None


def full(rejected_of: int, requests: int = 500) -> Arm:
    """An arm that rejects some of its requests."""
    return Arm(requests=requests, errors=0, server_errors=0, rejected=rejected_of)


def test_429_on_the_candidate_alone_holds_and_never_blames() -> None:
    blocks = minutes(10, full(50), full(0))
    assert rejected(CapacityGuard(), blocks) == Verdict(
        outcome=Outcome.FAIL,
        guard="capacity",
        because="the candidate rejected 500 of 5,000 requests with 429, stable 0 of 5,000: "
        "give it more provisioned concurrency",
        numbers={
            "candidate_requests": 5_000,
            "candidate_capacity": 500,
            "candidate_rate": 0.1,
            "stable_requests": 5_000,
            "stable_capacity": 0,
            "stable_rate": 0.0,
            "evidence": 1_000_000,
            "closes_at": 100,
        },
    )
    assert harmful([errors_by()], blocks) is None


def test_429_on_both_or_hardly_any_hold_nothing() -> None:
    assert rejected(CapacityGuard(), minutes(30, full(50), full(50))) is None
    assert rejected(CapacityGuard(), minutes(2, full(1), full(0))) is None
    assert rejected(CapacityGuard(), ()) is None


def test_a_queue_that_has_room_again_is_full_no_more() -> None:
    """The evidence of an hour of 429s would otherwise hold for days after the remedy."""
    mended = minutes(60, full(0), full(0))
    assert rejected(CapacityGuard(), after(minutes(60, full(50), full(0)), mended)) is None


def test_a_step_must_fit_the_room_at_the_last_peak() -> None:
    assert crowded(50, 8.0, 4) is None
    why = crowded(50, 8.2, 4)
    assert why == (
        "50 % of the last hour's peak is 4.1 requests in flight, and the candidate is provisioned "
        "for 4: give it more concurrency, or wait for less traffic"
    )
    many = crowded(50, 2500.0, 900)
    assert many is not None
    assert many.startswith("50 % of the last hour's peak is 1,250 requests in flight, and")
    assert crowded(50, None, 4) is None
    assert crowded(50, 1e9, None) is None
    assert crowded(50, 1e9, 0) is None


def test_the_memory_of_holds_is_minutes() -> None:
    assert timedelta(minutes=5) < LATELY <= timedelta(hours=1)
