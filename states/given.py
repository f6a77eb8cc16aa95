"""What a call of `apply` has given: the record of calls tells it, not what was planned.

A call that is planned may not be sent. The budget of writes may be spent, or the endpoint may have
asked for rest: then it is neither written down nor sent, and the plan does not know.
"""

from dataclasses import replace

from states.attempt import MEMORY, Attempt
from states.plan import Apply
from states.release import Application
from states.resending import calls
from states.setup import Applying, Upkeep
from states.turn import Turn


def remember_planned(turn: Turn) -> None:
    """What the call gives that is planned now, and over which configuration it is sent, if it is.

    Until one is known to be sent, whatever the endpoint comes to is nothing of ours.
    """
    application, one = turn.application, turn.application.upkeep.applying
    assert one is not None, "the call is of what is being applied"
    over = one.over if one.sent else application.config_version
    gives = application.spec.setup.variables
    record_upkeep(turn, applying=replace(one, over=over, gives=gives))


def tries(application: Application, one: Applying) -> list[Attempt]:
    """The calls for it that are remembered, oldest first."""
    return [at for at in calls(application, Apply.kind) if at.at >= one.asked_at]


def note_sent(turn: Turn) -> None:
    """Whether it was sent, before the record of calls forgets; one that may have been sent counts.

    What was noted of a planned call is believed: calls are forgotten as time passes, and with a
    clock that is set. Of what earlier versions noted, only what is older than that memory. Where
    nobody looked while it told of a call, none is known of, and it is sent once more.
    """
    one = turn.application.upkeep.applying
    if one is None or one.seen_at is not None:
        return
    sent = one.sent and (one.gives is not None or turn.world.now - one.asked_at >= MEMORY)
    if calls := tries(turn.application, one):
        sent = calls[-1].outcome in ("open", "done")
    if sent and one.gives is not None:
        record_upkeep(turn, variables=one.gives)
    if sent != one.sent:
        record_upkeep(turn, applying=replace(one, sent=sent))


def record_upkeep(turn: Turn, **changes: object) -> None:
    """Write down what was done of the setup."""
    upkeep: Upkeep = replace(turn.application.upkeep, **changes)  # type: ignore[arg-type]
    turn.record(upkeep=upkeep)
