"""A release whose passes fail unexpectedly is held, told once, and let go on."""

from dataclasses import replace

from states.hold import Hold
from states.machine import State, Trigger
from states.plan import Plan
from states.quarantine import lift, quarantine, quarantined
from states.world import World
from tests.states.records import application, release, stable, told, turn
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


def test_what_held_it_before_holds_it_afterwards_and_is_told_again() -> None:
    """Not everything that holds is found again at the next look: some of it is set once."""
    asked = release(hold="waits", needs_person=True, ask="production")
    made = quarantine(application(asked), WORLD, "its passes fail")
    assert made is not None
    before = Hold(why="waits", needs_person=True, ask="production")
    assert made.application == application(replace(HELD, held_before=before))
    after = lift(made.application, WORLD)
    assert after == Plan(
        application=application(asked),
        events=(
            told("release.freed", f"no longer: {WHY}"),
            told("release.held", "waits", level="warning"),
        ),
    )


def test_what_held_a_release_before_is_forgotten_once_it_goes_home_or_is_held_otherwise() -> None:
    held = replace(HELD, held_before=Hold(why="waits"))
    look = turn(application(held), None)
    assert look.move(held, Trigger.ROLL_BACK, "aborted").held_before is None
    look = turn(application(held), None)
    assert look.free(held).held_before is None
    assert look.hold(held, "something else").held_before is None


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
