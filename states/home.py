"""Converging, and being home: what both the way up and the way back rest on."""

from datetime import timedelta

from states.desired import desired
from states.machine import State, Trigger
from states.release import Release
from states.resending import unrefused
from states.span import Span
from states.turn import Turn
from states.world import Endpoint, Serving, Share

STALE_FOR = timedelta(minutes=10)
"""Longest that an answer is taken for a stale one."""


def converged(turn: Turn) -> bool:
    """The endpoint serves what is wanted, nothing is changing, and what has users is ready."""
    endpoint, wanted = turn.endpoint, desired(turn.application)
    if endpoint is None or wanted is None or endpoint.updating:
        return False
    return endpoint.serving == wanted and not lacking(endpoint, wanted)


def lacking(endpoint: Endpoint, wanted: Serving) -> list[Share]:
    """What is to have users, and is not ready."""
    shares = sorted(wanted.shares.items())
    return [share for name, share in shares if share.weight and name not in endpoint.ready]


def unready(turn: Turn) -> str | None:
    """That all is served as wanted, but for a version with users that is not ready; else None."""
    endpoint, application = turn.endpoint, turn.application
    wanted = desired(application)
    if endpoint is None or wanted is None or endpoint.updating or endpoint.serving != wanted:
        return None
    down = lacking(endpoint, wanted)
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
    sent = unrefused(turn.application, "serve", at=now)
    return any(now - one.at < STALE_FOR for one in sent)


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
