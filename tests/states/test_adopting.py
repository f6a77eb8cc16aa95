"""What becomes of an application whose world was changed by others, and adopted or put back."""

from dataclasses import replace
from datetime import timedelta

import pytest

from states.applying import refusal as apply_refusal
from states.desired import desired
from states.difference import Answer, Change
from states.machine import State
from states.plan import MoveAlias, Serve, SwitchFallbackOff
from states.release import Application, Order
from states.status import status
from states.world import Absent, Endpoint, Variables
from tests.states.story import SPEC, Story, serving
from tests.states.strangers import EDITS, at, move, serve, shares
from tests.states.test_strangers import rests, say, served, shown_to


def hold(story: Story) -> str:
    return story.application.hold or ""


def endpoint_of(story: Story) -> Endpoint:
    assert isinstance(story.endpoint, Endpoint)
    return story.endpoint


def test_another_version_at_100_percent_becomes_stable_and_the_trial_ends() -> None:
    story = at("first step")
    story.register(7, **{"headgate.state": "RolledBack"})
    story.edit(v1=0, v2=5, v7=95)
    story.alias = "7"
    story.look()
    assert "version 7" in hold(story)
    story.edit(v1=0, v2=0, v7=100)
    story.look()
    assert story.application.live is None or story.live.state is State.ROLLED_BACK
    say(story, "adopt")
    story.look(times=3)
    assert story.application.stable == "7"
    states = {one.version: (one.state, one.settled) for one in story.application.releases}
    assert states == {
        "1": (State.RETIRED, True),
        "2": (State.ROLLED_BACK, True),
        "7": (State.PRODUCTION, True),
    }
    assert served(story) == serving(v1=0, v2=0, v7=100)
    rests(story)


def test_a_version_that_was_rolled_back_may_be_adopted_as_one_more_attempt() -> None:
    story = at("going home")
    story.look(times=4)
    story.edit(v1=0, v2=100)
    story.alias = "2"
    story.look()
    say(story, "adopt")
    story.look()
    newest = story.application.newest("2")
    assert newest is not None
    assert (newest.attempt, newest.state, newest.confirmed) == (2, State.PRODUCTION, True)
    first = next(one for one in story.application.releases if one.version == "2")
    assert (first.attempt, first.state) == (1, State.ROLLED_BACK)
    rests(story)


@pytest.mark.parametrize("percent", [20, 95])
def test_more_users_than_the_step_has_earned_are_never_adopted(percent: int) -> None:
    story = at("first step")
    move(story, "rag_chatbot-v1", "rag_chatbot-v2", percent)
    story.look()
    say(story, "adopt")
    story.look()
    assert f"cannot adopt: version 2 is on trial and has {5 + percent} % of users" in hold(story)
    assert story.weight(2) == 5 + percent, "and it waits for a person"
    say(story, "revert")
    story.look()
    assert story.weight(2) == 5
    rests(story)


def test_a_deleted_endpoint_that_is_adopted_begins_anew_without_what_failed() -> None:
    story = at("going home")
    story.look(times=4)
    story.endpoint = Absent()
    story.look()
    sent = len(story.calls)
    say(story, "adopt")
    story.look(times=10)
    assert story.application.hold is None
    assert story.application.stable is None
    assert not [one for one in story.calls[sent:] if isinstance(one, Serve)], "nothing is started"
    story.register(3)
    story.until("Production")
    assert served(story) == serving(v3=100)
    assert [one.version for one in story.application.releases if one.live] == ["3"]
    story.alias = "1"  # it was left there, and the call that moves it has not come yet
    story.look(after=60)
    assert story.application.change is None
    assert story.alias == "3"


def test_an_endpoint_created_again_has_nothing_that_may_not_be_built_any_more() -> None:
    story = at("going home")
    story.endpoint = Absent()
    story.look(times=2)
    say(story, "revert")
    story.look(times=4)
    assert served(story) == serving(v1=100), "what was kept at 0 % would keep stable from serving"
    rests(story)


