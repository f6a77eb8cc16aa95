"""`headgate explain --recompute`: every verdict of a release, derived again from its lines alone.

The lines are the journal's: `release.judged` tells by what a release is judged, `evidence.block`
what was counted, and `gate.verdict` what came of it. What is derived must be that, bit for bit:
outcome, sentence and numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from controller.console.reading import ReadingError, own
from controller.record.lines import FACTS, STATUS, Line
from controller.record.redaction import clean
from policies.evidence import Block
from policies.fuse import Fuse, Minute
from policies.verdict import Outcome, Verdict
from states.blocks import block_of
from states.rejudging import Bench, Given, Untold, again

_BENCH: Final = TypeAdapter(Bench)
_INPUTS: Final = frozenset({
    *("guard", "verdict", "as_of_block", "span", "weight", "pace", "before", "observe"),
    *("silences", "max_lag", "fuse", "minutes"),
})  # fmt: skip
_FRAME: Final = frozenset({
    *STATUS,
    *("timestamp", "level", "event", "seq", *FACTS),
    "state_because",
})  # fmt: skip


class NotJudgeable(ReadingError):  # noqa: N818 - it names a condition
    """The lines do not tell by what the release was judged."""


@dataclass(frozen=True, kw_only=True)
class Recomputed:
    """How many verdicts there are, and what is other than it was written down."""

    release: str
    verdicts: int
    differences: tuple[str, ...]
    """One sentence for each verdict that came out otherwise, or not at all."""

    @property
    def sentence(self) -> str:
        """What it came to."""
        if not self.verdicts:
            return f"{self.release} has no verdict: it was never judged by what was counted"
        same = self.verdicts - len(self.differences)
        return f"{same} of {self.verdicts} verdicts derived again, bit for bit"

    def as_json(self) -> dict[str, Any]:
        """The same as `--json` prints it."""
        return {"schema": 1, **asdict(self)}


def recompute(release: str, rows: Sequence[Line]) -> Recomputed:
    """Derive the verdicts of one attempt again, from all of its lines in order."""
    verdicts = [row for row in rows if row["event"] == "gate.verdict"]
    if not verdicts:
        return Recomputed(release=release, verdicts=0, differences=())
    judged = [row for row in rows if row["event"] == "release.judged"]
    if not judged:
        raise NotJudgeable(
            f"the lines of {release} do not tell by what it was judged (release.judged): an "
            "earlier Headgate wrote them, and its verdicts can be read, but not derived again"
        )
    bench = bench_of(release, judged[-1])
    read = [counted(row) for row in rows if row["event"] == "evidence.block"]
    blocks = [one for one in read if one is not None]
    found = [(row, _difference(bench, blocks, row)) for row in verdicts]
    told = tuple(f"{_named(row)}: {why}" for row, why in found if why is not None)
    return Recomputed(release=release, verdicts=len(verdicts), differences=told)


def _named(row: Line) -> str:
    return f"seq {row['seq']}, {row.get('guard')} {row.get('verdict')}"


def bench_of(release: str, row: Line) -> Bench:
    """What a release is judged by, of its line `release.judged`; `NotJudgeable`, if unreadable."""
    fields = {name: own(row, name) for name in Bench.__annotations__}
    try:
        return _BENCH.validate_python({**fields, "sources": dict(fields["sources"] or ())})
    except (ValidationError, ValueError, TypeError) as error:
        raise NotJudgeable(
            f"seq {row['seq']} does not tell by what {release} was judged in a way that this "
            "Headgate knows: read it with the version that wrote it"
        ) from error


def counted(row: Line) -> Block | None:
    """The block that a line tells of; None where the line was damaged."""
    told = {name: own(row, name) for name in row}
    try:
        return block_of(told)
    except (AssertionError, KeyError, TypeError, ValueError):
        return None  # whatever rests on it says so


def _difference(bench: Bench, blocks: Sequence[Block], row: Line) -> str | None:
    """What is other than the line says; None where nothing is."""
    number = own(row, "as_of_block")
    if not isinstance(number, int):
        return "the blocks that it rests on are not told"
    seen = tuple(one for one in blocks if one.number <= number)
    told = {one.number for one in seen}
    lost = [one for one in range(1, number + 1) if one not in told]
    if lost:
        return f"block {lost[0]}, on which it rests, is damaged or not told"
    try:
        derived = again(bench, seen, _given(row))
    except (AssertionError, IndexError, KeyError, TypeError, ValueError):
        return "what it rests on is not told in a way that this Headgate knows"
    except Untold as error:
        return str(error)
    return "the blocks lead to no such verdict" if derived is None else _compared(row, derived)


def _compared(row: Line, derived: Verdict) -> str | None:
    told = {
        "guard": row.get("guard"),
        "verdict": row.get("verdict"),
        "because": row.get("because"),
        **_numbers(row),
    }
    now = clean(
        {
            "guard": derived.guard,
            "verdict": derived.outcome.value,
            "because": derived.because,
            **derived.numbers,
        }
    )
    other = [name for name in {**told, **now} if told.get(name) != now.get(name)]
    if not other:
        return None
    parts = [f"{name} is {told.get(name)!r}, derived {now.get(name)!r}" for name in other]
    return "; ".join(parts)


def _numbers(row: Line) -> dict[str, Any]:
    """The verdict's own numbers: what is left of a line without its frame and its inputs."""
    numbers: dict[str, Any] = {}
    for name, value in row.items():
        bare = name.removeprefix("verdict_")
        known = name in _FRAME or bare in _INPUTS or name == "because"
        if not known:
            numbers[bare] = value
    return numbers


def _setting(told: Mapping[str, Any] | None) -> Fuse | None:
    if told is None:
        return None
    set_at = datetime.fromisoformat(told["set_at"])
    return Fuse(**{**told, "set_at": set_at, "most": tuple(told["most"])})


def _given(row: Line) -> Given:
    silences: Mapping[str, float] = own(row, "silences") or {}
    limit = own(row, "max_lag")
    return Given(
        guard=row["guard"],
        outcome=Outcome(row["verdict"]),
        span=own(row, "span"),
        weight=own(row, "weight"),
        pace=own(row, "pace"),
        before=_setting(own(row, "before")),
        observe=bool(own(row, "observe")),
        silences={name: timedelta(seconds=seconds) for name, seconds in silences.items()},
        max_lag=None if limit is None else timedelta(seconds=limit),
        fuse=_setting(own(row, "fuse")),
        minutes=tuple(
            Minute(ends_at=datetime.fromisoformat(ends_at), requests=requests, errors=errors)
            for ends_at, requests, errors in own(row, "minutes") or ()
        ),
    )
