"""Every edit in every state: noticed in one look, shown with both sides, adopted or reverted."""

from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise, product

import pytest

from states.answering import refusal
from states.attempt import MEMORY
from states.desired import closed, desired, desired_alias, exposure
from states.difference import Answer, Change
from states.plan import Event, MoveAlias, Serve
from states.reconcile import reconcile
from states.release import Order
from states.status import shown, status
from states.world import Absent, Endpoint, Serving, Share
from tests.states.oaths import check_steady
from tests.states.story import Story, serving
from tests.states.strangers import (
    EDITS,
    STATES,
    THEIRS,
    at,
    deployed_by_a_job,
    expected,
    move,
    serve,
)

ALL = list(product(STATES, EDITS))


def of(*kinds: str) -> list[tuple[str, str]]:
    """The pairs of state and edit of which one of these comes."""
    return [(state, edit) for state, edit in ALL if expected(state, edit) in kinds]


def edited(state: str, edit: str) -> tuple[Story, Story]:
    """A story in which somebody was at work and one look has gone by, and how it was before."""
    story = at(state)
    before = deepcopy(story)
    story.events.clear()
    story.calls.clear()
    EDITS[edit](story)
    story.look()
    return story, before


def changes(story: Story) -> list[Event]:
    return [event for event in story.events if event.name == "endpoint.foreign_change"]


def say(story: Story, word: str) -> None:
    """A person answers what is shown."""
    change = shown_to(story)
    assert change is not None
    given = Answer(answer="adopt" if word == "adopt" else "revert", difference=change.key)
    story.application = replace(story.application, answer=given)


def shown_to(story: Story) -> Change | None:
    """The change that waits for an answer."""
    return story.application.change


def served(story: Story) -> Serving | None:
    return story.endpoint.serving if isinstance(story.endpoint, Endpoint) else None


@pytest.mark.parametrize(("state", "edit"), of("shown"))
def test_it_is_shown_within_one_look_and_left_alone(state: str, edit: str) -> None:
    story, _ = edited(state, edit)
    told = changes(story)[-1]
    change = story.application.change
    assert change is not None
    assert told.fields["difference"] == list(change.difference)
    assert told.fields["wanted"] != told.fields["found"] or change.registry
    statuses = [status(story.application, one) for one in story.application.releases]
    visible = [
        one
        for one, release in zip(statuses, story.application.releases, strict=True)
        if shown(story.application, release)
    ]
    assert any(one["needs_person"] for one in visible)
    assert "`headgate adopt rag-chatbot`" in told.because
    assert "`headgate revert rag-chatbot`" in told.because
    found, alias, count = served(story), story.alias, len(changes(story))
    for _ in range(6):
        plan = story.look()
        for call in plan.calls:
            assert isinstance(call, Serve | MoveAlias)
            assert state == "going home", f"{call} although it is held"
    if state != "going home":
        assert (served(story), story.alias) == (found, alias)
        assert len(changes(story)) == count, "it is told once"


@pytest.mark.parametrize(("state", "edit"), of("nothing"))
def test_what_is_not_ours_is_kept_and_is_no_event(state: str, edit: str) -> None:
    story, before = edited(state, edit)
    room = story.room
    story.look()
    before.look(times=2)
    assert changes(story) == []
    assert story.application.change is None
    assert served(story) == served(before), "it goes on as if nothing had been"
    assert story.room == room


@pytest.mark.parametrize(("state", "edit"), of("abort"))
def test_users_taken_from_version_2_by_hand_are_an_abort(state: str, edit: str) -> None:
    story, _ = edited(state, edit)
    assert story.release is not None
    assert story.release.state == "RolledBack"
    assert "lowered by someone else" in story.release.because
    story.look(times=4)
    assert story.application.hold is None
    assert story.application.live is None
    assert (story.weight(1), story.alias) == (100, "1")


@pytest.mark.parametrize(("state", "edit"), of("closed"))
def test_users_on_a_closed_version_are_taken_back_before_all_else(state: str, edit: str) -> None:
    story, _ = edited(state, edit)
    story.look(times=3)
    assert (story.weight(1), story.weight(2)) == (100, 0)
    assert story.application.change is None


