"""Converging and going home: what counts as there, what is told of a way that is barred."""

from dataclasses import replace
from datetime import timedelta

import pytest

from states.attempt import Attempt
from states.difference import Change
from states.home import (
    add_span,
    converged,
    in_doubt,
    lost,
    overdue,
    own_up,
    ready_for,
    roll_back,
    undersized,
    undisturbed,
    unready,
)
from states.homecoming import come_home
from states.machine import State
from states.release import Application, Release
from states.span import Span
from states.turn import Turn
from states.world import Absent, Endpoint, Serving, Share, Size
from tests.states.byhand import NAME, NOW, beginning, candidate, event, record, shown, turn
from tests.states.story import SPEC, START, serving, version
from tests.states.test_desired import PINNED, STABLE

V1, V2 = "rag_chatbot-v1", "rag_chatbot-v2"
NOBODY = frozenset[str]()
CANARY = candidate(state=State.CANARY, step=3)
HALVES = serving(v1=50, v2=50)
HOMEWARD = candidate(state=State.ROLLED_BACK, because="users were harmed")
HOME = serving(v1=100, v2=0)
THEIRS = Serving({"theirs": Share(model="main.other.model", version="4", weight=0)})
ALONE = replace(PINNED, baseline=None, incumbent=None)
FIRST = candidate(state=State.ROLLED_BACK, pinned=ALONE, because="it did not start")
KNOWN = {"known": NOW, "named": NOW}
"""What came of the calls of a rollback that has settled."""
CHANGED = Change(number=1, endpoint=("something",))
MISPLACED = (
    shown(HALVES, updating=True),
    shown(HALVES, updating=True, ready=NOBODY),
    shown(HOME),
    None,
)
"""Looks at an endpoint that is to serve both halves, and of which that cannot be said."""


@pytest.mark.parametrize("endpoint", MISPLACED)
def test_what_is_elsewhere_or_on_its_way_has_not_converged(endpoint: Endpoint | None) -> None:
    look = turn(record(CANARY), endpoint)
    assert not converged(look)
    assert not undisturbed(look)
    assert not ready_for(look, CANARY)
    assert unready(look) is None


def test_where_nothing_is_wanted_nothing_has_converged() -> None:
    look = turn(beginning(), shown(Serving()))
    assert not converged(look)
    assert unready(look) is None


def test_it_has_converged_once_what_is_wanted_is_served_and_whoever_has_users_is_ready() -> None:
    look = turn(record(CANARY), shown(HALVES))
    assert converged(look)
    assert unready(look) is None
    tested = candidate(state=State.TESTING)
    half_ready = turn(record(tested), shown(HOME, ready=frozenset({V1})))
    assert converged(half_ready), "who has no users may be down"
    assert unready(half_ready) is None
    assert not ready_for(half_ready, tested)
    assert ready_for(turn(record(tested), shown(HOME)), tested)


@pytest.mark.parametrize(("ready", "number"), [(NOBODY, 1), (frozenset({V2}), 1), ({V1}, 2)])
def test_a_version_with_users_that_is_down_is_named(ready: frozenset[str], number: int) -> None:
    look = turn(record(CANARY), shown(HALVES, ready=ready))
    assert not converged(look)
    assert unready(look) == f"version {number} has 50 % of users, and is not ready on {NAME}"


def test_what_is_counted_while_others_are_at_work_or_errors_are_hidden_is_of_no_step() -> None:
    assert undisturbed(turn(record(CANARY), shown(HALVES)))
    assert not undisturbed(turn(record(CANARY, change=CHANGED), shown(HALVES)))
    assert not undisturbed(turn(record(CANARY), shown(HALVES, fallback=True)))
    assert undisturbed(turn(record(), shown(fallback=True))), "nobody is judged"


def test_a_version_is_lost_once_others_are_listed_without_it() -> None:
    both = (version(1), version(2))
    assert not lost(turn(record(), shown(), versions=both), "2")
    assert lost(turn(record(), shown(), versions=both), "3")
    assert not lost(turn(record(), shown(), versions=()), "3")
    assert not lost(turn(record(), shown(), versions=None), "3")


