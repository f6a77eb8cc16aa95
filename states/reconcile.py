"""Reconciling: the record and a look at the world in, a plan out; the whole decision is here.

Level-triggered: what to do follows from what is, never from what happened. The daemon calls this
as often as it likes; looking twice changes nothing but time.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from policies.fuse import DAY, Minute, watched
from states.adoption import adopt
from states.applying import apply, edited
from states.blocks import told
from states.climb import go_on
from states.foreign import untouched
from states.gates import read_signs
from states.given import remember_planned
from states.home import STALE_FOR, converged, give_up_unbuilt, own_up
from states.intake import begin, heed_aborted, mark_tagged, note_granted, notice
from states.machine import State
from states.mixing import note_cuts
from states.plan import Call, Plan
from states.release import Application, Order, Release
from states.resending import ANOTHER, KNOWN, calls, unrefused
from states.staging import remember_asked, see_staging
from states.subject import know_subject, leave_alone, strayed
from states.supervise import supervise
from states.turn import Turn
from states.way_back import note_way_back
from states.wishes import wishes
from states.world import Absent, Endpoint, Gone, World

AGES_BY = timedelta(minutes=1)
"""What one look adds, at most, to how long answers have been stale: ten looks in ten minutes."""


def reconcile(application: Application, world: World) -> Plan:
    """One look: the next record, what became true, and what to send."""
    application = _with_asked(application)
    stray = strayed(application)
    if stray is not None:
        return leave_alone(application, world, stray)
    turn = Turn(application, world, _trusted(application, world))
    know_subject(turn)
    _take_in(turn)
    if _made_by_others(turn):
        turn.record(adopted=False, ours=False)
    if turn.application.adopted:
        supervise(turn)
        own_up(turn)
    else:
        adopt(turn)
    if turn.application.adopted:
        notice(turn)
        read_signs(turn)
    see_staging(turn)
    live = turn.application.live
    if live is not None:
        go_on(turn, live)
    else:
        give_up_unbuilt(turn)
    if turn.application.adopted:
        apply(turn)
        heed_aborted(turn)
        if turn.application.upkeep.applying is None:
            begin(turn)
            _clear_away(turn)
        note_granted(turn)
    note_way_back(turn)
    mark_tagged(turn)
    _remember_order(turn)
    planned = wishes(turn)
    _remember_planned(turn, planned)
    return Plan(application=turn.application, events=tuple(turn.events), calls=planned)


def _with_asked(application: Application) -> Application:
    """The application with what was last asked for, as the record of calls tells it.

    A call that is planned may not be sent, and one that was refused takes no effect. It is noted
    before that record forgets: an update may take longer, and is ours nevertheless. One that only
    closes a version, beside a change by others, is not what is wanted in the end.
    """
    since = application.followed.get(KNOWN)
    sent = [
        one
        for one in unrefused(application, "serve")
        if one.target not in application.closings
        if since is None or one.at >= since
    ]
    if not sent:
        return application
    return replace(application, asked=sent[-1].target, asked_over=sent[-1].over)


def _made_by_others(turn: Turn) -> bool:
    """There was no endpoint, we asked for none, and now there is one: it is adopted as found."""
    application, endpoint = turn.application, turn.endpoint
    found = endpoint is not None and bool(endpoint.serving.shares)
    return application.adopted and untouched(application) and found


def _trusted(application: Application, world: World) -> Endpoint | None:
    """The endpoint as seen, unless the answer is older than one that was seen before.

    An endpoint that was created anew counts its configurations anew. No answer stays stale for
    minutes: one that does is of such an endpoint, on a platform that does not tell its creation.
    Of one that was seen to be gone only its last may mean that it is there after all, and not even
    that while another is asked for.
    """
    endpoint = world.endpoint
    if not isinstance(endpoint, Endpoint):
        return None
    renewed = _behind(application, world) >= STALE_FOR
    newest = (application.created_ms, application.config_version)
    current = (endpoint.created_ms, endpoint.config_version) >= newest
    gone = application.gone
    if gone is not None and gone.created_ms == endpoint.created_ms:
        current = not _creating(application) and endpoint.config_version >= gone.config_version
    return endpoint if current or renewed else None


def _behind(application: Application, world: World) -> timedelta:
    """For how long answers have been stale, if this one is; the first of them tells no time."""
    if application.behind is None:
        return timedelta()
    return application.behind + min(_passed(application, world), AGES_BY)


def _creating(application: Application) -> bool:
    """Another endpoint was asked for since none was there, and may have come; it was not seen."""
    since = application.followed.get(ANOTHER)
    sent = unrefused(application, "serve")
    asked = any(since is None or one.at > since for one in sent)
    return not application.endpoint_id and asked


def _take_in(turn: Turn) -> None:
    """Write down what this look brings: time, minutes, evidence, the highest config version."""
    world, application = turn.world, turn.application
    elapsed = timedelta() if turn.unseen else _passed(application, world)
    turn.record(looked_at=world.now, minutes=remembered(application.minutes, world.minutes))
    if turn.endpoint is not None:
        seen = turn.endpoint
        turn.record(config_version=seen.config_version, created_ms=seen.created_ms)
        turn.record(gone=None, behind=None)
    elif isinstance(world.endpoint, Absent):
        if application.adopted and application.config_version:
            turn.record(followed={**application.followed, ANOTHER: world.now})
        # What is created anew counts anew.
        turn.record(gone=_gone(application), config_version=0, behind=None)
    elif world.endpoint is not None:
        turn.record(behind=_behind(application, world))
    live = turn.application.live
    if live is None:
        return
    held = live.hold is not None or application.hold is not None
    asked = held or application.change is not None or edited(application)
    waits = live.order is Order.RUN and not asked and not _unasked(turn, live)
    homeward = live.state is State.ROLLED_BACK
    stays = elapsed if live.settled else timedelta()
    live = turn.put(
        live,
        in_state=live.in_state + (elapsed if waits or homeward else timedelta()),
        on_step=live.on_step + stays,
        undecided=live.undecided + (stays if waits else timedelta()),
    )
    live, since = note_cuts(turn, live)
    ahead = live.ahead if world.ahead is None else world.ahead
    live = _with_minutes(replace(live, ahead=ahead), world)
    _take_evidence(turn, live, since)


def _passed(application: Application, world: World) -> timedelta:
    """What has passed since the last look; of a time in which nobody looked, nothing is known."""
    if application.looked_at is None:
        return timedelta()
    return min(world.now - application.looked_at, 2 * world.poll)


def _unasked(turn: Turn, live: Release) -> bool:
    """No query could be: an update is under way, the endpoint is made anew, or none of us was.

    That time is not the version's. What is tested on a staging endpoint needs no other.
    """
    if live.state is not State.TESTING:
        return False
    if turn.world.first:
        return True
    away = isinstance(turn.world.endpoint, Absent) and not live.on_staging
    return away or (turn.endpoint is not None and turn.endpoint.updating)


def remembered(had: tuple[Minute, ...], told: Sequence[Minute]) -> tuple[Minute, ...]:
    """The endpoint's minutes of the last day, with those told of that are new."""
    fresh = [one for one in told if not had or one.ends_at > had[-1].ends_at]
    return (*had, *fresh)[-DAY:] if fresh else had


