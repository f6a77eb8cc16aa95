"""What the record is about: its versions are of one model, and its users are on one endpoint.

The configuration may name others by the next start. A version's number means another version of
another model, and a release that is under way cannot be looked after on an endpoint where it is
not. So nothing is decided or sent until the configuration names them again.
"""

from states.plan import Plan
from states.release import Application
from states.turn import Turn
from states.world import World

STRAYED = "the configuration names "
"""How the hold for it begins: it is known by that, also after a restart."""


def strayed(application: Application) -> str | None:
    """Why the record is not about what the configuration names; None where it is.

    Another endpoint is shown as any change of it, once no release is under way. What was never
    more than a name, such as one that was misspelt, may change.
    """
    spec, live = application.spec, application.live
    model, endpoint = application.of_model, application.of_endpoint
    if not application.adopted or not (application.releases or application.incumbent):
        return None
    if model is not None and model != spec.model:
        return (
            f"{STRAYED}model {spec.model}, and this record is of {model}, whose versions are "
            f"others: name {model} again, or give {spec.model} an application, an endpoint and an "
            "alias of its own; until then nothing is decided, and nothing is sent"
        )
    if endpoint is not None and endpoint != spec.endpoint and live is not None:
        return (
            f"{STRAYED}endpoint {spec.endpoint}, while {live.key} is under way on {endpoint}: name "
            f"{endpoint} again until it has ended; until then nothing is decided, and nothing is "
            "sent"
        )
    return None


def leave_alone(application: Application, world: World, why: str) -> Plan:
    """Hold, and call a person."""
    turn = Turn(application, world)
    turn.hold_application(why, event="release.held")
    return Plan(application=turn.application, events=tuple(turn.events))


def know_subject(turn: Turn) -> None:
    """Write down what the record is about; go on, where that was in question."""
    if (turn.application.hold or "").startswith(STRAYED):
        turn.record(change=None)  # a change by others that is still there is shown again
        turn.free_application()
    spec = turn.application.spec
    turn.record(of_model=spec.model, of_endpoint=spec.endpoint)