def test_a_release_is_overdue_from_its_deadline_on() -> None:
    hour = timedelta(hours=1)
    pinned = replace(PINNED, testing_deadline=hour)
    tested = candidate(state=State.TESTING, pinned=pinned, since=NOW - hour)
    look = turn(record(tested), shown())
    assert overdue(look, tested)
    assert not overdue(look, replace(tested, since=NOW - hour + timedelta(seconds=1)))
    assert not overdue(look, replace(tested, pinned=None))


@pytest.mark.parametrize(
    ("state", "size", "room", "small"),
    [
        (State.PROVISIONING, Size("Medium"), {V2: 15}, True),
        (State.PROVISIONING, Size("Medium"), {V2: 16}, False),
        (State.PROVISIONING, Size("Medium"), {V1: 4}, False),
        (State.PROVISIONING, Size(None), {V2: 4}, False),
        (State.PROVISIONING, None, {V2: 4}, False),
        (State.TESTING, Size("Medium"), {V2: 15}, False),
    ],
)
def test_only_what_is_provisioned_and_smaller_than_asked_is_undersized(
    state: State, size: Size | None, room: dict[str, int], *, small: bool
) -> None:
    made = candidate(state=state, pinned=replace(PINNED, size=size))
    assert undersized(turn(record(made), shown(HOME, concurrency=room))) is small
    assert not undersized(turn(record(made), None))
    unplanned = replace(made, pinned=None)
    assert not undersized(turn(record(unplanned), shown(HOME, concurrency=room)))
    assert not undersized(turn(record(), shown(HOME, concurrency=room)))


def test_evidence_is_cut_where_the_look_ended_that_settles_it_else_where_it_was_decided() -> None:
    first = Span(number=1, step=2, weight=25, starts_at=START, settled=True)
    release = replace(CANARY, spans=(first,), paused=True)
    took, settle = timedelta(seconds=4), timedelta(seconds=30)

    def cut(*, settled: bool, delay: timedelta) -> Release:
        look = turn(record(release), shown(HALVES), took=took)
        made = add_span(look, release, settled=settled, delay=delay)
        assert look.application == record(made)
        return made

    decided = Span(number=2, step=3, weight=50, starts_at=NOW + settle, settled=False)
    wanted = replace(release, paused=False, spans=(first, decided))
    assert cut(settled=False, delay=settle) == wanted
    seen = replace(decided, starts_at=NOW + took, settled=True)
    assert cut(settled=True, delay=timedelta()) == replace(wanted, spans=(first, seen))
    look = turn(record(release), shown(HALVES), took=took)
    now = add_span(look, release, settled=True)
    assert now.spans == (first, seen), "without a delay it begins at once"


@pytest.mark.parametrize(
    ("state", "removed"),
    [
        (State.PROVISIONING, True),
        (State.TESTING, False),
        (State.CANARY, False),
        (State.PRODUCTION, False),
    ],
)
def test_a_rollback_wants_off_the_endpoint_what_never_came_to_serve(
    state: State, *, removed: bool
) -> None:
    release = candidate(state=state, step=1, shut=True, hold="held", needs_person=True, tagged=True)
    look = turn(record(release), shown(HOME))
    rolled = roll_back(look, release, "it is worse")
    assert rolled == candidate(
        state=State.ROLLED_BACK,
        step=1,
        because="it is worse",
        since=NOW,
        ended_at=NOW,
        removed=removed,
    )
    assert look.application == record(rolled)
    moved = {"from_state": state.value, "to_state": "RolledBack", "trigger": "roll_back"}
    transition = event("release.transition", rolled, "it is worse", "error", **moved)
    assert look.events == [transition]


def test_a_first_release_that_served_is_left_to_serve_without_proof() -> None:
    release = candidate(state=State.CANARY, step=4, pinned=ALONE)
    look = turn(beginning(release), shown(serving(v2=100)))
    rolled = roll_back(look, release, "it is worse")
    assert (rolled.ended_at, rolled.removed) == (None, False)
    assert look.application == beginning(rolled, unproven="2")
    begun = replace(release, state=State.PROVISIONING)
    look = turn(beginning(begun), Absent())
    rolled = roll_back(look, begun, "it did not start")
    assert (rolled.ended_at, rolled.removed) == (NOW, True)
    assert look.application == beginning(rolled), "what never served is not what serves"


