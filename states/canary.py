"""From the first users to all of them: compared steps, the bake at 100 %, and the watch."""

from datetime import timedelta

from policies import errors
from policies.fuse import blown
from policies.verdict import Outcome, Verdict
from policies.words import duration
from states.desired import desired_alias
from states.home import add_span, converged, roll_back
from states.machine import Trigger
from states.release import Order, Release
from states.turn import Turn


def canary(turn: Turn, release: Release) -> None:
    """Close on harm, shut when blind, open one step on proof; else wait."""
    assert release.pinned is not None, "a live release has a pinned plan"
    if _harmful(turn, release):
        return
    alarm = _blind(turn, release) or _fuse(release)
    if alarm is not None:
        _retreat(turn, release, alarm)
    elif release.shut:
        _reopen(turn, release)
    elif not release.settled:
        if converged(turn):
            settled = turn.settle(release, f"{release.weight} % seen on the endpoint")
            add_span(turn, settled, settled=True, delay=release.pinned.rollout.settle)
    elif release.paused and release.order is Order.RUN:
        unsettled = release.spans[-1].starts_at - turn.world.now
        add_span(turn, release, settled=True, delay=max(unsettled, timedelta()))
    elif release.baking:
        _bake(turn, release)
    else:
        _compare(turn, release)


def production(turn: Turn, release: Release) -> None:
    """Settle on traffic and alias both seen; confirm when the watch has ended without harm."""
    assert release.pinned is not None, "a live release has a pinned plan"
    if _harmful(turn, release):
        return
    if not release.settled:
        named = desired_alias(turn.application)
        if converged(turn) and named in (None, turn.world.alias):
            alias = turn.application.spec.alias
            told = f"100 % and alias {alias} seen" if alias else "100 % seen"
            add_span(turn, turn.settle(release, told), settled=True)
        return
    alarm, watch = _blind(turn, release) or _fuse(release), release.pinned.rollout.watch
    if alarm is not None:
        turn.hold(_journal(turn, release, alarm), alarm.because, needs_person=True)
        return
    release = turn.free(release)
    watched = release.on_step >= watch and _covered(release, watch)
    if watched and turn.may_advance(release) and converged(turn):
        _confirm(turn, release)


def _harmful(turn: Turn, release: Release) -> bool:
    """Roll back on harm; pause and hold do not stop it."""
    assert release.pinned is not None, "a live release has a pinned plan"
    past = release.fuse.permitted if release.fuse else None
    verdict = errors.harmful(release.pinned.errors, release.blocks, past)
    if verdict is None:
        return False
    roll_back(turn, _journal(turn, release, verdict), verdict.because)
    return True


def _journal(turn: Turn, release: Release, verdict: Verdict) -> Release:
    """Tell a verdict when it changes or decides; its numbers move at every look."""
    mark = f"{verdict.outcome} at step {release.step}"
    if release.verdict == mark:
        return release
    told = turn.put(release, verdict=mark)
    turn.tell(
        "gate.verdict",
        told,
        verdict.because,
        level="error" if verdict.outcome is Outcome.FAIL else "info",
        guard=verdict.guard,
        verdict=verdict.outcome.value,
        **verdict.numbers,
    )
    return told


def _compare(turn: Turn, release: Release) -> None:
    assert release.pinned is not None, "a live release has a pinned plan"
    rollout, span = release.pinned.rollout, release.spans[-1].number
    own = tuple(block for block in release.blocks if block.span == span and block.comparable)
    pace = turn.world.requests_per_second
    verdict = errors.no_worse(release.pinned.errors, own, weight=release.weight, pace=pace)
    release = _journal(turn, release, verdict)
    if verdict.outcome is Outcome.PASS:
        release = turn.free(release)
        stayed = release.on_step >= rollout.min_step
        if stayed and turn.may_advance(release) and converged(turn):
            told = f"{verdict.because}; opens {release.steps[release.step]} %"
            stepped = turn.move(
                release, Trigger.STEP, told, step=release.step + 1, **turn.set_fuse()
            )
            add_span(turn, stepped, settled=False)
    elif release.undecided >= rollout.patience:
        told = f"undecided after {duration(rollout.patience)}: {verdict.because}"
        if rollout.on_undecided == "roll_back":
            roll_back(turn, release, told)
        elif release.hold is None:
            turn.hold(release, told, needs_person=True)


