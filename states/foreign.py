"""Looking for what others changed: the endpoint, the alias and the registry, one part each.

A part that cannot be seen now is None: what was last known of it stays.
"""

from dataclasses import replace

from states.desired import closed, desired, desired_alias, exposure
from states.difference import ANEW, FALLBACK, THEIRS, aliased, served
from states.home import lost, roll_back
from states.machine import State
from states.release import Application, Order
from states.resending import ANOTHER, KNOWN, NAMED, calls, unrefused
from states.staging import OWNER
from states.turn import Turn
from states.world import Absent, Endpoint, Serving

Part = tuple[str, ...] | None


def heed_lowered(turn: Turn) -> None:
    """Users were taken from the version on trial by hand: that is an abort, and no question.

    Nor is it one where that is what an old call of ours asked for, which was overtaken by one that
    was seen in effect, and of which nobody knows whether it was ever sent. A version that is sent
    home for nothing can be tried again; users must not go back to one that a person took away.
    """
    application, endpoint, live = turn.application, turn.endpoint, turn.application.live
    if endpoint is None or live is None or not live.pinned or not live.pinned.baseline:
        return
    if live.state not in (State.CANARY, State.PRODUCTION):
        return
    if _ours(turn, endpoint.serving, overtaken=False) or _begins(application, endpoint.serving):
        return
    weight = exposure(application, live.version, endpoint.serving)
    before = exposure(application, live.version, application.seen) if application.seen else weight
    if weight >= live.weight or weight > before:
        return
    told = f"its weight was lowered by someone else, to {weight} % of {live.weight} %"
    if _ours(turn, endpoint.serving):
        told += ", or by an earlier call of Headgate's, of which nobody knows what came"
    if live.order is Order.ABORT:
        told = "aborted by the operator"
    rolled = roll_back(turn, live, told)
    if all(one.version != live.version for one in endpoint.serving.shares.values()):
        turn.put(rolled, removed=True)


def endpoint_part(turn: Turn) -> Part:
    """How the endpoint differs from what Headgate left; what is ours, late or not, is no change."""
    application, endpoint = turn.application, turn.endpoint
    if turn.unseen:
        return None
    wanted = desired(application)
    if endpoint is None:
        if application.seen is None and wanted is not None:
            turn.record(ours=True)  # nobody's is there, and what is created next is ours
        turn.record(under_way=None, seen=application.seen if wanted is not None else None)
        return () if application.seen is None or wanted is None else served(wanted, None)
    serving, anew = endpoint.serving, _anew(application, endpoint)
    ours = anew is None and _ours(turn, serving)
    _note_under_way(turn, endpoint, anew)
    if anew is not None:
        turn.record(followed={**application.followed, ANOTHER: turn.world.now})
        # Nobody knows its variables, and what was said of the other one is not for this one.
        upkeep = replace(application.upkeep, variables=None, ungranted=False)
        turn.record(ours=False, fallback=False, fallback_off=False, upkeep=upkeep)
    hidden = _fallback(turn, endpoint)
    if anew is not None:
        return (anew, *served(wanted or Serving(), serving), *hidden)
    if _begins(application, serving) or closes(application, serving):
        return hidden
    if ours:
        if serving != application.seen:
            _tell_update(turn, endpoint)
        turn.record(seen=serving, endpoint_id=endpoint.id)
        return hidden
    return (*served(wanted or Serving(), serving), *hidden)


def _note_under_way(turn: Turn, endpoint: Endpoint, anew: str | None) -> None:
    """An update may take longer than calls are remembered, and stale answers may hide it again."""
    pending, version = endpoint.pending, endpoint.config_version
    come = version == 0 or version > turn.version_before or endpoint.update_failed
    if anew is not None or (come and not endpoint.updating):
        turn.record(under_way=None)
    elif endpoint.updating and pending is not None and _ours(turn, pending):
        turn.record(under_way=str(pending))


def _begins(application: Application, serving: Serving) -> bool:
    """It is created, and serves nothing yet: nobody took anything away."""
    return not serving.shares and application.seen is None


def _anew(application: Application, endpoint: Endpoint) -> str | None:
    """That it is another endpoint than the one that was looked after, or that was asked for.

    What Headgate creates bears its tag: where its call was refused, somebody was faster.
    """
    known = application.endpoint_id
    if not endpoint.id or endpoint.id == known:
        return None
    if known:
        return ANEW
    change = application.change
    shown = change is not None and THEIRS in change.endpoint
    asked = application.ours and application.seen is None and not untouched(application)
    theirs = shown or asked
    return THEIRS if theirs and endpoint.owner != OWNER else None


def untouched(application: Application) -> bool:
    """There was no endpoint, and none was asked for."""
    nothing = application.seen is None and application.asked is None and application.live is None
    gone, known = application.followed.get(ANOTHER), application.followed.get(KNOWN)
    return nothing and (gone is None or (known is not None and known >= gone))


def closes(application: Application, serving: Serving) -> bool:
    """Nothing is foreign but that users are on a version that was closed: that is put right."""
    least = closed(application, serving)
    return least is not None and least == desired(application)


def _ours(turn: Turn, serving: Serving, *, overtaken: bool = True) -> bool:
    """It is as wanted, as it was left, or as it was asked to be; `overtaken`: however long ago."""
    known = (desired(turn.application), turn.application.seen)
    if serving in known:
        return True
    asked = str(serving) in _sent(turn, overtaken=overtaken)
    return asked and _as_named(turn.application, serving)


