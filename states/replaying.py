"""Replaying: what recorded requests, asked of both versions before any user, decide in Testing."""

from dataclasses import replace

from policies.replay import Batch, Drawn, Replay, Replayed, disturbed, environment, folded, leaning
from policies.replay_told import verdict
from policies.rollout import WHOLE
from policies.verdict import Outcome, Verdict
from policies.words import duration
from states.home import roll_back
from states.release import Release
from states.turn import Turn
from states.world import Endpoint

ENVIRONMENT = "on both versions: the environment is at fault"
"""How a hold ends for which no version can be blamed; golden queries that pass are its end too."""
FAILING = f"recorded requests that stable has answered fail {ENVIRONMENT}"
MASKED = "AI Gateway's fallback hides errors of what is replayed: switch fallback_config off"
REMEDY = "abort it, or set replay.on_undecided to go_on and restart the daemon"


def replayed(turn: Turn, release: Release) -> Release | None:
    """The release, once its replay lets it go on; None while it does not, or was its end."""
    settings, seen = release.plan.replay, release.replay
    if settings is None or not unreplayed(release):
        return release
    if release.hold is not None and release.hold.endswith(ENVIRONMENT) and release.hold != FAILING:
        release = turn.free(release)  # the golden queries', which pass by now
    if seen is None:
        turn.put(release, replay=Replayed(began=release.in_state))
        return None
    if masked(turn.endpoint):
        turn.hold(release, MASKED, needs_person=True)
        return None
    if release.hold == MASKED:
        release = turn.free(release)
    release = _taken_in(turn, release, settings, seen)
    seen = release.replay
    assert seen is not None, "it has begun"
    late = release.in_state - seen.began >= settings.within
    if late and seen.left:
        seen = replace(seen, why=f"{seen.asked:,} of {seen.drawn:,} in {duration(settings.within)}")
    found = verdict(settings.margins, seen)
    if found.outcome is Outcome.INSUFFICIENT and not late and (seen.left or seen.drawn is None):
        return None
    return _concluded(turn, release, seen, found)


def unreplayed(release: Release) -> bool:
    """Whether it is still to be replayed what its plan says."""
    done = release.replay is not None and release.replay.outcome is not None
    return release.pinned is not None and release.pinned.replay is not None and not done


def masked(endpoint: Endpoint | None) -> bool:
    """Another version may answer for one that fails: nothing that is replayed would tell of it."""
    return endpoint is not None and endpoint.fallback


def _taken_in(turn: Turn, release: Release, settings: Replay, seen: Replayed) -> Release:
    """Fold what this look brings; hold while the environment fails."""
    brought = turn.world.replay
    if isinstance(brought, Drawn) and seen.drawn is None:
        drawn, now = len(brought.requests), turn.world.now
        seen = replace(seen, drawn=drawn, drawn_at=now, left=brought.requests, why=brought.why)
        release = turn.put(release, replay=seen)
        over = duration(settings.over)
        told = f"{drawn:,} of stable's requests of the last {over} are replayed"
        turn.tell("replay.started", release, brought.why or told, drawn=drawn)
    elif isinstance(brought, Batch) and seen.left:
        before = seen.asked
        seen = folded(seen, brought)
        release = turn.put(release, replay=seen)
        if environment(brought):
            return turn.hold(release, FAILING)
        if release.hold == FAILING:
            release = turn.free(release)
        if seen.asked > before:
            told = f"{seen.asked:,} of {seen.drawn:,} recorded requests are replayed"
            turn.tell(
                "replay.batch", release, told, asked=seen.asked, drawn=seen.drawn, pairs=seen.pairs
            )
    return release


def _concluded(turn: Turn, release: Release, seen: Replayed, found: Verdict) -> Release | None:
    """Write the verdict down; one of harm ends the release."""
    seen = replace(seen, left=(), again=(), outcome=found.outcome, because=found.because)
    release = turn.put(release, replay=seen)
    if release.hold == FAILING:
        release = turn.free(release)
    turn.tell(
        "replay.finished",
        release,
        found.because,
        level="info" if found.outcome is Outcome.PASS else "warning",
        verdict=found.outcome.value,
        guard=found.guard,
        worst=[{"request": one.request, "why": one.why} for one in seen.worst],
        **found.numbers,
    )
    if found.outcome is Outcome.FAIL:
        roll_back(turn, release, found.because)
        return None
    return release


def unproven(turn: Turn, release: Release) -> str | None:
    """Why an undecided replay keeps a release from opening; None where it does not.

    Where a step compares, users' own requests decide; where none does, the replay was to. One that
    tells of a failing environment, or more likely of harm than not, opens nothing.
    """
    settings, seen = release.plan.replay, release.replay
    if settings is None or seen is None or seen.outcome is Outcome.PASS:
        return None
    today = turn.application.spec.replay or settings
    if today.on_undecided == "go_on":
        return None
    compares = release.steps[0] < WHOLE
    if compares and not disturbed(seen) and not leaning(settings.margins, seen):
        return None
    if compares:
        return f"{seen.because}; {REMEDY}"
    return f"{seen.because}, and no step below {WHOLE} % will decide it: {REMEDY}"


def undecided_rolls_back(turn: Turn, release: Release) -> bool:
    """Whether the configuration of today says to go back then."""
    today = turn.application.spec.replay or release.plan.replay
    return today is not None and today.on_undecided == "roll_back"
