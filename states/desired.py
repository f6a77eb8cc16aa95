"""What the endpoint and the alias should be: functions of the record alone, so they survive."""

from dataclasses import replace

from states.machine import State
from states.release import Application
from states.world import Serving, Share


def desired(application: Application) -> Serving | None:
    """What the endpoint should serve; None while nothing is known or wanted of it.

    Stable, at most one live release, versions retained at 0 %, and what others put there at 0 %.
    Waiting and ended releases want nothing, nor does one that is on a staging endpoint.
    """
    live, incumbent = application.live, application.incumbent
    if live is not None and live.on_staging:
        live = None
    if incumbent is None and (live is None or live.state is State.ROLLED_BACK):
        return None
    weights = {
        release.version: 0
        for release in application.releases
        if release.ended_at is not None and not release.removed
    }
    risen = 0
    if live is not None and not live.removed:
        alone = incumbent in (None, live.version)
        risen = weights[live.version] = 100 if alone else live.weight
    if incumbent is not None and (live is None or live.removed or live.version != incumbent):
        weights[incumbent] = 100 - risen
    model = application.spec.model
    shares = dict(application.carried.shares)
    for version, share in weights.items():
        shares[application.entity(version)] = Share(model=model, version=version, weight=share)
    return Serving(shares)


def desired_alias(application: Application) -> str | None:
    """The version that the alias should name; None where it is not ours to move.

    It moves last: in Production, and back with the traffic in RolledBack.
    """
    if application.spec.alias is None:
        return None
    live = application.live
    if live is not None and live.state is State.PRODUCTION:
        return live.version
    # A deleted version takes its aliases with it, and cannot be named again.
    return None if application.stable in application.deleted else application.stable


def exposure(application: Application, version: str, serving: Serving) -> int:
    """The percentage of users that a version has, under whatever names it is served."""
    model = application.spec.model
    ours = [one for one in serving.shares.values() if (one.model, one.version) == (model, version)]
    return sum(one.weight for one in ours)


def closed(application: Application, serving: Serving) -> Serving | None:
    """What is served, with users taken from a version that is closed to them, and nothing else.

    None where no such version has users: a version is closed once it is rolled back, and while its
    gate is shut. Its users go to the version that serves otherwise.
    """
    live, incumbent = application.live, application.incumbent
    if live is None or incumbent is None or incumbent == live.version:
        return None
    if live.state is not State.ROLLED_BACK and not live.shut:
        return None
    moved = exposure(application, live.version, serving)
    if not moved:
        return None
    model = application.spec.model
    shares = {
        name: replace(one, weight=0) if (one.model, one.version) == (model, live.version) else one
        for name, one in serving.shares.items()
    }
    homes = [name for name, one in shares.items() if (one.model, one.version) == (model, incumbent)]
    # Somebody may have given its name to another version, with users of its own.
    known = application.entity(incumbent, beside=() if homes else shares)
    home = known if known in homes or not homes else homes[0]
    had = shares[home].weight if home in homes else 0
    shares[home] = Share(model=model, version=incumbent, weight=had + moved)
    return Serving(shares)
