"""Counting what was seen to happen, by the rows of the journal and the state they came in."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from states.machine import Trigger
from states.release import Application, Order

OVERDUE = ("not ready after", "not through its tests after")
SHOWN = ("endpoint.foreign_change", "fuse.blown", "evidence.blind", "evidence.seen")


def count(told: Counter[str], before: Application, row: Mapping[str, Any]) -> None:
    """Count what a row tells, of an application that was so before it."""
    event, live = row["event"], before.live
    state = live.state.value if live else "none"
    if event == "release.transition":
        told[f"{row['trigger']} from {row['from_state']}"] += 1
        if row["trigger"] == Trigger.ROLL_BACK:
            late = any(words in row["because"] for words in OVERDUE)
            told[f"deadline {row['from_state']}"] += late
            told["abort mid-release"] += "aborted" in row["because"]
    elif event == "release.held":
        told[f"held in {state}"] += 1
        told["deadline Canary"] += "undecided after" in row["because"]
        told["deadline RolledBack"] += "not home after" in row["because"]
    elif event in SHOWN:
        told[f"{event} in {state}"] += 1
    if live is not None and live.order is Order.PAUSE and event == "gate.verdict":
        told["verdict while paused"] += 1
