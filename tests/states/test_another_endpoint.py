"""Endpoints come and go under one name: answers, calls and ids of one are not for another."""

from dataclasses import replace

import pytest

from states.machine import State
from states.plan import Serve
from states.release import Order
from states.world import Absent, Endpoint, Serving, Share
from tests.states.story import Story, serving
from tests.states.strangers import at, serve
from tests.states.test_adopting import endpoint_of
from tests.states.test_strangers import rests, say, served, shown_to


def count_from(story: Story, version: int) -> None:
    """The endpoint's configuration has that number, and it was seen."""
    story.endpoint = replace(endpoint_of(story), config_version=version)
    story.look()


def made_by(story: Story, owner: str, **facts: object) -> None:
    """An endpoint of that name was created just now."""
    ms = int(story.now.timestamp() * 1000)
    story.endpoint = Endpoint(
        serving=Serving(), id=f"made {ms}", created_ms=ms, owner=owner, inference_table="a.b.c"
    )
    story.endpoint = replace(story.endpoint, **facts)  # type: ignore[arg-type]


def creating(story: Story) -> Serve:
    """The look at which it is created; the call is on its way."""
    story.obeys = False
    for _ in range(5):
        for call in story.look().calls:
            if isinstance(call, Serve):
                return call
    raise AssertionError(story.application.hold)


def refused(story: Story) -> None:
    """That call was answered with a conflict."""
    sent = tuple(
        replace(one, outcome="refused") if one.kind == "serve" else one
        for one in story.application.attempts
    )
    story.application = replace(story.application, attempts=sent)
    story.obeys = True


def undeclared(story: Story) -> None:
    spec = replace(story.application.spec, environment_declared=False)
    story.application = replace(story.application, spec=spec)


def test_another_one_that_is_older_than_the_one_that_is_gone_is_believed_and_stays_so() -> None:
    story = at("none live")
    story.endpoint = replace(endpoint_of(story), created_ms=2_000, config_version=70)
    story.look(times=2)
    story.endpoint = Absent()
    story.look(times=2)
    spec = replace(story.application.spec, endpoint="older")
    story.application = replace(story.application, spec=spec)
    made_by(
        story,
        "",
        serving=serving(v1=100),
        created_ms=1_000,
        config_version=3,
        ready=frozenset({"rag_chatbot-v1"}),
    )
    story.look(times=40)
    say(story, "adopt")
    story.look(times=40)
    story.register(2)
    while not story.weight(2):
        story.look()
    story.error_rates["2"] = 0.5
    story.look(times=6)
    assert story.weight(2) == 0, "nobody waits for ten minutes to believe what is seen"


@pytest.mark.parametrize("gone", [False, True])
def test_an_abort_by_hand_is_heeded_on_an_endpoint_that_counts_anew(*, gone: bool) -> None:
    """What the calls to the former one had asked for, at higher numbers, does not come any more."""
    story = at("none live")
    count_from(story, 41)
    story.register(2)
    while not (story.release and story.release.step == 1 and story.live.settled):
        story.look()
    if gone:
        story.endpoint = Absent()
    else:
        made_by(
            story,
            "",
            serving=endpoint_of(story).serving,
            config_version=1,
            ready=frozenset(endpoint_of(story).serving.shares),
        )
    story.look()
    say(story, "revert" if gone else "adopt")
    story.look()
    while not story.weight(2) or not story.live.settled:
        story.look()
    story.edit(v1=100, v2=0)
    story.look()
    assert story.release is not None
    assert story.release.state is State.ROLLED_BACK
    assert "lowered by someone else" in story.release.because


def test_where_no_version_is_told_an_abort_by_hand_is_heeded() -> None:
    story = at("none live")
    story.application = replace(story.application, config_version=0)
    count_from(story, 0)
    story.register(2)
    while not (story.release and story.release.step == 2 and story.live.settled):
        count_from(story, 0)
    story.edit(v1=100, v2=0)
    count_from(story, 0)
    assert story.release.state is State.ROLLED_BACK


def test_a_change_that_was_closed_and_put_back_is_shown_when_it_is_made_again() -> None:
    story = at("first step")
    theirs = Share(model="main.other.model", version="2", weight=10)
    serve(story, {**serving(v1=85, v2=5).shares, "theirs": theirs})
    story.look()
    story.order(Order.ABORT)
    story.look(times=2)
    closed = endpoint_of(story).serving
    assert (closed.weight("rag_chatbot-v2"), closed.weight("theirs")) == (0, 10)
    story.edit(v1=100, v2=0)
    story.look(times=4)
    assert story.application.change is None
    assert story.application.live is None
    serve(story, dict(closed.shares))
    story.look()
    assert shown_to(story) is not None
    assert served(story) == closed, "and it stays, until somebody has answered"


