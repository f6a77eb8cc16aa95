"""A release whose passes fail unexpectedly is held, told once, and let go on."""

from dataclasses import replace

from states.machine import State
from states.plan import Plan
from states.quarantine import lift, quarantine, quarantined
from states.world import World
from tests.states.records import application, release, stable, told
from tests.states.story import START

WORLD = World(now=START)
WHY = "quarantined: its passes fail"
LIVE = release()
HELD = release(hold=WHY, needs_person=True)


def test_a_release_is_known_as_quarantined_by_its_hold() -> None:
    assert quarantined(HELD)
    assert not quarantined(release(hold="something else"))
    assert not quarantined(release(hold="not quarantined: yet"))
    assert not quarantined(LIVE)
    assert not quarantined(None)


def test_the_live_release_is_held_and_a_person_called() -> None:
    plan = quarantine(application(stable(), LIVE), WORLD, "its passes fail")
    assert plan == Plan(
        application=application(stable(), HELD), events=(told("release.held", WHY, level="error"),)
    )
    asked = replace(LIVE, hold="something", ask="production")
    again = quarantine(application(asked), WORLD, "its passes fail")
    assert again is not None
    assert again.application == application(HELD)


def test_there_is_nothing_to_hold_where_nothing_is_live_or_it_is_held_so() -> None:
    assert quarantine(application(stable()), WORLD, "its passes fail") is None
    assert quarantine(application(release(State.REGISTERED)), WORLD, "its passes fail") is None
    assert quarantine(application(HELD), WORLD, "they fail otherwise") is None


def test_it_goes_on_once_its_passes_go_through() -> None:
    assert lift(application(stable(), HELD), WORLD) == Plan(
        application=application(stable(), LIVE),
        events=(told("release.freed", f"no longer: {WHY}"),),
    )
    assert lift(application(release(hold="something else")), WORLD) is None
    assert lift(application(LIVE), WORLD) is None
    assert lift(application(stable()), WORLD) is None
