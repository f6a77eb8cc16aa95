"""Some of the bad requests of a release that was rolled back: what to look up, and where it goes.

They are looked up once, after users were seen home, and by their ids alone. Without them nothing
waits, and nothing is missing but the ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from policies.guards import JUDGED, LATENCY
from states.plan import Plan
from states.post_mortem import closing_guard, onset
from states.release import Application, Release
from states.turn import Turn
from states.world import World

MOST = 3
"""How many are looked up."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which requests are looked for: a guard's bad ones, of one served entity."""

    version: str
    attempt: int
    entity: str
    guard: str
    since: datetime
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
    slow = None
    if guard.guard == LATENCY and release.history is not None:
        slow = float(round(release.history.latency_ms[JUDGED]))
    return Wanted(
        version=version,
        attempt=attempt,
        entity=application.entity(version),
        guard=guard.guard,
        since=began.since,
        slow_ms=slow,
    )


def examples(
    application: Application, world: World, found: Wanted, ids: Sequence[str]
) -> Plan | None:
    """Write down the ids that were found; None, if there is nothing to write or to write it to."""
    release = _release(application, (found.version, found.attempt))
    if not ids or release is None:
        return None
    turn = Turn(application, world)
    told = f"{len(ids)} of the bad requests, by the ids that the inference table has"
    turn.tell("release.examples", release, told, guard=found.guard, request_ids=list(ids))
    return Plan(application=turn.application, events=tuple(turn.events))


def _release(application: Application, mark: tuple[str, int]) -> Release | None:
    found = (one for one in application.releases if (one.version, one.attempt) == mark)
    return next(found, None)