def coming(
    application: Application, endpoint: Endpoint | Absent | None, alias: str | None = "1"
) -> Turn:
    """A look of a release on its way home."""
    look = turn(application, endpoint, alias=alias)
    live = application.live
    assert live is not None, "somebody is on the way"
    come_home(look, live)
    return look


def test_home_is_where_traffic_and_alias_were_seen_to_be() -> None:
    held = replace(HOMEWARD, hold="not home after 2 min", needs_person=True, tagged=True)
    look = coming(record(held, asked=str(HOME), asked_over=6), shown(HOME))
    settled = replace(HOMEWARD, settled=True, weight_seen=0, tagged=True)
    assert look.application == record(settled, asked=str(HOME), followed=KNOWN)
    no_user = "no user met it: users were harmed"
    assert look.events == [
        event("release.freed", held, "no longer: not home after 2 min"),
        event("release.settled", held, "version 1 has 100 % of users"),
        event("release.post_mortem", held, no_user, "warning", requests=0),
    ]


@pytest.mark.parametrize(
    ("endpoint", "alias", "facts"),
    [
        (shown(serving(v1=50, v2=50)), "1", {}),
        (shown(HOME, updating=True), "1", {}),
        (shown(HOME), "2", {}),
        (shown(HOME), None, {}),
        (None, "1", {}),
        (shown(HOME), "1", {"asked": "something else", "asked_over": 7}),
    ],
)
def test_until_then_it_is_on_its_way(
    endpoint: Endpoint | None, alias: str | None, facts: dict[str, object]
) -> None:
    begun = record(HOMEWARD, **facts)
    look = coming(begun, endpoint, alias)
    assert look.application == begun
    assert look.events == []


def test_an_alias_that_is_not_ours_to_move_keeps_nobody_from_home() -> None:
    look = coming(record(HOMEWARD, spec=replace(SPEC, alias=None)), shown(HOME), None)
    assert look.application.live is None


@pytest.mark.parametrize(
    ("minutes", "passed"),
    [
        (1.99, None),
        (2, "2 min"),
        (9.99, "2 min"),
        (10, "10 min"),
        (29.99, "10 min"),
        (30, "30 min"),
    ],
)
def test_who_is_not_home_is_told_of_louder_each_time(minutes: float, passed: str | None) -> None:
    late = replace(HOMEWARD, in_state=timedelta(minutes=minutes))
    look = coming(record(late), shown(serving(v1=95, v2=5)))
    if passed is None:
        assert (look.application, look.events) == (record(late), [])
        return
    why = f"not home after {passed}: it is sent again and again; put stable to 100 % by hand"
    assert look.application == record(replace(late, hold=why, needs_person=True))
    assert look.events == [event("release.held", late, why, "error")]


DOWN = (
    f"version 1 has 100 % of users, and is not ready on {NAME}: mend it, or give the users "
    "another version by hand"
)
LATE = replace(HOMEWARD, in_state=timedelta(minutes=12))


@pytest.mark.parametrize(
    ("endpoint", "alias", "facts", "away"),
    [
        (
            shown(HOME, updating=True),
            "1",
            {},
            "Databricks is still updating the endpoint; put stable to 100 % by hand",
        ),
        (
            shown(HOME, ready=frozenset({V2})),
            "1",
            {},
            DOWN,
        ),
        (
            shown(HOME),
            "2",
            {},
            "alias production was not seen at version 1; point it there by hand",
        ),
        (
            shown(HOME),
            "2",
            {"asked": "something else", "asked_over": 7},
            "it is sent again and again; put stable to 100 % by hand",
        ),
        (
            shown(HOME),
            "1",
            {"asked": "something else", "asked_over": 7, "stable": None, "unproven": "1"},
            "it is sent again and again; put stable to 100 % by hand",
        ),
        (None, "1", {}, "it is sent again and again; put stable to 100 % by hand"),
    ],
)
def test_a_person_is_told_what_keeps_users_from_home(
    endpoint: Endpoint | None, alias: str, facts: dict[str, object], away: str
) -> None:
    look = coming(record(LATE, **facts), endpoint, alias)
    why = f"not home after 10 min: {away}"
    assert look.events == [event("release.held", LATE, why, "error")]


