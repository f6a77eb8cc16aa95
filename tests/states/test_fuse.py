"""The endpoint's own minutes shut the gate before the counts by version can accuse anyone."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.admission import Rules
from policies.calendar import Freeze
from policies.fuse import DAY, FRESH, STRETCH, Minute
from states.quarantine import lift, quarantine
from states.release import Order
from states.world import Absent, Endpoint, World
from tests.states.story import QUICK, Story
from tests.states.test_strangers import say

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


def blown_twice(story: Story) -> None:
    """The gate is shut on an alarm, opened again, and shut on another one."""
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


TWICE = "the gate was shut for the second time: "


def test_the_second_alarm_asks_a_person(story: Story) -> None:
    blown_twice(story)
    assert story.live.needs_person
    asked = f"{TWICE}1,800 of 36,000 requests to the endpoint failed"
    assert (story.live.hold or "").startswith(asked)
    assert story.weight(2) == 0


def asks_still(story: Story) -> None:
    """All counts arrive, and yet nothing opens until a person says so."""
    story.minutes = ()
    story.table_speaks = True
    story.look(times=20)
    assert story.weight(2) == 0
    assert (story.live.hold or "").startswith(TWICE)
    assert story.live.needs_person
    for order in (Order.PAUSE, Order.RUN):
        story.order(order)
        story.look(times=3)
    assert story.weight(2) > 0, "who resumes has looked at what held it"


def test_passes_that_failed_meanwhile_leave_the_question_of_the_second_alarm_open(
    story: Story,
) -> None:
    blown_twice(story)
    failing = quarantine(story.application, World(now=story.now), "its passes fail")
    assert failing is not None
    story.application = failing.application
    story.look()
    well = lift(story.application, World(now=story.now))
    assert well is not None
    story.application = well.application
    asks_still(story)


def test_an_endpoint_that_is_put_back_leaves_the_question_of_the_second_alarm_open(
    story: Story,
) -> None:
    blown_twice(story)
    assert isinstance(story.endpoint, Endpoint)
    story.endpoint = Absent()
    story.look()
    say(story, "revert")
    asks_still(story)


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
    story.ahead = ahead
    story.look()
    ends_at = story.now + timedelta(seconds=30) + ahead - lag
    story.minutes = (*story.minutes, Minute(ends_at=ends_at, requests=6000, errors=errors))
    story.look()


def opened(ahead: timedelta, *, errors: int = 30, lag: timedelta = MINUTE) -> Story:
    """A first step after calm minutes, and so many errors in each of the ten minutes before it.

    Less than an hour in all: what was before that would say that bursts are nothing new here.
    """
    story = Story()
    story.look()
    for _ in range(40):
        pass_minute(story, ahead, lag=lag)
    freeze = Freeze.between(story.now, story.now + 10 * MINUTE, reason="audit")
    rules = story.application.spec.admission
    story.application = replace(
        story.application,
        spec=replace(story.application.spec, admission=replace(rules, freezes=(freeze,))),
    )
    story.register(2)
    story.table_speaks = False
    while story.weight(2) == 0:
        pass_minute(story, ahead, errors, lag)
    return story


SKEWS = [timedelta(minutes=one) for one in (-60, -10, -5, -2, 0, 2, 5, 10, 60)]


@pytest.mark.parametrize("ahead", SKEWS, ids=str)
@pytest.mark.parametrize("lag", [timedelta(), MINUTE, FRESH], ids=str)
def test_it_sees_a_bad_step_in_time_whatever_the_records_clock_shows(
    ahead: timedelta, lag: timedelta
) -> None:
    story = opened(ahead, lag=lag)
    began = story.now
    while story.live.retreats == 0:
        pass_minute(story, ahead, errors=2000, lag=lag)
        assert story.now - began <= 2 * MINUTE + lag + FRESH
    assert story.live.hold is None


@pytest.mark.parametrize("ahead", SKEWS, ids=str)
def test_what_was_told_before_a_step_shuts_no_step_whatever_the_records_clock_shows(
    ahead: timedelta,
) -> None:
    story = opened(ahead, errors=300, lag=timedelta())
    assert story.live.fuse is not None
    assert story.live.fuse.most == (), "nothing holds it back"
    for _ in range(30):
        pass_minute(story, ahead, lag=timedelta())
    assert story.live.retreats == 0
    assert story.weight(2) > 0


def test_a_clock_that_is_not_measured_is_as_it_was_last() -> None:
    story = opened(5 * MINUTE)
    story.ahead = None
    story.look()
    assert story.live.ahead == 5 * MINUTE


def test_counts_are_held_against_the_minutes_on_one_clock() -> None:
    """Where the record is ahead, the counts seem to have told of an hour more than the minutes."""
    ahead = timedelta(hours=-1)
    story = opened(ahead)
    mark = story.now - 10 * MINUTE
    live = replace(story.live, watermarks=dict.fromkeys(story.live.sources.values(), mark))
    story.application = story.application.with_release(live)
    for _ in range(6):
        pass_minute(story, ahead, errors=2000)
    assert story.weight(2) == 0, "they have not told of these minutes yet"
    assert "fuse.blown" in story.names()


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


def test_a_long_step_is_told_of_by_the_stretch_that_its_minutes_are_of(story: Story) -> None:
    patient = replace(story.live.plan, max_lag=timedelta(days=1))
    story.application = story.application.with_release(replace(story.live, pinned=patient))
    hours = 2 * STRETCH + timedelta(hours=1)
    while len(story.minutes) < 60 + hours / MINUTE:
        pass_minute(story, timedelta(), lag=timedelta())
    assert story.live.step == 1
    assert len(story.live.minutes) <= STRETCH / MINUTE
    storm(story)
    [told] = [one for one in story.events if one.name == "fuse.blown"]
    assert " UTC, 8 h after the step was opened; " in told.because


def test_users_are_not_given_back_to_it_where_nothing_can_tell_who_erred() -> None:
    """No inference table, and labels that name no version: the fuse is all there is."""
    story = Story()
    assert isinstance(story.endpoint, Endpoint)
    story.endpoint = replace(story.endpoint, inference_table=None, capture_off=True)
    whole = replace(story.application.spec, rollout=replace(QUICK, steps=(100,)))
    story.application = replace(story.application, spec=whole)
    story.look()
    calm(story, 60)
    story.register(2)
    story.until("Canary")
    story.look()
    assert story.weight(2) == 100
    storm(story)
    story.look(times=20)
    assert story.weight(2) == 0
    assert story.live.needs_person
    assert "evidence.seen" not in story.names()