def test_what_cannot_be_built_any_more_keeps_nobody_from_home() -> None:
    story = at("going home")
    # As after a `revert` of its removal: it is wanted, and not there, and no update succeeds.
    story.application = replace(story.application, carried=serving(v7=0))
    story.obeys, sent = False, len(story.calls)
    story.look(after=120, times=3)
    story.obeys = True
    story.look(after=120, times=3)
    asked = [call.serving for call in story.calls[sent:] if isinstance(call, Serve)]
    assert asked[0] == serving(v1=100, v2=0, v7=0), "it is tried once"
    assert asked[-1] == served(story) == serving(v1=100, v2=0)
    rests(story)


def test_an_endpoint_created_again_gives_no_users_to_a_version_that_is_not_ready() -> None:
    story = at("third step")
    story.endpoint, sent = Absent(), len(story.calls)
    story.look(times=3)
    assert len(story.calls) == sent, "it is not created unasked"
    say(story, "revert")
    plan = story.look()
    assert plan.calls == (Serve(serving(v1=100, v2=0)),)
    made = endpoint_of(story)
    story.endpoint = replace(made, ready=frozenset({"rag_chatbot-v1"}))
    story.look(times=5)
    assert story.weight(2) == 0
    story.endpoint = replace(made, ready=frozenset({"rag_chatbot-v1", "rag_chatbot-v2"}))
    story.look(times=3)
    assert story.weight(2) == 50, "the same step, once it is ready"


def test_an_answer_to_an_earlier_difference_is_void_and_the_new_one_is_shown() -> None:
    story = at("none live")
    story.edit(v1=100, v7=0)
    story.look()
    say(story, "adopt")
    story.edit(v1=90, v7=10)
    story.look()
    assert "`adopt` answered an earlier difference, and is void" in hold(story)
    assert "was added at 10 %" in hold(story)
    story.edit(v1=100, v7=0)
    story.look(times=3)
    assert shown_to(story) is not None, "the same again is another change"
    assert served(story) == serving(v1=100, v7=0)


def test_what_was_adopted_is_carried_through_the_next_release() -> None:
    story = at("none live")
    EDITS["another model at 0 %"](story)
    story.look()
    say(story, "adopt")
    story.look()
    assert story.application.hold is None
    story.register(2)
    story.until("Production")
    assert shares(story)["theirs"].weight == 0
    rests(story)


def test_a_fallback_that_is_reverted_is_switched_off_and_nothing_opens_before_it_is() -> None:
    story = at("first step")
    spans = len(story.live.spans)
    EDITS["fallback on"](story)
    story.look(times=20)
    assert story.weight(2) == 5, "nothing is opened while it hides errors"
    story.obeys = False
    say(story, "revert")
    plan = story.look()
    assert plan.calls == (SwitchFallbackOff(),)
    story.look(times=3)
    assert story.application.hold is None
    assert story.weight(2) == 5, "nor while it is not seen off"
    story.obey(SwitchFallbackOff())
    story.obeys = True
    story.look()
    assert not endpoint_of(story).fallback
    assert story.weight(2) == 5, "what was counted meanwhile proves nothing"
    assert len(story.live.spans) == spans + 2
    story.look(times=5)
    assert story.weight(2) > 5
    rests(story)


def test_a_fallback_that_is_switched_on_again_is_another_change() -> None:
    story = at("first step")
    for number in (1, 2):
        EDITS["fallback on"](story)
        story.look()
        say(story, "revert")
        story.look(times=2)
        assert story.application.hold is None
        assert story.calls.count(SwitchFallbackOff()) == number


def test_a_fallback_that_cannot_be_switched_off_is_told_and_tried_on() -> None:
    story = at("first step")
    EDITS["fallback on"](story)
    story.look()
    say(story, "revert")
    story.obeys = False
    story.look(times=12)
    assert "AI Gateway's fallback is on" in hold(story)
    assert "off was asked for 3 times" in hold(story)
    assert story.weight(2) == 5
    story.obeys = True
    story.look(times=40)
    assert not endpoint_of(story).fallback
    assert story.application.hold is None


