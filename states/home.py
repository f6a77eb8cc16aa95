"""Converging and going home: what both the way up and the way back rest on."""

from datetime import timedelta

from policies.words import duration
from states.desired import closed, desired, desired_alias
from states.machine import State, Trigger
from states.post_mortem import tell_post_mortem
from states.release import Release
from states.resending import calls
from states.span import Span
from states.turn import Turn
from states.world import Endpoint, Serving, Share

STALE_FOR = timedelta(minutes=10)
"""Longest that an answer is taken for a stale one."""
ESCALATIONS = (timedelta(minutes=2), timedelta(minutes=10), timedelta(minutes=30))
"""Stays in RolledBack, not yet home, at which a person is called; louder each time."""


def converged(turn: Turn) -> bool:
    """The endpoint serves what is wanted, nothing is changing, and what has users is ready."""
    endpoint, wanted = turn.endpoint, desired(turn.application)
    if endpoint is None or wanted is None or endpoint.updating:
        return False
    return endpoint.serving == wanted and not _down(endpoint, wanted)


def _down(endpoint: Endpoint, wanted: Serving) -> list[Share]:
    """What is to have users, and is not ready."""
    shares = sorted(wanted.shares.items())
    return [share for name, share in shares if share.weight and name not in endpoint.ready]


def unready(turn: Turn) -> str | None:
    """That all is served as wanted, but for a version with users that is not ready; else None."""
    endpoint, application = turn.endpoint, turn.application
    wanted = desired(application)
    if endpoint is None or wanted is None or endpoint.updating or endpoint.serving != wanted:
        return None
    down = _down(endpoint, wanted)
    if not down:
        return None
    told = f"version {down[0].version} has {down[0].weight} % of users"
    return f"{told}, and is not ready on {application.spec.endpoint}"


def undisturbed(turn: Turn) -> bool:
    """Converged, and nothing is shown as changed by others: what is counted now is of this step."""
    live = turn.application.live
    masked = live is not None and turn.masked(live)
    return turn.application.change is None and not masked and converged(turn)


def lost(turn: Turn, version: str) -> bool:
    """The registry was seen, and does not have a version any more.

    An empty list is not believed: a model that is not to be seen has lost no version.
    """
    listed = {one.version for one in turn.world.versions or ()}
    return bool(listed) and version not in listed


def ready_for(turn: Turn, release: Release) -> bool:
    """Converged, and the version is ready for users of its own, whether it has any or not."""
    endpoint = turn.endpoint
    entity = turn.application.entity(release.version)
    return converged(turn) and endpoint is not None and entity in endpoint.ready


def overdue(turn: Turn, release: Release) -> bool:
    """So long in its state, held or not, that a person is asked about what may pass by itself.

    A hold stops deadlines, so that nothing else would end it.
    """
    limit = release.pinned.testing_deadline if release.pinned else None
    return limit is not None and turn.world.now - release.since >= limit


def undersized(turn: Turn) -> bool:
    """The version that is being provisioned is on the endpoint already, and smaller than asked."""
    endpoint, live = turn.endpoint, turn.application.live
    if endpoint is None or live is None or live.state is not State.PROVISIONING:
        return False
    room = endpoint.concurrency.get(turn.application.entity(live.version))
    wanted = live.pinned.size.room[1] if live.pinned and live.pinned.size else None
    return room is not None and wanted is not None and room < wanted


def add_span(
    turn: Turn, release: Release, *, settled: bool, delay: timedelta = timedelta()
) -> Release:
    """Cut the evidence here: from now on (or after `delay`) it speaks of another weight.

    What was counted under a pause is cut off with it, and so is the time of a look that settles it.
    """
    seen_at = turn.world.now + turn.world.took if settled else turn.world.now
    span = Span(
        number=len(release.spans) + 1,
        step=release.step,
        weight=release.weight,
        starts_at=seen_at + delay,
        settled=settled,
    )
    return turn.put(release, spans=(*release.spans, span), paused=False)


