"""Some of the bad requests of a release that was rolled back: what to look up, and where it goes.

They are looked up once, after users were seen home, and by their ids alone. Without them nothing
waits, and nothing is missing but the ids.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from policies.guards import JUDGED, LATENCY, History
from states.counted import Paths
from states.plan import Plan
from states.post_mortem import closing_guard, onset
from states.release import Application, Release
from states.turn import Turn
from states.world import World

MOST = 3
"""How many are looked up."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the inference table has of them by now; more may yet come."""

    ids: tuple[str, ...] = ()
    """At most `MOST`: the first, or the worst, of their kind."""
    statuses: tuple[tuple[str, int], ...] = ()
    """How many ended with each status; `none` is no answer at all."""
    first_at: datetime | None = None
    """When the first of them was answered, by the platform's clock."""

    @property
    def sentence(self) -> str:
        """How many there are, how they ended, and when the first was."""
        if not self.ids:
            return "the inference table has none of the bad requests by now"
        number = sum(count for _, count in self.statuses)
        ends = ", ".join(f"{count:,} with {_status(status)}" for status, count in self.statuses)
        first = f"; the first at {self.first_at:%Y-%m-%d %H:%M:%S} UTC" if self.first_at else ""
        return f"the inference table has {number:,} of the bad requests by now, {ends}{first}"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which requests are looked for: a guard's bad ones, of one served entity."""

    version: str
    attempt: int
    entity: str
    guard: str
    since: datetime
    paths: Paths
    """Where its plan has what is counted of them."""
    slow_ms: float | None = None
    """For latency, what is slow."""


def wanted(application: Application, version: str, attempt: int) -> Wanted | None:
    """What to look up of a release whose gate a guard closed; None, if none did."""
    mark = (version, attempt)
    release = next(
        (one for one in application.releases if (one.version, one.attempt) == mark), None
    )
    guard = closing_guard(release) if release is not None and release.step else None
    if release is None or guard is None:
        return None
    began = onset(guard, [one for one in release.blocks if one.source == guard.source])
    if began is None:
        return None
    return Wanted(
        version=version,
        attempt=attempt,
        entity=application.entity(version),
        guard=guard.guard,
        since=began.since,
        paths=application.counted_of(release).paths,
        slow_ms=slow_of(release.history) if guard.guard == LATENCY else None,
    )


def slow_of(history: History | None) -> float | None:
    """What counts as slow where stable's past was so; None where it tells nothing."""
    return float(round(history.latency_ms[JUDGED])) if history and history.latency_ms else None


def examples(application: Application, world: World, wanted: Wanted, found: Found) -> Plan | None:
    """Write down what was found; None, if there is nothing to write or to write it to."""
    release = _release(application, (wanted.version, wanted.attempt))
    if not found.ids or release is None:
        return None
    turn = Turn(application, world)
    fields: dict[str, Any] = {
        "guard": wanted.guard,
        "request_ids": list(found.ids),
        "statuses": [list(one) for one in found.statuses],
    }
    if found.first_at is not None:
        fields["first_at"] = found.first_at.isoformat()
    turn.tell("release.examples", release, found.sentence, **fields)
    return Plan(application=turn.application, events=tuple(turn.events))


def _status(status: str) -> str:
    return "no answer" if status == "none" else f"status {status}"


def _release(application: Application, mark: tuple[str, int]) -> Release | None:
    found = (one for one in application.releases if (one.version, one.attempt) == mark)
    return next(found, None)
