"""From the first users to all of them: compared steps, the bake at 100 %, and the watch."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from policies.evidence import total
from policies.holds import crowded
from policies.judge import no_worse, of_source
from policies.rollout import WHOLE
from policies.telling import tell
from policies.verdict import Outcome, Verdict
from policies.words import duration
from states.desired import desired_alias
from states.gates import (
    by_word,
    consent,
    hold_at,
    last_gate,
    opening_gate,
    overridden,
    promoted,
)
from states.harm import go_back_on_harm
from states.home import add_span, converged, overdue, roll_back, undisturbed
from states.judging import (
    alarm_of,
    covered,
    explained,
    fuse_of,
    glimpsed,
    guards_of,
    journal,
    kept_by_limits,
    lag_of,
    last_stay,
    observed_room,
    obstacle,
    over_its_limits,
    suspected,
    suspected_lately,
)
from states.machine import Trigger
from states.release import Order, Release
from states.shutting import reopen, retreat
from states.stuck import heed_stuck
from states.turn import Turn

UNDECIDED = "undecided after"
"""How the question begins that is asked once patience is over: it is known by that."""
SUSPECTED = "all was shown that was asked for, yet harm is more likely than not by what was counted"


def canary(turn: Turn, release: Release) -> None:
    """Close on harm, shut when blind, open one step on proof; else wait."""
    unharmed = go_back_on_harm(turn, release)
    if unharmed is None:
        return
    release = unharmed
    if release.paused and release.order is Order.RUN:
        release = _resume(turn, release)
    release, waits = heed_stuck(turn, _reset_fuse(turn, release))
    alarm = alarm_of(turn, release)
    if alarm is not None:
        retreat(turn, release, alarm)
    elif release.shut:
        reopen(turn, release)
    elif waits:
        return
    elif not release.settled:
        if undisturbed(turn):
            settled = turn.settle(release, f"{release.weight} % seen on the endpoint")
            add_span(turn, settled, settled=True, delay=release.plan.rollout.settle)
    elif release.baking:
        _bake(turn, release)
    else:
        _compare(turn, release)


def production(turn: Turn, release: Release) -> None:
    """Settle on traffic and alias both seen; confirm when the watch has ended without harm."""
    unharmed = go_back_on_harm(turn, release)
    if unharmed is None:
        return
    release = unharmed
    release, waits = heed_stuck(turn, _reset_fuse(turn, release))
    if waits:
        return
    if not release.settled:
        _settle_last(turn, release)
        return
    alarm, watch = alarm_of(turn, release), release.plan.rollout.watch
    if alarm is not None:
        release = journal(turn, release, alarm)
        turn.hold(release, alarm.because, needs_person=True, recounted=True)
        return
    watched = release.on_step >= watch and covered(release, watch)
    over = kept_by_limits(release) if watched else []
    doubted = watched and (over or suspected(release) or suspected_lately(release))
    if doubted and not overridden(release):
        _wait(turn, release, over)
        return
    word, freed = by_word(release), replace(release, hold=None)
    ends = watched and turn.may_advance(freed) and converged(turn)
    if doubted and not ends:
        return  # the word is of what it is held for
    release = turn.free(release)
    if ends:
        _confirm(turn, release, word)


def _settle_last(turn: Turn, release: Release) -> None:
    """Settle once the traffic and the alias were both seen; ask, where nobody can see the alias."""
    named, alias = desired_alias(turn.application), turn.application.spec.alias
    unread = (
        f"alias {alias} cannot be read, and is not moved unseen: the log says why "
        "(workspace.unseen)"
    )
    if undisturbed(turn) and named in (None, turn.world.alias):
        told = f"100 % and alias {alias} seen" if alias else "100 % seen"
        add_span(turn, turn.settle(release, told), settled=True)
    elif alias is not None and turn.world.alias is None and overdue(turn, release):
        turn.hold(release, unread, needs_person=True)
    elif turn.world.alias is not None and release.hold == unread:
        turn.free(release)


def _reset_fuse(turn: Turn, release: Release) -> Release:
    """Set the fuse anew where the counts by version tell of all that blew it, and blame nobody."""
    if not explained(release) or fuse_of(release) is None:
        return release
    return turn.put(release, **turn.set_fuse(release, release.weight))


def _resume(turn: Turn, release: Release) -> Release:
    """A person has looked: what was held goes on, with its patience and the step's proof anew."""
    release = turn.put(turn.free(release), undecided=timedelta(), paused=False)
    if release.shut or not release.settled:
        return release
    unsettled = release.spans[-1].starts_at - turn.world.now
    release = add_span(turn, release, settled=True, delay=max(unsettled, timedelta()))
    turn.tell("release.resumed", release, "resumed: the step's proof starts anew")
    return release


def _compare(turn: Turn, release: Release) -> None:
    """Open one step further once every deciding guard has shown safety on this step alone."""
    release, verdicts = _verdicts(turn, release)
    waiting = [one for one in verdicts if one.outcome is not Outcome.PASS]
    waiting = waiting or kept_by_limits(release)
    why, override = obstacle(release), overridden(release)
    if why is None and not waiting:
        why = _crowded(turn, release)
    if why is not None and not override:
        turn.hold(release, why[0], needs_person=why[1], recounted=True)
        return
    if override or (not waiting and not suspected(release)):
        _open_further(turn, release, verdicts)
    else:
        _wait(turn, release, waiting)


