"""Stable's last day, asked for once while a release is tested: what it will be compared by."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from policies.guards import History
from states.counted import Paths
from states.machine import State
from states.release import Application
from states.world import Endpoint


class Histories(Protocol):
    """The inference table, as `controller.workspace.inference` brings it."""

    def history(
        self, *, table: str, endpoint: str, stable_entity: str, application: str, paths: Paths
    ) -> History:
        """What the last day of one served entity was like."""


@dataclass(slots=True)
class Past:
    """One application's question about stable's last day, and the answer while it is wanted."""

    table: Histories
    attempt: tuple[str, int] | None = None
    """The release that was asked for last: version and attempt."""
    asked_at: datetime | None = None
    known: History | None = None

    def is_time(self, application: Application, endpoint: Endpoint, now: datetime) -> bool:
        """Whether to ask: for a release in Testing, at first, and at the evidence's pace after."""
        live = application.live
        if live is None or live.state is not State.TESTING or live.history is not None:
            self.attempt = self.asked_at = self.known = None
            return False
        if (live.version, live.attempt) != self.attempt:
            self.attempt = (live.version, live.attempt)
            self.asked_at = self.known = None
        if live.pinned is None or live.pinned.baseline is None or endpoint.inference_table is None:
            return False
        every = application.spec.evidence_every
        # One that lies ahead was asked before the clock was set back: nobody knows when.
        waits = self.asked_at is not None and timedelta() <= now - self.asked_at < every
        return self.known is None and not waits

    def forget(self) -> None:
        """Whatever was asked for was asked at another time."""
        self.attempt = self.asked_at = self.known = None

    def ask(self, application: Application, endpoint: Endpoint, now: datetime) -> History:
        """Ask, and keep the answer until the record has it; raises this workspace's errors."""
        live, table = application.live, endpoint.inference_table
        assert live is not None, "checked by is_time"
        assert live.plan.baseline is not None, "checked by is_time"
        assert table is not None, "checked by is_time"
        self.asked_at = now
        self.known = self.table.history(
            table=table,
            endpoint=application.spec.endpoint,
            stable_entity=application.entity(live.plan.baseline),
            application=application.name,
            paths=application.counted.paths,
        )
        return self.known
