"""How releases begin, whole: what is written down of a version, a release, and told."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from policies.admission import Rules
from policies.calendar import Window
from policies.fuse import Minute
from policies.replay import Replay
from states.intake import (
    begin,
    heed_aborted,
    mark_tagged,
    note_granted,
    notice,
)
from states.machine import State, Trigger
from states.pinned import Pinned
from states.plan import Event
from states.release import Application, Order, Release
from states.setup import Setup, Upkeep
from states.spec import Spec
from states.turn import Turn
from states.world import Absent, Endpoint, Grant, ModelVersion, Serving, Share, Size
from tests.states.byhand import NAME, NOW, candidate, event, record, shown, turn
from tests.states.records import moved, told
from tests.states.story import MODEL, QUICK, SPEC, serving, version
from tests.states.test_desired import PINNED, STABLE

Facts = dict[str, Any]
HOUR = timedelta(hours=1)
NEW = Application(name="rag-chatbot", spec=SPEC)
THEIRS = Share(model="main.x.theirs", version="7", weight=0)
WAITS = Release(application="rag-chatbot", version="2", since=NOW - HOUR)
READY = "READY, with a signature and its tags"
BOTH = (version(1), version(2))
UNSEEN_TRAFFIC = "as it looks now, the endpoint's traffic was not seen: steps as configured"


def ours(number: str, weight: int) -> Share:
    return Share(model=MODEL, version=number, weight=weight)


# A version.


def test_each_version_that_is_new_gets_a_release() -> None:
    marked = version(4, **{"headgate.state": "RolledBack"})
    other = version(5, **{"headgate.state": "Production"})
    unlooked = replace(version(6), tags=None)
    made = turn(
        record(watermark=2),
        shown(),
        versions=(
            version(1),
            version(2),
            version(3, "PENDING_REGISTRATION"),
            marked,
            other,
            unlooked,
        ),
    )
    notice(made)
    found = [
        Release(
            application="rag-chatbot",
            version=number,
            since=NOW,
            because=f"version {number} of {MODEL} is {status}",
        )
        for number, status in (("3", "PENDING_REGISTRATION"), ("5", "READY"))
    ]
    assert made.application == record(*found, watermark=2)
    assert made.events == [event("release.registered", one, one.because) for one in found]
    again = turn(made.application, shown(), versions=made.world.versions)
    notice(again)
    assert (again.application, again.events) == (made.application, [])
    unseen = turn(record(), shown())
    notice(unseen)
    assert unseen.application == record()


def test_it_is_noted_which_versions_the_registry_tells_the_end_of() -> None:
    ended = candidate(state=State.ROLLED_BACK, settled=True, because="it errs")
    tags = {
        "headgate.state": "RolledBack",
        "headgate.reason": "it errs",
        "headgate.at": "2026-11-23T12:00:00Z",
    }
    for seen, tagged in (
        (tags, True),
        ({**tags, "x": "y"}, True),
        ({**tags, "headgate.reason": ""}, False),
    ):
        made = turn(record(ended), shown(), versions=(version(1), version(2, **seen)))
        mark_tagged(made)
        assert made.application == record(replace(ended, tagged=tagged))
    for versions in (None, (version(1),), (replace(version(2), tags=None),)):
        made = turn(record(ended), shown(), versions=versions)
        mark_tagged(made)
        assert made.application == record(ended)


def test_permissions_that_were_given_are_noted_once() -> None:
    grants = (Grant("group", "ops", "CAN_QUERY"), Grant("user", "ada", "CAN_VIEW"))
    spec = replace(SPEC, setup=Setup(permissions=grants))
    asked = record(spec=spec, upkeep=Upkeep(ungranted=True, applied=3))
    more = frozenset({*grants, Grant("user", "eve", "CAN_MANAGE")})
    made = turn(asked, shown(), granted=more)
    note_granted(made)
    assert made.application == replace(asked, upkeep=Upkeep(ungranted=False, applied=3))
    why = f"2 permissions seen on {NAME}: later changes are kept"
    assert made.events == [event("endpoint.permitted", STABLE, why)]
    for known, seen in (
        (made.application, more),
        (asked, None),
        (asked, frozenset(grants[:1])),
    ):
        same = turn(known, shown(), granted=seen)
        note_granted(same)
        assert (same.application, same.events) == (known, [])


# A release.


def beginning(
    *releases: Release,
    seen: Endpoint | Absent | None = None,
    versions: tuple[ModelVersion, ...] | None = BOTH,
    facts: Facts | None = None,
    **outside: object,
) -> Turn:
    made = turn(record(*releases, **(facts or {})), seen or shown(), versions=versions, **outside)
    begin(made)
    return made


def admitted(release: Release, because: str, pinned: Pinned) -> tuple[Release, list[Event]]:
    """What becomes of a release that is let in, and the line that says so."""
    after = replace(
        release,
        state=State.PROVISIONING,
        settled=False,
        because=because,
        since=NOW,
        pinned=pinned,
        hold=None,
    )
    arrow = moved(Trigger.ADMIT, State.REGISTERED, State.PROVISIONING, because)
    return after, [arrow]


PLAN = replace(PINNED, counted=SPEC.counted)


def came(made: Turn) -> tuple[Release, list[Event]]:
    """What became of version 2 beside all else, which stays."""
    release = made.application.newest("2")
    assert release is not None
    assert made.application.newest("1") == STABLE
    return release, made.events


def test_what_is_admissible_is_let_in_under_the_plan_of_today() -> None:
    assert came(beginning(WAITS)) == admitted(WAITS, f"{READY}; {UNSEEN_TRAFFIC}", PLAN)
    paced = beginning(WAITS, requests_per_second=100.0)
    told_pace = "as it looks now, steps as configured, at 100 requests/s"
    assert came(paced) == admitted(WAITS, f"{READY}; {told_pace}", PLAN)
    minutes = (Minute(ends_at=NOW, requests=12_000, errors=0),)
    busy = beginning(WAITS, facts={"minutes": minutes})
    told_pace = "as it looks now, steps as configured, at 200 requests/s"
    assert came(busy) == admitted(WAITS, f"{READY}; {told_pace}", PLAN)


def test_what_was_removed_or_ended_before_begins_anew() -> None:
    before = replace(WAITS, ended_at=NOW - HOUR, removed=True, hold="waits", ask="x")
    after, line = admitted(before, f"{READY}; {UNSEEN_TRAFFIC}", PLAN)
    expected = replace(after, ended_at=None, removed=False, ask=None)
    freed = told("release.freed", "no longer: waits")
    assert came(beginning(before)) == (expected, [freed, *line])


def test_all_that_is_configured_is_pinned() -> None:
    replay = Replay(requests=1_200)
    spec = replace(
        SPEC,
        admission=Rules(approval="before_canary"),
        staging="rag-staging",
        replay=replay,
        tests_table="main.x.golden",
        setup=Setup(size=Size("Medium")),
    )
    made = beginning(WAITS, facts={"spec": spec})
    pinned = replace(
        PLAN,
        size=Size("Medium"),
        approval="before_canary",
        staging="rag-staging",
        replay=replay,
        tests_table="main.x.golden",
    )
    because = (
        f"{READY}; {UNSEEN_TRAFFIC}; up to 1,200 recorded requests are replayed first; tested on "
        f"staging endpoint rag-staging before {NAME} has it"
    )
    assert came(made) == admitted(WAITS, because, pinned)


def test_a_way_back_asks_nobody_and_compares_nothing() -> None:
    undo = replace(WAITS, ordered="undo")
    spec = replace(
        SPEC,
        admission=Rules(approval="before_canary", required_tags=("git_sha",)),
        staging="rag-staging",
        replay=Replay(),
        rollout=replace(QUICK, hold_back=5),
    )
    unsigned = replace(version(2), has_signature=None, tags=None)
    made = beginning(undo, versions=(version(1), unsigned), facts={"spec": spec})
    whole = replace(QUICK, steps=(100,), hold_back=0, bake=timedelta())
    pinned = replace(PLAN, rollout=whole, proven=True)
    because = (
        f"{READY}; it was stable before, and gets all users as soon as its golden queries pass"
    )
    assert came(made) == admitted(undo, because, pinned)


@pytest.mark.parametrize(("unproven", "incumbent"), [(None, None), ("1", "1"), ("2", None)])
def test_a_first_release_has_nothing_to_compare_with(
    unproven: str | None, incumbent: str | None
) -> None:
    facts = {"stable": None, "unproven": unproven}
    spec = replace(SPEC, replay=Replay(), rollout=replace(QUICK, hold_back=5))
    made = beginning(WAITS, facts={**facts, "spec": spec})
    first = replace(QUICK, steps=(100,), hold_back=0)
    pinned = replace(PLAN, baseline=None, incumbent=incumbent, rollout=first)
    because = f"{READY}; first release: nothing to compare with"
    assert came(made) == admitted(WAITS, because, pinned)


def test_a_version_is_as_big_as_the_one_that_serves_now() -> None:
    sizes = {"rag_chatbot-v1": Size("Large", scale_to_zero=True)}
    made = beginning(WAITS, seen=shown(sizes=sizes))
    because = f"{READY}; {UNSEEN_TRAFFIC}; sized as version 1 is now: Large on CPU"
    assert came(made) == admitted(WAITS, because, replace(PLAN, size=Size("Large")))
    sleeps = replace(SPEC, setup=Setup(scale_to_zero=True))
    made = beginning(WAITS, seen=shown(sizes=sizes), facts={"spec": sleeps})
    because = f"{because}, scales to zero"
    pinned = replace(PLAN, size=Size("Large", scale_to_zero=True))
    assert came(made) == admitted(WAITS, because, pinned)


def held(release: Release, why: str, *, asks: bool = True) -> tuple[Release, list[Event]]:
    after = replace(release, hold=why, needs_person=asks)
    return after, [told("release.held", why, level="warning")]


LACKING = "required tags are missing: git_sha, data; set them on the version"
TAGGED = replace(SPEC, admission=Rules(required_tags=("git_sha", "data")))
SECRETIVE = replace(SPEC, environment_declared=False)
UNDECLARED = (
    "serving.environment of rag-chatbot is not declared: Databricks does not show the variables of "
    "a running endpoint, and a change replaces them; state them, or `environment: none`"
)
SHUT = replace(SPEC, admission=Rules(windows=(Window.parse("Tue 09:00-17:00"),)))


@pytest.mark.parametrize(
    ("spec", "versions", "why", "asks"),
    [
        (SPEC, (version(1),), "version 2 is not listed: abort it, unless it is to come", True),
        (TAGGED, BOTH, LACKING, True),
        (SECRETIVE, BOTH, UNDECLARED, True),
        (
            SHUT,
            BOTH,
            "outside its release windows (Tue 09:00-17:00): opens Tue 2026-11-24 09:00 UTC",
            False,
        ),
    ],
)
def test_what_may_not_begin_is_held(
    spec: Spec,
    versions: tuple[ModelVersion, ...],
    why: str,
    *,
    asks: bool,
) -> None:
    made = beginning(WAITS, versions=versions, facts={"spec": spec})
    assert came(made) == held(WAITS, why, asks=asks)


def test_nothing_begins_beside_another_models_entity_whose_variables_would_be_lost() -> None:
    beside = Serving({"theirs": THEIRS})
    seen = shown(Serving({**serving(v1=100).shares, **beside.shares}))
    silent = replace(SPEC, others_declared=False)
    made = beginning(WAITS, seen=seen, facts={"carried": beside, "spec": silent})
    why = (
        f"endpoint {NAME} has entities of other models (theirs): Databricks does not show their "
        "variables in plain text, and a change drops them; state "
        "`serving.others_environment: none` if they have none, or take them off the endpoint"
    )
    assert came(made) == held(WAITS, why)
    for facts in ({"carried": beside}, {"spec": silent}):
        after, _ = came(beginning(WAITS, seen=seen, facts=facts))
        assert after.state is State.PROVISIONING


def test_a_full_endpoint_holds() -> None:
    names = {f"theirs-{number}": THEIRS for number in range(14)}
    served = Serving({**serving(v1=100).shares, **names})
    made = beginning(WAITS, seen=shown(served), facts={"carried": Serving(names)})
    why = (
        f"endpoint {NAME} has 15 served entities, and Databricks takes 15: 14 at 0 % are not "
        "Headgate's to remove; remove one of them by hand"
    )
    assert came(made) == held(WAITS, why)


@pytest.mark.parametrize(
    ("release", "outside"),
    [
        (WAITS, {"versions": None}),
        (WAITS, {"facts": {"adopted": False}}),
        (WAITS, {"facts": {"hold": "changed by others"}}),
        (replace(WAITS, order=Order.PAUSE), {}),
        (WAITS, {"versions": (version(1), version(2, "PENDING_REGISTRATION"))}),
        (WAITS, {"versions": (replace(version(1), tags=None), version(2))}),
    ],
)
def test_it_waits_without_a_word(release: Release, outside: Facts) -> None:
    made = beginning(release, **outside)
    assert came(made) == (release, [])


def test_nothing_begins_on_an_endpoint_that_is_unseen() -> None:
    made = turn(record(WAITS), None, versions=(version(1),))
    begin(made)
    assert came(made) == (WAITS, [])


def refused(release: Release, trigger: Trigger, because: str) -> tuple[Release, Event]:
    after = replace(
        release, state=State.RETIRED, settled=True, because=because, since=NOW, hold=None
    )
    arrow = moved(trigger, State.REGISTERED, State.RETIRED, because, version=release.version)
    return after, arrow


def test_what_can_never_begin_is_retired_though_the_application_is_held() -> None:
    failed = (version(1), version(2, "FAILED_REGISTRATION"))
    after, line = refused(WAITS, Trigger.REFUSE, "its registration failed: register it anew")
    assert came(beginning(WAITS, versions=failed)) == (after, [line])
    made = beginning(WAITS, versions=failed, facts={"hold": "changed by others"})
    assert came(made) == (after, [line])


def test_what_was_aborted_while_it_waited_is_retired() -> None:
    aborted = replace(WAITS, order=Order.ABORT, hold="waits")
    others = (
        candidate(version="3", state=State.TESTING, order=Order.ABORT),
        replace(WAITS, version="4"),
    )
    made = turn(record(aborted, *others), None)
    heed_aborted(made)
    after, line = refused(aborted, Trigger.REFUSE, "aborted before it began")
    assert made.application == record(after, *others)
    assert made.events == [line]


def waiting(number: int, **facts: object) -> Release:
    return replace(WAITS, version=str(number), **facts)  # type: ignore[arg-type]


def states(made: Turn) -> dict[str, str]:
    return {one.version: one.state.value for one in made.application.releases}


def line_of(made: Turn) -> list[str]:
    return list(states(made).values())


MANY = tuple(version(number) for number in range(1, 6))
EVERY = {"spec": replace(SPEC, admission=Rules(order="every"))}


def test_the_newest_begins_and_what_it_overtakes_is_superseded() -> None:
    made = beginning(waiting(2), waiting(3), waiting(4), versions=MANY)
    after = {"1": "Production", "2": "Retired", "3": "Retired", "4": "Provisioning"}
    assert states(made) == after
    assert [one.because for one in made.events[1:]] == ["overtaken by version 4"] * 2
    assert [one.fields["trigger"] for one in made.events] == ["admit", "supersede", "supersede"]
    stable = replace(STABLE, version="3")
    old = beginning(waiting(2), stable, facts={"stable": "3"}, versions=MANY)
    assert [one.because for one in old.events] == ["overtaken by version 3"]
    same = waiting(3, attempt=2)
    assert states(beginning(stable, same, facts={"stable": "3"}, versions=MANY))["3"] != "Retired"


def test_every_version_has_its_turn_oldest_first_where_that_is_wished() -> None:
    made = beginning(waiting(2), waiting(3), versions=MANY, facts=EVERY)
    assert states(made) == {"1": "Production", "2": "Provisioning", "3": "Registered"}
    assert len(made.events) == 1
    early = (version(1), version(2, "PENDING_REGISTRATION"), version(3), version(4))
    made = beginning(waiting(2), waiting(3), waiting(4), versions=early, facts=EVERY)
    why = "waits for version 2, which comes first"
    assert made.application.releases[1:] == (
        waiting(2),
        waiting(3, hold=why),
        waiting(4, hold=why),
    )
    assert [one.because for one in made.events] == [why, why]
    for live in ("2", "4"):
        on_trial = candidate(version=live, state=State.TESTING)
        made = beginning(on_trial, waiting(3), versions=MANY, facts=EVERY)
        assert (states(made)["3"], made.events) == ("Registered", [])


def test_what_was_asked_for_by_name_comes_first_and_is_overtaken_by_none() -> None:
    asked, later = waiting(4, ordered="release"), waiting(2, ordered="retry", since=NOW)
    made = beginning(later, waiting(3), asked, versions=MANY)
    assert line_of(made) == ["Production", "Registered", "Retired", "Provisioning"]
    made = beginning(waiting(2, ordered="undo", since=NOW), asked, versions=MANY)
    assert line_of(made) == ["Production", "Provisioning", "Registered"]
    paused = waiting(2, ordered="retry", order=Order.PAUSE)
    made = beginning(paused, waiting(3), waiting(4), versions=MANY, facts=EVERY)
    assert line_of(made) == ["Production", "Registered", "Provisioning", "Registered"]