def _wait(turn: Turn, release: Release, waiting: Sequence[Verdict] = ()) -> None:
    """Stay on the step as long as patience lasts; then ask, or go back.

    What held it before has passed, unless it was found at this look. A person is asked once, as
    long as what they were told of is still not shown.
    """
    rollout = release.plan.rollout
    if release.undecided < rollout.patience:
        turn.free(release)
        return
    after = f"{UNDECIDED} {duration(rollout.patience)}: "
    if rollout.on_undecided == "roll_back":
        roll_back(turn, release, f"{after}{_undecided(waiting)}")
        return
    asked = tuple(f"{after}{one.guard}: " for one in waiting)
    if not waiting or suspected(release):
        asked = (*asked, f"{after}{SUSPECTED}")
    if not turn.stands(release) and not (release.hold or "").startswith(asked):
        turn.hold(release, f"{after}{_undecided(waiting)}", needs_person=True)


def _undecided(waiting: Sequence[Verdict]) -> str:
    """What keeps a step from being opened."""
    if not waiting:
        return SUSPECTED
    longest = max(waiting, key=lambda one: one.numbers.get("missing", math.inf))
    return f"{longest.guard}: {longest.because}"


def _verdicts(turn: Turn, release: Release) -> tuple[Release, list[Verdict]]:
    """What each guard says of this step, journalled; those that only observe decide nothing."""
    number, pace = release.spans[-1].number, turn.world.requests_per_second
    own = tuple(one for one in release.blocks if one.span == number and one.comparable)
    found: list[Verdict] = []
    for criterion in guards_of(release):
        verdict = no_worse(criterion, own, weight=release.weight, pace=pace, lag=lag_of(release))
        observed = {"observe": True} if criterion.observe else {}
        release = journal(
            turn, release, verdict, span=number, weight=release.weight, pace=pace, **observed
        )
        if not criterion.observe:
            found.append(verdict)
    full = observed_room(release)
    if full is not None:
        release = journal(turn, release, full, observe=True)
    return release, found


def _crowded(turn: Turn, release: Release) -> tuple[str, bool] | None:
    """Whether the next step's share of the peak would not fit the candidate's concurrency."""
    assert turn.endpoint is not None, "checked by go_on"
    room = turn.endpoint.concurrency.get(turn.application.entity(release.version))
    weight = release.plan.rollout.weight(release.step + 1)
    why = crowded(weight, turn.world.peak_concurrency, room)
    return None if why is None else (why, True)


def _open_further(turn: Turn, release: Release, verdicts: list[Verdict]) -> None:
    gate = opening_gate(turn, release)
    if gate is not None:
        hold_at(turn, release, gate)
        return
    release = turn.free(release)
    stayed = release.on_step >= release.plan.rollout.min_step or promoted(release) is not None
    if not stayed or not turn.may_advance(release) or not converged(turn):
        return
    shown = "; ".join(f"{one.guard}: {one.because}" for one in verdicts)
    weight, step = release.plan.rollout.weight(release.step + 1), release.step + 1
    told, fuses = f"{shown}{by_word(release)}; opens {weight} %", turn.set_fuse(release, weight)
    setting = fuses["before_whole"]
    if setting is not None and any(one is not None for one in setting.most):
        told += (
            "; errors came in bursts in the day before, which errors at 100 % must outlast to be "
            "blamed on it: rollout.hold_back would go on comparing"
        )
    stepped = turn.move(release, Trigger.STEP, told, step=step, **fuses)
    add_span(turn, stepped, settled=False)


def _bake(turn: Turn, release: Release) -> None:
    bake = release.plan.rollout.bake
    word = promoted(release)
    told_of = release.plan.proven or covered(release, bake)
    cut_short = word is not None and (word.override or glimpsed(release))
    baked = cut_short or (release.on_step >= bake and told_of)
    over = kept_by_limits(release) if baked else []
    if baked and (over or suspected(release)) and not overridden(release):
        _wait(turn, release, over)
        return
    gate = last_gate(turn, release) if baked else None
    if gate is not None:
        hold_at(turn, release, gate)
        return
    release = turn.free(release)
    if not baked or not turn.may_advance(release) or not converged(turn):
        return
    own = last_stay(release)
    shown = "; ".join(
        f"{one.guard}: {tell(one.telling, total(of_source(one, own)))}"
        for one in guards_of(release)
    )
    stay = release.on_step if cut_short else bake
    within = "" if over_its_limits(release) else " within its limits"
    held = f"{duration(stay)} at {release.weight} %{within}"
    # Users who were held back come now: from here on nothing is compared.
    last = turn.set_fuse(release, WHOLE) if release.weight < WHOLE else {}
    told = f"{held}: {shown or 'no source counts'}{by_word(release)}{consent(release)}"
    turn.move(release, Trigger.PROMOTE, told, **last)


def _confirm(turn: Turn, release: Release, word: str) -> None:
    """End the watch: this version is stable now, and the one before it is retired."""
    watched = duration(release.plan.rollout.watch)
    told = f"watched for {watched}{word or ' without harm'}: it is stable now"
    former = turn.application.newest(turn.application.incumbent)
    if turn.application.stable != release.version:
        turn.record(former=turn.application.stable)
    turn.record(stable=release.version, unproven=None)
    confirmed = turn.put(release, confirmed=True, because=told, tagged=False)
    turn.tell("release.confirmed", confirmed, told)
    if former is None or former.version == release.version:
        return
    if former.state.value == "Production":
        replaced = f"replaced by version {release.version}"
        turn.move(former, Trigger.RETIRE, replaced, ended_at=turn.world.now, weight_seen=0)
    else:
        turn.put(turn.free(former), ended_at=turn.world.now)
