"""What is told after a rollback, by stories whose harm is known to the minute."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from policies.fuse import Minute
from states.counted import Counted, Query
from states.examples import Found, examples, wanted
from states.machine import State
from states.plan import Event
from states.post_mortem import tell_post_mortem
from states.release import Application, Order, Release
from states.span import Span
from states.world import World
from tests.policies.counts import NOON, arm, block
from tests.states.answers import RICH, Answers
from tests.states.byhand import NOW, candidate, record, shown, turn
from tests.states.story import Story

LOOK = timedelta(seconds=30)


def told(story: Story) -> Event:
    """The one post-mortem of a story."""
    [event] = [event for event in story.events if event.name == "release.post_mortem"]
    return event


def on_step(step: int, **more: object) -> Story:
    """A story whose candidate has come to a step, and is settled there."""
    story = Story(**more)  # type: ignore[arg-type]
    story.look()
    story.register(2)
    story.until("Canary")
    while story.live.step < step or not story.live.spans[-1].settled:
        story.look()
    story.look()
    return story


def home(story: Story) -> None:
    """Look until the rollback has settled."""
    story.until("RolledBack")
    story.table_speaks = False
    while story.application.live is not None:
        story.look()


def test_a_version_that_goes_bad_on_a_step_is_told_of_with_the_minute_and_the_numbers() -> None:
    story = on_step(2)
    went_bad = story.now
    before = sum(block.candidate.requests for block in story.live.blocks)
    assert before > 0
    story.error_rates["2"] = 0.1
    home(story)
    event = told(story)
    blocks = story.application.releases[-1].blocks
    got = sum(block.candidate.requests for block in blocks)
    bad = sum(block.candidate.errors for block in blocks)
    assert got > before
    assert event.fields["guard"] == "errors"
    assert event.fields["requests"] == got
    assert event.fields["bad"] == event.fields["excess"] == bad
    assert event.fields["kinds"] == [["server errors or no answer", 0], ["other 4xx", bad]]
    assert event.fields["first_bad_from"] == went_bad.isoformat()
    assert event.fields["first_bad_until"] == (went_bad + LOOK).isoformat()
    assert event.fields["users_weight"] == 25
    shut = datetime.fromisoformat(str(event.fields["shut_at"]))
    assert shut == story.now
    assert event.fields["shut_after_s"] == (shut - went_bad).total_seconds()
    assert f"{bad:,} of {got:,} failed" in event.because
    assert f"first bad minute was {went_bad:%Y-%m-%d %H:%M:%S}" in event.because
    assert "at up to 25 % of users" in event.because


def test_it_is_told_in_the_turn_in_which_the_rollback_settles_and_once() -> None:
    story = on_step(1)
    story.error_rates["2"] = 0.5
    home(story)
    names = story.names()
    settled = len(names) - 1 - names[::-1].index("release.settled")
    assert names[settled : settled + 2] == ["release.settled", "release.post_mortem"]
    story.look(times=5)
    assert told(story)


def test_a_version_that_is_bad_from_its_first_user_on_is_bad_since_it_was_opened() -> None:
    story = Story(error_rates={"2": 0.3})
    story.look()
    story.register(2)
    story.until("Canary")
    opened = story.now
    home(story)
    assert told(story).fields["first_bad_from"] == opened.isoformat()


def test_what_stable_errs_is_no_toll_of_the_candidates() -> None:
    story = on_step(1, error_rates={"2": 0.02, "": 0.02})
    story.error_rates["2"] = 0.2
    home(story)
    fields = told(story).fields
    observed, excess = float(str(fields["observed"])), float(str(fields["excess"]))
    assert fields["usual_rate"] == pytest.approx(0.02, abs=0.001)
    assert excess == pytest.approx(float(str(fields["bad"])) - observed * 0.02, abs=2)


def test_the_metrics_minutes_tell_the_minute_within_a_window_of_the_table() -> None:
    story = on_step(2)
    story.table_speaks = False
    for number in range(10):
        story.look(after=60)
        failed = 300 if number >= 7 else 0
        story.minutes += (Minute(ends_at=story.now, requests=12_000, errors=failed),)
        if number == 6:
            last_good = story.now
    story.error_rates["2"], story.table_speaks = 0.05, True
    home(story)
    fields = told(story).fields
    assert fields["first_bad_from"] == last_good.isoformat()
    assert fields["first_bad_until"] == (last_good + timedelta(minutes=1)).isoformat()


def test_requests_that_came_after_the_last_that_were_counted_are_estimated() -> None:
    story = on_step(2)
    story.error_rates["2"], story.obeys = 0.3, False
    story.until("RolledBack")
    counted = story.live.blocks[-1].closed_at
    story.table_speaks = False
    for _ in range(3):
        story.look(after=60)
        story.minutes += (Minute(ends_at=story.now, requests=1_000, errors=0),)
    story.obeys = True
    while story.application.live is not None:
        story.look()
    assert counted < story.minutes[0].ends_at
    fields = told(story).fields
    assert fields["uncounted"] == 3 * 250
    assert "about 750 more of its requests were not counted by then" in told(story).because


def test_how_late_the_table_was_when_it_was_decided_is_told() -> None:
    story = on_step(2)
    story.error_rates["2"] = 0.3
    late = timedelta(minutes=12)
    evidence = story._evidence

    def delayed() -> object:
        told_of = evidence()
        marks = {name: mark - late for name, mark in told_of.watermarks.items()} if told_of else {}
        return replace(told_of, watermarks=marks) if told_of else None

    story._evidence = delayed  # type: ignore[assignment, method-assign]
    home(story)
    assert told(story).fields["lag_s"] == late.total_seconds()
    assert "the inference table told of requests 12 min late" in told(story).because


def test_slow_answers_are_told_of_as_slow_answers() -> None:
    story = on_step(1, history=RICH)
    went_bad = story.now
    story.answered["2"] = Answers(slower=3.0)
    home(story)
    event = told(story)
    assert event.fields["guard"] == "latency"
    assert event.fields["first_bad_from"] == went_bad.isoformat()
    assert "ms" in event.because
    found = wanted(story.application, "2", 1)
    assert found is not None
    assert found.slow_ms == pytest.approx(RICH.latency_ms[3], abs=1)


def test_answers_with_a_fault_are_told_of_by_the_guard_on_answers() -> None:
    story = on_step(1, history=RICH)
    story.answered["2"] = Answers(faulty=0.6)
    home(story)
    assert told(story).fields["guard"] == "answers"
    assert "answers faulty" in told(story).because


def test_a_version_that_no_user_met_leaves_nothing_to_count() -> None:
    story = Story(golden_fails=frozenset({"2"}))
    story.look()
    story.register(2)
    home(story)
    event = told(story)
    assert event.fields == {"requests": 0}
    assert event.because.startswith("no user met it: ")
    assert wanted(story.application, "2", 1) is None


def test_one_that_was_aborted_says_so_and_what_its_users_met_and_blames_no_guard() -> None:
    story = on_step(2)
    story.order(Order.ABORT)
    home(story)
    event = told(story)
    assert event.because.startswith("aborted by the operator: its users sent ")
    assert "guard" not in event.fields
    assert "first_bad_from" not in event.fields
    assert event.fields["bad"] == 0
    assert wanted(story.application, "2", 1) is None


def test_a_gate_that_was_shut_first_was_shut_then() -> None:
    story = on_step(2)
    story.minutes = tuple(
        Minute(ends_at=story.now - timedelta(minutes=60 - n), requests=6000, errors=0)
        for n in range(60)
    )
    story = _reopened_with_minutes(story)
    went_bad = story.now
    story.error_rates["2"], story.table_speaks = 0.5, False
    while not story.live.shut:
        story.look(after=60)
        story.minutes += (Minute(ends_at=story.now, requests=12_000, errors=1_500),)
    shut = story.now
    story.look(times=3)
    story.table_speaks = True
    home(story)
    fields = told(story).fields
    assert fields["shut_at"] == shut.isoformat()
    assert fields["shut_after_s"] == (shut - went_bad).total_seconds() < 600


def _reopened_with_minutes(story: Story) -> Story:
    """On to the third step, whose fuse knows the hour before it."""
    while story.live.step < 3 or not story.live.spans[-1].settled:
        story.look()
    assert story.live.fuse is not None
    story.look()
    return story


def test_what_is_looked_up_is_the_closing_guards_and_goes_into_the_journal_by_ids_alone() -> None:
    story = on_step(2)
    story.error_rates["2"] = 0.2
    went_bad = story.now
    home(story)
    found = wanted(story.application, "2", 1)
    assert found is not None
    assert (found.guard, found.entity, found.since) == ("errors", "rag_chatbot-v2", went_bad)
    world = World(now=story.now)
    some = Found(ids=("a", "b"), statuses=(("400", 7),), first_at=went_bad)
    plan = examples(story.application, world, found, some)
    assert plan is not None
    [event] = plan.events
    assert (event.name, event.release) == ("release.examples", ("2", 1))
    assert event.fields["request_ids"] == ["a", "b"]
    assert event.fields["statuses"] == [["400", 7]]
    assert event.because.endswith(f"the first at {went_bad:%Y-%m-%d %H:%M:%S} UTC")
    assert plan.application == story.application
    assert plan.calls == ()
    assert examples(story.application, world, found, Found()) is None
    assert examples(_forgotten(story.application), world, found, some) is None


def _forgotten(application: Application) -> Application:
    return replace(application, releases=application.releases[:1])


# Records made by hand, and the whole of what is told.


def after(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def bad_span(number: int, weight: int, minutes: float) -> Span:
    return Span(number=number, step=number, weight=weight, starts_at=after(minutes), settled=True)


FAILED = candidate(
    state=State.ROLLED_BACK,
    step=2,
    since=after(5),
    because="errors: too many",
    sources={"errors": "inference_table"},
    verdicts={"errors": "FAIL at step 2"},
    watermarks={"inference_table": after(3)},
    spans=(bad_span(1, 5, 1), bad_span(2, 25, 2), bad_span(3, 0, 5)),
    blocks=(
        block(arm(100), arm(1_900, 19), number=1),
        block(arm(500, 250, 100), arm(1_500, 15), number=2, span=2),
    ),
)
MET = (
    "its users sent 600 requests that were counted; 250 of 600 failed (41.7 %): 100 server errors "
    "or no answer, 150 other 4xx; 244 more than with stable (1 %)"
)
LATE = "the inference table told of requests 2 min late"
COUNTS: dict[str, Any] = {
    "source": "inference_table",
    "requests": 600,
    "observed": 600,
    "shut_at": "2026-11-23T12:05:00+00:00",
    "bad": 250,
    # Of 600 requests 6 would have failed with stable, of which 34 of 3,400 did.
    "excess": 244,
    "bad_rate": 0.416667,
    "usual_rate": 0.01,
    "kinds": [["server errors or no answer", 100], ["other 4xx", 150]],
    "lag_s": 120.0,
}


def told_of(release: Release, **facts: object) -> Event:
    made = turn(record(release, **facts), shown())
    tell_post_mortem(made, release)
    [line] = made.events
    assert (line.name, line.release, line.level) == ("release.post_mortem", ("2", 1), "warning")
    return line


def test_what_users_met_is_told_whole() -> None:
    line = told_of(FAILED)
    assert line.because == (
        f"errors: {MET}; at up to 25 % of users; the first bad minute was 2026-11-23 12:02:00 to "
        f"12:03:00 UTC; the gate was shut 3 min after it began; {LATE}"
    )
    began = {
        "guard": "errors",
        "users_weight": 25,
        "first_bad_from": "2026-11-23T12:02:00+00:00",
        "first_bad_until": "2026-11-23T12:03:00+00:00",
        "shut_after_s": 180.0,
    }
    assert line.fields == COUNTS | began


def test_failures_are_told_by_kind_only_where_their_source_tells_kinds_apart() -> None:
    by_query = replace(
        FAILED,
        sources={**FAILED.sources, "errors": "query:gateway"},
        blocks=tuple(replace(one, source="query:gateway") for one in FAILED.blocks),
    )
    for told_apart, kinds in ((True, COUNTS["kinds"]), (False, [])):
        query = Query(name="gateway", sql="SELECT 1", counts="errors", server_errors=told_apart)
        pinned = replace(by_query.plan, counted=Counted(queries=(query,)))
        line = told_of(replace(by_query, pinned=pinned))
        assert line.fields["kinds"] == kinds
        assert ("other 4xx" in line.because) is told_apart


def test_the_endpoints_minutes_tell_the_minute_and_what_was_not_counted() -> None:
    def minute(ends: float, errors: int = 0) -> Minute:
        return Minute(ends_at=after(ends), requests=1_000, errors=errors)

    # Of 1,000 requests 10 fail with stable: 20 errors are no more than chance brings at times.
    usual = (minute(1.5, 900), minute(2, 900), minute(2.4, 19))
    seen = (*usual, minute(2.6, 21), minute(2.9, 500), minute(4), minute(5), minute(6), minute(6.1))
    line = told_of(FAILED, minutes=seen)
    assert line.because == (
        f"errors: {MET}; at up to 25 % of users; the first bad minute was 2026-11-23 12:02:00 to "
        f"12:02:36 UTC; the gate was shut 3 min after it began; {LATE}; about 750 more of its "
        "requests were not counted by then"
    )
    assert line.fields["first_bad_from"] == "2026-11-23T12:02:00+00:00"
    assert line.fields["first_bad_until"] == "2026-11-23T12:02:36+00:00"
    assert line.fields["uncounted"] == 750
    quiet = told_of(FAILED, minutes=(minute(2.9),))
    assert "uncounted" not in quiet.fields
    none = told_of(FAILED, minutes=(replace(minute(4), requests=0),))
    assert none.fields["uncounted"] == 0
    assert none.because.endswith(LATE)


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1)])
def test_how_long_it_took_does_not_depend_on_how_far_databricks_clock_is_ahead(
    ahead: timedelta,
) -> None:
    """Blocks and minutes have Databricks' time; spans, marks and the look have the record's."""
    blocks = tuple(
        replace(one, opened_at=one.opened_at + ahead, closed_at=one.closed_at + ahead)
        for one in FAILED.blocks
    )
    minutes = tuple(
        Minute(ends_at=after(ends) + ahead, requests=1_000, errors=0) for ends in range(1, 20)
    )
    apart = replace(FAILED, blocks=blocks, ahead=ahead)
    line = told_of(apart, minutes=minutes)
    assert line.fields["first_bad_from"] == (after(2) + ahead).isoformat(), "as the table has it"
    assert line.fields["shut_at"] == after(5).isoformat(), "as the journal has it"
    assert line.fields["shut_after_s"] == 180.0
    assert line.fields["uncounted"] == 750
    assert "the gate was shut 3 min after it began" in line.because
    assert "about 750 more of its requests were not counted by then" in line.because
    # Nothing was counted since its first user came: four minutes, and the one in which it was shut.
    silent = told_of(replace(apart, blocks=()), minutes=minutes)
    assert silent.fields["uncounted"] == 5 * 250


def test_where_no_guard_closed_the_gate_it_is_told_why_it_went_and_what_users_met() -> None:
    aborted = replace(
        FAILED, verdicts={"errors": "PASS at step 2"}, because="aborted", watermarks={}
    )
    line = told_of(aborted)
    assert line.because == f"aborted: {MET}; at up to 25 % of users"
    assert line.fields == {name: value for name, value in COUNTS.items() if name != "lag_s"} | {
        "users_weight": 25
    }
    unshut = replace(aborted, spans=aborted.spans[:2])
    assert told_of(unshut).fields["shut_at"] == NOW.isoformat(), "shut once they were seen home"


def test_where_nobody_counted_or_no_user_came_that_is_told() -> None:
    uncounted = told_of(replace(FAILED, sources={}))
    assert uncounted.because == (
        "no source counts by version, so nobody knows what users met: errors: too many"
    )
    assert uncounted.fields == {}
    unmet = told_of(replace(FAILED, step=0))
    assert unmet.because == "no user met it: errors: too many"
    assert unmet.fields == {"requests": 0}
