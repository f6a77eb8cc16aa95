"""Whether a counting source can be believed: it lives, it names, and it leaves nothing out."""

from collections.abc import Iterable
from datetime import timedelta

from policies.bounds import CLOSES
from policies.criterion import charged
from policies.evidence import Block, Coverage, total
from policies.guards import ERRORS
from policies.onearm import excess
from policies.verdict import Outcome, Verdict
from policies.wealth import binary
from policies.words import duration, percent

NAMELESS, ENOUGH = 0.05, 100
"""Share of a span's requests that may belong to nobody, and from how many on it is looked at."""
MISSING = 0.05
"""Share of the metrics' requests, or errors, that a source may leave out."""


def blind(
    source: str, blocks: tuple[Block, ...], silence: timedelta, max_lag: timedelta
) -> Verdict | None:
    """BLIND where the counting source is broken; None while it speaks, or may yet speak.

    `silence` is the time since the last moment that the source is known to have told of; `blocks`
    are those of the present span and source.
    """
    if silence > max_lag:
        because = (
            f"the {named(source)} has told nothing for {duration(silence)}, and may be "
            f"{duration(max_lag)} late: {_remedy(source)}"
        )
        return _blind(because, silent_seconds=round(silence.total_seconds()))
    candidate, stable = total(blocks)
    nameless = sum(block.unattributed for block in blocks)
    seen = nameless + candidate.requests + stable.requests
    if seen >= ENOUGH and nameless > NAMELESS * seen:
        because = (
            f"{nameless:,} of {seen:,} requests bear a served entity id that nothing names: "
            "grant SELECT on system.serving.served_entities"
        )
        return _blind(because, unattributed=nameless, requests=seen)
    return None


def incomplete(source: str, blocks: Iterable[Block]) -> Verdict | None:
    """BLIND where the source is shown to leave out more than `MISSING`; None until then.

    `blocks` are all of the release and source: what a source leaves out is its nature, not the
    step's. Shown is: by the one-arm test, minute by minute, at the false-rollback bound.
    """
    covers = [block.coverage for block in blocks if block.coverage is not None]
    whole = sum(covers, Coverage(requests=0, failed=0, seen=0, seen_failed=0))
    rows = [binary(one.requests, max(0, one.requests - one.seen)) for one in covers]
    if excess(rows, MISSING) >= CLOSES:
        left, of, what = whole.requests - whole.seen, whole.requests, "requests"
    else:
        failed = [binary(one.failed, max(0, one.failed - one.seen_failed)) for one in covers]
        if excess(failed, MISSING) < CLOSES:
            return None
        left, of, what = whole.failed - whole.seen_failed, whole.failed, "failed requests"
    because = (
        f"the {named(source)} lacks {left:,} of the {of:,} {what} ({percent(left / of)}) that the "
        "endpoint's metrics tell of: name another source for errors in evidence.queries, or see "
        "why rows are not logged"
    )
    return _blind(because, missing=left, of=of)


def unseen(blocks: Iterable[Block]) -> int:
    """Errors that only the metrics saw; they are put on the candidate when opening."""
    return sum(charged(one).candidate.errors - one.candidate.errors for one in blocks)


def named(source: str) -> str:
    """A source as people say it."""
    kind, _, name = source.partition(":")
    return f"query {name}" if name else kind.replace("_", " ")


def _remedy(source: str) -> str:
    if source == "inference_table":
        return "the probes' own rows do not arrive"
    return "see whether it still runs"


def _blind(because: str, **numbers: int) -> Verdict:
    return Verdict(outcome=Outcome.BLIND, guard=ERRORS, because=because, numbers=numbers)