@pytest.mark.parametrize("state", ["first step", "third step", "baking", "in watch", "shut"])
def test_a_fallback_that_is_adopted_stays_on_and_nothing_opens_under_it(state: str) -> None:
    story = at(state)
    had = story.weight(2)
    EDITS["fallback on"](story)
    story.look()
    say(story, "adopt")
    story.table_speaks = True
    story.look(times=60)
    assert endpoint_of(story).fallback
    assert story.weight(2) == had
    assert "fallback hides a canary's errors" in (story.live.hold or "")
    assert status(story.application, story.live)["needs_person"]
    story.endpoint = replace(endpoint_of(story), fallback=False)
    story.until("Production")
    rests(story)
    assert (story.application.stable, story.alias) == ("2", "2")


@pytest.mark.parametrize("how", ["harm", "order"])
def test_under_a_fallback_that_was_adopted_a_release_still_goes_back(how: str) -> None:
    story = at("third step")
    EDITS["fallback on"](story)
    story.look()
    say(story, "adopt")
    story.look(times=2)
    if how == "harm":
        story.error_rates["2"] = 0.5
    else:
        story.order(Order.ABORT)
    story.look(times=4)
    assert story.application.live is None
    assert (story.weight(1), endpoint_of(story).fallback) == (100, True)


def test_other_changes_wait_for_their_own_answer_while_the_fallback_goes_off() -> None:
    story = at("first step")
    EDITS["fallback on"](story)
    story.look()
    say(story, "revert")
    EDITS["another model at 0 %"](story)
    plan = story.look()
    assert plan.calls == (), "the word was for the fallback alone, and is void"
    assert "fallback is on" in hold(story)
    assert "theirs" in hold(story)
    say(story, "revert")
    story.look()
    assert story.calls[-2:] == [Serve(serving(v1=95, v2=5)), SwitchFallbackOff()]
    rests(story)


def made_anew(story: Story) -> None:
    """Deleted and made again between two looks, with the very same entities and weights."""
    ms = int(story.now.timestamp() * 1000)
    story.endpoint = replace(endpoint_of(story), id="another", created_ms=ms, config_version=1)


@pytest.mark.parametrize("word", ["adopt", "revert"])
@pytest.mark.parametrize("state", ["none live", "first step", "in watch"])
def test_an_endpoint_made_anew_with_all_as_it_was_is_shown_at_once(state: str, word: str) -> None:
    story = at(state)
    found, sent = served(story), len(story.calls)
    made_anew(story)
    story.look()
    assert "it was deleted, and made anew" in hold(story)
    assert "by hand" not in hold(story), "there is no way to put the former one back"
    story.look(times=40)
    assert (served(story), len(story.calls)) == (found, sent)
    say(story, word)
    story.look()
    assert story.application.hold is None
    assert not story.application.ours
    rests(story)


def test_answers_of_the_former_endpoint_are_stale_however_high_their_versions() -> None:
    story = at("first step")
    former = replace(endpoint_of(story), config_version=99)
    made_anew(story)
    story.look()
    anew, change = story.endpoint, shown_to(story)
    story.endpoint = former
    story.look(times=3)
    assert shown_to(story) == change
    story.endpoint = anew
    story.look()
    assert shown_to(story) == change, "it is the same change, told once"


@pytest.mark.parametrize("word", ["adopt", "revert"])
def test_variables_of_an_endpoint_made_anew_are_not_lost_to_a_release_under_way(word: str) -> None:
    story = at("first step")
    spec = replace(story.application.spec, environment_declared=False)
    story.application = replace(story.application, spec=spec, ours=True)
    made_anew(story)
    story.look()
    sent = len(story.calls)
    say(story, word)
    story.look(times=20)
    assert "serving.environment of rag-chatbot is not declared" in hold(story)
    assert len(story.calls) == sent
    story.application = replace(story.application, spec=SPEC)
    story.look()
    assert story.application.hold is None
    story.until("Production")


def test_an_endpoint_of_ours_that_is_deleted_before_it_serves_is_created_again() -> None:
    story = Story(endpoint=Absent(), alias=Absent(), obeys=False)
    story.until("Provisioning")
    story.obeys = True
    story.look(after=60)
    first = replace(endpoint_of(story), serving=serving(), ready=frozenset(), updating=True)
    story.endpoint = first
    story.look(times=2)
    story.endpoint = Absent()
    story.until("Production")
    assert endpoint_of(story).id != first.id
    assert story.application.change is None


