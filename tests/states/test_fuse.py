"""The endpoint's own minutes shut the gate before the counts by version can accuse anyone."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.admission import Rules
from policies.calendar import Freeze
from policies.fuse import DAY, Minute
from states.release import Order
from states.world import Endpoint
from tests.states.story import QUICK, Story

MINUTE = timedelta(minutes=1)


@pytest.fixture
def story() -> Story:
    """A canary at its first step, on an endpoint that had a calm hour; the table is silent."""
    story = Story()
    story.look()
    calm(story, 60)
    story.register(2)
    story.table_speaks = False
    story.until("Canary")
    story.look()
    assert story.weight(2) == 5
    return story


def tell(story: Story, count: int, errors: int) -> None:
    """The metrics tell of more minutes, up to now."""
    told = [
        Minute(ends_at=story.now - timedelta(minutes=back), requests=6000, errors=errors)
        for back in reversed(range(count))
    ]
    story.minutes = (*story.minutes, *told)


def calm(story: Story, count: int) -> None:
    tell(story, count, errors=30)


def storm(story: Story) -> None:
    """A few minutes pass in which the endpoint errs much more than before."""
    for _ in range(3):
        story.now += timedelta(minutes=1)
        tell(story, 1, errors=300)
    story.look(times=2)


def test_a_blown_fuse_takes_the_users_away_at_once_and_accuses_nobody(story: Story) -> None:
    storm(story)
    assert story.weight(2) == 0
    assert story.live.state == "Canary"
    assert story.live.step == 1
    [told] = [event for event in story.events if event.name == "fuse.blown"]
    assert "nobody is blamed" in told.because


def test_it_stays_shut_until_the_counts_by_version_tell_of_the_time_before_the_alarm(
    story: Story,
) -> None:
    storm(story)
    story.look(times=20)
    assert story.weight(2) == 0
    story.table_speaks = True
    story.look(times=3)
    assert story.weight(2) == 5, "they blame nobody: the same step opens again"
    assert "evidence.seen" in story.names()


def test_in_a_freeze_it_stays_shut_and_says_so_though_nobody_is_to_blame(story: Story) -> None:
    storm(story)
    freeze = Freeze.between(story.now, story.now + timedelta(hours=1), reason="audit")
    spec = replace(story.application.spec, admission=Rules(freezes=(freeze,)))
    story.application = replace(story.application, spec=spec)
    story.table_speaks = True
    story.look(times=10)
    assert story.weight(2) == 0
    assert (story.live.hold or "").startswith("frozen (audit) until ")
    story.now += timedelta(hours=1)
    story.look(times=3)
    assert story.weight(2) == 5
    assert story.live.hold is None


def test_it_reopens_no_sooner_than_its_entity_is_ready_again(story: Story) -> None:
    storm(story)
    assert isinstance(story.endpoint, Endpoint)
    story.endpoint = replace(story.endpoint, ready=frozenset({"rag_chatbot-v1"}))
    story.table_speaks = True
    story.look(times=5)
    assert story.weight(2) == 0
    story.endpoint = replace(story.endpoint, ready=frozenset(story.endpoint.serving.shares))
    story.look(times=3)
    assert story.weight(2) == 5


def test_counts_that_blame_the_candidate_roll_it_back_out_of_the_shut_gate(story: Story) -> None:
    storm(story)
    story.table_speaks = True
    story.error_rates["2"] = 0.5
    story.look()
    assert story.release is not None
    assert story.release.state == "RolledBack"


def test_the_second_alarm_asks_a_person(story: Story) -> None:
    storm(story)
    story.table_speaks = True
    story.look(times=3)
    assert story.weight(2) == 5
    story.minutes = ()
    calm(story, 60)
    story.look(times=2)
    story.table_speaks = False
    for _ in range(40):
        if story.live.retreats > 1:
            break
        storm(story)
    assert story.live.retreats == 2
    assert story.live.needs_person
    asked = "the gate was shut for the second time: 1,800 of 36,000 requests to the endpoint failed"
    assert (story.live.hold or "").startswith(asked)
    assert story.weight(2) == 0


def test_what_the_counts_by_version_tell_of_already_alarms_nobody(story: Story) -> None:
    story.table_speaks = True
    story.look()
    for _ in range(3):
        storm(story)
    assert story.live.retreats == 0
    assert story.weight(2) > 0
    assert "fuse.blown" not in story.names()


def test_a_paused_canary_is_shut_all_the_same(story: Story) -> None:
    story.order(Order.PAUSE)
    storm(story)
    assert story.weight(2) == 0


def test_a_daemon_that_was_restarted_sets_its_fuses_by_the_minutes_in_the_record() -> None:
    """The metrics tell of the last minute alone; what was before it is written down."""
    story = Story()
    story.look()
    calm(story, 60)
    story.look()
    story.minutes = ()
    story.register(2)
    story.until("Canary")
    assert story.live.fuse is not None
    assert story.live.fuse.permitted < 0.01
    assert len(story.application.minutes) == 60


def test_no_minute_is_remembered_twice_nor_longer_than_a_day() -> None:
    story = Story()
    story.look()
    calm(story, DAY)
    story.look(times=3)
    assert len(story.application.minutes) == DAY
    story.now += timedelta(minutes=2)
    tell(story, 2, errors=7)
    story.look(times=3)
    assert len(story.application.minutes) == DAY
    assert [one.errors for one in story.application.minutes[-3:]] == [30, 7, 7]


def test_an_endpoint_without_history_has_no_fuse_and_goes_on() -> None:
    story = Story()
    story.look()
    story.register(2)
    story.until("Canary")
    assert story.live.fuse is None
    while story.application.stable == "1":
        story.look()


def pass_minute(story: Story, ahead: timedelta, errors: int = 30, lag: timedelta = MINUTE) -> None:
    """A minute passes, and one is told by a clock that is so far ahead of the record's."""
    story.look()
    ends_at = story.now + timedelta(seconds=30) + ahead - lag
    story.minutes = (*story.minutes, Minute(ends_at=ends_at, requests=6000, errors=errors))
    story.look()


def watching(story: Story) -> None:
    """On to the watch, the counts by version telling of a good version."""
    story.table_speaks = True
    while story.live.state != "Production" or not story.live.settled:
        pass_minute(story, timedelta())


def test_in_the_watch_too_what_the_counts_by_version_tell_of_alarms_nobody(story: Story) -> None:
    watching(story)
    story.table_speaks = False
    storm(story)
    assert story.live.needs_person
    assert "requests to the endpoint failed" in (story.live.hold or "")
    began = story.now
    story.table_speaks = True
    while story.application.stable == "1":
        pass_minute(story, timedelta())
        assert story.now - began <= QUICK.watch
    assert story.names().count("release.freed") == 1


def test_in_the_watch_counts_that_tell_of_harm_roll_back_and_explain_nothing_away(
    story: Story,
) -> None:
    watching(story)
    story.table_speaks = False
    storm(story)
    story.error_rates["2"] = 0.05
    story.table_speaks = True
    story.look(times=2)
    assert story.release is not None
    assert story.release.state == "RolledBack"
