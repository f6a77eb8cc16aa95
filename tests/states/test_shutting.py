"""The gate shuts on what blames nobody, and opens again: each case, its bounds and its words."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from policies.admission import Rules
from policies.calendar import Freeze
from policies.fuse import Minute, fuse
from policies.verdict import Outcome, Verdict
from states.consent import Signs, Word
from states.gates import HELD, position
from states.judging import harm_of
from states.machine import State, Trigger
from states.plan import Event
from states.release import Order, Release
from states.shutting import reopen, retreat
from states.span import Span
from states.turn import Turn
from tests.policies.counts import arm, block
from tests.states.records import PINNED, application, endpoint, moved, release, told, turn
from tests.states.story import SOURCE, SPEC, START, serving

BLOWN = Verdict(
    outcome=Outcome.FAIL, guard="fuse", because="9 of 90 requests failed", numbers={"errors": 9}
)
BLIND = Verdict(
    outcome=Outcome.BLIND, guard="errors", because="nothing for 91 min", numbers={"silent": 91}
)
LIMIT = SPEC.max_lag
BEGUN = START - timedelta(hours=1)
ON_STEP = Span(number=1, step=2, weight=25, starts_at=BEGUN, settled=True)
SHUT_AT = START - timedelta(minutes=20)
WHILE_SHUT = Span(number=2, step=2, weight=0, starts_at=SHUT_AT, settled=False)
MINUTES = (Minute(ends_at=START - timedelta(minutes=1), requests=900, errors=3),)
SEEN = endpoint(serving(v1=100, v2=0))


def climbing(**facts: object) -> Release:
    """At 25 %, seen so, half an hour on its step."""
    made = release(step=2, spans=(ON_STEP,), sources={"errors": SOURCE})
    made = replace(made, on_step=timedelta(minutes=30), undecided=timedelta(minutes=9))
    return replace(made, **facts)  # type: ignore[arg-type]


def closed(**facts: object) -> Release:
    """The same with its gate shut, seen so, with counts that tell of all before."""
    made = climbing(shut=True, retreats=1, spans=(ON_STEP, WHILE_SHUT))
    made = replace(made, watermarks={SOURCE: SHUT_AT})
    return replace(made, **facts)  # type: ignore[arg-type]


def shutting(one: Release, alarm: Verdict, seen: object = SEEN) -> tuple[Release, list[Event]]:
    """What one retreat comes to."""
    made = turn(application(one), seen)  # type: ignore[arg-type]
    retreat(made, one, alarm)
    return made.application.releases[0], made.events


def opening(one: Release, made: Turn | None = None) -> tuple[Release, list[Event]]:
    """What one look at a shut gate comes to."""
    made = made or turn(application(one, minutes=MINUTES), SEEN)
    reopen(made, one)
    return made.application.releases[0], made.events


def test_a_blown_fuse_shuts_the_gate_keeps_the_step_and_accuses_nobody() -> None:
    after, events = shutting(climbing(hold="some", needs_person=True, ask="this"), BLOWN)
    assert after == climbing(
        shut=True,
        retreats=1,
        settled=False,
        because=BLOWN.because,
        on_step=timedelta(),
        undecided=timedelta(),
        spans=(ON_STEP, replace(WHILE_SHUT, starts_at=START)),
    )
    assert events == [
        told("fuse.blown", BLOWN.because, level="warning", errors=9),
        moved(Trigger.RETREAT, State.CANARY, State.CANARY, BLOWN.because),
    ]


def test_a_blind_source_is_judged_in_the_journal_before_it_shuts_the_gate() -> None:
    after, events = shutting(climbing(), BLIND)
    assert (after.shut, after.retreats) == (True, 1)
    assert after.verdicts == {"errors": "BLIND at step 2"}
    assert events == [
        told(
            "gate.verdict",
            BLIND.because,
            guard="errors",
            verdict="BLIND",
            as_of_block=0,
            rules=3,
            span=1,
            silences={SOURCE: 3600.0},
            max_lag=5400.0,
            silent=91,
        ),
        told("evidence.blind", BLIND.because, level="warning", silent=91),
        moved(Trigger.RETREAT, State.CANARY, State.CANARY, BLIND.because),
    ]


def test_the_second_time_a_person_is_asked() -> None:
    after, events = shutting(climbing(retreats=1), BLOWN)
    why = f"the gate was shut for the second time: {BLOWN.because}"
    assert (after.retreats, after.hold, after.needs_person) == (2, why, True)
    assert after.weight == 0
    assert events[-1] == told("release.held", why, level="warning")
    assert [one.name for one in events] == ["fuse.blown", "release.transition", "release.held"]


def test_a_first_release_has_no_gate_to_shut_and_asks_once_whatever_the_numbers() -> None:
    first = climbing(pinned=replace(PINNED, baseline=None))
    after, events = shutting(first, BLOWN)
    assert after == replace(first, hold=BLOWN.because, needs_person=True)
    assert events == [told("release.held", BLOWN.because, level="warning")]
    later = replace(BLOWN, because="12 of 100 requests failed")
    assert shutting(after, later) == (after, [])
    after, events = shutting(first, BLIND)
    assert (after.hold, after.shut) == (BLIND.because, False)
    assert [one.name for one in events] == ["gate.verdict", "release.held"]


def test_a_gate_that_is_shut_settles_once_it_is_seen_at_nothing() -> None:
    waiting = closed(settled=False, on_step=timedelta())
    after, events = shutting(waiting, BLOWN)
    assert after == replace(waiting, settled=True, weight_seen=0)
    assert events == [told("release.settled", "0 % seen on the endpoint")]
    for elsewhere in (endpoint(serving(v1=75, v2=25)), replace(SEEN, updating=True), None):
        assert shutting(waiting, BLOWN, elsewhere) == (waiting, [])


@pytest.mark.parametrize("settled", [True, False])
def test_shut_for_longer_than_a_source_may_be_late_a_person_is_asked(*, settled: bool) -> None:
    seen = SEEN if settled else None
    just = closed(on_step=LIMIT - timedelta(seconds=1), settled=settled)
    assert shutting(just, BLOWN, seen) == (just, [])
    long = closed(on_step=LIMIT, settled=settled)
    why = f"still shut: {BLOWN.because}"
    after, events = shutting(long, BLOWN, seen)
    assert after == replace(long, hold=why, needs_person=True)
    assert events == [told("release.held", why, level="warning")]
    asked = closed(on_step=LIMIT, settled=settled, hold="some other reason")
    assert shutting(asked, BLOWN, seen) == (asked, [])


def test_what_keeps_it_shut_is_told_as_it_is_now() -> None:
    """It was blind, and is kept shut for something else; other numbers alone are not told."""
    blind = f"still shut: {BLIND.because}"
    long = closed(on_step=LIMIT, hold=blind, needs_person=True)
    later = replace(BLIND, because="nothing for 95 min")
    after, events = shutting(long, later)
    assert (after.hold, [one.name for one in events]) == (blind, ["gate.verdict"])
    after, events = shutting(long, BLOWN)
    assert after.hold == f"still shut: {BLOWN.because}"
    assert [one.name for one in events] == ["release.held"]


def test_it_opens_by_itself_once_what_kept_it_shut_for_long_has_passed() -> None:
    why = f"still shut: {BLIND.because}"
    after, events = opening(closed(hold=why, needs_person=True))
    assert (after.shut, after.hold, after.needs_person) == (False, None, False)
    names = ["release.freed", "evidence.seen", "release.transition"]
    assert [one.name for one in events] == names
    unready = opening(closed(hold=why, needs_person=True, settled=False, watermarks={}))[0]
    assert unready.hold is None, "what it told is no longer so"


def test_where_nothing_counts_by_version_only_a_person_opens_it_again() -> None:
    after, events = shutting(climbing(sources={}), BLOWN)
    told = "only a person can open the gate again, as nothing that decides counts by version"
    why = f"{told}: {BLOWN.because}"
    assert (after.shut, after.hold, after.needs_person) == (True, why, True)
    assert [one.name for one in events] == ["fuse.blown", "release.transition", "release.held"]
    seen = replace(after, settled=True)
    assert opening(seen) == (seen, [])
    word = Word(verb="promote", finding=position(seen), seq=1, actor="ann", override=True)
    opened, _ = opening(replace(seen, words=(word,)))
    assert (opened.shut, opened.hold) == (False, None)
    looked = replace(seen, hold=None, needs_person=False)
    resumed, events = opening(looked)
    assert not resumed.shut
    assert "evidence.seen" not in [one.name for one in events]
    assert "arrived" not in resumed.because, "nothing has"


def test_the_gate_opens_at_the_same_step_once_the_counts_tell_of_all_before() -> None:
    after, events = opening(closed())
    because = "the counts by version have arrived, and blame nobody"
    assert after == closed(
        shut=False,
        settled=False,
        because=f"{because}; reopens 25 %",
        on_step=timedelta(),
        undecided=timedelta(),
        fuse=fuse(MINUTES, START, 25),
        spans=(
            ON_STEP,
            WHILE_SHUT,
            Span(number=3, step=2, weight=25, starts_at=START, settled=False),
        ),
    )
    assert events == [
        told("evidence.seen", because),
        moved(Trigger.STEP, State.CANARY, State.CANARY, f"{because}; reopens 25 %"),
    ]


@pytest.mark.parametrize("mark", [None, SHUT_AT - timedelta(seconds=1)])
def test_it_stays_shut_while_the_counts_do_not_tell_of_all_before(mark: datetime | None) -> None:
    late = closed(watermarks={} if mark is None else {SOURCE: mark})
    assert opening(late) == (late, [])


def test_it_is_seen_at_nothing_before_it_opens_again() -> None:
    waiting = closed(settled=False, on_step=timedelta())
    after, events = opening(waiting)
    assert after == replace(waiting, settled=True, weight_seen=0)
    assert events == [told("release.settled", "0 % seen on the endpoint")]


def test_what_is_not_ready_for_users_gets_none() -> None:
    for one in (closed(), closed(settled=False)):
        sleeping = replace(SEEN, ready=frozenset({"rag_chatbot-v1"}))
        assert opening(one, turn(application(one), sleeping)) == (one, [])


def test_what_the_past_permits_may_be_known_only_once_it_opens_again_and_harm_with_it() -> None:
    """Nothing was known of the endpoint at 100 %; since then stable was seen to fail none."""
    everybody = replace(ON_STEP, step=4, weight=100)
    failing = tuple(
        block(arm(1_000, 50), arm(0), number=number, step=4, whole=True) for number in range(1, 8)
    )
    ends = [BEGUN + timedelta(minutes=number) for number in range(1, 8)]
    blocks = tuple(
        replace(one, opened_at=at - timedelta(minutes=1), closed_at=at)
        for one, at in zip(failing, ends, strict=True)
    )
    one = closed(step=4, spans=(everybody, replace(WHILE_SHUT, step=4)), blocks=blocks)
    assert harm_of(one) is None
    calm = tuple(
        Minute(ends_at=START - timedelta(minutes=number), requests=1_000, errors=0)
        for number in reversed(range(15))
    )
    after, events = opening(one, turn(application(one, minutes=calm), SEEN))
    assert (after.state, after.shut) == (State.ROLLED_BACK, False)
    assert [event.name for event in events] == ["gate.verdict", "release.transition"]
    assert after.because.startswith("errors: candidate 350 of 7,000 failed")
    unknown, _ = opening(one, turn(application(one), SEEN))
    assert (unknown.state, unknown.shut) == (State.CANARY, False), "and it is judged as before"


def test_a_persons_word_opens_it_whatever_is_not_known_or_holds() -> None:
    waiting = closed(watermarks={}, hold="something", needs_person=True)
    word = Word(verb="promote", finding=position(waiting), seq=1, actor="ann", override=True)
    waiting = replace(waiting, words=(word,))
    after, events = opening(waiting)
    because = (
        "the gate is opened again; promoted by ann, past what is not shown and what holds; "
        "reopens 25 %"
    )
    assert (after.because, after.shut, after.hold) == (because, False, None)
    assert events == [
        told("release.freed", "no longer: something"),
        moved(Trigger.STEP, State.CANARY, State.CANARY, because),
    ]


@pytest.mark.parametrize(
    ("facts", "opens"),
    [({}, True), ({"hold": "something"}, False), ({"order": Order.PAUSE}, False)],
)
def test_who_pauses_it_or_must_be_asked_keeps_it_shut(
    facts: dict[str, object], *, opens: bool
) -> None:
    one = closed(**facts)
    after, events = opening(one)
    assert (not after.shut, bool(events)) == (opens, opens)
    assert opens or after == one


def test_what_a_calendar_or_a_tag_says_keeps_it_shut_and_is_told() -> None:
    signed = closed(signs=Signs(hold=True))
    after, events = opening(signed)
    assert after == replace(signed, hold=HELD, needs_person=True)
    assert events == [told("release.held", HELD, level="warning")]
    other = replace(signed, hold="something")
    assert opening(other) == (other, []), "one reason at a time"

    frozen = Freeze(begins=START - timedelta(hours=1), ends=START + timedelta(hours=1))
    spec = replace(SPEC, admission=Rules(freezes=(frozen,)))
    was_signed = closed(hold=HELD, needs_person=True)
    after, _ = opening(was_signed, turn(application(was_signed, spec=spec), SEEN))
    assert after.hold is not None
    assert after.hold.startswith("frozen"), "what holds it by now is told instead"
    assert not after.needs_person


def test_it_opens_as_soon_as_the_tag_is_gone() -> None:
    after, events = opening(closed(hold=HELD, needs_person=True))
    assert (after.shut, after.hold) == (False, None)
    assert [one.name for one in events] == ["release.freed", "evidence.seen", "release.transition"]