MINUTES = timedelta(minutes=12)
UNMADE = replace(
    HOMEWARD, removed=True, in_state=MINUTES, since=NOW - MINUTES, because="not ready after 1 h"
)
MAKING = {"asked": str(HOME), "asked_over": 7}
"""Version 2 was to be provisioned, over the configuration that is shown."""


def test_who_is_home_but_for_the_end_of_an_update_pages_nobody() -> None:
    update = shown(serving(v1=100), updating=True, pending=HOME)
    look = coming(record(UNMADE, **MAKING), update)
    why = "version 1 has 100 % of users: only the end of Databricks' update is waited for"
    assert look.application == record(replace(UNMADE, hold=why), **MAKING)
    assert look.events == [event("release.held", UNMADE, why, "warning")]
    assert coming(look.application, update).events == []
    hour = replace(UNMADE, since=NOW - PINNED.testing_deadline)
    late = coming(record(hour, **MAKING), update).application.live
    assert late is not None
    assert (late.hold, late.needs_person) == (why, True), "it may never end"
    early = replace(UNMADE, in_state=timedelta(minutes=1.9))
    assert coming(record(early, **MAKING), update).events == []


@pytest.mark.parametrize(
    ("serves", "facts", "alias", "known"),
    [
        (serving(v1=100), {"pending": serving(v1=95, v2=5)}, "1", {}),
        (serving(v1=95, v2=5), {"pending": HOME}, "1", {}),
        (serving(v1=100), {"pending": HOME}, "2", {}),
        (serving(v1=100), {"pending": HOME}, None, {}),
        (serving(v1=100), {"pending": HOME}, "1", {"asked": "something else"}),
        (serving(v1=100), {"pending": None}, "1", {}),
        (serving(v1=100), {"pending": HOME, "ready": NOBODY}, "1", {}),
        (serving(v1=100), {"pending": HOME, "updating": False}, "1", {}),
        (
            serving(v1=100),
            {"pending": serving(v1=95, v2=5)},
            "1",
            {"asked": str(serving(v1=95, v2=5))},
        ),
        (
            serving(v2=100),
            {"pending": serving(v2=100)},
            "1",
            {"asked": str(serving(v2=100)), "stable": None, "unproven": "2"},
        ),
    ],
)
def test_who_may_not_be_home_is_told_of_though_an_update_is_under_way(
    serves: Serving, facts: dict[str, object], alias: str | None, known: dict[str, object]
) -> None:
    update = shown(serves, **({"updating": True} | facts))
    [told] = coming(record(UNMADE, **(MAKING | known)), update, alias).events
    assert (told.level, told.because[:14]) == ("error", "not home after")


def test_a_change_by_others_beside_the_way_home_is_told_itself() -> None:
    """Unless users are on the version that was closed, or nothing is seen of the endpoint."""
    beside = Serving({**HOME.shares, **THEIRS.shares})
    assert coming(record(LATE, change=CHANGED), shown(beside)).events == []
    for endpoint in (shown(HALVES), None):
        [told] = coming(record(LATE, change=CHANGED), endpoint).events
        assert (told.name, told.level) == ("release.held", "error")


ASTRAY = (
    "alias production still names version 2, which has no users: point it where its readers "
    "should look"
)
NOWHERE = "there is nothing to go back to: register a mended version"


