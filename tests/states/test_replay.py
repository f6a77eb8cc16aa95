from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from policies.pairs import Pair, Reply
from policies.replay import Margins, Replay
from policies.rollout import Rollout
from policies.verdict import Outcome
from states.plan import Event
from states.reconcile import reconcile
from states.release import Application, Order, Release
from states.status import status
from states.world import Endpoint
from tests.states.story import ANSWERED, QUICK, SPEC, Story, alike

FAILED = Reply(failed=True)
ALONE = Rollout(steps=(100,), bake=timedelta(minutes=5), watch=timedelta(minutes=10))


def told(rollout: Rollout = QUICK, recorded: int = 200, **settings: object) -> Story:
    """Version 2 of an application whose requests are safe to repeat, about to be replayed."""
    replay = Replay(**settings)  # type: ignore[arg-type]
    spec = replace(SPEC, rollout=rollout, replay=replay)
    story = Story(application=Application(name="rag-chatbot", spec=spec), recorded=recorded)
    story.look()
    story.register(2)
    return story


def release(story: Story) -> Release:
    found = story.application.newest("2")
    assert found is not None
    return found


def finished(story: Story) -> Event:
    [event] = [one for one in story.events if one.name == "replay.finished"]
    return event


def bad(when: Callable[[int], bool], reply: Reply) -> Callable[[str], Pair]:
    """The candidate answers some recorded requests otherwise."""
    return lambda request: (
        replace(alike(request), candidate=reply, overlap=None)
        if when(int(request.rsplit("-", 1)[1]))
        else alike(request)
    )


def test_a_good_version_opens_once_it_has_answered_what_users_asked_of_stable() -> None:
    story = told()
    opened = story.until("Canary")
    assert opened.replay is not None
    assert opened.replay.outcome is Outcome.PASS
    assert opened.replay.pairs == 180, "as many as its margins need, and a look's rest"
    assert "replay of 180 recorded requests: no worse" in opened.because
    names = [name for name in story.names() if name.startswith("replay.")]
    assert names == ["replay.started", *["replay.batch"] * 9, "replay.finished"]
    assert finished(story).level == "info"
    assert finished(story).fields["stable_errors"] == 0


def test_nobody_meets_the_version_while_it_is_replayed_and_status_says_how_far_it_is() -> None:
    story = told()
    story.until("Testing")
    said = []
    while release(story).state == "Testing":
        assert story.weight(2) == 0
        said.append(status(story.application, release(story))["next"])
        story.look()
    assert said[:3] == [
        "5 % of users, once the golden queries and the replay pass",
        "5 % of users, once recorded requests were replayed",
        "5 % of users, once recorded requests were replayed (0 of 200 so far)",
    ]
    assert "5 % of users, once recorded requests were replayed (160 of 200 so far)" in said


@pytest.mark.parametrize(
    ("reply", "when", "words"),
    [
        (replace(ANSWERED, latency_ms=1600), lambda _: True, "latency 1.98 times stable's"),
        (replace(ANSWERED, sources=0), lambda number: number % 5 == 0, "without sources"),
        (FAILED, lambda number: number % 5 == 0, "errors"),
        (replace(ANSWERED, tokens=450), lambda _: True, "tokens 2.99 times"),
        (replace(ANSWERED, length=0), lambda number: number % 5 == 0, "empty answers"),
    ],
)
def test_a_bad_version_goes_home_before_any_user_meets_it(
    reply: Reply, when: Callable[[int], bool], words: str
) -> None:
    story = told()
    story.paired = bad(when, reply)
    rolled = story.until("RolledBack")
    assert words in rolled.because
    assert "Canary" not in [event.fields.get("to_state") for event in story.events]
    event = finished(story)
    assert (event.level, event.fields["verdict"]) == ("warning", "FAIL")
    worst = event.fields["worst"]
    assert isinstance(worst, list)
    assert worst[0]["request"].startswith("request-")
    assert set(worst[0]) == {"request", "why"}, "ids, and words of ours"


def test_a_failing_environment_blames_neither_and_is_waited_for() -> None:
    story = told()
    story.paired = lambda request: replace(alike(request), candidate=FAILED, stable=FAILED)
    story.until("Testing")
    story.look(times=6)
    assert release(story).state == "Testing"
    assert "fail on both versions: the environment is at fault" in (release(story).hold or "")
    story.paired = alike
    assert story.until("Canary").hold is None


def test_a_replay_that_only_ever_fails_on_both_opens_nothing() -> None:
    story = told()
    story.paired = lambda request: replace(alike(request), candidate=FAILED, stable=FAILED)
    story.look(times=60)
    held = release(story)
    assert held.state == "Testing"
    assert held.needs_person
    assert "200 more failed on both versions" in (held.hold or "")
    assert story.weight(2) == 0


