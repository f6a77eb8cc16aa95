"""Collecting evidence: windows of every counting source, closed at that source's own pace.

Blocks are cut where the weight changed, in the order of the release's spans; a window ends at its
source's watermark, before which everything has arrived. Bounds are the platform's times: the
record's spans are translated by the offset that the same statement shows, and those of the metrics
by what the `Date` of their answer shows.

The inference table's watermark is that of the marked probes, which are sent at the table's pace.
They are requests like any other, so the metrics see them, the table is asked, and a bake ends also
on an endpoint that has no users: once a probe's row from after the bake has arrived. Where not even
probes are seen to arrive, the table is asked every half hour all the same.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from controller.daemon.lead import Lead
from controller.daemon.windows import (
    METRICS,
    TABLE,
    Stretch,
    block_of,
    coverage,
    minute_windows,
    phase_of,
    quiet,
    span_at,
    stretch,
)
from controller.workspace.errors import Refused, WorkspaceError
from controller.workspace.inference import Answer, Ask, QueryAsk, Window
from controller.workspace.inputs import Inputs, unknown
from controller.workspace.markers import marker
from controller.workspace.metrics import EntityMinute
from policies.evidence import Block
from policies.fuse import FRESH, Minute
from policies.golden import GoldenQuery
from states.counted import QUERY, Query
from states.machine import State
from states.release import Application, Release
from states.world import Endpoint, Evidence

__all__ = ["Collector", "span_at"]

MEASURES = 3
"""Statements in one look, at most: each but the last showed that the clocks were misjudged."""
SKEW = timedelta(milliseconds=500)
"""A measure that differs by more than this is worth asking anew."""
VOUCHED = timedelta(minutes=1)
"""What is known no better than this tells nothing of a clock that was set."""
LATE = timedelta(hours=6)
"""How far back windows are counted again for rows that came late: a table is promised in one."""
QUIET = timedelta(minutes=30)
"""Longest that nothing is asked because the endpoint is seen to get no request."""
log = structlog.get_logger()


class Table(Protocol):
    """The inference table and the queries, as `controller.workspace.inference` brings them."""

    def look(self, ask: Ask) -> Answer:
        """Count the windows that are asked for."""


class Beats(Protocol):
    """The marked probes, as `controller.workspace.probes` sends them."""

    def beat(
        self, entity: str, query: GoldenQuery, marker: str, inputs: Inputs | None = None
    ) -> bool:
        """Ask one served entity a marked question; its row is the table's heartbeat."""


class Metrics(Protocol):
    """The endpoint's minutes by version, as `controller.workspace.metrics` remembers them."""

    def minutes_by_entity(self, endpoint: str) -> tuple[EntityMinute, ...]:
        """Those whose labels name the served entities, oldest first."""


@dataclass(frozen=True)
class _Look:
    """One application's release and endpoint as they are looked at now."""

    application: Application
    live: Release
    endpoint: Endpoint
    now: datetime
    minutes: tuple[Minute, ...]
    ahead: timedelta
    """How far the clock of these minutes is ahead of the record's."""

    @property
    def entities(self) -> tuple[str, str | None]:
        """The candidate's served entity, and stable's where there is one to compare with."""
        baseline = self.live.plan.baseline
        entity = self.application.entity
        return entity(self.live.version), entity(baseline) if baseline else None

    @property
    def table(self) -> str:
        """The endpoint's inference table, which the queries are asked with."""
        if self.endpoint.inference_table is None:
            raise Refused(
                f"endpoint {self.application.spec.endpoint} has no inference table: nothing is "
                "asked of the warehouse without it; enable it in AI Gateway"
            )
        return self.endpoint.inference_table

    def of(self, source: str) -> list[Block]:
        """The blocks of a source so far."""
        return [block for block in self.live.blocks if block.source == source]

    def due(self, source: str, ahead: timedelta) -> Stretch:
        """What is to be counted of a source, whose clock is ahead by that."""
        own = self.of(source)
        return stretch(self.live.spans, own[-1].closed_at if own else None, ahead)


