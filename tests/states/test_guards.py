"""Several guards at once: the first that is shown to be worse closes, and all must open."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.guards import (
    AnswerGuard,
    ErrorGuard,
    Guards,
    LatencyGuard,
    LengthGuard,
    ScoreGuard,
    TokenGuard,
)
from states.judging import suspected
from states.release import Order, Release
from states.world import Absent
from tests.states.answers import RICH, Answers
from tests.states.story import QUICK, SCORED, SPEC, Story

GUARDS = Guards(tokens=TokenGuard(), length=LengthGuard(), scores={"truth": ScoreGuard()})
QUERY = "query:truth"
ALL = ("errors", "latency", "answers", "tokens", "shorter", "longer", "truth")


def begun(guards: Guards = GUARDS, **rollout: object) -> Story:
    """A rich past, a query that scores answers, and a canary at its first step."""
    story = Story(history=RICH)
    spec = replace(
        SPEC,
        guards=guards,
        counted=SCORED,
        rollout=replace(QUICK, **rollout),  # type: ignore[arg-type]
    )
    story.application = replace(story.application, spec=spec)
    story.look()
    story.register(2)
    story.until("Canary")
    return story


def rolled_back(story: Story) -> Release:
    """The release, once it is."""
    return story.until("RolledBack", limit=60)


def held(story: Story) -> list[str]:
    """What was told of holds so far."""
    return [one.because for one in story.events if one.name == "release.held"]


def freed(story: Story) -> list[str]:
    return [one.because for one in story.events if one.name == "release.freed"]


def test_a_good_version_climbs_once_every_guard_has_passed_and_each_says_so() -> None:
    story = begun()
    story.until("Production")
    steps = [
        event.because
        for event in story.events
        if event.fields.get("trigger") in ("step", "promote")
    ]
    assert len(steps) == 4
    for told in steps:
        assert all(f"{guard}: " in told for guard in ALL), told
    journalled = {
        (event.fields["guard"], event.fields["verdict"])
        for event in story.events
        if event.name == "gate.verdict"
    }
    assert {(guard, "PASS") for guard in ALL} <= journalled


BAD = {
    "latency": Answers(slower=1.6),
    "answers": Answers(faulty=0.12),
    "tokens": Answers(longer=1.9),
    "shorter": Answers(wordier=0.6),
    "longer": Answers(wordier=1.7),
    "truth": Answers(score=0.6),
}


@pytest.mark.parametrize("guard", BAD)
def test_a_version_that_is_worse_in_one_thing_is_rolled_back_and_that_is_named(guard: str) -> None:
    story = begun()
    story.answered["2"] = BAD[guard]
    release = rolled_back(story)
    assert release.because.startswith(f"{guard}: candidate ")
    assert "stable" in release.because
    story.look(times=3)
    assert story.weight(2) == 0


def test_a_score_that_falls_is_told_to_have_begun_where_it_fell() -> None:
    """More of it is better: the window with the best answers is not the first bad one."""
    story = begun(Guards(scores={"truth": ScoreGuard()}))
    while not story.live.settled:
        story.look()
    story.answered["2"] = Answers(score=0.9)
    story.look(times=2)
    went_bad = story.now
    story.answered["2"] = Answers(score=0.3)
    rolled_back(story)
    story.table_speaks = False
    while story.application.live is not None:
        story.look()
    [event] = [one for one in story.events if one.name == "release.post_mortem"]
    assert event.fields["guard"] == "truth"
    assert event.fields["first_bad_from"] == went_bad.isoformat()


@pytest.mark.parametrize("guard", BAD)
def test_what_is_bad_on_both_versions_is_nobodys_fault(guard: str) -> None:
    story = begun()
    story.answered = {"2": BAD[guard], "": BAD[guard]}
    story.look(times=20)
    assert story.live.state != "RolledBack"
    assert story.live.step > 1, "and it keeps nobody from climbing"


@pytest.mark.parametrize("guard", BAD)
def test_a_guard_that_observes_tells_of_harm_and_keeps_nobody_from_climbing(guard: str) -> None:
    observing = {
        "latency": replace(GUARDS, latency=LatencyGuard(observe=True)),
        "answers": replace(GUARDS, answers=AnswerGuard(observe=True)),
        "tokens": replace(GUARDS, tokens=TokenGuard(observe=True)),
        "shorter": replace(GUARDS, length=LengthGuard(observe=True)),
        "longer": replace(GUARDS, length=LengthGuard(observe=True)),
        "truth": replace(GUARDS, scores={"truth": ScoreGuard(observe=True)}),
    }
    story = begun(observing[guard])
    story.answered["2"] = BAD[guard]
    story.until("Production")
    told = [
        event
        for event in story.events
        if event.name == "gate.verdict" and event.fields["guard"] == guard
    ]
    assert all(event.fields["observe"] for event in told)
    assert "FAIL" in {event.fields["verdict"] for event in told}


def test_one_guard_short_of_its_proof_keeps_the_step_shut() -> None:
    """Slower by less than harm is shown for, at the margin of safety on the last compared step."""
    story = begun(replace(GUARDS, scores={"truth": ScoreGuard(margin=0.02)}))
    story.answered["2"] = Answers(score=0.795)
    story.silent = frozenset({QUERY})
    story.look(times=30)
    assert story.weight(2) == 5
    assert story.live.verdicts["truth"] == "INSUFFICIENT at step 1"
    assert story.live.verdicts["errors"] == "PASS at step 1"
    story.silent = frozenset()
    story.look(times=6)
    assert story.weight(2) > 5


def test_one_source_that_falls_silent_shuts_the_gate_though_the_others_speak() -> None:
    story = begun()
    story.silent = frozenset({QUERY})
    story.look(after=60, times=100)
    assert story.live.shut
    assert story.weight(2) == 0
    assert "the query truth has told nothing" in story.live.because
    story.silent = frozenset()
    story.look(times=3)
    assert story.weight(2) == 5


def test_a_silent_source_that_only_observes_shuts_nothing() -> None:
    story = begun(replace(GUARDS, scores={"truth": ScoreGuard(observe=True)}))
    story.silent = frozenset({QUERY})
    story.until("Production")


def test_errors_that_the_table_hides_open_nothing_blame_nobody_and_shut_in_the_end() -> None:
    story = begun()
    story.hidden = 0.5
    story.error_rates = {"2": 0.02, "": 0.02}
    story.look(times=3)
    assert story.live.step == 1
    story.look(times=40)
    assert story.live.state == "Canary"
    assert story.live.shut
    assert "that the endpoint's metrics tell of" in story.live.because
    assert "errors" not in [one.because.split(":")[0] for one in story.events if "FAIL" in one.name]


def test_while_few_errors_are_hidden_they_are_put_on_the_candidate() -> None:
    """Too few to call the source blind, more than the margin allows at 5 %."""
    story = begun(replace(GUARDS, errors=ErrorGuard(margin=0.001)))
    story.requests_per_look = 600
    story.hidden = 0.6
    story.error_rates = {"2": 0.004, "": 0.004}
    story.look(times=2)
    assert story.live.step == 1
    assert not story.live.shut


def test_a_full_queue_holds_is_told_once_and_is_over_when_there_is_room() -> None:
    story = begun()
    story.rejecting = 0.2
    story.look(times=30)
    assert story.weight(2) == 5
    assert "rejected" in (story.live.hold or "")
    assert story.live.needs_person
    assert len(held(story)) == 1, "however the counts go on"
    story.rejecting = 0.0
    story.look(times=60)
    assert story.weight(2) > 5
    assert len(freed(story)) == 1
    assert story.live.state != "RolledBack"


def test_an_endpoint_that_routes_otherwise_than_told_holds_until_a_person_has_looked() -> None:
    story = begun()
    story.astray = 10
    story.look(times=10)
    assert "does not route as it was told" in (story.live.hold or "")
    assert story.live.needs_person
    assert len(held(story)) == 1
    assert story.weight(2) == 5
    story.astray = 0
    story.order(Order.PAUSE)
    story.look()
    story.order(Order.RUN)
    story.look(times=8)
    assert story.weight(2) > 5


def test_a_step_that_does_not_fit_waits_for_room() -> None:
    story = begun()
    story.peak, story.room = 40.0, 4
    story.look(times=10)
    assert story.weight(2) == 5
    assert "25 % of the last hour's peak is 10 requests in flight" in (story.live.hold or "")
    story.peak = 38.0
    story.look(times=10)
    assert len(held(story)) == 1, "a peak that moves is the same hold"
    story.room = 64
    story.look(times=3)
    assert story.weight(2) == 25


def test_a_source_that_stays_blind_is_told_once_where_there_is_no_way_back_to_wait_at() -> None:
    story = begun()
    story.until("Production")
    story.look(times=3)
    assert story.live.settled
    before = len(held(story))
    story.silent = frozenset({QUERY, "inference_table"})
    story.look(after=60, times=200)
    assert story.live.needs_person
    assert len(held(story)) - before == 1


def test_a_first_release_that_stays_blind_is_told_so_once() -> None:
    story = Story(endpoint=Absent(), alias=Absent())
    story.until("Canary")
    story.table_speaks = False
    story.look(after=60, times=150)
    assert "the probes' own rows do not arrive" in (story.live.hold or "")
    assert len(held(story)) == 1


def test_a_proof_that_is_complete_but_under_suspicion_asks_in_the_end() -> None:
    """Some more errors than stable, and then no user comes: too much to open, too few to close."""
    story = begun(patience=timedelta(minutes=20))
    story.requests_per_look = 12_000
    story.error_rates = {"2": 0.0065, "": 0.002}
    story.look(times=4)
    assert set(story.live.verdicts.values()) == {"PASS at step 1"}
    assert suspected(story.live)
    story.requests_per_look = 0
    story.look(times=60)
    assert story.weight(2) == 5
    assert story.live.needs_person
    assert (story.live.hold or "").startswith("undecided after 20 min: all was shown")


def test_where_every_guard_only_observes_no_step_opens_and_a_person_is_asked() -> None:
    story = Story()
    observing = Guards(errors=ErrorGuard(observe=True))
    story.application = replace(story.application, spec=replace(SPEC, guards=observing))
    story.look()
    story.register(2)
    story.look(times=20)
    assert story.live.state == "Testing"
    assert story.live.needs_person
    assert "only observes" in (story.live.hold or "")
    assert story.weight(1) == 100


def test_nobody_is_promoted_while_harm_is_more_likely_than_not() -> None:
    """Some users' errors at the end of the bake, too few to go back for."""
    story = begun(bake=timedelta(minutes=3), patience=timedelta(minutes=30))
    while not story.live.baking:
        story.look()
    story.look(times=4)
    story.requests_per_look = 60
    story.error_rates = {"2": 0.034}
    while not suspected(story.live):
        story.look()
    story.requests_per_look = 0
    story.look(times=20)
    assert story.live.state == "Canary", "the bake is over, and it waits"
    story.look(times=60)
    assert story.live.needs_person
    assert "harm is more likely than not" in (story.live.hold or "")
    story.order(Order.PAUSE)
    story.look()
    story.order(Order.RUN)
    story.requests_per_look, story.error_rates = 12_000, {}
    story.until("Production")


def test_nobody_is_confirmed_while_harm_is_more_likely_than_not() -> None:
    story = begun(watch=timedelta(minutes=3), patience=timedelta(minutes=30))
    story.until("Production")
    story.requests_per_look = 60
    story.error_rates = {"2": 0.034}
    while not suspected(story.live):
        story.look()
    story.requests_per_look = 0
    story.look(times=20)
    assert story.live.state == "Production", "the watch is over, and it waits"
    assert not story.live.confirmed
    story.look(times=60)
    assert story.live.needs_person
    assert "harm is more likely than not" in (story.live.hold or "")
    story.requests_per_look, story.error_rates = 12_000, {}
    story.look(times=4)
    assert story.application.stable == "2", "what came since speaks for it"
