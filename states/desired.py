"""What the endpoint and the alias should be: functions of the record alone, so they survive."""

from states.machine import State
from states.release import Application
from states.world import Serving, Share


def desired(application: Application) -> Serving | None:
    """What the endpoint should serve; None while nothing is known or wanted of it.

    Stable, at most one live release, versions retained at 0 %, and what others put there at 0 %.
    Waiting and ended releases want nothing.
    """
    live, incumbent = application.live, application.incumbent
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
    if incumbent is not None and (live is None or live.version != incumbent):
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
    return application.stable
