"""What only the endpoint keeps from going on: told, and a person is asked, for it may be for ever.

The clocks of a step stand still until its weight was seen, so that no patience ends such a wait.
"""

from policies.words import duration
from states.desired import desired
from states.home import unready
from states.release import Release
from states.resending import REST
from states.turn import Turn

MEND_IT = ": mend it, and the release goes on"
"""How such a hold ends: it is known by that, also after a restart."""


def _stuck(turn: Turn, release: Release) -> str | None:
    """What is wrong with the endpoint, as far as it is not a change by others; else None."""
    application, endpoint = turn.application, turn.endpoint
    if endpoint is None or application.change is not None:
        return None
    down = unready(turn)
    if down is not None:
        return f"{down}{MEND_IT}"
    as_wanted, limit = endpoint.serving == desired(application), release.plan.provisioning_deadline
    since = application.followed.get(REST if as_wanted else "serve")
    asked = application.hold is not None and not held_up(release)
    at_rest = as_wanted and not endpoint.updating
    if at_rest or asked or since is None or turn.world.now - since < limit:
        return None
    busy = "is still being updated" if endpoint.updating else "does not serve what was asked for"
    return f"endpoint {application.spec.endpoint} {busy} after {duration(limit)}{MEND_IT}"


def held_up(release: Release) -> bool:
    """Held by nothing but the endpoint."""
    return (release.hold or "").endswith(MEND_IT)


def heed_stuck(turn: Turn, release: Release) -> tuple[Release, bool]:
    """Hold while that is so, unless something else holds already; go on once it is mended.

    The release, and whether it is stuck.
    """
    why = _stuck(turn, release)
    if why is None:
        return turn.free(release) if held_up(release) else release, False
    if release.hold is not None and not held_up(release):
        return release, True
    return turn.hold(release, why, needs_person=True), True
