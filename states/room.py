"""Room on the endpoint: Databricks takes so many served entities, and no more."""

from states.desired import desired
from states.home import converged
from states.release import Application, Release
from states.turn import Turn

MOST_ENTITIES = 15
"""Databricks takes no more on an endpoint."""


def _taken(turn: Turn, release: Release) -> set[str]:
    """The entities that the endpoint would have, or has still, with a release on it."""
    wanted, endpoint = desired(turn.application), turn.endpoint
    there = endpoint.serving.shares if endpoint is not None else {}
    asked = wanted.shares if wanted is not None else {}
    return {*there, *asked, turn.application.entity(release.version)}


def kept(application: Application) -> list[Release]:
    """Versions that are kept at 0 % for a while, those first that lost their users first."""
    ended = [
        (one.ended_at, one)
        for one in application.releases
        if one.ended_at is not None and not one.removed and one.version != application.incumbent
    ]
    return [one for _, one in sorted(ended, key=lambda pair: pair[0])]


def crowded(turn: Turn, release: Release) -> str | None:
    """Why a release does not fit, where nothing on the endpoint is ours to take away."""
    taken, endpoint = _taken(turn, release), turn.endpoint
    removable = [one for one in kept(turn.application) if one.version != release.version]
    removing = endpoint is not None and endpoint.serving != desired(turn.application)
    if len(taken) <= MOST_ENTITIES or removable or removing:
        return None
    carried = len(turn.application.carried.shares)
    return (
        f"endpoint {turn.application.spec.endpoint} has {len(taken) - 1} served entities, and "
        f"Databricks takes {MOST_ENTITIES}: {carried} at 0 % are not Headgate's to remove; "
        "remove one of them by hand"
    )


def making_room(turn: Turn, release: Release) -> bool:
    """Take away what was kept longest, alone, where there are too many; true until that is seen."""
    if len(_taken(turn, release)) <= MOST_ENTITIES:
        return False
    removable = [one for one in kept(turn.application) if one.version != release.version]
    if removable and converged(turn):
        because = (
            f"version {removable[0].version} makes room for version {release.version}: Databricks "
            f"takes {MOST_ENTITIES} served entities"
        )
        turn.tell("release.removed", turn.put(removable[0], removed=True), because)
    return True
