"""Splits are fair, harms are what they say, and a replay judges as the release was judged."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.backtest import End, Policy, relive, replay
from policies.criteria import criteria
from policies.evidence import GRID, NOTHING, Arm, Block, Measure, Pair, Tally
from policies.guards import ErrorGuard, Guards
from policies.judge import harmful
from policies.rollout import Rollout
from policies.splitting import HARMS, Harm, binomial, split, worsened
from tests.policies.counts import arm, block, set_to

QUICK = Rollout(
    steps=(5, 50, 100),
    settle=timedelta(seconds=60),
    min_step=timedelta(minutes=2),
    bake=timedelta(minutes=5),
    watch=timedelta(minutes=5),
    patience=timedelta(hours=2),
)
GUARDED = criteria(Guards(errors=ErrorGuard(margin=0.02)), {}, None, {"errors": "inference_table"})
POLICY = Policy(rollout=QUICK, criteria=GUARDED)
EDGES = (100.0, 150.0, 200.0, 400.0)


def record(minutes: int = 60, requests: int = 600, errors: int = 6) -> list[Block]:
    """So many minutes of a stable that answers ten requests a second."""
    return [
        replace(block(arm(10), arm(requests, errors), number=index), comparable=True)
        for index in range(1, minutes + 1)
    ]


def tried(
    harm: Harm, seed: int, blocks: Sequence[Block], policy: Policy = POLICY, start: int = 0
) -> End:
    return replay(policy, blocks, start, chance(harm, seed)).end


def chance(harm: Harm, seed: int) -> partial[Pair]:
    drawn = random.Random(seed)  # noqa: S311 - no secret

    def arms(harm: Harm, stable: Arm, weight: int) -> Pair:
        def draw(number: int, share: float) -> int:
            return binomial(number, share, drawn.random())

        candidate, rest = split(stable, weight, draw)
        return worsened(candidate, harm, stable.rate, (), draw), rest

    return partial(arms, harm)


@given(st.integers(0, 300), st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_a_draw_lies_between_none_and_all(number: int, share: float, uniform: float) -> None:
    assert 0 <= binomial(number, share, uniform) <= number


@pytest.mark.parametrize(("number", "share"), [(1, 0.3), (12, 0.05), (40, 0.5), (30, 0.97)])
def test_draws_have_the_binomial_distribution(number: int, share: float) -> None:
    """Even uniform numbers meet each outcome as often as its probability says."""
    parts = 20_000
    met = [0] * (number + 1)
    for index in range(parts):
        met[binomial(number, share, (index + 0.5) / parts)] += 1
    for outcome, times in enumerate(met):
        exact = math.comb(number, outcome) * share**outcome * (1 - share) ** (number - outcome)
        assert times / parts == pytest.approx(exact, abs=1e-3), outcome


def test_a_large_draw_is_made_in_no_time_and_in_the_right_place() -> None:
    drawn = [binomial(10_000_000, 0.25, (index + 0.5) / 50) for index in range(50)]
    assert sum(drawn) / 50 == pytest.approx(2_500_000, rel=1e-3)


@given(st.data())
def test_a_split_loses_nothing_and_invents_nothing(data: st.DataObject) -> None:
    errors = data.draw(st.integers(0, 40))
    server = data.draw(st.integers(0, errors))
    rejected = data.draw(st.integers(0, 10))
    requests = data.draw(st.integers(errors + rejected, 300))
    counts = sorted(data.draw(st.lists(st.integers(0, 200), min_size=4, max_size=4)), reverse=True)
    whole = Arm(
        requests=requests,
        errors=errors,
        server_errors=server,
        rejected=rejected,
        tallies={
            "latency": Tally(seen=max(200, counts[0]), counts=tuple(counts)),
            "helpful": Tally(seen=7, mass=(0.25, 3.5, *(0.0,) * (GRID - 2), 3.25)),
        },
    )
    drawn = random.Random(data.draw(st.integers()))  # noqa: S311 - no secret
    weight = data.draw(st.sampled_from([1, 5, 50, 99]))
    candidate, rest = split(whole, weight, lambda n, p: binomial(n, p, drawn.random()))
    assert candidate.requests + rest.requests == whole.requests
    both = candidate + rest
    assert replace(both, tallies={}) == replace(whole, tallies={})
    assert both.tallies["latency"] == whole.tallies["latency"]
    assert both.tallies["helpful"].mass == pytest.approx(whole.tallies["helpful"].mass)
    told = candidate.tallies["latency"].counts
    assert list(told) == sorted(told, reverse=True)


def test_at_100_percent_the_pretended_candidate_has_all() -> None:
    assert split(arm(10, 2), 100, lambda _number, _share: 0) == (arm(10, 2), NOTHING)


def test_more_errors_fall_on_requests_that_went_well() -> None:
    def most(number: int, share: float) -> int:
        return round(number * share)

    doubled = worsened(arm(1000, 20), Harm(name="", times=2), 0.02, (), most)
    assert doubled.errors == 40
    added = worsened(arm(1000, 20), Harm(name="", plus=0.05), 0.02, (), most)
    assert added.errors == 70
    assert worsened(arm(1000, 20), HARMS[0], 0.02, (), most) == arm(1000, 20)


def undrawn(_number: int, _share: float) -> int:
    raise AssertionError("nothing is drawn")


def test_slower_answers_move_up_by_no_more_than_the_factor() -> None:
    """What is over 150 ms now was over 100, as told; over 200 was over 133: at least over 150."""
    tally = Tally(seen=100, counts=(50, 30, 20, 5))
    slowed = worsened(
        replace(arm(100), tallies={"latency": tally}),
        Harm(name="", slower=1.5),
        0.0,
        EDGES,
        undrawn,
    )
    assert slowed.tallies["latency"].counts == (50, 50, 30, 5)


def test_a_split_of_stable_climbs_and_is_seldom_stopped() -> None:
    blocks = record()
    ends = [tried(HARMS[0], seed, blocks, start=seed % 60) for seed in range(60)]
    assert ends.count(End.CLOSED) <= 2
    assert ends.count(End.OPENED) >= 55


def test_a_harm_that_is_put_in_is_found_sooner_the_worse_it_is() -> None:
    blocks = record()
    worse = [Harm(name="", plus=plus) for plus in (0.05, 0.20)]
    endings = [replay(POLICY, blocks, 0, chance(harm, 1)) for harm in worse]
    assert [one.end for one in endings] == [End.CLOSED, End.CLOSED]
    assert endings[0].exposed > endings[1].exposed > 0
    assert endings[0].time > endings[1].time
    assert {one.guard for one in endings} == {"errors"}


def test_lag_costs_the_users_who_come_meanwhile() -> None:
    blocks, harm = record(), Harm(name="", plus=0.20)
    prompt = replay(POLICY, blocks, 0, chance(harm, 1))
    late = replay(replace(POLICY, lag=timedelta(minutes=10)), blocks, 0, chance(harm, 1))
    assert late.time == prompt.time + timedelta(minutes=10)
    assert late.exposed > 2 * prompt.exposed


def test_traffic_too_thin_is_undecided_and_says_of_whom() -> None:
    ending = replay(POLICY, record(requests=1, errors=0), 0, chance(HARMS[0], 1))
    assert (ending.end, ending.guard, ending.weight) == (End.UNDECIDED, "errors", 5)
    assert ending.time == QUICK.patience


def test_no_step_opens_before_settle_and_least_stay_are_over() -> None:
    ending = replay(POLICY, record(requests=60_000, errors=0), 0, chance(HARMS[0], 1))
    assert ending.end is End.OPENED
    assert ending.time == 2 * QUICK.min_step + QUICK.bake + QUICK.watch


def test_latency_is_judged_beside_errors() -> None:
    """Counting edges of a wider margin would not do: the policy brings its own."""
    tally = Tally(seen=600, counts=(300, 200, 30))
    measure = Measure(edges=(100.0, 150.0, 200.0))
    blocks = [
        replace(one, stable=replace(one.stable, tallies={"latency": tally})) for one in record(5)
    ]
    candidate, rest = split(blocks[0].stable, 50, lambda n, p: round(n * p))
    assert candidate.tallies["latency"] == Tally(seen=300, counts=(150, 100, 15))
    assert len(rest.tallies["latency"].counts) == len(measure.edges)


def test_a_release_relived_ends_where_its_own_verdict_ended_it() -> None:
    blocks = [block(arm(30, 6), arm(570, 6), number=index) for index in range(1, 20)]
    ending = relive(POLICY, blocks, {1: 5, 2: 50, 3: 100})
    first = next(n for n in range(1, 20) if harmful(GUARDED, tuple(blocks[:n])))
    assert ending.end is End.CLOSED
    assert ending.exposed == 30 * first
    assert ending.failed == 6 * first
    assert ending.time == timedelta(minutes=first)


def test_a_good_release_relived_is_not_stopped_and_a_short_one_undecided() -> None:
    blocks = [block(arm(30), arm(570, 6), number=index) for index in range(1, 20)]
    assert relive(POLICY, blocks, {1: 5, 2: 50, 3: 100}).end is End.OPENED
    assert relive(POLICY, blocks[:1], {1: 5, 2: 50, 3: 100}).end is End.UNDECIDED


def test_a_release_relived_is_told_of_as_late_as_its_counts_were() -> None:
    blocks = [block(arm(30, 6), arm(570, 6), number=index) for index in range(1, 40)]
    prompt = relive(POLICY, blocks, {1: 5, 2: 50, 3: 100})
    late = relive(replace(POLICY, lag=timedelta(minutes=10)), blocks, {1: 5, 2: 50, 3: 100})
    assert late.time == prompt.time + timedelta(minutes=10)
    assert late.exposed == prompt.exposed + 10 * 30, "who asked meanwhile was exposed as well"
    assert late.failed == prompt.failed + 10 * 6
    assert prompt.guard == late.guard == "errors"


def test_a_release_relived_goes_step_by_step_at_the_weights_that_it_had() -> None:
    weights = {1: 5, 2: 50, 3: 100}
    first = [block(arm(30), arm(570, 6), number=index) for index in range(1, 20)]
    second = [block(arm(3), arm(3), number=index, span=2, step=2) for index in range(20, 23)]
    ending = relive(POLICY, [*first, *second], weights)
    assert (ending.end, ending.guard, ending.weight) == (End.UNDECIDED, "errors", 50)
    assert ending.time == timedelta(minutes=22)
    third = [
        block(arm(600, 3), NOTHING, number=index, span=3, step=3, whole=True)
        for index in range(23, 30)
    ]
    ending = relive(POLICY, [*first, *second, *third], weights)
    assert (ending.end, ending.guard, ending.weight) == (End.OPENED, "", 100)


def test_a_release_relived_is_held_at_100_percent_to_what_was_known_of_the_hour_before() -> None:
    compared = [block(arm(300, 2), arm(300, 2), number=index) for index in range(1, 10)]
    alone = [
        block(arm(600, 24), NOTHING, number=index, span=2, step=3, whole=True)
        for index in range(10, 30)
    ]
    weights = {1: 50, 3: 100}
    assert relive(POLICY, [*compared, *alone], weights).end is End.CLOSED
    assert relive(POLICY, [*compared, *alone], weights, set_to(0.05)).end is End.OPENED


def test_a_replay_counts_every_user_it_exposed_and_every_error_they_met() -> None:
    def all_of_it(stable: Arm, weight: int) -> Pair:
        return split(stable, weight, lambda number, share: round(number * share))

    ending = replay(POLICY, record(errors=60), 0, all_of_it)
    assert ending.end is End.OPENED
    assert ending.exposed * 0.1 == pytest.approx(ending.failed, rel=0.02)


def test_a_record_that_was_read_twenty_times_on_a_step_tells_nothing_new() -> None:
    patient = replace(POLICY, rollout=replace(QUICK, patience=timedelta(days=7)))
    ending = replay(patient, record(minutes=10, requests=1, errors=0), 0, chance(HARMS[0], 1))
    assert (ending.end, ending.guard) == (End.UNDECIDED, "errors")
    assert timedelta(minutes=190) < ending.time <= timedelta(minutes=201)


def _even(number: int, share: float) -> int:
    return round(number * share)


def test_parts_of_an_answer_are_shared_in_proportion() -> None:
    mass = (2.5, 1.5, *(0.0,) * (GRID - 1))
    whole = replace(arm(4), tallies={"helpful": Tally(seen=4, mass=mass)})
    candidate, rest = split(whole, 50, _even)
    assert candidate.tallies["helpful"].mass[:2] == (1 + 0.25, 0 + 0.25)
    assert rest.tallies["helpful"].mass[:2] == (1.25, 1.25)


def test_of_checked_answers_only_the_failure_of_any_check_is_split() -> None:
    whole = replace(arm(10), tallies={"answers": Tally(seen=10, counts=(4, 3, 2, 1, 0))})
    candidate, rest = split(whole, 50, _even)
    assert candidate.tallies["answers"] == Tally(seen=5, counts=(2,))
    assert rest.tallies["answers"] == Tally(seen=5, counts=(2,))


def test_a_harm_never_makes_more_errors_than_there_were_good_answers() -> None:
    busy = Arm(requests=100, errors=20, server_errors=5, rejected=30)
    all_bad = worsened(busy, Harm(name="", plus=2.0), 0.2, (), lambda number, _share: number)
    assert (all_bad.errors, all_bad.requests, all_bad.rejected) == (70, 100, 30)


def test_answers_are_only_slowed_where_the_harm_says_so_and_every_edge_was_counted() -> None:
    tally = Tally(seen=100, counts=(50, 30, 20, 5))
    whole = replace(arm(100), tallies={"latency": tally})
    assert worsened(whole, Harm(name="", slower=1.0), 0.0, EDGES, undrawn) == whole
    assert worsened(whole, Harm(name="", slower=1.5), 0.0, EDGES[:3], undrawn) == whole
    assert worsened(arm(100), Harm(name="", slower=1.5), 0.0, EDGES, undrawn) == arm(100)
