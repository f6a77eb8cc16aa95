"""Evidence is cut where users were seen to be split anew.

A split changes between two looks: after the one that still saw the old, before the end of the first
that saw the new. Of what was counted meanwhile, the users of each version came at other times:
whatever befell everybody for a minute would be put on whoever had more users then. It is written
down, and takes no part in any verdict.

A step of Headgate's own that is seen at once is the exception, and is tested from its first user
on: half a minute of a bad version does more harm than half a minute of other times.

It is cut as well where the record's clock was set and nobody had a reading from before: in what a
source tells then, the stays stand elsewhere than they were.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from states.home import converged
from states.leap import leapt_untold
from states.machine import State
from states.release import Release
from states.span import Span, Split
from states.turn import Turn

AT_ONCE = timedelta(minutes=1)
"""Longest between the looks that see the splits before and after a step of Headgate's own."""


def note_cuts(turn: Turn, release: Release) -> tuple[Release, datetime | None]:
    """The release as its evidence is cut at this look; from when on, if it is."""
    moved, leapt_since = note_leap(turn, release)
    seen, since = note_split(turn, moved)
    return seen, leapt_since or since


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
    return _cut(turn, seen, had.seen_at), had.seen_at


def note_leap(turn: Turn, release: Release) -> tuple[Release, datetime | None]:
    """The same, where the warehouse's clock tells of a leap that is not made good in the record.

    When it was, nobody knows, nor which of the spans were noted on which clock: what is counted
    since the sources last told anything is of no stay, and the present one begins anew.
    """
    evidence, now = turn.world.evidence, turn.world.now
    by = leapt_untold(release, evidence)
    if not by or evidence is None or not release.spans:
        return release, None
    marks = {source: min(mark + by, now) for source, mark in release.watermarks.items()}
    since = min(marks.values(), default=release.spans[0].starts_at)
    moved = replace(release, watermarks=marks, lead=evidence.lead, ahead=release.ahead - by)
    cut = _cut(turn, moved, since)
    return replace(cut, mixed=tuple(one.number for one in cut.spans[:-1])), since


def _cut(turn: Turn, release: Release, since: datetime) -> Release:
    """What is counted from `since` until now takes no part; the present stay begins now."""
    shares = turn.endpoint.serving.shares if turn.endpoint else {}
    share = shares.get(turn.application.entity(release.version))
    between = Span(
        number=len(release.spans) + 1,
        step=release.step,
        weight=max(release.weight, share.weight if share else 0),
        starts_at=since,
        settled=False,
    )
    after = replace(between, number=between.number + 1, starts_at=turn.world.now + turn.world.took)
    spans, mixed = (*release.spans, between, after), (*release.mixed, between.number)
    return replace(release, spans=spans, mixed=mixed, settled=False, on_step=timedelta())


def _stepped(turn: Turn, release: Release, had: Split) -> bool:
    """The version was given more users by a call of ours, and is seen to have them at once."""
    more = release.weight > had.weights.get(turn.application.entity(release.version), 0)
    return more and converged(turn) and turn.world.now - had.seen_at <= AT_ONCE
