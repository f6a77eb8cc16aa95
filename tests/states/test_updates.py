"""What becomes of an update that Databricks could not make, or makes too slowly."""

from dataclasses import replace
from datetime import timedelta

import pytest

from states.desired import desired
from states.machine import State
from states.plan import Serve
from states.release import Release
from states.world import Endpoint, Serving, Share
from tests.states.story import MODEL, Story, serving


@pytest.fixture
def story() -> Story:
    """Version 2 was asked for, and the workspace has accepted it without doing it yet."""
    story = Story()
    story.look()
    story.obeys = False
    story.register(2)
    story.look(after=1)
    assert story.live.state == "Provisioning"
    assert isinstance(story.calls[-1], Serve)
    return story


def fail(story: Story, **more: object) -> None:
    """The endpoint tells of an update that failed, and blames no entity."""
    assert isinstance(story.endpoint, Endpoint)
    story.endpoint = replace(story.endpoint, update_failed=True, **more)  # type: ignore[arg-type]


def remember(story: Story, **changes: object) -> None:
    """The last call was another, or ended otherwise."""
    *others, last = story.application.attempts
    attempts = (*others, replace(last, **changes))  # type: ignore[arg-type]
    story.application = replace(story.application, attempts=attempts)


def test_an_update_that_failed_as_a_whole_sends_the_release_home(story: Story) -> None:
    fail(story)
    story.look(after=11)
    assert story.live.state == "RolledBack"
    assert story.live.because == (
        "Databricks could not update the endpoint with rag_chatbot-v2: its event log says why"
    )


def test_a_failure_so_soon_after_the_call_may_be_an_earlier_ones(story: Story) -> None:
    fail(story)
    story.look(after=9)
    assert story.live.state == "Provisioning"
    story.look(after=10)
    assert story.live.state == "RolledBack", "ten seconds after it was sent once more"


def test_a_failure_that_names_what_is_wanted_is_believed_at_once(story: Story) -> None:
    fail(story, pending=desired(story.application))
    story.look(after=1)
    assert story.live.state == "RolledBack"


def test_a_failure_of_what_somebody_else_wanted_blames_nobody(story: Story) -> None:
    fail(story, pending=serving(v1=100, v9=0))
    remember(story, target=str(serving(v1=100, v9=0)))
    story.look(after=11)
    assert story.live.state == "Provisioning"


def test_a_failure_that_names_somebody_elses_entity_alone_blames_nobody(story: Story) -> None:
    fail(story, failed=frozenset({"by-hand-v9"}))
    story.look(after=11)
    assert story.live.state == "Provisioning"
    assert str(story.calls[-1].target) == str(desired(story.application)), "it is asked for again"
    fail(story, failed=frozenset({"by-hand-v9", "rag_chatbot-v1"}))
    story.look(after=11)
    assert story.live.state == "RolledBack", "one that is wanted failed too"


THEIRS = Serving({"by-hand-v9": Share(model=MODEL, version="9", weight=0)})


def carrying(story: Story) -> None:
    """Somebody's entity at 0 % is looked after, too, and was asked for with version 2."""
    story.application = replace(story.application, carried=THEIRS)
    remember(story, target=str(desired(story.application)))


@pytest.mark.parametrize("pending", [False, True])
def test_what_is_carried_and_cannot_be_built_again_is_given_up_and_blames_nobody(
    story: Story, *, pending: bool
) -> None:
    carrying(story)
    wanted = desired(story.application)
    fail(story, failed=frozenset({"by-hand-v9"}), pending=wanted if pending else None)
    story.look(after=11)
    assert story.live.state == "Provisioning"
    assert story.calls[-1].target == "rag_chatbot-v1 100 %, rag_chatbot-v2 0 %"
    [told] = [one for one in story.events if one.name == "endpoint.given_up"]
    assert told.because == "by-hand-v9 could not be built, with no users: asked for no more"


def test_what_is_kept_a_while_and_cannot_be_built_again_is_given_up_and_blames_nobody(
    story: Story,
) -> None:
    kept = replace(story.live, version="9", state=State.ROLLED_BACK, settled=True)
    kept = replace(kept, ended_at=story.now)
    story.application = story.application.with_release(kept)
    remember(story, target=str(desired(story.application)))
    fail(story, failed=frozenset({"rag_chatbot-v9"}))
    story.look(after=11)
    assert story.live.state == "Provisioning"
    assert story.calls[-1].target == "rag_chatbot-v1 100 %, rag_chatbot-v2 0 %"


def test_where_nothing_is_released_what_cannot_be_built_again_keeps_no_users_from_home(
    story: Story,
) -> None:
    kept = replace(story.live, state=State.ROLLED_BACK, settled=True, ended_at=story.now)
    story.application = story.application.with_release(kept)
    assert story.application.live is None
    others = serving(v1=0, v9=100)
    story.application = replace(story.application, seen=others)
    remember(story, target=str(desired(story.application)))
    fail(story, serving=others, failed=frozenset({"rag_chatbot-v2"}))
    story.look(after=11)
    sent = [one.target for one in story.calls if isinstance(one, Serve)]
    assert sent[-1] == "rag_chatbot-v1 100 %"
    [told] = [one for one in story.events if one.name == "endpoint.given_up"]
    assert told.because == "rag_chatbot-v2 could not be built, with no users: asked for no more"


