"""The way back while it is not needed: what is in the way, and when that is told."""

from dataclasses import replace
from datetime import timedelta

import pytest

from states.machine import State
from states.release import Application, Release
from states.turn import Turn
from states.way_back import note_way_back, rollback
from states.world import Absent, Endpoint
from tests.states.byhand import NAME, NOW, beginning, candidate, event, record, shown, turn
from tests.states.story import START, serving, version
from tests.states.test_desired import STABLE

V1, V2 = "rag_chatbot-v1", "rag_chatbot-v2"
CANARY = candidate(state=State.CANARY, step=1)
SERVED = serving(v1=95, v2=5)
EARLIER = START + timedelta(minutes=7)
BOTH = (version(1), version(2))
GONE = "version 1 was deleted from the registry: it could not be started again"


SMALL = (
    "100 % of the last hour's peak is 7.5 requests in flight, and version 1 is provisioned for 4: "
    "give it more concurrency, or wait for less traffic"
)


def noted(application: Application, endpoint: Endpoint | Absent | None, **facts: object) -> Turn:
    look = turn(application, endpoint, **({"versions": BOTH} | facts))
    note_way_back(look)
    return look


@pytest.mark.parametrize(
    ("endpoint", "facts", "why"),
    [
        (Absent(), {}, f"endpoint {NAME} is not there"),
        (shown(serving(v2=100)), {}, f"version 1 is not on endpoint {NAME}"),
        (
            shown(SERVED, ready=frozenset({V2})),
            {},
            f"version 1 is not ready on endpoint {NAME}",
        ),
        (shown(SERVED), {"versions": (version(2),)}, GONE),
        (
            shown(SERVED, concurrency={V1: 4, V2: 400}),
            {"peak_concurrency": 7.5},
            SMALL,
        ),
    ],
)
def test_what_is_in_the_way_is_told_once_with_its_time(
    endpoint: Endpoint | Absent, facts: dict[str, object], why: str
) -> None:
    look = noted(record(CANARY), endpoint, **facts)
    blocked = record(CANARY, blocked=why, blocked_since=NOW)
    assert look.application == blocked
    assert look.events == [event("rollback.blocked", CANARY, why, "error")]
    since = replace(blocked, blocked_since=EARLIER)
    again = noted(since, endpoint, **facts)
    assert (again.application, again.events) == (since, [])


def test_the_same_with_other_numbers_is_not_told_again_and_another_thing_is() -> None:
    small = (
        "100 % of the last hour's peak is 9 requests in flight, and version 1 is provisioned for "
        "8: give it more concurrency, or wait for less traffic"
    )
    before = record(CANARY, blocked=small, blocked_since=EARLIER)
    again = noted(before, shown(SERVED, concurrency={V1: 4}), peak_concurrency=7.5)
    assert (again.application, again.events) == (before, [])
    missing = f"version 1 is not on endpoint {NAME}"
    look = noted(before, shown(serving(v2=100)))
    assert look.application == replace(before, blocked=missing)
    assert look.events == [event("rollback.blocked", CANARY, missing, "error")]


def test_that_it_is_free_again_is_told() -> None:
    look = noted(record(CANARY, blocked=GONE, blocked_since=EARLIER), shown(SERVED))
    assert look.application == record(CANARY)
    assert look.events == [event("rollback.ready", CANARY, f"no longer: {GONE}")]
    assert noted(record(CANARY), shown(SERVED)).events == [], "it was free before"


def test_what_is_unseen_changes_nothing_of_what_was_known() -> None:
    before = record(CANARY, blocked=GONE, blocked_since=EARLIER)
    look = noted(before, None)
    assert (look.application, look.events) == (before, [])


def test_a_registry_that_is_not_to_be_seen_brings_no_deleted_version_back() -> None:
    before = record(CANARY, blocked=GONE, blocked_since=EARLIER)
    unlisted = noted(before, shown(SERVED), versions=None)
    assert (unlisted.application, unlisted.events) == (before, [])
    other = replace(before, blocked=f"version 1 is not on endpoint {NAME}")
    assert noted(other, shown(SERVED), versions=None).application == record(CANARY)
    agreed = replace(before, deleted=("1",))
    look = noted(agreed, shown(SERVED), versions=(version(2),))
    assert look.application == record(CANARY, deleted=("1",)), "a person knows of it"


@pytest.mark.parametrize(
    "application",
    [
        record(),
        record(candidate(state=State.ROLLED_BACK)),
        record(CANARY, stable="2"),
        beginning(CANARY),
    ],
)
def test_where_nobody_is_to_be_taken_back_nothing_is_blocked(application: Application) -> None:
    before = replace(application, blocked=GONE, blocked_since=EARLIER)
    look = noted(before, Absent())
    assert (look.application, look.events) == (application, [])


@pytest.mark.parametrize(
    ("release", "facts", "told"),
    [
        (CANARY, {}, "ready"),
        (CANARY, {"blocked": GONE}, "ready"),
        (
            CANARY,
            {"blocked": GONE, "blocked_since": EARLIER},
            f"blocked since 2026-11-23 12:07 UTC: {GONE}",
        ),
        (CANARY, {"stable": None}, "blocked: there is no version to go back to"),
        (CANARY, {"stable": "2"}, "blocked: there is no version to go back to"),
        (candidate(state=State.ROLLED_BACK), {}, None),
        (candidate(), {}, None),
        (STABLE, {}, None),
    ],
)
def test_status_says_whether_users_could_be_taken_back(
    release: Release, facts: dict[str, object], told: str | None
) -> None:
    assert rollback(record(release, **facts), release) == told
