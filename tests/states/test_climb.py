"""The way up to the first users, look by look: what is written down and told, or why nothing is."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from policies.admission import Rules
from policies.calendar import Freeze
from policies.fuse import Minute, fuse
from policies.golden import Begun, Round
from policies.guards import ErrorGuard, Guards, TokenGuard
from policies.replay import Replay, Replayed
from policies.verdict import Outcome
from states.attempt import Attempt
from states.climb import MASKED, NOTHING_DECIDES, go_on
from states.consent import Word
from states.difference import Change
from states.gates import position
from states.leap import leapt, not_ahead
from states.machine import State, Trigger
from states.plan import Event
from states.rejudging import Bench
from states.release import Order, Release
from states.span import Span
from states.turn import Turn
from states.world import Absent, Endpoint, ModelVersion, Serving, Size
from tests.policies.counts import arm, minutes
from tests.states.answers import RICH
from tests.states.byhand import NAME, NOW, candidate, event, record, shown, turn
from tests.states.records import moved, told
from tests.states.story import QUICK, SOURCE, SPEC, START, TABLE, serving, version
from tests.states.test_desired import PINNED

FIRST, SECOND = "rag_chatbot-v1", "rag_chatbot-v2"
BOTH = serving(v1=100, v2=0)
BUILT = candidate(state=State.PROVISIONING)
TESTED = candidate(state=State.TESTING, settled=True, weight_seen=0)
SPAN = Span(number=1, step=1, weight=5, starts_at=START, settled=True)
CANARY = candidate(state=State.CANARY, step=1, settled=True, spans=(SPAN,))
PASSED = Round(asked=3, candidate_failed=(), stable_failed=())
UNANSWERED = Round(asked=3, candidate_failed=(1, 2), stable_failed=(1, 2), why="query 1: timeout")
FAILED = Round(asked=3, candidate_failed=(2,), stable_failed=(), why="query 2: empty")
ALL_PASS = "all 3 golden queries passed"
QUIET = "steps as configured, at 100 requests/s"
HOUR = timedelta(hours=1)
SECONDS = timedelta(seconds=1)
LOOK = timedelta(seconds=30)
Facts = dict[str, Any]
NONE: Facts = {}


def gone_on(
    release: Release,
    seen: Endpoint | Absent | None,
    *,
    facts: Facts = NONE,
    **outside: object,
) -> Turn:
    """A look at NOW at version 2 beside stable version 1; `facts` are of the application."""
    made = turn(record(release, **facts), seen, **outside)
    go_on(made, release)
    return made


def nothing_comes(
    release: Release,
    seen: Endpoint | Absent | None,
    *,
    facts: Facts = NONE,
    **outside: object,
) -> bool:
    """Whether a look changes nothing, and tells nothing."""
    made = gone_on(release, seen, facts=facts, **outside)
    return (made.application, made.events) == (record(release, **facts), [])


def held(release: Release, why: str, *, asks: bool = False) -> tuple[Release, list[Event]]:
    """What becomes of a release that is held, and the line that says so."""
    after = replace(release, hold=why, needs_person=asks)
    return after, [told("release.held", why, level="warning")]


def back(release: Release, because: str, **facts: object) -> tuple[Release, list[Event]]:
    """What becomes of a release that is rolled back, and the line that says so."""
    after = replace(
        release,
        state=State.ROLLED_BACK,
        because=because,
        settled=False,
        hold=None,
        needs_person=False,
        ask=None,
        since=NOW,
        in_state=timedelta(),
        on_step=timedelta(),
        undecided=timedelta(),
        ended_at=NOW,
        removed=release.state is State.PROVISIONING,
    )
    arrow = moved(Trigger.ROLL_BACK, release.state, State.ROLLED_BACK, because, level="error")
    return replace(after, **facts), [arrow]  # type: ignore[arg-type]


def came(made: Turn) -> tuple[Release, list[Event]]:
    """What became of version 2, and what was told."""
    release = made.application.newest("2")
    assert release is not None
    assert made.application == replace(made.application, releases=(*record().releases, release))
    return release, made.events


# Aborted, deleted, in quarantine.


@pytest.mark.parametrize(
    "state", [State.PROVISIONING, State.TESTING, State.CANARY, State.PRODUCTION]
)
def test_an_abort_is_heeded_from_every_state_though_the_endpoint_is_unseen(state: State) -> None:
    release = candidate(state=state, step=1, order=Order.ABORT, hold="asked", needs_person=True)
    assert came(gone_on(release, None)) == back(release, "aborted by the operator")


def test_what_is_aborted_goes_home_with_the_same_look() -> None:
    release = replace(TESTED, order=Order.ABORT)
    made = gone_on(release, shown(BOTH))
    assert [one.name for one in made.events] == [
        "release.transition",
        "release.settled",
        "release.post_mortem",
    ]
    assert made.events[1].because == "version 1 has 100 % of users"
    home = replace(back(release, "aborted by the operator")[0])
    assert nothing_comes(home, None), "who is on the way home already is not aborted again"


GONE = "version 2 is not in the registry's list: it is looked for once more"


@pytest.mark.parametrize("release", [BUILT, TESTED, CANARY])
def test_a_version_that_the_registry_lost_is_looked_for_once_more_and_goes_home(
    release: Release,
) -> None:
    found = gone_on(release, None, versions=(version(1),))
    seen, line = held(replace(release, unlisted=True, unlisted_since=NOW), GONE)
    assert came(found) == (seen, line)
    missing = replace(seen, unlisted_since=NOW - LOOK)
    again = gone_on(missing, None, versions=(version(1),))
    assert came(again) == back(missing, "version 2 was deleted from the registry")
    first = replace(missing, pinned=replace(PINNED, baseline=None, incumbent=None))
    alone = {"stable": None, "releases": (first,)}
    made = gone_on(first, None, versions=(version(1),), facts=alone)
    assert made.application.unproven == (None if release.state is State.PROVISIONING else "2")


MISSED = replace(TESTED, unlisted=True, unlisted_since=NOW - LOOK, hold=GONE)
"""Version 2, which the look before this one did not find in the registry's list."""


