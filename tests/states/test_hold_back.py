"""Some users may stay on stable during the bake: then it goes on comparing, and blames nobody."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.fuse import DAY, Minute
from states.status import status
from states.world import Absent
from tests.states.story import QUICK, SPEC, Story


def baking(hold_back: int) -> Story:
    """A bake, its counts by version under way."""
    story = Story()
    spec = replace(SPEC, rollout=replace(QUICK, hold_back=hold_back))
    story.application = replace(story.application, spec=spec)
    story.look()
    story.register(2)
    story.until("Canary")
    while not story.live.baking:
        story.look()
    story.look(times=2)
    return story


@pytest.fixture
def story() -> Story:
    """A bake with 5 % held back."""
    return baking(5)


def test_the_bake_gives_what_is_left_and_the_watch_all(story: Story) -> None:
    assert story.weight(2) == 95
    assert story.weight(1) == 5
    told = status(story.application, story.live)
    assert (told["weight"], told["step"], told["steps"]) == (95, 4, [5, 25, 50, 100])
    opened = [one for one in story.events if one.name == "release.transition"][-1]
    assert opened.because.endswith("opens 95 %")
    assert story.alias == "1", "the alias waits for the bake"
    story.until("Production")
    [promoted] = [one for one in story.events if one.fields.get("to_state") == "Production"]
    assert "at 95 % within its limits" in promoted.because
    assert "stable 0 of" in promoted.because, "both versions were counted"
    story.look(times=3)
    assert story.weight(2) == 100
    assert story.alias == "2"
    while not story.release or not story.release.confirmed:
        story.look()
    assert story.application.stable == "2"


def test_an_outage_of_both_versions_during_the_bake_sends_nobody_home(story: Story) -> None:
    story.error_rates = {"2": 0.2, "": 0.2}
    story.look(times=4)
    assert story.live.state == "Canary"
    story.error_rates = {}
    story.until("Production")


def test_without_anybody_held_back_the_same_outage_is_blamed_on_the_candidate() -> None:
    """There is nobody to compare with: that is what holding back is for."""
    story = baking(0)
    story.error_rates = {"2": 0.2, "": 0.2}
    story.look(times=4)
    assert story.release is not None
    assert story.release.state == "RolledBack"


def test_a_version_that_turns_bad_during_the_bake_is_rolled_back_by_the_comparison(
    story: Story,
) -> None:
    story.error_rates = {"2": 0.2}
    story.until("RolledBack", limit=10)
    verdict = [one for one in story.events if one.name == "gate.verdict"][-1]
    assert "more errors than stable" in verdict.because
    story.look(times=2)
    assert story.weight(1) == 100


def test_at_100_percent_the_watch_is_held_to_what_was_usual_when_the_last_users_came(
    story: Story,
) -> None:
    while_baking = story.live.before_whole
    assert while_baking is None
    story.minutes = tuple(
        Minute(ends_at=story.now.replace(minute=minute), requests=6000, errors=30)
        for minute in range(60)
        if story.now.replace(minute=minute) <= story.now
    )
    story.until("Production")
    assert story.live.before_whole is not None
    while not story.live.settled:
        story.look()
    story.look(times=3)
    assert story.live.blocks[-1].whole
    story.error_rates = {"2": 0.2}
    story.until("RolledBack", limit=10)
    verdict = [one for one in story.events if one.name == "gate.verdict"][-1]
    assert "that the past permits" in verdict.because
    assert "at 100 %" in verdict.because


def test_where_errors_come_in_bursts_the_last_step_says_that_holding_back_would_help() -> None:
    story = Story()
    story.look()
    hourly = [30] * 55 + [600] * 5
    story.minutes = tuple(
        Minute(ends_at=story.now - timedelta(minutes=back), requests=6000, errors=hourly[back % 60])
        for back in reversed(range(1, DAY))
    )
    story.register(2)
    story.until("Canary")
    while not story.live.baking:
        story.look()
    opened = [one for one in story.events if one.name == "release.transition"][-1]
    assert "rollout.hold_back would go on comparing" in opened.because
    story.until("Production")


def test_a_first_release_has_nobody_to_hold_back() -> None:
    story = Story(endpoint=Absent(), alias=Absent())
    spec = replace(SPEC, rollout=replace(QUICK, hold_back=5))
    story.application = replace(story.application, spec=spec)
    story.look()
    assert story.until("Canary").weight == 100
    story.until("Production")
    story.look(times=2)
    assert story.weight(1) == 100
