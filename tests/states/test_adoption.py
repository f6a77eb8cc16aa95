"""How an endpoint is adopted, whole: what is written down of it, and told."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from states.adoption import adopt, unadoptable
from states.machine import State
from states.release import Application, Order, Release
from states.turn import Turn
from states.world import Absent, Endpoint, Serving, Share
from tests.states.byhand import NAME, NOW, event, shown, turn
from tests.states.story import MODEL, SPEC, serving, version

Facts = dict[str, Any]
HOUR = timedelta(hours=1)
NEW = Application(name="rag-chatbot", spec=SPEC)
THEIRS = Share(model="main.x.theirs", version="7", weight=0)


def ours(number: str, weight: int) -> Share:
    return Share(model=MODEL, version=number, weight=weight)


def adopting(seen: Endpoint | Absent | None, known: Application = NEW, **outside: object) -> Turn:
    made = turn(known, seen, **({"versions": (version(1), version(4))} | outside))
    adopt(made)
    return made


def test_an_endpoint_is_adopted_as_it_is_found() -> None:
    beside = {**serving(v1=0).shares, "theirs": THEIRS}
    served = Serving({**beside, "ours": ours("3", 100)})
    made = adopting(shown(served), alias="3")
    because = f"adopted: it has 100 % of {NAME}"
    stable = Release(
        application="rag-chatbot",
        version="3",
        state=State.PRODUCTION,
        confirmed=True,
        since=NOW,
        because=because,
        weight_seen=100,
    )
    assert made.application == replace(
        NEW,
        adopted=True,
        stable="3",
        watermark=4,
        carried=Serving(beside),
        seen=served,
        endpoint_id="first",
        seen_alias="3",
        seen_alias_of="production",
        names={"1": "rag_chatbot-v1", "3": "ours"},
        releases=(stable,),
    )
    assert made.events == [event("release.registered", stable, because, adopted=True)]
    unlisted = adopting(shown(served), alias=Absent(), versions=())
    assert (unlisted.application.watermark, unlisted.application.seen_alias) == (3, None)


def test_of_two_entities_of_one_version_the_one_with_users_is_known_by_its_name() -> None:
    served = Serving(
        {
            "a": ours("1", 100),
            "b": ours("1", 0),
        }
    )
    assert adopting(shown(served)).application.names == {"1": "a"}


def test_where_there_is_no_endpoint_ours_will_be_made() -> None:
    for alias, seen in (("1", "1"), (Absent(), None)):
        made = adopting(Absent(), alias=alias)
        ours = replace(NEW, adopted=True, ours=True, seen_alias=seen, seen_alias_of="production")
        assert (made.application, made.events) == (ours, [])


@pytest.mark.parametrize("unseen", [{"versions": None}, {"alias": None}, {"endpoint": None}])
def test_nothing_is_adopted_before_all_of_it_is_seen(unseen: Facts) -> None:
    made = adopting(shown(), **unseen)
    assert (made.application, made.events) == (NEW, [])
    nameless = replace(NEW, spec=replace(SPEC, alias=None))
    assert adopting(shown(), nameless, **unseen).application.adopted is ("alias" in unseen)


ADOPTS = f"put one version of {MODEL} to 100 %, and Headgate adopts it"
SPLIT = f"endpoint {NAME} serves rag_chatbot-v1 60 %, rag_chatbot-v2 40 %: {ADOPTS}"
FOREIGN = f"endpoint {NAME} serves theirs 100 %: {ADOPTS}"
ELSEWHERE = (
    f"alias production names version 2, but version 1 has 100 % of {NAME}: point the alias or the "
    "traffic at the other"
)
ROUTED = f"endpoint {NAME} is route-optimised: single entities cannot be asked there"


@pytest.mark.parametrize(
    ("seen", "alias", "trouble"),
    [
        (shown(), "1", None),
        (shown(), None, None),
        (shown(), Absent(), None),
        (shown(route_optimized=True), "1", ROUTED),
        (shown(Serving()), "1", f"endpoint {NAME} serves nothing yet; it is adopted once it does"),
        (
            shown(serving(v1=60, v2=40)),
            "1",
            SPLIT,
        ),
        (
            shown(Serving({"theirs": replace(THEIRS, weight=100)})),
            "1",
            FOREIGN,
        ),
        (
            shown(),
            "2",
            ELSEWHERE,
        ),
    ],
)
def test_what_cannot_be_adopted_is_held_with_the_remedy(
    seen: Endpoint, alias: str | Absent | None, trouble: str | None
) -> None:
    assert unadoptable(NEW, seen, alias) == trouble
    if trouble is None:
        return
    made = adopting(seen, alias=alias)
    assert made.application == replace(NEW, hold=trouble)
    line = event("endpoint.foreign_change", None, trouble, "warning", serving=str(seen.serving))
    assert made.events == [line]
    mended = adopting(shown(), made.application)
    assert mended.events[0] == event("release.freed", None, f"no longer: {trouble}")
    assert mended.application.hold is None


@pytest.mark.parametrize(
    ("earlier", "comes_to"),
    [
        ({"state": State.ROLLED_BACK, "settled": True, "order": Order.ABORT}, State.ROLLED_BACK),
        ({"state": State.RETIRED}, State.RETIRED),
        ({}, State.RETIRED),
    ],
)
def test_a_version_that_ended_here_and_is_found_with_all_users_keeps_what_it_had_come_to(
    earlier: Facts, comes_to: State
) -> None:
    had = Release(application="rag-chatbot", version="1", since=NOW - HOUR, **earlier)
    after = adopting(shown(serving(v1=100)), replace(NEW, releases=(had,))).application
    first, second = after.releases
    assert (first.attempt, first.state, first.order) == (1, comes_to, had.order)
    assert (second.attempt, second.state, second.confirmed) == (2, State.PRODUCTION, True)
    assert after.stable == "1"
