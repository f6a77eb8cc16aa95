"""What a command can do to a release as the record has it: done, or refused with a sentence."""

from policies.golden import Finding
from policies.golden import judge as judge_golden
from policies.judge import no_worse
from policies.verdict import Outcome
from states.canary import SUSPECTED, UNDECIDED
from states.climb import MASKED
from states.consent import Verb
from states.gates import HELD, SHUT, gated
from states.judging import (
    blindness,
    glimpsed,
    guards_of,
    kept_by_limits,
    lag_of,
    last_stay,
    obstacle,
    suspected,
)
from states.machine import State
from states.quarantine import quarantined
from states.release import Application, Order, Release
from states.replaying import unreplayed
from states.shutting import still_shut
from states.stuck import held_up

UNTOLD = "nothing has counted yet what a step would need at least of its bake"


TYPED = {Order.PAUSE: "pause", Order.RUN: "resume", Order.ABORT: "abort"}
"""What operators type to give each order."""


def order_refusal(release: Release, order: Order) -> str | None:
    """Why a release that is under way, or waits, cannot be paused, resumed or aborted; or None.

    An abort is not taken back by what comes after it, nor does anything but the world end the way
    home.
    """
    said = f"cannot {TYPED[order]} {release.key}"
    if release.state is State.ROLLED_BACK:
        return f"{said}: it is on its way home already"
    if release.order is Order.ABORT and order is not Order.ABORT:
        anew = "release" if release.state is State.REGISTERED else "retry"
        return (
            f"{said}: it is aborted, which nothing takes back; `headgate {anew} {release.key}` "
            "begins another attempt once that is done"
        )
    if order is Order.RUN and release.order is Order.RUN and release.hold is not None:
        return f"{said}: it is not paused, but held for something else: {release.hold}"
    return None


def ordered(release: Release, order: Order) -> str:
    """What an order will do to a release, once it is looked at next."""
    match order:
        case Order.RUN:
            return _resumed(release)
        case Order.PAUSE:
            return f"is paused: {_PAUSED.get(release.state, RISES)} until `headgate resume`"
        case Order.ABORT if release.state is State.REGISTERED:
            return "is aborted: it does not begin, and is retired with the next look"
        case Order.ABORT if release.state is State.ROLLED_BACK:
            return "is aborted: it is on its way home"
        case Order.ABORT:
            home = release.pinned.incumbent if release.pinned is not None else None
            if home is None:
                return "is aborted, with the next look; there is nothing to go back to"
            return "is aborted: it goes back with the next look"


def _resumed(release: Release) -> str:
    if release.order is Order.RUN:
        return "is not paused, and goes on by itself"
    # In Canary whoever resumes has looked at what held it, too.
    if release.hold is None or release.state is State.CANARY:
        return "goes on"
    return f"is not paused any more, and is held: {release.hold}"


RISES = "its exposure does not rise"
_PAUSED = {
    State.REGISTERED: "it does not begin",
    State.PRODUCTION: "its watch does not end",
}


def approve_refusal(release: Release) -> str | None:
    """Why there is nothing to approve; None where a person is asked."""
    if release.order is Order.ABORT:
        return f"cannot approve {release.key}: it is aborted"
    if release.ask is not None:
        return _void_after_pause(release)
    told = f"is held for something else: {release.hold}" if release.hold else _doing(release)
    return f"nothing of {release.key} waits for approval: it {told}"


def _void_after_pause(release: Release) -> str | None:
    """A bake that was paused begins anew, and is asked about then: a word on this one is void."""
    if release.order is not Order.PAUSE or release.state is not State.CANARY:
        return None
    return (
        f"cannot approve {release.key}: it is paused, and its bake begins anew with `headgate "
        "resume`, which is what is asked about then"
    )


def promote_refusal(application: Application, release: Release, *, override: bool) -> str | None:
    """Why a release cannot go one step further by a person's word; None where it can."""
    why = _immovable(application, release) or _nowhere(release, override=override)
    if why is None and not override:
        missing = unproven(release)
        if missing:
            why = f"{'; '.join(missing)}; `--override` goes past that, and says so in the log"
    return None if why is None else f"cannot promote {release.key}: {why}"


def _immovable(application: Application, release: Release) -> str | None:
    """What no word of `promote` goes past."""
    if release.state is State.ROLLED_BACK:
        return "it was rolled back: `headgate retry` begins another attempt"
    if release.order is Order.ABORT:
        return "it is aborted"
    if release.order is Order.PAUSE:
        return "it is paused: `headgate resume` it first"
    if application.hold is not None:
        return application.hold
    other = release.hold == MASKED or quarantined(release) or held_up(release)
    if release.ask is not None or other:
        return f"it waits for something else: {release.hold}"
    return HELD if release.signs.hold else _unwatched(application, release)


