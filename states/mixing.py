"""Evidence is cut where users were seen to be split anew.

A split changes between two looks: after the one that still saw the old, before the end of the first
that saw the new. Of what was counted meanwhile, the users of each version came at other times:
whatever befell everybody for a minute would be put on whoever had more users then. It is written
down, and takes no part in any verdict.

A step of Headgate's own that is seen at once is the exception, and is tested from its first user
on: half a minute of a bad version does more harm than half a minute of other times.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from states.home import converged
from states.machine import State
from states.release import Release
from states.span import Span, Split
from states.turn import Turn

AT_ONCE = timedelta(minutes=1)
"""Longest between the looks that see the splits before and after a step of Headgate's own."""


def note_split(turn: Turn, release: Release) -> tuple[Release, datetime | None]:
    """The release with the split as seen now; and when another was last seen, if evidence is cut.

    What is counted from then on is of the weight that the version is seen to have, if that is more
    than it should: at 100 % there is nothing to compare with.
    """
    had, endpoint = release.split, turn.endpoint
    if endpoint is None:
        return release, None
    shares = endpoint.serving.shares
    weights = {name: share.weight for name, share in sorted(shares.items()) if share.weight}
    seen = replace(release, split=Split(weights=weights, seen_at=turn.world.now))
    judged = release.state in (State.CANARY, State.PRODUCTION) and release.spans
    if had is None or had.weights == weights or not judged or _stepped(turn, release, had):
        return seen, None
    between = Span(
        number=len(release.spans) + 1,
        step=release.step,
        weight=max(release.weight, weights.get(turn.application.entity(release.version), 0)),
        starts_at=had.seen_at,
        settled=False,
    )
    after = replace(between, number=between.number + 1, starts_at=turn.world.now + turn.world.took)
    spans, mixed = (*release.spans, between, after), (*release.mixed, between.number)
    cut = replace(seen, spans=spans, mixed=mixed, settled=False, on_step=timedelta())
    return cut, had.seen_at


def _stepped(turn: Turn, release: Release, had: Split) -> bool:
    """The version was given more users by a call of ours, and is seen to have them at once."""
    more = release.weight > had.weights.get(turn.application.entity(release.version), 0)
    return more and converged(turn) and turn.world.now - had.seen_at <= AT_ONCE
