"""The beat: one scheduled job that starts the passes that are due, and the daemon's life."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, timedelta
from queue import Empty, SimpleQueue
from types import FrameType

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from controller.daemon.passes import Pass
from controller.record.errors import RecordError
from controller.record.printer import Printer
from controller.record.store import Store
from states.plan import Event

WORKERS = 8
"""Most passes at the same time: each waits for the workspace, not for the processor."""
HEARTBEAT = timedelta(minutes=5)
DRAIN_S = 30.0
"""Longest wait for passes under way when the daemon is asked to end."""
LISTEN_S = 0.5
"""Longest wait for a signal at a time, in seconds. Python runs a handler between two instructions:
one whose signal came right before a wait without end would not run until the wait was over."""
log = structlog.get_logger()


class Daemon:
    """Beats until it is asked to end."""

    def __init__(
        self,
        store: Store,
        printer: Printer,
        passes: Mapping[str, Pass],
        poll: timedelta,
    ) -> None:
        self._store = store
        self._printer = printer
        self._passes = passes
        self._poll = poll
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="pass")
        self._flying: dict[str, Future[None]] = {}
        # Unlike an Event, this queue may be put to by a handler that interrupts its own waiting.
        self._signals = SimpleQueue[signal.Signals]()
        self._heartbeat_at: float | None = None

    def run(self) -> int:
        """Beat until SIGTERM (0) or SIGINT (130): passes under way are finished first."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        self._store.note(Event(name="daemon.started", because="Headgate looks after its releases"))
        scheduler = BackgroundScheduler(timezone=UTC)
        scheduler.add_job(
            self.beat,
            "interval",
            seconds=self._poll.total_seconds(),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
        scheduler.start()
        self.beat()
        ended = self._await_signal()
        scheduler.shutdown(wait=True)
        self._drain(ended)
        return 130 if ended == signal.SIGINT else 0

    def beat(self) -> None:
        """Start a pass for every application that has none under way."""
        for name, one in self._passes.items():
            flying = self._flying.get(name)
            if flying is None or flying.done():
                self._flying[name] = self._pool.submit(self._guarded, name, one.run)
        self._tell_state()

    def _guarded(self, name: str, run: Callable[[], None]) -> None:
        """One application's trouble must not stop the others; the next beat tries again."""
        try:
            run()
        except RecordError as error:
            log.error("store.failed", application=name, because=str(error))
        except Exception:
            log.exception("pass.failed", application=name)

    def _tell_state(self) -> None:
        now = time.monotonic()
        due = self._heartbeat_at is None or now - self._heartbeat_at >= HEARTBEAT.total_seconds()
        if not due:
            return
        self._heartbeat_at = now
        try:
            for name, one in self._passes.items():
                loaded = self._store.load(name, one.spec)
                self._printer.heartbeat(loaded.application, loaded.as_of_seq)
        except RecordError as error:
            log.error("store.failed", because=str(error))

    def _end(self, number: int, _: FrameType | None) -> None:
        self._signals.put(signal.Signals(number))

    def _await_signal(self) -> signal.Signals:
        while True:
            with suppress(Empty):
                return self._signals.get(timeout=LISTEN_S)

    def _drain(self, ended: signal.Signals) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        _, late = wait(self._flying.values(), timeout=DRAIN_S)
        told = "passes under way ended"
        if late:
            told = f"{len(late)} passes were still under way after {DRAIN_S:.0f} s, and are cut off"
        try:
            self._store.note(Event(name="daemon.stopped", because=f"{ended.name}: {told}"))
            self._printer.print_new()
        except RecordError as error:
            log.error("store.failed", because=str(error))
        if late:
            # Their threads would keep the process alive for as long as they hang.
            os._exit(0 if ended == signal.SIGTERM else 130)
