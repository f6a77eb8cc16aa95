"""What the registry is told of a version: the outcome, its reason and its time."""

import time
from dataclasses import replace
from datetime import timedelta, timezone

import pytest

from policies.rollout import Rollout
from states.machine import State
from states.outcome import LONGEST, outcome, untold
from states.plan import TagVersion
from states.release import Application, Release
from tests.states.records import application
from tests.states.records import release as made_by_hand
from tests.states.records import stable as adopted
from tests.states.story import QUICK, SPEC, START, Story

FLEETING = replace(QUICK, retain=timedelta(minutes=2))


def story(rollout: Rollout = QUICK) -> Story:
    made = Story(application=Application(name="rag-chatbot", spec=replace(SPEC, rollout=rollout)))
    made.look()
    return made


def tags(made: Story, number: int) -> dict[str, str]:
    return dict(made.versions[number].tags or {})


def retried(made: Story) -> None:
    """Somebody begins the newest release once more."""
    assert made.release is not None
    made.application = made.application.with_release(
        Release(application="rag-chatbot", version=made.release.version, attempt=2, since=made.now)
    )


def test_a_rolled_back_version_tells_why_and_when() -> None:
    made = story()
    made.register(2)
    made.golden_fails = frozenset({"2"})
    release = made.until("RolledBack")
    at = made.now
    made.look(times=4)
    assert tags(made, 2) == {
        "headgate.state": "RolledBack",
        "headgate.reason": release.because,
        "headgate.at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
    }


def test_one_mark_is_set_in_a_look_and_none_twice() -> None:
    made = story()
    made.register(2)
    made.golden_fails = frozenset({"2"})
    made.until("RolledBack")
    for _ in range(10):
        plan = made.look()
        assert len([call for call in plan.calls if isinstance(call, TagVersion)]) <= 1
    sent = [call for call in made.calls if isinstance(call, TagVersion)]
    assert [call.key for call in sent] == ["headgate.state", "headgate.reason", "headgate.at"]


def test_production_is_told_once_it_was_seen_and_again_when_it_is_stable() -> None:
    made = story()
    made.register(2)
    made.until("Production")
    assert "headgate.state" not in tags(made, 2), "not yet seen"
    made.look(times=5)
    assert tags(made, 2)["headgate.state"] == "Production"
    made.look(after=60, times=30)
    assert tags(made, 2)["headgate.reason"] == "watched for 10 min without harm: it is stable now"
    assert tags(made, 1)["headgate.state"] == "Retired"
    assert tags(made, 1)["headgate.reason"] == "replaced by version 2"


def test_what_was_adopted_is_no_outcome_of_ours() -> None:
    made = story()
    made.look(times=10)
    assert made.calls == []
    assert tags(made, 1) == {}


def test_a_version_that_makes_it_in_the_end_loses_the_mark_of_before() -> None:
    made = story()
    made.register(2)
    made.golden_fails = frozenset({"2"})
    made.until("RolledBack")
    made.look(times=5)
    assert tags(made, 2)["headgate.state"] == "RolledBack"
    made.golden_fails = frozenset()
    retried(made)
    made.until("Canary")
    assert tags(made, 2)["headgate.state"] == "RolledBack", "it has not made it yet"
    made.until("Production")
    made.look(times=40)
    assert tags(made, 2)["headgate.state"] == "Production"


def test_a_registry_that_refuses_is_not_asked_for_one_mark_after_another() -> None:
    made = story(FLEETING)
    made.obeys = False
    for number in range(2, 9):
        made.register(number)
    made.look()
    told = made.application
    for release in told.releases:
        if release.state is State.REGISTERED:
            retired = replace(release, state=State.RETIRED, because="overtaken")
            made.application = made.application.with_release(retired)
    sent = 0
    for _ in range(20):
        plan = made.look()
        sent += len([call for call in plan.calls if isinstance(call, TagVersion)])
        refused = [
            replace(one, outcome="refused") if one.kind == "tag" else one
            for one in made.application.attempts
        ]
        made.application = replace(made.application, attempts=tuple(refused))
    assert 1 <= sent <= 2, "once in ten minutes"


def test_a_reason_is_one_line_that_a_tag_can_hold() -> None:
    long = "first line\n\tsecond " + "word " * 100
    ended = Release(
        application="rag-chatbot", version="2", state=State.RETIRED, since=START, because=long
    )
    told = outcome(ended)
    assert told is not None
    reason = told["headgate.reason"]
    assert reason.startswith("first line second word")
    assert reason.endswith("...")
    assert len(reason) <= LONGEST
    assert reason.isprintable()
    empty = outcome(replace(ended, because=""))
    assert empty is not None
    assert empty["headgate.reason"]


@pytest.mark.parametrize(
    ("release", "ended"),
    [
        (made_by_hand(State.REGISTERED), False),
        (made_by_hand(State.PROVISIONING), False),
        (made_by_hand(State.TESTING), False),
        (made_by_hand(State.CANARY), False),
        (made_by_hand(State.PRODUCTION, settled=False), False),
        (made_by_hand(State.PRODUCTION), True),
        (adopted(pinned=None), False),
        (adopted(pinned=None, attempt=2), True),
        (adopted(pinned=None, attempt=2, settled=False), False),
        (made_by_hand(State.ROLLED_BACK, settled=False), True),
        (made_by_hand(State.RETIRED), True),
    ],
)
def test_a_release_under_way_has_no_outcome_nor_has_what_was_adopted(
    release: Release, *, ended: bool
) -> None:
    since = START.astimezone(timezone(timedelta(hours=2)))
    told = outcome(replace(release, because="so", since=since))
    tags = {
        "headgate.state": release.state.value,
        "headgate.reason": "so",
        "headgate.at": "2026-11-23T12:00:00Z",
    }
    assert told == (tags if ended else None)
    assert next(iter(told or tags)) == "headgate.state", "the state first"


def test_its_time_is_told_in_utc_wherever_the_process_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    try:
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        told = outcome(made_by_hand(State.RETIRED))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert told is not None
    assert told["headgate.at"] == "2026-11-23T12:00:00Z"


@pytest.mark.parametrize(
    ("because", "told"),
    [
        ("", "no reason was recorded"),
        (" \n", "no reason was recorded"),
        ("a\n\tb  c", "a b c"),
        ("x" * 255, "x" * 255),
        ("x" * 256, "x" * 252 + "..."),
        ("x" * 251 + " " + "y" * 9, "x" * 251 + "..."),
    ],
)
def test_a_tag_holds_255_characters(because: str, told: str) -> None:
    tags = outcome(made_by_hand(State.RETIRED, because=because))
    assert tags is not None
    assert tags["headgate.reason"] == told


def test_of_each_version_its_newest_attempt_is_told_rolled_back_ones_first() -> None:
    first = made_by_hand(State.ROLLED_BACK, version="2")
    again = made_by_hand(State.RETIRED, version="2", attempt=2)
    under_way = made_by_hand(State.CANARY, version="5")
    rolled = made_by_hand(State.ROLLED_BACK, version="4")
    known = made_by_hand(State.ROLLED_BACK, version="6", tagged=True)
    retired = made_by_hand(State.RETIRED, version="1")
    found = untold(application(retired, first, again, rolled, under_way, known))
    assert found == {one.version: outcome(one) for one in (rolled, retired, again)}
    assert list(found) == ["4", "1", "2"]