@pytest.mark.parametrize("dangling", [False, True])
def test_a_stable_version_that_was_deleted_stops_exposure_until_a_person_accepts_it(
    *, dangling: bool
) -> None:
    """Unity Catalog deletes its aliases too; other registries leave them dangling."""
    story = at("first step")
    EDITS["version 1 deleted"](story)
    story.alias = "1" if dangling else Absent()
    story.look(times=10)
    assert "version 1 was deleted from the registry" in hold(story)
    assert "going back to it is not sure" in hold(story)
    assert story.weight(2) == 5
    say(story, "adopt")
    story.until("Production")
    rests(story)
    assert (story.application.stable, story.alias) == ("2", "2")


@pytest.mark.parametrize("state", ["none live", "testing", "first step"])
def test_an_alias_that_somebody_moved_off_a_deleted_stable_version_is_adopted_with_it(
    state: str,
) -> None:
    """It cannot name that version again, so that nothing contradicts where it is now."""
    story = at(state)
    EDITS["version 1 deleted"](story)
    story.alias = "3"
    story.look(times=2)
    say(story, "revert")
    story.look()
    assert "cannot revert: a deleted version cannot be brought back: adopt it" in hold(story)
    say(story, "adopt")
    story.look(times=3)
    assert story.application.hold is None
    assert story.application.deleted == ("1",)
    assert story.alias == "3"
    if state != "none live":
        story.until("Production")
        story.look(times=3)
        assert story.alias == "2", "a version that is proven gets it, as ever"
    rests(story)


def test_an_alias_that_should_name_the_watched_version_is_pointed_there_by_hand() -> None:
    """No command helps, and so none is named."""
    story = at("in watch")
    EDITS["version 1 deleted"](story)
    story.alias = "3"
    story.look(times=2)
    say(story, "adopt")
    story.look()
    assert "and version 2 has the users: point alias and traffic at one version" in hold(story)
    story.alias = "2"
    story.look()
    say(story, "adopt")
    story.look()
    assert story.application.hold is None
    rests(story)
    assert (story.application.stable, story.alias) == ("2", "2")


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("home", ["3", "2"])
def test_an_alias_left_at_the_version_that_went_home_is_told_as_it_settles(
    home: str, *, seen: bool
) -> None:
    """The version to go back to was deleted, and can be named by no alias again."""
    story = at("in watch")
    EDITS["version 1 deleted"](story)
    story.look()
    say(story, "adopt")
    story.look()
    story.order(Order.ABORT)
    story.look()
    story.alias = home if seen else None
    story.look(times=3)
    assert story.application.live is None
    assert story.application.hold is None, "settling stays"
    [settled] = [one for one in story.events if one.because.startswith("version 1 has 100 %")]
    left = home == "2" or not seen
    told = (
        "; alias production still names version 2, which has no users: point it where its readers "
        "should look"
    )
    assert settled.because == f"version 1 has 100 % of users{told if left else ''}"


def test_a_first_release_whose_version_was_deleted_is_not_promoted() -> None:
    story = at("first release")
    EDITS["version 1 deleted"](story)
    story.look(times=4)
    tried = story.application.newest("1")
    assert tried is not None
    assert (tried.state, tried.because) == (
        State.ROLLED_BACK,
        "version 1 was deleted from the registry",
    )
    assert story.weight(1) == 100, "there is nothing to go back to"


def test_a_strangers_version_where_a_first_release_was_given_up_is_shown_and_adopted() -> None:
    story = Story(endpoint=Absent(), alias=Absent(), obeys=False)
    story.until("Provisioning")
    story.order(Order.ABORT)
    story.look(times=3)
    story.register(7, **{"headgate.state": "RolledBack"})
    story.edit(v7=100)
    story.look()
    assert "was added at 100 %" in hold(story)
    say(story, "revert")
    story.look()
    assert "wants nothing of that endpoint yet" in hold(story)
    story.obeys = True
    say(story, "adopt")
    rests(story)
    assert (story.application.stable, story.alias) == ("7", "7")


def test_an_empty_registry_is_not_believed() -> None:
    story = at("first step")
    story.versions.clear()
    story.look(times=5)
    assert story.live.state is State.CANARY
    assert story.application.change is None