def roll_back(turn: Turn, release: Release, because: str) -> Release:
    """Go home, from wherever: traffic first, then the alias.

    What never came to serve is not wanted on the endpoint at all; what did is kept at 0 % a while.
    """
    served = release.state is not State.PROVISIONING
    rolled = turn.move(
        release,
        Trigger.ROLL_BACK,
        because,
        shut=False,
        ended_at=turn.world.now,
        removed=not served,
    )
    if served and turn.application.incumbent is None:
        turn.record(unproven=release.version)
        rolled = turn.put(rolled, ended_at=None)
    return rolled


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
    turn.record(asked_over=-1)  # What came of the last call is known: the next release rests on it.
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


def give_up_unbuilt(turn: Turn) -> bool:
    """Ask no more for what had no users, is not there, and could not be built again.

    It is another's entity, or one that is kept a while, and the registry may have lost its version:
    the release that it was asked for with is not to blame.
    """
    application, live, endpoint = turn.application, turn.application.live, turn.endpoint
    if endpoint is None or (live is not None and live.state is State.ROLLED_BACK):
        return False
    ours = {application.entity(live.version)} if live is not None else set()
    gone = endpoint.failed - endpoint.serving.shares.keys() - ours
    if not endpoint.update_failed or endpoint.updating or application.change is not None:
        return False
    carried = application.carried.shares
    turn.record(carried=Serving({name: one for name, one in carried.items() if name not in gone}))
    given_up = carried.keys() & gone
    for release in application.releases:
        entity = application.entity(release.version)
        kept_a_while = release.ended_at is not None and release.version != application.incumbent
        if kept_a_while and not release.removed and entity in gone:
            turn.put(release, removed=True)
            given_up |= {entity}
    if given_up:
        names = sorted(given_up)
        because = f"{', '.join(names)} could not be built, with no users: asked for no more"
        turn.tell("endpoint.given_up", turn.shown, because, level="warning", entities=names)
    return bool(given_up)


def in_doubt(turn: Turn) -> bool:
    """The endpoint may serve what was last asked for, and not yet show it: this look may be older.

    A stale answer has the configuration version of before that call; nothing else tells it apart.
    """
    application, endpoint = turn.application, turn.endpoint
    wanted, live = desired(application), application.live
    if endpoint is None or application.asked in (None, str(wanted)):
        return False
    gone = live is not None and application.entity(live.version) in endpoint.failed
    if wanted is None and not endpoint.updating and (gone or not _may_come(turn)):
        # On the way home of a first release nothing is asked for, so that no later answer comes.
        return False
    return endpoint.config_version <= application.asked_over


def _may_come(turn: Turn) -> bool:
    """What was asked for may still take effect; should it do so even later, we own up to it."""
    now = turn.world.now
    sent = [one for one in calls(turn.application, "serve", at=now) if one.outcome != "refused"]
    return any(now - one.at < STALE_FOR for one in sent)


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
    why = f"not home after {duration(passed[-1])}: {_away(turn)}"
    turn.hold(release, why, needs_person=True, level="error")


def _away(turn: Turn) -> str:
    """What keeps users from home, and what a person can do about it."""
    endpoint, application = turn.endpoint, turn.application
    by_hand = "put stable to 100 % by hand"
    if endpoint is not None and endpoint.updating:
        return f"Databricks is still updating the endpoint; {by_hand}"
    down = unready(turn)
    if down is not None:
        return f"{down}: mend it, or give the users another version by hand"
    named, alias = desired_alias(application), application.spec.alias
    if converged(turn) and not in_doubt(turn) and named is not None:
        return f"alias {alias} was not seen at version {named}; point it there by hand"
    return f"it is sent again and again; {by_hand}"


def own_up(turn: Turn) -> None:
    """A first release that was given up while it was made may have come to serve all the same."""
    application, endpoint = turn.application, turn.endpoint
    rising = application.live is not None and application.live.state is not State.ROLLED_BACK
    if application.incumbent is not None or rising or endpoint is None:
        return
    for release in application.releases:
        served = endpoint.serving.weight(application.entity(release.version)) > 0
        if served and release.state is State.ROLLED_BACK:
            turn.record(unproven=release.version)
            turn.put(release, ended_at=None, removed=False)
            return


def _idle(endpoint: Endpoint | None) -> bool:
    return endpoint is None or not endpoint.updating
