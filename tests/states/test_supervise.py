"""Supervising: how a change by others is shown, when it goes on, and what is told unheeded."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from states.attempt import Attempt
from states.difference import Answer, Change
from states.machine import State
from states.plan import SwitchFallbackOff
from states.release import Application
from states.setup import Upkeep
from states.span import Span
from states.supervise import supervise
from states.turn import Turn
from states.world import Absent, Endpoint, Serving, Variables
from tests.states.byhand import NAME, NOW, beginning, candidate, event, record, shown, turn
from tests.states.story import SPEC, START, serving, version
from tests.states.test_desired import STABLE

V1, V2 = "rag_chatbot-v1", "rag_chatbot-v2"
FIRST_SPAN = Span(number=1, step=2, weight=25, starts_at=START, settled=True)
CANARY = candidate(state=State.CANARY, step=2, settled=True, spans=(FIRST_SPAN,))
SERVED = serving(v1=75, v2=25)
SIDE = f"{V1} 75 %, {V2} 25 %; alias production at version 1"
GIVEN = Upkeep(variables=Variables())
KNOWN = {
    "seen": SERVED,
    "endpoint_id": "first",
    "seen_alias": "1",
    "seen_alias_of": "production",
    "upkeep": GIVEN,
}
ASKS = (
    "; `headgate adopt rag-chatbot` takes it as it is, `headgate revert rag-chatbot` puts it back"
)
SAYS = f"{ASKS}, and if it is put back by hand, it goes on by itself"
MADE_BY_HAND = f"{ASKS}, and one that is made anew by hand is asked about, too"
ELSEWHERE = "alias production names version 7 instead of version 1"
LOST = (
    "version 1 was deleted from the registry: it could not be started again, and going back to it "
    "is not sure"
)
BOTH = (version(1), version(2))
RAISED = serving(v1=70, v2=30)
LINES = (f"{V1} has 70 % instead of 75 %", f"{V2} has 30 % instead of 25 %")
LEFT = record(CANARY, **KNOWN)
IN_EFFECT = dict.fromkeys(("serve", "arrived", "rest", "gateway", "alias"), NOW)
SHOWN = Change(
    number=1,
    endpoint=LINES,
    wanted=SIDE,
    found=f"{V1} 70 %, {V2} 30 %; alias production at version 1",
    serving=RAISED,
    named="1",
)
HELD = f"endpoint {NAME} was changed by someone else: {'; '.join(LINES)}{SAYS}"
CUT = replace(
    CANARY,
    settled=False,
    spans=(FIRST_SPAN, Span(number=2, step=2, weight=25, starts_at=NOW, settled=False)),
)


def looked(application: Application, endpoint: Endpoint | Absent | None, **facts: object) -> Turn:
    look = turn(application, endpoint, **({"versions": BOTH} | facts))
    supervise(look)
    return look


def disputed(change: Change = SHOWN, hold: str = HELD, /, **facts: object) -> Application:
    """It was shown before, and is unanswered."""
    told = {"change": change, "changes": change.number, "hold": hold}
    return replace(record(CUT, **KNOWN), **(told | facts))  # type: ignore[arg-type]


def told_of(change: Change, why: str) -> object:
    return event(
        "endpoint.foreign_change",
        CANARY,
        why,
        "warning",
        wanted=change.wanted,
        found=change.found,
        difference=list(change.difference),
    )


def test_a_change_by_others_is_written_down_with_both_sides_and_cuts_the_evidence() -> None:
    look = looked(LEFT, shown(RAISED))
    seen = {"followed": {"rest": NOW, "gateway": NOW, "alias": NOW}}
    assert look.application == disputed(**seen)
    assert look.events == [told_of(SHOWN, HELD)]
    again = looked(look.application, shown(RAISED))
    assert (again.application, again.events) == (look.application, [])


@pytest.mark.parametrize(
    ("facts", "endpoint", "alias", "versions", "why"),
    [
        ({}, Absent(), "1", BOTH, f"endpoint {NAME} is gone{MADE_BY_HAND}"),
        (
            {},
            Absent(),
            "7",
            (version(2),),
            f"endpoint {NAME} is gone; {ELSEWHERE}; {LOST}{MADE_BY_HAND}",
        ),
        (
            {},
            shown(SERVED),
            "7",
            BOTH,
            f"changed by someone else: {ELSEWHERE}{SAYS}",
        ),
        (
            {},
            shown(SERVED),
            "1",
            (version(2),),
            f"{LOST}{SAYS}",
        ),
        (
            {"answer": Answer(answer="revert", difference="another")},
            shown(SERVED, id="second"),
            "1",
            BOTH,
            f"endpoint {NAME} was changed by someone else: it was deleted, and made anew{ASKS}",
        ),
    ],
)
def test_the_sentence_says_what_was_changed_and_what_to_say_to_it(
    facts: dict[str, object],
    endpoint: Endpoint | Absent,
    alias: str,
    versions: object,
    why: str,
) -> None:
    look = looked(replace(LEFT, **facts), endpoint, alias=alias, versions=versions)  # type: ignore[arg-type]
    [told] = look.events
    assert (told.name, told.because) == ("endpoint.foreign_change", why)
    assert look.application.hold == told.because


def test_what_was_found_is_told_as_it_is() -> None:
    look = looked(LEFT, Absent(), alias=Absent())
    change = look.application.change
    gone = "alias production is gone, which should name version 1"
    assert change == Change(
        number=1,
        endpoint=("it was deleted",),
        alias=(gone,),
        wanted=SIDE,
        found="no endpoint; alias production absent",
    )
    look = looked(LEFT, shown(SERVED, fallback=True))
    hidden = "AI Gateway's fallback is on, which hides a version's errors"
    assert look.application.change == Change(
        number=1,
        endpoint=(hidden,),
        wanted=SIDE,
        found=f"{SIDE}; fallback on",
        serving=SERVED,
        named="1",
        fallback=True,
    )


@pytest.mark.parametrize(
    ("release", "cut"),
    [
        (CANARY, CUT),
        (replace(CANARY, spans=()), replace(CANARY, spans=(), settled=False)),
        (
            replace(CANARY, state=State.PRODUCTION),
            replace(CANARY, state=State.PRODUCTION, settled=False),
        ),
        (replace(CANARY, state=State.TESTING), replace(CANARY, state=State.TESTING)),
    ],
)
def test_only_who_has_users_is_counted_anew(release: object, cut: object) -> None:
    before = replace(LEFT, releases=(STABLE, release), seen=None)  # type: ignore[arg-type]
    look = looked(before, shown(serving(v2=100)))
    assert look.application.releases == (STABLE, cut)


def test_another_difference_voids_the_answer_to_the_one_before() -> None:
    more = serving(v1=69, v2=31)
    given = Answer(answer="adopt", difference=SHOWN.key)
    look = looked(disputed(answer=given), shown(more))
    lines = (f"{V1} has 69 % instead of 75 %", f"{V2} has 31 % instead of 25 %")
    change = replace(
        SHOWN,
        number=2,
        endpoint=lines,
        found=f"{V1} 69 %, {V2} 31 %; alias production at version 1",
        serving=more,
    )
    void = "; `adopt` answered an earlier difference, and is void"
    why = f"endpoint {NAME} was changed by someone else: {'; '.join(lines)}{void}{SAYS}"
    seen = {"followed": {"rest": NOW, "gateway": NOW, "alias": NOW}}
    assert look.application == disputed(change, why, answer=given, **seen)
    assert look.events == [told_of(change, why)]
    other = replace(given, difference="0: something else")
    [told] = looked(disputed(answer=other), shown(more)).events
    assert told.because == f"endpoint {NAME} was changed by someone else: {'; '.join(lines)}{SAYS}"


def test_an_answer_to_what_is_shown_is_followed() -> None:
    given = Answer(answer="revert", difference=SHOWN.key)
    spec = replace(SPEC, environment_declared=True)
    look = looked(disputed(answer=given, spec=spec), shown(RAISED))
    assert (look.application.change, look.application.hold) == (None, None)


def test_it_is_answered_only_while_all_of_it_is_seen() -> None:
    given = Answer(answer="revert", difference=SHOWN.key)
    for endpoint, facts in ((None, {}), (shown(RAISED), {"versions": None})):
        look = looked(disputed(answer=given), endpoint, **facts)
        assert (look.application.change, look.events) == (SHOWN, [])


def test_what_is_unseen_is_as_it_was_last_known() -> None:
    before = disputed()
    look = looked(before, None, alias=None, versions=None)
    assert (look.application, look.events) == (before, [])
    calm = replace(LEFT, hold="something")
    for facts in ({"alias": None}, {"versions": None}):
        look = looked(calm, shown(SERVED), **facts)
        assert (look.application.hold, look.events) == ("something", []), "nothing is freed unseen"
    look = looked(calm, None)
    assert (look.application.hold, look.events) == ("something", [])


def test_another_difference_beside_an_endpoint_that_is_unseen_keeps_what_was_found() -> None:
    look = looked(disputed(), None, alias="7")
    change = replace(
        SHOWN,
        number=2,
        alias=(ELSEWHERE,),
        found=f"{V1} 70 %, {V2} 30 %; alias production at version 7",
        named="7",
    )
    assert look.application.change == change
    look = looked(LEFT, None, alias="7")
    assert look.application.change == Change(
        number=1,
        alias=(ELSEWHERE,),
        wanted=SIDE,
        found="no endpoint; alias production at version 7",
        named="7",
    )


def test_what_is_adopted_is_what_is_served_by_now() -> None:
    unseen = replace(SHOWN, serving=None, named=None)
    assert looked(disputed(unseen), shown(RAISED)).application.change == SHOWN
    assert looked(disputed(unseen), None).application.change == replace(SHOWN, serving=None)
    known = replace(SHOWN, named="5")
    assert looked(disputed(known), shown(RAISED)).application.change == known
    assert looked(disputed(unseen), None, alias=None).application.change == unseen


def test_it_goes_on_once_it_was_put_back() -> None:
    look = looked(disputed(), shown(SERVED))
    assert look.application == replace(record(CUT, **KNOWN), changes=1, followed=IN_EFFECT)
    assert look.events == [event("release.freed", CUT, f"no longer: {HELD}")]


@pytest.mark.parametrize(
    ("facts", "alias"), [({}, "1"), ({"spec": replace(SPEC, alias=None)}, "7")]
)
def test_what_was_held_goes_on_once_all_is_as_it_should_be(
    facts: dict[str, object], alias: str
) -> None:
    look = looked(replace(LEFT, hold="something", **facts), shown(SERVED), alias=alias)  # type: ignore[arg-type]
    assert look.application.hold is None
    assert look.events == [event("release.freed", CANARY, "no longer: something")]


@pytest.mark.parametrize(
    ("facts", "endpoint", "alias", "followed"),
    [
        ({}, shown(SERVED), "1", {"serve", "arrived", "rest", "gateway", "alias"}),
        ({}, shown(SERVED, updating=True), "1", {"serve", "arrived", "gateway", "alias"}),
        ({}, shown(SERVED), Absent(), {"serve", "arrived", "rest", "gateway"}),
        ({}, shown(SERVED), None, {"serve", "arrived", "rest", "gateway"}),
        ({}, shown(SERVED, fallback=True), "7", {"serve", "arrived", "rest"}),
        ({}, shown(RAISED), "7", {"rest", "gateway"}),
        ({}, None, "7", set()),
        ({}, Absent(), "7", set()),
        (
            {"spec": replace(SPEC, alias=None)},
            shown(SERVED),
            None,
            {"serve", "arrived", "rest", "gateway"},
        ),
    ],
)
def test_since_when_each_call_is_in_effect_is_noted(
    facts: dict[str, object], endpoint: Endpoint | Absent | None, alias: object, followed: set[str]
) -> None:
    before = {"serve": START, "tag": START}
    look = looked(replace(LEFT, followed=before, **facts), endpoint, alias=alias)  # type: ignore[arg-type]
    assert look.application.followed == before | dict.fromkeys(followed, NOW)


def sent(
    number: int, target: str = str(SERVED), *, kind: str = "serve", outcome: str = "done"
) -> Attempt:
    return Attempt(kind=kind, target=target, at=START, outcome=outcome, id=number)


@pytest.mark.parametrize(
    ("attempts", "come"),
    [
        ((sent(4, "else"), sent(5)), True),
        ((sent(4), sent(5, "else")), False),
        ((sent(4), sent(5, "else", outcome="open")), False),
        ((sent(4), sent(5, "else", outcome="refused")), True),
        ((sent(4), sent(5, "else", kind="alias")), True),
    ],
)
def test_what_is_served_and_wanted_again_is_no_sign_that_the_last_call_has_come(
    attempts: tuple[Attempt, ...], *, come: bool
) -> None:
    look = looked(replace(LEFT, attempts=attempts), shown(SERVED))
    assert ("arrived" in look.application.followed) is come
    assert look.application.followed["serve"] == NOW


@pytest.mark.parametrize(
    ("attempts", "arrived", "after"),
    [
        ((), (), ()),
        ((sent(4),), (), (4,)),
        ((sent(4), sent(5)), (), (5,)),
        ((sent(4), sent(5)), (5, 4), (5, 4)),
        ((sent(3), sent(2), sent(4, "else"), sent(5)), (3, 1, 2), (2, 3, 5)),
        ((sent(4), sent(5, outcome="refused")), (), (4,)),
        ((sent(4, outcome="open"),), (), (4,)),
        ((sent(4, kind="alias"), sent(5, "else")), (), ()),
    ],
)
def test_the_last_call_for_what_is_served_has_come(
    attempts: tuple[Attempt, ...], arrived: tuple[int, ...], after: tuple[int, ...]
) -> None:
    before = replace(LEFT, attempts=attempts, arrived=arrived)
    assert looked(before, shown(SERVED)).application.arrived == after
    assert looked(before, None).application.arrived == arrived


def test_both_sides_tell_the_versions_of_a_name_that_stands_for_another_one() -> None:
    swapped = {V1: replace(SERVED.shares[V1], version="7")}
    look = looked(LEFT, shown(Serving({**SERVED.shares, **swapped})))
    change = look.application.change
    assert change is not None
    sides = (change.wanted, change.found)
    rest = f"75 %, {V2} 25 %; alias production at version 1"
    assert sides == (
        f"{V1} (version 1 of {SPEC.model}) {rest}",
        f"{V1} (version 7 of {SPEC.model}) {rest}",
    )


def test_the_last_call_for_where_the_alias_should_be_has_come_too() -> None:
    alias, other = sent(4, "1", kind="alias"), sent(6, "2", kind="alias")
    again = replace(alias, id=5)
    attempts = (sent(2, "else"), sent(3), alias, again, other)
    before = replace(LEFT, attempts=attempts, arrived=(2,))
    assert looked(before, shown(SERVED)).application.arrived == (2, 3, 5)
    assert looked(before, shown(SERVED), alias="2").application.arrived == (2, 3)
    assert looked(before, shown(SERVED), alias=None).application.arrived == (2, 3)


def thrice(kind: str, target: str, *, last: float = 1) -> tuple[Attempt, ...]:
    """A call and its two repetitions, the last of them some minutes ago."""
    ago = (last + 4, last + 2, last)
    return tuple(
        Attempt(
            kind=kind, target=target, at=NOW - timedelta(minutes=one), outcome="done", id=number
        )
        for number, one in enumerate(ago)
    )


BEFORE = {"seen": serving(v1=95, v2=5)}
ENDS = (
    " was asked for 3 times within 10 min: the log says what the workspace answered (call.failed); "
    "it is asked for again, more slowly"
)
SERVES = f"endpoint {NAME} serves {V1} 95 %, {V2} 5 %, although {SERVED}"
OFF = f"AI Gateway's fallback is on at {NAME}, although off"
NAMES = "alias production names version 1, although version 2"
PRODUCED = replace(CANARY, state=State.PRODUCTION, spans=())
PROMOTED = {**KNOWN, "seen": serving(v1=0, v2=100)}
SWITCHED = {**KNOWN, "fallback_off": True}
UNHEEDED = [
    (record(CANARY, **(KNOWN | BEFORE)), shown(serving(v1=95, v2=5)), "serve", str(SERVED), SERVES),
    (
        record(CANARY, **(KNOWN | {"seen": None})),
        Absent(),
        "serve",
        str(SERVED),
        f"endpoint {NAME} is not there, although {SERVED}",
    ),
    (
        record(CANARY, **SWITCHED),
        shown(SERVED, fallback=True),
        "gateway",
        SwitchFallbackOff().target,
        OFF,
    ),
    (record(PRODUCED, **PROMOTED), shown(serving(v1=0, v2=100)), "alias", "2", NAMES),
]


@pytest.mark.parametrize(("application", "endpoint", "kind", "target", "told"), UNHEEDED)
def test_a_call_of_ours_that_is_not_heeded_is_told_of_and_held(
    application: Application, endpoint: Endpoint | Absent, kind: str, target: str, told: str
) -> None:
    tried = replace(application, attempts=thrice(kind, target))
    look = looked(tried, endpoint)
    assert look.application.hold == f"{told}{ENDS}"
    assert look.application.change is None
    [said] = look.events
    assert said == event("release.held", CANARY, f"{told}{ENDS}", "warning")
    again = looked(look.application, endpoint)
    assert again.events == []
    for attempts in (thrice(kind, target, last=0.99), thrice(kind, target)[1:], ()):
        young = looked(replace(application, attempts=attempts), endpoint)
        assert (young.application.hold, young.events) == (None, [])
    held = looked(replace(application, attempts=(), hold=f"{told}{ENDS}"), endpoint)
    assert held.events == [], "a hold stands until it is heeded"
    since = looked(replace(application, attempts=thrice("other", target)), endpoint)
    assert since.events == []


def test_an_alias_that_is_absent_though_it_was_sent_is_told_of() -> None:
    never = {**PROMOTED, "seen_alias": None, "attempts": thrice("alias", "2")}
    look = looked(record(PRODUCED, **never), shown(serving(v1=0, v2=100)), alias=Absent())
    assert look.application.hold == f"alias production is not there, although version 2{ENDS}"


def test_an_alias_is_told_of_though_a_fallback_waits_to_be_switched_off() -> None:
    both = {**PROMOTED, "fallback_off": True, "attempts": thrice("alias", "2")}
    look = looked(record(PRODUCED, **both), shown(serving(v1=0, v2=100), fallback=True))
    assert look.application.hold == f"{NAMES}{ENDS}"


@pytest.mark.parametrize("case", UNHEEDED)
def test_a_rollback_has_its_own_way_of_telling(
    case: tuple[Application, Endpoint, str, str, str],
) -> None:
    application, endpoint, *_ = case
    home = candidate(state=State.ROLLED_BACK)
    target = str(serving(v1=100, v2=0))
    attempts = (*thrice("serve", target), *thrice("alias", "1"), *thrice("gateway", case[3]))
    back = replace(application, releases=(STABLE, home), attempts=attempts)
    assert looked(back, endpoint).application.hold is None


def test_while_an_update_is_under_way_nothing_is_said_of_it() -> None:
    tried = record(CANARY, **(KNOWN | BEFORE), attempts=thrice("serve", str(SERVED)))
    look = looked(tried, shown(serving(v1=95, v2=5), updating=True))
    assert (look.application.hold, look.events) == (None, [])


def test_what_is_held_for_something_of_ours_is_held_until_that_is_mended() -> None:
    stuck = replace(LEFT, upkeep=replace(GIVEN, stuck="`apply` has failed"))
    look = looked(stuck, shown(SERVED))
    assert look.application == replace(stuck, hold="`apply` has failed", followed=IN_EFFECT)
    assert look.events == [event("release.held", CANARY, "`apply` has failed", "warning")]
    both = replace(stuck.upkeep, variables=Variables(("A",), "1"))
    edited = looked(replace(LEFT, upkeep=replace(both, stuck=None)), shown(SERVED)).application
    held = looked(replace(edited, upkeep=both), shown(SERVED))
    assert (held.application.hold, held.events) == (edited.hold, []), "one thing after the other"
    over = looked(replace(held.application, upkeep=stuck.upkeep), shown(SERVED))
    assert over.events == look.events, "what it was held for before is told no longer"
    back = replace(disputed(), upkeep=stuck.upkeep)
    look = looked(back, shown(SERVED))
    assert (look.application.hold, look.application.change) == ("`apply` has failed", None)


@pytest.mark.parametrize("facts", [{"alias": None}, {"versions": None}])
def test_what_is_held_for_something_of_ours_is_held_though_not_all_is_seen(
    facts: dict[str, object],
) -> None:
    stuck = replace(LEFT, upkeep=replace(GIVEN, stuck="`apply` has failed"))
    look = looked(stuck, shown(SERVED), **facts)
    assert look.application.hold == "`apply` has failed"
    other = looked(replace(stuck, hold="something"), shown(SERVED), **facts)
    assert (other.application.hold, other.events) == ("something", []), "nothing is freed unseen"


def test_what_is_told_as_unheeded_is_what_is_so_now() -> None:
    """The traffic follows in the end, and then the alias does not."""
    asked = serving(v1=0, v2=100)
    attempts = (*thrice("serve", str(asked), last=3), *thrice("alias", "2"))
    held = looked(
        record(PRODUCED, **{**KNOWN, "seen": serving(v1=10, v2=90)}, attempts=attempts),
        shown(serving(v1=10, v2=90)),
    ).application
    serves = f"endpoint {NAME} serves {V1} 10 %, {V2} 90 %, although {asked}{ENDS}"
    assert held.hold == serves
    later = looked(replace(held, seen=asked), shown(asked))
    assert later.application.hold == f"{NAMES}{ENDS}"
    young = looked(replace(held, seen=asked, attempts=attempts[:3]), shown(asked))
    assert young.events == [event("release.freed", PRODUCED, f"no longer: {serves}")]
    least = looked(replace(held, seen=serving(v1=5, v2=95)), shown(serving(v1=5, v2=95)))
    assert (least.application.hold or "").startswith(f"endpoint {NAME} serves {V1} 5 %, {V2} 95 %")


def test_it_is_told_how_often_that_very_call_was_sent() -> None:
    """Two calls for what is not wanted any more were repeated, and one was sent since."""
    before = [
        replace(one, at=one.at - timedelta(minutes=2))
        for one in thrice("serve", str(serving(v1=90, v2=10)))
    ]
    last = replace(thrice("serve", str(SERVED))[-1], id=9)
    tried = record(CANARY, **(KNOWN | BEFORE), attempts=(*before, last))
    held = looked(tried, shown(serving(v1=95, v2=5))).application.hold
    assert held == f"{SERVES}{ENDS.replace('3 times', 'once')}"


def test_edited_variables_hold_it_too() -> None:
    look = looked(replace(LEFT, upkeep=Upkeep(variables=Variables(("A",), "1"))), shown(SERVED))
    assert (look.application.hold or "").startswith("serving.environment was edited")
    assert looked(LEFT, shown(SERVED)).events == []


def test_where_nothing_is_wanted_nothing_is_missed() -> None:
    nobody = beginning(upkeep=GIVEN, attempts=thrice("serve", "None"))
    look = looked(nobody, Absent(), alias=Absent())
    assert (look.application, look.events) == (nobody, [])
    assert looked(nobody, shown(Serving()), alias=Absent()).events == []


def test_users_taken_away_by_hand_are_heeded_before_all_else() -> None:
    look = looked(LEFT, shown(serving(v1=90, v2=10)))
    assert look.application.going_home
    assert look.application.change is None
    assert [one.name for one in look.events] == ["release.transition"]
    assert isinstance(look.application.releases[1].ended_at, datetime)
