"""What others changed of endpoint, alias and registry; what is ours, late or not, is no change."""

from dataclasses import replace
from datetime import timedelta

import pytest

from states.attempt import Attempt
from states.difference import Change
from states.foreign import Part, alias_part, closes, endpoint_part, heed_lowered, registry_part
from states.machine import State
from states.release import Application, Order, Release
from states.resending import NAMED
from states.setup import Upkeep
from states.turn import Turn
from states.world import Absent, Endpoint, Serving, Share, Variables
from tests.states.byhand import NAME, NOW, beginning, candidate, event, record, shown, turn
from tests.states.story import MODEL, SPEC, serving, version
from tests.states.test_desired import PINNED, STABLE

V1, V2 = "rag_chatbot-v1", "rag_chatbot-v2"
CANARY = candidate(state=State.CANARY, step=2)
SERVED = serving(v1=75, v2=25)
LEFT = {"seen": SERVED, "endpoint_id": "first"}
HIDES = "AI Gateway's fallback is on, which hides a version's errors"


def sent(target: object, *, kind: str = "serve", outcome: str = "done", number: int = 1) -> Attempt:
    at = NOW - timedelta(minutes=1)
    return Attempt(kind=kind, target=str(target), at=at, outcome=outcome, id=number)


def heeded(application: Application, endpoint: Endpoint | None) -> Turn:
    look = turn(application, endpoint)
    heed_lowered(look)
    return look


@pytest.mark.parametrize("state", [State.CANARY, State.PRODUCTION])
def test_an_endpoint_that_is_being_created_again_has_taken_nobodys_users(state: State) -> None:
    """As after `revert` of its deletion: it serves nothing yet."""
    live = candidate(state=state, step=4)
    before = record(live, seen=None)
    created = shown(Serving(), pending=serving(v1=0, v2=100), updating=True)
    assert heeded(before, created).application == before
    known = record(live, seen=serving(v1=0, v2=100))
    assert heeded(known, shown(Serving())).application != known, "it is emptied"


@pytest.mark.parametrize(
    ("state", "step", "weight", "found", "percent"),
    [
        (State.CANARY, 2, 25, serving(v1=76, v2=24), 24),
        (State.CANARY, 2, 25, serving(v1=100, v2=0), 0),
        (State.PRODUCTION, 4, 100, serving(v1=1, v2=99), 99),
    ],
)
def test_users_taken_by_hand_from_the_version_on_trial_are_an_abort(
    state: State, step: int, weight: int, found: Serving, percent: int
) -> None:
    live = candidate(state=state, step=step)
    before = record(live, seen=serving(v1=100 - weight, v2=weight))
    look = heeded(before, shown(found))
    why = f"its weight was lowered by someone else, to {percent} % of {weight} %"
    rolled = replace(live, state=State.ROLLED_BACK, because=why, since=NOW, ended_at=NOW)
    assert look.application == replace(before, releases=(STABLE, rolled))
    moved = {"from_state": state.value, "to_state": "RolledBack", "trigger": "roll_back"}
    assert look.events == [event("release.transition", live, why, "error", **moved)]
    aborted = record(replace(live, order=Order.ABORT), seen=before.seen)
    [told] = heeded(aborted, shown(found)).events
    assert told.because == "aborted by the operator"


def test_a_version_that_was_taken_away_is_not_put_back_at_0_percent() -> None:
    [_, rolled] = heeded(record(CANARY, **LEFT), shown(serving(v1=100))).application.releases
    assert (rolled.state, rolled.removed) == (State.ROLLED_BACK, True)
    [_, rolled] = heeded(record(CANARY), shown(serving(v1=100))).application.releases
    assert (rolled.state, rolled.removed) == (State.ROLLED_BACK, True), "whatever was seen before"