@pytest.mark.parametrize("ago", [0, 1, 14.9])
def test_a_list_that_is_read_again_a_moment_later_proves_nothing_more(ago: float) -> None:
    """A move is followed by another look at once, and one list may lack what is there."""
    missed = replace(MISSED, unlisted_since=NOW - timedelta(seconds=ago))
    assert came(gone_on(missed, None, versions=(version(1),))) == (missed, [])
    later = NOW - timedelta(seconds=ago) + LOOK / 2
    apart = gone_on(missed, None, versions=(version(1),), now=later)
    assert came(apart)[0].state is State.ROLLED_BACK
    both = (version(1), version(2))
    assert came(gone_on(missed, None, versions=both))[0].unlisted is False


def test_how_far_two_looks_are_apart_does_not_rest_on_how_the_clock_is_set() -> None:
    missed = replace(MISSED, unlisted_since=NOW)
    ahead = leapt(record(missed), HOUR).live
    assert ahead is not None
    later = gone_on(ahead, None, versions=(version(1),), now=NOW + HOUR + SECONDS)
    assert came(later) == (ahead, []), "the clock was set, and a second has passed"
    back_then = not_ahead(record(missed, looked_at=NOW), NOW - HOUR).live
    assert back_then is not None
    later = gone_on(back_then, None, versions=(version(1),), now=NOW - HOUR + LOOK)
    assert came(later)[0].state is State.ROLLED_BACK


def test_what_a_record_of_before_has_missed_is_looked_for_once_more() -> None:
    """When it was missed was not written down."""
    missed = replace(MISSED, unlisted_since=None)
    after = came(gone_on(missed, None, versions=(version(1),)))
    assert after == (replace(missed, unlisted_since=NOW), [])


@pytest.mark.parametrize("versions", [(), (version(3),), None, (version(3), version(4))])
def test_a_list_that_lacks_more_than_the_version_is_no_proof_that_it_is_gone(
    versions: tuple[ModelVersion, ...] | None,
) -> None:
    after = came(gone_on(MISSED, None, versions=versions))
    waits, freed = MISSED, replace(MISSED, unlisted=False, unlisted_since=None, hold=None)
    line = [told("release.freed", f"no longer: {GONE}")]
    assert after == ((freed, line) if versions == () else (waits, []))


