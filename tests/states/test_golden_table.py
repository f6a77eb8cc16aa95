from dataclasses import replace

from policies.golden import GoldenQuery
from states.machine import State
from states.world import GoldenTable
from tests.states.story import SPEC, Story

TABLE = "main.rag.golden"
SECRET = GoldenQuery(query="rosebud?", answer_contains=("sledge",), quotable=False)


def in_testing(**more: object) -> Story:
    """A second version in Testing, whose golden queries are partly in a table."""
    story = Story()
    story.application = replace(
        story.application,
        spec=replace(SPEC, tests_table=TABLE, **more),  # type: ignore[arg-type]
    )
    story.look()
    story.register(2)
    story.until("Testing")
    return story


def test_nothing_is_opened_before_the_table_was_read() -> None:
    story = in_testing()
    story.look(times=5)
    assert story.live.state is State.TESTING
    assert story.live.hold == f"the golden queries of {TABLE} are not read yet: Headgate asks again"
    assert not story.live.needs_person
    assert "tests.finished" not in story.names()
    story.golden = GoldenTable(queries=(SECRET,))
    story.until("Canary")


def test_what_the_table_said_first_is_pinned_beside_the_configurations_own() -> None:
    story = in_testing()
    story.golden = GoldenTable(queries=(SECRET,))
    story.look()
    story.golden = GoldenTable(queries=())
    story.look()
    assert story.live.pinned is not None
    assert story.live.pinned.tests == (*SPEC.tests, SECRET)
    assert story.live.pinned.tests_table is None
    [told] = [event for event in story.events if event.name == "tests.read"]
    assert told.because == f"1 golden queries pinned as {TABLE} has them"
    assert "rosebud" not in str(story.events)
    assert "sledge" not in str(story.events)


def test_a_table_that_cannot_be_used_asks_for_a_person_until_it_can() -> None:
    story = in_testing()
    story.golden = GoldenTable(trouble=f"golden queries of {TABLE}: it has no rows")
    story.look(times=3)
    assert story.live.hold == f"golden queries of {TABLE}: it has no rows"
    assert story.live.needs_person
    assert story.names().count("release.held") == 1
    story.golden = GoldenTable(queries=(SECRET,))
    story.until("Canary")
    assert story.live.hold is None


def test_a_table_that_is_never_read_holds_the_release_and_sends_nobody_home() -> None:
    """The deadline of Testing is for a platform that is stuck, and this time is not its own."""
    story = in_testing()
    story.look(times=200)
    assert story.live.state is State.TESTING
    assert story.weight(2) == 0
    assert story.live.needs_person
    assert story.names().count("release.held") == 2, "once, and once more as a person is asked"


def test_a_release_that_was_admitted_without_a_table_never_waits_for_one() -> None:
    story = Story()
    story.look()
    story.register(2)
    story.until("Testing")
    story.application = replace(story.application, spec=replace(SPEC, tests_table=TABLE))
    story.until("Canary")