@pytest.mark.parametrize(
    ("release", "facts", "found"),
    [
        (CANARY, LEFT, SERVED),
        (CANARY, LEFT, serving(v1=70, v2=30)),
        (CANARY, LEFT, serving(v1=50, v2=25, v3=25)),
        (CANARY, {"seen": serving(v1=95, v2=5)}, serving(v1=90, v2=10)),
        (CANARY, {"seen": serving(v1=95, v2=5)}, serving(v1=95, v2=5)),
        (CANARY, LEFT | {"asked": "rag_chatbot-v1 100 %"}, serving(v1=100)),
        (candidate(state=State.TESTING), LEFT, serving(v1=100, v2=0)),
        (candidate(state=State.PROVISIONING), LEFT, serving(v1=100)),
        (candidate(state=State.ROLLED_BACK), LEFT, serving(v1=90, v2=10)),
        (replace(CANARY, pinned=replace(PINNED, baseline=None)), LEFT, serving(v1=100)),
        (replace(CANARY, state=State.RETIRED), LEFT, serving(v1=90, v2=10)),
    ],
)
def test_nothing_else_is_one(release: Release, facts: dict[str, object], found: Serving) -> None:
    before = record(release, **facts)
    look = heeded(before, shown(found))
    assert (look.application, look.events) == (before, [])
    assert heeded(before, None).application == before


def test_a_call_that_was_overtaken_is_no_excuse_for_users_that_are_gone() -> None:
    """Replicas killed before they sent: whoever took the users, they do not get the version back.

    What nobody knows of the last call, or of one after the last that was seen, is as it was.
    """
    home = serving(v1=100, v2=0)
    left = LEFT | {"asked": str(SERVED)}
    unknown, seen = sent(home, outcome="open", number=1), sent(SERVED, outcome="open", number=2)
    overtaken = record(CANARY, **left, attempts=(unknown, seen), arrived=(2,))
    [_, rolled] = heeded(overtaken, shown(home)).application.releases
    assert rolled.state is State.ROLLED_BACK
    assert rolled.because == (
        "its weight was lowered by someone else, to 0 % of 25 %, or by an earlier call of "
        "Headgate's, of which nobody knows what came"
    )
    later = (seen, replace(unknown, id=3), replace(seen, id=4))
    for before in (
        replace(overtaken, arrived=()),
        replace(overtaken, arrived=(2,), attempts=later),
        replace(overtaken, arrived=(2,), attempts=later[:2]),
    ):
        assert heeded(before, shown(home)).application == before


def test_as_few_users_as_were_left_to_it_are_fewer_than_it_should_have() -> None:
    look = heeded(record(CANARY, seen=serving(v1=76, v2=24)), shown(serving(v1=75, v2=24, v3=1)))
    [_, rolled] = look.application.releases
    assert rolled.because == "its weight was lowered by someone else, to 24 % of 25 %"


def part(application: Application, endpoint: Endpoint | Absent | None) -> tuple[Turn, Part]:
    look = turn(application, endpoint)
    return look, endpoint_part(look)


def unchanged(application: Application, endpoint: Endpoint | Absent | None, lines: Part) -> None:
    """That is what differs, and the record stays as it was."""
    look, found = part(application, endpoint)
    assert found == lines
    assert (look.application, look.events) == (application, [])


def test_of_an_endpoint_that_is_not_to_be_seen_nothing_is_known() -> None:
    unchanged(record(CANARY, **LEFT), None, None)


def test_an_endpoint_that_was_there_and_is_wanted_is_missed() -> None:
    unchanged(record(CANARY, **LEFT), Absent(), ("it was deleted",))
    look, lines = part(record(CANARY), Absent())
    assert (look.application, lines) == (record(CANARY, ours=True), ()), "it is ours to create"
    first = candidate(state=State.ROLLED_BACK, pinned=replace(PINNED, baseline=None))
    look, lines = part(beginning(first, seen=serving(v2=100)), Absent())
    assert (look.application, lines) == (beginning(first), ()), "and forgotten where it is not"


def update(release: Release, served: Serving, **versions: int) -> object:
    return event(
        "endpoint.update",
        release,
        f"{NAME} serves {served}",
        weights={name: share.weight for name, share in served.shares.items()},
        versions={name[1:]: weight for name, weight in versions.items()},
        config_version=7,
    )


