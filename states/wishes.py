"""What to send, if anything: the difference between record and world, one call per resource."""

from states import applying
from states.desired import closed, desired, desired_alias
from states.home import in_doubt, lost, undersized
from states.machine import State
from states.outcome import ROLLED_BACK_TAG, untold
from states.plan import Call, Capture, MoveAlias, Permit, Serve, SwitchFallbackOff, TagVersion
from states.quarantine import quarantined
from states.release import Application
from states.resending import FIRST_WAIT, LAST_WAIT, RESENDS, WINDOW, calls, spent
from states.staging import staging_call
from states.turn import Turn
from states.world import Serving, Size

HOMEWARD = ("serve", "gateway", "alias")
"""Calls by which users get home: sent for as long as it takes."""


def wishes(turn: Turn) -> tuple[Call, ...]:
    """The calls of this turn. On the way back, the alias does not wait for the traffic."""
    live = turn.application.live
    if quarantined(live) and not turn.application.going_home:
        # Its gate may have been shut by a look before that: users are taken from it all the same.
        least = _close(turn)
        return (least,) if least is not None and _may_send(turn, least) else ()
    calls: tuple[Call | None, ...] = (staging_call(turn),)
    if turn.application.adopted:
        # One call for the endpoint's configuration, and one for its gateway, at a time.
        serve = _serve(turn) or applying.call(turn)
        gateway = _gateway(turn) or _capture(turn)
        calls = (serve, gateway, _permit(turn), _alias(turn), *calls)
    sent = [call for call in calls if call is not None and _may_send(turn, call)]
    tags = [call for call in _tags(turn) if turn.application.adopted and _may_send(turn, call)]
    return (*sent, *tags[:1])


def _serve(turn: Turn) -> Serve | None:
    application, endpoint = turn.application, turn.endpoint
    wanted, disputed = desired(application), application.change is not None
    if wanted is None or turn.unseen:
        return None
    sizes = _sizes(turn)
    if endpoint is None:
        return Serve(wanted, sizes, None) if application.ours and not disputed else None
    as_wanted = endpoint.serving == wanted and not undersized(turn)
    if endpoint.updating or (as_wanted and not _homeward_in_doubt(turn)):
        return None
    if disputed:
        return _close(turn)
    return None if _rides(application) else Serve(wanted, sizes, endpoint.id)


def _close(turn: Turn) -> Serve | None:
    """All stays as it is, whoever changed it, but a version that was closed loses its users."""
    endpoint = turn.endpoint
    if endpoint is None or endpoint.updating:
        return None
    least = closed(turn.application, endpoint.serving)
    return None if least is None else Serve(least, on=endpoint.id)


def _rides(application: Application) -> bool:
    """A change on the way up would replace variables of the running version by others unwatched."""
    live = application.live
    rising = live is not None and live.state in applying.BEFORE_ALL and not live.shut
    return rising and applying.edited(application) is not None


def _sizes(turn: Turn) -> dict[str, Size]:
    """The size of a version that is not on the endpoint yet, or is there and smaller than asked."""
    application, endpoint, live = turn.application, turn.endpoint, turn.application.live
    if live is None or live.state is not State.PROVISIONING or live.pinned is None:
        return {}
    entity, size = application.entity(live.version), live.pinned.size
    there = endpoint is not None and entity in endpoint.serving.shares
    return {} if size is None or (there and not undersized(turn)) else {entity: size}


def _homeward_in_doubt(turn: Turn) -> bool:
    """Users may be on a version that is closed to them, whatever is seen: home is asked for."""
    live = turn.application.live
    return live is not None and live.state is State.ROLLED_BACK and in_doubt(turn)


def _gateway(turn: Turn) -> SwitchFallbackOff | None:
    application, endpoint = turn.application, turn.endpoint
    hides = endpoint is not None and endpoint.fallback
    asked = application.fallback_off and application.change is None
    return SwitchFallbackOff() if hides and asked else None


def _capture(turn: Turn) -> Capture | None:
    """What is missing of the inference table and usage tracking; a table switched off stays so."""
    application, endpoint, setup = turn.application, turn.endpoint, turn.application.spec.setup
    if endpoint is None or not endpoint.serving.shares or application.change is not None:
        return None
    captures = (application.ours or setup.captures) and not endpoint.capture_off
    table = captures and endpoint.inference_table is None
    usage = setup.usage_tracking and not endpoint.usage_tracking
    return Capture() if table or usage else None


def _permit(turn: Turn) -> Permit | None:
    """The permissions of an endpoint that was created by us, until they were seen once."""
    application, granted = turn.application, turn.world.granted
    wanted = application.spec.setup.permissions
    if not application.upkeep.ungranted or turn.endpoint is None or granted is None:
        return None
    return None if granted.issuperset(wanted) or application.change else Permit(wanted)


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
    """What is missing of the outcomes, of versions that the registry still has.

    Only the marks by which nothing starts again are asked for beside a change by others, and for a
    while after a refusal.
    """
    application, now = turn.application, turn.world.now
    tags = {one.version: one.tags for one in turn.world.versions or () if one.tags is not None}
    sent = calls(application, "tag", at=now)
    least = application.change is not None or (
        bool(sent) and sent[-1].outcome == "refused" and now - sent[-1].at < WINDOW
    )
    return [
        TagVersion(version, key, value)
        for version, wanted in untold(application).items()
        for key, value in wanted.items()
        if version in tags and tags[version].get(key) != value
        if not least or (key, value) == ROLLED_BACK_TAG
    ]


def _may_send(turn: Turn, call: Call) -> bool:
    """Not too soon after the same call, and not for ever; a way back as long as it takes."""
    application, now = turn.application, turn.world.now
    kind, target = call.kind, call.target
    sent = calls(application, kind, at=now)
    same = [one for one in sent if one.target == target]
    if not same:
        return True
    waited = now - same[-1].at
    shutting = turn.endpoint is not None and closed(application, turn.endpoint.serving) is not None
    if (shutting or application.going_home) and kind in HOMEWARD:
        # Where something else was asked for since, what was asked for before is over.
        others = [at for at, one in enumerate(sent, 1) if one.target != target]
        times = len(sent) - max(others, default=0)
        often = times > RESENDS
        return not times or waited >= (LAST_WAIT if often else FIRST_WAIT * (1 << (times - 1)))
    again = FIRST_WAIT * (1 << min(len(same) - 1, RESENDS))
    return waited >= again and not spent(application, kind, target, now)
