"""The judges' table of one look: who counts, how it is told, and what is waited for."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from policies.evidence import Block
from policies.fuse import Fuse, Minute
from policies.guards import ErrorGuard, Guards, History, LengthGuard
from policies.verdict import Outcome, Verdict
from states.counted import Counted, Query
from states.judging import (
    UNPROVABLE,
    alarm_of,
    covered,
    deciding_sources,
    explained,
    fuse_of,
    glimpsed,
    journal,
    lag_of,
    obstacle,
    pace_of,
    pin_guards,
    sources,
)
from states.machine import State
from states.rejudging import Bench
from states.span import Span
from states.world import Endpoint, World
from tests.policies.counts import arm, block, minutes
from tests.states.answers import RICH
from tests.states.byhand import NOW, candidate, judged, record, shown, turn
from tests.states.story import QUICK, SOURCE, SPEC
from tests.states.test_desired import PINNED

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
SINCE = NOW - HOUR
TABLE = shown(inference_table="main.x.payload")
SPAN = Span(number=1, step=1, weight=5, starts_at=SINCE, settled=True)
STEP = candidate(state=State.CANARY, step=1, spans=(SPAN,), sources={"errors": SOURCE})
WATCHING = replace(PINNED, guards=Guards(errors=ErrorGuard(observe=True)))


def query(counts: str) -> Query:
    return Query(name=f"my_{counts}", sql="SELECT 1", counts=counts)


@pytest.mark.parametrize(
    ("seen", "labelled", "queries", "found"),
    [
        (shown(), False, (), {}),
        (shown(), True, (), {"errors": "metrics"}),
        (
            TABLE,
            False,
            (),
            dict.fromkeys(("errors", "latency", "answers", "tokens", "capacity"), SOURCE),
        ),
        (
            TABLE,
            True,
            (query("errors"), query("latency"), query("score")),
            {
                "errors": "metrics",
                "latency": "query:my_latency",
                "answers": SOURCE,
                "tokens": SOURCE,
                "capacity": SOURCE,
                "my_score": "query:my_score",
            },
        ),
        (shown(), False, (query("errors"),), {"errors": "query:my_errors"}),
        (shown(), False, (query("score"),), {"my_score": "query:my_score"}),
    ],
)
def test_each_guard_is_counted_by_the_best_source_there_is(
    seen: Endpoint, found: dict[str, str], queries: tuple[Query, ...], *, labelled: bool
) -> None:
    known = record(spec=replace(SPEC, counted=Counted(queries=queries)))
    assert sources(known, seen, labelled=labelled) == found


def test_both_sides_of_how_long_answers_are_come_from_the_table_where_it_is_asked_for() -> None:
    known = record(spec=replace(SPEC, guards=Guards(length=LengthGuard())))
    found = sources(known, TABLE, labelled=False)
    assert (found["shorter"], found["longer"], len(found)) == (SOURCE, SOURCE, 7)
    assert sources(known, shown(), labelled=True) == {"errors": "metrics"}


def test_what_it_is_judged_by_is_told_whole() -> None:
    release = replace(STEP, history=replace(RICH, lag=MINUTE))
    pinned = pin_guards(release, {"errors": SOURCE, "answers": SOURCE}, 1.5)
    assert pinned.dispersion == 1.5
    assert set(pinned.measures) == {"latency", "answers"}
    told = Bench.of(pinned).told()
    assert set(told) == {"sources", "guards", "measures", "history", "dispersion"}
    assert told["sources"] == [["errors", SOURCE], ["answers", SOURCE]]
    assert told["guards"]["errors"] == {"observe": False, "margin": 0.005, "limit": 0.05}
    assert set(told["measures"]["latency"]) == {"edges", "cap"}
    assert (told["history"]["requests"], told["history"]["lag"]) == (90_000, 60.0)
    assert told["dispersion"] == 1.5
    assert Bench.of(replace(pinned, history=RICH)).told()["history"]["lag"] is None
    assert Bench.of(replace(pinned, history=None)).told()["history"] is None


@pytest.mark.parametrize(
    ("now", "day", "history", "pace"),
    [
        (None, (), RICH, None),
        (3.0, (), None, 3.0),
        (3.0, (60, 600), None, 5.5),
        (9.0, (60, 600), None, 9.0),
        (None, (60, 600), None, 5.5),
        (0.5, (60,), replace(RICH, requests=172_800), 2.0),
        (0.0, (), History(), 0.0),
    ],
)
def test_the_pace_is_the_highest_that_anything_tells(
    now: float | None, day: tuple[int, ...], history: History | None, pace: float | None
) -> None:
    seen = tuple(
        Minute(ends_at=NOW - MINUTE * number, requests=requests, errors=0)
        for number, requests in enumerate(day)
    )
    known = record(minutes=seen)
    assert pace_of(known, World(now=NOW, requests_per_second=now), history) == pace


def test_how_late_the_source_is_was_seen_on_stables_last_day() -> None:
    assert lag_of(STEP) == timedelta()
    assert lag_of(replace(STEP, history=RICH)) == timedelta()
    assert lag_of(replace(STEP, history=replace(RICH, lag=HOUR))) == HOUR


SET = Fuse(set_at=SINCE, permitted=0.01, dispersion=1.0, weight=5)
BURNT = (Minute(ends_at=NOW - MINUTE, requests=6_000, errors=600),)
BLOWN = replace(STEP, fuse=SET, minutes=BURNT, watermarks={SOURCE: NOW})


def test_a_fuse_watches_a_release_that_is_compared_and_has_users() -> None:
    alarm = fuse_of(BLOWN)
    assert alarm is not None
    assert alarm_of(turn(record(BLOWN), shown()), BLOWN) == alarm
    assert fuse_of(replace(BLOWN, fuse=None)) is None
    assert fuse_of(replace(BLOWN, shut=True)) is None
    assert fuse_of(replace(BLOWN, pinned=replace(PINNED, baseline=None))) is None
    assert fuse_of(replace(BLOWN, minutes=())) is None


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"watermarks": {SOURCE: NOW - MINUTE}}, True),
        ({"watermarks": {SOURCE: NOW}}, True),
        ({"watermarks": {SOURCE: NOW - MINUTE - SECOND}}, False),
        ({"watermarks": {}}, False),
        ({"minutes": ()}, False),
        ({"sources": {}}, False),
        ({"pinned": WATCHING}, False),
    ],
)
def test_a_blown_fuse_is_explained_once_all_of_it_was_told_by_version(
    facts: dict[str, Any], *, told: bool
) -> None:
    assert explained(replace(BLOWN, **facts)) is told


def test_what_may_be_late_is_broken_once_it_is_later() -> None:
    silent = replace(STEP, watermarks={})
    late = PINNED.max_lag
    for mark, begun, blind in (
        (NOW - late, SINCE, False),
        (NOW - late - SECOND, SINCE, True),
        (None, NOW - late, False),
        (None, NOW - late - SECOND, True),
    ):
        marks = {SOURCE: mark} if mark else {}
        span = replace(SPAN, starts_at=begun)
        release = replace(silent, watermarks=marks, spans=(span,))
        alarm = alarm_of(turn(record(release), shown()), release)
        assert (alarm is not None) is blind
        if alarm is not None:
            assert alarm.outcome is Outcome.BLIND


FAULT = minutes(5, arm(50), arm(950, 200, 200))


@pytest.mark.parametrize(
    ("facts", "waits"),
    [
        ({}, None),
        ({"sources": {}}, (UNPROVABLE, True)),
        ({"sources": {"answers": SOURCE}}, (UNPROVABLE, True)),
        ({"pinned": WATCHING}, (UNPROVABLE, True)),
    ],
)
def test_where_nobody_could_be_blamed_a_person_is_asked(
    facts: dict[str, Any], waits: tuple[str, bool] | None
) -> None:
    assert obstacle(replace(STEP, **facts)) == waits
    assert UNPROVABLE == (
        "nothing that decides counted errors by version when it was opened, so that no step can "
        "be opened on proof: `headgate promote --override` opens one, or abort it"
    )


def test_a_failing_environment_is_waited_for_and_a_split_that_is_off_is_asked_about() -> None:
    failing = (
        "stable itself fails with server errors (1,000 of 4,750, 21.1 %, above the limit of 5 %): "
        "the environment is at fault, and nobody is blamed until it is well"
    )
    assert obstacle(replace(STEP, blocks=FAULT)) == (failing, False)
    elsewhere = tuple(replace(one, source="metrics") for one in FAULT)
    assert obstacle(replace(STEP, blocks=elsewhere)) is None
    astray = (block(arm(3_000), arm(3_000)),)
    split = (
        "the candidate got 3,000 of 6,000 requests (50 %) at a weight of 5 %: the endpoint does "
        "not route as it was told, or the counts leave requests out"
    )
    assert obstacle(replace(STEP, blocks=astray)) == (split, True)
    before = tuple(replace(one, span=2) for one in astray)
    assert obstacle(replace(STEP, blocks=before)) is None
    rejecting = (block(replace(arm(3_000), rejected=900), arm(57_000)),)
    capacity = {"errors": "metrics", "capacity": SOURCE}
    full = (
        "the candidate rejected 900 of 3,000 requests with 429, stable 0 of 57,000: give it more "
        "provisioned concurrency"
    )
    assert obstacle(replace(STEP, blocks=rejecting, sources=capacity)) == (full, True)
    assert obstacle(replace(STEP, blocks=rejecting, sources={"errors": "metrics"})) is None


def test_what_decides_is_waited_for_and_what_observes_is_not() -> None:
    both = {"errors": SOURCE, "my_score": "query:my_score"}
    assert deciding_sources(replace(STEP, sources=both)) == [SOURCE]
    assert deciding_sources(replace(STEP, pinned=WATCHING)) == []


@pytest.mark.parametrize(
    ("marks", "over"),
    [({SOURCE: SINCE + HOUR}, True), ({SOURCE: SINCE + HOUR - SECOND}, False), ({}, False)],
)
def test_a_stay_is_covered_once_it_was_told_of_whole(marks: dict[str, Any], *, over: bool) -> None:
    release = replace(STEP, watermarks=marks)
    assert covered(release, HOUR) is over
    assert covered(replace(release, pinned=WATCHING), HOUR), "nobody is waited for"


def test_a_bake_is_glimpsed_after_as_long_as_a_step_takes() -> None:
    # The least stay on a step is a minute, and the bake is five.
    one = replace(STEP, on_step=MINUTE, watermarks={SOURCE: SINCE + MINUTE})
    assert glimpsed(one)
    assert not glimpsed(replace(one, on_step=MINUTE - SECOND))
    assert not glimpsed(replace(one, watermarks={SOURCE: SINCE + MINUTE - SECOND}))
    brief = replace(PINNED, rollout=replace(QUICK, bake=SECOND))
    seen = replace(one, pinned=brief, on_step=SECOND, watermarks={SOURCE: SINCE + SECOND})
    assert glimpsed(seen)


def verdict(outcome: Outcome, guard: str = "errors") -> Verdict:
    return Verdict(guard=guard, outcome=outcome, because="so", numbers={"evidence": 7.0})


BLOCKS: tuple[Block, ...] = (block(arm(1), arm(2)),)


@pytest.mark.parametrize(
    ("outcome", "observed", "level", "key"),
    [
        (Outcome.PASS, False, "info", "errors"),
        (Outcome.PASS, True, "info", "errors"),
        (Outcome.FAIL, False, "error", "errors"),
        (Outcome.FAIL, True, "warning", "errors, observed"),
        (Outcome.INSUFFICIENT, False, "info", "errors"),
    ],
)
def test_a_verdict_is_told_when_it_changes(
    outcome: Outcome, level: str, key: str, *, observed: bool
) -> None:
    release = replace(STEP, blocks=BLOCKS, verdicts={"answers": "PASS at step 1"})
    inputs: dict[str, Any] = {"observe": True} if observed else {"span": 1}
    made = turn(record(release), shown())
    said = verdict(outcome)
    after = journal(made, release, said, **inputs)
    mark = f"{outcome.value} at step 1"
    assert after == replace(release, verdicts={"answers": "PASS at step 1", key: mark})
    assert made.application == record(after)
    assert made.events == [judged(release, said, level, **inputs)]
    assert journal(made, after, said, **inputs) == after
    assert len(made.events) == 1
    further = replace(after, step=2)
    journal(made, further, said, **inputs)
    assert len(made.events) == 2, "on another step it is another one"


def test_with_an_alarm_all_is_told_that_it_rests_on() -> None:
    made = turn(record(BLOWN), shown())
    blind = verdict(Outcome.BLIND, SOURCE)
    marked = replace(BLOWN, watermarks={SOURCE: NOW - MINUTE})
    journal(made, marked, blind)
    silences: dict[str, Any] = {"span": 1, "silences": {SOURCE: 60.0}, "max_lag": 5400.0}
    assert made.events[0] == judged(BLOWN, blind, **silences)
    fuse = verdict(Outcome.FAIL, "fuse")
    journal(made, BLOWN, fuse)
    setting = {
        "set_at": SINCE.isoformat(),
        "permitted": 0.01,
        "dispersion": 1.0,
        "weight": 5,
        "most": (),
    }
    told = [[(NOW - MINUTE).isoformat(), 6_000, 600]]
    assert made.events[1] == judged(BLOWN, fuse, "error", fuse=setting, minutes=told)
    journal(made, replace(BLOWN, fuse=None), fuse)
    assert made.events[2] == judged(BLOWN, fuse, "error")
