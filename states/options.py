"""What an operator can do with a release now: the verbs that make sense, by its status alone.

Whether one is obeyed is decided where it is given (`states.verbs`); this only proposes.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from states.canary import UNDECIDED
from states.climb import MASKED
from states.gates import HELD, SHUT
from states.machine import State
from states.quarantine import QUARANTINED
from states.release import Order
from states.status import Status
from states.stuck import MEND_IT

OVERRIDE = "promote --override"
UNDER_WAY = (State.PROVISIONING, State.TESTING, State.CANARY, State.PRODUCTION)


def options(
    told: Status, facts: Mapping[str, Any], looks: Iterable[Mapping[str, Any]] = ()
) -> list[str]:
    """Verbs with their options, the most telling first; those of the application as a whole too.

    `facts` are what is true of the application, `looks` what the guards said last.
    """
    state, version = State(told["state"]), told["version"]
    live = facts.get("live") == version and state not in (State.REGISTERED, State.RETIRED)
    foremost = live or (facts.get("live") is None and version == facts.get("stable"))
    answers = ["adopt", "revert"] if facts.get("changed_by_others") and foremost else []
    if told["order"] == Order.ABORT:
        return answers
    if live and state in UNDER_WAY:
        return [*answers, *_rising(told, state, facts, looks)]
    if state is State.REGISTERED:
        return [*answers, *_waiting(told)]
    if state is State.ROLLED_BACK and not live and version != facts.get("unproven"):
        return [*answers, "retry"]
    if foremost and not live and facts.get("former") and not facts.get("application_hold"):
        return [*answers, "undo"]
    return answers


def of_application(verb: str) -> bool:
    """Whether a verb is said to an application, and not to a release."""
    return verb in ("adopt", "revert", "undo")


def _rising(
    told: Status, state: State, facts: Mapping[str, Any], looks: Iterable[Mapping[str, Any]]
) -> list[str]:
    if told["order"] == Order.PAUSE:
        return ["resume", "abort"]
    held = facts.get("application_hold") is not None
    if told["ask"] is not None and not held:
        return ["approve", "pause", "abort"]
    hold = told["hold"] or ""
    stuck = held or hold.startswith((MASKED, QUARANTINED, HELD)) or hold.endswith(MEND_IT)
    promotes = [] if stuck else _promotes(told, state, looks)
    return [*promotes, "pause", "abort"]


def _promotes(told: Status, state: State, looks: Iterable[Mapping[str, Any]]) -> list[str]:
    if state is State.TESTING:
        return [OVERRIDE] if told["hold"] is not None else []
    if state is State.PRODUCTION and (told["hold"] or "").startswith(UNDECIDED):
        return [OVERRIDE]
    if state is not State.CANARY:
        return []
    asked = [one["verdict"] for one in looks if not one.get("observe") and one["verdict"]]
    proven = set(asked) == {"PASS"} if asked else told["step"] == len(told["steps"])
    return ["promote" if proven and told["hold"] is None and told["weight"] else OVERRIDE]


def _waiting(told: Status) -> list[str]:
    if told["order"] == Order.PAUSE:
        return ["resume", "abort"]
    if told["ask"] is not None:
        return ["approve", "abort"]
    return [*([OVERRIDE] if (told["hold"] or "").startswith(SHUT) else []), "abort"]