def _bake(turn: Turn, release: Release) -> None:
    assert release.pinned is not None, "a live release has a pinned plan"
    bake = release.pinned.rollout.bake
    release = turn.free(release)
    baked = release.on_step >= bake and _covered(release, bake)
    if not baked or not turn.may_advance(release) or not converged(turn):
        return
    span = release.spans[-1].number
    own = tuple(block for block in release.blocks if block.span == span)
    told = f"{duration(bake)} at 100 % within its limits: {errors.tell(own)}"
    turn.move(release, Trigger.PROMOTE, told)


def _covered(release: Release, stay: timedelta) -> bool:
    """The counting source has spoken of the whole stay; where there is none, time must do."""
    if release.source is None:
        return True
    end = release.spans[-1].starts_at + stay
    return release.watermark is not None and release.watermark >= end


def _blind(turn: Turn, release: Release) -> Verdict | None:
    """Whether the counting source is broken; without one there is nothing to be blind of."""
    assert release.pinned is not None, "a live release has a pinned plan"
    if release.source is None:
        return None
    last = release.watermark or release.spans[0].starts_at
    own = tuple(block for block in release.blocks if block.span == release.spans[-1].number)
    return errors.blind(own, turn.world.now - last, release.pinned.max_lag)


def _fuse(release: Release) -> Verdict | None:
    """Whether the endpoint as a whole errs more than before the step; nobody is blamed by it."""
    assert release.pinned is not None, "a live release has a pinned plan"
    if release.fuse is None or release.shut or release.pinned.baseline is None:
        return None
    return blown(release.fuse, release.minutes)


def _retreat(turn: Turn, release: Release, alarm: Verdict) -> None:
    """Shut the gate on an alarm that blames nobody yet; the second time, ask."""
    assert release.pinned is not None, "a live release has a pinned plan"
    comparable = release.pinned.baseline is not None
    blind, because = alarm.outcome is Outcome.BLIND, alarm.because
    if blind:
        release = _journal(turn, release, alarm)
    if not comparable:
        turn.hold(release, because, needs_person=True)
        return
    if release.shut:
        if not release.settled and converged(turn):
            turn.settle(release, "0 % seen on the endpoint")
        return
    name = "evidence.blind" if blind else "fuse.blown"
    turn.tell(name, release, because, level="warning", **alarm.numbers)
    count = release.retreats + 1
    shut = turn.move(release, Trigger.RETREAT, because, shut=True, retreats=count)
    shut = add_span(turn, shut, settled=False)
    if count > 1:
        turn.hold(shut, f"the gate was shut for the second time: {because}", needs_person=True)


def _reopen(turn: Turn, release: Release) -> None:
    """Open the same step again once the counts by version tell of all that led to the alarm."""
    if not converged(turn):
        return
    if not release.settled:
        turn.settle(release, "0 % seen on the endpoint")
        return
    spoken = release.watermark is not None and release.watermark >= release.spans[-1].starts_at
    if not spoken or not turn.may_advance(release):
        return
    told = "the counts by version have arrived, and blame nobody"
    turn.tell("evidence.seen", release, told)
    step = f"{told}; reopens {release.steps[release.step - 1]} %"
    reopened = turn.move(release, Trigger.STEP, step, shut=False, **turn.set_fuse())
    add_span(turn, reopened, settled=False)


def _confirm(turn: Turn, release: Release) -> None:
    """End the watch: this version is stable now, and the one before it is retired."""
    assert release.pinned is not None, "a live release has a pinned plan"
    told = f"watched for {duration(release.pinned.rollout.watch)} without harm: it is stable now"
    former = turn.application.newest(turn.application.incumbent)
    turn.record(stable=release.version, unproven=None)
    confirmed = turn.put(release, confirmed=True, because=told)
    turn.tell("release.confirmed", confirmed, told)
    if former is None or former.version == release.version:
        return
    if former.state.value == "Production":
        replaced = f"replaced by version {release.version}"
        turn.move(former, Trigger.RETIRE, replaced, ended_at=turn.world.now, weight_seen=0)
    else:
        turn.put(turn.free(former), ended_at=turn.world.now)
