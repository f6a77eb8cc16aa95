"""The state machine: one table holds every legal move, and the diagram is printed from it.

`transitions` guards legality here; the store guards atomicity. No callback, no I/O: an illegal
move is a bug, so it is an assertion.
"""

from enum import StrEnum

from transitions import Machine


class State(StrEnum):
    """What a release has come to. A state is entered by decision, and settled by observation."""

    REGISTERED = "Registered"
    PROVISIONING = "Provisioning"
    TESTING = "Testing"
    CANARY = "Canary"
    PRODUCTION = "Production"
    ROLLED_BACK = "RolledBack"
    RETIRED = "Retired"


class Trigger(StrEnum):
    """What moves a release."""

    ADMIT = "admit"
    REFUSE = "refuse"
    SUPERSEDE = "supersede"
    PROVISIONED = "provisioned"
    OPEN = "open"
    STEP = "step"
    RETREAT = "retreat"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    RETIRE = "retire"


TRANSITIONS: tuple[tuple[Trigger, State, State], ...] = (
    (Trigger.ADMIT, State.REGISTERED, State.PROVISIONING),
    (Trigger.REFUSE, State.REGISTERED, State.RETIRED),
    (Trigger.SUPERSEDE, State.REGISTERED, State.RETIRED),
    (Trigger.PROVISIONED, State.PROVISIONING, State.TESTING),
    (Trigger.ROLL_BACK, State.PROVISIONING, State.ROLLED_BACK),
    (Trigger.OPEN, State.TESTING, State.CANARY),
    (Trigger.ROLL_BACK, State.TESTING, State.ROLLED_BACK),
    (Trigger.STEP, State.CANARY, State.CANARY),
    (Trigger.RETREAT, State.CANARY, State.CANARY),
    (Trigger.PROMOTE, State.CANARY, State.PRODUCTION),
    (Trigger.ROLL_BACK, State.CANARY, State.ROLLED_BACK),
    (Trigger.ROLL_BACK, State.PRODUCTION, State.ROLLED_BACK),
    (Trigger.RETIRE, State.PRODUCTION, State.RETIRED),
)

MACHINE = Machine(
    model=None,
    states=[state.value for state in State],
    transitions=[
        [trigger.value, source.value, dest.value] for trigger, source, dest in TRANSITIONS
    ],
    initial=State.REGISTERED.value,
    auto_transitions=False,
)


def advance(state: State, trigger: Trigger) -> State:
    """The state that a trigger leads to; the arrow must be in the table."""
    arrows = MACHINE.get_transitions(trigger=trigger.value, source=state.value)
    assert len(arrows) == 1, f"no move {trigger.value} from {state.value}"
    dest = arrows[0].dest
    assert dest is not None, "the table has no internal transitions"
    return State(dest)


def diagram() -> str:
    """The table as a Mermaid state diagram, one line per arrow."""
    lines = ["stateDiagram-v2", "    [*] --> Registered"]
    lines += [f"    {source} --> {dest}: {trigger}" for trigger, source, dest in TRANSITIONS]
    ends = [state for state in State if not any(source is state for _, source, _ in TRANSITIONS)]
    lines += [f"    {state} --> [*]" for state in ends]
    return "\n".join(lines)