@pytest.mark.parametrize(
    ("endpoint", "alias", "astray"),
    [
        (Absent(), "1", ""),
        (shown(Serving()), "1", ""),
        (
            Absent(),
            "2",
            f"; {ASTRAY}",
        ),
    ],
)
def test_a_first_release_that_failed_is_home_where_nothing_serves(
    endpoint: Endpoint | Absent, alias: str, astray: str
) -> None:
    gone = replace(FIRST, removed=True, ended_at=START)
    look = coming(beginning(gone), endpoint, alias)
    why = f"{NOWHERE}{astray}"
    settled = replace(gone, settled=True, weight_seen=0, hold=why, needs_person=True)
    assert look.application == beginning(settled, followed=KNOWN)
    no_user = "no user met it: it did not start"
    assert look.events == [
        event("release.settled", gone, "no version serves"),
        event("release.post_mortem", gone, no_user, "warning", requests=0),
        event("release.held", gone, why, "warning"),
    ]


def test_a_first_release_is_not_home_while_its_endpoint_is_being_updated() -> None:
    gone = replace(FIRST, removed=True, ended_at=START)
    begun = beginning(gone)
    look = coming(begun, shown(Serving(), updating=True))
    assert (look.application, look.events) == (begun, [])


def test_of_an_alias_that_nobody_reads_nothing_is_said() -> None:
    gone = replace(FIRST, removed=True, ended_at=START)
    look = coming(beginning(gone, spec=replace(SPEC, alias=None)), Absent(), "2")
    assert look.events[-1] == event("release.held", gone, NOWHERE, "warning")


def test_a_first_release_that_came_to_serve_after_all_is_what_serves() -> None:
    gone = replace(FIRST, removed=True, ended_at=START)
    look = coming(beginning(gone), shown(serving(v2=100)), "2")
    settled = replace(FIRST, settled=True, weight_seen=100, hold=NOWHERE, needs_person=True)
    assert look.application == beginning(settled, unproven="2", followed=KNOWN)
    assert look.events[0] == event("release.settled", gone, "version 2 has 100 % of users")
    assert look.events[-1] == event("release.held", gone, NOWHERE, "warning")


def test_on_the_way_home_no_entity_is_asked_for_that_is_gone() -> None:
    old = candidate(version="0", state=State.ROLLED_BACK, settled=True, ended_at=START)
    left = replace(HOMEWARD, ended_at=START)
    begun = record(left, releases=(old, STABLE, left), carried=THEIRS)
    late = replace(STABLE, ended_at=START)
    look = coming(begun, shown(serving(v1=99, v2=1)))
    removed = replace(old, removed=True)
    assert look.application == record(releases=(removed, STABLE, left)), "two of them are gone"
    nothing = shown(Serving(THEIRS.shares))
    look = coming(record(left, releases=(old, late, left), carried=THEIRS), nothing)
    gone = (removed, late, replace(left, removed=True))
    assert look.application == record(releases=gone, carried=THEIRS), "not what serves"
    for endpoint, facts in (
        (shown(serving(v1=99, v2=1)), {"change": CHANGED}),
        (shown(serving(v1=99, v2=1), updating=True), {}),
        (shown(serving(v1=99, v2=1)), {"asked": "something else", "asked_over": 7}),
        (None, {}),
    ):
        disputed = replace(begun, **facts)
        assert coming(disputed, endpoint).application == disputed


def test_who_was_not_taken_from_users_yet_is_asked_for_though_it_is_gone() -> None:
    begun = record(HOMEWARD)
    assert coming(begun, shown(serving(v1=99, theirs=1))).application == begun


def test_a_first_release_that_served_and_cannot_be_built_again_is_asked_for_no_more() -> None:
    """Somebody deleted the endpoint that it served on, and Databricks cannot deploy it anew."""
    begun = beginning(FIRST, unproven="2")
    gone = shown(Serving(), failed=frozenset({V2}))
    look = coming(begun, gone)
    live, told = look.application.releases[-1], "there is nothing to go back to"
    assert (look.application.unproven, live.removed, live.ended_at) == (None, True, NOW)
    assert (live.settled, (live.hold or "").startswith(told)) == (True, True)
    for endpoint in (
        shown(Serving()),
        shown(serving(v2=100), failed=frozenset({V2})),
        replace(gone, updating=True),
    ):
        assert coming(begun, endpoint).application.unproven == "2"