@pytest.mark.parametrize(
    "facts",
    [
        {"deleted": ("1",)},
        {"stable": None, "unproven": "2"},
        {"stable": None, "unproven": "2", "deleted": ("2",)},
    ],
    ids=["both are gone, and one is known to be", "alone", "alone, and adopted"],
)
def test_it_goes_home_although_the_version_that_it_would_go_back_to_is_gone_or_none_other(
    facts: dict[str, object],
) -> None:
    """Else it would be looked for, and held, at every look from now on."""
    waits = replace(CANARY, unlisted=True, unlisted_since=NOW - LOOK, hold=GONE)
    made = gone_on(waits, None, versions=(version(3),), facts=facts)
    assert made.application.newest("2").state is State.ROLLED_BACK  # type: ignore[union-attr]
    assert made.events[0].because == "version 2 was deleted from the registry"


def test_a_version_that_is_listed_again_goes_on() -> None:
    waits = MISSED
    both = (version(1), version(2))
    line = told("release.freed", f"no longer: {GONE}")
    assert came(gone_on(waits, None, versions=both)) == (
        replace(waits, unlisted=False, unlisted_since=None, hold=None),
        [line],
    )
    other = replace(waits, hold="asked")
    listed = replace(other, unlisted=False, unlisted_since=None)
    assert came(gone_on(other, None, versions=both)) == (listed, [])
    asked = replace(TESTED, hold="asked")
    assert came(gone_on(asked, None, versions=(version(1),))) == (
        replace(asked, unlisted=True, unlisted_since=NOW),
        [],
    )


def test_on_the_way_home_it_does_not_matter_what_the_registry_lists() -> None:
    home = candidate(state=State.ROLLED_BACK)
    assert nothing_comes(home, None, versions=(version(1),))


HARMED = minutes(3, arm(100, 10), arm(1900, 4))
"""10 % of 300 requests fail, and 0.2 % of stable's."""


@pytest.mark.parametrize("state", [State.CANARY, State.PRODUCTION])
def test_in_quarantine_nothing_is_decided_but_to_go_back(state: State) -> None:
    waits = candidate(
        state=state,
        step=1,
        hold="quarantined: KeyError",
        sources={"errors": SOURCE},
        spans=(SPAN,),
    )
    assert nothing_comes(waits, shown(serving(v1=95, v2=5)))
    made = gone_on(replace(waits, blocks=HARMED), shown(serving(v1=95, v2=5)))
    assert [one.name for one in made.events] == ["gate.verdict", "release.transition"]
    assert came(made)[0].state is State.ROLLED_BACK
    home = replace(waits, state=State.ROLLED_BACK)
    line = gone_on(home, shown(BOTH)).events[0]
    assert line == told("release.freed", "no longer: quarantined: KeyError")


@pytest.mark.parametrize("release", [BUILT, TESTED])
def test_in_quarantine_no_deadline_passes(release: Release) -> None:
    waits = replace(release, hold="quarantined: KeyError", in_state=9 * HOUR)
    assert nothing_comes(waits, shown(BOTH))


# Held up by the endpoint, or by its fallback.

DOWN = f"version 1 has 100 % of users, and is not ready on {NAME}: mend it, and the release goes on"


@pytest.mark.parametrize("release", [BUILT, TESTED])
def test_while_only_stable_is_not_ready_it_is_held_and_a_person_asked(release: Release) -> None:
    seen = shown(BOTH, ready=frozenset({SECOND}))
    after = held(release, DOWN, asks=True)
    assert came(gone_on(release, seen)) == after
    mended = gone_on(replace(after[0], rounds=(UNANSWERED,)), shown(BOTH))
    assert mended.events[0] == told("release.freed", f"no longer: {DOWN}")
    neither = shown(BOTH, ready=frozenset())
    assert nothing_comes(release, neither)


def test_while_it_is_held_for_stable_it_is_not_tested() -> None:
    seen = shown(BOTH, ready=frozenset({SECOND}), inference_table=TABLE)
    assert came(gone_on(READY, seen, round=FAILED)) == held(READY, DOWN, asks=True)


def test_on_a_staging_endpoint_stable_has_no_part() -> None:
    plan = replace(PINNED, staging="rag-staging")
    release = candidate(state=State.PROVISIONING, pinned=plan)
    made = gone_on(release, shown(BOTH, ready=frozenset({SECOND})))
    assert came(made)[0].hold is None


