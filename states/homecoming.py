"""Coming home: users and alias are where they belong, or a person is told what is in the way."""

from datetime import timedelta

from policies.rollout import WHOLE
from policies.words import duration
from states.desired import closed, desired, desired_alias, exposure
from states.home import converged, in_doubt, lacking, overdue, own_up, unready
from states.post_mortem import tell_post_mortem
from states.release import Release
from states.resending import KNOWN, NAMED
from states.turn import Turn
from states.world import Endpoint, Serving

ESCALATIONS = (timedelta(minutes=2), timedelta(minutes=10), timedelta(minutes=30))
"""Stays in RolledBack, not yet home, at which a person is called; louder each time."""


def come_home(turn: Turn, release: Release) -> None:
    """Settle a rollback once the traffic, and the alias, were seen where they belong."""
    own_up(turn)
    _give_up_what_is_gone(turn)
    release = turn.application.live or release
    named = desired_alias(turn.application)
    at_home = converged(turn) if desired(turn.application) else _idle(turn.endpoint)
    at_home = at_home and not in_doubt(turn)
    if not at_home or named not in (None, turn.world.alias):
        _escalate(turn, release)
        return
    release = turn.free(release)
    base = turn.application.incumbent
    told = f"version {base} has 100 % of users" if base else "no version serves"
    alone, astray = turn.application.stable is None, _astray(turn, release)
    settled = turn.settle(release, told if alone else f"{told}{astray}")
    # What came of the last calls is known: the next release rests on it, and whoever moves the
    # alias once they are forgotten is another.
    known = {**turn.application.followed, **dict.fromkeys((KNOWN, NAMED), turn.world.now)}
    turn.record(asked_over=-1, asked_alias=None, followed=known)
    tell_post_mortem(turn, settled)
    if alone:
        why = f"there is nothing to go back to: register a mended version{astray}"
        turn.hold(settled, why, needs_person=True)


def _astray(turn: Turn, release: Release) -> str:
    """That the alias is left at a version without users, where there is no other for it to name.

    Where it cannot be read at this look, it is where it was last seen.
    """
    application, alias = turn.application, turn.application.spec.alias
    if alias is None or release.version == application.incumbent:
        return ""
    before = application.seen_alias if application.seen_alias_of == alias else None
    if release.version != (before if turn.world.alias is None else turn.world.alias):
        return ""
    return (
        f"; alias {alias} still names version {release.version}, which has no users: point it "
        "where its readers should look"
    )


def _give_up_what_is_gone(turn: Turn) -> None:
    """Ask for no entity at 0 % that is not there: if it cannot be built, nobody would come home.

    Nor for a first release that served, is not there any more, and could not be built again.
    """
    application, endpoint = turn.application, turn.endpoint
    if endpoint is None or application.change is not None or endpoint.updating or in_doubt(turn):
        return
    there = endpoint.serving.shares
    kept = {name: one for name, one in application.carried.shares.items() if name in there}
    turn.record(carried=Serving(kept))
    for release in application.releases:
        entity = application.entity(release.version)
        kept_a_while = release.ended_at is not None and release.version != application.incumbent
        if kept_a_while and entity not in there:
            turn.put(release, removed=True)
        unproven = application.stable is None and release.version == application.unproven
        if unproven and entity in endpoint.failed and entity not in there:
            turn.record(unproven=None)
            turn.put(release, ended_at=turn.world.now, removed=True)


def _escalate(turn: Turn, release: Release) -> None:
    """Say louder and louder that users cannot be brought home; it is tried all the same.

    What others changed beside it keeps nobody from home: the change itself is told.
    """
    endpoint, application = turn.endpoint, turn.application
    told = application.change is not None and endpoint is not None
    if told and endpoint and closed(application, endpoint.serving) is None:
        return
    passed = [limit for limit in ESCALATIONS if release.in_state >= limit]
    if not passed:
        return
    awaited = _awaited(turn, release)
    if awaited is not None:
        turn.hold(release, awaited, needs_person=overdue(turn, release))
        return
    why = f"not home after {duration(passed[-1])}: {_away(turn)}"
    turn.hold(release, why, needs_person=True, level="error")


def _awaited(turn: Turn, release: Release) -> str | None:
    """That users are home, and all that is asked for leaves them there; None where that is not so.

    Then only the end of an update is waited for, which nobody can hasten. What was asked for last,
    and is being deployed, is in no doubt.
    """
    endpoint, application = turn.endpoint, turn.application
    base, named = application.incumbent, desired_alias(application)
    if endpoint is None or not endpoint.updating or endpoint.pending is None:
        return None
    if base is None or base == release.version or named not in (None, turn.world.alias):
        return None
    known = not in_doubt(turn) or application.asked == str(endpoint.pending)
    for serving in (endpoint.serving, endpoint.pending):
        known = known and exposure(application, base, serving) == WHOLE
    if not known or lacking(endpoint, endpoint.serving):
        return None
    return f"version {base} has 100 % of users: only the end of Databricks' update is waited for"


def _away(turn: Turn) -> str:
    """What keeps users from home, and what a person can do about it."""
    endpoint, application = turn.endpoint, turn.application
    by_hand = "put stable to 100 % by hand"
    if application.incumbent is None:
        by_hand = "no version served before it: wait, or delete the endpoint by hand"
    if endpoint is not None and endpoint.updating:
        return f"Databricks is still updating the endpoint; {by_hand}"
    down = unready(turn)
    if down is not None:
        return f"{down}: mend it, or give the users another version by hand"
    named, alias = desired_alias(application), application.spec.alias
    if converged(turn) and not in_doubt(turn) and named is not None:
        return f"alias {alias} was not seen at version {named}; point it there by hand"
    if application.incumbent is None:
        return f"what was asked for may still take effect; {by_hand}"
    return f"it is sent again and again; {by_hand}"


def _idle(endpoint: Endpoint | None) -> bool:
    return endpoint is None or not endpoint.updating
