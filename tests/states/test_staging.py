"""A version is tested on a staging endpoint of its own, which is removed, whatever comes of it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.golden import GoldenQuery
from states.leap import leapt
from states.machine import State
from states.plan import CreateStaging, RemoveStaging, Serve
from states.release import Application, Order, Release
from states.staging import LINGER
from states.status import status
from states.world import Absent, Endpoint, GoldenTable
from tests.states.story import SPEC, Story, serving

STAGING = "rag-chatbot-endpoint-staging"
STAGED = replace(SPEC, staging=STAGING)


@pytest.fixture
def story() -> Story:
    """An adopted endpoint whose next version is tested on staging first."""
    story = Story(application=Application(name="rag-chatbot", spec=STAGED))
    story.look()
    story.register(2)
    return story


def on_staging(story: Story) -> None:
    """Look until the staging endpoint is there, and has not been asked anything."""
    for _ in range(5):
        story.look()
        if story.others:
            return
    raise AssertionError(f"no staging endpoint: {story.release}")


def told(story: Story, name: str) -> list[str]:
    """Why each event of a name was told."""
    return [one.because for one in story.events if one.name == name]


def theirs() -> Endpoint:
    """An endpoint that somebody else made under the same name."""
    return Endpoint(
        serving=serving(v2=100), id="theirs", config_version=1, ready=frozenset({"rag_chatbot-v2"})
    )


def test_a_good_version_passes_on_staging_before_its_endpoint_has_it(story: Story) -> None:
    on_staging(story)
    assert story.others[STAGING].serving == serving(v2=100)
    assert story.endpoint.serving == serving(v1=100)  # type: ignore[union-attr]
    assert not any(isinstance(call, Serve) for call in story.calls)
    story.until("Testing")
    assert told(story, "staging.passed") == [f"all 1 golden queries passed on {_on()}"]
    story.until("Canary")
    where = [one.fields["endpoint"] for one in story.events if one.name == "tests.finished"]
    assert where == [STAGING, "rag-chatbot-endpoint"]
    assert not story.others
    assert story.weight(2) == 5


def _on() -> str:
    return f"staging endpoint {STAGING}"


def test_it_is_removed_while_its_endpoint_is_being_given_the_version(story: Story) -> None:
    on_staging(story)
    plan = story.look()
    assert {call.kind for call in plan.calls} == {"serve", "remove_staging"}
    assert not story.others
    story.look()
    assert told(story, "staging.removed") == [f"{_on()} was removed"]


def test_status_says_that_it_is_on_staging(story: Story) -> None:
    on_staging(story)
    shown = status(story.application, story.live)
    assert shown["state"] == "Provisioning"
    assert shown["weight"] == 0
    assert "staging" in (shown["next"] or "")
    assert STAGING in shown["because"]


def test_a_version_that_fails_on_staging_never_comes_near_its_endpoint(story: Story) -> None:
    story.fails_on_staging = frozenset({"2"})
    release = story.until("RolledBack")
    assert f"{_on()}: 1 of 1 golden queries failed twice" in release.because
    story.look(times=3)
    assert not story.others
    assert story.application.live is None
    assert not any(isinstance(call, Serve) for call in story.calls)
    assert (story.versions[2].tags or {})["headgate.state"] == "RolledBack"


def test_what_stable_fails_too_is_held_and_goes_on_when_it_is_well(story: Story) -> None:
    story.golden_fails = frozenset({"1", "2"})
    on_staging(story)
    story.look(times=6)
    assert story.live.on_staging
    assert "the environment is at fault" in (story.live.hold or "")
    assert story.others, "it is asked again there"
    story.golden_fails = frozenset()
    story.until("Canary")
    assert not story.others


def test_a_version_that_cannot_be_built_is_rolled_back_and_its_endpoint_removed(
    story: Story,
) -> None:
    story.undeployable = frozenset({"2"})
    release = story.until("RolledBack")
    assert f"could not deploy rag_chatbot-v2 on {_on()}" in release.because
    story.look(times=3)
    assert not story.others
    assert story.endpoint.serving == serving(v1=100)  # type: ignore[union-attr]


def test_an_abort_in_the_middle_removes_it(story: Story) -> None:
    on_staging(story)
    story.order(Order.ABORT)
    story.look(times=3)
    assert story.application.live is None
    assert not story.others
    assert not any(isinstance(call, Serve) for call in story.calls)


def test_one_that_never_gets_ready_is_given_up_at_the_deadline(story: Story) -> None:
    on_staging(story)
    slow = replace(story.others[STAGING], ready=frozenset[str](), updating=True)
    story.others[STAGING] = slow
    limit = STAGED.provisioning_deadline + STAGED.testing_deadline
    release = story.until("RolledBack", limit=limit // timedelta(seconds=30) + 10)
    assert f"not through its tests on {_on()}" in release.because
    story.look(times=3)
    assert not story.others


def test_passing_gives_the_production_endpoint_a_deadline_of_its_own(story: Story) -> None:
    on_staging(story)
    ready, limit = story.others[STAGING], STAGED.provisioning_deadline
    story.others[STAGING] = replace(ready, ready=frozenset[str](), updating=True)
    story.look(times=(limit + timedelta(minutes=1)) // timedelta(seconds=30))
    story.others[STAGING] = ready
    assert story.until("Testing").in_state < timedelta(minutes=1)


def test_an_endpoint_of_that_name_that_is_somebody_elses_is_asked_about_and_left(
    story: Story,
) -> None:
    story.others[STAGING] = theirs()
    story.look(times=40)
    assert story.others[STAGING] == theirs()
    assert not any(isinstance(call, CreateStaging | RemoveStaging) for call in story.calls)
    assert story.live.needs_person
    assert "that Headgate did not make" in (story.live.hold or "")
    story.order(Order.ABORT)
    story.look(times=5)
    assert story.application.live is None
    assert story.others[STAGING] == theirs(), "the end of a release deletes nothing of theirs"


def test_it_goes_on_by_itself_once_the_name_is_free(story: Story) -> None:
    story.others[STAGING] = theirs()
    story.look(times=3)
    del story.others[STAGING]
    story.until("Canary")
    assert not story.others


@pytest.mark.parametrize("change", [{"id": "theirs"}, {"owner": ""}, {"made_for": "other/2/1/1"}])
def test_one_that_was_put_in_its_place_is_never_deleted(
    story: Story, change: dict[str, str]
) -> None:
    on_staging(story)
    other = replace(story.others[STAGING], ready=frozenset[str](), updating=True)
    story.others[STAGING] = other
    story.look()
    story.others[STAGING] = replace(other, **change)  # type: ignore[arg-type]
    story.look(times=2)
    assert "that Headgate did not make" in (story.live.hold or "")
    story.order(Order.ABORT)
    story.look(times=5)
    assert STAGING in story.others
    assert not any(isinstance(call, RemoveStaging) for call in story.calls)


def test_deleted_by_hand_it_is_made_anew_and_said(story: Story) -> None:
    on_staging(story)
    story.others[STAGING] = replace(story.others[STAGING], ready=frozenset[str](), updating=True)
    story.look()
    del story.others[STAGING]
    story.until("Canary")
    assert told(story, "staging.removed")[0] == f"{_on()} was deleted by someone else"
    assert story.made == 2
    assert not story.others


def test_changed_by_hand_it_is_asked_about(story: Story) -> None:
    on_staging(story)
    story.others[STAGING] = replace(story.others[STAGING], serving=serving(v1=100))
    story.look(times=3)
    assert "it was changed by someone else" in (story.live.hold or "")
    del story.others[STAGING]
    story.until("Canary")


def test_a_call_that_never_arrived_is_sent_again_and_not_for_ever(story: Story) -> None:
    story.obeys = False
    story.look(times=18)
    sent = [call for call in story.calls if isinstance(call, CreateStaging)]
    assert len(sent) == 3
    assert "asked for 3 times within 10 min" in (story.live.hold or "")
    story.obeys = True
    story.until("Canary", limit=100)
    assert not story.others


def test_one_that_cannot_be_removed_is_told_once_and_blocks_no_rollback(story: Story) -> None:
    on_staging(story)
    story.obeys = False
    story.look(times=2)
    story.order(Order.ABORT)
    story.look(times=30)
    assert story.application.live is None, "the release has ended all the same"
    assert len(told(story, "staging.left")) == 1
    removals = [call for call in story.calls if isinstance(call, RemoveStaging)]
    assert 3 <= len(removals) <= 6
    story.obeys = True
    story.look(times=30)
    assert not story.others
    assert told(story, "staging.removed") == [f"{_on()} was removed"]


def test_a_call_that_arrives_after_the_release_has_ended_leaves_nothing_behind(
    story: Story,
) -> None:
    story.obeys = False
    story.look(times=2)
    late = [call for call in story.calls if isinstance(call, CreateStaging)]
    assert late, "it was written down, and whoever sends it sleeps"
    story.order(Order.ABORT)
    story.obeys = True
    story.look(times=40)
    assert story.application.live is None
    story.obey(late[-1])
    story.look(times=2)
    assert not story.others


def test_nobody_looks_for_it_for_ever(story: Story) -> None:
    story.until("Canary")
    assert story.application.staging is not None
    story.look(after=60, times=1 + LINGER // timedelta(minutes=1))
    assert story.application.staging is None


def test_the_next_version_waits_for_the_last_ones_to_be_gone(story: Story) -> None:
    on_staging(story)
    first = story.others[STAGING]
    story.obeys = False
    story.order(Order.ABORT)
    story.look()
    story.register(3)
    story.look(times=2)
    assert story.others[STAGING] == first
    assert story.live.version == "3"
    story.obeys = True
    story.until("Canary")
    assert not story.others
    assert story.made == 2


def test_a_release_that_waits_for_an_order_stays_on_staging(story: Story) -> None:
    on_staging(story)
    story.order(Order.PAUSE)
    story.look(times=5)
    assert story.live.on_staging
    story.order(Order.RUN)
    story.until("Canary")


def test_a_first_release_passes_on_staging_before_there_is_an_endpoint() -> None:
    story = Story(
        application=Application(name="rag-chatbot", spec=STAGED),
        endpoint=Absent(),
        alias=Absent(),
        versions={},
    )
    story.look()
    story.register(1)
    on_staging(story)
    assert story.endpoint == Absent()
    assert story.live.weight == 0
    story.until("Production")
    assert story.weight(1) == 100
    assert not story.others


def test_a_first_release_that_fails_on_staging_makes_no_endpoint() -> None:
    story = Story(
        application=Application(name="rag-chatbot", spec=STAGED),
        endpoint=Absent(),
        alias=Absent(),
        versions={},
        fails_on_staging=frozenset({"1"}),
    )
    story.look()
    story.register(1)
    story.until("RolledBack")
    story.look(times=3)
    assert story.endpoint == Absent()
    assert not story.others


def test_a_staging_endpoint_is_renamed_for_later_releases_only(story: Story) -> None:
    on_staging(story)
    renamed = replace(STAGED, staging="elsewhere")
    story.application = replace(story.application, spec=renamed)
    story.until("Canary")
    assert not story.others
    story.order(Order.ABORT)
    story.register(3)
    while story.release and story.release.version != "3":
        story.look()
    on_staging(story)
    assert list(story.others) == ["elsewhere"]
    story.until("Canary")
    assert not story.others


def test_a_clock_that_is_set_moves_the_time_until_which_it_is_looked_for(story: Story) -> None:
    on_staging(story)
    before, by = story.application.staging, timedelta(days=1)
    after = leapt(story.application, by).staging
    assert before is not None
    assert after is not None
    assert after.asked_at == before.asked_at + by


def test_what_a_table_asks_is_pinned_before_anything_passes_on_staging(story: Story) -> None:
    table = replace(STAGED, tests_table="main.rag.golden")
    story.application = replace(story.application, spec=table)
    on_staging(story)
    story.look(times=3)
    assert story.live.on_staging
    assert "are not read yet" in (story.live.hold or "")
    assert "staging.passed" not in story.names()
    asked = GoldenQuery(query="rosebud?")
    story.golden = GoldenTable(queries=(asked,))
    pinned = story.until("Canary").pinned
    assert pinned is not None
    assert pinned.tests == (*STAGED.tests, asked)


@pytest.mark.parametrize("seen", [True, False], ids=["seen", "never seen"])
def test_what_an_aborted_attempt_left_on_staging_is_removed_for_the_next_one(
    story: Story, *, seen: bool
) -> None:
    on_staging(story)
    if seen:
        story.look()
    story.order(Order.ABORT)
    story.obeys = False
    story.look()
    assert story.release is not None
    assert story.release.state == "RolledBack"
    # The loader remembers of each version the newest attempt alone.
    again = replace(Release(application="rag-chatbot", version="2", since=story.now), attempt=2)
    others = tuple(one for one in story.application.releases if one.version != "2")
    story.application = replace(story.application, releases=(*others, again))
    story.obeys = True
    made = set[str]()
    for _ in range(8):
        story.look()
        made |= {one.made_for.rpartition("/")[0] for one in story.others.values()}
    assert "rag-chatbot/2/2" in made, "what the attempt before left is not in its way"
    assert not told(story, "staging.left")


def test_what_a_second_attempt_left_on_staging_is_removed_beside_the_one_that_was_stable(
    story: Story,
) -> None:
    on_staging(story)
    before = replace(
        Release(application="rag-chatbot", version="2", since=story.now),
        attempt=0,
        state=State.RETIRED,
        settled=True,
        removed=True,
    )
    story.application = replace(story.application, releases=(before, *story.application.releases))
    story.order(Order.ABORT)
    story.look(times=4)
    assert not story.others