def _as_named(application: Application, serving: Serving) -> bool:
    """Each name serves what it stands for, as far as that is known: targets tell names alone."""
    meant: dict[str, set[tuple[str, str]]] = {}
    for known in (desired(application), application.seen):
        for name, one in known.shares.items() if known is not None else ():
            meant.setdefault(name, set()).add((one.model, one.version))
    for release in application.releases:
        own = application.spec.model, release.version
        meant.setdefault(application.entity(release.version), set()).add(own)
    return all(
        (one.model, one.version) in meant.get(name, ((one.model, one.version),))
        for name, one in serving.shares.items()
    )


def _sent(turn: Turn, *, overtaken: bool) -> set[str]:
    """Targets that may yet take effect: the last one asked, and those whose outcome is unknown.

    Of these, if they may be `overtaken`, also what was asked before a call that was seen in effect.

    And all that was taken over the newest configuration that had been seen: a stale answer may have
    hidden its update, and something else was asked for since.

    What was asked for to close a version beside somebody's change has that change in it: while the
    change stands, or once it was seen, that is no reason not to show it. Nor is the last one asked,
    once it is known what came of it.
    """
    application = turn.application
    sent = calls(application, "serve")
    opened = [attempt for attempt in sent if attempt.outcome == "open"]
    arrived = {one.id for one in sent}.intersection(application.arrived)
    past = arrived if overtaken else range(max((0, *arrived)) + 1)
    unknown = {attempt.target for attempt in opened if attempt.id not in past}
    since, created = application.followed.get(ANOTHER), application.seen is None
    taken = {
        one.target
        for one in sent
        if one.outcome == "done" and one.over == turn.version_before and (one.over or created)
        if since is None or one.at > since
    }
    asked = {one for one in (application.asked, application.under_way) if one}
    over = application.followed.get(KNOWN)
    last = {attempt.target for attempt in sent[-1:] if over is None or attempt.at >= over}
    newest = {one.target: one.id for one in unrefused(application, "serve")}
    theirs = {
        target
        for target in application.closings
        if application.change is not None or newest.get(target, 0) in (0, *arrived)
    }
    return (unknown | asked | last | taken) - theirs


def _fallback(turn: Turn, endpoint: Endpoint) -> tuple[str, ...]:
    """It may be on as it was, but must not be switched on under a version that is judged."""
    live = turn.application.live
    trial = live is not None and live.state in (State.CANARY, State.PRODUCTION)
    if not endpoint.fallback:
        turn.record(fallback=False, fallback_off=False)
        return ()
    if turn.application.fallback_off:
        return ()
    if not trial:
        turn.record(fallback=True)
    return () if turn.application.fallback else (FALLBACK,)


def _tell_update(turn: Turn, endpoint: Endpoint) -> None:
    shares, model = sorted(endpoint.serving.shares.items()), turn.application.spec.model
    weights = {name: share.weight for name, share in shares}
    turn.tell(
        "endpoint.update",
        turn.shown,
        f"{turn.application.spec.endpoint} serves {endpoint.serving}",
        weights=weights,
        versions={share.version: share.weight for _, share in shares if share.model == model},
        config_version=endpoint.config_version,
    )


def alias_part(turn: Turn) -> Part:
    """How the alias differs from what it should name; one that never was is ours to set.

    What it was last asked to name stays ours until it was seen to: answers may be stale for longer
    than calls are remembered, where the clock was set.
    """
    application, alias = turn.application, turn.world.alias
    name, named = application.spec.alias, desired_alias(application)
    if name is None:
        return ()
    asked = _asked_alias(application, name)
    turn.record(asked_alias=asked)
    if alias is None:
        return None
    before = application.seen_alias if application.seen_alias_of == name else None
    if isinstance(alias, Absent):
        # A version that is deleted takes its aliases with it: that is told of the version.
        sent = {attempt.target for attempt in calls(application, "alias")}
        gone = any(lost(turn, one) for one in {before, asked, *sent} if one is not None)
        never = before is None or named is None or gone
        return () if never else (aliased(name, named, None),)
    if alias in (named, before, asked, *_sent_alias(application)):
        if alias == named and alias != before:
            _tell_alias(turn, before, alias)
        asked = asked if alias != asked else None
        turn.record(seen_alias=alias, seen_alias_of=name, asked_alias=asked)
        return ()
    return () if named is None else (aliased(name, named, alias),)


def _asked_alias(application: Application, name: str) -> str | None:
    """The version that the last call asks it to name, until that was seen; remembered, or not."""
    over = application.followed.get(NAMED)
    sent = unrefused(application, "alias")
    if sent and (over is None or sent[-1].at >= over):
        return None if sent[-1].id in application.arrived else sent[-1].target
    return application.asked_alias if application.seen_alias_of in (None, name) else None


def _sent_alias(application: Application) -> set[str]:
    """Where a call of ours may yet move it: none that was seen in effect does so again.

    A call may be overtaken by later ones, and be answered after those: a replica may pause in it.
    On the way home it may still be where the last one had moved it: that it was seen back at once
    may have been an answer from before that call.
    """
    sent, live = unrefused(application, "alias"), application.live
    left = live.version if live is not None and live.state is State.ROLLED_BACK else None
    return {one.target for one in sent if one.id not in application.arrived or one.target == left}


def _tell_alias(turn: Turn, before: str | None, alias: str) -> None:
    name = turn.application.spec.alias
    turn.tell(
        "alias.moved",
        turn.shown,
        f"{name} names version {alias}",
        alias=name,
        from_version=before,
        to_version=alias,
    )


def registry_part(turn: Turn) -> Part:
    """Whether the version that users go back to was deleted: it could not be started again."""
    application, back = turn.application, turn.application.incumbent
    if turn.world.versions is None:
        return None
    if back is None or back in application.deleted or not lost(turn, back):
        return ()
    told = f"version {back} was deleted from the registry: it could not be started again"
    live = application.live
    if live is not None and live.version != back:
        told += ", and going back to it is not sure"
    return (told,)
