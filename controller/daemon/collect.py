"""Collecting evidence: the marked probes that keep the table's time, and the windows they close.

Blocks are cut where the weight changed, in the order of the release's spans; a window ends at the
watermark, before which everything has arrived. Bounds are the warehouse's times: the record's
spans are translated by the offset that the same statement shows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from controller.workspace.errors import WorkspaceError
from controller.workspace.inference import Look
from controller.workspace.markers import marker
from policies.evidence import Block
from policies.rollout import WHOLE
from states.machine import State
from states.release import Application, Release, Span
from states.world import Endpoint, Evidence

SOURCE = "inference_table"
LOOKS = 6
"""Most windows closed in one pass: a span ends, the next begins, and so on."""
SKEW = timedelta(milliseconds=500)
"""A measure of the offset that is lower by more than this is a better one."""
log = structlog.get_logger()


class Table(Protocol):
    """The counting source, as `controller.workspace.inference` brings it."""

    def look(  # noqa: PLR0913 - one statement's parameters
        self,
        *,
        table: str,
        application: str,
        candidate_entity: str,
        stable_entity: str | None,
        endpoint: str,
        since: datetime | None,
        until: datetime | None,
    ) -> Look:
        """Count one window."""


class Beats(Protocol):
    """The marked probes, as `controller.workspace.probes` sends them."""

    def beat(self, entity: str, query: str, marker: str) -> bool:
        """Ask one served entity a marked question; its row is the table's heartbeat."""


@dataclass
class Collector:
    """One application's evidence, asked for at its own pace."""

    table: Table
    beats: Beats
    clock: Callable[[], datetime]
    """The store's clock: how far the warehouse's is ahead of it is measured at each look."""
    beat_at: datetime | None = None
    looked_at: datetime | None = None
    offset: timedelta | None = None
    """The least that was measured: whatever is above it was the statement's own waiting."""

    def collect(
        self, application: Application, endpoint: Endpoint, now: datetime
    ) -> Evidence | None:
        """Send heartbeats and close windows, if it is time; None while there is nothing to ask."""
        live = application.live
        if live is None or live.state not in (State.CANARY, State.PRODUCTION):
            return None
        if live.source != SOURCE or endpoint.inference_table is None:
            return None
        every = application.spec.evidence_every
        if self.beat_at is None or now - self.beat_at >= every:
            self.beat_at = now
            self._beat(application, live, endpoint)
        if self.looked_at is not None and now - self.looked_at < every:
            return None
        self.looked_at = now
        try:
            return self._look(application, live, endpoint.inference_table)
        except WorkspaceError as error:
            log.warning("evidence.unread", application=application.name, because=str(error))
            return Evidence(trouble=str(error))

    def _beat(self, application: Application, live: Release, endpoint: Endpoint) -> None:
        assert live.pinned is not None, "a live release has a pinned plan"
        query = live.pinned.tests[0].query
        for entity in _entities(application, live):
            if entity not in endpoint.ready:
                continue
            try:
                answered = self.beats.beat(entity, query, marker(application.name, entity))
            except WorkspaceError as error:
                log.warning("probe.unsent", application=application.name, because=str(error))
                continue
            if not answered:
                log.warning("probe.failed", application=application.name, entity=entity)

    def _look(self, application: Application, live: Release, table: str) -> Evidence:
        blocks: list[Block] = []
        watermark: datetime | None = None
        for _ in range(LOOKS):
            seen = (*live.blocks, *blocks)
            offset = self.offset or timedelta()
            since = seen[-1].closed_at if seen else live.spans[0].starts_at + offset
            span, until = span_at(live.spans, since - offset)
            asked_at = self.clock()
            look = self._ask(application, live, table, since, until and until + offset)
            if self._measured(look.now - asked_at):
                continue
            watermark = look.watermark and look.watermark - offset
            if look.closed is None or look.closed <= since:
                break
            blocks.append(_block(len(seen) + 1, span, since, look.closed, look))
            if until is None or look.closed < until + offset:
                break
        return Evidence(blocks=tuple(blocks), watermark=watermark)

    def _measured(self, offset: timedelta) -> bool:
        """Take a better measure of the offset; what was just asked with the old one is void."""
        if self.offset is not None and offset > self.offset - SKEW:
            return False
        self.offset = offset
        return True

    def _ask(
        self,
        application: Application,
        live: Release,
        table: str,
        since: datetime,
        until: datetime | None,
    ) -> Look:
        candidate, *stable = _entities(application, live)
        return self.table.look(
            table=table,
            application=application.name,
            candidate_entity=candidate,
            stable_entity=stable[0] if stable else None,
            endpoint=application.spec.endpoint,
            since=since,
            until=until,
        )


def span_at(spans: tuple[Span, ...], moment: datetime) -> tuple[Span, datetime | None]:
    """The span that a moment lies in, and when the next one starts.

    A later decision overrules what an earlier one had set for the future.
    """
    current, until = spans[0], None
    for index, span in enumerate(spans):
        overruled = any(later.starts_at <= span.starts_at for later in spans[index + 1 :])
        if overruled:
            continue
        if span.starts_at <= moment:
            current = span
        elif until is None:
            until = span.starts_at
    return current, until


def _entities(application: Application, live: Release) -> list[str]:
    """The candidate's served entity, and stable's where there is one to compare with."""
    assert live.pinned is not None, "a live release has a pinned plan"
    versions = [live.version, *([live.pinned.baseline] if live.pinned.baseline else [])]
    return [application.entity(version) for version in versions]


def _block(number: int, span: Span, since: datetime, closed: datetime, look: Look) -> Block:
    return Block(
        number=number,
        source=SOURCE,
        span=span.number,
        step=span.step,
        comparable=span.settled and 0 < span.weight < WHOLE,
        opened_at=since,
        closed_at=closed,
        candidate=look.candidate,
        stable=look.stable,
        unattributed=look.unattributed,
    )
