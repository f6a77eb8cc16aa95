"""What operators read of each state."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from states.machine import State
from states.release import Order, Release
from states.status import shown, status
from tests.states.story import QUICK, Story
from tests.states.test_desired import PINNED, STABLE, TRIED, with_trial

NEXT = [
    (TRIED, "admission, once nothing else is live on the endpoint"),
    (
        replace(TRIED, state=State.PROVISIONING),
        "golden queries, once the served entity is ready",
    ),
    (replace(TRIED, state=State.TESTING), "5 % of users, once the golden queries pass"),
    (replace(TRIED, state=State.CANARY, step=1), "25 % of users, once shown to be no worse"),
    (replace(TRIED, state=State.CANARY, step=3), "100 % of users, once shown to be no worse"),
    (
        replace(TRIED, state=State.CANARY, step=2, shut=True),
        "reopens, once the counts by version have arrived and blame nobody",
    ),
    (replace(TRIED, state=State.CANARY, step=4), "the alias, once the bake has ended"),
    (replace(TRIED, state=State.PRODUCTION), "confirmed, once the watch has ended"),
    (replace(TRIED, state=State.ROLLED_BACK), "home, once the endpoint was seen without it"),
    (replace(TRIED, state=State.ROLLED_BACK, settled=True), None),
    (replace(TRIED, state=State.RETIRED, settled=True), None),
]
LIVE = [release for release, _ in NEXT if release.live]


@pytest.mark.parametrize(("release", "following"), NEXT)
def test_every_state_says_what_comes_next(release: Release, following: str | None) -> None:
    told = status(with_trial(release), release)
    assert told["next"] == following
    assert json.loads(json.dumps(told)) == told


@pytest.mark.parametrize("release", LIVE)
def test_the_weights_of_stable_and_candidate_sum_to_100(release: Release) -> None:
    application = with_trial(release)
    assert status(application, STABLE)["weight"] + status(application, release)["weight"] == 100


@pytest.mark.parametrize("release", LIVE)
def test_a_paused_release_waits_for_the_operator_unless_it_goes_home(release: Release) -> None:
    paused = replace(release, order=Order.PAUSE)
    told = status(with_trial(paused), paused)["next"]
    home = release.state is State.ROLLED_BACK
    assert told == (
        "home, once the endpoint was seen without it" if home else "waits for `headgate resume`"
    )


def test_a_held_release_says_why_and_promises_nothing() -> None:
    held = replace(TRIED, state=State.CANARY, step=1, hold="undecided after 1 d")
    told = status(with_trial(held), held)
    assert (told["hold"], told["next"], told["needs_person"]) == (
        "undecided after 1 d",
        None,
        False,
    )


def test_a_hold_on_the_endpoint_is_told_by_what_is_shown_and_needs_a_person() -> None:
    live = replace(TRIED, state=State.CANARY, step=1)
    application = replace(with_trial(live), hold="changed by someone else")
    for release in (STABLE, live):
        told = status(application, release)
        assert (told["hold"], told["needs_person"]) == ("changed by someone else", True)
        assert told["next"] is None


def test_shown_is_what_serves_or_is_on_trial() -> None:
    live = replace(TRIED, state=State.CANARY, step=1)
    application = with_trial(live)
    assert [shown(application, one) for one in (STABLE, live)] == [True, True]
    ended = replace(TRIED, state=State.ROLLED_BACK, settled=True)
    assert not shown(with_trial(ended), ended)
    unproven = replace(with_trial(ended), stable=None, unproven="2")
    assert shown(unproven, ended)
    assert status(unproven, ended)["weight"] == 100


def test_the_status_says_version_attempt_and_time_in_full() -> None:
    live = replace(TRIED, state=State.CANARY, step=2, attempt=3, weight_seen=5)
    told = status(with_trial(live), live)
    assert told["release"] == "rag-chatbot/2"
    assert (told["attempt"], told["step"], told["steps"]) == (3, 2, list(PINNED.rollout.steps))
    assert (told["weight"], told["weight_seen"], told["stable"]) == (25, 5, "1")
    assert told["since"] == "2026-11-23T12:00:00.000000Z"


def test_the_earliest_end_of_each_stay_is_when_it_ends_for_a_good_version() -> None:
    story = Story()
    story.look()
    story.register(2)
    due: dict[tuple[State, int], datetime] = {}
    ended: dict[tuple[State, int], datetime] = {}
    story.until("Provisioning")
    while story.application.live is not None:
        release = story.live
        told = status(story.application, release)["earliest"]
        story.look()
        ended[release.state, release.step] = story.now
        if told is not None:
            at = datetime.fromisoformat(told)
            assert due.setdefault((release.state, release.step), at) == at, "as it was told first"
    assert len(due) == len(QUICK.steps) + 1
    late = {stay: ended[stay] - at for stay, at in due.items()}
    assert min(late.values()) >= timedelta(), late
    by_time_alone = [after for (_, step), after in late.items() if step == len(QUICK.steps)]
    assert by_time_alone == [timedelta(), timedelta()], "bake and watch, to the look"
