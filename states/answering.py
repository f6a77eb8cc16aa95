"""A person's answer to a change by others: adopt the world as it is found, or put it back.

An answer is for the change that was shown: when the world has changed again since, it is void.
"""

from dataclasses import replace

from policies.rollout import WHOLE
from states.adoption import take_as_stable
from states.applying import others_undeclared, undeclared
from states.desired import closed, desired, desired_alias, exposure
from states.difference import Change
from states.home import add_span, roll_back
from states.machine import State, Trigger
from states.release import Application, Release
from states.resending import KNOWN, NAMED, REST
from states.room import kept
from states.turn import Turn
from states.world import Serving, Share


def answer(turn: Turn) -> None:
    """Do what a person said to the change that is shown; say why, where it cannot be done."""
    change, given = turn.application.change, turn.application.answer
    if change is None or given is None or given.difference != change.key:
        return
    why = refusal(turn.application, given.answer) or _undeclared(turn, given.answer)
    if why is not None:
        held = turn.application.hold or ""
        if why not in held:
            turn.hold_application(f"{held}; cannot {given.answer}: {why}")
        return
    told = "; ".join(change.difference)
    if given.answer == "adopt":
        _adopt(turn, change)
        told = f"adopted as it was found: {told}"
    else:
        carried = turn.application.carried.shares
        _revert(turn, change)
        told = f"is put back, as ordered: {told}"
        if lost := sorted(carried.keys() - turn.application.carried.shares.keys()):
            told += f"; not so what others had on it, and only they know how: {', '.join(lost)}"
    turn.record(change=None)
    turn.free_application(told)


def refusal(application: Application, word: str) -> str | None:
    """Why an answer to the change that is shown cannot be done, with the remedy; None if it can."""
    change = application.change
    assert change is not None, "there is something to answer"
    if word == "adopt":
        return _contradiction(application, change)
    if change.moved and desired(application) is None:
        return "Headgate wants nothing of that endpoint yet: adopt it, or delete it by hand"
    if change.moved or change.fallback or (change.alias and not change.registry):
        return None
    return "a deleted version cannot be brought back: adopt it, and release another version"


def strays(application: Application) -> dict[str, int]:
    """Versions that others gave more users than the record does, and the percentage they have.

    Without the one under way, whose users an abort takes home. Of any other nobody but a person's
    answer takes them.
    """
    change, live = application.change, application.live
    if change is None or not change.moved or change.serving is None:
        return {}
    wanted, found = desired(application) or Serving(), change.serving
    versions = {one.version for one in _weighed(found) if one.model == application.spec.model}
    return {
        version: exposure(application, version, found)
        for version in sorted(versions, key=lambda one: (len(one), one))
        if exposure(application, version, found) > exposure(application, version, wanted)
        and (live is None or live.version != version)
    }


def _undeclared(turn: Turn, word: str) -> str | None:
    """A change of the endpoint replaces its variables, which nobody can read there."""
    application, change = turn.application, turn.application.change
    if change is None or not change.moved:
        return None
    if word == "revert":
        return undeclared(application)
    # Whoever is on trial goes on after `adopt` too, and what is kept goes later: further changes.
    if application.live is None and not kept(application):
        return None
    own = undeclared(application) if application.live and change.of_another else None
    return own or others_undeclared(application.spec, change.serving or Serving())


def _contradiction(application: Application, change: Change) -> str | None:
    """What keeps the world as found from being written down as it is."""
    serving, alias = change.serving, application.spec.alias
    if serving is None:
        return None
    why = _inexpressible(application, serving)
    if why is not None:
        return why
    version = _newly_stable(application, serving)
    if version is not None and change.named not in (None, version):
        return (
            f"alias {alias} names version {change.named}, but version {version} has 100 % of "
            f"{application.spec.endpoint}: point the alias or the traffic at the other"
        )
    return None if version is not None or not change.alias else _misnamed(application, change)


