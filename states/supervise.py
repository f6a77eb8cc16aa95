"""Whether the endpoint and the alias are as Headgate left them; a stranger's change is shown.

While it is neither answered nor put back, nothing is sent but what closes a version to users. A
call of our own that has no effect, with nobody else at work, is sent again, and told when that
does not help.
"""

from dataclasses import replace

from policies.words import duration
from states.answering import answer
from states.applying import edited
from states.desired import desired, desired_alias
from states.difference import FALLBACK, GONE, Change, side
from states.foreign import alias_part, endpoint_part, heed_lowered, registry_part
from states.home import add_span
from states.machine import State
from states.plan import SwitchFallbackOff
from states.resending import ARRIVED, LAST_WAIT, REST, WINDOW, calls, spent, unrefused
from states.turn import Turn
from states.world import Absent, Endpoint


def supervise(turn: Turn) -> None:
    """Hold while something that Headgate owns was changed by others; go on when it is right."""
    heed_lowered(turn)
    parts = {
        "endpoint": endpoint_part(turn),
        "alias": alias_part(turn),
        "registry": registry_part(turn),
    }
    before, seen = turn.application.change, all(part is not None for part in parts.values())
    lines = {
        name: part if part is not None else _known(before, name) for name, part in parts.items()
    }
    _note_followed(turn)
    if any(lines.values()):
        _show(turn, lines)
        if seen:
            answer(turn)
    if not turn.unseen and (turn.application.change is None or not any(lines.values())):
        _go_on(turn, seen=seen)


def _known(change: Change | None, name: str) -> tuple[str, ...]:
    """What was last known of a part that cannot be seen now."""
    known: tuple[str, ...] = getattr(change, name) if change is not None else ()
    return known


def _see_again(turn: Turn, shown: Change) -> None:
    """What is adopted is what is served by now: at first it may have been unseen."""
    endpoint, alias = turn.endpoint, turn.world.alias
    serving = shown.serving if endpoint is None else endpoint.serving
    named = alias if isinstance(alias, str) and shown.named is None else shown.named
    turn.record(change=replace(shown, serving=serving, named=named))


def _show(turn: Turn, lines: dict[str, tuple[str, ...]]) -> None:
    """Write the change down with both its sides; another one than before is told."""
    before = turn.application.change
    if before is not None and before.difference == tuple(sum(lines.values(), ())):
        _see_again(turn, before)
        return
    if before is None:
        _cut(turn)
    application, endpoint, alias = turn.application, turn.endpoint, turn.world.alias
    name, wanted = application.spec.alias, desired(application)
    serving = endpoint.serving if endpoint is not None else None
    if turn.unseen and before is not None:
        serving = before.serving
    named = alias if isinstance(alias, str) else None
    hidden = FALLBACK in lines["endpoint"]
    change = Change(
        number=application.changes + 1,
        wanted=side(wanted, name, desired_alias(application), fallback=False, other=serving),
        found=side(serving, name, named, fallback=hidden, other=wanted),
        serving=serving,
        named=named,
        fallback=hidden,
        **lines,
    )
    given = application.answer
    void = given.answer if given and before and given.difference == before.key else None
    turn.record(change=change, changes=change.number)
    turn.hold_application(
        _sentence(turn, change, void),
        wanted=change.wanted,
        found=change.found,
        difference=list(change.difference),
    )


def _sentence(turn: Turn, change: Change, void: str | None) -> str:
    """What was changed, what to say to it, and whether no word is needed if it is put back.

    What is made anew is another endpoint, whatever it serves: nobody knows its variables.
    """
    name, endpoint = turn.application.name, turn.application.spec.endpoint
    told = "; ".join(change.difference)
    if change.endpoint == (GONE,):
        told = "; ".join((f"endpoint {endpoint} is gone", *change.alias, *change.registry))
    elif change.endpoint:
        told = f"endpoint {endpoint} was changed by someone else: {told}"
    elif change.alias:
        told = f"changed by someone else: {told}"
    by_hand = ", and if it is put back by hand, it goes on by itself"
    if GONE in change.endpoint and turn.application.endpoint_id:
        by_hand = ", and one that is made anew by hand is asked about, too"
    elif change.of_another:
        by_hand = ""
    earlier = f"; `{void}` answered an earlier difference, and is void" if void else ""
    return (
        f"{told}{earlier}; `headgate adopt {name}` takes it as it is, `headgate revert {name}` "
        f"puts it back{by_hand}"
    )


def _cut(turn: Turn) -> None:
    """Somebody moved what we own: what is counted from here on proves nothing of this step."""
    live = turn.application.live
    if live is None or live.state not in (State.CANARY, State.PRODUCTION):
        return
    live = turn.put(live, settled=False)
    if live.state is State.CANARY and live.spans and live.spans[-1].settled:
        add_span(turn, live, settled=False)


