"""How an endpoint is adopted as it is found, and a version that others gave all users."""

from policies.rollout import WHOLE
from states.machine import State, Trigger
from states.release import Application, Release
from states.turn import Turn
from states.world import Absent, Endpoint, ModelVersion, Serving


def adopt(turn: Turn) -> None:
    """Take over an endpoint as found, or hold and ask where it cannot be read as ours."""
    world, application = turn.world, turn.application
    if world.endpoint is None or world.versions is None:
        return
    if application.spec.alias is not None and world.alias is None:
        return
    if isinstance(world.endpoint, Absent):
        seen = world.alias if isinstance(world.alias, str) else None
        turn.record(adopted=True, ours=True, seen_alias=seen, seen_alias_of=application.spec.alias)
        return
    trouble = unadoptable(application, world.endpoint, world.alias)
    if trouble is not None:
        turn.hold_application(trouble, serving=str(world.endpoint.serving))
        return
    turn.free_application()
    _adopt_endpoint(turn, world.endpoint, world.versions)


def unadoptable(
    application: Application, endpoint: Endpoint, alias: str | Absent | None
) -> str | None:
    """Why an endpoint cannot be adopted as found, with the remedy; None if it can."""
    name = application.spec.endpoint
    shares = endpoint.serving.shares
    if endpoint.route_optimized:
        return f"endpoint {name} is route-optimised: single entities cannot be asked there"
    if not shares:
        return f"endpoint {name} serves nothing yet; it is adopted once it does"
    full = [share for share in shares.values() if share.weight == WHOLE]
    if len(full) != 1 or full[0].model != application.spec.model:
        return (
            f"endpoint {name} serves {endpoint.serving}: put one version of "
            f"{application.spec.model} to 100 %, and Headgate adopts it"
        )
    if isinstance(alias, str) and alias != full[0].version:
        return (
            f"alias {application.spec.alias} names version {alias}, but version "
            f"{full[0].version} has 100 % of {name}: point the alias or the traffic at the other"
        )
    return None


def _adopt_endpoint(turn: Turn, endpoint: Endpoint, versions: tuple[ModelVersion, ...]) -> None:
    shares = endpoint.serving.shares
    name, stable = next((n, s) for n, s in shares.items() if s.weight == WHOLE)
    carried = Serving({other: share for other, share in shares.items() if other != name})
    known = [int(version.version) for version in versions]
    turn.record(
        adopted=True,
        stable=stable.version,
        watermark=max([*known, int(stable.version)]),
        carried=carried,
        seen=endpoint.serving,
        endpoint_id=endpoint.id,
        seen_alias=turn.world.alias if isinstance(turn.world.alias, str) else None,
        seen_alias_of=turn.application.spec.alias,
        names={
            share.version: other
            for other, share in shares.items()
            if share.model == turn.application.spec.model
        }
        | {stable.version: name},
    )
    take_as_stable(turn, stable.version)


def take_as_stable(turn: Turn, version: str) -> None:
    """Write down that others gave a version all users: in an attempt of its own, if it had any.

    What an earlier attempt came to stays as it was.
    """
    because = f"adopted: it has {WHOLE} % of {turn.application.spec.endpoint}"
    known = turn.application.newest(version)
    if known is not None and known.state is State.REGISTERED:
        turn.move(known, Trigger.SUPERSEDE, "it was given all users by hand")
    release = turn.put(
        Release(
            application=turn.application.name,
            version=version,
            attempt=known.attempt + 1 if known is not None else 1,
            state=State.PRODUCTION,
            confirmed=True,
            since=turn.world.now,
            because=because,
            weight_seen=WHOLE,
        )
    )
    turn.tell("release.registered", release, because, adopted=True)