@pytest.mark.parametrize(
    ("release", "served"),
    [
        (replace(CANARY, settled=False), serving(v1=95, v2=5)),
        (candidate(state=State.PRODUCTION), serving(v1=0, v2=100)),
    ],
)
def test_a_fallback_that_hides_errors_is_told_of_once_nobody_switches_it_off(
    release: Release, served: Serving
) -> None:
    hides = shown(served, fallback=True)
    after = held(release, MASKED, asks=True)
    assert came(gone_on(release, hides)) == after
    assert nothing_comes(release, hides, facts={"fallback_off": True})
    assert nothing_comes(replace(release, hold="asked"), hides)
    change = Change(number=1, fallback=True)
    assert nothing_comes(release, hides, facts={"change": change, "hold": "changed"})
    other = replace(release, hold="asked")
    assert nothing_comes(other, shown(served, updating=True)), "what else holds it is not freed"
    freed = gone_on(after[0], shown(served))
    assert freed.events[0] == told("release.freed", f"no longer: {MASKED}")
    assert MASKED == "AI Gateway's fallback hides a canary's errors: switch fallback_config off"


# Provisioning.


def test_what_is_not_ready_at_its_deadline_goes_home() -> None:
    late = replace(BUILT, in_state=HOUR)
    for seen in (shown(), shown(BOTH), Absent()):
        assert came(gone_on(late, seen))[1][0].because == "not ready after 1 h"
    assert came(gone_on(late, shown())) == back(late, "not ready after 1 h")
    early = replace(BUILT, in_state=HOUR - SECONDS)
    assert nothing_comes(early, shown())
    assert nothing_comes(early, Absent())
    assert nothing_comes(late, None), "what is unseen may be ready"


def test_it_is_tested_once_it_is_ready_where_it_is_wanted() -> None:
    ready = f"{SECOND} is ready"
    made = gone_on(replace(BUILT, in_state=SECONDS, on_step=SECONDS), shown(BOTH), took=SECONDS)
    after = replace(
        BUILT, state=State.TESTING, settled=True, weight_seen=0, because=ready, since=NOW
    )
    assert came(made) == (
        after,
        [
            told("release.settled", ready),
            moved(Trigger.PROVISIONED, State.PROVISIONING, State.TESTING, ready),
        ],
    )
    assert nothing_comes(BUILT, shown(BOTH, ready=frozenset({FIRST})))
    assert nothing_comes(BUILT, shown(BOTH, updating=True))
    assert nothing_comes(BUILT, shown(serving(v1=99, v2=1)))
    sized = replace(BUILT, pinned=replace(PINNED, size=Size("Medium")))
    assert nothing_comes(sized, shown(BOTH, concurrency={SECOND: 4}))


def called(ago: timedelta, outcome: str = "done", **facts: object) -> Facts:
    """A call for both versions, so long ago."""
    call = Attempt(kind="serve", target=str(BOTH), at=NOW - ago, outcome=outcome)
    return {"attempts": (replace(call, **facts),)}  # type: ignore[arg-type]


UNBUILT = f"Databricks could not deploy {SECOND}: its build and service logs say why"
LONG, FRESH = timedelta(seconds=10), timedelta(seconds=9)


@pytest.mark.parametrize(
    ("facts", "heeded"),
    [
        (called(LONG), True),
        (called(LONG, "open"), True),
        (called(LONG, "refused"), False),
        (called(FRESH), False),
        (called(LONG, kind="apply"), False),
        (called(LONG, target="rag_chatbot-v1 100 %"), False),
        ({}, False),
    ],
)
def test_a_failed_deployment_ends_it_once_it_was_asked_for_in_this_attempt(
    facts: Facts, *, heeded: bool
) -> None:
    seen = shown(failed=frozenset({SECOND}))
    made = gone_on(BUILT, seen, facts=facts)
    assert came(replace(made)) == (back(BUILT, UNBUILT) if heeded else (BUILT, []))
    begun = replace(BUILT, since=NOW - FRESH)
    assert nothing_comes(begun, seen, facts=facts), "what was asked for before is another attempt"
    exactly = replace(BUILT, since=NOW - LONG)
    assert came(gone_on(exactly, seen, facts=facts))[0].state == (
        State.ROLLED_BACK if heeded else State.PROVISIONING
    )


