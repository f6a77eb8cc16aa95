"""How releases begin: a version is noticed, and a release admitted."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

from policies.admission import Admission, admit
from policies.criteria import criteria
from policies.forecast import pin
from policies.guards import ERRORS
from policies.rollout import WHOLE, Rollout
from states.applying import undeclared
from states.gates import admission_gate, hold_at, unlooked
from states.judging import pace_of
from states.machine import State, Trigger
from states.outcome import ROLLED_BACK_TAG, untold
from states.pinned import Pinned
from states.release import Application, Order, Release
from states.resending import ARRIVED, BEGUN
from states.room import crowded, making_room
from states.turn import Turn
from states.world import ModelVersion, Size


def notice(turn: Turn) -> None:
    """Open a release for each version that is new, and not marked as rolled back."""
    application = turn.application
    for version in turn.world.versions or ():
        known = application.newest(version.version) is not None
        if known or int(version.version) <= application.watermark or version.tags is None:
            continue
        key, value = ROLLED_BACK_TAG
        if version.tags.get(key) == value:
            continue
        because = f"version {version.version} of {application.spec.model} is {version.status}"
        release = turn.put(
            Release(
                application=application.name,
                version=version.version,
                since=turn.world.now,
                because=because,
            )
        )
        turn.tell("release.registered", release, because)


def mark_tagged(turn: Turn) -> None:
    """Note of which versions the registry was seen to tell what they have come to."""
    seen = {version.version: version.tags or {} for version in turn.world.versions or ()}
    for version, tags in untold(turn.application).items():
        release = turn.application.newest(version)
        if release is not None and tags.items() <= seen.get(version, {}).items():
            turn.put(release, tagged=True)


def note_granted(turn: Turn) -> None:
    """Note that the permissions of an endpoint that was created by us were seen, once."""
    application, granted = turn.application, turn.world.granted
    wanted = application.spec.setup.permissions
    if not application.upkeep.ungranted or granted is None or not granted.issuperset(wanted):
        return
    turn.record(upkeep=replace(application.upkeep, ungranted=False))
    told = f"{len(wanted)} permissions seen on {application.spec.endpoint}: later changes are kept"
    turn.tell("endpoint.permitted", turn.shown, told)


def heed_aborted(turn: Turn) -> None:
    """Retire what was aborted while it waited, whatever it waits for."""
    for release in turn.application.releases:
        if release.state is State.REGISTERED and release.order is Order.ABORT:
            turn.move(release, Trigger.REFUSE, "aborted before it began")


def begin(turn: Turn) -> None:
    """Admit what is first in line while nothing is live; what was overtaken is superseded."""
    waiting = [one for one in turn.application.releases if one.state is State.REGISTERED]
    every, first = turn.application.spec.admission.order == "every", None
    for release in sorted(waiting, key=partial(_place, every=every)):
        if _overtaken(turn.application, release):
            newer = turn.application.live or turn.application.newest(turn.application.stable)
            assert newer is not None, "nothing overtakes without being known"
            turn.move(release, Trigger.SUPERSEDE, f"overtaken by version {newer.version}")
        elif turn.application.live is not None:
            continue
        elif every and first is not None and not release.ordered:
            turn.hold(release, f"waits for version {first}, which comes first")
        else:
            _consider(turn, release)
            first = first or (None if release.ordered else release.version)


def _place(release: Release, *, every: bool) -> tuple[int, float]:
    """In which order versions are considered: a way back, what else was asked for, the others."""
    if release.ordered:
        return int(release.ordered != "undo"), release.since.timestamp()
    return 2, int(release.version) if every else -int(release.version)


def _overtaken(application: Application, release: Release) -> bool:
    """A newer version is live, or stable already; what was asked for by name is overtaken by none.

    Where every version is to have its turn, one waits for a newer one that a person put before it;
    when that one is stable, going back to an older one is for a person too.
    """
    every = application.spec.admission.order == "every"
    live = application.live.version if application.live and not every else None
    newer = [one for one in (application.stable, live) if one is not None]
    return not release.ordered and any(int(one) > int(release.version) for one in newer)


def _consider(turn: Turn, release: Release) -> None:
    spec = turn.application.spec
    seen = {version.version: version for version in turn.world.versions or ()}
    version = seen.get(release.version)
    if turn.world.versions is None or turn.unseen or not turn.application.adopted:
        return
    if version is None:
        why = f"version {release.version} is not listed: abort it, unless it is to come"
        turn.hold(release, why, needs_person=True)
        return
    if release.ordered == "undo":
        # Users had it, whatever its files tell by now: to serve again it needs to be READY.
        finding, because = admit(version.status, version.tags or {}, (), has_signature=True)
    else:
        finding, because = admit(
            version.status,
            version.tags,
            spec.admission.required_tags,
            has_signature=version.has_signature,
        )
    if finding is Admission.REFUSE:
        turn.move(release, Trigger.REFUSE, because)
        return
    asks = finding is Admission.WAIT and version.status == "READY"
    unknown = undeclared(turn.application)
    if finding is Admission.ADMIT and unknown is not None:
        because, finding, asks = unknown, Admission.WAIT, True
    if turn.application.hold is not None or release.order is Order.PAUSE:
        return
    if finding is Admission.WAIT:
        if asks:
            turn.hold(release, because, needs_person=True)
        return
    _let_in(turn, release, version, because)


def _let_in(turn: Turn, release: Release, version: ModelVersion, because: str) -> None:
    """Admit what is admissible, unless the calendar, a person, or too little room stops it."""
    gate, obstacle = admission_gate(turn, release, version), crowded(turn, release)
    if gate is not None:
        hold_at(turn, release, gate)
    elif obstacle is not None:
        turn.hold(release, obstacle, needs_person=True)
    elif not unlooked(turn, release) and not making_room(turn, release):
        _admit(turn, turn.free(release), because)


def _admit(turn: Turn, release: Release, because: str) -> None:
    application = turn.application
    spec, baseline, undo = application.spec, application.stable, release.ordered == "undo"
    if undo:
        rollout = replace(_first(spec.rollout), bake=timedelta())
        chosen = "it was stable before, and gets all users as soon as its golden queries pass"
    elif baseline is None:
        rollout, chosen = _first(spec.rollout), "first release: nothing to compare with"
    else:
        rollout, chosen = spec.rollout, _foretold(turn)
        if spec.replay is not None:
            chosen = (
                f"{chosen}; up to {spec.replay.requests:,} recorded requests are replayed first"
            )
    size, sized = _sized(turn)
    pinned = Pinned(
        baseline=baseline,
        size=size,
        # One that serves without proof has nothing but itself to go back to.
        incumbent=application.incumbent if application.incumbent != release.version else None,
        rollout=rollout,
        guards=spec.guards,
        counted=spec.counted,
        tests=spec.tests,
        tests_table=spec.tests_table,
        max_lag=spec.max_lag,
        provisioning_deadline=spec.provisioning_deadline,
        testing_deadline=spec.testing_deadline,
        approval="none" if undo else spec.admission.approval,
        proven=undo,
        staging=None if undo else spec.staging,
        replay=spec.replay if baseline is not None and not undo else None,
    )
    told = f"{because}; {chosen}{sized}"
    if pinned.staging is not None:
        told += f"; tested on staging endpoint {spec.staging} before {spec.endpoint} has it"
    turn.move(release, Trigger.ADMIT, told, pinned=pinned, ended_at=None, removed=False)
    # What an earlier attempt asked for without effect keeps this one from nothing.
    anew = dict.fromkeys((ARRIVED, BEGUN), turn.world.now)
    turn.record(followed={**application.followed, **anew})


def _sized(turn: Turn) -> tuple[Size | None, str]:
    """How big a version is to be: as stated, else as big as the one that serves is now."""
    application, setup = turn.application, turn.application.spec.setup
    if setup.size is not None or application.incumbent is None or turn.endpoint is None:
        return setup.size, ""
    size = turn.endpoint.sizes.get(application.entity(application.incumbent))
    if size is None:
        return None, ""
    size = setup.sized(size)
    return size, f"; sized as version {application.incumbent} is now: {size}"


def _foretold(turn: Turn) -> str:
    """What would become of the steps if traffic stayed so; they are pinned when it opens."""
    spec, pace = turn.application.spec, pace_of(turn.application, turn.world, None)
    _, chosen = pin(spec.rollout, criteria(spec.guards, {}, None, {ERRORS: ""}), pace)
    return f"as it looks now, {chosen}"


def _first(rollout: Rollout) -> Rollout:
    return replace(rollout, steps=(WHOLE,), hold_back=0)