@pytest.mark.parametrize("state", ["none live", "first step", "shut", "in watch"])
def test_while_another_is_asked_for_no_answer_of_the_one_that_is_gone_counts(state: str) -> None:
    story = at(state)
    former, before = endpoint_of(story), story.release
    story.endpoint = Absent()
    story.look(times=2)
    say(story, "revert")
    call = creating(story)
    made_by(story, "headgate", pending=call.serving, updating=True)
    anew, story.endpoint = story.endpoint, former
    late = story.look(after=5)
    assert {one.name for one in late.events} <= {"evidence.block"}
    assert late.calls == ()
    story.endpoint = anew
    story.look(after=5)
    assert story.application.change is None
    assert story.release is None or before is None or story.release.state is before.state


def test_after_a_mistaken_answer_that_it_is_gone_it_is_asked_about() -> None:
    """It was there all along, and others had made it; one that is made anew after that is told."""
    story = at("none live")
    former = endpoint_of(story)
    story.endpoint = Absent()
    story.look(times=2)
    say(story, "revert")
    creating(story)
    refused(story)
    story.endpoint = former
    story.look()
    assert story.application.behind is None, "the conflict shows that one is there"
    assert "somebody else made it meanwhile" in (story.application.hold or "")
    say(story, "adopt")
    story.look()
    assert (story.application.hold, story.application.endpoint_id) == (None, former.id)
    made_by(
        story, "", serving=former.serving, config_version=1, ready=frozenset(former.serving.shares)
    )
    story.look()
    assert "it was deleted, and made anew" in (story.application.hold or "")


def nothing_there(*, first: bool) -> Story:
    """There is no endpoint, and one is to be created: for a first release, or as was ordered."""
    if first:
        return Story(endpoint=Absent(), alias=Absent())
    story = at("none live")
    story.endpoint = Absent()
    story.look(times=2)
    say(story, "revert")
    return story


@pytest.mark.parametrize("first", [False, True])
def test_where_somebody_was_faster_their_endpoint_is_not_taken_for_ours(*, first: bool) -> None:
    """Its variables are unknown, and were never given: a change of it would lose them."""
    story = Story(endpoint=Absent(), alias=Absent()) if first else at("none live")
    undeclared(story)
    if not first:
        story.application = replace(story.application, ours=True)
        story.endpoint = Absent()
        story.look(times=2)
        say(story, "revert")
    creating(story)
    refused(story)
    made_by(
        story,
        "",
        serving=serving(v1=100),
        config_version=1,
        ready=frozenset({"rag_chatbot-v1"}),
    )
    sent = len(story.calls)
    story.look(times=2)
    assert "somebody else made it meanwhile" in (story.application.hold or "")
    assert not story.application.ours
    say(story, "adopt")
    story.register(2)
    story.look(times=30)
    assert not [one for one in story.calls[sent:] if isinstance(one, Serve)]
    if not first:
        rests(story)


@pytest.mark.parametrize("first", [False, True])
def test_once_theirs_is_deleted_by_hand_ours_is_created(*, first: bool) -> None:
    story = nothing_there(first=first)
    creating(story)
    refused(story)
    made_by(story, "", serving=serving(v7=100), config_version=1, ready=frozenset())
    story.look(times=2)
    assert "somebody else made it meanwhile" in (story.application.hold or "")
    story.endpoint = Absent()
    story.look(times=40)
    assert served(story) == serving(v1=100)
    assert endpoint_of(story).owner == "headgate"


@pytest.mark.parametrize("first", [False, True])
def test_a_mistaken_answer_while_it_is_created_blinds_nobody(*, first: bool) -> None:
    story = nothing_there(first=first)
    call = creating(story)
    made_by(story, "headgate", pending=call.serving, updating=True)
    story.look()
    begun, story.endpoint = endpoint_of(story), Absent()
    story.look()
    story.obeys = True
    story.endpoint = replace(
        begun,
        serving=call.serving,
        pending=None,
        updating=False,
        config_version=1,
        ready=frozenset(call.serving.shares),
    )
    story.look(times=2)
    assert story.application.seen == call.serving


@pytest.mark.parametrize("owner", ["", "headgate"])
def test_after_a_mistaken_answer_users_are_taken_from_what_was_to_be_created_again(
    owner: str,
) -> None:
    story = at("first step")
    former = replace(endpoint_of(story), owner=owner)
    story.endpoint = Absent()
    story.look(times=2)
    say(story, "revert")
    creating(story)
    refused(story)
    story.endpoint = former
    story.look()
    assert story.weight(2) == 0


def test_what_others_had_on_a_deleted_endpoint_is_not_asked_for_anew_and_that_is_told() -> None:
    story = at("none live")
    theirs = Share(model="gpt", version="", weight=0)
    serve(story, {**endpoint_of(story).serving.shares, "theirs": theirs})
    story.look()
    say(story, "adopt")
    story.look()
    story.endpoint = Absent()
    story.look(times=2)
    say(story, "revert")
    assert creating(story).serving == serving(v1=100)
    told = [one.because for one in story.events if one.name == "release.freed"]
    assert any(
        "not so what others had on it, and only they know how: theirs" in one for one in told
    )