def test_what_is_wanted_is_told_when_it_has_come_and_once() -> None:
    theirs = Share(model="main.other.model", version="2", weight=0)
    wanted = Serving({**SERVED.shares, "theirs": theirs})
    before = record(CANARY, carried=Serving({"theirs": theirs}))
    backwards = Serving(dict(sorted(wanted.shares.items(), reverse=True)))
    look, lines = part(before, shown(backwards))
    assert lines == ()
    after = replace(before, seen=wanted, endpoint_id="first")
    assert look.application == after
    assert look.events == [update(CANARY, wanted, v1=75, v2=25)]
    [told] = look.events
    assert list(told.fields["weights"]) == [V1, V2, "theirs"]  # type: ignore[call-overload]
    unchanged(after, shown(wanted), ())


def test_an_update_of_ours_that_was_seen_under_way_is_ours_when_it_ends_at_last() -> None:
    """Its call is forgotten by then, something else was asked for, and an answer hid it."""
    ours, since = serving(v1=95, v2=5), NOW + timedelta(hours=1)
    before = record(CANARY, **LEFT, config_version=7, asked=str(ours))
    look, _ = part(before, shown(SERVED, pending=ours, updating=True))
    assert look.application == replace(before, under_way=str(ours))
    later = replace(look.application, asked=str(SERVED), looked_at=since)
    unchanged(later, shown(SERVED), ())
    look, lines = part(later, shown(ours, config_version=8))
    assert (lines, look.application.under_way, look.application.seen) == ((), None, ours)
    theirs = serving(v1=70, v2=30)
    unchanged(before, shown(SERVED, pending=theirs, updating=True), ())
    for seen in (Absent(), shown(SERVED, id="second"), shown(SERVED, update_failed=True)):
        look, _ = part(later, seen)
        assert look.application.under_way is None


@pytest.mark.parametrize(
    ("facts", "served"),
    [
        ({"asked": str(serving(v1=95, v2=5))}, serving(v1=95, v2=5)),
        ({"attempts": (sent(serving(v1=95, v2=5)),)}, serving(v1=95, v2=5)),
        (
            {
                "attempts": (
                    sent(serving(v1=95, v2=5), outcome="open"),
                    sent(serving(v1=50, v2=50), number=2),
                )
            },
            serving(v1=95, v2=5),
        ),
        (  # it was taken, then something else was asked for, and neither was seen yet
            {
                "config_version": 7,
                "attempts": (
                    replace(sent(serving(v1=95, v2=5)), over=7),
                    replace(sent(serving(v1=50, v2=50), number=2), over=7),
                ),
            },
            serving(v1=95, v2=5),
        ),
        (  # it was sent beside a change by others that is gone by now
            {
                "attempts": (sent(serving(v1=95, v2=5)),),
                "closings": (str(serving(v1=95, v2=5)), str(serving(v1=90, v2=10))),
            },
            serving(v1=95, v2=5),
        ),
    ],
)
def test_what_was_asked_for_and_may_yet_come_is_ours(
    facts: dict[str, object], served: Serving
) -> None:
    before = record(CANARY, **LEFT, **facts)
    look, lines = part(before, shown(served))
    assert (look.application, lines) == (replace(before, seen=served), ())
    assert look.events == [update(CANARY, served, v1=95, v2=5)]


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"attempts": (sent(serving(v1=95, v2=5)), sent(SERVED, number=2))},
        {"attempts": (sent(serving(v1=95, v2=5), kind="alias"),)},
        {
            "attempts": (
                sent(serving(v1=95, v2=5), outcome="open", number=3),
                sent(SERVED, number=4),
            ),
            "arrived": (3,),
        },
        {
            "attempts": (sent(serving(v1=95, v2=5)),),
            "closings": (str(serving(v1=95, v2=5)),),
            "change": Change(number=1),
        },
        {  # it was seen, and a repetition that was refused does not come
            "attempts": (
                sent(serving(v1=95, v2=5), number=3),
                sent(serving(v1=95, v2=5), outcome="refused", number=4),
            ),
            "closings": (str(serving(v1=95, v2=5)),),
            "arrived": (3,),
        },
        {  # it was seen, and the change is gone, as is the later one that it was closed beside
            "attempts": (
                sent(serving(v1=95, v2=5), outcome="open", number=3),
                sent(SERVED, outcome="open", number=4),
            ),
            "closings": (str(serving(v1=95, v2=5)), str(SERVED)),
            "arrived": (3,),
        },
        {
            "config_version": 7,
            "attempts": (
                replace(sent(serving(v1=95, v2=5)), over=6),
                replace(sent(SERVED, number=2), over=6),
            ),
        },
    ],
)
def test_what_was_not_asked_for_or_has_come_before_is_not(facts: dict[str, object]) -> None:
    lines = (f"{V1} has 95 % instead of 75 %", f"{V2} has 5 % instead of 25 %")
    unchanged(record(CANARY, **LEFT, **facts), shown(serving(v1=95, v2=5)), lines)


