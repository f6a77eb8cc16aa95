"""What is looked up of a release that did harm, and how it is told: ids and statuses, no more."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from policies.guards import History
from states.counted import Counted, Paths
from states.examples import Found, Wanted, examples, slow_of, wanted
from states.machine import State
from states.world import World
from tests.policies.counts import NOON, arm, block
from tests.states.answers import RICH
from tests.states.byhand import NOW, candidate, event, record
from tests.states.story import SOURCE
from tests.states.test_desired import PINNED

MINUTE = timedelta(minutes=1)
BLOCKS = (block(arm(100), arm(900)), block(arm(100, 50), arm(900), number=7))
"""It answers well for a minute, and fails half of its requests six minutes later."""
GUARDED = {"errors": SOURCE, "latency": SOURCE}
ROLLED = candidate(
    state=State.ROLLED_BACK,
    step=1,
    sources=GUARDED,
    verdicts={"errors": "FAIL at step 1"},
    blocks=BLOCKS,
    pinned=replace(PINNED, counted=Counted(paths=Paths(answer="$.text"))),
)
AT = datetime(2026, 11, 23, 12, 5, 7, tzinfo=UTC)
WANTED = Wanted(
    version="2",
    attempt=1,
    entity="rag_chatbot-v2",
    guard="errors",
    since=NOON + 7 * MINUTE,
    paths=Paths(answer="$.text"),
)
MANY = (
    "the inference table has 1,236 of the bad requests by now, 1,234 with status 500, 2 with no "
    "answer; the first at 2026-11-23 12:05:07 UTC"
)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (Found(), "the inference table has none of the bad requests by now"),
        (
            Found(ids=("a", "b"), statuses=(("500", 1_234), ("none", 2)), first_at=AT),
            MANY,
        ),
        (
            Found(ids=("a",), statuses=(("408", 1),)),
            "the inference table has 1 of the bad requests by now, 1 with status 408",
        ),
    ],
)
def test_how_many_there_are_and_how_they_ended_is_told(found: Found, sentence: str) -> None:
    assert found.sentence == sentence


def test_what_is_looked_up_is_of_the_guard_that_closed_the_gate_since_it_went_wrong() -> None:
    known = record(candidate(attempt=2, state=State.TESTING), ROLLED)
    assert wanted(known, "2", 1) == WANTED
    elsewhere = (BLOCKS[0], replace(BLOCKS[1], source="metrics"))
    assert wanted(record(replace(ROLLED, blocks=elsewhere)), "2", 1) is None
    named = replace(record(ROLLED), names={"2": "theirs"})
    assert wanted(named, "2", 1) == replace(WANTED, entity="theirs")


@pytest.mark.parametrize(
    "release",
    [
        replace(ROLLED, verdicts={"errors": "PASS at step 1"}),
        replace(ROLLED, step=0),
        replace(ROLLED, blocks=()),
        replace(ROLLED, attempt=2),
        replace(ROLLED, version="3"),
    ],
)
def test_where_no_guard_closed_the_gate_nothing_is_looked_up(release: object) -> None:
    assert wanted(record(release), "2", 1) is None  # type: ignore[arg-type]


def test_slow_is_what_was_above_the_95th_percentile_of_stables_past() -> None:
    # 120 ms times e to the 0.5 x 1.6449.
    assert slow_of(RICH) == 273.0
    assert slow_of(History()) is None
    assert slow_of(None) is None


def test_what_was_found_is_written_down_with_the_release() -> None:
    known, world = record(ROLLED), World(now=NOW)
    found = Found(ids=("a", "b"), statuses=(("500", 2), ("none", 1)), first_at=AT)
    plan = examples(known, world, WANTED, found)
    assert plan is not None
    fields: dict[str, Any] = {
        "guard": "errors",
        "request_ids": ["a", "b"],
        "statuses": [["500", 2], ["none", 1]],
        "first_at": "2026-11-23T12:05:07+00:00",
    }
    line = event("release.examples", ROLLED, found.sentence, **fields)
    assert (plan.application, plan.events, plan.calls) == (known, (line,), ())
    undated = examples(known, world, WANTED, replace(found, first_at=None))
    assert undated is not None
    assert "first_at" not in undated.events[0].fields
    assert examples(known, world, WANTED, Found()) is None
    assert examples(record(), world, WANTED, found) is None
    assert examples(known, world, replace(WANTED, attempt=2), found) is None