def test_the_version_on_trial_is_not_given_up_with_an_earlier_attempt_at_it(story: Story) -> None:
    live = story.live
    earlier = replace(live, state=State.ROLLED_BACK, settled=True, ended_at=story.now)
    story.application = story.application.with_release(replace(live, attempt=2))
    story.application = story.application.with_release(earlier)
    remember(story, target=str(desired(story.application)))
    fail(story, failed=frozenset({"rag_chatbot-v2"}))
    story.look(after=11)
    told = [one.name for one in story.events]
    assert "endpoint.given_up" not in told
    tried = story.application.newest("2")
    assert tried is not None
    assert (tried.attempt, tried.state) == (2, State.ROLLED_BACK)


def test_what_is_carried_and_still_there_is_not_given_up(story: Story) -> None:
    carrying(story)
    assert isinstance(story.endpoint, Endpoint)
    there = Serving({**story.endpoint.serving.shares, **THEIRS.shares})
    story.application = replace(story.application, seen=there)
    fail(story, serving=there, failed=frozenset({"by-hand-v9"}))
    story.look(after=11)
    assert story.application.carried == THEIRS


@pytest.mark.parametrize("outcome", ["open", "refused"])
def test_a_failure_after_a_call_that_was_not_accepted_blames_nobody(
    story: Story, outcome: str
) -> None:
    fail(story)
    remember(story, outcome=outcome)
    story.look(after=4)
    assert story.live.state == "Provisioning"
    remember(story, at=story.now - timedelta(minutes=5))
    story.calls.clear()
    plan = story.look(after=1)
    assert story.live.state == "Provisioning"
    assert [call.kind for call in plan.calls] == ["serve"], "it is sent once more"


def test_a_failure_without_any_call_of_ours_blames_nobody(story: Story) -> None:
    fail(story)
    story.application = replace(story.application, attempts=())
    story.look(after=1)
    assert story.live.state == "Provisioning"


def test_a_call_of_another_kind_is_no_call_for_the_endpoint(story: Story) -> None:
    fail(story)
    remember(story, kind="tag")
    story.look(after=11)
    assert story.live.state == "Provisioning"


def test_while_the_endpoint_is_updating_no_failure_is_the_last_word(story: Story) -> None:
    fail(story, updating=True)
    story.look(after=60)
    assert story.live.state == "Provisioning"


@pytest.fixture
def astray() -> Story:
    """Version 2 is bad, and the workspace does nothing more from then on."""
    story = Story()
    story.look()
    story.register(2)
    story.until("Canary")
    story.obeys = False
    story.error_rates = {"2": 0.5}
    story.until("RolledBack")
    return story


@pytest.mark.parametrize(
    ("updating", "why"),
    [(False, "it is sent again and again"), (True, "Databricks is still updating the endpoint")],
)
def test_users_who_cannot_be_brought_home_are_told_of_louder_and_louder(
    astray: Story, *, updating: bool, why: str
) -> None:
    assert isinstance(astray.endpoint, Endpoint)
    astray.endpoint = replace(astray.endpoint, updating=updating)
    begun = astray.now
    astray.look(after=119)
    assert "not home" not in (astray.live.hold or "")
    astray.look(after=1)
    for minutes in ("2 min", "10 min", "30 min"):
        while minutes not in (astray.live.hold or ""):
            astray.look()
        assert astray.live.hold == f"not home after {minutes}: {why}; put stable to 100 % by hand"
        assert astray.live.needs_person
        assert astray.now - begun >= timedelta(minutes=int(minutes.split()[0]))
    told = [one for one in astray.events if one.name == "release.held"]
    assert [one.level for one in told] == ["error"] * 3
    astray.endpoint = replace(astray.endpoint, updating=False)
    astray.edit(v1=100, v2=0)
    astray.look(times=2)
    assert astray.release is not None
    assert (astray.release.settled, astray.release.needs_person) == (True, False)


def test_a_version_that_is_still_being_made_when_its_time_is_over_keeps_nobody_from_home(
    story: Story,
) -> None:
    """No user was ever to meet it: a page would be untrue, and nothing is to be done by hand."""
    wanted = desired(story.application)
    assert isinstance(story.endpoint, Endpoint)
    assert wanted is not None
    story.endpoint = replace(story.endpoint, updating=True, pending=wanted)
    while story.live.state == "Provisioning":
        story.look()
    assert story.live.because == "not ready after 1 h"
    for _ in range(90):
        story.look()
        assert (story.live.state, story.live.needs_person) == ("RolledBack", False)
    told = [one for one in story.events if one.name == "release.held"]
    assert [(one.level, "has 100 % of users" in one.because) for one in told] == [("warning", True)]
    story.obeys = True
    story.obey(Serve(wanted))
    story.look(times=3)
    assert story.application.live is None
    assert list(story.endpoint.serving.shares) == ["rag_chatbot-v1"]


def test_another_attempt_is_asked_for_at_once_though_the_one_before_was_in_vain() -> None:
    """What failed then is not its failure either, although the endpoint still shows it."""
    story = Story()
    story.look()
    story.obeys = False
    story.register(2)
    while [one.kind for one in story.calls].count("serve") < 3:
        story.look()
    fail(story, failed=frozenset({"rag_chatbot-v2"}), pending=desired(story.application))
    story.look()
    assert story.live.state == "RolledBack"
    while story.application.live is not None:
        story.look()
    again = replace(Release(application="rag-chatbot", version="2", since=story.now), attempt=2)
    story.application = story.application.with_release(again)
    story.calls.clear()
    story.look()
    remember(story, outcome="open")
    story.look()
    assert story.live.state == "Provisioning"
    assert story.live.hold is None
    assert story.application.hold is None
    assert [one.kind for one in story.calls].count("serve") == 2, "nobody knows of the first"
    remember(story, outcome="done")
    story.look()
    assert story.live.state == "RolledBack", "the second was accepted"
