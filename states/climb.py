"""How a live release goes on, and its way up to the first users: provisioned, then tested."""

from dataclasses import replace

from policies.blindness import named
from policies.dispersion import clusters
from policies.forecast import pin
from policies.golden import Finding, Round
from policies.golden import judge as judge_golden
from policies.guards import CAPACITY, ERRORS, TOKENS
from policies.rollout import WHOLE
from policies.words import duration
from states.attempt import MEMORY
from states.canary import canary, production
from states.clock import usual
from states.desired import desired
from states.gates import by_word, consent, first_users_gate, hold_at, overridden
from states.harm import go_back_on_harm
from states.home import (
    add_span,
    converged,
    give_up_unbuilt,
    lost,
    overdue,
    ready_for,
    roll_back,
    undersized,
)
from states.homecoming import come_home
from states.judging import guards_of, lag_of, pace_of, pin_guards, sources
from states.machine import State, Trigger
from states.quarantine import quarantined
from states.rehearsal import rehearse
from states.rejudging import Bench
from states.release import Order, Release
from states.replaying import replayed, undecided_rolls_back, unproven
from states.resending import FRESH, begun, calls
from states.rounds import how_far, taken_in, told_round, with_table
from states.stuck import heed_stuck, held_up
from states.turn import Turn
from states.world import Endpoint

NOTHING_DECIDES = (
    "every guard that something counts for only observes, so that no step could be opened on "
    "proof: let one decide, or set rollout.steps to [100]"
)
MASKED = "AI Gateway's fallback hides a canary's errors: switch fallback_config off"


def go_on(turn: Turn, release: Release) -> None:
    """Decide the live release's next move, if there is one."""
    state = release.state
    if release.order is Order.ABORT and state is not State.ROLLED_BACK:
        release = roll_back(turn, release, "aborted by the operator")
    elif state is not State.ROLLED_BACK:
        release = _heed_deleted(turn, release)
    state = release.state
    if turn.unseen or _in_quarantine(turn, release):
        return
    if state in (State.PROVISIONING, State.TESTING):
        release = _heed_unready(turn, release)
    unbuilt = give_up_unbuilt(turn)
    if state is State.PROVISIONING:
        _provisioning(turn, release, asked_anew=unbuilt)
    elif state is State.ROLLED_BACK:
        come_home(turn, release)
    elif turn.endpoint is None or (state is State.TESTING and held_up(release)):
        return
    elif state is State.TESTING:
        _testing(turn, release)
    elif state is State.CANARY:
        canary(turn, _heed_masked(turn, release))
    else:
        assert state is State.PRODUCTION, f"{state} is not live"
        production(turn, _heed_masked(turn, release))


def _in_quarantine(turn: Turn, release: Release) -> bool:
    """Whether its passes failed unexpectedly: then nothing is decided but to go back."""
    if not quarantined(release) or release.state is State.ROLLED_BACK:
        return False
    if release.state in (State.CANARY, State.PRODUCTION):
        go_back_on_harm(turn, release)
    return True


def _heed_deleted(turn: Turn, release: Release) -> Release:
    """Send a version home that the registry lost: it could not be started again, so not stay.

    From every state, users or not: the version to go back to is there. Two looks must miss it that
    are apart in time, and a list that is empty, or lacks the other one too, is no proof; unless a
    person has told that this one was deleted.
    """
    world, since = turn.world, release.unlisted_since
    why = f"version {release.version} is not in the registry's list: it is looked for once more"
    if world.versions is not None and not lost(turn, release.version):
        release = turn.put(release, unlisted=False, unlisted_since=None)
        return turn.free(release) if release.hold == why else release
    if world.versions is not None:
        if since is not None and world.now - since >= world.poll / 2 and _alone_lost(turn, release):
            told = f"version {release.version} was deleted from the registry"
            return roll_back(turn, release, told)
        release = turn.put(release, unlisted=True, unlisted_since=since or world.now)
    if release.unlisted and release.hold in (None, why):
        return turn.hold(release, why)
    return release


def _alone_lost(turn: Turn, release: Release) -> bool:
    """The list has the version to go back to, if there is another one that should be in it."""
    back = turn.application.incumbent
    other = None if back in (release.version, *turn.application.deleted) else back
    return other is None or not lost(turn, other)


