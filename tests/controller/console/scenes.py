"""Every condition that an operator may find an application in, as a story that leads to it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from policies.admission import Rules
from policies.calendar import Freeze
from policies.fuse import Minute
from states.release import Order
from states.setup import Setup
from states.world import Absent, Endpoint, Size
from tests.controller.console.test_reading import APP, Recorded, rolled_back
from tests.states.story import SPEC, START

Scene = Callable[[Recorded], None]


def brought(story: Recorded, state: str) -> None:
    """Its second version, to a state."""
    story.look(times=2)
    story.register(2)
    story.until(state)


def registered_and_held(story: Recorded) -> None:
    frozen = Freeze(begins=START, ends=START + timedelta(days=1), reason="quarter's end")
    story.spec = replace(SPEC, admission=Rules(freezes=(frozen,)))
    story.look(times=2)
    story.register(2)
    story.look(times=2)


def provisioning(story: Recorded) -> None:
    story.look(times=2)
    story.register(2)
    story.obeys = False
    story.look(times=4)


def testing(story: Recorded) -> None:
    brought(story, "Testing")


def healthy(story: Recorded) -> None:
    brought(story, "Canary")
    for _ in range(20):
        story.look()
        if story.live.step == 3:
            break
    story.requests_per_look = 60
    story.error_rates = {"1": 0.004, "2": 0.006}
    story.look(times=3)


def insufficient(story: Recorded) -> None:
    story.requests_per_look, story.pace = 60, 2.0
    story.error_rates = {"1": 0.01, "2": 0.01}
    brought(story, "Canary")
    story.look(times=10)


def blinded(story: Recorded) -> None:
    brought(story, "Canary")
    story.look(times=2)
    story.table_speaks = False
    story.look(after=600, times=11)


def blown_fuse(story: Recorded) -> None:
    story.look()
    _minutes(story, 60, errors=30)
    story.register(2)
    story.table_speaks = False
    story.until("Canary")
    story.look()
    for _ in range(3):
        story.now += timedelta(minutes=1)
        _minutes(story, 1, errors=300)
    story.look(times=2)


def baking(story: Recorded) -> None:
    brought(story, "Canary")
    for _ in range(40):
        story.look()
        if story.live.baking and story.live.settled:
            break
    story.look(times=2)


def watched(story: Recorded) -> None:
    brought(story, "Production")
    story.look(times=3)


def confirmed(story: Recorded) -> None:
    watched(story)
    story.look(times=30)


def paused(story: Recorded) -> None:
    brought(story, "Canary")
    story.order(Order.PAUSE)
    story.look(times=2)


def changed_by_others(story: Recorded) -> None:
    story.look(times=2)
    story.edit(v1=80, v9=20)
    story.look(times=2)


def no_stable(story: Recorded) -> None:
    story.endpoint, story.alias = Absent(), Absent()
    story.until("Canary")
    story.look()


def without_a_way_back(story: Recorded) -> None:
    brought(story, "Canary")
    assert isinstance(story.endpoint, Endpoint)
    story.requests_per_look = 60
    story.endpoint = replace(story.endpoint, ready=frozenset({"rag_chatbot-v2"}))
    story.look(times=3)


def applied(story: Recorded) -> None:
    story.look(times=2)
    story.spec = replace(SPEC, setup=Setup(size=Size("Medium")))
    story.store.give_wish(APP, story.spec.setup, "ann", "more users")
    story.look(times=3)


def waiting_to_be_adopted(story: Recorded) -> None:
    story.edit(v1=50, v2=50)
    story.look()


def _minutes(story: Recorded, count: int, errors: int) -> None:
    told = [
        Minute(ends_at=story.now - timedelta(minutes=back), requests=6000, errors=errors)
        for back in reversed(range(count))
    ]
    story.minutes = (*story.minutes, *told)


SCENES: tuple[Scene, ...] = (
    *(registered_and_held, provisioning, testing, healthy, insufficient, blinded, blown_fuse),
    *(baking, watched, confirmed, rolled_back, paused, changed_by_others, no_stable),
    *(without_a_way_back, applied, waiting_to_be_adopted),
)
