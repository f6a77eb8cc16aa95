"""What is sent, call by call: what each waits for, what stops it, and how soon it is sent again."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from states.attempt import Attempt
from states.difference import Change
from states.machine import State
from states.outcome import AT, REASON, STATE
from states.plan import (
    Apply,
    Call,
    Capture,
    CreateStaging,
    MoveAlias,
    Permit,
    Serve,
    SwitchFallbackOff,
    TagVersion,
)
from states.quarantine import QUARANTINED
from states.release import Application, Release
from states.setup import Applying, Setup, Upkeep
from states.wishes import wishes
from states.world import Absent, Endpoint, Grant, Serving, Size, Variables
from tests.states.records import PINNED, application, endpoint, release, stable, turn
from tests.states.story import SPEC, START, serving, version

ENTITY = "rag_chatbot-v2"
CHANGE = Change(number=1, endpoint=("it was changed",))
HOME = release(State.ROLLED_BACK, settled=False, ended_at=START - timedelta(minutes=5))
"""Version 2, on its way home."""
TRIAL = release(step=1)
SHUT = replace(TRIAL, shut=True)
COMING = release(State.PROVISIONING)
BIG = Size(workload_size="Medium")
SIZED = release(State.PROVISIONING, pinned=replace(PINNED, size=BIG))
UNTAGGED = (version(1), version(2))


def wished(
    known: Application, seen: Endpoint | Absent | None = None, **outside: object
) -> tuple[Call, ...]:
    """What is sent, on an endpoint that serves stable alone unless it is said."""
    return wishes(turn(known, endpoint() if seen is None else seen, **outside))


def serves(**weights: int) -> Endpoint:
    return endpoint(serving(**weights))


def serve(sizes: dict[str, Size] | None = None, **weights: int) -> tuple[Call, ...]:
    return (Serve(serving(**weights), sizes or {}),)


def test_what_is_as_wanted_is_left_alone() -> None:
    assert wished(application()) == ()
    assert wished(application(TRIAL), serves(v1=95, v2=5)) == ()
    assert wished(application(), alias="1", versions=(version(1),)) == ()


@pytest.mark.parametrize(
    ("one", "calls"),
    [
        (COMING, serve(v1=100, v2=0)),
        (TRIAL, serve(v1=95, v2=5)),
        (SHUT, serve(v1=100, v2=0)),
        (HOME, serve(v1=100, v2=0)),
        (release(State.PRODUCTION), serve(v1=0, v2=100)),
    ],
)
def test_the_endpoint_is_asked_for_what_the_state_wants(
    one: Release, calls: tuple[Call, ...]
) -> None:
    assert wished(application(one), serves(v1=90, v2=10)) == calls
    assert wished(application(one), replace(serves(v1=90, v2=10), updating=True)) == ()
    assert wishes(turn(application(one))) == (), "nobody knows what it serves"


def test_an_endpoint_that_is_not_there_is_made_where_it_is_ours() -> None:
    ours = application(ours=True)
    assert wished(ours, Absent()) == serve(v1=100)
    assert wished(application(), Absent()) == ()
    assert wished(replace(ours, change=CHANGE), Absent()) == ()
    assert wished(application(ours=True, stable=None), Absent()) == (), "nothing is wanted yet"


def test_a_call_is_for_the_endpoint_that_was_seen_or_for_one_that_is_not_there() -> None:
    """What somebody deletes between the look and the call is not made again by it."""

    def meant(known: Application, seen: Endpoint | Absent) -> str | None:
        [call] = wished(known, seen)
        assert isinstance(call, Serve)
        return call.on

    theirs = replace(serves(v1=60, v2=40), id="the second")
    assert meant(application(TRIAL), theirs) == "the second"
    assert meant(application(HOME, change=CHANGE), theirs) == "the second"
    assert meant(application(ours=True), Absent()) is None


def test_beside_a_change_by_others_only_a_closed_version_loses_its_users() -> None:
    for one in (TRIAL, COMING):
        assert wished(application(one, change=CHANGE), serves(v1=60, v2=40)) == ()
    for one in (HOME, SHUT):
        theirs = serves(v1=60, v2=30, v3=10)
        assert wished(application(one, change=CHANGE), theirs) == serve(v1=90, v2=0, v3=10)
        assert wished(application(one, change=CHANGE), serves(v1=90, v3=10)) == ()


def test_in_quarantine_only_a_closed_version_loses_its_users() -> None:
    theirs = serves(v1=60, v2=30, v3=10)
    why: dict[str, Any] = {"hold": f"{QUARANTINED}its passes fail", "needs_person": True}
    for one in (TRIAL, COMING, release(State.PRODUCTION)):
        for seen in (theirs, Absent()):
            assert wished(application(replace(one, **why), ours=True), seen, alias="9") == ()
    shut = application(replace(SHUT, **why), ours=True)
    assert wished(shut, theirs, alias="9") == serve(v1=90, v2=0, v3=10)
    assert wished(shut, serves(v1=90, v3=10), alias="9") == (), "nothing is provisioned"
    assert wished(shut, replace(theirs, updating=True), alias="9") == ()
    assert wished(shut, Absent(), alias="9") == ()
    assert wishes(turn(shut)) == ()
    just = Attempt(kind="serve", target=str(serving(v1=90, v2=0, v3=10)), at=START, outcome="done")
    assert wished(replace(shut, attempts=(just,)), theirs) == (), "not at every look"


EDITED = {"upkeep": Upkeep(variables=Variables(names=("TOKEN",), digest="another"))}


@pytest.mark.parametrize(
    ("one", "sent"), [(COMING, False), (TRIAL, False), (SHUT, True), (HOME, True), (None, True)]
)
def test_variables_that_were_edited_ride_on_no_change_on_the_way_up(
    one: Release | None, *, sent: bool
) -> None:
    releases = () if one is None else (one,)
    assert bool(wished(application(*releases, **EDITED), serves(v1=70, v2=30))) is sent


@pytest.mark.parametrize(
    ("one", "seen", "calls"),
    [
        (SIZED, serves(v1=100), serve({ENTITY: BIG}, v1=100, v2=0)),
        (SIZED, serves(v1=90, v2=10), serve(v1=100, v2=0)),
        (COMING, serves(v1=100), serve(v1=100, v2=0)),
        (replace(SIZED, state=State.TESTING), serves(v1=100), serve(v1=100, v2=0)),
        # Medium is 16 requests at a time.
        (
            SIZED,
            replace(serves(v1=100, v2=0), concurrency={ENTITY: 15}),
            serve({ENTITY: BIG}, v1=100, v2=0),
        ),
        (SIZED, replace(serves(v1=100, v2=0), concurrency={ENTITY: 16}), ()),
        (SIZED, replace(serves(v1=100, v2=0), concurrency={"rag_chatbot-v1": 4}), ()),
        (SIZED, replace(serves(v1=100, v2=0), concurrency={ENTITY: 15}, updating=True), ()),
    ],
)
def test_a_size_goes_with_an_entity_that_is_to_come_or_to_grow(
    one: Release, seen: Endpoint, calls: tuple[Call, ...]
) -> None:
    assert wished(application(one), seen) == calls


def test_a_size_goes_with_an_endpoint_that_is_to_be_made() -> None:
    first = replace(SIZED, pinned=replace(PINNED, size=BIG, baseline=None, incumbent=None))
    made = wished(application(first, stable=None, ours=True), Absent())
    assert made == serve({ENTITY: BIG}, v2=100)


ASKED = {"asked": "rag_chatbot-v1 95 %, rag_chatbot-v2 5 %", "asked_over": 7}


@pytest.mark.parametrize(
    ("one", "facts", "number", "calls"),
    [
        (HOME, ASKED, 7, serve(v1=100, v2=0)),
        (HOME, ASKED, 8, ()),
        (HOME, ASKED | {"asked": "rag_chatbot-v1 100 %, rag_chatbot-v2 0 %"}, 7, ()),
        (SHUT, ASKED, 7, ()),
    ],
)
def test_home_is_asked_for_while_an_answer_may_be_older_than_the_last_call(
    one: Release, facts: dict[str, object], number: int, calls: tuple[Call, ...]
) -> None:
    seen = replace(serves(v1=100, v2=0), config_version=number)
    assert wished(application(one, **facts), seen) == calls


def test_what_is_applied_waits_for_what_is_served() -> None:
    names = Variables(names=("TOKEN",), digest="this")
    one = Applying(version="1", size=BIG, former=None, over=1, asked_at=START)
    spec = replace(SPEC, setup=Setup(variables=names))
    known = application(spec=spec, upkeep=Upkeep(applying=one, variables=names))
    assert wished(known) == (Apply(serving(v1=100), "rag_chatbot-v1", BIG, ("TOKEN",)),)
    assert wished(known, serves(v1=100, v3=0)) == serve(v1=100)


@pytest.mark.parametrize(
    ("facts", "fallback", "sent"),
    [
        ({"fallback_off": True}, True, True),
        ({"fallback_off": True}, False, False),
        ({}, True, False),
        ({"fallback_off": True, "change": CHANGE}, True, False),
    ],
)
def test_a_fallback_goes_off_on_a_persons_word(
    facts: dict[str, object], *, fallback: bool, sent: bool
) -> None:
    calls = wished(application(**facts), endpoint(fallback=fallback))
    assert calls == ((SwitchFallbackOff(),) if sent else ())


def setup(**facts: object) -> Application:
    made = replace(Setup(), **facts)  # type: ignore[arg-type]
    return application(spec=replace(SPEC, setup=made))


CAPTURED = endpoint(inference_table="main.ml_models.rag_payload")


@pytest.mark.parametrize(
    ("known", "seen", "sent"),
    [
        (setup(), endpoint(), False),
        (setup(captures=True), endpoint(), True),
        (setup(captures=True), endpoint(capture_off=True), False),
        (setup(captures=True), CAPTURED, False),
        (setup(captures=True), endpoint(Serving()), False),
        (replace(setup(captures=True), change=CHANGE), endpoint(), False),
        (replace(setup(), ours=True), endpoint(), True),
        (replace(setup(), ours=True), CAPTURED, False),
        (replace(setup(), ours=True), endpoint(capture_off=True), False),
        (setup(usage_tracking=True), CAPTURED, True),
        (setup(usage_tracking=True), endpoint(usage_tracking=True), False),
        (setup(usage_tracking=True, captures=True), endpoint(capture_off=True), True),
        (setup(captures=True), Absent(), False),
    ],
)
def test_what_is_missing_of_table_and_usage_is_asked_for(
    known: Application, seen: Endpoint | Absent, *, sent: bool
) -> None:
    asked = [call for call in wished(known, seen) if not isinstance(call, Serve)]
    assert asked == ([Capture()] if sent else [])


GRANT = Grant(kind="group", name="readers", level="CAN_QUERY")
MORE = Grant(kind="group", name="others", level="CAN_VIEW")


@pytest.mark.parametrize(
    ("facts", "seen", "granted", "sent"),
    [
        ({}, endpoint(), frozenset(), True),
        ({}, endpoint(), frozenset({MORE}), True),
        ({}, endpoint(), frozenset({MORE, GRANT}), False),
        ({}, endpoint(), None, False),
        ({}, Absent(), frozenset(), False),
        ({"change": CHANGE}, endpoint(), frozenset(), False),
        ({"upkeep": Upkeep()}, endpoint(), frozenset(), False),
    ],
)
def test_permissions_are_given_until_they_were_seen(
    facts: dict[str, object], seen: Endpoint, granted: frozenset[Grant] | None, *, sent: bool
) -> None:
    known = replace(setup(permissions=(GRANT,)), upkeep=Upkeep(ungranted=True))
    known = replace(known, **facts)  # type: ignore[arg-type]
    assert wished(known, seen, granted=granted) == ((Permit((GRANT,)),) if sent else ())


WATCHED = release(State.PRODUCTION)
AT_WORK = serves(v1=0, v2=100)


@pytest.mark.parametrize(
    ("known", "alias", "seen", "moved"),
    [
        (application(), "3", endpoint(), "1"),
        (application(), Absent(), endpoint(), "1"),
        (application(), "1", endpoint(), None),
        (application(), None, endpoint(), None),
        (application(stable=None), "3", endpoint(), None),
        (application(spec=replace(SPEC, alias=None)), "3", endpoint(), None),
        (application(change=CHANGE), "3", endpoint(), None),
        (application(TRIAL), "2", serves(v1=95, v2=5), "1"),
        (application(TRIAL, change=CHANGE), "2", serves(v1=95, v2=5), None),
        (application(HOME, change=CHANGE), "2", serves(v1=100, v2=0), "1"),
        (application(HOME, change=CHANGE), "3", serves(v1=100, v2=0), None),
        (application(WATCHED), "1", AT_WORK, "2"),
        (application(WATCHED), "1", replace(AT_WORK, updating=True), None),
    ],
)
def test_the_alias_moves_last_and_back_whatever_others_changed(
    known: Application, alias: str | Absent | None, seen: Endpoint, moved: str | None
) -> None:
    calls = wished(known, seen, alias=alias)
    assert calls == (() if moved is None else (MoveAlias(moved),))


def test_going_up_the_alias_waits_for_the_traffic_and_going_back_it_does_not() -> None:
    up = wished(application(WATCHED), serves(v1=50, v2=50), alias="1")
    assert up == serve(v1=0, v2=100)
    assert wished(application(WATCHED), Absent(), alias="1") == ()
    back = wished(application(HOME), serves(v1=0, v2=100), alias="2")
    assert back == (*serve(v1=100, v2=0), MoveAlias("1"))
    assert wishes(turn(application(HOME), alias="2")) == (MoveAlias("1"),), "seen or not"


@pytest.mark.parametrize(
    ("listed", "moved"), [((2,), False), ((1, 2), True), ((), True), (None, True)]
)
def test_an_alias_cannot_name_a_version_that_the_registry_lost(
    listed: tuple[int, ...] | None, *, moved: bool
) -> None:
    versions = None if listed is None else tuple(version(one) for one in listed)
    calls = wished(application(), alias="2", versions=versions)
    assert calls == ((MoveAlias("1"),) if moved else ())


ENDED = replace(HOME, settled=True, because="aborted")
RETIRED = release(State.RETIRED, version="1", because="replaced")
GONE_HOME = application(RETIRED, ENDED, stable="3")
RESTING = serves(v3=100, v2=0)
MARK = TagVersion("2", STATE, "RolledBack")


def tagged(*known: str) -> tuple[object, ...]:
    """Versions 1 and 2, where 2 has these of its three tags already."""
    tags = {STATE: "RolledBack", REASON: "aborted", AT: "2026-11-23T12:00:00Z"}
    return (version(1), version(2, **{key: tags[key] for key in known}))


@pytest.mark.parametrize(
    ("versions", "call"),
    [
        (tagged(), MARK),
        (tagged(STATE), TagVersion("2", REASON, "aborted")),
        (tagged(STATE, REASON), TagVersion("2", AT, "2026-11-23T12:00:00Z")),
        (tagged(STATE, REASON, AT), TagVersion("1", STATE, "Retired")),
        ((version(2, **{STATE: "Production"}),), MARK),
        ((version(1),), TagVersion("1", STATE, "Retired")),
        ((replace(version(1), tags=None), replace(version(2), tags=None)), None),
        ((), None),
        (None, None),
    ],
)
def test_of_the_outcomes_one_tag_is_set_at_a_time_those_that_stop_a_start_first(
    versions: tuple[object, ...] | None, call: TagVersion | None
) -> None:
    assert wished(GONE_HOME, RESTING, versions=versions) == (() if call is None else (call,))


def refused(seconds: float, outcome: str = "refused", kind: str = "tag") -> Attempt:
    ago = timedelta(seconds=seconds)
    return Attempt(kind=kind, target="9 some=tag", at=START - ago, outcome=outcome)


LEFT = TagVersion("2", REASON, "aborted")


@pytest.mark.parametrize(
    ("facts", "call"),
    [
        ({"change": CHANGE}, None),
        ({"attempts": (refused(599),)}, None),
        ({"attempts": (refused(600),)}, LEFT),
        ({"attempts": (refused(0),)}, None),
        ({"attempts": (refused(-1),)}, LEFT),
        ({"attempts": (refused(60, "done"),)}, LEFT),
        ({"attempts": (refused(60), refused(50, "done"))}, LEFT),
        ({"attempts": (refused(60, "done"), refused(50))}, None),
        ({"attempts": (refused(60, kind="permissions"),)}, LEFT),
    ],
)
def test_beside_a_change_or_after_a_refusal_only_the_mark_that_stops_a_start_is_asked_for(
    facts: dict[str, object], call: TagVersion | None
) -> None:
    known = replace(GONE_HOME, **facts)  # type: ignore[arg-type]
    assert wished(known, RESTING, versions=tagged(STATE)) == (() if call is None else (call,))
    assert wished(known, RESTING, versions=tagged()) == (MARK,)


def test_a_tag_that_was_sent_a_moment_ago_keeps_no_other_waiting() -> None:
    sent = Attempt(kind="tag", target=MARK.target, at=START, outcome="done")
    known = replace(GONE_HOME, attempts=(sent,))
    assert wished(known, RESTING, versions=tagged()) == (LEFT,)
    # Nor does one that the registry does not take.
    often = tuple(replace(sent, at=START - timedelta(seconds=ago)) for ago in (300, 200, 100))
    known = replace(GONE_HOME, attempts=often)
    assert wished(known, RESTING, versions=tagged()) == (LEFT,)


def test_before_adoption_nothing_is_sent_to_the_endpoint_nor_to_the_registry() -> None:
    unknown = replace(GONE_HOME, adopted=False)
    assert wished(unknown, serves(v1=100), versions=tagged(), alias="1") == ()


def test_whose_passes_fail_is_sent_nothing_but_home() -> None:
    held = replace(TRIAL, hold=f"{QUARANTINED}it fails")
    assert wished(application(held), serves(v1=100)) == ()
    home = replace(HOME, hold=f"{QUARANTINED}it fails")
    assert wished(application(home), serves(v1=0, v2=100)) == serve(v1=100, v2=0)


def test_each_resource_gets_its_call_and_the_tag_comes_last() -> None:
    staged = replace(COMING, pinned=replace(PINNED, staging="elsewhere"))
    known = application(
        replace(RETIRED, version="0"),
        staged,
        spec=replace(SPEC, setup=Setup(captures=True, permissions=(GRANT,))),
        upkeep=Upkeep(ungranted=True),
        fallback_off=True,
    )
    seen = replace(serves(v1=100, v9=0), fallback=True)
    facts = {"staging": Absent(), "granted": frozenset(), "alias": "0"}
    calls = wished(known, seen, versions=(version(0), version(1)), **facts)
    assert calls == (
        *serve(v1=100),
        SwitchFallbackOff(),
        Permit((GRANT,)),
        MoveAlias("1"),
        CreateStaging("elsewhere", serving(v2=100), "rag-chatbot/2/1", 1),
        TagVersion("0", STATE, "Retired"),
    )


def sent(call: Call, *ago: float) -> tuple[Attempt, ...]:
    """The same call, so many seconds ago, oldest first."""
    return tuple(
        Attempt(
            kind=call.kind, target=call.target, at=START - timedelta(seconds=one), outcome="done"
        )
        for one in ago
    )


UP = Serve(serving(v1=95, v2=5))


@pytest.mark.parametrize(
    ("ago", "again"),
    [
        ((), True),
        # Five seconds after the first, ten after the second; then no more within ten minutes.
        ((4.9,), False),
        ((5,), True),
        ((20, 9.9), False),
        ((20, 10), True),
        ((100, 80, 60), False),
        ((700, 599, 300), False),
        ((700, 600, 300), True),
        # Twenty seconds after each that follows.
        ((1100, 900, 19.9), False),
        ((1100, 900, 20), True),
        ((1100, 1000, 900, 19.9), False),
        ((1100, 1000, 900, 20), True),
        # What lies ahead was sent before the clock was set back.
        ((-1,), True),
        ((5, -1), True),
        ((0,), False),
    ],
)
def test_a_call_without_effect_is_sent_again_more_and_more_slowly(
    ago: tuple[float, ...], *, again: bool
) -> None:
    known = application(TRIAL, attempts=sent(UP, *ago))
    assert wished(known, serves(v1=100, v2=0)) == ((UP,) if again else ())


def test_other_calls_keep_nobody_waiting() -> None:
    other = Serve(serving(v1=100, v2=0))
    known = application(TRIAL, attempts=sent(other, 1))
    assert wished(known, serves(v1=100, v2=0)) == (UP,)
    alike = Attempt(kind="alias", target=UP.target, at=START, outcome="done")
    assert wished(application(TRIAL, attempts=(alike,)), serves(v1=100, v2=0)) == (UP,)


BACK = Serve(serving(v1=100, v2=0))


@pytest.mark.parametrize("one", [HOME, SHUT])
@pytest.mark.parametrize(
    ("ago", "again"),
    [
        ((4.9,), False),
        ((5,), True),
        ((20, 9.9), False),
        ((20, 10), True),
        ((100, 80, 59.9), False),
        ((100, 80, 60), True),
        ((300, 240, 180, 120, 60), True),
    ],
)
def test_the_way_back_is_sent_for_as_long_as_it_takes(
    one: Release, ago: tuple[float, ...], *, again: bool
) -> None:
    known = application(one, attempts=sent(BACK, *ago))
    assert wished(known, serves(v1=90, v2=10)) == ((BACK,) if again else ())


def test_of_the_way_back_are_alias_and_gateway_and_nothing_else() -> None:
    often = (300, 240, 180, 120, 60)
    alias, off, grant = MoveAlias("1"), SwitchFallbackOff(), Permit((GRANT,))
    known = application(
        stable(),
        HOME,
        spec=replace(SPEC, setup=Setup(permissions=(GRANT,))),
        upkeep=Upkeep(ungranted=True),
        fallback_off=True,
        attempts=(*sent(alias, *often), *sent(off, *often), *sent(grant, *often)),
    )
    seen = replace(serves(v1=100, v2=0), fallback=True)
    assert wished(known, seen, alias="2", granted=frozenset()) == (off, alias)
    rest = replace(known, releases=(stable(),))
    assert wished(rest, endpoint(fallback=True), alias="2", granted=frozenset()) == ()


@pytest.mark.parametrize("one", [HOME, SHUT])
def test_the_way_back_waits_for_no_call_that_was_sent_before_users_were_given_away(
    one: Release,
) -> None:
    """That one is over: provisioning at 0 %, clearing up, or an earlier way back."""
    before = (*sent(BACK, 300, 200, 30), *sent(UP, 10))
    known = application(one, attempts=before)
    assert wished(known, serves(v1=95, v2=5)) == (BACK,)
    again = application(one, attempts=(*before, *sent(BACK, 4.9)))
    assert wished(again, serves(v1=95, v2=5)) == ()