def test_taking_the_trial_off_the_endpoint_is_an_abort_and_it_is_not_put_back() -> None:
    story = at("third step")
    EDITS["version 2 removed"](story)
    sent = len(story.calls)
    story.look(times=5)
    assert story.application.live is None
    assert served(story) == serving(v1=100)
    assert not [one for one in story.calls[sent:] if isinstance(one, Serve)]


def test_users_given_to_a_third_version_from_the_trial_abort_it_and_are_shown() -> None:
    story = at("in watch")
    EDITS["another version with users"](story)
    story.look(times=4)
    assert {name: one.weight for name, one in shares(story).items()} == {
        "rag_chatbot-v1": 97, "rag_chatbot-v2": 0, "by-hand": 3,
    }  # fmt: skip
    assert "by-hand (version 7 of main.ml_models.rag_chatbot) was added at 3 %" in hold(story)
    assert story.alias == "1"
    say(story, "revert")
    rests(story)
    assert served(story) == serving(v1=100, v2=0)


def test_an_endpoint_whose_variables_nobody_declared_is_not_put_back() -> None:
    spec = replace(SPEC, environment_declared=False)
    story = Story(application=Application(name="rag-chatbot", spec=spec))
    story.look()
    story.edit(v1=100, v7=0)
    story.look()
    say(story, "revert")
    story.look(times=3)
    assert "serving.environment of rag-chatbot is not declared" in hold(story)
    assert story.calls == []


def test_another_alias_in_the_configuration_is_no_strangers_doing() -> None:
    story = at("none live")
    spec = replace(story.application.spec, alias="champion")
    story.application = replace(story.application, spec=spec)
    story.alias = Absent()
    plan = story.look()
    assert story.application.hold is None
    assert plan.calls == (MoveAlias("1"),)


@pytest.mark.parametrize("how", ["harm", "order", "hand"])
@pytest.mark.parametrize("state", ["first step", "third step", "baking", "in watch"])
def test_a_release_that_is_held_can_always_go_back(state: str, how: str) -> None:
    story = at(state)
    story.application = story.application.with_release(
        replace(story.live, hold="quarantined: it failed five times", needs_person=True)
    )
    if how == "harm":
        story.error_rates["2"] = 0.5
    elif how == "order":
        story.order(Order.ABORT)
    else:
        story.edit(v1=100, v2=0)
    story.look(times=6)
    assert (story.weight(1), story.alias) == (100, "1")
    assert story.application.live is None


@pytest.mark.parametrize("back", [True, False])
@pytest.mark.parametrize(
    "own", ["quarantined: its passes fail", "undecided after 1 d: errors: too few", None]
)
def test_a_version_that_is_not_listed_does_not_end_what_its_release_is_held_for(
    own: str | None, *, back: bool
) -> None:
    story = at("first step")
    story.requests_per_look = 10
    if own is not None:
        held = replace(story.live, hold=own, needs_person=True, undecided=timedelta(days=30))
        story.application = story.application.with_release(held)
    story.register(3, **{"headgate.state": "RolledBack"})
    gone = story.versions.pop(2)
    told = [one.because for one in story.look().events]
    if own is None:
        assert any("version 2 is not in the registry's list" in because for because in told)
    else:
        assert (story.live.hold, story.live.needs_person) == (own, True)
    assert story.weight(2) == 5
    if back:
        story.versions[2] = gone
        story.look()
        assert story.live.hold == own, "what was told of the list is over with it"
    else:
        story.look()
        assert story.live.state is State.ROLLED_BACK
        assert story.live.because == "version 2 was deleted from the registry"


def test_a_version_that_is_not_listed_is_told_of_alone_though_patience_is_over() -> None:
    story = at("first step")
    story.requests_per_look = 10
    late = replace(story.live, undecided=timedelta(days=30))
    story.application = story.application.with_release(late)
    story.register(3, **{"headgate.state": "RolledBack"})
    del story.versions[2]
    [told] = [one.because for one in story.look().events if one.name == "release.held"]
    assert "version 2 is not in the registry's list" in told


