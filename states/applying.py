"""`headgate apply`: one change in place of the version that serves, and the watch over it.

It is the one update that nothing is compared with: the version is its own past. So the endpoint's
error rate is held against the hour before, as in a bake; and where that shows harm, the former size
is put back, as far as it is known, and a person is asked.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from policies.fuse import MINUTE, Minute, blown, fuse
from policies.rollout import WHOLE
from policies.words import duration, percent
from states.clock import shown_by
from states.desired import desired
from states.given import note_sent, record_upkeep, tries
from states.home import converged
from states.machine import State
from states.plan import Apply
from states.release import Application
from states.resending import FRESH, LAST_WAIT, spent
from states.setup import Applying, Wish
from states.spec import Spec
from states.turn import Turn
from states.world import Endpoint, Serving

EDITED = "serving.environment was edited"
BEFORE_ALL = (State.PROVISIONING, State.TESTING, State.CANARY)
"""States from which a release goes on by further changes of the endpoint."""
SILENT = timedelta(minutes=10)
"""Longest that the endpoint's minutes may be behind the watch."""


def apply(turn: Turn) -> None:
    """Take up what a person asked for, see it come into effect, and watch it."""
    note_sent(turn)
    if turn.unseen:
        return
    wish = turn.application.wish
    if wish is not None and wish.number > turn.application.upkeep.applied:
        _take_up(turn, wish)
    one, endpoint = turn.application.upkeep.applying, turn.endpoint
    if one is not None and one.version != turn.application.incumbent:
        record_upkeep(turn, applying=None)
        gone = f"version {one.version} serves no more: what was applied to it is watched no further"
        turn.tell("apply.finished", turn.shown, gone)
        return
    if one is None or endpoint is None or turn.application.change is not None:
        return
    if one.seen_at is None:
        _follow(turn, one, endpoint)
    else:
        _watch(turn, one)


def refusal(application: Application) -> str | None:
    """Why nothing can be applied, as far as the record tells; None if it can."""
    name, live, upkeep = application.name, application.live, application.upkeep
    if live is not None:
        return f"{live.key} is under way: wait until it has ended, or abort it"
    if application.incumbent is None or not application.adopted:
        return f"no version of {name} serves yet: its first release is set up as configured"
    if upkeep.applying is not None:
        return f"what was applied to version {upkeep.applying.version} before is still watched"
    mended = application.hold == upkeep.stuck or (application.hold or "").startswith(EDITED)
    if application.hold is not None and not mended:
        return f"{name} is held: {application.hold}"
    return None


def undeclared(application: Application) -> str | None:
    """A change would replace variables that nobody knows; None where they are known."""
    if application.ours or application.spec.environment_declared:
        return others_undeclared(application.spec, application.carried)
    return (
        f"serving.environment of {application.name} is not declared: Databricks does not show the "
        "variables of a running endpoint, and a change replaces them; state them, or "
        "`environment: none`"
    )


def others_undeclared(spec: Spec, serving: Serving) -> str | None:
    """A change would drop variables of other models' entities; None where there are none.

    What points at a secret is shown, and sent back; and only versions of registered models have
    variables at all.
    """
    others = [
        name for name, one in serving.shares.items() if one.model != spec.model and one.version
    ]
    if not others or spec.others_declared:
        return None
    return (
        f"endpoint {spec.endpoint} has entities of other models ({', '.join(sorted(others))}): "
        "Databricks does not show their variables in plain text, and a change drops them; state "
        "`serving.others_environment: none` if they have none, or take them off the endpoint"
    )


def edited(application: Application) -> str | None:
    """What to do about variables that were edited since they were given; None where they were not.

    Every change of an endpoint replaces the variables of all its versions.
    """
    given, wanted = application.upkeep.variables, application.spec.setup.variables
    live = application.live
    if given == wanted or application.incumbent is None:
        return None
    if live is not None and live.state not in BEFORE_ALL:
        return None  # no more changes of the endpoint, or home, which nothing may stop
    if given is None:
        return undeclared(application) if live is not None else None
    return (
        f"{EDITED} since the running version was given its variables, which any "
        f"change would replace: put them back, or let `headgate apply {application.name}` do it "
        "while no release is under way, and watch it"
    )


def call(turn: Turn) -> Apply | None:
    """The call that is wanted for it now."""
    one, wanted = turn.application.upkeep.applying, desired(turn.application)
    endpoint = turn.endpoint
    if one is None or one.seen_at is not None or endpoint is None or wanted is None:
        return None
    if endpoint.updating or endpoint.serving != wanted or turn.application.change is not None:
        return None
    names = turn.application.spec.setup.variables.names
    entity = turn.application.entity(one.version)
    return Apply(wanted, entity, one.size, names, endpoint.id)


def _take_up(turn: Turn, wish: Wish) -> None:
    application, endpoint = turn.application, turn.endpoint
    record_upkeep(turn, applied=wish.number)
    setup, version = application.spec.setup, application.incumbent
    why = refusal(application) or undeclared(application)
    if why is None and wish != Wish.of(setup, wish.number):
        why = (
            "the daemon runs with another configuration than the one that was shown: restart it "
            "with the edited file, and apply again"
        )
    if why is None and not converged(turn):
        why = f"endpoint {application.spec.endpoint} is being changed: apply once it is at rest"
    if why is not None or endpoint is None or version is None:
        turn.tell("order.refused", turn.shown, f"cannot apply: {why}", level="warning")
        return
    former = endpoint.sizes.get(application.entity(version))
    size = setup.sized(former)
    same = former is not None and former.same_as(size)
    record_upkeep(turn, stuck=None)
    if same and application.upkeep.variables == setup.variables:
        turn.tell("apply.finished", turn.shown, f"version {version} runs as configured already")
        return
    told = f"version {version} is given {size}, and its variables as configured"
    turn.tell("apply.started", turn.shown, told)
    record_upkeep(
        turn,
        applying=Applying(
            version=version,
            size=size,
            former=former,
            over=application.config_version,
            asked_at=turn.world.now,
        ),
    )


