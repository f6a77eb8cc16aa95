"""What a release has come to, as the tags of its version tell it in the registry.

The registry outlives this record: whoever reads a version there sees what became of it, and an
empty store does not begin again with one that was rolled back.
"""

from collections.abc import Mapping
from datetime import UTC

from states.machine import State
from states.release import Application, Release

STATE, REASON, AT = "headgate.state", "headgate.reason", "headgate.at"
ROLLED_BACK_TAG = (STATE, State.ROLLED_BACK.value)
"""A version tagged so never starts by itself, not even for an empty store."""
LONGEST = 255
"""Characters of a tag's value: every edition of Databricks' documentation permits as many."""


def outcome(release: Release) -> Mapping[str, str] | None:
    """The tags that tell what a release has come to, the state first; None while it is under way.

    What was adopted with its users is no outcome of Headgate's, until it is replaced. Of a version
    that had an attempt before, it is: an earlier mark must not stay.
    """
    if release.state is State.PRODUCTION:
        ended = release.settled and (release.pinned is not None or release.attempt > 1)
    else:
        ended = release.state in (State.ROLLED_BACK, State.RETIRED)
    if not ended:
        return None
    at = release.since.astimezone(UTC)
    return {
        STATE: release.state.value,
        REASON: _line(release.because),
        AT: f"{at:%Y-%m-%dT%H:%M:%SZ}",
    }


def untold(application: Application) -> dict[str, Mapping[str, str]]:
    """By version, the tags that the registry was not seen to have yet; rolled back ones first."""
    newest = [
        one
        for one in application.releases
        if not one.tagged and application.newest(one.version) == one
    ]
    ordered = sorted(newest, key=lambda one: one.state is not State.ROLLED_BACK)
    found = {one.version: outcome(one) for one in ordered}
    return {version: tags for version, tags in found.items() if tags is not None}


def _line(because: str) -> str:
    """A reason as one line that a tag can hold."""
    words = " ".join(because.split()) or "no reason was recorded"
    return words if len(words) <= LONGEST else words[: LONGEST - 3].rstrip() + "..."