def test_a_failed_deployment_is_ours_where_ours_is_pending_or_calls_are_forgotten() -> None:
    failed = frozenset({SECOND})
    ours, asked = shown(failed=failed, pending=BOTH), called(timedelta(seconds=1))
    assert came(gone_on(BUILT, ours, facts=asked)) == back(BUILT, UNBUILT)
    assert nothing_comes(BUILT, ours), "that is of an earlier attempt: it is asked for anew"
    earlier = called(timedelta(seconds=2))
    begun = replace(BUILT, since=NOW - timedelta(seconds=1))
    assert nothing_comes(begun, ours, facts=earlier)
    assert nothing_comes(BUILT, shown(failed=failed, pending=serving(v1=100, v3=0)), facts=asked)
    assert nothing_comes(BUILT, replace(ours, updating=True), facts=asked)
    assert nothing_comes(BUILT, shown(failed=frozenset({FIRST}), pending=BOTH), facts=asked)
    old = replace(BUILT, in_state=timedelta(minutes=20))
    assert came(gone_on(old, shown(failed=failed))) == back(old, UNBUILT)
    assert nothing_comes(
        replace(old, in_state=timedelta(minutes=20) - SECONDS), shown(failed=failed)
    )


def test_a_failure_is_known_for_its_own_though_the_clock_was_set_back_since_it_began() -> None:
    """What people read of when it began stays as it was told; when it was asked for does not."""
    begun = replace(BUILT, since=NOW + HOUR)
    known = {**called(LONG), "followed": {"begun": NOW - 2 * LONG}}
    made = gone_on(begun, shown(failed=frozenset({SECOND})), facts=known)
    assert came(made) == back(begun, UNBUILT)


REFUSED = f"Databricks could not update the endpoint with {SECOND}: its event log says why"


@pytest.mark.parametrize(
    ("facts", "seen", "heeded"),
    [
        (called(LONG), {}, True),
        (called(FRESH), {}, False),
        (called(LONG, "open"), {}, False),
        (called(LONG, kind="alias"), {}, False),
        (called(LONG, target="rag_chatbot-v1 100 %"), {}, False),
        ({}, {}, False),
        (called(FRESH), {"pending": BOTH}, True),
        ({}, {"pending": BOTH}, False),
        ({}, {"pending": serving(v1=100)}, False),
        (called(LONG), {"updating": True}, False),
        (called(LONG), {"update_failed": False}, False),
        (called(LONG), {"failed": frozenset({"theirs"})}, False),
    ],
)
def test_an_update_that_failed_ends_it_where_it_was_ours(
    facts: Facts, seen: Facts, *, heeded: bool
) -> None:
    made = gone_on(BUILT, replace(shown(update_failed=True), **seen), facts=facts)
    assert came(made) == (back(BUILT, REFUSED) if heeded else (BUILT, []))


def test_of_several_calls_the_last_one_failed() -> None:
    before = called(2 * LONG)["attempts"]
    last = called(LONG, target="rag_chatbot-v1 100 %")["attempts"]
    other = called(LONG, kind="alias", target="1")["attempts"]
    seen = shown(update_failed=True)
    assert nothing_comes(BUILT, seen, facts={"attempts": (*before, *last)})
    for calls in ((*last, *before), (*before, *other)):
        assert came(gone_on(BUILT, seen, facts={"attempts": calls})) == back(BUILT, REFUSED)


# Testing.


def finished(because: str, asked: Round, finding: str, level: str = "info") -> Event:
    return event(
        "tests.finished",
        TESTED,
        because,
        level,
        endpoint=NAME,
        asked=asked.asked,
        failed=list(asked.candidate_failed),
        failed_on_stable=list(asked.stable_failed),
        finding=finding,
    )


def test_what_is_not_through_its_tests_at_its_deadline_goes_home() -> None:
    late = replace(TESTED, in_state=HOUR)
    because = "not through its tests after 1 h"
    assert came(gone_on(late, shown(BOTH), round=PASSED)) == back(late, because)
    assert nothing_comes(replace(TESTED, in_state=HOUR - SECONDS), shown(BOTH))
    assert nothing_comes(late, Absent()), "an endpoint that is gone is a change by others"


