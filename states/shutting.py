"""The gate is shut for what blames nobody, and opened again once the counts have told."""

from dataclasses import replace
from datetime import timedelta

from policies.verdict import Outcome, Verdict
from states.gates import by_word, gated, hold_at, opening_gate, overridden
from states.harm import go_back_on_harm
from states.home import add_span, converged, ready_for
from states.judging import covered, deciding_sources, journal
from states.machine import Trigger
from states.release import Release
from states.turn import Turn

STILL = "still shut: "
"""How the hold for what lasts begins: it is known by that, also after a restart."""


def still_shut(release: Release) -> bool:
    """Held by nothing but what has kept its gate shut for long, and may pass by itself."""
    return (release.hold or "").startswith(STILL)


def retreat(turn: Turn, release: Release, alarm: Verdict) -> None:
    """Shut the gate on an alarm that blames nobody yet; the second time, ask."""
    comparable = release.plan.baseline is not None
    blind, because = alarm.outcome is Outcome.BLIND, alarm.because
    limit = release.plan.max_lag
    if blind:
        release = journal(turn, release, alarm)
    if not comparable:
        turn.hold(release, because, needs_person=True, recounted=True)
        return
    if release.shut:
        if not release.settled and converged(turn):
            turn.settle(release, "0 % seen on the endpoint")
        elif release.on_step >= limit and (release.hold is None or still_shut(release)):
            turn.hold(release, f"{STILL}{because}", needs_person=True, recounted=True)
        return
    name = "evidence.blind" if blind else "fuse.blown"
    turn.tell(name, release, because, level="warning", **alarm.numbers)
    count = release.retreats + 1
    shut = turn.move(release, Trigger.RETREAT, because, shut=True, retreats=count)
    shut = add_span(turn, shut, settled=False)
    if count > 1:
        turn.hold(shut, f"the gate was shut for the second time: {because}", needs_person=True)
    elif not deciding_sources(shut):
        told = "only a person can open the gate again, as nothing that decides counts by version"
        turn.hold(shut, f"{told}: {because}", needs_person=True)


def reopen(turn: Turn, release: Release) -> None:
    """Open the same step again once the counts by version tell of all that led to the alarm."""
    if still_shut(release):
        release = turn.free(release)
    if not ready_for(turn, release):
        return
    if not release.settled:
        turn.settle(release, "0 % seen on the endpoint")
        return
    override, counted = overridden(release), deciding_sources(release)
    if not covered(release, timedelta()) and not override:
        return
    gate = opening_gate(turn, release)
    if gate is not None and (release.hold is None or gated(release)):
        hold_at(turn, release, gate)
    if gate is not None:
        return
    release = turn.free(release) if override or gated(release) else release
    weight = release.plan.rollout.weight(release.step)
    fuses = turn.set_fuse(release, weight)
    # What the hour before permits may be known only now, and what was met at 100 % be more.
    known = replace(release, before_whole=fuses["before_whole"])
    unharmed = go_back_on_harm(turn, known) if known != release else release
    if unharmed is None or not turn.may_advance(unharmed):
        return
    release = unharmed
    if override:
        told = f"the gate is opened again{by_word(release)}"
    elif counted:
        told = "the counts by version have arrived, and blame nobody"
        turn.tell("evidence.seen", release, told)
    else:
        told = "nothing holds it any more, and nothing that decides counts by version"
    step = f"{told}; reopens {weight} %"
    reopened = turn.move(release, Trigger.STEP, step, shut=False, **fuses)
    add_span(turn, reopened, settled=False)