def test_what_serves_is_no_change_before_anything_was_deployed() -> None:
    unchanged(record(CANARY), shown(Serving()), ())
    lines = (f"{V1} was removed, which should have 75 %",)
    gone = (*lines, f"{V2} was removed, which should have 25 %")
    unchanged(record(CANARY, **LEFT), shown(Serving()), gone)
    nobody = beginning(seen=serving(v1=100), endpoint_id="first")
    added = (f"{V2} (version 2 of {MODEL}) was added at 100 %",)
    unchanged(nobody, shown(serving(v2=100)), added)


def test_users_on_a_version_that_was_closed_are_put_right_and_nothing_foreign() -> None:
    home = candidate(state=State.ROLLED_BACK)
    unchanged(record(home, seen=serving(v1=100, v2=0)), shown(serving(v1=90, v2=10)), ())
    assert closes(record(home), serving(v1=90, v2=10))
    assert not closes(record(home), serving(v1=90, v2=9, v3=1))
    assert not closes(record(home), serving(v1=100, v2=0)), "nobody is to be taken"
    assert not closes(record(CANARY), SERVED)
    assert not closes(beginning(), serving(v2=100))


def test_another_endpoint_of_the_same_name_is_shown_whatever_it_serves() -> None:
    known = {"ours": True, "fallback": True, "fallback_off": True}
    look, lines = part(record(CANARY, **LEFT, **known), shown(SERVED, id="second"))
    assert lines == ("it was deleted, and made anew",)
    assert look.application == record(CANARY, **LEFT, followed={"another": NOW})
    look, lines = part(record(CANARY, **LEFT, **known), shown(SERVED, id="second", fallback=True))
    assert lines == ("it was deleted, and made anew", HIDES)
    another = {"another": NOW}
    assert look.application == record(CANARY, **LEFT, followed=another), (
        "what was said of the other is not for it"
    )
    look, lines = part(record(CANARY, **LEFT), shown(serving(v1=100), id="second", fallback=True))
    assert lines == (
        "it was deleted, and made anew",
        f"{V1} has 100 % instead of 75 %",
        f"{V2} was removed, which should have 25 %",
        HIDES,
    )
    _, lines = part(beginning(**LEFT), shown(serving(v1=1), id="second"))
    added = f"{V1} (version 1 of {MODEL}) was added at 1 %"
    assert lines == ("it was deleted, and made anew", added)


@pytest.mark.parametrize(("known", "told"), [("", "second"), ("first", "")])
def test_an_endpoint_whose_id_is_not_known_or_not_told_is_the_same(known: str, told: str) -> None:
    before = record(CANARY, seen=SERVED, endpoint_id=known, ours=True)
    look, lines = part(before, shown(SERVED, id=told, owner="headgate"))
    assert (look.application, lines) == (replace(before, endpoint_id=told), ())