def _heed_unready(turn: Turn, release: Release) -> Release:
    """Hold while what keeps a version from going on is only that stable is not ready.

    Its deadlines are for what Databricks makes of it, and not of the one that has the users.
    """
    endpoint, entity = turn.endpoint, turn.application.entity(release.version)
    if release.on_staging or endpoint is None or entity not in endpoint.ready:
        return release
    return heed_stuck(turn, release)[0]


def _heed_masked(turn: Turn, release: Release) -> Release:
    """Say why nothing goes on under a fallback that a person wants to stay on."""
    application = turn.application
    if not turn.masked(release):
        return turn.free(release) if release.hold == MASKED else release
    if release.hold is None and application.change is None and not application.fallback_off:
        return turn.hold(release, MASKED, needs_person=True)
    return release


def _provisioning(turn: Turn, release: Release, *, asked_anew: bool) -> None:
    entity, endpoint = turn.application.entity(release.version), turn.endpoint
    if release.on_staging:
        rehearse(turn, release)
    elif release.in_state >= release.plan.provisioning_deadline:
        roll_back(turn, release, f"not ready after {duration(release.plan.provisioning_deadline)}")
    elif endpoint is None or asked_anew:
        return
    elif entity in endpoint.failed and not endpoint.updating and _tried(turn, release):
        because = f"Databricks could not deploy {entity}: its build and service logs say why"
        roll_back(turn, release, because)
    elif _update_failed(turn, release, endpoint):
        because = f"Databricks could not update the endpoint with {entity}: its event log says why"
        roll_back(turn, release, because)
    elif converged(turn) and entity in endpoint.ready and not undersized(turn):
        settled = turn.settle(release, f"{entity} is ready")
        turn.move(settled, Trigger.PROVISIONED, f"{entity} is ready", settled=True)


def _tried(turn: Turn, release: Release) -> bool:
    """The endpoint was asked for it in this attempt: until then, what failed is an earlier one.

    That one looks the same, so that of a later attempt the call must have been accepted.
    """
    application, wanted, now = turn.application, desired(turn.application), turn.world.now
    first, since, target = release.attempt == 1, begun(application, release), str(wanted)
    sent = [one for one in calls(application, "serve") if one.at >= since]
    asked = [one for one in sent if one.target == target]
    if first and asked and turn.endpoint is not None and turn.endpoint.pending == wanted:
        return True
    taken = ("done", "open") if first else ("done",)
    told = any(one.outcome in taken and now - one.at >= FRESH for one in asked)
    return told or release.in_state >= MEMORY  # calls are remembered no longer


def _update_failed(turn: Turn, release: Release, endpoint: Endpoint) -> bool:
    """What is wanted now was sent, and accepted: an update that failed is then ours."""
    wanted = desired(turn.application)
    if wanted is None or not endpoint.failed_to_take(wanted):
        return False
    if endpoint.pending == wanted:
        return _tried(turn, release)
    sent = calls(turn.application, "serve")
    if not sent or sent[-1].outcome != "done" or sent[-1].at < begun(turn.application, release):
        return False
    fresh = turn.world.now - sent[-1].at < FRESH
    return sent[-1].target == str(wanted) and not fresh


def _testing(turn: Turn, release: Release) -> None:
    if release.in_state >= release.plan.testing_deadline:
        late = f"not through its tests after {duration(release.plan.testing_deadline)}"
        roll_back(turn, release, f"{late}{how_far(release.asking)}")
        return
    pinned = with_table(turn, release)
    if pinned is None:
        return
    release, asked = pinned, turn.world.round
    if asked is not None:
        rounds, asking = taken_in(release.rounds, asked)
        release = turn.put(release, rounds=rounds, asking=asking)
    if isinstance(asked, Round):
        place = turn.application.spec.endpoint
        finding, because = told_round(turn, release, release.rounds, place)
    else:
        finding, because = judge_golden(release.rounds)
    if finding is Finding.FAIL:
        roll_back(turn, release, because)
    elif finding is Finding.ENVIRONMENT and not overridden(release):
        turn.hold(release, because, needs_person=overdue(turn, release))
    elif finding is Finding.PASS:
        tried = replayed(turn, release)
        if tried is not None:
            _open(turn, tried, f"{because}; {tried.replay.because}" if tried.replay else because)
    elif finding is Finding.ENVIRONMENT:
        _open(turn, release, because)