def _misnamed(application: Application, change: Change) -> str | None:
    """What keeps the alias from staying where it was found; None where it is to name no other.

    A version that was deleted is named by no alias again, once a person has told so.
    """
    told, named = "; ".join(change.alias), desired_alias(_without_lost(application, change))
    if change.registry:
        if named is None:
            return None
        return f"{told}, and version {named} has the users: point alias and traffic at one version"
    return (
        f"{told}, and version {named or application.incumbent} has the users: revert, or point "
        "alias and traffic at one version; an application without an alias says `alias: none`"
    )


def _without_lost(application: Application, change: Change) -> Application:
    """The record with a person's word that the version which is shown as deleted is gone."""
    lost = application.incumbent
    if not change.registry or lost is None:
        return application
    return replace(application, deleted=(*application.deleted, lost))


def _inexpressible(application: Application, serving: Serving) -> str | None:
    """Why the traffic as found is nothing that a record can say."""
    live, incumbent = application.live, application.incumbent
    model, name = application.spec.model, application.spec.endpoint
    if closed(application, serving) is not None:
        assert live is not None, "a closed version is live"
        return f"version {live.version} was closed to users, and is taken from them first"
    if live is not None and live.state is not State.ROLLED_BACK and incumbent is not None:
        weight = exposure(application, live.version, serving)
        if weight > live.weight:
            return (
                f"version {live.version} is on trial and has {weight} % of users where its step "
                f"has {live.weight} %, which nothing has proven: revert, or lower it by hand"
            )
    if _newly_stable(application, serving) is not None:
        return None
    if _shares(serving) != _shares(desired(application) or Serving()):
        return f"it serves {serving}: put one version of {model} to {WHOLE} % of {name}, or revert"
    served = {one.version for one in serving.shares.values() if one.model == model}
    if incumbent is not None and incumbent not in served:
        return f"version {incumbent}, which users go back to, is not on {name}: revert"
    return None


def _shares(serving: Serving) -> list[tuple[str, str, int]]:
    """Who gets users, whatever the names."""
    return sorted((one.model, one.version, one.weight) for one in _weighed(serving))


def _weighed(serving: Serving) -> list[Share]:
    return [one for one in serving.shares.values() if one.weight]


def _newly_stable(application: Application, serving: Serving) -> str | None:
    """The version that has everybody although the record gives them to another."""
    whole = [one for one in _weighed(serving) if one.weight == WHOLE]
    if not whole or whole[0].model != application.spec.model:
        return None
    wanted = {share.version for share in _weighed(desired(application) or Serving())}
    version = whole[0].version
    return None if version in wanted | {application.incumbent} else version


def _adopt(turn: Turn, change: Change) -> None:
    """Write down what is there: another stable version, entities to carry, or nothing at all."""
    if change.serving is None:
        _begin_anew(turn, change)
        return
    version = _newly_stable(turn.application, change.serving)
    if version is None:
        turn.application = _without_lost(turn.application, change)
    if version is not None:
        _enthrone(turn, version)
    _take_entities(turn, change.serving)
    turn.record(
        seen=change.serving, seen_alias=change.named, seen_alias_of=turn.application.spec.alias
    )
    _accept(turn)
    _know_asked(turn, change)
    turn.record(fallback=turn.application.fallback or change.fallback)


def _know_asked(turn: Turn, change: Change) -> None:
    """What was asked for earlier is over, unless it may yet come: who sets it again is another."""
    application, now = turn.application, turn.world.now
    newer = application.config_version > application.asked_over or change.of_another
    if change.moved and newer:
        turn.record(asked=None, asked_over=-1, followed={**application.followed, KNOWN: now})
    if change.alias:
        turn.record(asked_alias=None, followed={**turn.application.followed, NAMED: now})


def _enthrone(turn: Turn, version: str) -> None:
    """A person gave everybody another version: it is stable, as at adoption."""
    former, live = turn.application.newest(turn.application.incumbent), turn.application.live
    turn.record(former=turn.application.stable, stable=version, unproven=None)
    if live is not None and live.state is not State.ROLLED_BACK:
        roll_back(turn, live, f"version {version} was given its users by hand, and adopted")
    _retire(turn, former, f"replaced by version {version}, by hand")
    take_as_stable(turn, version)