def test_failing_once_is_asked_again_and_twice_goes_home() -> None:
    once = replace(TESTED, rounds=(FAILED,))
    why = "1 of 3 golden queries failed: query 2: empty; asking once more"
    made = gone_on(TESTED, shown(BOTH), round=FAILED)
    assert came(made) == (once, [finished(why, FAILED, "AGAIN", "warning")])
    assert nothing_comes(once, shown(BOTH))
    twice = replace(TESTED, rounds=(FAILED, FAILED))
    why = "1 of 3 golden queries failed twice, and stable answers them: query 2: empty"
    after, line = back(twice, why)
    made = gone_on(once, shown(BOTH), round=FAILED)
    assert came(made) == (after, [finished(why, FAILED, "FAIL", "warning"), *line])
    assert came(gone_on(twice, shown(BOTH))) == (after, line), "after a restart as well"


HALF = Begun(answers=(None, "empty", None), of=6)


def test_a_round_that_is_not_complete_is_kept_and_tells_of_no_version() -> None:
    first = replace(TESTED, asking=HALF)
    assert came(gone_on(TESTED, shown(BOTH), round=HALF)) == (first, [])
    assert nothing_comes(first, shown(BOTH))
    again = replace(TESTED, rounds=(FAILED,))
    assert came(gone_on(again, shown(BOTH), round=HALF)) == (replace(again, asking=HALF), [])
    made = gone_on(first, shown(BOTH), round=FAILED)
    assert came(made)[0] == replace(TESTED, rounds=(FAILED,)), "complete, and none is under way"
    waits = replace(TESTED, rounds=(UNANSWERED,), hold=ENVIRONMENT, needs_person=True)
    assert came(gone_on(waits, shown(BOTH), round=HALF)) == (replace(waits, asking=HALF), [])


def test_a_deadline_says_how_far_the_round_came_that_it_cuts_off() -> None:
    late = replace(TESTED, in_state=HOUR, asking=HALF)
    because = (
        "not through its tests after 1 h: 3 of 6 questions of the last round were answered; state "
        "fewer golden queries, or a smaller repeat"
    )
    assert came(gone_on(late, shown(BOTH))) == back(late, because)


ENVIRONMENT = "2 of 3 golden queries failed on both versions: the environment is at fault"


@pytest.mark.parametrize(("begun", "asks"), [(START, True), (NOW - HOUR + SECONDS, False)])
def test_a_failing_environment_holds_and_asks_in_the_end(begun: datetime, *, asks: bool) -> None:
    waits = replace(TESTED, since=begun)
    after, line = held(replace(waits, rounds=(UNANSWERED,)), ENVIRONMENT, asks=asks)
    tests = finished(ENVIRONMENT, UNANSWERED, "ENVIRONMENT", "warning")
    made = gone_on(waits, shown(BOTH), round=UNANSWERED)
    assert came(made) == (after, [tests, *line])
    assert came(gone_on(replace(waits, rounds=(UNANSWERED,)), shown(BOTH))) == (after, line)


# The first users.


def said(release: Release, *, override: bool) -> Release:
    word = Word(verb="promote", finding=position(release), seq=1, actor="ada", override=override)
    return replace(release, words=(word,))


READY = replace(TESTED, rounds=(PASSED,), history=RICH)
SOURCES = dict.fromkeys(("errors", "latency", "answers", "tokens", "capacity"), SOURCE)
MINUTES = tuple(
    Minute(ends_at=NOW - timedelta(minutes=61 - one), requests=6000, errors=one % 3)
    for one in range(60)
)
OPENABLE = shown(BOTH, inference_table=TABLE)
ALL_JUDGED = (
    "judged: errors by inference table, latency by inference table, "
    "answers by inference table, tokens by inference table"
)
NO_FUSE = (
    "; the endpoint's metrics were not seen: no fuse watches it, and nothing tells which "
    "requests the counts leave out"
)
WITH_TOKENS = replace(PINNED, guards=Guards(tokens=TokenGuard()))


def opened(made: Turn, release: Release) -> tuple[Release, Event, Event]:
    """The release that has its first users, and the two lines that say so, held to its record."""
    after, events = came(made)
    assert (after.state, after.step, after.settled) == (State.CANARY, 1, False)
    assert (after.hold, after.needs_person, after.ask) == (None, False, None)
    span = Span(number=1, step=1, weight=after.weight, starts_at=NOW, settled=False)
    assert after.spans == (span,)
    arrow, line = events[-2:]
    assert arrow == moved(Trigger.OPEN, State.TESTING, State.CANARY, arrow.because)
    assert after.because == arrow.because
    assert line == event("release.judged", release, line.because, **Bench.of(after).told())
    return after, arrow, line


