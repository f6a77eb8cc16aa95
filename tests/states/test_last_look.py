"""What each guard says by now, for people: whole lists, in every state and on every step."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.evidence import Arm, Block, Measure
from policies.guards import AnswerGuard, Guards, History
from policies.rollout import Rollout
from states.last_look import Look, last_looks, looks_of
from states.machine import State
from states.rejudging import Bench
from states.release import Release
from states.span import Span
from states.status import status
from tests.policies.counts import TABLE, arm, block, faulty
from tests.states.records import PINNED, application, release
from tests.states.story import START

OTHER = "query:own"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
GUARDS = Guards(answers=AnswerGuard(observe=True))
ON_STEP = Span(number=2, step=1, weight=5, starts_at=START, settled=True)
BEFORE = block(arm(100, 10), arm(1900, 190), span=1, number=1)
"""An earlier span, in which every tenth request failed, whoever answered."""
CLEAN = block(arm(100, answers=faulty(50, 5)), arm(1900, answers=faulty(900, 9)), span=2, number=2)
"""A minute of 2,000 requests."""
LATER = replace(CLEAN, comparable=False, number=3)


def trial(state: State = State.CANARY, **facts: object) -> Release:
    """Version 2 on its first step, judged by errors; answers are observed."""
    made = release(
        state,
        step=1,
        pinned=replace(PINNED, guards=GUARDS),
        sources={"errors": TABLE, "answers": TABLE},
        measures={"answers": Measure()},
        spans=(ON_STEP,),
        blocks=(BEFORE, CLEAN),
    )
    return replace(made, **facts)  # type: ignore[arg-type]


def looks(one: Release) -> list[Look]:
    return looks_of(application(one), one)


COUNTED = "candidate 0 of 100 failed (0 %), stable 0 of 1,900 failed (0 %)"
ANSWERED = (
    "candidate 5 of 50 answers faulty (10 %: 0 by retrieval, 5 by generation), "
    "stable 9 of 900 answers faulty (1 %: 0 by retrieval, 9 by generation)"
)
SLOWLY = "within 3 pp of stable, evidence 8:1 of 20:1; about 38 more requests are missing"


def test_on_a_compared_step_each_guard_is_asked_whether_it_is_no_worse() -> None:
    errors, answers, harm = looks(trial())
    # In two minutes 4,000 requests came: 33.3 a second, of which 5 % are the candidate's.
    assert errors == {
        "guard": "errors",
        "verdict": "INSUFFICIENT",
        "observe": False,
        "because": f"{COUNTED}: {SLOWLY}, 22.8 s at 33.3 requests/s",
        "candidate_requests": 100,
        "candidate_errors": 0,
        "candidate_rate": 0.0,
        "stable_requests": 1900,
        "stable_errors": 0,
        "stable_rate": 0.0,
        "margin": 0.03,
        "evidence": errors["evidence"],
        "opens_at": 20.0,
        "missing": 38,
        "seconds_missing": 23,
    }
    assert errors["evidence"] == pytest.approx(8, abs=0.5)
    assert (answers["guard"], answers["verdict"]) == ("answers", "INSUFFICIENT")
    assert answers["observe"] is True
    assert str(answers["because"]).startswith(f"{ANSWERED}: within 12 pp of stable")
    assert harm == {
        "guard": "harm",
        "verdict": None,
        "observe": False,
        "because": "evidence 0.15:1 of 100:1 that closes the gate",
    }


def test_harm_is_of_the_whole_release_and_safety_of_what_was_counted_after_settle() -> None:
    bad = replace(BEFORE, candidate=arm(100, 60))
    looked = looks(trial(blocks=(bad, LATER, CLEAN)))
    assert str(looked[0]["because"]).startswith(COUNTED)
    over = "evidence over 1,000,000:1 of 100:1 that closes the gate"
    assert looked[-1]["because"] == over
    settling = looks(trial(blocks=(BEFORE, LATER)))
    assert str(settling[0]["because"]).startswith("candidate not counted yet: within 3 pp")


def test_a_step_of_one_percent_compares_too() -> None:
    least = replace(PINNED, guards=GUARDS, rollout=Rollout(steps=(1, 100)))
    looked = looks(trial(pinned=least))
    assert [one["guard"] for one in looked] == ["errors", "answers", "harm"]
    assert looked[0]["margin"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("facts", "none"),
    [
        ({}, False),
        ({"state": State.TESTING}, True),
        ({"state": State.ROLLED_BACK}, True),
        ({"step": 0, "shut": True}, True),
        ({"sources": {}}, True),
        ({"sources": {"capacity": TABLE}}, True),
    ],
)
def test_nothing_is_looked_at_unless_users_are_on_trial(
    facts: dict[str, object], *, none: bool
) -> None:
    found = looks(trial(**facts))  # type: ignore[arg-type]
    assert (found == []) is none


def test_a_record_without_a_plan_is_judged_by_nothing() -> None:
    assert looks(trial(State.PRODUCTION, pinned=None)) == []


def watched(errors: str, answers: str) -> list[Look]:
    return [
        {"guard": "errors", "verdict": None, "observe": False, "because": errors},
        {"guard": "answers", "verdict": None, "observe": True, "because": answers},
    ]


@pytest.mark.parametrize(
    "facts", [{"step": len(PINNED.rollout.steps)}, {"state": State.PRODUCTION, "step": 3}]
)
def test_in_bake_and_watch_the_counts_of_the_span_are_told(facts: dict[str, object]) -> None:
    found = looks(trial(**facts))  # type: ignore[arg-type]
    assert found == watched(COUNTED, ANSWERED)


def test_while_the_gate_is_shut_all_counts_of_the_release_are_told() -> None:
    told = "candidate 10 of 200 failed (5 %), stable 190 of 3,800 failed (5 %)"
    assert looks(trial(shut=True)) == watched(told, ANSWERED)


def test_of_guards_with_sources_of_their_own_each_is_told_by_its_own() -> None:
    elsewhere = replace(CLEAN, source=OTHER)
    one = trial(shut=True, sources={"errors": OTHER, "answers": TABLE}, blocks=(BEFORE, elsewhere))
    assert looks(one) == watched(COUNTED, "candidate not counted yet")


def paced(*blocks: Block, history: History | None = None) -> str:
    """What the guard of errors says of the wait."""
    told = looks(trial(blocks=blocks, history=history, sources={"errors": TABLE}))[0]["because"]
    _, _, wait = str(told).partition("are missing")
    return wait


def spoken(ago: timedelta, requests: int = 0) -> Block:
    """A minute that was closed so long ago."""
    end = CLEAN.closed_at
    quiet = block(arm(0), arm(requests), span=1)
    return replace(quiet, opened_at=end - ago - MINUTE, closed_at=end - ago)


def test_the_pace_is_that_of_the_last_hour_whatever_is_not_attributed() -> None:
    assert paced(CLEAN) == ", 22.8 s at 33.3 requests/s"
    # With as many that nobody knows whose they are; and with a minute of nothing.
    assert paced(replace(CLEAN, unattributed=100)) == ", 21.7 s at 35 requests/s"
    assert paced(spoken(HOUR - MINUTE), CLEAN) == ", 45.6 s at 16.7 requests/s"
    assert paced(spoken(HOUR), CLEAN) == ", 22.8 s at 33.3 requests/s"
    assert paced(replace(spoken(MINUTE), source=OTHER), CLEAN) == ", 22.8 s at 33.3 requests/s"


def test_where_no_time_went_by_or_nothing_came_there_is_no_pace() -> None:
    assert paced(replace(CLEAN, opened_at=CLEAN.closed_at)) == ""
    second = CLEAN.closed_at - timedelta(seconds=1)
    slow = replace(CLEAN, opened_at=second, candidate=arm(100), stable=arm(800))
    assert paced(slow).endswith(" at 900 requests/s"), "of one second"
    nothing = Arm(requests=0, errors=0, server_errors=0)
    assert paced(replace(CLEAN, candidate=nothing, stable=nothing)) == ""
    assert paced() == ""


def test_the_wait_is_longer_by_what_the_source_is_late() -> None:
    late = History(lag=timedelta(minutes=7))
    assert paced(CLEAN, history=late) == (
        ", 22.8 s at 33.3 requests/s, and 7 min until they are told of"
    )


def test_a_release_is_judged_by_what_was_pinned_for_it() -> None:
    """Clusters of errors, and how stable did in its last day, change what the same counts show."""
    past = History(requests=50_000)
    [known, _] = looks(trial(history=past, sources={"errors": TABLE}))
    assert known["evidence"] == pytest.approx(13.2, abs=0.05)
    [clustered, _] = looks(trial(dispersion=4.0, sources={"errors": TABLE}))
    assert 1 < clustered["evidence"] < 2, "as if a quarter of them had come"
    loose = replace(GUARDS, errors=replace(GUARDS.errors, margin=0.05))
    [wide, _] = looks(trial(pinned=replace(PINNED, guards=loose), sources={"errors": TABLE}))
    assert wide["margin"] == pytest.approx(0.3)


def test_the_log_gives_the_same_from_bench_blocks_and_status() -> None:
    one = trial()
    bench = Bench(
        guards=GUARDS,
        measures={"answers": Measure()},
        history=None,
        sources=one.sources,
        dispersion=1.0,
    )
    assert last_looks(bench, list(one.blocks), status(application(one), one)) == looks(one)
    assert last_looks(replace(bench, sources={}), one.blocks, status(application(one), one)) == []


def test_a_guard_whose_hard_limit_keeps_a_release_says_so() -> None:
    """Of a step it has proven all that it was asked for; of a bake nothing else was asked."""
    over = "errors above the limit of 5 %, not proven yet"
    stable = arm(57_000, 2_750, server_errors=2_750)
    own = block(arm(3_000, 153, server_errors=153), stable, span=2)
    errors, *_ = looks(trial(blocks=(own,)))
    assert (errors["verdict"], errors["because"][-len(over) :]) == ("INSUFFICIENT", over)
    unshown = replace(own, candidate=arm(30, 3, server_errors=3), stable=arm(570))
    errors, *_ = looks(trial(blocks=(unshown,)))
    assert "requests are missing" in errors["because"], "it says first what is missing"
    bake = trial(step=len(PINNED.rollout.steps), spans=(replace(ON_STEP, weight=100),))
    whole = replace(own, stable=arm(0), whole=True, comparable=False)
    errors, answers = looks(replace(bake, blocks=(whole,)))
    assert (errors["verdict"], errors["because"][-len(over) :]) == ("INSUFFICIENT", over)
    assert answers["verdict"] is None
    shut = trial(shut=True, blocks=(own,))
    assert {one["verdict"] for one in looks(shut)} == {None}