def test_what_was_asked_for_is_in_doubt_until_a_newer_configuration_shows() -> None:
    asked = {"asked": "something else", "asked_over": 7}
    assert in_doubt(turn(record(HOMEWARD, **asked), shown(HOME)))
    assert in_doubt(turn(record(HOMEWARD, **asked), shown(HOME, config_version=6)))
    assert not in_doubt(turn(record(HOMEWARD, **asked), shown(HOME, config_version=8)))
    assert not in_doubt(turn(record(HOMEWARD, **asked), None))
    assert not in_doubt(turn(record(HOMEWARD, asked=None, asked_over=7), shown(HOME)))
    same = record(HOMEWARD, asked=str(HOME), asked_over=7)
    assert not in_doubt(turn(same, shown(HOME)))


def test_a_first_release_that_failed_to_deploy_leaves_no_doubt() -> None:
    gone = replace(FIRST, removed=True)
    asked = {"asked": "v2 100 %", "asked_over": 7, "attempts": serve_sent(1)}
    failed = shown(Serving(), failed=frozenset({V2}))
    assert not in_doubt(turn(beginning(gone, **asked), failed))
    assert in_doubt(turn(beginning(gone, **asked), replace(failed, updating=True)))
    assert in_doubt(turn(beginning(gone, **asked), replace(failed, failed=frozenset({V1}))))
    assert in_doubt(turn(beginning(**asked), failed))
    assert in_doubt(turn(record(HOMEWARD, **asked), failed)), "home is asked for: there are answers"


def serve_sent(minutes: float, outcome: str = "open") -> tuple[Attempt, ...]:
    """The last call for a serving state, so many minutes ago."""
    at = NOW - timedelta(minutes=minutes)
    return (Attempt(kind="serve", target="v2 100 %", at=at, outcome=outcome),)


@pytest.mark.parametrize(
    ("sent", "doubt"),
    [
        ((), False),
        (serve_sent(0, "refused"), False),
        (serve_sent(9.9), True),
        (serve_sent(9.9, "done"), True),
        (serve_sent(10), False),
        ((*serve_sent(9), *serve_sent(1, "refused")), True),
        ((*serve_sent(10), *serve_sent(1, "refused")), False),
        # What lies ahead was sent before the clock was set back.
        (serve_sent(-60), False),
        ((*serve_sent(9), *serve_sent(-60)), True),
    ],
)
def test_a_first_release_is_in_doubt_no_longer_than_its_last_call_may_still_come(
    sent: tuple[Attempt, ...], *, doubt: bool
) -> None:
    """Nothing is asked for on its way home, so that no later answer would ever end that."""
    known = beginning(replace(FIRST, removed=True), asked="v2 100 %", asked_over=7, attempts=sent)
    assert in_doubt(turn(known, shown(Serving(), failed=frozenset({V1})))) is doubt


def test_what_was_given_up_while_it_was_made_and_serves_is_owned_up_to() -> None:
    gone = replace(FIRST, removed=True, ended_at=START)
    older = candidate(version="1", state=State.RETIRED, settled=True, pinned=ALONE)
    serves = shown(serving(v1=50, v2=50))
    look = turn(beginning(older, gone), serves)
    own_up(look)
    wanted = replace(gone, removed=False, ended_at=None)
    assert look.application == beginning(older, wanted, unproven="2")
    later = candidate(version="3", state=State.ROLLED_BACK, settled=True, removed=True)
    look = turn(beginning(gone, later), shown(serving(v2=1, v3=99)))
    own_up(look)
    assert look.application == beginning(wanted, later, unproven="2"), "one of them"
    rising = candidate(version="3", state=State.PROVISIONING, pinned=ALONE)
    for application, endpoint in (
        (beginning(gone), None),
        (beginning(gone), shown(serving(v2=0))),
        (beginning(replace(gone, settled=True), rising), serves),
        (beginning(gone, unproven="1"), serves),
        (record(gone), serves),
    ):
        look = turn(application, endpoint)
        own_up(look)
        assert look.application == application
