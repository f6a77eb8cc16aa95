"""What to send, if anything: the difference between record and world, one call per resource."""

from datetime import timedelta

from states.desired import desired, desired_alias
from states.intake import ROLLED_BACK_TAG
from states.machine import State
from states.plan import Call, MoveAlias, Serve, TagVersion
from states.release import Application
from states.turn import Turn
from states.world import Serving

RESENDS = 2
"""How often the same call is sent again within the memory of ten minutes."""
FIRST_WAIT = timedelta(seconds=5)
"""Least time before the same call is sent again; doubled each time."""
LAST_WAIT = timedelta(minutes=1)
"""Pace of a rollback that takes no effect: it is sent for as long as it takes."""


def wishes(turn: Turn) -> tuple[Call, ...]:
    """The calls of this turn. On the way back, the alias does not wait for the traffic."""
    if not turn.application.adopted:
        return ()
    calls = (_serve(turn), _alias(turn))
    sent = [call for call in calls if call is not None and _may_send(turn, call)]
    tags = [call for call in _tags(turn) if _may_send(turn, call)]
    return (*sent, *tags[:1])


def exposed(application: Application, serving: Serving) -> bool:
    """Users still get a version that was closed to them: that comes before anybody's edit."""
    live = application.live
    if live is None or application.incumbent is None:
        return False
    if live.state is not State.ROLLED_BACK and not live.shut:
        return False
    if application.incumbent == live.version:
        return False
    return serving.weight(application.entity(live.version)) > 0


def _serve(turn: Turn) -> Serve | None:
    application, endpoint = turn.application, turn.endpoint
    wanted = desired(application)
    if wanted is None or turn.unseen:
        return None
    if endpoint is None:
        return Serve(wanted) if application.ours and application.hold is None else None
    if endpoint.updating or endpoint.serving == wanted:
        return None
    if application.hold is not None and not exposed(application, endpoint.serving):
        return None
    return Serve(wanted)


def _alias(turn: Turn) -> MoveAlias | None:
    application, alias = turn.application, turn.world.alias
    named, live = desired_alias(application), turn.application.live
    if named is None or alias is None or alias == named:
        return None
    undone = live is not None and live.state is State.ROLLED_BACK and alias == live.version
    if application.hold is not None and not undone:
        return None
    rising = live is not None and live.state is State.PRODUCTION
    if rising and not _serves(turn, desired(application)):
        return None
    return MoveAlias(named)


def _serves(turn: Turn, wanted: Serving | None) -> bool:
    endpoint = turn.endpoint
    return endpoint is not None and not endpoint.updating and endpoint.serving == wanted


def _tags(turn: Turn) -> list[TagVersion]:
    """The marks that are missing, of versions that the registry still has."""
    key, value = ROLLED_BACK_TAG
    listed = {one.version for one in turn.world.versions or () if one.tags is not None}
    return [
        TagVersion(release.version, key, value)
        for release in turn.application.releases
        if release.state is State.ROLLED_BACK and not release.tagged and release.version in listed
    ]


def _may_send(turn: Turn, call: Call) -> bool:
    """Not too soon after the same call, and not for ever; a rollback as long as it takes."""
    same = [
        attempt
        for attempt in turn.application.attempts
        if attempt.kind == call.kind and attempt.target == call.target
    ]
    if not same:
        return True
    waited = turn.world.now - same[-1].at
    if len(same) <= RESENDS:
        return waited >= FIRST_WAIT * (1 << (len(same) - 1))
    live = turn.application.live
    back = live is not None and live.state is State.ROLLED_BACK and call.kind != "tag"
    return back and waited >= LAST_WAIT