def lost(story: Story, minutes: int) -> list[timedelta]:
    """Nothing that is sent takes effect; when calls of the endpoint were sent."""
    story.obeys = False
    start, sent = story.now, []
    for _ in range(minutes * 2):
        before = len([one for one in story.calls if isinstance(one, Serve)])
        story.look()
        now = len([one for one in story.calls if isinstance(one, Serve)])
        sent += [story.now - start] * (now - before)
    return sent


def test_ours_gone_missing_is_sent_again_twice_in_any_ten_minutes_and_then_told() -> None:
    story = at("first step")
    while story.live.step == 1:
        story.obeys = False
        story.look()
    sent = lost(story, 120)
    again = sent
    for moment in again:
        within = [one for one in again if moment <= one < moment + timedelta(minutes=10)]
        assert len(within) <= 2, within
    assert len(again) > 10, "it is tried for as long as it takes"
    assert "was asked for 3 times within 10 min" in hold(story)
    held = [one for one in story.events if one.name == "release.held"]
    assert len(held) == 1, "it is told once"
    assert story.application.change is None, "nobody else was at work"
    story.obeys = True
    story.look(times=40)
    assert story.application.hold is None
    assert served(story) == desired(story.application)


def test_two_targets_in_turn_are_not_sent_for_ever() -> None:
    story = at("none live")
    story.obeys = False
    sent = 0
    for number in range(20):
        carried = serving(v7=0) if number % 2 else serving(v8=0)
        story.application = replace(story.application, carried=carried)
        sent += len(story.look().calls)
    assert sent <= 4, "each for the first time, and two that are sent again"


def test_a_release_that_is_held_for_its_own_reason_shows_the_change_that_waits_for_an_answer() -> (
    None
):
    story = at("first step")
    own = "undecided after 3 days"
    story.application = story.application.with_release(
        replace(story.live, hold=own, needs_person=True)
    )
    EDITS["another model at 0 %"](story)
    story.look()
    told = status(story.application, story.live)
    assert told["hold"] == story.application.hold
    assert told["needs_person"]
    say(story, "revert")
    story.look()
    assert status(story.application, story.live)["hold"] == own


def test_a_version_that_serves_without_proof_shows_a_change_before_its_own_hold() -> None:
    story = at("first release")
    story.order(Order.ABORT)
    story.look(times=3)
    own = status(story.application, story.application.releases[-1])["hold"]
    assert "there is nothing to go back to" in (own or "")
    EDITS["another model at 0 %"](story)
    plan = story.look()
    assert [event.release for event in plan.events] == [("1", 1)]
    told = status(story.application, story.application.releases[-1])
    assert told["hold"] == story.application.hold
    say(story, "revert")
    story.look()
    assert status(story.application, story.application.releases[-1])["hold"] == own
    rests(story)


def test_an_answer_names_its_change_and_no_other() -> None:
    one = Change(number=1, endpoint=("it was deleted",))
    two = replace(one, number=2)
    assert one.difference == two.difference
    assert Answer(answer="revert", difference=one.key).difference != two.key


def test_an_alias_deleted_while_the_endpoint_is_unseen_does_not_make_the_endpoint_gone() -> None:
    story = at("first step")
    story.alias, story.answers = Absent(), False
    story.look()
    assert "alias production is gone" in hold(story)
    say(story, "adopt")
    story.answers = True
    story.look()
    assert story.application.stable == "1"
    assert "cannot adopt" in hold(story)
    assert served(story) == serving(v1=95, v2=5)


def test_an_entity_that_gets_another_version_in_place_of_the_one_on_trial_is_an_abort() -> None:
    story = at("third step")
    EDITS["version 2 swapped"](story)
    story.look(times=4)
    assert story.release is not None
    assert "lowered by someone else, to 0 % of 50 %" in story.release.because
    assert "rag_chatbot-v2 (version 7 of main.ml_models.rag_chatbot) was added at 50 %" in hold(
        story
    )
    assert served(story) is not None
    assert shares(story)["rag_chatbot-v2"].version == "7", "it waits for a word"
    say(story, "revert")
    rests(story)
    assert served(story) == serving(v1=100)