def _follow(turn: Turn, one: Applying, endpoint: Endpoint) -> None:
    """Wait until the endpoint has taken it; say so, where it does not."""
    application, entity = turn.application, turn.application.entity(one.version)
    calls, taken = tries(application, one), one.sent
    size = endpoint.sizes.get(entity)
    sized = size is None or size.same_as(one.size)
    if taken and endpoint.config_version > one.over and converged(turn) and sized:
        _seen(turn, one, endpoint)
        return
    failed = taken and endpoint.failed_to_take(desired(application) or Serving())
    told = bool(calls) and calls[-1].outcome == "done" and turn.world.now - calls[-1].at >= FRESH
    limit = application.spec.provisioning_deadline
    asked = call(turn)
    tired = bool(calls) and turn.world.now - calls[-1].at >= LAST_WAIT
    if failed and (told or not calls):
        _stop(turn, one, "Databricks could not update the endpoint: its event log says why")
    elif turn.world.now - one.asked_at >= limit:
        _stop(turn, one, f"not in effect after {duration(limit)}")
    elif asked and tired and spent(application, asked.kind, asked.target, turn.world.now):
        _stop(turn, one, "it was asked for again and again, and the workspace does not take it")


def _seen(turn: Turn, one: Applying, endpoint: Endpoint) -> None:
    """It is in effect: from here on the endpoint is watched."""
    application = turn.application
    turn.tell(
        "endpoint.update",
        turn.shown,
        f"version {one.version} runs with {one.size}, and with its variables as configured",
        weights={name: share.weight for name, share in sorted(endpoint.serving.shares.items())},
        size=str(one.size),
        variables=list(application.spec.setup.variables.names),
        config_version=endpoint.config_version,
    )
    if one.back is not None:
        _hold(turn, f"{one.back}; {one.size} is back")
        return
    minutes, now = application.minutes, turn.world.now
    setting = fuse(minutes, shown_by(minutes, turn.world.ahead or timedelta(), now), WHOLE)
    record_upkeep(turn, applying=replace(one, seen_at=now, fuse=setting))


def _watch(turn: Turn, one: Applying) -> None:
    """Hold the endpoint's errors against the hour before, for as long as a bake takes."""
    assert one.seen_at is not None, "it is in effect"
    bake, watched = turn.application.spec.rollout.bake, turn.world.now - one.seen_at
    minutes = _since(turn, one)
    verdict = blown(one.fuse, minutes) if one.fuse is not None else None
    if verdict is not None and one.fuse is not None:
        _harmed(turn, one, minutes)
        return
    covered = one.fuse is None or (bool(minutes) and minutes[-1].ends_at >= one.fuse.set_at + bake)
    if watched >= bake and covered:
        record_upkeep(turn, applying=None)
        counted = _counted(minutes) if minutes else "its metrics told of no request"
        told = f"watched for {duration(bake)}: {counted}"
        turn.tell("apply.finished", turn.shown, f"version {one.version} runs as applied, {told}")
    elif watched >= bake + SILENT:
        _stop(turn, one, "the endpoint's metrics fell silent: nobody knows how it does since")


def _harmed(turn: Turn, one: Applying, minutes: Sequence[Minute]) -> None:
    """Put the former size back, where it is known and another one; variables are not known."""
    assert one.fuse is not None, "nothing is harm without it"
    why = (
        f"after `apply` to version {one.version}, {_counted(minutes)}; the hour before it permits "
        f"{percent(one.fuse.permitted)}"
    )
    turn.tell("fuse.blown", turn.shown, why, level="warning")
    if one.former is None or one.former.same_as(one.size):
        _hold(turn, f"{why}: put serving.environment right, and apply again")
        return
    _hold(turn, f"{why}: {one.former} is put back; its variables stay as configured")
    back = replace(one, size=one.former, former=None, over=turn.application.config_version)
    back = replace(back, asked_at=turn.world.now, sent=False, seen_at=None, fuse=None, back=why)
    record_upkeep(turn, applying=back)


def _stop(turn: Turn, one: Applying, why: str) -> None:
    """Give up: what the version runs with now is for a person to find out."""
    what = f"{one.size} could not be put back" if one.back else "`apply` has failed"
    held = f"{one.back}; {what}: {why}" if one.back else f"{what}: {why}"
    record_upkeep(turn, variables=None)
    _hold(turn, f"{held}; mend it, and `headgate apply {turn.application.name}` again")


def _hold(turn: Turn, why: str) -> None:
    record_upkeep(turn, applying=None, stuck=why)
    turn.hold_application(why, event="release.held")


def _since(turn: Turn, one: Applying) -> list[Minute]:
    """The endpoint's whole minutes since it was in effect; all, where none had requests before."""
    minutes = turn.application.minutes
    if one.fuse is None:
        return list(minutes)
    first = one.fuse.set_at + MINUTE
    return [minute for minute in minutes if minute.ends_at >= first]


def _counted(minutes: Sequence[Minute]) -> str:
    requests = sum(one.requests for one in minutes)
    errors = sum(min(one.errors, one.requests) for one in minutes)
    share = percent(errors / requests) if requests else "none"
    return f"{errors:,} of {requests:,} requests to the endpoint failed ({share})"
