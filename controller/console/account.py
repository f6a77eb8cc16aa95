"""The account of one release: all that its journal lines tell, put together for people.

It is made of the lines alone, so the log and the store give the same account.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from math import ceil
from statistics import median
from typing import Any

from pydantic_core import to_jsonable_python

from controller.console.bearings import Users, users
from controller.console.reading import Book, UnreadableLog, own
from controller.console.recompute import bench_of, counted
from controller.record.lines import Line
from policies.criterion import Criterion, Telling
from policies.evidence import Arm, Block, total
from policies.guards import ERRORS
from policies.onearm import interval
from policies.wealth import binary, mean, seen
from states.examples import Found, slow_of
from states.rejudging import Bench
from states.status import Status

INTERVAL = (
    "The intervals hold the true rate with a chance of 95 % (Chernoff's bound, after Hoeffding "
    "1963, for any observations from 0 to 1), for a number of requests that was fixed beforehand. "
    "Verdicts do not rest on them, but on sequential tests that are valid at every look."
)
MOST_POINTS = 48
"""Points of a line in a plot: what was counted is added up to no more than that."""
ERRORS_ALONE = Telling(observed=lambda arm: binary(arm.requests, arm.errors), noun="failed")
"""What can be told of counts where nothing says by what the release was judged."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What was counted of one version: a share, or a mean in what it is counted in."""

    seen: int
    """Observations: requests, or answers."""
    bad: int | None
    """None for a mean."""
    value: float
    low: float
    high: float
    """The interval, see `INTERVAL`."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Both versions over the same windows; None: it saw nothing."""

    opened: datetime
    closed: datetime
    candidate: Rate | None
    stable: Rate | None


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """One guard's counts."""

    guard: str
    source: str
    observe: bool
    noun: str
    share: bool
    """Its values are shares of one, and no means."""
    whole: Compared
    steps: tuple[tuple[int, Compared], ...]
    """The same by step, from 1."""
    points: tuple[Compared, ...]
    """The same by time, for a plot."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What one counting source has told, and how late."""

    name: str
    blocks: int
    opened: datetime
    closed: datetime
    requests: int
    """Of both versions."""
    unattributed: int
    late_rows: int
    median_lag_s: float
    longest_lag_s: float
    """From the end of a window to its block in the journal."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """From when on a release was in a state, with a wanted weight and a seen one."""

    at: datetime
    state: str
    step: int
    weight: int
    weight_seen: int | None


@dataclass(frozen=True, kw_only=True)
class Account:
    """One attempt at one version, from its first line to its last."""

    status: Status
    lines: tuple[Line, ...]
    """All of them."""
    moments: tuple[Moment, ...]
    guards: tuple[Guarded, ...]
    sources: tuple[Source, ...]
    expected_lag_s: float | None
    """How late the table was in stable's last day; None, if that was not told."""
    until: datetime
    users: Users
    verdicts: tuple[Line, ...] = ()
    """Of each guard the last one."""
    slow_ms: float | None = None
    """What the latency guard calls slow; None where it does not judge."""
    found: Found | None = None
    """What the inference table has of its bad requests now; None: it was not asked."""

    def of(self, *events: str) -> tuple[Line, ...]:
        """The lines of some events, in order."""
        return tuple(line for line in self.lines if line["event"] in events)

    @property
    def changed(self) -> bool:
        """What others changed waits for an answer, by the last line."""
        return bool(self.lines and self.lines[-1].get("changed_by_others"))

    @property
    def post_mortem(self) -> Line | None:
        """What was told after the rollback."""
        return next(iter(self.of("release.post_mortem")), None)

    @property
    def request_ids(self) -> tuple[str, ...]:
        """Some bad requests, as the inference table calls them."""
        if self.found is not None:
            return self.found.ids
        told = [own(line, "request_ids") for line in self.of("release.examples")]
        return tuple(str(one) for ids in told if isinstance(ids, list) for one in ids)

    def as_json(self) -> dict[str, Any]:
        """The same as `--json` prints it."""
        told: dict[str, Any] = {
            "schema": 1,
            "status": self.status,
            "weights": self.moments,
            "users": self.users,
            "guards": self.guards,
            "interval": INTERVAL,
            "sources": self.sources,
            "expected_lag_s": self.expected_lag_s,
            "verdicts": list(self.of("gate.verdict")),
            "tests": list(self.of("tests.finished")),
            "holds": list(self.of("release.held", "release.freed", "endpoint.foreign_change")),
            "orders": list(self.of("order.given")),
            "post_mortem": self.post_mortem,
            "request_ids": self.request_ids,
            "asked_now": self.found,
        }
        plain: dict[str, Any] = to_jsonable_python(told)
        return plain


def account(book: Book, selection: str) -> Account:
    """The account of a release's latest attempt; `ReadingError`, where the lines cannot give it."""
    told = book.explain(selection)
    lines = tuple(one for one in told.history if one.get("attempt") == told.status["attempt"])
    timed = [(at_of(line), line) for line in lines]
    blocks = [
        (at, block)
        for at, line in timed
        if line["event"] == "evidence.block" and (block := counted(line)) is not None
    ]
    judged = [line for line in lines if line["event"] == "release.judged"]
    bench = bench_of(told.status["release"], judged[-1]) if judged else None
    known = bench.history.lag if bench is not None and bench.history is not None else None
    counts = [block for _, block in blocks]
    guards = [_guarded(one, counts) for one in bench.criteria] if bench else []
    until, moments = max(at for at, _ in timed), tuple(_moments(timed))
    return Account(
        status=told.status,
        lines=lines,
        moments=moments,
        guards=tuple(one for one in guards if one is not None) or _errors(blocks),
        sources=tuple(_sources(blocks)),
        expected_lag_s=known.total_seconds() if known is not None else None,
        until=until,
        users=users(moments, until, _requests(counts, bench)),
        verdicts=told.verdicts,
        slow_ms=slow_of(bench.history) if bench is not None else None,
    )