def _retire(turn: Turn, former: Release | None, because: str) -> None:
    """The version that had the users is replaced; one without proof stays rolled back."""
    if former is None or former.live:
        return
    if former.state is State.PRODUCTION:
        turn.move(former, Trigger.RETIRE, because, ended_at=turn.world.now, weight_seen=0)
    else:
        turn.put(turn.free(former), ended_at=turn.world.now)


def _take_entities(turn: Turn, serving: Serving) -> None:
    """Names as found; entities at 0 % that are nobody's are carried, missing ones given up."""
    model = turn.application.spec.model
    found: dict[str, str] = {}
    for name, share in sorted(serving.shares.items(), key=lambda one: one[1].weight):
        own = found.get(share.version) == turn.application.entity(share.version)
        if share.model == model and (share.weight or not own):
            found[share.version] = name
    for release in turn.application.releases:
        wanted = release.ended_at is not None and not release.removed
        if wanted and release.version not in found:
            turn.put(release, removed=True)
    live = turn.application.live
    if live is not None and live.version not in found and live.state is not State.PROVISIONING:
        if live.state is not State.ROLLED_BACK:
            live = roll_back(turn, live, "it was taken from the endpoint by hand")
        turn.put(live, removed=True)
    kept = {name: one for name, one in turn.application.names.items() if one not in serving.shares}
    turn.record(names=kept | found, carried=Serving())
    wanted_now = desired(turn.application) or Serving()
    others = {n: one for n, one in serving.shares.items() if n not in wanted_now.shares}
    turn.record(carried=Serving(others))


def _accept(turn: Turn) -> None:
    """From here on it is this endpoint that is looked after, whoever made it."""
    turn.record(endpoint_id=turn.endpoint.id if turn.endpoint is not None else "")


def _begin_anew(turn: Turn, change: Change) -> None:
    """The endpoint is gone and shall be: the next version makes a first release."""
    because = f"endpoint {turn.application.spec.endpoint} was deleted, and that was adopted"
    former, live = turn.application.newest(turn.application.incumbent), turn.application.live
    if live is not None and live.state is not State.ROLLED_BACK:
        roll_back(turn, live, because)
    turn.record(
        stable=None, former=None, unproven=None, ours=True, seen=None, asked=None, closings=(),
        seen_alias=change.named, carried=Serving(), names={}, config_version=0,
        endpoint_id="", followed={**turn.application.followed, KNOWN: turn.world.now},
        upkeep=replace(turn.application.upkeep, stuck=None),  # nobody can apply it again
    )  # fmt: skip
    _retire(turn, former, because)
    for release in turn.application.releases:
        if release.state in (State.ROLLED_BACK, State.RETIRED):
            turn.put(release, ended_at=release.ended_at or turn.world.now, removed=True)


def _revert(turn: Turn, change: Change) -> None:
    """Take the world as found for where we start from: what is wanted is sent, as always."""
    live, spec = turn.application.live, turn.application.spec
    if change.alias and not change.registry:
        turn.record(seen_alias=change.named, seen_alias_of=spec.alias)
    if change.fallback:
        turn.record(fallback_off=True)
    if not change.moved:
        return
    # What takes too long from here on is counted from here on.
    begins = dict.fromkeys(("serve", REST), turn.world.now)
    turn.record(seen=change.serving, followed={**turn.application.followed, **begins})
    _accept(turn)
    if change.serving is not None:
        return
    turn.record(ours=True, config_version=0, carried=Serving())
    for release in turn.application.releases:
        # Nobody goes back to what was kept a while, and it may be what cannot be built any more.
        if release.ended_at is not None and release.version != turn.application.incumbent:
            turn.put(release, removed=True)
    if live is None or live.state is not State.CANARY or live.shut:
        return  # nobody's step is open; what was shut keeps what it is held for
    if turn.application.incumbent is not None:
        # What is created anew is not ready yet: users of the version on trial come later.
        because = "its endpoint is created again: the step is opened once it is ready"
        shut = turn.move(live, Trigger.RETREAT, because, shut=True)
        add_span(turn, shut, settled=False)