def test_it_opens_with_guards_sources_measures_steps_and_fuse_pinned() -> None:
    release = replace(READY, pinned=WITH_TOKENS)
    facts = {"minutes": MINUTES}
    made = gone_on(release, OPENABLE, facts=facts, requests_per_second=100.0)
    after, arrow, line = opened(made, release)
    assert arrow.because == f"{ALL_PASS}; opens 5 % of users"
    assert line.because == ALL_JUDGED
    assert after.sources == SOURCES
    assert set(after.measures) == {"latency", "answers", "tokens"}
    assert after.fuse == fuse(MINUTES, NOW, 5)
    assert after.before_whole is None
    assert after.pinned == WITH_TOKENS
    assert len(made.events) == 2


def test_a_history_that_is_seen_now_is_pinned() -> None:
    made = gone_on(replace(READY, history=None), OPENABLE, history=RICH)
    after, _, line = opened(made, READY)
    assert after.history == RICH
    assert line.because == (
        "judged: errors by inference table, latency by inference table, "
        f"answers by inference table{NO_FUSE}"
    )
    other = replace(RICH, requests=1)
    assert opened(gone_on(READY, OPENABLE, history=other), READY)[0].history == RICH


def test_steps_that_cannot_decide_are_left_out_and_told() -> None:
    rich = replace(READY, history=replace(RICH, requests=0))
    made = gone_on(rich, OPENABLE, requests_per_second=0.02)
    after, arrow, _ = opened(made, rich)
    assert after.steps == (25, 100)
    assert arrow.because == (
        f"{ALL_PASS}; 5 %, 50 % cannot decide within 1 d at 0.02 requests/s, and are left out; "
        "opens 25 % of users"
    )


POOR = replace(RICH, answers=12_345, latency_ms=(), tokens=(), checked=0, faulty=0)


def test_it_is_told_which_guards_have_too_little_to_judge_by() -> None:
    little = replace(RICH, answers=1_234, latency_ms=(), tokens=(), length=())
    release = replace(READY, pinned=WITH_TOKENS, history=little)
    line = opened(gone_on(release, OPENABLE, facts={"minutes": MINUTES}), release)[2]
    assert line.because == (
        "judged: errors by inference table, answers by inference table; "
        "stable's last day (1,234 answers) is too little to judge latency, tokens"
    )
    quiet = replace(release, pinned=PINNED)
    line = opened(gone_on(quiet, OPENABLE, facts={"minutes": MINUTES}), quiet)[2]
    assert line.because.endswith("is too little to judge latency"), "tokens were not asked for"


def test_by_whose_word_it_opens_is_told() -> None:
    for override, past in ((False, ""), (True, ", past what is not shown and what holds")):
        release = said(READY, override=override)
        arrow = opened(gone_on(release, OPENABLE), release)[1]
        assert arrow.because == f"{ALL_PASS}; promoted by ada{past}; opens 5 % of users"
    plan = replace(PINNED, approval="before_canary")
    word = Word(verb="approve", finding="the first users", seq=1, actor="eve")
    release = replace(READY, pinned=plan, words=(word,), hold="waits", ask="the first users")
    made = gone_on(release, OPENABLE)
    assert made.events[0] == told("release.freed", "no longer: waits")
    assert opened(made, release)[1].because == f"{ALL_PASS}; approved by eve; opens 5 % of users"


def test_a_failing_environment_is_opened_past_by_override_alone() -> None:
    release = said(replace(READY, rounds=(UNANSWERED,)), override=True)
    arrow = opened(gone_on(release, OPENABLE), release)[1]
    assert arrow.because.startswith(f"{ENVIRONMENT}; promoted by ada, past ")
    plain = said(replace(READY, rounds=(UNANSWERED,)), override=False)
    assert came(gone_on(plain, OPENABLE)) == held(plain, ENVIRONMENT, asks=True)


UNCOUNTED = f"no source counts errors per version: enable {NAME}'s AI Gateway inference table"
UNKNOWN = "stable's last day is not known yet: the inference table is asked for it"
IN_VAIN = f"{UNKNOWN}, in vain for long: the log says what the warehouse answers (workspace.unseen)"
WATCHING = replace(PINNED, guards=Guards(errors=ErrorGuard(observe=True)))
WHOLE = replace(PINNED, rollout=replace(QUICK, steps=(100,)))
UNPAST = replace(READY, history=None)