@pytest.mark.parametrize(("state", "edit"), of("home"))
def test_a_version_that_the_registry_lost_goes_home_or_never_begins(state: str, edit: str) -> None:
    story, _ = edited(state, edit)
    told = [one.because for one in story.events]
    noticed = any("registry's list" in because or "not listed" in because for because in told)
    assert noticed or state == "going home"
    story.look(times=6)
    assert story.weight(1) == 100
    assert story.release is not None
    tried = story.application.newest("2")
    assert tried is not None
    if state == "waiting":
        assert tried.needs_person
    else:
        assert tried.state == "RolledBack"
        assert tried.settled


@pytest.mark.parametrize("blinks", [False, True], ids=["seen", "unseen at every other look"])
@pytest.mark.parametrize("state", ["provisioning", "testing", "first step", "baking", "in watch"])
def test_both_versions_lost_hold_the_release_once_and_not_at_every_look(
    state: str, *, blinks: bool
) -> None:
    """A third one is listed, and nobody has told yet that one of the two was deleted."""
    story = at(state)
    EDITS["version 2 deleted"](story)
    EDITS["version 1 deleted"](story)
    story.alias, looks = Absent(), []
    for number in range(12):
        story.now += timedelta(seconds=30)
        world = story.world()
        if blinks and number % 2:
            world = replace(world, versions=None)
        plan = reconcile(story.application, world)
        story.application = plan.application
        looks.append((world, plan))
    for earlier, later in pairwise(looks):
        check_steady(*earlier, *later)
    gone = "version 2 is not in the registry's list: it is looked for once more"
    told = [one.name for _, plan in looks for one in plan.events if gone in one.because]
    assert told == ["release.held"]
    assert story.live.hold == gone


@pytest.mark.parametrize(
    ("state", "edit"), [one for one in of("shown") if one[1] != "endpoint made anew"]
)
def test_put_back_by_hand_it_goes_on_by_itself(state: str, edit: str) -> None:
    story, before = edited(state, edit)
    story.look(times=2)
    if state == "going home":
        return
    story.endpoint, story.alias = before.endpoint, before.alias
    story.versions, story.table_speaks = dict(before.versions), True
    if isinstance(story.endpoint, Endpoint):
        _count_on(story)
    plan = story.look()
    assert story.application.change is None
    assert story.application.hold is None
    assert any(event.name == "release.freed" for event in plan.events)
    rests(story)


@pytest.mark.parametrize("word", ["adopt", "revert"])
@pytest.mark.parametrize(("state", "edit"), of("shown"))
def test_an_answer_converges_and_stays_or_says_why_it_cannot_be(
    state: str, edit: str, word: str
) -> None:
    story, _ = edited(state, edit)
    if state == "going home":
        story.look(times=2)
    if shown_to(story) is None:
        return
    story.table_speaks = True
    why = refusal(story.application, word)
    found, alias = served(story), story.alias
    say(story, word)
    plan = story.look()
    if why is not None:
        assert why in (story.application.hold or "")
        assert shown_to(story) is not None
        if state != "going home":
            assert (served(story), story.alias) == (found, alias), "what cannot be is not half done"
        return
    assert any(event.name == "release.freed" for event in plan.events)
    left = shown_to(story)
    if left is not None:
        assert not left.difference or word == "revert", "what cannot be put back is shown still"
        return
    rests(story)
    if word == "revert" and edit != "version 1 deleted":
        now = served(story)
        assert now is not None
        assert not {"theirs", "by-hand"} & set(now.shares), "it is put back"


def rests(story: Story) -> None:
    """It comes to be as wanted, and stays, without another word of strangers."""
    told = len(changes(story))
    story.look(after=60, times=40)
    assert len(changes(story)) == told, changes(story)[-1].because
    assert story.application.change is None
    application = story.application
    assert desired(application) in (None, served(story))
    assert desired_alias(application) in (None, story.alias)


def _count_on(story: Story) -> None:
    assert isinstance(story.endpoint, Endpoint)
    known = story.application
    seen = max(known.config_version, known.gone.config_version if known.gone else 0)
    story.endpoint = replace(story.endpoint, config_version=seen + 1)


