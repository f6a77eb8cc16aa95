"""A version on its staging endpoint: tested where no user is, before production has it.

All of it happens within Provisioning. Once its golden queries have passed here, the version is
provisioned on the production endpoint, and tested there again.
"""

from dataclasses import replace
from datetime import timedelta

from policies.golden import Finding, Round
from policies.golden import judge as judge_golden
from policies.words import duration
from states.home import overdue, roll_back
from states.plan import CreateStaging, RemoveStaging
from states.release import Order, Release
from states.resending import WINDOW
from states.rounds import how_far, taken_in, told_round, with_table
from states.staging import (
    asking_there,
    attempt_of,
    made_for,
    ours,
    rounds_there,
    served,
    tries,
    undisputed,
)
from states.turn import Turn
from states.world import Absent, Endpoint


def rehearse(turn: Turn, release: Release) -> None:
    """Test a version on its staging endpoint; once it passes, the production endpoint gets it."""
    pinned = release.plan
    name, limit = pinned.staging, pinned.provisioning_deadline + pinned.testing_deadline
    if release.in_state >= limit:
        why = f"not through its tests on staging endpoint {name} after {duration(limit)}"
        roll_back(turn, release, f"{why}{how_far(asking_there(turn.application))}")
        return
    undeployed = _undeployed(turn, release)
    if undeployed is not None:
        roll_back(turn, release, undeployed)
        return
    planned = with_table(turn, release)
    if planned is None:
        return
    release = planned
    finding, because = _tested(turn, release)
    if finding is Finding.FAIL:
        roll_back(turn, release, f"staging endpoint {name}: {because}")
    elif finding is Finding.PASS:
        _pass(turn, release, because)
    elif turn.world.staging is not None:
        _wait(turn, release, because if finding is Finding.ENVIRONMENT else None)


def _own(turn: Turn, release: Release) -> Endpoint | None:
    """The staging endpoint that was made for this release, as seen."""
    seen = turn.world.staging
    if not isinstance(seen, Endpoint) or not ours(turn.application, seen):
        return None
    return seen if made_for(seen) == attempt_of(release) else None


def _undeployed(turn: Turn, release: Release) -> str | None:
    """What became of its staging endpoint, if Databricks could not deploy it."""
    seen, entity = _own(turn, release), turn.application.entity(release.version)
    if seen is None or seen.updating or not (entity in seen.failed or seen.update_failed):
        return None
    told = f"Databricks could not deploy {entity} on staging endpoint {release.plan.staging}"
    return f"{told}: its build and service logs say why"


def _tested(turn: Turn, release: Release) -> tuple[Finding, str]:
    """What the golden queries say so far."""
    known, asked = turn.application.staging, turn.world.round
    if known is not None and asked is not None:
        rounds, asking = taken_in(known.rounds, asked)
        known = replace(known, rounds=rounds, asking=asking)
        turn.record(staging=known)
    if known is None or not isinstance(asked, Round):
        return judge_golden(rounds_there(turn.application))
    return told_round(turn, release, known.rounds, known.endpoint)


def _pass(turn: Turn, release: Release, because: str) -> None:
    """Let the production endpoint have it, which nothing may then stand in the way of."""
    release = _freed(turn, release)
    if release.order is not Order.RUN or release.hold or not undisputed(turn, release):
        return
    passed = turn.put(release, staged=True, in_state=timedelta())
    told = f"{because} on staging endpoint {release.plan.staging}"
    turn.tell("staging.passed", passed, told, endpoint=release.plan.staging)


def _wait(turn: Turn, release: Release, environment: str | None) -> None:
    """Hold while something stands in the way, and say what."""
    why, asks = _obstacle(turn, release) or (environment, overdue(turn, release))
    if why is None:
        _freed(turn, release)
        return
    told = f"{_sign(release)}{why}"
    if release.hold is None or release.hold.startswith(_sign(release)):
        turn.hold(release, told, needs_person=asks, recounted=True)


def _sign(release: Release) -> str:
    """How every hold of this stage begins."""
    return f"staging endpoint {release.plan.staging}: "


def _freed(turn: Turn, release: Release) -> Release:
    """The release without a hold of this stage."""
    ours = release.hold is not None and release.hold.startswith(_sign(release))
    return turn.free(release) if ours else release


def _obstacle(turn: Turn, release: Release) -> tuple[str, bool] | None:
    """Why nothing can be tested there, and whether a person must act."""
    application, seen = turn.application, turn.world.staging
    if isinstance(seen, Absent):
        many = tries(turn, CreateStaging.kind)
        told = (
            f"it is not there, although it was asked for {many} times within {duration(WINDOW)}: "
            "the log says what the workspace answered (call.failed); it is asked for again, more "
            "slowly"
        )
        return (told, True) if many else None
    assert seen is not None, "checked by rehearse"
    if not ours(application, seen):
        told = (
            "one of this name is there that Headgate did not make: delete it, or abort this "
            "release and name another one in staging.endpoint"
        )
        return told, True
    own = _own(turn, release)
    if own is None:
        many = tries(turn, RemoveStaging.kind)
        told = f"it was made for {made_for(seen)}, and cannot be removed: delete it by hand"
        return (told, True) if many else None
    changed = own.serving.shares and own.serving != served(application, release)
    if changed and not own.updating:
        return "it was changed by someone else: delete it, and it is made anew", True
    return None