@dataclass(slots=True)
class Collector:
    """One application's evidence, each source asked for at its own pace."""

    table: Table
    beats: Beats
    metrics: Metrics
    clock: Callable[[], datetime]
    """The store's clock: how far the warehouse's is ahead of it is measured at each look."""
    inputs: Callable[[str, str], Inputs | None] = unknown
    """By model and version, what its signature takes, as far as it is known."""
    lead: Lead | None = None
    """How far the warehouse's clock is ahead; what is above the least was a statement's waiting."""
    steady: Callable[[], float] = time.monotonic
    """Seconds of a clock that is never set."""
    answered_at: datetime | None = None
    """The last look that the warehouse answered."""
    turn: tuple[str, int, int, int] | None = None
    """The release, its cuts by a split of others, and the number of the pace, of the last look."""

    def forget(self) -> None:
        """Nothing is known of how the record's clock stands to the warehouse's."""
        self.lead = self.answered_at = self.turn = None

    def collect(
        self,
        application: Application,
        endpoint: Endpoint,
        now: datetime,
        minutes: tuple[Minute, ...] = (),
        ahead: timedelta | None = None,
    ) -> Evidence | None:
        """Send heartbeats and close windows, if it is time; None while there is nothing to ask.

        `minutes` are the endpoint's own, as far as they are remembered, and their clock is ahead by
        so much; None: as the record has it.
        """
        live = application.live
        if live is None or live.state not in (State.CANARY, State.PRODUCTION):
            return None
        ahead = live.ahead if ahead is None else ahead
        look = _Look(application, live, endpoint, now, minutes, ahead)
        sources, found = set(live.sources.values()), Evidence()
        if sources - {METRICS} and self._is_time(look):
            if TABLE in sources:
                self._beat(look)
            if not self._is_quiet(look):
                found = self._asked(look, sources)
        if METRICS in sources:
            found = self._with_minutes(look, found)
        return None if found == Evidence() else found

    def _is_time(self, look: _Look) -> bool:
        """Whether another multiple of the pace was passed, on the store's clock.

        So the looks of all applications with one pace are due in the same beat, and meet in one
        statement. A release that is seen for the first time is looked at right away, and so is one
        whose users were split anew: what was told before that was known may not have been taken.
        """
        every = look.application.spec.evidence_every
        number = int(look.now.timestamp() // max(every, timedelta(milliseconds=1)).total_seconds())
        live, had = look.live, self.turn
        self.turn = live.version, live.attempt, len(live.mixed), number
        if had is not None and had[:3] != self.turn[:3]:
            self.answered_at = None
        return had != self.turn

    def _is_quiet(self, look: _Look) -> bool:
        """Whether nothing can have come to be told since the last look, as far as is seen."""
        if self.answered_at is None or look.now - self.answered_at >= QUIET:
            return False
        since, until = self.answered_at + look.ahead, look.now + look.ahead
        return quiet(look.minutes, since, until, fresh=FRESH)

    def _beat(self, look: _Look) -> None:
        application, query = look.application.name, look.live.plan.tests[0]
        for entity in look.entities:
            if entity is None or entity not in look.endpoint.ready:
                continue
            model = look.application.spec.model
            inputs = self.inputs(model, look.endpoint.serving.shares[entity].version)
            try:
                answered = self.beats.beat(entity, query, marker(application, entity), inputs)
            except WorkspaceError as error:
                log.warning("probe.unsent", application=application, because=str(error))
                continue
            if not answered:
                log.warning("probe.failed", application=application, entity=entity)

    def _asked(self, look: _Look, sources: set[str]) -> Evidence:
        """What the warehouse says, or why it says nothing."""
        known = {QUERY + one.name for one in look.application.counted.queries}
        gone = sorted(one for one in sources - known if one.startswith(QUERY))
        try:
            found = self._look(look, sources)
        except WorkspaceError as error:
            found = Evidence(trouble=str(error))
        trouble = found.trouble
        if gone and trouble is None:
            name = gone[0].removeprefix(QUERY)
            trouble = f"query {name} is not in evidence.queries any more: put it back"
        if trouble is not None:
            log.warning("evidence.unread", application=look.application.name, because=trouble)
        return replace(found, trouble=trouble)

    def _look(self, look: _Look, sources: set[str]) -> Evidence:
        for _ in range(MEASURES):
            ask = self._ask(look, sources)
            asked_at, began = self.clock(), self.steady()
            answer = self.table.look(ask)
            until = asked_at + timedelta(seconds=self.steady() - began)
            if not self._measured(Lead(answer.now - until, answer.now - asked_at)):
                self.answered_at = look.now
                return self._read(look, sources, ask, answer)
        return Evidence()

    def _measured(self, shown: Lead) -> bool:
        """Take a measure as well; true where what was just asked with the one before is void."""
        known = self.lead
        found = shown if known is None else known.narrowed(shown)
        if known is not None and abs(found.most - known.most) <= SKEW:
            self.lead = Lead(found.least, known.most)
            return False
        self.lead = found
        return True

    @property
    def _ahead(self) -> timedelta:
        return self.lead.most if self.lead else timedelta()

    def _ask(self, look: _Look, sources: set[str]) -> Ask:
        ahead = self._ahead
        candidate, stable = look.entities
        due, again = look.due(TABLE, ahead), self._counted_again(look)
        newest = look.minutes[-1] if look.minutes else None
        counted = look.application.counted
        return Ask(
            application=look.application.name,
            endpoint=look.application.spec.endpoint,
            table=look.table,
            candidate_entity=candidate,
            stable_entity=stable,
            since=due.since,
            cuts=due.cuts,
            counted_since=again[0].opened_at if again else None,
            measures=look.live.measures,
            paths=counted.paths,
            minute_phase_ms=phase_of(newest) if newest else None,
            queries={
                one.name: _query_ask(one, look.due(QUERY + one.name, ahead))
                for one in counted.queries
                if QUERY + one.name in sources
            },
        )

    def _counted_again(self, look: _Look) -> list[Block]:
        """The blocks whose windows are counted again; none where sessions are counted, not rows."""
        own = look.of(TABLE)
        if look.application.counted.by_session or not own:
            return []
        return [block for block in own if block.opened_at >= own[-1].closed_at - LATE]

    def _read(self, look: _Look, sources: set[str], ask: Ask, answer: Answer) -> Evidence:
        """An answer as blocks, numbered on, and as watermarks on the store's clock."""
        ahead = self._ahead
        blocks: list[Block] = []
        watermarks: dict[str, datetime] = {}
        if TABLE in sources:
            blocks = self._table_blocks(look, ask, answer)
            if answer.watermark is not None:
                watermarks[TABLE] = answer.watermark - ahead
        for name in ask.queries:
            windows = answer.queries.get(name, ())
            blocks += _numbered(look, QUERY + name, windows, ahead, len(blocks))
            if windows:
                # A query's watermark is its newest row's time, where its last window is closed.
                watermarks[QUERY + name] = windows[-1].closed - ahead
        return Evidence(
            blocks=tuple(blocks),
            watermarks=watermarks,
            lead=ahead if self.lead and self.lead.most - self.lead.least <= VOUCHED else None,
            trouble=_no_scores(answer.strays),
        )

    def _table_blocks(self, look: _Look, ask: Ask, answer: Answer) -> list[Block]:
        blocks = _numbered(look, TABLE, answer.windows, self._ahead, 0)
        found = [
            replace(
                block,
                coverage=coverage(window, answer.minutes, look.minutes, ask.minute_phase_ms),
            )
            for block, window in zip(blocks, answer.windows, strict=True)
        ]
        if found and (again := self._counted_again(look)):
            found[0] = replace(found[0], late=_late(again, answer.recounted))
        return found

    def _with_minutes(self, look: _Look, found: Evidence) -> Evidence:
        """Close the whole minutes that the metrics have told by version since the last look."""
        minutes = self.metrics.minutes_by_entity(look.application.spec.endpoint)
        if not minutes:
            return found
        windows = minute_windows(minutes, look.due(METRICS, look.ahead), *look.entities)
        blocks = _numbered(look, METRICS, windows, look.ahead, len(found.blocks))
        return replace(
            found,
            blocks=(*found.blocks, *blocks),
            watermarks={**found.watermarks, METRICS: minutes[-1].ends_at - look.ahead},
        )


def _query_ask(query: Query, due: Stretch) -> QueryAsk:
    return QueryAsk(
        sql=query.sql,
        counts=query.counts,
        server_errors=query.server_errors,
        since=due.since,
        cuts=due.cuts,
    )


def _no_scores(strays: Mapping[str, int]) -> str | None:
    """Why queries of scores brought nothing; None where each value is one."""
    if not strays:
        return None
    told = ", ".join(f"{number:,} of query {name}" for name, number in sorted(strays.items()))
    return (
        f"rows whose value is no score (NaN, below 0 or above 1): {told}; nothing is counted of it "
        "until each is from 0 to 1, or NULL where there is none: mend evidence.queries, or what "
        "writes its table"
    )


def _numbered(
    look: _Look, source: str, windows: tuple[Window, ...] | list[Window], ahead: timedelta, new: int
) -> list[Block]:
    """A source's windows as blocks, after those of the record and `new` ones of this look."""
    due, last = look.due(source, ahead), len(look.live.blocks) + new
    found = [(window, due.span(window.opened)) for window in windows]
    return [
        block_of(window, span, last + index, source, mixed=span.number in look.live.mixed)
        for index, (window, span) in enumerate(found, start=1)
    ]


def _late(blocks: list[Block], recounted: int) -> int:
    """Rows that arrived after their window was closed, and were not told of yet.

    The first block's own `late` was of windows before it.
    """
    counted = sum(
        block.candidate.requests + block.stable.requests + block.unattributed for block in blocks
    )
    return max(0, recounted - counted - sum(block.late for block in blocks[1:]))