def test_what_headgate_asked_for_bears_its_tag_and_what_does_not_was_made_by_somebody_else() -> (
    None
):
    """Its own call was refused: they had been faster, and nobody knows their variables."""
    given = Upkeep(variables=Variables(), ungranted=True)
    before = record(CANARY, ours=True, upkeep=given)
    look, lines = part(before, shown(SERVED, id="second"))
    assert lines == ("somebody else made it meanwhile",)
    after = replace(before, ours=False, upkeep=Upkeep(), followed={"another": NOW})
    assert look.application == after
    _, lines = part(record(CANARY), shown(SERVED, id="second"))
    assert lines == (), "it is theirs anyway"
    _, lines = part(record(CANARY, seen=SERVED, ours=True), shown(SERVED, id="second"))
    assert lines == (), "it was seen before ids were written down"
    nothing = beginning(ours=True)
    _, lines = part(nothing, shown(serving(v1=100), id="second"))
    assert lines is not None
    assert "somebody else made it meanwhile" not in lines, "it is adopted as found"


@pytest.mark.parametrize("state", [State.CANARY, State.PRODUCTION])
def test_a_fallback_switched_on_under_a_version_on_trial_is_shown(state: State) -> None:
    live = candidate(state=state, step=2)
    wanted = serving(v1=100 - live.weight, v2=live.weight)
    left = {"seen": wanted, "endpoint_id": "first"}
    on = shown(wanted, fallback=True)
    unchanged(record(live, **left), on, (HIDES,))
    unchanged(record(live, **left, fallback=True), on, ())
    unchanged(record(live, **left, fallback_off=True), on, ())
    look, lines = part(record(live, **left, fallback=True, fallback_off=True), shown(wanted))
    assert (look.application, lines) == (record(live, **left), ())
    _, lines = part(record(live, **left), shown(serving(v1=3, v2=97), fallback=True))
    assert lines is not None
    assert lines[-1] == HIDES
    _, lines = part(record(live), shown(Serving(), fallback=True))
    assert lines == (HIDES,)


@pytest.mark.parametrize("release", [candidate(state=State.TESTING), candidate()])
def test_a_fallback_is_noted_as_it_was_before_anybody_was_on_trial(release: Release) -> None:
    wanted = serving(v1=100) if release.state is State.REGISTERED else serving(v1=100, v2=0)
    before = record(release, seen=wanted, endpoint_id="first")
    look, lines = part(before, shown(wanted, fallback=True))
    assert (look.application, lines) == (replace(before, fallback=True), ())
    asked = replace(before, fallback_off=True)
    unchanged(asked, shown(wanted, fallback=True), ())


KNOWN = {"seen_alias": "1", "seen_alias_of": "production"}
PRODUCTION = candidate(state=State.PRODUCTION, step=4)
GONE = "alias production is gone, which should name version 1"


def moved_alias(alias: str, before: str | None, release: Release) -> object:
    return event(
        "alias.moved",
        release,
        f"production names version {alias}",
        alias="production",
        from_version=before,
        to_version=alias,
    )


def aliases(
    application: Application, alias: str | Absent | None, **facts: object
) -> tuple[Turn, Part]:
    look = turn(application, shown(), alias=alias, **facts)
    return look, alias_part(look)


@pytest.mark.parametrize(
    ("facts", "before"),
    [
        ({}, None),
        (KNOWN, "1"),
        ({"seen_alias": "2", "seen_alias_of": "champion"}, None),
    ],
)
def test_an_alias_that_came_to_where_it_should_be_is_told(
    facts: dict[str, object], before: str | None
) -> None:
    look, lines = aliases(record(PRODUCTION, **facts), "2")
    there = {"seen_alias": "2", "seen_alias_of": "production"}
    assert (look.application, lines) == (record(PRODUCTION, **(facts | there)), ())
    assert look.events == [moved_alias("2", before, PRODUCTION)]
    again, lines = aliases(look.application, "2")
    assert (again.application, again.events, lines) == (look.application, [], ())