@pytest.mark.parametrize(
    ("release", "seen", "why", "asks"),
    [
        (READY, replace(OPENABLE, fallback=True), MASKED, True),
        (said(READY, override=True), replace(OPENABLE, fallback=True), MASKED, True),
        (READY, shown(BOTH), UNCOUNTED, True),
        (UNPAST, OPENABLE, IN_VAIN, True),
        (replace(UNPAST, since=NOW - HOUR + SECONDS), OPENABLE, UNKNOWN, False),
        (
            replace(READY, pinned=WATCHING, history=replace(POOR, answers=0)),
            OPENABLE,
            NOTHING_DECIDES,
            True,
        ),
    ],
)
def test_what_could_not_be_compared_is_not_opened(
    release: Release, seen: Endpoint, why: str, *, asks: bool
) -> None:
    assert came(gone_on(release, seen)) == held(release, why, asks=asks)


@pytest.mark.parametrize(
    ("release", "seen"),
    [
        (said(READY, override=True), shown(BOTH)),
        (said(UNPAST, override=True), OPENABLE),
        (replace(UNPAST, pinned=WHOLE), shown(BOTH)),
    ],
)
def test_a_word_or_steps_that_compare_nothing_go_past_that(
    release: Release, seen: Endpoint
) -> None:
    after, arrow, line = opened(gone_on(release, seen), release)
    weight = 100 if release.pinned == WHOLE else 5
    assert arrow.because.endswith(f"; opens {weight} % of users")
    assert after.weight == weight
    if seen.inference_table is None:
        assert line.because == f"no source counts by version{NO_FUSE}"
    assert NOTHING_DECIDES == (
        "every guard that something counts for only observes, so that no step could be opened on "
        "proof: let one decide, or set rollout.steps to [100]"
    )


def test_a_gate_holds_what_is_otherwise_ready() -> None:
    freeze = Freeze(begins=NOW - HOUR, ends=NOW + HOUR, reason="the launch")
    ice = "frozen (the launch) until Mon 2026-11-23 16:00 UTC; going back is never frozen"
    facts = {"spec": replace(SPEC, admission=Rules(freezes=(freeze,)))}
    assert came(gone_on(READY, OPENABLE, facts=facts)) == held(READY, ice)
    asks = replace(READY, pinned=replace(PINNED, approval="before_canary"))
    after, _ = came(gone_on(asks, OPENABLE))
    assert (after.needs_person, after.ask, after.state) == (True, "the first users", State.TESTING)


@pytest.mark.parametrize(
    ("facts", "seen"),
    [
        ({"order": Order.PAUSE}, OPENABLE),
        ({}, replace(OPENABLE, updating=True)),
        ({}, replace(OPENABLE, serving=serving(v1=99, v2=1))),
        ({}, replace(OPENABLE, ready=frozenset({FIRST}))),
    ],
)
def test_it_opens_where_nobody_paused_it_and_all_is_as_wanted(facts: Facts, seen: Endpoint) -> None:
    assert nothing_comes(replace(READY, **facts), seen)


def test_a_replay_that_is_undecided_asks_goes_back_or_lets_it_open() -> None:
    seen = Replayed(drawn=9, outcome=Outcome.INSUFFICIENT, because="9 of 9: too few")
    replays = Replay()
    whole = replace(READY, pinned=replace(WHOLE, replay=replays), replay=seen)
    why = (
        "9 of 9: too few, and no step below 100 % will decide it: abort it, or set "
        "replay.on_undecided to go_on and restart the daemon"
    )
    assert came(gone_on(whole, OPENABLE)) == held(whole, why, asks=True)
    facts = {"spec": replace(SPEC, replay=replace(replays, on_undecided="roll_back"))}
    assert came(gone_on(whole, OPENABLE, facts=facts)) == back(whole, why)
    told_by = said(whole, override=True)
    arrow = opened(gone_on(told_by, OPENABLE, facts=facts), told_by)[1]
    assert arrow.because.startswith(f"{ALL_PASS}; 9 of 9: too few; promoted by ada, past")
    proven = replace(whole, replay=replace(seen, outcome=Outcome.PASS, because="9 alike"))
    arrow = opened(gone_on(proven, OPENABLE), proven)[1]
    assert arrow.because == f"{ALL_PASS}; 9 alike; opens 100 % of users"