def _with_minutes(live: Release, world: World) -> Release:
    """The release with the endpoint's minutes that its fuse has not seen yet."""
    if live.fuse is None:
        return live
    known = live.minutes[-1].ends_at if live.minutes else live.fuse.set_at
    fresh = [one for one in world.minutes if one.ends_at > known]
    return replace(live, minutes=tuple(watched(live.fuse, (*live.minutes, *fresh))))


def _take_evidence(turn: Turn, live: Release, since: datetime | None) -> None:
    """Write down what was counted; `since` then, evidence is cut otherwise than before.

    A source that has told of later times did so before the cuts of this look were known: what it
    said is not taken, and it is asked again.
    """
    evidence = turn.world.evidence
    if evidence is None:
        turn.put(live)
        return
    now, marks = turn.world.now, evidence.watermarks
    marks = {one: mark for one, mark in marks.items() if since is None or mark <= since}
    taken = [one for one in evidence.blocks if one.source in marks]
    first = len(live.blocks) + 1
    blocks = [replace(one, number=number) for number, one in enumerate(taken, start=first)]
    for block in blocks:
        because = f"{block.source}, {block.opened_at:%H:%M:%S} to {block.closed_at:%H:%M:%S} UTC"
        turn.tell("evidence.block", live, because, level="info", **told(block))
    # The newest measure holds, be it lower: the clocks may have been set since the one before.
    told_to = {source: min(mark, now) for source, mark in marks.items()}
    watermarks = {**live.watermarks, **told_to}
    lead = live.lead if evidence.lead is None else evidence.lead
    turn.put(live, blocks=(*live.blocks, *blocks), watermarks=watermarks, lead=lead)


def _clear_away(turn: Turn) -> None:
    """Stop wanting an entity that lost its traffic long enough ago, while nothing else moves."""
    application = turn.application
    if application.live is not None or application.hold is not None or not converged(turn):
        return
    retain = application.spec.rollout.retain
    for release in application.releases:
        ended = release.ended_at
        due = ended is not None and turn.world.now - ended >= retain
        if due and not release.removed and release.version != application.incumbent:
            turn.put(release, removed=True)
            return


def _gone(application: Application) -> Gone | None:
    """What late answers of the endpoint that is not there any more would be known by.

    Of one that was asked for, and has only begun, nothing can be late.
    """
    begun = application.endpoint_id or application.config_version
    if application.gone is not None or not application.created_ms or not begun:
        return application.gone
    return Gone(created_ms=application.created_ms, config_version=application.config_version)


def _remember_order(turn: Turn) -> None:
    live = turn.application.live
    if live is None:
        return
    if live.order is Order.PAUSE and not live.paused:
        turn.put(live, paused=True, pauses=live.pauses + 1)
    elif live.order is Order.RUN and live.state is not State.CANARY:
        turn.put(live, paused=False)


def _remember_planned(turn: Turn, planned: tuple[Call, ...]) -> None:
    """What a call is sent for, if it is: the record of calls tells only what was asked."""
    for call in planned:
        if call.kind == "apply":
            remember_planned(turn)
        elif call.kind == "create_staging":
            remember_asked(turn, call)
        elif call.kind == "serve":
            _remember_given(turn)
            if turn.endpoint is None:
                turn.record(endpoint_id="")  # what is created now is ours, whatever its id
            _remember_closing(turn, call.target)


def _remember_closing(turn: Turn, target: str) -> None:
    """What was asked for beside a change by others; by now, it may be what is wanted."""
    application = turn.application
    remembered = {one.target for one in calls(application, "serve")} - {target}
    others = tuple(one for one in application.closings if one in remembered)
    turn.record(closings=others if application.change is None else (*others, target))


def _remember_given(turn: Turn) -> None:
    """Every change of the endpoint gives all of our entities the variables as configured."""
    application = turn.application
    upkeep = replace(application.upkeep, variables=application.spec.setup.variables)
    if turn.endpoint is None:
        upkeep = replace(upkeep, ungranted=bool(application.spec.setup.permissions))
    turn.record(upkeep=upkeep)
