"""Quarantine: a release whose passes fail unexpectedly is held, and only goes back."""

from states.hold import Hold
from states.plan import Plan
from states.release import Application, Release
from states.turn import Turn
from states.world import World

QUARANTINED = "quarantined: "
"""How the hold of such a release begins: it is known by that, also after a restart."""


def quarantined(release: Release | None) -> bool:
    """Whether a release is held because its passes failed unexpectedly."""
    return release is not None and (release.hold or "").startswith(QUARANTINED)


def quarantine(application: Application, world: World, why: str) -> Plan | None:
    """Hold the live release, and call a person; None where there is nothing to change.

    What held it before is remembered: some of it is set once, and its reason is still there later.
    """
    live, turn = application.live, Turn(application, world)
    if live is None or quarantined(live):
        return None
    before = live.hold and Hold(why=live.hold, needs_person=live.needs_person, ask=live.ask)
    held = turn.hold(live, QUARANTINED + why, needs_person=True, level="error")
    turn.put(held, held_before=before)
    return Plan(application=turn.application, events=tuple(turn.events))


def lift(application: Application, world: World) -> Plan | None:
    """Let the release be as it was, as its passes go through again; None where nothing held it so.

    What held it then holds it again, until whatever ends that: the next look, or a person.
    """
    live, turn = application.live, Turn(application, world)
    if live is None or not quarantined(live):
        return None
    freed, before = turn.free(live), live.held_before
    if before is not None:
        turn.hold(freed, before.why, needs_person=before.needs_person, ask=before.ask)
    return Plan(application=turn.application, events=tuple(turn.events))