def _requests(blocks: Sequence[Block], bench: Bench | None) -> int | None:
    """Of users to the candidate, by the source that counts errors, or else the one there is."""
    found = bench.sources.get(ERRORS) if bench is not None else None
    source = found or next((one.source for one in blocks), None)
    own_blocks = [one for one in blocks if one.source == source]
    return sum(one.candidate.requests for one in own_blocks) if own_blocks else None


def at_of(line: Line) -> datetime:
    """When a line was written; a log may have been damaged."""
    try:
        return datetime.fromisoformat(line["timestamp"])
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableLog(
            f"seq {line['seq']} ({line['event']}) is damaged: it has no time; read the store with "
            "--store, or an undamaged copy"
        ) from error


def _moments(timed: Iterable[tuple[datetime, Line]]) -> list[Moment]:
    """Where state or weights changed; the same again is no news.

    What is seen is told by the endpoint's changes at once, whoever made them, and of the release
    when it settles.
    """
    found: list[Moment] = []
    seen_now: int | None = None
    settled: object = None
    amiss = False
    for at, line in timed:
        if not isinstance(line.get("weight"), int):
            continue
        was_amiss, amiss = amiss, isinstance(line.get("weights_seen"), dict)
        if line.get("weight_seen") != settled:
            settled = line.get("weight_seen")
            seen_now = settled if isinstance(settled, int) else None
        elif was_amiss and not amiss:
            seen_now = line["weight"]  # users are as wanted again, by whatever hand
        shares = line["weights_seen"] if amiss else _updated(line)
        if isinstance(shares, dict):
            share = shares.get(line.get("version"), 0)
            seen_now = share if isinstance(share, int) else None
        one = Moment(
            at=at,
            state=str(line.get("state")),
            step=int(line.get("step") or 0),
            weight=line["weight"],
            weight_seen=seen_now,
        )
        if not found or _told(found[-1]) != _told(one):
            found.append(one)
    return found


def _updated(line: Line) -> object:
    """What each version has by a change of Headgate's own, if the line tells of one."""
    return own(line, "versions") if line["event"] == "endpoint.update" else None


def _told(one: Moment) -> tuple[object, ...]:
    return one.state, one.step, one.weight, one.weight_seen


def _guarded(criterion: Criterion, blocks: Sequence[Block]) -> Guarded | None:
    return _told_of(
        criterion.guard, criterion.source, criterion.telling, blocks, observe=criterion.observe
    )


def _errors(blocks: Sequence[tuple[datetime, Block]]) -> tuple[Guarded, ...]:
    """Errors by every source that counted, where nothing tells what judged."""
    names = sorted({block.source for _, block in blocks})
    found = [
        _told_of("errors", name, ERRORS_ALONE, [block for _, block in blocks], observe=False)
        for name in names
    ]
    return tuple(one for one in found if one is not None)


def _told_of(
    guard: str, source: str, telling: Telling, blocks: Sequence[Block], *, observe: bool
) -> Guarded | None:
    """One guard's counts; None where its source counted nothing."""
    own_blocks = [block for block in blocks if block.source == source]
    if not own_blocks:
        return None
    by_step = groupby(sorted(own_blocks, key=lambda one: one.step), key=lambda one: one.step)
    return Guarded(
        guard=guard,
        source=source,
        observe=observe,
        noun=telling.noun,
        share=telling.scale is None,
        whole=_compared(telling, own_blocks),
        steps=tuple((step, _compared(telling, list(some))) for step, some in by_step),
        points=tuple(_compared(telling, some) for some in _joined(own_blocks)),
    )


def _joined(blocks: Sequence[Block]) -> list[list[Block]]:
    """Neighbours added up, never across a change of weight, until there are few enough."""
    size = ceil(len(blocks) / MOST_POINTS)
    found: list[list[Block]] = []
    for _, some in groupby(blocks, key=lambda one: one.span):
        each = list(some)
        found += [each[at : at + size] for at in range(0, len(each), size)]
    return found


def _compared(telling: Telling, blocks: Sequence[Block]) -> Compared:
    candidate, stable = total(blocks)
    return Compared(
        opened=min(one.opened_at for one in blocks),
        closed=max(one.closed_at for one in blocks),
        candidate=_rate(telling, candidate),
        stable=_rate(telling, stable),
    )


def _rate(telling: Telling, arm: Arm) -> Rate | None:
    values = telling.observed(arm)
    number, value, scale = seen(values), mean(values), telling.scale
    if not number:
        return None
    low, high = interval(value * number, number)
    times = 1.0 if scale is None else scale
    bad = round(value * number) if scale is None else None
    return Rate(
        seen=round(number), bad=bad, value=value * times, low=low * times, high=high * times
    )


def _sources(blocks: Sequence[tuple[datetime, Block]]) -> list[Source]:
    found: list[Source] = []
    for name in sorted({block.source for _, block in blocks}):
        some = [(at, block) for at, block in blocks if block.source == name]
        lags = [max(0.0, (at - block.closed_at).total_seconds()) for at, block in some]
        candidate, stable = total(block for _, block in some)
        found.append(
            Source(
                name=name,
                blocks=len(some),
                opened=min(block.opened_at for _, block in some),
                closed=max(block.closed_at for _, block in some),
                requests=candidate.requests + stable.requests,
                unattributed=sum(block.unattributed for _, block in some),
                late_rows=sum(block.late for _, block in some),
                median_lag_s=median(lags),
                longest_lag_s=max(lags),
            )
        )
    return found