def _note_followed(turn: Turn) -> None:
    """Since when a call of each kind has been in effect: re-sending starts anew from there.

    And since when the endpoint has been at rest, whoever changed it. What is served and wanted
    again is no sign that the last call has come: it may have asked for what is not wanted any more.
    """
    application, endpoint = turn.application, turn.endpoint
    wanted = desired(application)
    served = endpoint is not None and endpoint.serving == wanted
    sent = unrefused(application, "serve")
    right = {
        "serve": served,
        ARRIVED: served and (not sent or sent[-1].target == str(wanted)),
        REST: endpoint is not None and not endpoint.updating,
        "gateway": endpoint is not None and not endpoint.fallback,
        "alias": turn.world.alias is not None and turn.world.alias == desired_alias(application),
    }
    now = {kind: turn.world.now for kind, followed in right.items() if followed}
    if now:
        turn.record(followed={**application.followed, **now})
    if endpoint is not None and application.attempts:
        shown = str(endpoint.serving)
        if served or shown in application.closings:
            _note_arrived(turn, "serve", shown)
    if right["alias"] and application.attempts:
        _note_arrived(turn, "alias", str(turn.world.alias))


def _note_arrived(turn: Turn, kind: str, shown: str) -> None:
    """The call that asked for what is there now has come, and does not come again.

    Where it was sent twice, the earlier one may: one arrival is known of.
    """
    application = turn.application
    sent = unrefused(application, kind)
    asked = [one.id for one in sent if one.target == shown]
    if asked and asked[-1] not in application.arrived:
        remembered = {one.id for one in application.attempts}.intersection(application.arrived)
        turn.record(arrived=(*sorted(remembered), asked[-1]))


def _go_on(turn: Turn, *, seen: bool) -> None:
    """Nobody changed anything: go on, unless something of ours is not done, or has failed.

    One thing after the other: what is held for one that is still so keeps its sentence, and what is
    held for anything else is over; but while not all is seen, nothing is known to be over, except
    for a call for the endpoint, where that is seen.
    """
    application = turn.application
    hold = application.hold or ""
    of_endpoint = " was asked for " in hold and not hold.startswith("alias ")
    seen = seen or (application.change is None and of_endpoint)
    if seen:
        turn.record(change=None)
    application = turn.application
    traffic, fallback, alias = _unserved(turn), _unswitched(turn), _unnamed(turn)
    stuck, variables = application.upkeep.stuck, edited(application)
    why = traffic or fallback or alias or stuck or variables
    stands = application.hold in (traffic, fallback, alias, stuck, variables)
    if why is None:
        if seen:
            turn.free_application()
    elif application.hold is None or (seen and not stands):
        turn.hold_application(why, event="release.held")


def _unserved(turn: Turn) -> str | None:
    """Our own change of the traffic that was sent as often as is good, and has no effect."""
    application, endpoint, wanted = turn.application, turn.endpoint, desired(turn.application)
    idle = isinstance(turn.world.endpoint, Absent) or (endpoint and not endpoint.updating)
    if wanted is None or not idle or (endpoint is not None and endpoint.serving == wanted):
        return None
    is_so = f"serves {endpoint.serving}" if isinstance(endpoint, Endpoint) else "is not there"
    told = f"endpoint {application.spec.endpoint} {is_so}, although {wanted}"
    return _told(turn, "serve", str(wanted), told)


def _unswitched(turn: Turn) -> str | None:
    """Such a call to switch the fallback off."""
    application = turn.application
    if not application.fallback_off or turn.endpoint is None:
        return None
    told = f"AI Gateway's fallback is on at {application.spec.endpoint}, although off"
    return _told(turn, "gateway", SwitchFallbackOff().target, told, "off")


def _unnamed(turn: Turn) -> str | None:
    """Such a call to move the alias."""
    named, alias = desired_alias(turn.application), turn.world.alias
    if named is None or alias is None or alias == named:
        return None
    is_so = f"names version {alias}" if isinstance(alias, str) else "is not there"
    told = f"alias {turn.application.spec.alias} {is_so}, although version {named}"
    return _told(turn, "alias", named, told, f"version {named}")


def _told(turn: Turn, kind: str, target: str, told: str, wanted: str | None = None) -> str | None:
    """What is so although something else was wanted; None where that may be a matter of time.

    `wanted` is the target in words. While it is held, it keeps the number of calls that was told
    first. A rollback has its own, louder way of telling.
    """
    application, now, held = turn.application, turn.world.now, turn.application.hold or ""
    if application.going_home:
        return None
    if held.startswith(f"{told} was asked for "):
        return held
    tries = [now - one.at for one in calls(application, kind, at=now) if one.target == target]
    early = not tries or tries[-1] < LAST_WAIT or not spent(application, kind, target, now)
    if early and f", although {wanted or target} was asked for " not in held:
        return None
    many = sum(ago <= WINDOW for ago in tries)
    often = "once" if many == 1 else f"{many} times"
    return (
        f"{told} was asked for {often} within {duration(WINDOW)}: the log says what the workspace "
        "answered (call.failed); it is asked for again, more slowly"
    )
