"""Evidence is cut where users were seen to be split anew, by whoever it was.

A split changes between two looks: after the one that still saw the old, before the end of the first
that saw the new. What was counted meanwhile is of both, and each version has its most of other
minutes: whatever befell everybody in one of them would be put on whoever had more users then. So it
is told, and never tested.

What a step of Headgate's own brings is tested from its first user on: there half a minute of other
times does less harm than half a minute of a bad version would.
"""

from dataclasses import replace
from datetime import datetime

from policies.evidence import Block
from states.home import converged
from states.machine import State
from states.release import Release
from states.span import Span, Split
from states.turn import Turn


def note_split(turn: Turn, release: Release) -> tuple[Release, datetime | None]:
    """The release with the split as it is seen now; and until when another was, if one was."""
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
        weight=release.weight,
        starts_at=had.seen_at,
        settled=False,
    )
    after = replace(between, number=between.number + 1, starts_at=turn.world.now + turn.world.took)
    spans, mixed = (*release.spans, between, after), (*release.mixed, between.number)
    return replace(seen, spans=spans, mixed=mixed, settled=False), had.seen_at


def _stepped(turn: Turn, release: Release, had: Split) -> bool:
    """The version was given more users by a call of ours, between two looks as they should be."""
    own, world = turn.application.entity(release.version), turn.world
    more = release.weight > had.weights.get(own, 0)
    return more and converged(turn) and world.now - had.seen_at <= 2 * world.poll


def mixed_after(block: Block, told_to: datetime, since: datetime | None) -> Block:
    """A block of this look, not to be tested if its source has told to after `since`.

    Both are of the record's clock: its window was chosen before the cuts of now were known.
    """
    if since is None or told_to <= since:
        return block
    return replace(block, mixed=True, comparable=False)
