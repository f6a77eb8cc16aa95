"""A block told of in the journal is read back as it was, through JSON text."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.evidence import GRID, NOTHING, Arm, Block, Coverage, Tally
from states.blocks import block_of, told

COUNTS = st.integers(0, 10**12)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
MASSES = st.floats(0, 1e12)
TALLIES = st.builds(
    lambda counts, more, mass: Tally(seen=max(counts, default=0) + more, counts=counts, mass=mass),
    counts=st.lists(COUNTS, max_size=4).map(tuple),
    more=COUNTS,
    mass=st.just(()) | st.lists(MASSES, min_size=GRID + 1, max_size=GRID + 1).map(tuple),
)
ARMS = st.just(NOTHING) | st.builds(
    lambda server, more, fine, rejected, tallies: Arm(
        requests=server + more + fine + rejected,
        errors=server + more,
        server_errors=server,
        rejected=rejected,
        tallies=tallies,
    ),
    server=COUNTS,
    more=COUNTS,
    fine=COUNTS,
    rejected=COUNTS,
    tallies=st.dictionaries(NAMES, TALLIES, max_size=3),
)
COVERS = st.builds(Coverage, requests=COUNTS, failed=COUNTS, seen=COUNTS, seen_failed=COUNTS)
BLOCKS = st.builds(
    Block,
    number=COUNTS,
    source=NAMES,
    opened_at=st.datetimes(timezones=st.just(UTC)),
    closed_at=st.datetimes(timezones=st.just(UTC)),
    candidate=ARMS,
    stable=ARMS,
    whole=st.booleans(),
    unattributed=COUNTS,
    unattributed_errors=COUNTS,
    late=COUNTS,
    coverage=st.none() | COVERS,
)
MANY = settings(max_examples=150, deadline=None, database=None, derandomize=True)


@MANY
@given(BLOCKS)
def test_a_block_is_read_back_exactly_as_it_was_told(block: Block) -> None:
    assert block_of(json.loads(json.dumps(told(block)))) == block


@MANY
@given(BLOCKS)
def test_what_an_earlier_headgate_did_not_count_is_read_as_nothing(block: Block) -> None:
    since = ("whole", "unattributed_errors", "late", "coverage")
    fields = {
        name: value
        for name, value in told(block).items()
        if name not in since and not name.endswith(("_rejected", "_tallies"))
    }
    assert block_of(fields) == replace(
        block,
        candidate=replace(block.candidate, rejected=0, tallies={}),
        stable=replace(block.stable, rejected=0, tallies={}),
        whole=False,
        unattributed_errors=0,
        late=0,
        coverage=None,
    )


@MANY
@given(BLOCKS)
def test_a_block_told_twice_is_told_alike(block: Block) -> None:
    once = json.dumps(told(block), sort_keys=True)
    assert json.dumps(told(block_of(json.loads(once))), sort_keys=True) == once


def test_answers_that_an_earlier_headgate_took_for_zeros_are_read_as_it_told_them() -> None:
    told_of = Tally(seen=3, mass=(2.0, *(0.0,) * (GRID - 1), 3.0))
    assert not told_of.balanced
    assert replace(told_of, mass=(0.0, *told_of.mass[1:])).balanced
    arm = Arm(requests=5, errors=2, server_errors=0, tallies={"tokens": told_of})
    moment = datetime(2026, 11, 23, tzinfo=UTC)
    block = Block(
        number=1,
        source="inference_table",
        span=1,
        step=1,
        comparable=True,
        opened_at=moment,
        closed_at=moment,
        candidate=arm + arm,
        stable=arm,
    )
    assert block_of(json.loads(json.dumps(told(block)))) == block


@given(ARMS, ARMS)
@MANY
def test_arms_add_up_whatever_was_not_counted_of_one_of_them(one: Arm, other: Arm) -> None:
    alike = {
        name: tally
        for name, tally in other.tallies.items()
        if name not in one.tallies or len(one.tallies[name].counts) == len(tally.counts)
    }
    both = one + Arm(
        requests=other.requests,
        errors=other.errors,
        server_errors=other.server_errors,
        rejected=other.rejected,
        tallies=alike,
    )
    assert both.requests == one.requests + other.requests
    assert set(both.tallies) == {*one.tallies, *alike}
    assert one + NOTHING == one


def test_counts_that_cannot_be_are_refused_in_tallies_too() -> None:
    with pytest.raises(AssertionError):
        Tally(seen=1, counts=(2,))
    with pytest.raises(AssertionError):
        Tally(seen=1, mass=(1.0,))
    with pytest.raises(AssertionError):
        Arm(requests=5, errors=3, server_errors=0, rejected=3)