@pytest.mark.parametrize("known", ["seen", "wanted", "stable", "ended"])
def test_a_name_that_stands_for_another_version_is_not_what_was_asked_for(known: str) -> None:
    """Targets tell names and weights: what a name stands for is known by the record alone."""
    theirs = Share(model="main.other.model", version="4", weight=0)
    name = {"stable": V1, "ended": "rag_chatbot-v3"}.get(known, "theirs")
    own = Share(model=MODEL, version=name[-1], weight=0)
    asked = Serving({**serving(v1=95, v2=5).shares, name: theirs if name == "theirs" else own})
    asked = Serving({**asked.shares, V1: Share(model=MODEL, version="1", weight=95)})
    left = LEFT | {"asked": str(asked)}
    if known == "seen":
        left["seen"] = Serving({**SERVED.shares, "theirs": theirs})
    if known == "wanted":
        left["carried"] = Serving({"theirs": theirs})
    gone = candidate(version="3", state=State.ROLLED_BACK, settled=True, removed=True)
    before = record(CANARY, gone, **left)
    assert part(before, shown(asked))[1] == ()
    share = asked.shares[name]
    for other in (replace(share, version="9"), replace(share, model="main.third.model")):
        swapped = Serving({**asked.shares, name: other})
        assert str(swapped) == str(asked)
        assert part(before, shown(swapped))[1] != ()


def test_the_last_call_is_over_once_it_is_known_what_came_of_it() -> None:
    found, call = serving(v1=95, v2=5), sent(serving(v1=95, v2=5))
    for since, ours in (call.at, True), (NOW, False):
        before = record(CANARY, **LEFT, attempts=(call,), followed={"known": since})
        assert (part(before, shown(found))[1] == ()) is ours
    unknown = record(
        CANARY, **LEFT, attempts=(replace(call, outcome="open"),), followed={"known": NOW}
    )
    assert part(unknown, shown(found))[1] == (), "it may come late"


@pytest.mark.parametrize(
    ("outcome", "arrived", "ours"),
    [
        ("done", (), True),
        ("done", (4,), True),
        ("done", (5,), False),
        ("done", (6,), True),
        ("open", (6,), True),
        ("open", (5, 6), False),
        ("refused", (), False),
    ],
)
def test_an_alias_is_where_a_call_put_it_until_that_was_seen_whatever_was_seen_since(
    outcome: str, arrived: tuple[int, ...], *, ours: bool
) -> None:
    there = sent("3", kind="alias", outcome=outcome, number=5)
    attempts = (sent("4", kind="alias", number=4), there, sent("2", kind="alias", number=6))
    before = record(PRODUCTION, **KNOWN, attempts=attempts, arrived=arrived)
    _, lines = aliases(before, "3")
    wrong = "alias production names version 3 instead of version 2"
    assert lines == (() if ours else (wrong,))


def test_on_the_way_home_the_alias_may_still_be_where_the_last_call_had_moved_it() -> None:
    """That it was seen back at once was an answer from before that call."""
    home = candidate(state=State.ROLLED_BACK, settled=False)
    facts = {"seen_alias": "1", "seen_alias_of": "production", "arrived": (5,)}
    there = sent("2", kind="alias", number=5)
    wrong = ("alias production names version 2 instead of version 1",)
    assert aliases(record(home, **facts, attempts=(there,)), "2")[1] == ()
    elsewhere = sent("3", kind="alias", number=5)
    assert aliases(record(home, **facts, attempts=(elsewhere,)), "2")[1] == wrong, "by no call"
    settled = replace(home, settled=True)
    assert aliases(record(settled, **facts, attempts=(there,)), "2")[1] == wrong, "it is home"


def test_an_alias_is_ours_where_it_was_left_or_where_it_was_sent() -> None:
    look, lines = aliases(record(PRODUCTION, **KNOWN), "1")
    assert (look.application, look.events, lines) == (record(PRODUCTION, **KNOWN), [], ())
    attempts = (sent("3", kind="alias"), sent("4"))
    before = record(PRODUCTION, **KNOWN, attempts=attempts)
    look, lines = aliases(before, "3")
    assert (look.application, look.events, lines) == (replace(before, seen_alias="3"), [], ())
    look, lines = aliases(before, "4")
    wrong = "alias production names version 4 instead of version 2"
    assert (look.application, look.events, lines) == (
        replace(before, asked_alias="3"),
        [],
        (wrong,),
    )
    before = record(PRODUCTION, **KNOWN, attempts=(sent("3", kind="alias", outcome="refused"),))
    look, lines = aliases(before, "3")
    assert (look.application, lines) == (before, (wrong.replace("4", "3"),))