def _unwatched(application: Application, release: Release) -> str | None:
    """A word given now would wait until somebody could see the version, and see it fail."""
    if release.unlisted:
        return "its version is not in the registry's list: it is looked for once more"
    if release.state is not State.CANARY or not release.spans or application.looked_at is None:
        return None
    blind = blindness(release, application.looked_at)
    return None if blind is None else f"nobody would see it fail: {blind.because}"


def _nowhere(release: Release, *, override: bool) -> str | None:
    """Why there is no next step to open from here."""
    match release.state:
        case State.REGISTERED if not (release.hold or "").startswith(SHUT):
            return f"it has not begun: {release.hold or 'it waits for its turn'}"
        case State.PROVISIONING:
            return "its served entity is not ready yet"
        case State.TESTING:
            return _untested(release)
        case State.PRODUCTION if not (release.hold or "").startswith(UNDECIDED):
            return "it has all users and the alias; the watch only keeps the way back ready"
        case State.CANARY if release.shut and not override:
            itself = not release.needs_person or gated(release) or still_shut(release)
            opens = "it opens again by itself, or" if itself else "only a person opens it again:"
            return f"its gate is shut: {release.because}; {opens} `--override`"
        case _:
            return None


def _untested(release: Release) -> str | None:
    """What a version is still to be asked before anything opens, whoever says so."""
    finding, _ = judge_golden(release.rounds)
    if release.plan.tests_table is not None:
        why = "its golden queries are not read yet"
    elif finding not in (Finding.PASS, Finding.ENVIRONMENT) or release.hold is None:
        why = "its golden queries are being asked: it opens by itself once they pass"
    elif finding is Finding.PASS and unreplayed(release):
        why = "recorded requests are still to be replayed"
    else:
        return None
    return f"{why}: {release.hold}" if release.hold else why


def unproven(release: Release) -> list[str]:
    """What an override goes past: a hold, and what the guards have not shown on this step."""
    found = [f"it is held: {release.hold}"] if release.hold else []
    if release.state is not State.CANARY:
        return found
    if release.shut:
        return [*found, f"its gate is shut: {release.because}"]
    if suspected(release):
        found.append(SUSPECTED)
    if not release.spans:
        return found
    found += [f"{one.guard}: {one.because}" for one in kept_by_limits(release)]
    if release.baking:
        return found if glimpsed(release) else [*found, UNTOLD]
    why = obstacle(release)
    found += [why[0]] if why is not None and why[0] != release.hold else []
    own = tuple(one for one in last_stay(release) if one.comparable)
    for guard in guards_of(release):
        if guard.observe:
            continue
        verdict = no_worse(guard, own, weight=release.weight, pace=None, lag=lag_of(release))
        if verdict.outcome is not Outcome.PASS:
            found.append(f"{guard.guard}: {verdict.because}")
    return found


def begin_refusal(
    application: Application, version: str, verb: Verb, state: State | None
) -> str | None:
    """Why a version cannot be released by command; `state` is its newest attempt's, if any."""
    key, live = f"{application.name}/{version}", application.live
    if not application.adopted:
        return f"cannot {verb} {key}: {application.hold or 'the endpoint was not looked at yet'}"
    if live is not None and live.version == version:
        told = "it is on its way home: wait until it is there"
        if live.state is not State.ROLLED_BACK:
            told = f"it is under way already, in {live.state.value}"
        return f"cannot {verb} {key}: {told}"
    if version == application.stable:
        return f"cannot {verb} {key}: it is stable, and has the users already"
    if verb == "retry" and state is not State.ROLLED_BACK:
        told = f"it is {state.value}" if state is not None else "it was never released"
        return f"cannot retry {key}: {told}; `headgate release {key}` begins an attempt"
    return None


def undo_refusal(application: Application) -> str | None:
    """Why there is nothing to go back to; None where a release can be aborted or undone."""
    live, name = application.live, application.name
    if live is not None:
        if live.state is State.ROLLED_BACK:
            return f"cannot undo {name}: {live.key} is on its way home already"
        return None
    if application.former is None:
        return (
            f"cannot undo {name}: the record does not tell which version was stable before "
            f"{application.stable or 'any'}; `headgate release {name}/VERSION` takes one that you "
            "name"
        )
    return None


def _doing(release: Release) -> str:
    if release.state is State.CANARY and release.baking:
        return "bakes, and asks once that has ended"
    return f"is in {release.state.value}"
