"""Whether users could be taken back now: looked at while it is not needed, and told when it turns.

A rollback is one change of traffic to the version that is stable. It helps nobody if that version
is not there, not ready, or too small for all users.
"""

from policies.holds import crowded
from policies.rollout import WHOLE
from states.home import lost
from states.machine import State
from states.release import Application, Release
from states.turn import Turn, wording

READY = "ready"
NOWHERE = "blocked: there is no version to go back to"


def note_way_back(turn: Turn) -> None:
    """Write down, and tell, that the way back of the live release is blocked, or free again."""
    live, before = turn.application.live, turn.application.blocked
    if live is None or live.state is State.ROLLED_BACK or _home(turn.application, live) is None:
        turn.record(blocked=None, blocked_since=None)
        return
    if turn.unseen:
        return
    why = _obstacle(turn)
    if why is None:
        turn.record(blocked=None, blocked_since=None)
        if before is not None:
            turn.tell("rollback.ready", live, f"no longer: {before}")
    elif before is None or wording(why) != wording(before):
        since = turn.application.blocked_since or turn.world.now
        turn.record(blocked=why, blocked_since=since)
        turn.tell("rollback.blocked", live, why, level="error")


def rollback(application: Application, release: Release) -> str | None:
    """`ready`, or `blocked` with since when and why; None where nobody is to be taken back."""
    if not release.live or release.state is State.ROLLED_BACK:
        return None
    if _home(application, release) is None:
        return NOWHERE
    if application.blocked is None or application.blocked_since is None:
        return READY
    return f"blocked since {application.blocked_since:%Y-%m-%d %H:%M} UTC: {application.blocked}"


def _home(application: Application, live: Release) -> str | None:
    """The version that users would go back to."""
    home = application.incumbent
    return None if home == live.version else home


def _obstacle(turn: Turn) -> str | None:
    """What would keep users from being served by the version that they go back to."""
    application, endpoint = turn.application, turn.endpoint
    home, name = application.incumbent, application.spec.endpoint
    assert home is not None, "checked by the caller"
    if endpoint is None:
        return f"endpoint {name} is not there"
    entity = application.entity(home)
    if entity not in endpoint.serving.shares:
        return f"version {home} is not on endpoint {name}"
    if entity not in endpoint.ready:
        return f"version {home} is not ready on endpoint {name}"
    gone = f"version {home} was deleted from the registry: it could not be started again"
    unlisted = lost(turn, home) or (turn.world.versions is None and application.blocked == gone)
    if unlisted and home not in application.deleted:
        return gone
    return crowded(
        WHOLE, turn.world.peak_concurrency, endpoint.concurrency.get(entity), f"version {home}"
    )
