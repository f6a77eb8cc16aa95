"""Quarantine: a release whose passes fail unexpectedly is held, and only goes back."""

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
    """Hold the live release, and call a person; None where there is nothing to change."""
    live, turn = application.live, Turn(application, world)
    if live is None or quarantined(live):
        return None
    turn.hold(live, QUARANTINED + why, needs_person=True, level="error")
    return Plan(application=turn.application, events=tuple(turn.events))


def lift(application: Application, world: World) -> Plan | None:
    """Let the release go on, as its passes go through again; None where nothing held it so."""
    live, turn = application.live, Turn(application, world)
    if live is None or not quarantined(live):
        return None
    turn.free(live)
    return Plan(application=turn.application, events=tuple(turn.events))