def test_an_undecided_replay_leaves_the_decision_to_the_steps_and_says_so() -> None:
    story = told(recorded=50)
    opened = story.until("Canary")
    assert opened.replay is not None
    assert opened.replay.outcome is Outcome.INSUFFICIENT
    assert "replay of 50 recorded requests leaves undecided: errors 0, stable 0" in opened.because


def test_where_nothing_is_recorded_the_steps_decide_too() -> None:
    story = told(recorded=0)
    assert "nothing of users is recorded" in story.until("Canary").because


def test_where_no_step_compares_an_undecided_replay_asks() -> None:
    story = told(ALONE, recorded=50)
    story.until("Testing")
    story.look(times=10)
    held = release(story)
    assert (held.state, held.needs_person) == ("Testing", True)
    assert "no step below 100 % will decide it: abort it, or set replay.on_undecided" in (
        held.hold or ""
    )


@pytest.mark.parametrize(("answer", "state"), [("go_on", "Canary"), ("roll_back", "RolledBack")])
def test_where_no_step_compares_the_configuration_of_today_answers(answer: str, state: str) -> None:
    story = told(ALONE, recorded=50)
    story.until("Testing")
    story.look(times=10)
    assert release(story).needs_person
    today = Replay(on_undecided=answer)  # type: ignore[arg-type]
    story.application = replace(
        story.application, spec=replace(story.application.spec, replay=today)
    )
    assert story.until(state).version == "2"


def test_where_no_step_compares_a_replay_that_passes_is_what_opens() -> None:
    story = told(ALONE)
    opened = story.until("Canary")
    assert opened.steps == (100,)
    assert "no worse" in opened.because


def test_an_endpoint_with_little_traffic_opens_by_its_replay() -> None:
    """At this pace no step decides within patience: the steps are 100 alone."""
    story = told()
    story.pace = 0.0005
    opened = story.until("Canary")
    assert opened.steps == (100,)
    assert opened.replay is not None
    assert opened.replay.outcome is Outcome.PASS
    bare = Story(application=Application(name="rag-chatbot", spec=SPEC), pace=0.0005)
    bare.look()
    bare.register(2)
    assert bare.until("Canary").steps == (100,), "without a replay, golden queries alone open it"


def test_more_likely_harm_than_not_is_asked_about_even_where_steps_compare() -> None:
    story = told(margins=Margins(sources=0.1), recorded=60)
    story.paired = bad(lambda number: number % 10 == 0, replace(ANSWERED, sources=0))
    story.until("Testing")
    story.look(times=10)
    held = release(story)
    assert (held.state, held.needs_person) == ("Testing", True)
    assert "more likely harm than not: without sources 6, stable 0 of 60" in (held.hold or "")


def test_a_replay_ends_in_time_with_what_it_has() -> None:
    story = told(within=timedelta(minutes=2))
    story.pairs_per_look = 5
    opened = story.until("Canary")
    assert opened.replay is not None
    assert opened.replay.outcome is Outcome.INSUFFICIENT
    assert opened.replay.pairs <= 30
    assert "of 200 in 2 min" in opened.because


def test_a_look_that_is_repeated_after_a_kill_counts_no_pair_twice() -> None:
    story = told()
    story.until("Testing")
    story.look(times=3)
    world = story.world()
    once = reconcile(story.application, world).application
    twice = reconcile(once, replace(world, now=world.now + timedelta(seconds=30))).application
    for found in (once, twice):
        live = found.live
        assert live is not None
        assert live.replay is not None
        assert live.replay.pairs == 40


def test_an_abort_ends_a_replay() -> None:
    story = told()
    story.until("Testing")
    story.look(times=4)
    story.order(Order.ABORT)
    story.look()
    assert release(story).state == "RolledBack"


def test_behind_a_fallback_nothing_is_replayed() -> None:
    story = told()
    story.until("Testing")
    assert isinstance(story.endpoint, Endpoint)
    story.endpoint = replace(story.endpoint, fallback=True)
    story.look(times=4)
    held = release(story)
    assert "hides errors of what is replayed" in (held.hold or "")
    story.endpoint = replace(story.endpoint, fallback=False)
    assert story.until("Canary").hold is None


def test_a_first_release_has_nothing_to_be_replayed_against() -> None:
    replay = replace(SPEC, replay=Replay())
    story = Story(application=Application(name="rag-chatbot", spec=replay), recorded=200)
    story.endpoint, story.alias, story.versions = None, None, {}
    from states.world import Absent  # noqa: PLC0415

    story.endpoint, story.alias = Absent(), Absent()
    story.look()
    story.register(1)
    assert story.until("Canary").replay is None


def test_without_a_configuration_nothing_is_replayed() -> None:
    story = Story(recorded=200)
    story.look()
    story.register(2)
    assert story.until("Canary").replay is None