def test_where_an_alias_was_sent_is_ours_until_it_was_seen_however_long_that_takes() -> None:
    """Stale answers, and a clock that was set: the call itself is forgotten by then."""
    attempts = (sent("4", kind="alias"), sent("3", kind="alias"))
    for unseen in ("1", None):
        look, _ = aliases(record(PRODUCTION, **KNOWN, attempts=attempts), unseen)
        assert look.application.asked_alias == "3"
        forgotten = replace(look.application, attempts=())
        again, _ = aliases(forgotten, unseen)
        assert again.application == forgotten
        there, lines = aliases(again.application, "3")
        assert (there.application.seen_alias, there.application.asked_alias) == ("3", None)
        assert (there.events, lines) == ([], ())
        _, elsewhere = aliases(again.application, "4")
        assert elsewhere == ("alias production names version 4 instead of version 2",)
    seen = record(PRODUCTION, seen_alias="3", seen_alias_of="production")
    _, back = aliases(replace(seen, seen_alias="2"), "3")
    assert back == ("alias production names version 3 instead of version 2",), "it has come once"
    for over, asked in ((NOW, None), (NOW - timedelta(minutes=2), "3")):
        accepted = record(PRODUCTION, **KNOWN, attempts=attempts, followed={NAMED: over})
        assert aliases(accepted, "1")[0].application.asked_alias == asked, "a person's word ends it"
    other = replace(again.application, seen_alias_of="champion")
    look, lines = aliases(other, "3")
    assert look.application.asked_alias is None, "another alias was asked to name it"
    assert lines == back


@pytest.mark.parametrize(
    ("application", "alias", "lines"),
    [
        (record(spec=replace(SPEC, alias=None)), "7", ()),
        (record(**KNOWN), None, None),
        (record(**KNOWN), "7", ("alias production names version 7 instead of version 1",)),
        (record(), "7", ("alias production names version 7 instead of version 1",)),
        (beginning(**KNOWN), "7", ()),
        (record(**KNOWN), Absent(), (GONE,)),
        (record(), Absent(), ()),
        (record(seen_alias="1", seen_alias_of="champion"), Absent(), ()),
        (beginning(**KNOWN), Absent(), ()),
    ],
)
def test_an_alias_elsewhere_is_a_change_where_one_is_wanted(
    application: Application, alias: str | Absent | None, lines: Part
) -> None:
    look, found = aliases(application, alias)
    assert (look.application, look.events, found) == (application, [], lines)


def test_an_alias_that_went_with_its_deleted_version_is_told_of_the_version() -> None:
    without = {"versions": (version(2),)}
    _, lines = aliases(record(PRODUCTION, **KNOWN), Absent(), **without)
    assert lines == ()
    sent_there = record(**(KNOWN | {"seen_alias": "2"}), attempts=(sent("1", kind="alias"),))
    assert aliases(sent_there, Absent(), **without)[1] == ()
    assert aliases(replace(sent_there, attempts=()), Absent(), **without)[1] == (GONE,)


DELETED = "version 1 was deleted from the registry: it could not be started again"


@pytest.mark.parametrize(
    ("application", "versions", "lines"),
    [
        (record(), None, None),
        (record(), (), ()),
        (record(), (version(1),), ()),
        (record(), (version(2),), (DELETED,)),
        (record(CANARY), (version(2),), (f"{DELETED}, and going back to it is not sure",)),
        (
            record(CANARY, stable=None, unproven="2"),
            (version(1),),
            ("version 2 was deleted from the registry: it could not be started again",),
        ),
        (record(deleted=("1",)), (version(2),), ()),
        (beginning(), (version(2),), ()),
    ],
)
def test_a_version_to_go_back_to_that_was_deleted_is_shown(
    application: Application, versions: object, lines: Part
) -> None:
    look = turn(application, shown(), versions=versions)
    assert registry_part(look) == lines
    assert (look.application, look.events) == (application, [])
