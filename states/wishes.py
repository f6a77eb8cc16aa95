"""What to send, if anything: the difference between record and world, one call per resource."""

from states.desired import closed, desired, desired_alias
from states.home import in_doubt, lost
from states.intake import ROLLED_BACK_TAG
from states.machine import State
from states.plan import Call, MoveAlias, Serve, SwitchFallbackOff, TagVersion
from states.quarantine import quarantined
from states.resending import FIRST_WAIT, LAST_WAIT, RESENDS, spent
from states.staging import staging_call
from states.turn import Turn
from states.world import Serving

HOMEWARD = ("serve", "gateway", "alias")
"""Calls by which users get home: sent for as long as it takes."""


def wishes(turn: Turn) -> tuple[Call, ...]:
    """The calls of this turn. On the way back, the alias does not wait for the traffic."""
    live = turn.application.live
    if quarantined(live) and not turn.application.going_home:
        return ()
    calls: tuple[Call | None, ...] = (staging_call(turn),)
    if turn.application.adopted:
        calls = (_serve(turn), _gateway(turn), _alias(turn), *calls)
    sent = [call for call in calls if call is not None and _may_send(turn, call)]
    tags = [call for call in _tags(turn) if turn.application.adopted and _may_send(turn, call)]
    return (*sent, *tags[:1])


def _serve(turn: Turn) -> Serve | None:
    application, endpoint = turn.application, turn.endpoint
    wanted, disputed = desired(application), application.change is not None
    if wanted is None or turn.unseen:
        return None
    if endpoint is None:
        return Serve(wanted) if application.ours and not disputed else None
    if endpoint.updating or (endpoint.serving == wanted and not _homeward_in_doubt(turn)):
        return None
    if disputed:
        # What others changed stays as it is, but a version that was closed loses its users.
        least = closed(application, endpoint.serving)
        return Serve(least) if least is not None else None
    return Serve(wanted)


def _homeward_in_doubt(turn: Turn) -> bool:
    """Users may be on a version that is closed to them, whatever is seen: home is asked for."""
    live = turn.application.live
    return live is not None and live.state is State.ROLLED_BACK and in_doubt(turn)


def _gateway(turn: Turn) -> SwitchFallbackOff | None:
    application, endpoint = turn.application, turn.endpoint
    hides = endpoint is not None and endpoint.fallback
    asked = application.fallback_off and application.change is None
    return SwitchFallbackOff() if hides and asked else None


def _alias(turn: Turn) -> MoveAlias | None:
    application, alias = turn.application, turn.world.alias
    named, live = desired_alias(application), turn.application.live
    if named is None or alias is None or alias == named or lost(turn, named):
        return None
    undone = live is not None and live.state is State.ROLLED_BACK and alias == live.version
    if application.change is not None and not undone:
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
    """Not too soon after the same call, and not for ever; a way back as long as it takes.

    What lies ahead was sent before the clock was set back, and would be waited for until then.
    """
    application, now = turn.application, turn.world.now
    kind, target = call.kind, call.target
    same = [
        one
        for one in application.attempts
        if (one.kind, one.target) == (kind, target) and one.at <= now
    ]
    if not same:
        return True
    waited = now - same[-1].at
    shutting = turn.endpoint is not None and closed(application, turn.endpoint.serving) is not None
    back = shutting or application.going_home
    often = len(same) > RESENDS
    if back and kind in HOMEWARD:
        return waited >= (LAST_WAIT if often else FIRST_WAIT * (1 << (len(same) - 1)))
    again = FIRST_WAIT * (1 << min(len(same) - 1, RESENDS))
    return waited >= again and not spent(application, kind, target, now)
