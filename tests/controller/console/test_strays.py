"""An abort takes no users home that others gave to another version, and says what does."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.record.errors import OrderRefused
from policies.admission import Rules
from states.release import Order
from tests.controller.console.test_reading import APP, Recorded, rolled_back
from tests.states.story import SPEC

REVERT = "`headgate revert rag-chatbot` takes them back"


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Recorded]:
    recorded = Recorded().keep(tmp_path)
    yield recorded
    recorded.store.close()


def waiting(story: Recorded) -> None:
    """Version 2 is held before it begins, and yet it has users: a record that was put back."""
    story.spec = replace(SPEC, admission=Rules(approval="before_canary", required_tags=("team",)))
    story.look(times=2)
    story.register(2)
    story.look(times=2)
    story.edit(v1=95, v2=5)
    story.look(times=2)


def ended(story: Recorded) -> None:
    rolled_back(story)
    story.edit(v1=40, v2=60)
    story.look(times=2)


def abort(story: Recorded, version: str | None = None) -> str:
    """The answer, whether it is a refusal or not."""
    try:
        return story.store.give_order(APP, version, Order.ABORT, "ann", "wrong answers")
    except OrderRefused as error:
        return str(error)


@pytest.mark.parametrize(
    ("scene", "said", "share"),
    [
        (waiting, "rag-chatbot/2 is aborted: it does not begin, and is retired", 5),
        (ended, "no release of rag-chatbot is under way", 60),
    ],
)
@pytest.mark.parametrize("version", [None, "2"])
def test_who_aborts_what_others_gave_users_is_told_how_these_come_home(
    story: Recorded,
    scene: Callable[[Recorded], None],
    said: str,
    share: int,
    version: str | None,
) -> None:
    scene(story)
    told = abort(story, version)
    assert said in told or (version and "is RolledBack and over" in told)
    assert told.endswith(
        f"; others changed the endpoint, and version 2 has {share} % of users: {REVERT}"
    )
    story.look(times=3)
    assert story.weight(2) == share, "nothing of others' is undone by an abort"
    story.store.give_answer(APP, "revert", "ann", "")
    story.look(times=3)
    assert (story.weight(1), story.weight(2)) == (100, 0)


def test_who_aborts_what_is_under_way_is_told_of_other_versions_alone(story: Recorded) -> None:
    story.look(times=2)
    story.register(2)
    story.until("Canary")
    story.order(Order.PAUSE)
    story.look()
    story.edit(v1=30, v2=60, v9=10)
    story.look(times=2)
    told = abort(story)
    assert told.startswith("rag-chatbot/2 is aborted")
    assert f"version 9 has 10 % of users: {REVERT}" in told
    assert "version 2 has" not in told
    story.look(times=3)
    assert story.weight(2) == 0, "these an abort takes home"


def test_a_pause_says_nothing_of_them_nor_an_abort_where_nobody_changed_anything(
    story: Recorded,
) -> None:
    waiting(story)
    assert "others" not in story.store.give_order(APP, None, Order.PAUSE, "ann", "")
    story.edit(v1=100, v2=0)
    story.look(times=2)
    story.edit(v1=100)
    story.look(times=2)
    assert story.application.change is None
    assert "others" not in abort(story)
