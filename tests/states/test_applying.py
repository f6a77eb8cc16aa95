"""`headgate apply` by hand: what is refused, when it is in effect, and what its watch comes to."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.fuse import Fuse, Minute, fuse
from states.applying import apply, call, edited, refusal, undeclared
from states.attempt import Attempt
from states.difference import Change
from states.machine import State
from states.plan import Apply
from states.release import Application
from states.setup import Applying, Setup, Upkeep, Wish
from states.turn import Turn
from states.world import Absent, Endpoint, Serving, Share, Size, Variables
from tests.states.byhand import NAME, NOW, beginning, candidate, event, record, shown, turn
from tests.states.story import SPEC, serving
from tests.states.test_desired import STABLE

V1 = "rag_chatbot-v1"
SMALL, MEDIUM = Size("Small"), Size("Medium")
SLEEPS = Size("Medium", scale_to_zero=True)
PLAIN, TUNED = Variables(("TOP_K",), "a"), Variables(("LANG", "TOP_K"), "b")
CONFIGURED = replace(SPEC, setup=Setup(size=MEDIUM, variables=TUNED))
WISH = Wish(number=1, size=MEDIUM, variables=TUNED)
WAS_SMALL = shown(sizes={V1: SMALL})
IS_MEDIUM = shown(sizes={V1: MEDIUM}, config_version=8)
CHANGED = Change(number=1, endpoint=("something",))
MINUTES = timedelta(minutes=1)
BAKE = 5 * MINUTES
STARTED = "version 1 is given Medium on CPU, and its variables as configured"


def running(upkeep: Upkeep | None = None, /, **facts: object) -> Application:
    """A version that serves, and the wish for another size and variables."""
    upkeep = Upkeep(variables=PLAIN) if upkeep is None else upkeep
    given = {"spec": CONFIGURED, "wish": WISH, "config_version": 7, "upkeep": upkeep}
    return record(**(given | facts))


def looked(application: Application, endpoint: Endpoint | Absent | None) -> Turn:
    look = turn(application, endpoint)
    apply(look)
    return look


GIVEN = Applying(version="1", size=MEDIUM, former=SMALL, over=7, asked_at=NOW)
TAKEN = Upkeep(variables=PLAIN, applied=1, applying=GIVEN)


def test_a_wish_is_taken_up_once() -> None:
    look = looked(running(), WAS_SMALL)
    assert look.application == running(TAKEN)
    assert look.events == [event("apply.started", STABLE, STARTED)]
    again = looked(look.application, WAS_SMALL)
    assert (again.application, again.events) == (look.application, [])
    for application, endpoint in ((running(), None), (running(wish=None), WAS_SMALL)):
        look = looked(application, endpoint)
        assert (look.application, look.events) == (application, [])


@pytest.mark.parametrize(
    ("setup", "endpoint", "size", "former"),
    [
        (Setup(size=MEDIUM, variables=TUNED), WAS_SMALL, MEDIUM, SMALL),
        (Setup(size=MEDIUM, variables=TUNED), shown(), MEDIUM, None),
        (Setup(size=SMALL, variables=TUNED), WAS_SMALL, SMALL, SMALL),
        (Setup(size=MEDIUM, variables=PLAIN), WAS_SMALL, MEDIUM, SMALL),
        (Setup(variables=TUNED), WAS_SMALL, SMALL, SMALL),
        (Setup(variables=TUNED, scale_to_zero=True), shown(), Size(scale_to_zero=True), None),
        (Setup(variables=PLAIN, scale_to_zero=True), IS_MEDIUM, SLEEPS, MEDIUM),
        (Setup(variables=PLAIN), shown(sizes={V1: SLEEPS}), MEDIUM, SLEEPS),
        (Setup(variables=TUNED), shown(), Size(), None),
    ],
)
def test_it_is_given_what_is_stated_else_what_it_has(
    setup: Setup, endpoint: Endpoint, size: Size, former: Size | None
) -> None:
    wish = Wish.of(setup, number=3)
    stuck = Upkeep(variables=PLAIN, applied=2, stuck="it failed")
    spec = replace(SPEC, setup=setup)
    look = looked(running(stuck, spec=spec, wish=wish, hold="it failed"), endpoint)
    given = replace(GIVEN, size=size, former=former)
    wanted = Upkeep(variables=PLAIN, applied=3, applying=given)
    assert look.application == running(wanted, spec=spec, wish=wish, hold="it failed")
    told = f"version 1 is given {size}, and its variables as configured"
    assert look.events == [event("apply.started", STABLE, told)]


def test_what_runs_as_configured_is_left_alone() -> None:
    stuck = Upkeep(variables=TUNED, stuck="it failed")
    look = looked(running(stuck, hold="it failed"), IS_MEDIUM)
    assert look.application == running(Upkeep(variables=TUNED, applied=1), hold="it failed")
    assert look.events == [event("apply.finished", STABLE, "version 1 runs as configured already")]


ANOTHER = (
    "the daemon runs with another configuration than the one that was shown: restart it with the "
    "edited file, and apply again"
)
AT_REST = f"endpoint {NAME} is being changed: apply once it is at rest"
UNDECLARED = (
    "serving.environment of rag-chatbot is not declared: Databricks does not show the variables of "
    "a running endpoint, and a change replaces them; state them, or `environment: none`"
)


@pytest.mark.parametrize(
    ("facts", "endpoint", "why"),
    [
        ({"hold": "something"}, WAS_SMALL, "rag-chatbot is held: something"),
        ({"spec": replace(CONFIGURED, environment_declared=False)}, WAS_SMALL, UNDECLARED),
        ({"wish": replace(WISH, size=SMALL)}, WAS_SMALL, ANOTHER),
        ({"wish": replace(WISH, scale_to_zero=True)}, WAS_SMALL, ANOTHER),
        ({"wish": replace(WISH, variables=PLAIN)}, shown(updating=True), ANOTHER),
        ({}, shown(updating=True), AT_REST),
        ({}, shown(serving(v1=100, v2=0)), AT_REST),
        ({}, Absent(), AT_REST),
    ],
)
def test_what_cannot_be_applied_is_refused_with_its_reason(
    facts: dict[str, object], endpoint: Endpoint | Absent, why: str
) -> None:
    stuck = Upkeep(variables=PLAIN, stuck="it failed")
    look = looked(running(stuck, **facts), endpoint)
    assert look.application == running(replace(stuck, applied=1), **facts)
    assert look.events == [event("order.refused", STABLE, f"cannot apply: {why}", "warning")]


CANARY = candidate(state=State.CANARY, step=1)
EDITED = (
    "serving.environment was edited since the running version was given its variables, which any "
    "change would replace: put them back, or let `headgate apply rag-chatbot` do it while no "
    "release is under way, and watch it"
)


@pytest.mark.parametrize(
    ("application", "why"),
    [
        (record(), None),
        (record(CANARY), "rag-chatbot/2 is under way: wait until it has ended, or abort it"),
        (
            beginning(),
            "no version of rag-chatbot serves yet: its first release is set up as configured",
        ),
        (
            record(adopted=False),
            "no version of rag-chatbot serves yet: its first release is set up as configured",
        ),
        (beginning(unproven="1"), None),
        (
            record(upkeep=TAKEN, hold="something"),
            "what was applied to version 1 before is still watched",
        ),
        (record(hold="something"), "rag-chatbot is held: something"),
        (record(hold="it failed", upkeep=Upkeep(stuck="it failed")), None),
        (record(hold="another", upkeep=Upkeep(stuck="it failed")), "rag-chatbot is held: another"),
        (record(hold=EDITED), None),
        (record(hold=f"XX{EDITED}"), f"rag-chatbot is held: XX{EDITED}"),
    ],
)
def test_why_nothing_can_be_applied_is_told_of_the_record(
    application: Application, why: str | None
) -> None:
    assert refusal(application) == why


NOT_STATED = replace(CONFIGURED, environment_declared=False)


def test_variables_are_known_where_they_are_declared_or_ours() -> None:
    assert undeclared(record(spec=NOT_STATED)) == UNDECLARED
    assert undeclared(record(spec=NOT_STATED, ours=True)) is None
    assert undeclared(record(spec=CONFIGURED)) is None


def test_variables_of_other_models_entities_are_known_where_they_are_declared_to_be_none() -> None:
    silent = replace(CONFIGURED, others_declared=False)
    theirs = Share(model="main.x.theirs", version="7", weight=0)
    outside = Share(model="gpt-4o", version="", weight=0)
    carried = Serving({"theirs": theirs, "also": theirs, "outside": outside})
    why = (
        f"endpoint {NAME} has entities of other models (also, theirs): Databricks does not show "
        "their variables in plain text, and a change drops them; state "
        "`serving.others_environment: none` if they have none, or take them off the endpoint"
    )
    assert undeclared(record(spec=silent, carried=carried)) == why
    assert undeclared(record(spec=silent, carried=carried, ours=True)) == why
    assert undeclared(record(spec=CONFIGURED, carried=carried)) is None
    assert undeclared(record(spec=silent, carried=Serving({"outside": outside}))) is None
    assert undeclared(record(spec=silent, carried=serving(v7=0))) is None


@pytest.mark.parametrize("state", list(State))
def test_variables_that_were_edited_stop_what_would_replace_them(state: State) -> None:
    climbing = state in (State.PROVISIONING, State.TESTING, State.CANARY)
    resting = state in (State.REGISTERED, State.RETIRED)
    known = Upkeep(variables=PLAIN)
    live = candidate(state=state, step=1)
    facts = {"spec": CONFIGURED, "upkeep": known}
    assert edited(record(live, **facts)) == (EDITED if climbing or resting else None)
    assert edited(record(live, spec=CONFIGURED, upkeep=Upkeep(variables=TUNED))) is None
    unknown = {"spec": NOT_STATED, "upkeep": Upkeep()}
    assert edited(record(live, **unknown)) == (UNDECLARED if climbing else None)
    assert edited(record(live, spec=CONFIGURED, upkeep=Upkeep())) is None
    assert edited(beginning(live, **facts)) is None


TARGET = Apply(serving(v1=100), V1, MEDIUM, ("LANG", "TOP_K"))


@pytest.mark.parametrize(
    ("application", "endpoint", "wanted"),
    [
        (running(TAKEN), WAS_SMALL, TARGET),
        (running(), WAS_SMALL, None),
        (running(replace(TAKEN, applying=replace(GIVEN, seen_at=NOW))), WAS_SMALL, None),
        (running(TAKEN, change=CHANGED), WAS_SMALL, None),
        (running(TAKEN), shown(updating=True), None),
        (running(TAKEN), shown(serving(v1=99, v2=1)), None),
        (running(TAKEN), Absent(), None),
        (beginning(upkeep=TAKEN), WAS_SMALL, None),
    ],
)
def test_it_is_asked_for_while_the_endpoint_rests(
    application: Application, endpoint: Endpoint | Absent, wanted: Apply | None
) -> None:
    assert call(turn(application, endpoint)) == wanted


SENT = replace(GIVEN, asked_at=NOW - 20 * MINUTES, sent=True)
BACK = replace(SENT, size=SMALL, former=None, back="users were harmed")


def following(one: Applying = SENT, /, **facts: object) -> Application:
    return running(Upkeep(variables=TUNED, applied=1, applying=one), **facts)


def tried(minutes: float, outcome: str = "done", kind: str = "apply") -> Attempt:
    at = NOW - minutes * MINUTES
    return Attempt(kind=kind, target=TARGET.target, at=at, outcome=outcome)


HOUR = tuple(
    Minute(ends_at=NOW - one * MINUTES, requests=1000, errors=2) for one in reversed(range(60))
)


@pytest.mark.parametrize("minutes", [(), HOUR])
@pytest.mark.parametrize("attempts", [(), (tried(1),), (tried(1, "open"),)])
def test_once_it_is_in_effect_it_is_watched(
    attempts: tuple[Attempt, ...], minutes: tuple[Minute, ...]
) -> None:
    before = following(attempts=attempts, minutes=minutes)
    look = looked(before, IS_MEDIUM)
    watched = replace(SENT, seen_at=NOW, fuse=fuse(minutes, NOW, 100))
    assert look.application == following(watched, attempts=attempts, minutes=minutes)
    assert look.events == [
        event(
            "endpoint.update",
            STABLE,
            "version 1 runs with Medium on CPU, and with its variables as configured",
            weights={V1: 100},
            size="Medium on CPU",
            variables=["LANG", "TOP_K"],
            config_version=8,
        )
    ]
    assert looked(before, shown(config_version=8)).events == look.events, "where no size is told"


def test_what_was_refused_last_is_not_taken_for_sent_once_the_refusal_is_forgotten() -> None:
    look = looked(following(attempts=(tried(5), tried(0.5, "refused"))), IS_MEDIUM)
    assert look.events == []
    later = looked(replace(look.application, attempts=()), IS_MEDIUM)
    assert later.events == []


@pytest.mark.parametrize("minutes", [0, 19.99])
def test_a_call_that_the_record_would_remember_and_does_not_was_never_sent(minutes: float) -> None:
    """An earlier Headgate wrote down what was planned."""
    planned = replace(SENT, asked_at=NOW - minutes * MINUTES)
    look = looked(following(planned), replace(IS_MEDIUM, update_failed=True))
    assert look.application == following(replace(planned, sent=False))
    assert look.events == []


def test_a_call_that_was_noted_stays_noted_though_the_record_forgets_it() -> None:
    """As where the clock was set, which moves what it tells of calls out of its memory."""
    noted = replace(SENT, gives=TUNED, asked_at=NOW)
    look = looked(following(noted), replace(IS_MEDIUM, updating=True))
    assert look.application == following(noted)


@pytest.mark.parametrize("ahead", [-60, -5, 5, 60])
def test_its_minutes_are_held_against_a_time_of_their_own_clock(ahead: int) -> None:
    """Else a record that is an hour ahead would see no harm, and take its metrics to be silent."""
    hour = tuple(replace(one, ends_at=one.ends_at + ahead * MINUTES) for one in HOUR)
    look = turn(following(minutes=hour), IS_MEDIUM, ahead=ahead * MINUTES)
    apply(look)
    setting = look.application.upkeep.applying.fuse  # type: ignore[union-attr]
    assert setting is not None
    assert setting.set_at == NOW + ahead * MINUTES


def test_weights_are_told_by_name() -> None:
    kept = candidate(state=State.ROLLED_BACK, settled=True, ended_at=NOW)
    served = serving(v2=0, v1=100)
    look = looked(record(kept, **_facts(following())), shown(served, config_version=8))
    [told] = look.events
    assert list(told.fields["weights"].items()) == [(V1, 100), ("rag_chatbot-v2", 0)]  # type: ignore[attr-defined]


def _facts(application: Application) -> dict[str, object]:
    return {"spec": application.spec, "upkeep": application.upkeep, "wish": application.wish}


@pytest.mark.parametrize(
    ("one", "endpoint", "attempts"),
    [
        (replace(SENT, sent=False), IS_MEDIUM, ()),
        (replace(SENT, sent=False), IS_MEDIUM, (tried(5), tried(0.5, "refused"))),
        (SENT, replace(IS_MEDIUM, config_version=7), ()),
        (SENT, replace(IS_MEDIUM, updating=True), ()),
        (SENT, replace(IS_MEDIUM, sizes={V1: SMALL}), ()),
        (SENT, replace(IS_MEDIUM, config_version=7, update_failed=True), (tried(0.16),)),
        (SENT, replace(IS_MEDIUM, config_version=7, update_failed=True), (tried(5, "open"),)),
        (replace(SENT, sent=False), replace(WAS_SMALL, update_failed=True), ()),
        (SENT, replace(WAS_SMALL, update_failed=True, failed=frozenset({"theirs"})), ()),
        (SENT, Absent(), ()),
        (SENT, WAS_SMALL, (tried(9), tried(8), tried(0.99))),
        (SENT, WAS_SMALL, (tried(9), tried(8))),
        (SENT, WAS_SMALL, (tried(9, kind="alias"), tried(8, kind="alias"), tried(7, kind="alias"))),
        (SENT, replace(WAS_SMALL, updating=True), (tried(9), tried(8), tried(1))),
        (replace(SENT, asked_at=NOW - 59.99 * MINUTES), WAS_SMALL, ()),
    ],
)
def test_until_then_it_is_waited_for(
    one: Applying, endpoint: Endpoint | Absent, attempts: tuple[Attempt, ...]
) -> None:
    before = following(one, attempts=attempts)
    look = looked(before, endpoint)
    assert (look.application, look.events) == (before, [])


MEND = "; mend it, and `headgate apply rag-chatbot` again"
NO_UPDATE = "Databricks could not update the endpoint: its event log says why"
AGAIN = "it was asked for again and again, and the workspace does not take it"
FAILS = replace(WAS_SMALL, update_failed=True)


@pytest.mark.parametrize(
    ("one", "endpoint", "attempts", "why"),
    [
        (SENT, FAILS, (), f"`apply` has failed: {NO_UPDATE}"),
        (SENT, replace(FAILS, failed=frozenset({V1})), (), f"`apply` has failed: {NO_UPDATE}"),
        (SENT, FAILS, (tried(10 / 60),), f"`apply` has failed: {NO_UPDATE}"),
        (SENT, FAILS, (tried(21, "refused"),), f"`apply` has failed: {NO_UPDATE}"),
        (
            replace(SENT, asked_at=NOW - 60 * MINUTES),
            WAS_SMALL,
            (),
            "`apply` has failed: not in effect after 1 h",
        ),
        (SENT, WAS_SMALL, (tried(9), tried(8), tried(1)), f"`apply` has failed: {AGAIN}"),
        (
            BACK,
            FAILS,
            (),
            f"users were harmed; Small on CPU could not be put back: {NO_UPDATE}",
        ),
    ],
)
def test_what_does_not_come_into_effect_is_given_up(
    one: Applying, endpoint: Endpoint, attempts: tuple[Attempt, ...], why: str
) -> None:
    look = looked(following(one, attempts=attempts), endpoint)
    held = f"{why}{MEND}"
    given_up = running(Upkeep(applied=1, stuck=held), attempts=attempts, hold=held)
    assert look.application == given_up
    assert look.events == [event("release.held", STABLE, held, "warning")]


def test_an_attempt_of_the_very_moment_counts_and_one_of_an_earlier_apply_does_not() -> None:
    at_once = following(attempts=(tried(20, "open"),))
    assert looked(at_once, FAILS).events == [], "of an open call nobody knows"
    before = following(attempts=(tried(20.01, "open"),))
    [told] = looked(before, FAILS).events
    assert told.name == "release.held"


def test_a_size_that_was_put_back_is_told_and_held() -> None:
    look = looked(following(BACK), replace(IS_MEDIUM, sizes={V1: SMALL}))
    held = "users were harmed; Small on CPU is back"
    assert look.application == running(Upkeep(variables=TUNED, applied=1, stuck=held), hold=held)
    assert [one.name for one in look.events] == ["endpoint.update", "release.held"]
    assert look.events[1] == event("release.held", STABLE, held, "warning")


def test_what_serves_no_more_is_watched_no_further() -> None:
    one = replace(SENT, version="0")
    look = looked(following(one), IS_MEDIUM)
    assert look.application == running(Upkeep(variables=TUNED, applied=1))
    gone = "version 0 serves no more: what was applied to it is watched no further"
    assert look.events == [event("apply.finished", STABLE, gone)]


def test_beside_a_change_by_others_nothing_is_followed() -> None:
    for one in (SENT, replace(SENT, seen_at=NOW - 60 * MINUTES)):
        before = following(one, change=CHANGED)
        look = looked(before, IS_MEDIUM)
        assert (look.application, look.events) == (before, [])


SET_AT = NOW - BAKE
SETTING = Fuse(set_at=SET_AT, permitted=0.01, dispersion=1.0)
WATCHED = replace(SENT, seen_at=SET_AT, fuse=SETTING)


def minutes(*errors: int, first: float = -4, requests: int = 1000) -> tuple[Minute, ...]:
    """Minutes of 1,000 requests, one after the other, the first of them so long from now."""
    return tuple(
        Minute(ends_at=NOW + (first + index) * MINUTES, requests=requests, errors=count)
        for index, count in enumerate(errors)
    )


@pytest.mark.parametrize(
    ("one", "told_of", "counted"),
    [
        (WATCHED, minutes(2, 0, 0, 0, 1), "3 of 5,000 requests to the endpoint failed (0.06 %)"),
        (
            WATCHED,
            minutes(900, 900, 2, 0, 0, 0, 1, first=-6),
            "3 of 5,000 requests to the endpoint failed (0.06 %)",
        ),
        (
            replace(WATCHED, seen_at=SET_AT - BAKE),  # The clock was set, and its minutes were not.
            minutes(900, 900, 2, 0, 0, 0, 1, first=-6),
            "3 of 5,000 requests to the endpoint failed (0.06 %)",
        ),
        (
            replace(WATCHED, fuse=None),  # Of the time before, there was no request to set it by.
            (*minutes(0, 0, first=-6, requests=0), *minutes(9, 9, first=-3.5)),
            "18 of 2,000 requests to the endpoint failed (0.9 %)",
        ),
        (replace(WATCHED, fuse=None), (), "its metrics told of no request"),
        (
            replace(WATCHED, fuse=None),
            minutes(0, requests=0),
            "0 of 0 requests to the endpoint failed (none)",
        ),
        (
            replace(WATCHED, fuse=None),
            minutes(7, requests=4),
            "4 of 4 requests to the endpoint failed (100 %)",
        ),
    ],
)
def test_a_watch_that_met_no_harm_ends_with_what_it_counted(
    one: Applying, told_of: tuple[Minute, ...], counted: str
) -> None:
    look = looked(following(one, minutes=told_of), IS_MEDIUM)
    assert look.application == running(Upkeep(variables=TUNED, applied=1), minutes=told_of)
    told = f"version 1 runs as applied, watched for 5 min: {counted}"
    assert look.events == [event("apply.finished", STABLE, told)]


@pytest.mark.parametrize(
    ("one", "told_of"),
    [
        (replace(WATCHED, seen_at=SET_AT + 0.01 * MINUTES), minutes(0, 0, 0, 0, 0)),
        (replace(WATCHED, seen_at=SET_AT + 0.01 * MINUTES, fuse=None), ()),
        (WATCHED, minutes(0, 0, 0, 0)),
        (WATCHED, minutes(0, 0, 0, 0, 0, first=-4.01)),
        (WATCHED, ()),
        (replace(WATCHED, seen_at=NOW - 14.99 * MINUTES), ()),
        (WATCHED, minutes(999, first=-4.01)),
    ],
)
def test_the_watch_goes_on_until_its_minutes_have_spoken_of_the_whole_of_it(
    one: Applying, told_of: tuple[Minute, ...]
) -> None:
    before = following(one, minutes=told_of)
    look = looked(before, IS_MEDIUM)
    assert (look.application, look.events) == (before, [])


def test_metrics_that_fell_silent_are_a_failure() -> None:
    one = replace(WATCHED, seen_at=NOW - 15 * MINUTES)
    look = looked(following(one), IS_MEDIUM)
    silent = "the endpoint's metrics fell silent: nobody knows how it does since"
    held = f"`apply` has failed: {silent}{MEND}"
    assert look.application == running(Upkeep(applied=1, stuck=held), hold=held)
    assert look.events == [event("release.held", STABLE, held, "warning")]


HARM = (
    "after `apply` to version 1, 950 of 1,000 requests to the endpoint failed (95 %); the hour "
    "before it permits 1 %"
)
BAD = minutes(950, first=-1)


def test_harm_puts_the_former_size_back_where_it_is_another_one() -> None:
    look = looked(following(WATCHED, minutes=BAD, config_version=9), IS_MEDIUM)
    held = f"{HARM}: Small on CPU is put back; its variables stay as configured"
    back = Applying(version="1", size=SMALL, former=None, over=9, asked_at=NOW, back=HARM)
    upkeep = Upkeep(variables=TUNED, applied=1, applying=back, stuck=held)
    assert look.application == running(upkeep, minutes=BAD, config_version=9, hold=held)
    assert look.events == [
        event("fuse.blown", STABLE, HARM, "warning"),
        event("release.held", STABLE, held, "warning"),
    ]


@pytest.mark.parametrize("former", [None, MEDIUM, Size(None, 8, 16)])
def test_harm_that_no_size_has_brought_is_a_persons_to_mend(former: Size | None) -> None:
    look = looked(following(replace(WATCHED, former=former), minutes=BAD), IS_MEDIUM)
    held = f"{HARM}: put serving.environment right, and apply again"
    upkeep = Upkeep(variables=TUNED, applied=1, stuck=held)
    assert look.application == running(upkeep, minutes=BAD, hold=held)
    assert [one.name for one in look.events] == ["fuse.blown", "release.held"]
