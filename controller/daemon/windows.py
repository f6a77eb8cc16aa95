"""Windows and blocks: where spans cut what a source counts, and what a closed window says.

Pure: times in, blocks out. A source's times are its own clock's; a span's are the store's, and are
translated by how far the source's clock is ahead.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from controller.workspace.inference import Window
from controller.workspace.metrics import EntityMinute
from policies.evidence import NOTHING, Arm, Block, Coverage
from policies.fuse import Minute
from policies.rollout import WHOLE
from states.span import Span

TABLE, METRICS = "inference_table", "metrics"
"""Names of sources; a configured query's is `query:NAME`."""
MINUTE = timedelta(minutes=1)
MILLISECOND = timedelta(milliseconds=1)
OVERLAP = timedelta(seconds=1)
"""By how much two minutes may overlap and yet be two: an exporter's clock is read late at times."""


@dataclass(frozen=True)
class Stretch:
    """From where on a source is to be counted, and where spans cut it, on the source's clock."""

    since: datetime
    cuts: tuple[datetime, ...]
    """Rising, all after `since`."""
    spans: tuple[Span, ...]
    """Between the cuts: one more than these."""
    goes_on: bool = False
    """It begins where the source's last block closed, and at no cut."""

    def span(self, opened: datetime) -> Span:
        """The span of a window, by its beginning."""
        return self.spans[bisect_right(self.cuts, opened)]


def span_at(spans: tuple[Span, ...], moment: datetime) -> tuple[Span, datetime | None]:
    """The span that a moment lies in, and when the next one starts.

    A later decision overrules what an earlier one had set for the future.
    """
    current, until = spans[0], None
    for span in _standing(spans):
        if span.starts_at <= moment:
            current = span
        elif until is None:
            until = span.starts_at
    return current, until


def stretch(spans: tuple[Span, ...], closed: datetime | None, ahead: timedelta) -> Stretch:
    """What is to be counted of a source whose last block closed then (None: it has none yet).

    In whole milliseconds, upwards, so that no window begins before the span that it belongs to.
    """
    since = closed or _upwards(spans[0].starts_at + ahead)
    found = {
        cut: span for span in _standing(spans) if (cut := _upwards(span.starts_at + ahead)) > since
    }
    first, _ = span_at(spans, since - ahead)
    return Stretch(since, tuple(found), (first, *found.values()), closed is not None)


def block_of(window: Window, span: Span, number: int, source: str, *, mixed: bool) -> Block:
    """The block that a closed window of a span is."""
    return Block(
        number=number,
        source=source,
        span=span.number,
        step=span.step,
        comparable=span.settled and 0 < span.weight < WHOLE,
        whole=span.weight == WHOLE,
        mixed=mixed,
        opened_at=window.opened,
        closed_at=window.closed,
        candidate=window.candidate,
        stable=window.stable,
        unattributed=window.unattributed,
        unattributed_errors=window.unattributed_errors,
    )


def coverage(
    window: Window,
    rows: Mapping[datetime, tuple[int, int]],
    minutes: Iterable[Minute],
    phase: int | None,
) -> Coverage | None:
    """How much a source has of the metrics' minutes that end within a window; None without any.

    A minute that began in the window before is told of whole here, so that each is told of once,
    however short windows are. `rows` are the source's requests and failures by the end of the
    minute. A minute that it has nothing of has all its requests missing. Minutes that end at
    another `phase` (ms) were not asked for.
    """
    found: Coverage | None = None
    for minute in minutes:
        if not window.opened < minute.ends_at <= window.closed or phase_of(minute) != phase:
            continue
        seen, failed = rows.get(minute.ends_at, (0, 0))
        one = Coverage(
            requests=minute.requests, failed=minute.errors, seen=seen, seen_failed=failed
        )
        found = one if found is None else found + one
    return found


def phase_of(minute: Minute) -> int:
    """Where in the clock's minutes an exporter's minutes end, in ms."""
    return round(minute.ends_at.timestamp() * 1000) % 60_000


def minute_windows(
    minutes: Sequence[EntityMinute], due: Stretch, candidate: str, stable: str | None
) -> list[Window]:
    """Whole minutes as windows: neighbours in one, none across a cut, and none counted twice.

    A minute that a cut falls into speaks of two weights, and is left out.
    """
    found: list[Window] = []
    reach = due.since
    for minute in minutes:
        began = minute.ends_at - MINUTE
        first_after = due.cuts[bisect_right(due.cuts, began) :][:1]
        counted = began < (reach - OVERLAP if found or due.goes_on else reach)
        if counted or any(minute.ends_at > cut for cut in first_after):
            continue
        window = _minute(minute, max(began, reach), candidate, stable)
        joins = found and found[-1].closed == window.opened
        if joins and due.span(found[-1].opened) == due.span(window.opened):
            window = _joined(found.pop(), window)
        found.append(window)
        reach = window.closed
    return found


def quiet(minutes: Sequence[Minute], since: datetime, now: datetime, *, fresh: timedelta) -> bool:
    """Whether the endpoint was seen to get no request at all since then; times are its metrics'.

    Seen is: by minutes without a gap, the newest of them no older than `fresh`.
    """
    recent = [minute for minute in minutes if minute.ends_at > since]
    reach = since
    for minute in recent:
        if minute.requests or minute.ends_at - reach > MINUTE + OVERLAP:
            return False
        reach = minute.ends_at
    return bool(recent) and now - reach <= fresh


def _minute(minute: EntityMinute, opened: datetime, candidate: str, stable: str | None) -> Window:
    return Window(
        opened=opened,
        closed=minute.ends_at,
        candidate=minute.arms.get(candidate, NOTHING),
        stable=_arm(minute, stable),
        unattributed=0,
    )


def _arm(minute: EntityMinute, name: str | None) -> Arm:
    return NOTHING if name is None else minute.arms.get(name, NOTHING)


def _joined(one: Window, other: Window) -> Window:
    return Window(
        opened=one.opened,
        closed=other.closed,
        candidate=one.candidate + other.candidate,
        stable=one.stable + other.stable,
        unattributed=one.unattributed + other.unattributed,
        unattributed_errors=one.unattributed_errors + other.unattributed_errors,
    )


def _standing(spans: tuple[Span, ...]) -> list[Span]:
    """The spans that no later decision overruled; they begin one after the other."""
    return [
        span
        for index, span in enumerate(spans)
        if not any(later.starts_at <= span.starts_at for later in spans[index + 1 :])
    ]


def _upwards(moment: datetime) -> datetime:
    """The next whole millisecond, which is what a warehouse is asked for."""
    over = timedelta(microseconds=moment.astimezone(UTC).microsecond % 1000)
    return moment if not over else moment - over + MILLISECOND
