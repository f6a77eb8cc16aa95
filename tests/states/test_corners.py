"""Corners in which a release, or the endpoint, could be lost: each is told once here."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.fuse import Minute
from states.attempt import Attempt
from states.plan import Serve, TagVersion
from states.release import Application, Order
from states.world import Absent, Endpoint, Serving, Share
from tests.states.story import MODEL, QUICK, SOURCE, SPEC, TABLE, Story, serving


@pytest.fixture
def story() -> Story:
    """An endpoint where version 1 has 100 %, adopted."""
    story = Story()
    story.look()
    return story


def test_versions_seen_while_adoption_was_held_do_not_start_after_it() -> None:
    story = Story(alias="2")
    story.register(2)
    story.look(times=3)
    assert story.events[-1].name == "endpoint.foreign_change", "no release is registered yet"
    story.alias = "1"
    story.look(times=5)
    assert story.application.watermark == 2
    assert {release.version for release in story.application.releases} == {"1"}


def test_the_entity_that_has_the_traffic_is_adopted_though_another_serves_the_same_version() -> (
    None
):
    story = Story()
    both = Serving(
        {
            "current": Share(model=MODEL, version="1", weight=100),
            "spare": Share(model=MODEL, version="1", weight=0),
        }
    )
    story.endpoint = Endpoint(serving=both, config_version=1, ready=frozenset(both.shares))
    story.look(times=3)
    assert story.application.adopted
    assert story.calls == []


def test_a_first_release_aborted_before_its_endpoint_exists_comes_to_rest() -> None:
    story = Story(endpoint=Absent(), alias=Absent(), obeys=False)
    story.until("Provisioning")
    story.order(Order.ABORT)
    story.look(times=3)
    assert story.application.live is None
    assert story.release is not None
    assert story.release.settled
    assert isinstance(story.endpoint, Absent)


def test_a_first_release_that_serves_although_it_was_given_up_is_known_to_serve() -> None:
    story = Story(endpoint=Absent(), alias=Absent(), obeys=False)
    story.until("Provisioning")
    story.order(Order.ABORT)
    story.look()
    story.obey(Serve(serving(v1=100)))
    story.look(times=3)
    assert story.application.unproven == "1"
    assert story.application.hold is None
    story.obeys = True
    story.register(2)
    story.until("Canary")
    assert Serve(serving(v1=100, v2=0)) in story.calls, "version 2 is tried beside it"


def test_a_first_release_aborted_the_moment_it_serves_is_known_to_serve() -> None:
    story = Story(endpoint=Absent(), alias=Absent())
    story.until("Provisioning")
    story.order(Order.ABORT)
    story.look(times=2)
    assert story.application.unproven == "1"
    assert story.application.live is None


def test_an_abort_during_a_long_deployment_is_no_strangers_change(story: Story) -> None:
    """Calls are remembered for ten minutes; a deployment may take an hour."""
    story.obeys = False
    story.register(2)
    story.look()
    assert isinstance(story.endpoint, Endpoint)
    story.endpoint = replace(story.endpoint, updating=True)
    story.look(times=24)
    story.order(Order.ABORT)
    story.look()
    story.obeys = True
    story.edit(v1=100, v2=0)
    story.look(times=3)
    assert story.application.hold is None
    assert story.endpoint.serving == serving(v1=100)
    assert story.application.live is None


@pytest.mark.parametrize("seen_gone", [True, False])
def test_an_endpoint_made_anew_is_believed_though_its_versions_count_from_1(
    story: Story, *, seen_gone: bool
) -> None:
    story.register(2)
    story.until("Canary")
    if seen_gone:
        story.endpoint = Absent()
        story.look(times=2)
        assert "endpoint rag-chatbot-endpoint is gone" in (story.application.hold or "")
    story.endpoint = Endpoint(
        serving=serving(v1=100),
        config_version=1,
        ready=frozenset({"rag_chatbot-v1"}),
        inference_table=TABLE,
    )
    story.look(times=30)
    assert story.application.hold is None
    assert story.release is not None
    assert story.release.state == "RolledBack"
    assert story.release.settled


@pytest.mark.parametrize("why", ["pause", "environment", "fallback"])
def test_the_deadline_of_the_tests_does_not_run_while_somebody_has_stopped_them(
    story: Story, why: str
) -> None:
    story.register(2)
    if why == "environment":
        story.golden_fails = frozenset({"1", "2"})
    elif why == "fallback":
        assert isinstance(story.endpoint, Endpoint)
        story.endpoint = replace(story.endpoint, fallback=True)
    story.look()
    if why == "pause":
        story.order(Order.PAUSE)
    story.look(times=200)
    assert story.live.state == "Testing"
    story.golden_fails = frozenset()
    assert isinstance(story.endpoint, Endpoint)
    story.endpoint = replace(story.endpoint, fallback=False)
    story.order(Order.RUN)
    story.until("Canary")


def test_a_first_release_that_was_blind_goes_on_once_it_sees() -> None:
    story = Story(endpoint=Absent(), alias=Absent())
    story.until("Canary")
    story.table_speaks = False
    story.look(after=60, times=100)
    assert "the probes' own rows do not arrive" in (story.live.hold or "")
    story.table_speaks = True
    story.until("Production")


def test_resuming_unseen_still_starts_the_proof_anew(story: Story) -> None:
    story.register(2)
    story.until("Canary")
    story.look(times=2)
    story.order(Order.PAUSE)
    story.look(times=20)
    story.order(Order.RUN)
    story.answers = False
    story.look()
    story.answers = True
    story.look()
    assert story.weight(2) == 5, "what was counted while paused opens nothing"


def test_resuming_within_settle_does_not_cut_settle_short(story: Story) -> None:
    story.register(2)
    story.until("Canary")
    story.look()
    assert story.live.settled
    begins = story.live.spans[-1].starts_at
    story.order(Order.PAUSE)
    story.look(after=5)
    story.order(Order.RUN)
    story.look(after=5)
    assert story.now < begins
    assert story.live.spans[-1].starts_at == begins


def test_a_mark_that_cannot_be_set_keeps_no_other_waiting_and_has_an_end(story: Story) -> None:
    story.register(2)
    story.golden_fails = frozenset({"2", "3"})
    story.until("RolledBack")
    story.versions[2] = replace(story.versions[2], tags={})
    story.application = story.application.with_release(
        replace(story.application.releases[-1], tagged=False)
    )
    del story.versions[2]
    story.register(3)
    story.until("RolledBack")
    story.look(times=5)
    assert (story.versions[3].tags or {})["headgate.state"] == "RolledBack"
    sent = len(story.calls)
    story.look(times=60)
    assert [call for call in story.calls[sent:] if isinstance(call, TagVersion)] == []


def test_a_hold_on_the_endpoint_does_not_keep_a_failing_version_before_users(story: Story) -> None:
    story.register(2)
    story.until("Canary")
    story.look()
    story.edit(v1=40, v2=60)
    story.look()
    assert "changed by someone else" in (story.application.hold or "")
    story.error_rates["2"] = 0.2
    story.look(times=4)
    assert story.weight(2) == 0
    assert story.application.hold is None


def test_a_version_registered_while_another_goes_home_waits_for_it(story: Story) -> None:
    story.register(2)
    story.until("Canary")
    story.error_rates["2"] = 0.2
    story.obeys = False
    story.until("RolledBack")
    story.register(3)
    story.look(times=5)
    assert story.live.version == "2"
    story.obeys = True
    story.look(times=6)
    assert story.live.version == "3"


def test_aborted_before_it_began_it_never_begins(story: Story) -> None:
    story.register(2, status="PENDING_REGISTRATION")
    story.look()
    story.order(Order.ABORT)
    story.register(2)
    story.look(times=3)
    assert story.release is not None
    assert (story.release.state, story.release.because) == ("Retired", "aborted before it began")


def test_paused_before_it_began_it_begins_when_resumed(story: Story) -> None:
    story.register(2, status="PENDING_REGISTRATION")
    story.look()
    story.order(Order.PAUSE)
    story.register(2)
    story.look(times=5)
    assert story.application.live is None
    story.order(Order.RUN)
    story.until("Canary")


def test_without_an_alias_of_ours_no_alias_is_moved() -> None:
    spec = replace(SPEC, alias=None)
    story = Story(application=Application(name="rag-chatbot", spec=spec), alias=None)
    story.look()
    story.register(2)
    story.until("Production")
    story.look(times=40)
    assert story.application.stable == "2"
    assert {call.kind for call in story.calls} == {"serve", "tag"}
    assert story.alias is None


def _of_a_first_one_that_cannot_be_deployed(*, looks: int) -> Story:
    story = Story(endpoint=Absent(), alias=Absent())
    story.versions.clear()
    story.undeployable = frozenset({"1"})
    story.look()
    story.register(1)
    story.look(after=60, times=looks)
    return story


def test_a_first_version_that_cannot_be_deployed_asks_for_another_one() -> None:
    story = _of_a_first_one_that_cannot_be_deployed(looks=40)
    release = story.application.newest("1")
    assert release is not None
    assert (release.state, release.settled) == ("RolledBack", True)
    assert release.hold == "there is nothing to go back to: register a mended version"


def test_a_release_after_a_first_one_that_could_not_be_deployed_comes_home_too() -> None:
    story = _of_a_first_one_that_cannot_be_deployed(looks=10)
    staged = replace(SPEC, staging="rag-chatbot-endpoint-staging")
    story.application = replace(story.application, spec=staged)
    story.register(2)
    story.until("Provisioning")
    story.order(Order.ABORT)
    story.look(times=10)
    release = story.application.newest("2")
    assert release is not None
    assert (release.state, release.settled) == ("RolledBack", True)


def test_a_failure_that_lingers_from_an_earlier_release_blames_not_the_next(story: Story) -> None:
    story.register(2)
    story.undeployable = frozenset({"2"})
    story.until("RolledBack")
    story.look(times=2)
    story.obeys = False
    story.register(3)
    story.look()
    unknown = [replace(one, outcome="open") for one in story.application.attempts]
    story.application = replace(story.application, attempts=tuple(unknown))
    story.look()
    assert story.live.state == "Provisioning", "nothing of version 3 has failed"


def test_removal_gives_way_to_the_next_release(story: Story) -> None:
    spec = replace(SPEC, rollout=replace(QUICK, retain=timedelta(minutes=2)))
    story.application = replace(story.application, spec=spec)
    story.register(2)
    story.golden_fails = frozenset({"2"})
    story.until("RolledBack")
    story.look()
    story.register(3)
    story.look(times=8)
    assert story.live.version == "3"
    story.until("Production")
    story.look(times=40)
    assert story.endpoint == replace(story.endpoint, serving=serving(v3=100))  # type: ignore[type-var]


def test_an_endpoint_that_others_make_first_is_adopted_and_not_disputed() -> None:
    story = Story(endpoint=Absent(), alias=Absent())
    story.versions.clear()
    story.look()
    story.register(1)
    story.endpoint = Story().endpoint
    story.look(times=2)
    assert story.application.stable == "1"
    assert not story.application.ours
    assert story.application.hold is None
    assert [call for call in story.calls if isinstance(call, Serve)] == []


def test_a_version_that_is_missing_from_one_listing_is_not_given_up(story: Story) -> None:
    story.register(2)
    story.application = replace(story.application, hold="something else, for now")
    story.look()
    known = story.versions.pop(2)
    told = [event.because for event in story.look().events]
    assert any("version 2 is not in the registry's list" in because for because in told)
    story.versions[2] = known
    story.until("Canary")


def test_raising_a_canary_by_hand_while_its_step_is_pending_is_shown_and_no_abort(
    story: Story,
) -> None:
    story.register(2)
    story.until("Canary")
    story.look(times=2)
    story.obeys = False
    while story.live.step == 1:
        story.look()
    story.edit(v1=90, v2=10)
    story.look()
    assert story.live.state == "Canary"
    assert "rag_chatbot-v2 has 10 % instead of 25 %" in (story.application.hold or "")


def test_a_way_back_that_is_blocked_calls_a_person_louder_and_louder(story: Story) -> None:
    story.register(2)
    story.until("Canary")
    story.obeys = False
    story.order(Order.ABORT)
    story.look(times=30)
    told = [event for event in story.events if event.name == "release.held"]
    assert [event.level for event in told] == ["error", "error"]
    assert "not home after 10 min" in told[-1].because
    story.obeys = True
    story.look(times=4)
    assert story.weight(1) == 100
    assert story.application.live is None


def test_a_first_release_that_raises_on_every_question_is_never_promoted() -> None:
    """An exception in `predict` is a 400: no hard limit counts it, and nothing is compared."""
    story = Story(endpoint=Absent(), alias=Absent())
    story.error_rates["1"] = 1.0
    release = story.until("RolledBack")
    assert "6,000 of 6,000 failed" in release.because
    assert isinstance(story.alias, Absent)


def test_a_version_that_was_never_compared_is_held_to_the_endpoints_own_past(story: Story) -> None:
    alone = replace(QUICK, steps=(100,))
    story.application = replace(story.application, spec=replace(SPEC, rollout=alone))
    story.minutes = tuple(
        Minute(ends_at=story.now - timedelta(minutes=back), requests=600, errors=3)
        for back in range(60)
    )
    story.register(2)
    story.error_rates["2"] = 0.1
    release = story.until("RolledBack")
    assert release.steps == (100,)
    assert "that the past permits" in release.because


def test_what_was_counted_under_a_strangers_weights_opens_no_step(story: Story) -> None:
    story.register(2)
    story.until("Canary")
    story.look(times=2)
    before = story.live.spans[-1].number
    story.edit(v1=60, v2=40)
    story.look(times=10)
    assert story.application.hold is not None
    story.edit(v1=95, v2=5)
    story.look()
    assert story.weight(2) == 5, "nothing of that stretch speaks for this step"
    assert story.live.spans[-1].number > before + 1
    story.look(times=4)
    assert story.weight(2) > 5


def test_an_abort_that_was_given_is_named_even_if_somebody_was_quicker(story: Story) -> None:
    story.register(2)
    story.until("Canary")
    story.look(times=2)
    story.order(Order.ABORT)
    story.edit(v1=100, v2=0)
    story.look()
    assert story.release is not None
    assert story.release.because == "aborted by the operator"


def test_a_strangers_change_is_told_with_what_is_served_and_the_release_it_befalls(
    story: Story,
) -> None:
    story.register(2)
    story.until("Canary")
    story.edit(v1=60, v2=40)
    plan = story.look()
    [told] = [one for one in plan.events if one.name == "endpoint.foreign_change"]
    assert told.release == ("2", 1)
    assert told.level == "warning"
    assert told.because == story.application.hold
    assert told.because.startswith(
        "endpoint rag-chatbot-endpoint was changed by someone else: rag_chatbot-v1 has 60 % "
        "instead of 95 %; rag_chatbot-v2 has 40 % instead of 5 %; `headgate adopt rag-chatbot`"
    )
    assert told.fields == {
        "wanted": "rag_chatbot-v1 95 %, rag_chatbot-v2 5 %; alias production at version 1",
        "found": "rag_chatbot-v1 60 %, rag_chatbot-v2 40 %; alias production at version 1",
        "difference": [
            "rag_chatbot-v1 has 60 % instead of 95 %",
            "rag_chatbot-v2 has 40 % instead of 5 %",
        ],
    }
    assert not story.live.settled, "what is counted meanwhile proves nothing"
    assert not story.live.spans[-1].settled
    assert story.live.spans[-1].starts_at == story.now


def test_an_endpoint_that_cannot_be_adopted_is_told_with_what_it_serves() -> None:
    story = Story()
    story.edit(v1=60, v7=40)
    plan = story.look()
    [told] = [one for one in plan.events if one.name == "endpoint.foreign_change"]
    assert told.release is None
    assert told.fields == {"serving": "rag_chatbot-v1 60 %, rag_chatbot-v7 40 %"}


def test_a_late_effect_of_a_call_whose_outcome_is_unknown_is_no_strangers_change(
    story: Story,
) -> None:
    story.register(2)
    story.until("Canary")
    story.look(times=2)
    asked = story.application.asked
    earlier = Attempt(
        kind="serve",
        target="rag_chatbot-v1 70 %, rag_chatbot-v2 30 %",
        at=story.now,
        outcome="open",
    )
    story.application = replace(story.application, attempts=(earlier,))
    story.edit(v1=70, v2=30)
    story.look(after=1)
    assert story.application.hold is None, "it may have been ours"
    done = replace(earlier, outcome="done")
    other = Attempt(kind="serve", target=asked or "", at=story.now, outcome="done")
    story.application = replace(story.application, attempts=(done, other), seen=None)
    story.edit(v1=65, v2=35)
    story.look(after=1)
    assert story.application.hold is not None, "that was never asked for"


def test_a_single_percent_of_users_on_a_closed_version_is_brought_home_before_all_else(
    story: Story,
) -> None:
    story.register(2)
    story.until("Canary")
    story.error_rates = {"2": 0.5}
    story.obeys = False
    story.until("RolledBack")
    story.edit(v1=99, v2=1)
    plan = story.look(after=90)
    assert [call.kind for call in plan.calls if call.kind == "serve"] == ["serve"]
    assert story.application.hold is None


def test_a_version_that_stopped_being_ready_while_it_had_no_users_gets_none(story: Story) -> None:
    story.register(2)
    story.until("Testing")
    assert isinstance(story.endpoint, Endpoint)
    ready = story.endpoint.ready
    story.endpoint = replace(story.endpoint, ready=frozenset({"rag_chatbot-v1"}))
    story.look(times=5)
    assert story.live.state == "Testing"
    assert story.weight(2) == 0
    story.endpoint = replace(story.endpoint, ready=ready)
    story.look()
    assert story.weight(2) == 5


def test_home_is_not_believed_on_an_answer_from_before_the_last_call(story: Story) -> None:
    story.register(2)
    story.until("Canary")
    before = story.endpoint
    story.obeys = False
    story.look()
    assert isinstance(story.calls[-1], Serve)
    assert story.calls[-1].serving == serving(v1=95, v2=5), "accepted, and not shown yet"
    story.obeys = True
    story.order(Order.ABORT)
    story.endpoint = before
    story.look()
    release = story.release
    assert release is not None
    assert not release.settled, "what is seen may be older than what was accepted"
    assert Serve(serving(v1=100, v2=0)) in story.calls[-2:], "home is asked for all the same"
    story.look(times=3)
    assert story.release is not None
    assert story.release.settled


def test_a_source_that_told_of_the_future_has_not_told_of_it(story: Story) -> None:
    story.register(2)
    story.until("Canary")
    story.look(times=4)
    live = story.application.live
    assert live is not None
    ahead = {SOURCE: story.now + timedelta(hours=1)}
    story.application = story.application.with_release(replace(live, watermarks=ahead))
    story.look()
    live = story.application.live
    assert live is not None
    assert live.watermarks[SOURCE] <= story.now


@pytest.mark.parametrize("updating", [True, False])
def test_who_has_no_stable_version_is_not_told_to_put_it_to_100_percent(*, updating: bool) -> None:
    """A first release is given up while its endpoint is made: nobody is served, or sent again."""
    story = Story(endpoint=Absent(), alias=Absent(), obeys=False)
    story.look(times=2)
    asked = story.calls[0]
    assert isinstance(asked, Serve)
    made_ms = int(story.now.timestamp() * 1000)
    pending = asked.serving if updating else None
    story.endpoint = Endpoint(
        serving=Serving(),
        pending=pending,
        updating=updating,
        id="new",
        created_ms=made_ms,
        owner="headgate",
    )
    story.look()
    story.order(Order.ABORT)
    story.look(times=8)
    why = "Databricks is still updating the endpoint" if updating else "what was asked for may"
    held = story.live.hold or ""
    assert held.startswith(f"not home after 2 min: {why}")
    assert held.endswith("; no version served before it: wait, or delete the endpoint by hand")
    story.endpoint = Absent()
    story.look(times=2)
    assert story.application.live is None, "what it was told to do helps"
