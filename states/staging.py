"""The staging endpoint itself: made for one release, known again, and removed after it.

What is deleted is ours for sure: it was asked for, it bears Headgate's tag and the mark of a
release of this application, and it has the id that was recorded when it was first seen.
"""

from dataclasses import replace
from datetime import timedelta

from policies.golden import Begun, Round
from policies.rollout import WHOLE
from policies.words import duration
from states.plan import CreateStaging, Level, RemoveStaging
from states.release import Application, Release
from states.resending import LAST_WAIT, WINDOW, calls, resends, spent
from states.staged import Staged
from states.turn import Turn
from states.world import Absent, Endpoint, Serving, Share

OWNER = "headgate"
"""What the tag `headgate.owner` says on every endpoint that Headgate made."""
LINGER = timedelta(hours=1)
"""How long after it was last asked for one that is not there may yet appear: a call whose answer
was lost, or a process that slept before it sent one. Until then it is looked for."""


def attempt_of(release: Release) -> str:
    """What a staging endpoint is made for: an attempt, as its mark begins."""
    return f"{release.key}/{release.attempt}"


def made_for(seen: Endpoint) -> str:
    """The attempt that a staging endpoint of ours was made for."""
    return _attempt(seen.made_for)


def _attempt(mark: str) -> str:
    return mark.rpartition("/")[0]


def _asked(application: Application, attempt: str) -> bool:
    """Whether an attempt of a remembered version may have wanted a staging endpoint.

    Of a version's attempts only the newest is remembered: what an earlier one was is not known.
    """
    key, _, number = attempt.rpartition("/")
    known = [one for one in application.releases if one.key == key and number.isdecimal()]
    return any(
        int(number) < one.attempt
        or (int(number) == one.attempt and one.pinned is not None and bool(one.pinned.staging))
        for one in known
    )


def place(application: Application) -> str | None:
    """The staging endpoint to look at: the one that a release wants, or that may still be there."""
    if application.staging is not None:
        return application.staging.endpoint
    live = application.live
    return live.pinned.staging if live is not None and live.on_staging and live.pinned else None


def left(application: Application) -> bool:
    """One of ours was seen there last, or was asked for and not looked for since."""
    return application.staging is not None and not application.staging.gone


def served(application: Application, release: Release) -> Serving:
    """What a release's staging endpoint serves: its version, and nobody else."""
    share = Share(model=application.spec.model, version=release.version, weight=WHOLE)
    return Serving({application.entity(release.version): share})


def ready_there(application: Application, seen: Endpoint) -> bool:
    """The live release's own staging endpoint serves its version, and is ready for questions."""
    live = application.live
    if live is None or not live.on_staging or not ours(application, seen):
        return False
    wanted = served(application, live)
    fit = made_for(seen) == attempt_of(live) and seen.serving == wanted and not seen.updating
    return fit and wanted.shares.keys() <= seen.ready


def rounds_there(application: Application) -> tuple[Round, ...]:
    """Golden queries that were asked of the live release on its staging endpoint."""
    known = _asked_there(application)
    return known.rounds if known is not None else ()


def asking_there(application: Application) -> Begun | None:
    """The round that is under way there, and not complete."""
    known = _asked_there(application)
    return known.asking if known is not None else None


def _asked_there(application: Application) -> Staged | None:
    """The staging endpoint, if it was asked for for the live release."""
    live, known = application.live, application.staging
    own = live is not None and known is not None and known.release == attempt_of(live)
    return known if own else None


def remember_asked(turn: Turn, call: CreateStaging) -> None:
    """From now on one of this name may be ours."""
    now, before = turn.world.now, turn.application.staging
    asked = Staged(endpoint=call.endpoint, release=call.release, asked_at=now, asks=call.number)
    if before is not None:
        rounds = before.rounds if before.release == call.release else ()
        ids = {
            mark: id_
            for mark, id_ in before.ids.items()
            if _asked(turn.application, _attempt(mark))
        }
        asked = replace(asked, ids=ids, rounds=rounds)
    turn.record(staging=asked)


def see_staging(turn: Turn) -> None:
    """Write down whether the staging endpoint that was asked for is there."""
    known, seen = turn.application.staging, turn.world.staging
    if known is None or seen is None:
        return
    if isinstance(seen, Endpoint) and ours(turn.application, seen):
        _note_there(turn, known, seen)
    else:
        _note_gone(turn, known, other=isinstance(seen, Endpoint))