def _open(turn: Turn, release: Release, because: str) -> None:
    """Give the first users to a tested version, with its guards, sources and fuse pinned."""
    if release.history is None and turn.world.history is not None:
        release = turn.put(release, history=turn.world.history)
    pinned, left = _pinned(turn, release)
    undecided = unproven(turn, pinned)
    override = overridden(release)
    if undecided is not None and undecided_rolls_back(turn, pinned) and not override:
        roll_back(turn, release, undecided)
        return
    why = (undecided, True) if undecided is not None else _not_openable(turn, pinned)
    if why is not None and (why[0] == MASKED or not override):
        turn.hold(release, why[0], needs_person=why[1])
        return
    gate = first_users_gate(turn, release)
    if gate is not None:
        hold_at(turn, release, gate)
        return
    release = turn.free(release)
    pinned = replace(pinned, hold=None, needs_person=False, ask=None)
    if not turn.may_advance(pinned) or not ready_for(turn, release):
        return
    pinned = turn.put(pinned)
    weight = pinned.plan.rollout.weight(1)
    words = f"{by_word(release)}{consent(release)}"
    told = f"{because}{left}{words}; opens {weight} % of users"
    fuses = turn.set_fuse(pinned, weight)
    opened = turn.move(pinned, Trigger.OPEN, told, step=1, **fuses)
    turn.tell("release.judged", opened, _judged(opened), **Bench.of(opened).told())
    add_span(turn, opened, settled=False)


def _pinned(turn: Turn, release: Release) -> tuple[Release, str]:
    """The release with guards, sources and steps as they are when it opens; why steps are gone."""
    assert turn.endpoint is not None, "checked by go_on"
    found = sources(turn.application, turn.endpoint, labelled=turn.world.labelled)
    minutes = usual(turn.application, release.ahead)
    dispersion = 1.0 if turn.application.counted.by_session else clusters(minutes)
    judged = pin_guards(release, found, dispersion)
    planned = release.plan
    pace = pace_of(turn.application, turn.world, release.history)
    rollout, chosen = pin(planned.rollout, guards_of(judged), pace, lag_of(judged))
    left = f"; {chosen}" if rollout != planned.rollout else ""
    return replace(judged, pinned=replace(planned, rollout=rollout)), left


def _judged(release: Release) -> str:
    """Which guards judge, by which source, and which cannot."""
    judged = {one.guard: one.source for one in guards_of(release)}
    told = ", ".join(f"{guard} by {named(source)}" for guard, source in judged.items())
    silent = {CAPACITY} if release.plan.guards.tokens else {CAPACITY, TOKENS}
    lacking = [guard for guard in release.sources if guard not in {*judged, *silent}]
    past = release.history.answers if release.history else 0
    said = f"judged: {told}" if told else "no source counts by version"
    if lacking:
        few = f"stable's last day ({past:,} answers) is too little to judge {', '.join(lacking)}"
        said = f"{said}; {few}"
    if release.fuse is None and release.plan.baseline is not None:
        said += (
            "; the endpoint's metrics were not seen: no fuse watches it, and nothing tells which "
            "requests the counts leave out"
        )
    return said


def _not_openable(turn: Turn, release: Release) -> tuple[str, bool] | None:
    """Why a comparison would be blind on this endpoint, and whether a person must act."""
    assert turn.endpoint is not None, "checked by go_on"
    if turn.masked(release):
        return MASKED, True
    if release.steps == (WHOLE,):
        return None
    if ERRORS not in sources(turn.application, turn.endpoint, labelled=turn.world.labelled):
        name = turn.application.spec.endpoint
        told = f"no source counts errors per version: enable {name}'s AI Gateway inference table"
        return told, True
    if turn.endpoint.inference_table is not None and release.history is None:
        late, told = overdue(turn, release), "the inference table is asked for it"
        if late:
            told += ", in vain for long: the log says what the warehouse answers (workspace.unseen)"
        return f"stable's last day is not known yet: {told}", late
    if all(one.observe for one in guards_of(release)):
        return NOTHING_DECIDES, True
    return None