def test_users_come_home_though_another_version_has_stables_name() -> None:
    story = at("first step")
    EDITS["version 1 swapped"](story)
    story.look()
    story.order(Order.ABORT)
    story.look(times=3)
    now = {name: (one.version, one.weight) for name, one in shares(story).items()}
    assert now == {
        "rag_chatbot-v1": ("7", 95),
        "rag_chatbot-v1-1": ("1", 5),
        "rag_chatbot-v2": ("2", 0),
    }
    say(story, "revert")
    rests(story)
    assert served(story) == serving(v1=100, v2=0)


def test_what_was_served_before_an_adopted_change_is_a_change_when_others_set_it_again() -> None:
    """Be it what Headgate asked for last, days ago or a minute ago."""
    for state, later in ("third step", 1), ("in watch", 60):
        story = at(state)
        story.requests_per_look = 60
        story.look(times=later)
        before = shares(story)
        EDITS["another version at 0 %"](story)
        story.look()
        say(story, "adopt")
        story.look(times=4)
        assert "by-hand" in shares(story)
        serve(story, before)
        assert not [call for _ in range(4) for call in story.look().calls if call.kind == "serve"]
        assert "by-hand was removed, which should have 0 %" in hold(story)
        say(story, "adopt")
        story.look(times=4)
        assert shares(story) == before
        assert story.application.change is None


def test_users_given_back_by_hand_after_they_were_taken_by_hand_stay_and_are_shown() -> None:
    story = at("in watch")
    story.look(times=60)
    assert story.application.stable == "2"
    for taken, given in ("2", "1"), ("1", "2"):
        move(story, f"rag_chatbot-v{taken}", f"rag_chatbot-v{given}", 100)
        story.alias = given
        story.look(times=4)
        assert f"rag_chatbot-v{given} has 100 % instead of 0 %" in hold(story)
        assert story.weight(int(given)) == 100
        say(story, "adopt")
        rests(story)
        assert (story.application.stable, story.alias) == (given, given)


def test_an_alias_pointed_at_the_version_that_went_home_is_shown_however_soon() -> None:
    """A call of ours had named it a few minutes ago, and was seen in effect then."""
    story = at("in watch")
    story.order(Order.ABORT)
    story.look(times=5)
    assert (story.application.live, story.alias) == (None, "1")
    story.alias = "2"
    assert not [call for _ in range(4) for call in story.look().calls if call.kind == "alias"]
    assert "alias production names version 2 instead of version 1" in hold(story)
    say(story, "revert")
    rests(story)
    assert story.alias == "1"


def failed_apply() -> Story:
    """What was applied has failed, which a person has to mend, and a version waits for that."""
    story = at("none live")
    stuck = "`apply` has failed: mend it, and `headgate apply rag-chatbot` again"
    upkeep = replace(story.application.upkeep, stuck=stuck)
    story.application = replace(story.application, upkeep=upkeep)
    story.register(2)
    story.look(times=2)
    assert hold(story) == stuck
    return story


@pytest.mark.parametrize("word", ["adopt", "revert"])
def test_an_answer_lets_nothing_begin_that_is_held_for_something_else(word: str) -> None:
    story = failed_apply()
    stuck = hold(story)
    serve(story, {**shares(story), "x": replace(shares(story)["rag_chatbot-v1"], weight=0)})
    story.look()
    assert "x (version 1" in hold(story)
    say(story, word)
    story.look(times=3)
    assert story.application.live is None
    assert hold(story) == stuck
    assert apply_refusal(story.application) is None, "what it asks for can be done"
    rests(story)


def test_what_could_not_be_applied_to_an_endpoint_that_is_gone_holds_nothing_any_more() -> None:
    """Nobody could apply it again: there is no version that serves."""
    story = failed_apply()
    story.endpoint = Absent()
    story.alias = Absent()
    story.look()
    say(story, "adopt")
    story.look(times=2)
    assert story.application.hold is None
    story.until("Production")


def test_what_is_to_be_mended_first_holds_a_version_back_though_the_alias_is_unseen() -> None:
    story = at("none live")
    edited = replace(story.application.upkeep, variables=Variables(("TOP_K",), "another"))
    story.application = replace(story.application, upkeep=edited)
    story.alias = None
    story.register(2)
    story.look(times=2)
    assert hold(story).startswith("serving.environment was edited")
    assert story.application.live is None
    assert apply_refusal(story.application) is None, "what it asks for can be done"