def ours(application: Application, seen: Endpoint) -> bool:
    """It is the one that was asked for, and no other that somebody put in its place."""
    known = application.staging
    if known is None or not seen.id or seen.owner != OWNER:
        return False
    return _asked(application, made_for(seen)) and known.ids.get(seen.made_for, seen.id) == seen.id


def _note_there(turn: Turn, known: Staged, seen: Endpoint) -> None:
    release = _release(turn, made_for(seen))
    if known.id != seen.id:
        ids = {**known.ids, seen.made_for: seen.id}
        known = replace(known, id=seen.id, ids=ids, gone=False, told=False)
        because = f"staging endpoint {known.endpoint} is there, made for {made_for(seen)}"
        turn.tell("staging.created", release, because, endpoint=known.endpoint)
        turn.record(staging=known)
    _note_followed(turn, CreateStaging.kind)
    many = tries(turn, RemoveStaging.kind)
    if many and not known.told:
        because = (
            f"staging endpoint {known.endpoint} is still there, although its removal was asked for "
            f"{many} times within {duration(WINDOW)}: the log says what the workspace answered "
            "(call.failed); it is asked for again, more slowly; delete it by hand"
        )
        turn.tell("staging.left", release, because, level="warning", endpoint=known.endpoint)
        turn.record(staging=replace(known, told=True))


def _note_gone(turn: Turn, known: Staged, *, other: bool) -> None:
    wants = _wanting(turn.application)
    if known.id:
        _tell_gone(turn, known)
    if other and wants is None and not known.told:
        because = (
            f"an endpoint that Headgate did not make, or that came of one call twice, is at "
            f"{known.endpoint}: it is left alone; delete it by hand, if nobody needs it"
        )
        turn.tell("staging.left", turn.shown, because, level="warning", endpoint=known.endpoint)
    told = other and (known.told or wants is None)
    turn.record(staging=replace(known, id="", gone=True, told=told))
    _note_followed(turn, RemoveStaging.kind)
    renamed = wants is not None and wants.pinned and wants.pinned.staging != known.endpoint
    if renamed or (wants is None and turn.world.now - known.asked_at >= LINGER):
        turn.record(staging=None)


def _tell_gone(turn: Turn, known: Staged) -> None:
    asked = bool(calls(turn.application, RemoveStaging.kind))
    because = f"staging endpoint {known.endpoint} {'was removed' if asked else 'was deleted'}"
    if not asked:
        because += " by someone else"
    level: Level = "info" if asked else "warning"
    release = _release(turn, known.release)
    turn.tell("staging.removed", release, because, level=level, endpoint=known.endpoint)


def _note_followed(turn: Turn, kind: str) -> None:
    """A call of this kind has been in effect: re-sending starts anew from here."""
    turn.record(followed={**turn.application.followed, kind: turn.world.now})


def _release(turn: Turn, attempt: str) -> Release | None:
    """The release that a staging endpoint was made for."""
    found = (one for one in turn.application.releases if attempt_of(one) == attempt)
    return next(found, turn.shown)


def _wanting(application: Application) -> Release | None:
    """The release that wants a staging endpoint now."""
    live = application.live
    return live if live is not None and live.on_staging else None


def tries(turn: Turn, kind: str) -> int:
    """How often a call was sent without effect, once that is as often as is good; else 0."""
    application, now = turn.application, turn.world.now
    sent = calls(application, kind, at=now)
    if not sent or now - sent[-1].at < LAST_WAIT or not spent(application, kind, "", now):
        return 0
    return 1 + resends(application, kind, "", now)


def staging_call(turn: Turn) -> CreateStaging | RemoveStaging | None:
    """Make the staging endpoint that is wanted, or remove ours that is not."""
    application, seen = turn.application, turn.world.staging
    release = _wanting(application)
    if isinstance(seen, Endpoint) and ours(application, seen):
        known = application.staging
        assert known is not None, "ours was asked for"
        kept = release is not None and made_for(seen) == attempt_of(release)
        return None if kept else RemoveStaging(known.endpoint, seen.id)
    if release is None or not isinstance(seen, Absent) or not undisputed(turn, release):
        return None
    assert release.plan.staging is not None, "it wants one"
    wanted, known = served(application, release), application.staging
    number = 1 + (known.asks if known is not None else 0)
    return CreateStaging(release.plan.staging, wanted, attempt_of(release), number)


def undisputed(turn: Turn, release: Release) -> bool:
    """Nothing is in question for which the version would not go to the production endpoint."""
    application = turn.application
    asked = application.hold is not None or application.change is not None
    return application.adopted and not asked and not release.unlisted
