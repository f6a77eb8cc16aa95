"""A staging endpoint through the daemon's pass and its store: deaths and failures on the way."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from controller.workspace.errors import Refused, Unreachable, WorkspaceError
from controller.workspace.inputs import Known
from policies.golden import Begun, GoldenQuery, Round
from states.counted import Paths
from states.plan import CreateStaging, RemoveStaging
from states.release import Application, Order
from states.staging import attempt_of, served
from states.world import Absent, Endpoint
from tests.controller.daemon.platform import MINUTE
from tests.controller.daemon.test_observe import Workspace, look, observer
from tests.controller.house import NAME, House, opened
from tests.states.story import SPEC, Story

STAGING = "rag-chatbot-endpoint-staging"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Version 1 serves, and version 2 is there to be tested on staging first."""
    with opened(tmp_path) as house:
        house.one.spec = replace(SPEC, staging=STAGING)
        house.passes()
        house.outside.story.register(2)
        yield house


def on_staging(house: House) -> None:
    """The staging endpoint is there, and takes its time."""
    house.passes(2)
    story = house.outside.story
    slow = replace(story.others[STAGING], ready=frozenset[str](), updating=True)
    story.others[STAGING] = slow


def sent(house: House, kind: str) -> int:
    return sum(one.startswith(kind) for one in house.outside.sent)


def ends(house: House) -> None:
    """The release is aborted, and all that follows from it happens."""
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "not today")
    house.passes(4)
    assert house.application().live is None


@pytest.mark.parametrize("arrived", [False, True])
def test_a_death_around_its_creation_leaves_one_endpoint_at_most_and_none_in_the_end(
    house: House, *, arrived: bool
) -> None:
    house.outside.dies = True
    with pytest.raises(KeyboardInterrupt):
        house.passes(2)
    application, story = house.application(), house.outside.story
    live = application.live
    assert live is not None
    if arrived:
        wanted = served(application, live)
        story.obey(CreateStaging(STAGING, wanted, attempt_of(live), 1))
    house.outside.dies = False
    house.until("Canary")
    assert sent(house, "create_staging") == (0 if arrived else 1)
    assert story.made == 1
    assert not story.others


@pytest.mark.parametrize("arrived", [False, True])
def test_a_death_around_its_removal_leaves_nothing_behind(house: House, *, arrived: bool) -> None:
    on_staging(house)
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "not today")
    house.outside.dies = True
    with pytest.raises(KeyboardInterrupt):
        house.passes(4)
    story = house.outside.story
    if arrived:
        story.obey(RemoveStaging(STAGING, story.others[STAGING].id))
    house.outside.dies = False
    house.passes(2)
    assert not story.others
    assert sent(house, "remove_staging") == (0 if arrived else 1)


@pytest.mark.parametrize("failing", [Unreachable("status 503"), Refused("not found (404)")])
def test_one_that_cannot_be_removed_keeps_no_user_from_going_home(
    house: House, monkeypatch: pytest.MonkeyPatch, failing: WorkspaceError
) -> None:
    on_staging(house)
    story = house.outside.story

    def fail(*_: str) -> None:
        raise failing

    monkeypatch.setattr(house.outside, "remove_staging", fail)
    story.others[STAGING] = replace(
        story.others[STAGING], updating=False, ready=frozenset({"rag_chatbot-v2"})
    )
    house.until("Canary")
    house.passes(2)
    assert story.weight(2) > 0
    assert story.others, "it is still there"
    house.store.give_order(NAME, "2", Order.ABORT, "anna", "users complain")
    house.passes()
    assert story.weight(2) == 0
    monkeypatch.undo()
    house.passes(40)
    assert not story.others


def test_the_end_of_a_release_deletes_nothing_of_others(house: House) -> None:
    on_staging(house)
    story = house.outside.story
    theirs = Endpoint(serving=story.others[STAGING].serving, id="theirs", owner="headgate")
    story.others[STAGING] = theirs
    ends(house)
    assert story.others == {STAGING: theirs}
    assert not sent(house, "remove_staging")


# What a look brings of it.


@dataclass
class Seen(Workspace):
    """A workspace that has a staging endpoint, and remembers where it was asked."""

    asked_at: list[str | None] = field(default_factory=list)

    def observe(self, name: str) -> Endpoint | Absent:
        return self.story.others.get(name, Absent()) if name == STAGING else super().observe(name)

    def round(  # noqa: PLR0913, PLR0917 - as the probes have it
        self,
        candidate: str,
        stable: str | None,
        tests: tuple[GoldenQuery, ...],
        paths: Paths,
        given_up: Callable[[], bool],
        inputs: Known,
        staging: str | None = None,
        begun: Begun | None = None,
    ) -> Round | None:
        self.asked_at.append(staging)
        return super().round(candidate, stable, tests, paths, given_up, inputs, staging, begun)


@pytest.fixture
def seen() -> Seen:
    """A version whose staging endpoint is ready for questions."""
    story = Story(application=Application(name=NAME, spec=replace(SPEC, staging=STAGING)))
    story.look()
    story.register(2)
    story.look(times=2)
    assert story.others
    return Seen(story)


def test_the_candidate_is_asked_on_staging_and_that_is_told(seen: Seen) -> None:
    world = look(observer(seen), seen, after=MINUTE)
    assert world.staging == seen.story.others[STAGING]
    assert world.round is not None
    assert seen.asked_at == [STAGING]
    slow = replace(seen.story.others[STAGING], updating=True)
    seen.story.others[STAGING] = slow
    assert look(observer(seen), seen, after=MINUTE).round is None


def test_without_a_staging_endpoint_none_is_looked_for() -> None:
    seen = Seen(Story())
    seen.story.look()
    assert look(observer(seen), seen, after=MINUTE).staging is None


def test_what_is_left_behind_is_looked_for_at_every_look(seen: Seen) -> None:
    story, observing = seen.story, observer(seen)
    story.obeys = False
    story.order(Order.ABORT)
    story.look()
    assert story.application.live is None
    look(observing, seen, after=MINUTE)
    assert observing.glance(story.application, story.now) is None
    story.obeys = True
    story.look(times=3)
    assert not story.others
    look(observing, seen, after=MINUTE)
    assert observing.glance(story.application, story.now) is not None


def test_on_the_way_home_it_waits_until_users_are_home_or_others_keep_them_from_it(
    seen: Seen,
) -> None:
    story, observing = seen.story, observer(seen)
    story.order(Order.ABORT)
    assert look(observing, seen, after=MINUTE).staging is None
    story.order(Order.RUN)
    story.edit(v1=100, v2=0)
    story.look()
    assert story.application.change is not None, "somebody has put the version on the endpoint"
    story.order(Order.ABORT)
    story.look()
    assert story.live.state == "RolledBack"
    assert look(observing, seen, after=MINUTE).staging is not None