@pytest.mark.parametrize("how", ["abort", "harm"])
@pytest.mark.parametrize("state", ["first step", "third step", "baking", "in watch"])
def test_the_gate_closes_while_it_is_held_and_what_is_theirs_stays(state: str, how: str) -> None:
    story, _ = edited(state, "another model at 0 %")
    if how == "abort":
        story.order(Order.ABORT)
    else:
        story.error_rates["2"] = 0.5
    story.look(times=4)
    now = served(story)
    assert now is not None
    assert exposure(story.application, "2", now) == 0
    assert story.alias == "1"
    assert "theirs" in now.shares, "only the users of version 2 are moved"
    assert story.application.change is not None
    say(story, "revert")
    rests(story)
    assert story.application.live is None


def test_closing_keeps_the_users_that_somebody_gave_to_another_model() -> None:
    story, _ = edited("third step", "another model at 0 %")
    move(story, "rag_chatbot-v1", THEIRS, 20)
    story.look()
    story.order(Order.ABORT)
    story.look(times=3)
    now = served(story)
    assert now is not None
    assert {name: part.weight for name, part in now.shares.items()} == {
        "rag_chatbot-v1": 80, "rag_chatbot-v2": 0, "theirs": 20,
    }  # fmt: skip
    assert closed(story.application, now) is None


@pytest.mark.parametrize("meanwhile", ["it stands", "it is put back"])
def test_what_closed_a_version_beside_one_change_is_shown_when_others_set_it_themselves(
    meanwhile: str,
) -> None:
    story = at("shut")
    home = served(story)
    assert home is not None
    other = Share(model="main.other.model", version="2", weight=0)

    def closes_beside(weight: int) -> Serving:
        shares = {**serving(v1=95 - weight, v2=5).shares, THEIRS: replace(other, weight=weight)}
        serve(story, shares)
        story.look(times=2)
        closing = served(story)
        assert closing is not None
        assert exposure(story.application, "2", closing) == 0
        if meanwhile == "it is put back":
            serve(story, dict(home.shares))
            story.look(times=2)
            assert story.application.change is None
        return closing

    first = closes_beside(10)
    closes_beside(20)
    told = len(changes(story))
    serve(story, dict(first.shares))
    story.look(times=3)
    assert len(changes(story)) == told + 1
    assert served(story) == first, "it is a person's, by now, and waits for a word"


@pytest.mark.parametrize("state", ["none live", "waiting", "provisioning", "testing", "first step"])
def test_a_deployment_job_that_deploys_by_itself_is_shown_whenever_it_runs(state: str) -> None:
    """Its version has all users by then, and they stay there until a person has answered."""
    story = at(state)
    deployed_by_a_job(story)
    for _ in range(6):
        assert story.look().calls == ()
    told = changes(story)
    assert len(told) == 1
    assert "(version 2 of main.ml_models.rag_chatbot) was added at 100 %" in told[0].because
    assert "rag_chatbot-v1 was removed" in told[0].because
    assert story.alias == "1"


@pytest.mark.parametrize("later", [timedelta(minutes=5), timedelta(days=2)])
def test_an_alias_that_was_asked_for_in_vain_is_ours_for_a_while_and_then_a_persons(
    later: timedelta,
) -> None:
    """Nobody knows what came of the call, and version 2 went home before that was seen."""
    story = at("baking")
    story.obeys = False
    while MoveAlias("2") not in story.calls:
        plan = story.look()
        for call in plan.calls:
            if not isinstance(call, MoveAlias):
                story.obey(call)
    story.obeys = True
    story.order(Order.ABORT)
    while story.application.live is not None:
        story.look()
    assert story.alias == "1"
    story.look(after=later / timedelta(seconds=1))
    told, story.alias = len(changes(story)), "2"
    story.look(times=3)
    by_a_person = later > MEMORY
    assert story.alias == ("2" if by_a_person else "1")
    assert len(changes(story)) == told + by_a_person


def test_a_step_that_came_late_goes_on_although_nobody_can_read_the_alias() -> None:
    story = at("first step")
    story.alias, story.obeys = None, False
    while story.application.hold is None:
        story.look()
    assert "serves rag_chatbot-v1 95 %, rag_chatbot-v2 5 %, although" in story.application.hold
    story.obeys = True
    assert story.until("Production").step == len(story.live.steps)
    assert story.application.hold is None
