"""From the first users to all of them, look by look: what is written down and told, whole."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from policies.admission import Rules
from policies.calendar import Freeze
from policies.evidence import Tally
from policies.fuse import Fuse, Minute, fuse
from policies.guards import CapacityGuard, ErrorGuard, Guards, LatencyGuard
from policies.judge import no_worse
from policies.verdict import Outcome, Verdict
from states.canary import SUSPECTED, canary, production
from states.consent import Word
from states.gates import position
from states.judging import (
    UNPROVABLE,
    fuse_of,
    guards_of,
    harm_of,
    observed_harm,
    observed_room,
    pin_guards,
    setting_told,
    suspected,
    suspected_lately,
)
from states.machine import State, Trigger
from states.plan import Event
from states.rejudging import Bench, Given, again
from states.release import Order, Release
from states.span import Span
from states.turn import Turn
from states.world import Endpoint
from tests.policies.counts import arm, block, minutes
from tests.states.answers import RICH
from tests.states.byhand import NAME, NOW, candidate, event, judged, record, shown, turn
from tests.states.records import moved, told
from tests.states.story import QUICK, SOURCE, SPEC, START, serving
from tests.states.test_desired import PINNED, STABLE

Facts = dict[str, Any]
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
DAY = timedelta(days=1)
SINCE = NOW - HOUR
AT_5, AT_100 = serving(v1=95, v2=5), serving(v1=0, v2=100)


def span(step: int, weight: int, number: int = 1, *, settled: bool = True) -> Span:
    return Span(number=number, step=step, weight=weight, starts_at=SINCE, settled=settled)


# All that was counted until now has arrived.
COUNTED: Facts = {"sources": {"errors": SOURCE}, "watermarks": {SOURCE: NOW}, "settled": True}
STEP = candidate(state=State.CANARY, step=1, spans=(span(1, 5),), **COUNTED)
BAKE = candidate(state=State.CANARY, step=4, spans=(span(4, 100),), **COUNTED)
WATCH = candidate(state=State.PRODUCTION, step=4, spans=(span(4, 100),), **COUNTED)
ALIKE = (block(arm(3_000, 3), arm(57_000, 57)),)
"""One in a thousand fails with either version: within 3 percentage points."""
FEW = (block(arm(10), arm(190)),)
HARMED = minutes(3, arm(100, 10), arm(1900, 4))
ODD = (block(arm(3_000, 12), arm(57_000, 120)),)
"""Within the margin, yet harm is more likely than not: 0.4 % against 0.21 %."""
CLEAN = (replace(block(arm(6_000, 6), arm(0), step=4, whole=True)),)


def looked(release: Release, seen: Endpoint | None = None, **outside: Any) -> Turn:  # noqa: ANN401
    """A look at NOW at version 2 beside stable version 1; `facts` are of the application."""
    served = AT_5 if release.step == 1 else AT_100
    facts = outside.pop("facts", {})
    made = turn(record(release, **facts), seen or shown(served), **outside)
    (production if release.state is State.PRODUCTION else canary)(made, release)
    return made


def came(made: Turn) -> tuple[Release, list[Event]]:
    """What became of version 2 beside all else, which stays; and what was told."""
    release = made.application.newest("2")
    assert release is not None
    assert made.application.newest("1") == STABLE
    return release, made.events


def stays(release: Release, made: Turn) -> bool:
    """Nothing was changed, and nothing told."""
    return came(made) == (release, [])


def held(release: Release, why: str, *, asks: bool = True) -> tuple[Release, list[Event]]:
    after = replace(release, hold=why, needs_person=asks)
    return after, [told("release.held", why, level="warning")]


def after_move(release: Release, because: str, **facts: object) -> Release:
    """The release, once an arrow was taken."""
    cleared: Facts = {"hold": None, "needs_person": False, "ask": None, "settled": False}
    stood = {"on_step": timedelta(), "undecided": timedelta(), "since": NOW, "because": because}
    return replace(release, **(cleared | stood | facts))


# Harm.


@pytest.mark.parametrize("one", [STEP, BAKE, WATCH, replace(STEP, hold="asked", shut=True)])
def test_harm_goes_home_from_wherever_whatever_holds_it(one: Release) -> None:
    release = replace(one, blocks=HARMED, order=Order.PAUSE)
    verdict = harm_of(release)
    assert verdict is not None
    because = f"errors: {verdict.because}"
    at = f"FAIL at step {release.step}"
    after = after_move(
        release,
        because,
        state=State.ROLLED_BACK,
        in_state=timedelta(),
        ended_at=NOW,
        shut=False,
        verdicts={"errors": at},
    )
    arrow = moved(Trigger.ROLL_BACK, release.state, State.ROLLED_BACK, because, level="error")
    line = judged(release, verdict, "error")
    assert came(looked(release)) == (after, [line, arrow])


def test_what_a_verdict_at_all_users_is_held_to_is_told_with_it() -> None:
    before = Fuse(set_at=START, permitted=0.01, dispersion=2.0, most=(None, 1.5))
    release = replace(WATCH, blocks=HARMED, before_whole=before)
    verdict = harm_of(release)
    assert verdict is not None
    setting = {
        "set_at": START.isoformat(),
        "permitted": 0.01,
        "dispersion": 2.0,
        "weight": 100,
        "most": (None, 1.5),
    }
    assert looked(release).events[0] == judged(release, verdict, "error", before=setting)


@pytest.mark.parametrize("one", [STEP, WATCH])
def test_a_guard_that_observes_reports_its_harm_once_and_decides_nothing(one: Release) -> None:
    watching = replace(PINNED, guards=Guards(errors=ErrorGuard(observe=True)))
    release = replace(one, pinned=watching, blocks=HARMED)
    [verdict] = observed_harm(release)
    made = looked(release)
    assert made.events[0] == judged(release, verdict, "warning", observe=True)
    after = came(made)[0]
    assert after.state is release.state
    assert after.verdicts["errors, observed"] == f"FAIL at step {release.step}"
    again = looked(after).events
    assert [one for one in again if one.level == "warning" and one.name == "gate.verdict"] == []


def test_a_guard_that_observes_holds_the_candidate_to_what_it_would_hold_it_to_deciding() -> None:
    """2.33 % at 100 %, after a last step without errors, of an endpoint that had 2 % before it."""
    compared = minutes(10, arm(300), arm(300))
    alone = tuple(
        block(arm(600, 14), arm(0), number=11 + index, span=2, step=4, whole=True)
        for index in range(60)
    )
    before = Fuse(set_at=START, permitted=0.025, dispersion=1.0)
    watching = replace(PINNED, guards=Guards(errors=ErrorGuard(observe=True)))
    deciding = replace(WATCH, blocks=(*compared, *alone), before_whole=before)
    observing = replace(deciding, pinned=watching)
    assert harm_of(deciding) is None
    assert observed_harm(observing) == []
    calmer = replace(before, permitted=0.005)
    verdict = harm_of(replace(deciding, before_whole=calmer))
    assert verdict is not None
    assert observed_harm(replace(observing, before_whole=calmer)) == [verdict]
    # It is derived again from what its line says, and from nothing less.
    [line] = [
        one
        for one in looked(replace(observing, before_whole=calmer)).events
        if one.fields.get("verdict") == "FAIL"
    ]
    assert line.fields["before"] == setting_told(calmer)
    rests = Given(guard="errors", outcome=Outcome.FAIL, observe=True, before=calmer)
    bench, blocks = Bench.of(observing), observing.blocks
    assert again(bench, blocks, rests) == verdict
    assert again(bench, blocks, replace(rests, before=before)) is None


def test_capacity_that_observes_reports_a_full_queue_once_a_step_and_holds_nothing() -> None:
    rejecting = (block(replace(arm(3_000), rejected=900), arm(57_000)),)
    counted = {"errors": "metrics", "capacity": SOURCE}
    full = (
        "the candidate rejected 900 of 3,000 requests with 429, stable 0 of 57,000: give it more "
        "provisioned concurrency"
    )
    release = replace(STEP, blocks=rejecting, sources=counted, watermarks={"metrics": NOW})
    assert came(looked(release))[0].hold == full
    watching = replace(PINNED, guards=Guards(capacity=CapacityGuard(observe=True)))
    release = replace(release, pinned=watching)
    after, events = came(looked(release))
    assert (after.hold, after.weight, after.state) == (None, 5, State.CANARY)
    verdict = observed_room(release)
    assert verdict is not None
    assert (verdict.because, verdict.outcome) == (full, Outcome.FAIL)
    assert events[1:] == [judged(release, verdict, "warning", observe=True)]
    assert [one for one in looked(after).events if one.level == "warning"] == []
    further = replace(after, step=2)
    assert [one.because for one in looked(further).events if one.level == "warning"] == [full]
    rests = Given(guard="capacity", outcome=Outcome.FAIL, observe=True)
    assert again(Bench.of(release), release.blocks, rests) == verdict
    roomy = (*rejecting, block(arm(3_000), arm(57_000), number=99))
    assert again(Bench.of(release), roomy, rests) is None, "lately it rejects nothing"


# Settled, resumed, shut.


@pytest.mark.parametrize(("one", "seen"), [(STEP, AT_5), (BAKE, AT_100)])
def test_a_step_begins_once_its_weight_was_seen(one: Release, seen: Any) -> None:  # noqa: ANN401
    release = replace(one, settled=False, on_step=MINUTE, spans=(), sources={})
    begun = replace(one.spans[0], starts_at=NOW + 2 * SECOND + QUICK.settle)
    after = replace(
        release,
        settled=True,
        weight_seen=release.weight,
        on_step=MINUTE - 2 * SECOND,
        spans=(begun,),
    )
    release = replace(release, spans=one.spans)
    after = replace(after, spans=(*one.spans, replace(begun, number=2)))
    line = told("release.settled", f"{release.weight} % seen on the endpoint")
    assert came(looked(release, shown(seen), took=2 * SECOND)) == (after, [line])
    assert stays(release, looked(release, shown(seen, updating=True)))
    assert stays(release, looked(release, shown(serving(v1=100, v2=0))))


def test_nothing_settles_while_the_endpoint_is_stuck() -> None:
    release = replace(STEP, settled=False)
    down = "version 1 has 95 % of users, and is not ready on rag-chatbot-endpoint: mend it, and "
    seen = shown(AT_5, ready=frozenset({"rag_chatbot-v2"}))
    after = held(release, f"{down}the release goes on")
    assert came(looked(release, seen)) == after
    assert came(looked(replace(after[0], blocks=ALIKE), seen))[1] == []


def test_resumed_it_goes_on_with_its_proof_anew() -> None:
    paused = replace(STEP, paused=True, undecided=HOUR, hold="asked", needs_person=True)
    freed = told("release.freed", "no longer: asked")
    line = told("release.resumed", "resumed: the step's proof starts anew")
    made = looked(paused)
    anew = replace(span(1, 5, 2), starts_at=NOW)
    after = came(made)[0]
    assert made.events[:2] == [freed, line]
    assert (after.paused, after.undecided, after.hold) == (False, timedelta(), None)
    assert after.spans == (span(1, 5), anew)
    early = replace(paused, spans=(replace(span(1, 5), starts_at=NOW + MINUTE),))
    later = replace(span(1, 5, 2), starts_at=NOW + MINUTE)
    assert came(looked(early))[0].spans[-1] == later, "what settles is left out all the same"
    still = replace(paused, order=Order.PAUSE)
    assert came(looked(still))[0].paused


@pytest.mark.parametrize("facts", [{"shut": True}, {"settled": False}])
def test_what_compares_nothing_yet_is_resumed_without_a_word(facts: Facts) -> None:
    paused = replace(STEP, paused=True, undecided=HOUR, **facts)
    after = replace(paused, paused=False, undecided=timedelta())
    seen = shown(serving(v1=97, v2=3))
    assert came(looked(paused, seen)) == (after, [])


SET = Fuse(set_at=NOW - HOUR, permitted=0.01, dispersion=1.0, weight=5)
BURNT = (Minute(ends_at=NOW - MINUTE, requests=6_000, errors=600),)


def test_a_blown_fuse_shuts_the_gate_unless_the_counts_have_told_of_it_already() -> None:
    release = replace(STEP, fuse=SET, minutes=BURNT, watermarks={SOURCE: NOW - HOUR})
    alarm = fuse_of(release)
    assert alarm is not None
    made = looked(release)
    assert made.events[0] == event("fuse.blown", release, alarm.because, "warning", **alarm.numbers)
    assert came(made)[0].shut
    explained = replace(release, watermarks={SOURCE: NOW - MINUTE}, blocks=FEW)
    usual = (Minute(ends_at=NOW - DAY / 2, requests=6_000, errors=6),)
    after = came(looked(explained, facts={"minutes": usual}))[0]
    assert (after.fuse, after.minutes, after.before_whole) == (fuse(usual, NOW, 5), (), None)
    assert not after.shut
    assert after.fuse is not None
    quiet = replace(explained, minutes=(replace(BURNT[0], errors=6),))
    kept = came(looked(quiet, facts={"minutes": usual}))[0]
    assert (kept.fuse, kept.minutes) == (SET, quiet.minutes)


# A compared step.


def shown_of(release: Release) -> Verdict:
    [criterion] = guards_of(release)
    return no_worse(criterion, release.blocks, weight=5, pace=None)


def test_a_step_that_is_shown_opens_the_next() -> None:
    release = replace(STEP, blocks=ALIKE, on_step=MINUTE, hold="asked")
    verdict = shown_of(release)
    line = judged(release, verdict, span=1, weight=5, pace=None)
    freed = told("release.freed", "no longer: asked")
    because = f"errors: {verdict.because}; opens 25 %"
    after = after_move(
        release,
        because,
        step=2,
        verdicts={"errors": "PASS at step 1"},
        spans=(span(1, 5), replace(span(2, 25, 2, settled=False), starts_at=NOW)),
    )
    arrow = moved(Trigger.STEP, State.CANARY, State.CANARY, because)
    assert came(looked(release)) == (after, [line, freed, arrow])


@pytest.mark.parametrize(
    ("facts", "outside"),
    [
        ({"on_step": MINUTE - SECOND}, {}),
        ({"order": Order.PAUSE}, {}),
        ({}, {"facts": {"hold": "changed by others"}}),
        ({}, {"seen": shown(serving(v1=94, v2=6))}),
    ],
)
def test_what_is_shown_waits_for_its_stay_and_for_the_endpoint(
    facts: Facts, outside: Facts
) -> None:
    release = replace(STEP, blocks=ALIKE, on_step=MINUTE, verdicts={"errors": "PASS at step 1"})
    release = replace(release, **facts)
    assert stays(release, looked(release, **outside))


def said(release: Release, *, override: bool = False) -> Release:
    word = Word(verb="promote", finding=position(release), seq=1, actor="ada", override=override)
    return replace(release, words=(word,))


def test_a_persons_word_opens_what_is_shown_before_its_stay() -> None:
    release = said(replace(STEP, blocks=ALIKE))
    assert came(looked(release))[0].because == (
        f"errors: {shown_of(release).because}; promoted by ada; opens 25 %"
    )


def test_what_is_not_shown_waits_and_asks_once_patience_is_over() -> None:
    waits = replace(STEP, blocks=FEW, verdicts={"errors": "INSUFFICIENT at step 1"})
    early = replace(waits, undecided=DAY - SECOND)
    assert stays(early, looked(early))
    freed = came(looked(replace(early, hold="asked")))
    assert freed == (early, [told("release.freed", "no longer: asked")])
    late = replace(waits, undecided=DAY)
    why = f"undecided after 1 d: errors: {shown_of(late).because}"
    assert came(looked(late)) == held(late, why)
    asked = replace(late, hold="undecided after 1 d: errors: candidate 0 of 7", needs_person=True)
    assert stays(asked, looked(asked)), "with other numbers it is the same question"
    back = replace(PINNED, rollout=replace(QUICK, on_undecided="roll_back"))
    gone = came(looked(replace(late, pinned=back)))[0]
    assert (gone.state, gone.because) == (State.ROLLED_BACK, why)


@pytest.mark.parametrize(
    "passed",
    [
        "stable itself fails with server errors (50 of 100): the environment is at fault",
        "frozen (the launch) until Mon 2026-11-23 16:00 UTC; going back is never frozen",
        "undecided after 1 d: answers: candidate 0 of 10 answers faulty",
    ],
)
def test_what_has_passed_is_no_reason_to_wait_for_once_patience_is_over(passed: str) -> None:
    """Nobody would be asked, and the hold itself stops what patience is left to others."""
    waits = replace(STEP, blocks=FEW, verdicts={"errors": "INSUFFICIENT at step 1"}, undecided=DAY)
    why = f"undecided after 1 d: errors: {shown_of(waits).because}"
    assert came(looked(replace(waits, hold=passed))) == held(waits, why)
    for one in (baked(blocks=ODD), replace(WATCH, on_step=QUICK.watch, blocks=ODD)):
        late = replace(one, undecided=DAY)
        assert suspected(late)
        asks = held(late, f"undecided after 1 d: {SUSPECTED}")
        assert came(looked(replace(late, hold=passed), alias="2")) == asks
        assert stays(asks[0], looked(asks[0], alias="2"))


def test_what_is_not_shown_is_opened_past_by_override_alone() -> None:
    waits = replace(STEP, blocks=FEW, verdicts={"errors": "INSUFFICIENT at step 1"})
    plain = said(waits)
    assert stays(plain, looked(plain))
    past = said(waits, override=True)
    assert came(looked(past))[0].because == (
        f"errors: {shown_of(past).because}; promoted by ada, past what is not shown and what "
        "holds; opens 25 %"
    )


def test_where_harm_is_likelier_than_not_it_waits_though_all_is_shown() -> None:
    release = replace(
        STEP, blocks=ODD, on_step=MINUTE, verdicts={"errors": "PASS at step 1"}, undecided=DAY
    )
    assert suspected(release)
    assert shown_of(release).outcome == "PASS"
    told_of = "undecided after 1 d: all was shown that was asked for, yet harm is more likely than "
    assert came(looked(release)) == held(release, f"{told_of}not by what was counted")
    assert SUSPECTED in f"{told_of}not by what was counted"


def test_each_guard_judges_the_step_alone_and_the_one_that_lacks_most_is_waited_for() -> None:
    two = {"errors": SOURCE, "answers": SOURCE, "latency": SOURCE}
    past = replace(RICH, lag=MINUTE)
    watching = Guards(latency=LatencyGuard(observe=True))
    release = replace(STEP, history=past, pinned=replace(PINNED, guards=watching), undecided=DAY)
    release = pin_guards(release, two, 1.0)
    checked = {"answers": Tally(seen=10, counts=(0, 0, 0, 0, 0))}
    own = (block(replace(arm(100), tallies=checked), replace(arm(1900), tallies=checked)),)
    unsettled = replace(own[0], comparable=False, number=2)
    before = replace(own[0], span=7, number=3)
    release = replace(release, blocks=(*own, unsettled, before))
    errors, latency, answers = (
        no_worse(one, own, weight=5, pace=40.0, lag=MINUTE) for one in guards_of(release)
    )
    made = looked(release, requests_per_second=40.0)
    rests: Facts = {"span": 1, "weight": 5, "pace": 40.0}
    assert made.events[:3] == [
        judged(release, errors, **rests),
        judged(release, latency, **rests, observe=True),
        judged(release, answers, **rests),
    ]
    assert {one.outcome.value for one in (errors, latency, answers)} == {"INSUFFICIENT"}
    assert errors.numbers["missing"] < answers.numbers["missing"]
    why = f"undecided after 1 d: answers: {answers.because}"
    assert came(made)[0].hold == why
    marks = {one.guard: "INSUFFICIENT at step 1" for one in (errors, latency, answers)}
    assert came(made)[0].verdicts == marks


def test_what_each_guard_has_shown_is_told_of_a_step_and_of_a_bake() -> None:
    checked = {"answers": Tally(seen=6_000, counts=(180, 180, 0, 0, 0))}
    both = {"errors": SOURCE, "answers": SOURCE}
    one = replace(arm(6_000, 6), tallies=checked)
    well = (block(one, one),)
    release = pin_guards(replace(STEP, history=RICH, on_step=MINUTE, blocks=well), both, 1.0)
    errors, answers = (no_worse(each, well, weight=5, pace=None) for each in guards_of(release))
    because = f"errors: {errors.because}; answers: {answers.because}; promoted by ada, past what is"
    word = came(looked(said(release, override=True)))[0].because
    assert word == f"{because} not shown and what holds; opens 25 %"
    bake = baked(blocks=(block(one, arm(0), step=4, whole=True),), sources=both)
    bake = replace(bake, measures=release.measures, history=RICH)
    assert came(looked(bake))[0].because == (
        f"5 min at 100 % within its limits: errors: {WELL}; answers: candidate 180 of 6,000 "
        "answers faulty (3 %: 0 by retrieval, 180 by generation)"
    )


FREEZE = Freeze(begins=NOW - HOUR, ends=NOW + HOUR, reason="the launch")
ICE = "frozen (the launch) until Mon 2026-11-23 16:00 UTC; going back is never frozen"
FROZEN: Facts = {"spec": replace(SPEC, admission=Rules(freezes=(FREEZE,)))}


def test_in_a_freeze_what_is_shown_is_held() -> None:
    release = replace(STEP, blocks=ALIKE, on_step=MINUTE, verdicts={"errors": "PASS at step 1"})
    assert came(looked(release, facts=FROZEN)) == held(release, ICE, asks=False)


def test_too_little_room_for_the_next_step_holds_what_is_shown() -> None:
    release = replace(STEP, blocks=ALIKE, on_step=MINUTE, verdicts={"errors": "PASS at step 1"})
    seen = shown(AT_5, concurrency={"rag_chatbot-v1": 400, "rag_chatbot-v2": 4})
    after, [line] = came(looked(release, seen, peak_concurrency=40.0))
    assert (line.name, after.needs_person, after.step) == ("release.held", True, 1)
    assert "25 %" in line.because
    assert stays(after, looked(after, seen, peak_concurrency=50.0)), "with other numbers as well"
    # A quarter of 16 requests at once is 4.
    assert came(looked(release, seen, peak_concurrency=16.0))[0].step == 2
    few = replace(release, blocks=FEW, verdicts={"errors": "INSUFFICIENT at step 1"})
    assert stays(few, looked(few, seen, peak_concurrency=40.0))
    past = said(release, override=True)
    assert came(looked(past, seen, peak_concurrency=40.0))[0].step == 2


def test_where_nothing_decides_a_person_is_asked() -> None:
    blind = replace(STEP, sources={})
    assert came(looked(blind)) == held(blind, UNPROVABLE)
    past = said(blind, override=True)
    because = "; promoted by ada, past what is not shown and what holds; opens 25 %"
    assert came(looked(past))[0].because == because


def test_before_all_users_it_is_told_that_errors_came_in_bursts() -> None:
    spent = replace(STEP, step=3, spans=(span(3, 50),))
    release = replace(
        spent, blocks=(block(arm(30_000, 30), arm(30_000, 30), step=3),), on_step=MINUTE
    )
    seen = shown(serving(v1=50, v2=50))
    bursts = tuple(
        Minute(
            ends_at=NOW - (1440 - one) * MINUTE,
            requests=600,
            errors=120 if one % 240 < 5 else 0,
        )
        for one in range(1440)
    )
    after = came(looked(release, seen, facts={"minutes": bursts}))[0]
    assert after.because.endswith(
        "; opens 100 %; errors came in bursts in the day before, which errors at 100 % must "
        "outlast to be blamed on it: rollout.hold_back would go on comparing"
    )
    assert after.before_whole == after.fuse == fuse(bursts, NOW, 100)
    calm = tuple(replace(one, errors=0) for one in bursts)
    after = came(looked(release, seen, facts={"minutes": calm}))[0]
    assert after.because.endswith("; opens 100 %")
    assert after.before_whole == fuse(calm, NOW, 100)


def test_requests_that_are_turned_away_permit_a_version_with_all_users_no_errors() -> None:
    """A tenth gets 429, which the guard does not call an error; 0.1 % fail. At 100 %, 8 % do."""
    spent = replace(STEP, step=3, spans=(span(3, 50),), on_step=MINUTE)
    compared = tuple(
        block(arm(1_000, 1), arm(1_000, 1), number=number, step=3) for number in range(1, 31)
    )
    ends = compared[-1].closed_at
    facts = {
        "minutes": tuple(
            Minute(ends_at=ends - (59 - one) * MINUTE, requests=2_200, errors=220)
            for one in range(60)
        )
    }
    seen = shown(serving(v1=50, v2=50))
    opened = came(looked(replace(spent, blocks=compared), seen, facts=facts))[0]
    assert (opened.step, opened.fuse is not None) == (4, True)
    assert opened.fuse is not None
    assert opened.before_whole is not None
    assert opened.fuse.permitted > 0.1, "the endpoint as a whole is watched by what it had"
    assert opened.before_whole.permitted < 0.01
    alone = tuple(
        block(arm(600, 48), arm(0), number=31 + index, span=2, step=4, whole=True)
        for index in range(90)
    )
    assert harm_of(replace(opened, blocks=(*compared, *alone))) is not None
    as_it_was = replace(opened, blocks=(*compared, *alone), before_whole=opened.fuse)
    assert harm_of(as_it_was) is None


def test_what_a_first_version_did_to_users_before_it_opened_permits_it_nothing() -> None:
    """A tenth failed while people had given it users by hand; in its bake a tenth fails again."""
    first = replace(PINNED, incumbent=None)
    own = tuple(
        Minute(ends_at=NOW - (59 - one) * MINUTE, requests=600, errors=60) for one in range(60)
    )
    turned = turn(record(replace(STEP, pinned=first), minutes=own), shown(AT_100))
    fuses = turned.set_fuse(replace(STEP, pinned=first), 100)
    assert fuses["before_whole"] is None
    assert fuses["fuse"].permitted > 0.1, "a rise over that still shuts the gate"
    compared = turned.set_fuse(STEP, 100)
    assert compared["before_whole"] == compared["fuse"], "stable's hour counts, where there was one"


def test_what_a_bad_version_without_proof_did_excuses_not_the_next_one() -> None:
    """For want of another it served on, and a tenth failed, as in the watch of the next one."""
    pinned = replace(PINNED, baseline=None, incumbent="1")
    served = tuple(
        Minute(ends_at=NOW - (29 - one) * MINUTE, requests=1_200, errors=120 if one > 5 else 0)
        for one in range(30)
    )
    release = replace(WATCH, pinned=pinned, step=1, on_step=QUICK.watch)
    turned = turn(record(release, minutes=served), shown(AT_100))
    before = turned.set_fuse(release, 100)
    assert before["before_whole"].permitted > 0.1, "one that errs even more is worse than that"
    good, bad = arm(1_200, 0), arm(1_200, 125, server_errors=125)
    counted = tuple(
        block(arms, arm(0), number=number, span=at, whole=True)
        for number, (arms, at) in enumerate([(good, 4), (good, 4), (bad, 5), (bad, 5)], 1)
    )
    spans = (span(1, 100, 4), span(1, 100, 5))
    release = replace(release, blocks=counted, spans=spans)
    assert harm_of(replace(release, before_whole=before["before_whole"])) is not None
    excused = replace(release, before_whole=before["fuse"])
    assert not suspected(excused)
    assert not suspected_lately(excused), "it was confirmed so"


def test_what_one_without_proof_did_within_the_limit_tells_what_is_usual() -> None:
    """Errors that came and went without breaking the limit may befall the next one as well."""
    pinned = replace(PINNED, baseline=None, incumbent="1")
    served = tuple(
        Minute(ends_at=NOW - (59 - one) * MINUTE, requests=1_200, errors=(0, 18)[one % 2])
        for one in range(60)
    )
    release = replace(WATCH, pinned=pinned)
    fuses = turn(record(release, minutes=served), shown(AT_100)).set_fuse(release, 100)
    assert fuses["before_whole"] == fuses["fuse"]
    assert fuses["fuse"].dispersion > 1


# The bake.


def baked(**facts: object) -> Release:
    made = replace(BAKE, on_step=QUICK.bake, blocks=CLEAN)
    return replace(made, **facts)  # type: ignore[arg-type]


WELL = "candidate 6 of 6,000 failed (0.1 %)"


def test_a_bake_that_lasted_leads_to_production() -> None:
    release = baked(hold="asked")
    because = f"5 min at 100 % within its limits: errors: {WELL}"
    made = looked(release)
    after = after_move(release, because, state=State.PRODUCTION, in_state=timedelta())
    freed = told("release.freed", "no longer: asked")
    arrow = moved(Trigger.PROMOTE, State.CANARY, State.PRODUCTION, because)
    assert came(made) == (after, [freed, arrow])
    longer = replace(release, on_step=2 * QUICK.bake)
    assert came(looked(longer))[0].because == because, "by what was asked for"
    uncounted = baked(sources={}, blocks=())
    assert came(looked(uncounted))[0].because == (
        "5 min at 100 % within its limits: no source counts"
    )


@pytest.mark.parametrize(
    ("facts", "outside"),
    [
        ({"on_step": QUICK.bake - SECOND}, {}),
        ({"watermarks": {SOURCE: SINCE + QUICK.bake - SECOND}}, {}),
        ({"order": Order.PAUSE}, {}),
        ({}, {"facts": {"hold": "changed by others"}}),
        ({}, {"seen": shown(AT_100, updating=True)}),
    ],
)
def test_a_bake_lasts_until_all_of_it_was_told_of(facts: Facts, outside: Facts) -> None:
    release = baked(**facts)
    assert stays(release, looked(release, **outside))
    asked = replace(release, hold="asked")
    assert came(looked(asked, **outside)) == (
        release,
        [told("release.freed", "no longer: asked")],
    )


def test_a_way_back_bakes_without_counts() -> None:
    proven = replace(PINNED, proven=True)
    release = baked(pinned=proven, watermarks={SOURCE: SINCE + 2 * MINUTE})
    assert came(looked(release))[0].state is State.PRODUCTION


def test_a_persons_word_cuts_a_bake_short_once_it_was_glimpsed() -> None:
    release = said(baked(on_step=2 * MINUTE))
    because = f"2 min at 100 % within its limits: errors: {WELL}; promoted by ada"
    assert came(looked(release))[0].because == because
    unseen = replace(release, on_step=MINUTE - SECOND)
    assert stays(unseen, looked(unseen))
    past = said(unseen, override=True)
    assert came(looked(past))[0].because == (
        f"59 s at 100 % within its limits: errors: {WELL}; promoted by ada, past what is not shown "
        "and what holds"
    )


def test_an_approval_is_asked_for_at_the_end_of_the_bake() -> None:
    plan = replace(PINNED, approval="before_production")
    release = baked(pinned=plan)
    after = came(looked(release))[0]
    finding = "production, after the bake of span 1"
    assert (after.ask, after.needs_person, after.state) == (finding, True, State.CANARY)
    word = Word(verb="approve", finding=finding, seq=1, actor="eve")
    told_by = replace(after, words=(word,))
    because = f"5 min at 100 % within its limits: errors: {WELL}; approved by eve"
    assert came(looked(told_by))[0].because == because
    early = replace(release, on_step=MINUTE)
    assert stays(early, looked(early))


def test_users_who_were_held_back_come_with_production_under_a_fuse_of_its_own() -> None:
    plan = replace(PINNED, rollout=replace(QUICK, hold_back=10))
    release = baked(pinned=plan, fuse=SET, minutes=(), blocks=(), spans=(span(4, 90),), sources={})
    minutes_before = (Minute(ends_at=NOW, requests=6_000, errors=6),)
    seen = shown(serving(v1=10, v2=90))
    after = came(looked(release, seen, facts={"minutes": minutes_before}))[0]
    assert after.because == "5 min at 90 % within its limits: no source counts"
    assert after.fuse == after.before_whole == fuse(minutes_before, NOW, 100)
    whole = baked(fuse=SET)
    assert came(looked(whole, facts={"minutes": minutes_before}))[0].fuse == SET


# The watch.


@pytest.mark.parametrize(
    ("alias", "named", "because"),
    [("production", "2", "100 % and alias production seen"), (None, "1", "100 % seen")],
)
def test_production_settles_once_users_and_alias_were_seen(
    alias: str | None, named: str, because: str
) -> None:
    release = replace(WATCH, settled=False, on_step=MINUTE)
    facts: Facts = {"spec": replace(SPEC, alias=alias)}
    begun = replace(span(4, 100, 2), starts_at=NOW + SECOND)
    after = replace(
        release,
        settled=True,
        weight_seen=100,
        on_step=MINUTE - SECOND,
        spans=(span(4, 100), begun),
    )
    made = looked(release, alias=named, facts=facts, took=SECOND)
    assert came(made) == (after, [told("release.settled", because)])
    busy = shown(AT_100, updating=True)
    assert stays(release, looked(release, busy, alias=named, facts=facts))


@pytest.mark.parametrize(
    ("since", "named", "alias", "asks"),
    [
        (START, None, "production", True),
        (NOW - HOUR + SECOND, None, "production", False),
        (START, "1", "production", False),
    ],
)
def test_an_alias_that_cannot_be_read_is_asked_about(
    since: Any,  # noqa: ANN401 - a moment
    named: str | None,
    alias: str,
    *,
    asks: bool,
) -> None:
    release = replace(WATCH, settled=False, since=since)
    why = (
        "alias production cannot be read, and is not moved unseen: the log says why "
        "(workspace.unseen)"
    )
    facts = {"spec": replace(SPEC, alias=alias)}
    made = looked(release, alias=named, facts=facts)
    assert came(made) == (held(release, why) if asks else (release, []))


def test_the_watch_waits_where_the_endpoint_is_stuck() -> None:
    release = replace(WATCH, on_step=QUICK.watch)
    seen = shown(AT_100, ready=frozenset({"rag_chatbot-v1"}))
    why = f"version 2 has 100 % of users, and is not ready on {NAME}: mend it, and the release "
    assert came(looked(release, seen, alias="2")) == held(release, f"{why}goes on")


def test_an_alarm_in_the_watch_asks_a_person() -> None:
    release = replace(WATCH, fuse=replace(SET, weight=100), minutes=BURNT, on_step=QUICK.watch)
    release = replace(release, watermarks={SOURCE: NOW - HOUR})
    alarm = fuse_of(release)
    assert alarm is not None
    after, [line, hold] = came(looked(release, alias="2"))
    assert (line.name, line.fields["guard"]) == ("gate.verdict", "fuse")
    assert hold == told("release.held", alarm.because, level="warning")
    assert (after.hold, after.needs_person) == (alarm.because, True)
    more = replace(after, minutes=(replace(BURNT[0], errors=900),))
    assert stays(more, looked(more, alias="2")), "with other numbers it is the same alarm"


def test_a_watch_that_errs_is_not_ended_by_what_was_well_before_it() -> None:
    """Errors come in bursts. Of the whole release few fail; since the alias was moved, half do."""
    bake = tuple(
        block(arm(6_000, 60), arm(0), number=number, span=4, step=4, whole=True)
        for number in range(1, 41)
    )
    bad = tuple(
        block(arm(6_000, 3_300), arm(0), number=number, span=5, step=4, whole=True)
        for number in range(41, 44)
    )
    spans = (span(4, 100), replace(span(4, 100), number=5))
    release = replace(WATCH, on_step=QUICK.watch, blocks=(*bake, *bad), spans=spans)
    release = replace(release, dispersion=1_000.0)
    assert harm_of(release) is None
    assert not suspected(release)
    assert suspected_lately(release)
    made = looked(release, alias="2")
    after = next(one for one in made.application.releases if one.version == "2")
    assert (after.confirmed, after.state) == (False, State.PRODUCTION)


def test_a_watch_without_harm_makes_it_stable_and_retires_the_one_before() -> None:
    release = replace(WATCH, on_step=QUICK.watch, hold="asked", tagged=True)
    because = "watched for 10 min without harm: it is stable now"
    made = looked(release, alias="2", facts={"unproven": "9"})
    confirmed = replace(release, confirmed=True, because=because, tagged=False, hold=None)
    retired = after_move(
        STABLE,
        "replaced by version 2",
        state=State.RETIRED,
        settled=True,
        in_state=timedelta(),
        ended_at=NOW,
        weight_seen=0,
    )
    known = record(unproven="9")
    assert made.application == replace(
        known, stable="2", former="1", unproven=None, releases=(retired, confirmed)
    )
    assert made.events == [
        told("release.freed", "no longer: asked"),
        told("release.confirmed", because),
        moved(
            Trigger.RETIRE,
            State.PRODUCTION,
            State.RETIRED,
            "replaced by version 2",
            version="1",
        ),
    ]


@pytest.mark.parametrize(
    ("facts", "outside"),
    [
        ({"on_step": QUICK.watch - SECOND}, {}),
        ({"watermarks": {SOURCE: SINCE + QUICK.watch - SECOND}}, {}),
        ({"order": Order.PAUSE}, {}),
        ({}, {"facts": {"hold": "changed by others"}}),
        ({}, {"seen": shown(AT_100, updating=True)}),
    ],
)
def test_a_watch_lasts_until_all_of_it_was_told_of(facts: Facts, outside: Facts) -> None:
    release = replace(WATCH, on_step=QUICK.watch)
    release = replace(release, **facts)
    assert stays(release, looked(release, alias="2", **outside))
    asked = replace(release, hold="asked")
    freed = [told("release.freed", "no longer: asked")]
    assert came(looked(asked, alias="2", **outside)) == (release, freed)


def test_one_that_served_without_proof_is_put_aside_and_not_retired() -> None:
    failed = replace(STABLE, state=State.ROLLED_BACK, confirmed=False, hold="asked")
    release = replace(WATCH, on_step=QUICK.watch)
    known = record(stable=None, unproven="1", former="0", releases=(failed, release))
    made = turn(known, shown(AT_100), alias="2")
    production(made, release)
    assert (made.application.stable, made.application.unproven) == ("2", None)
    assert made.application.former is None
    assert made.application.newest("1") == replace(failed, hold=None, ended_at=NOW)
    assert [one.name for one in made.events] == ["release.confirmed", "release.freed"]


def test_one_that_is_stable_already_replaces_nobody() -> None:
    release = replace(WATCH, on_step=QUICK.watch, attempt=2)
    known = record(stable="2", former="1", releases=(release,))
    made = turn(known, shown(serving(v2=100)), alias="2")
    production(made, release)
    assert (made.application.stable, made.application.former) == ("2", "1")
    assert [one.name for one in made.events] == ["release.confirmed"]


def test_nobody_is_confirmed_while_harm_is_likelier_than_not() -> None:
    release = replace(WATCH, on_step=QUICK.watch, blocks=ODD, undecided=DAY)
    assert suspected(release)
    after = came(looked(release, alias="2"))[0]
    assert after.hold == f"undecided after 1 d: {SUSPECTED}"
    assert not after.confirmed
    bake = baked(blocks=ODD, undecided=DAY)
    assert came(looked(bake))[0].hold == f"undecided after 1 d: {SUSPECTED}"
    past = said(bake, override=True)
    assert came(looked(past))[0].state is State.PRODUCTION
