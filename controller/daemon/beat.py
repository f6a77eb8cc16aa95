"""The beat: it starts the passes that are due, at a pace that no clock can stop; and its life."""

import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from queue import Empty, SimpleQueue
from types import FrameType

import structlog

from controller.daemon.instruments import Instruments
from controller.daemon.lanes import Passes, Runs
from controller.daemon.tenure import Tenure
from controller.daemon.tick import Tick
from controller.daemon.watchdog import Watchdog
from controller.record.errors import RecordError
from controller.record.lines import HEARTBEAT_EVERY
from controller.record.printer import Printer
from controller.record.store import Store
from states.plan import Event

DRAIN_S = 30.0
"""Longest wait for passes under way when the daemon is asked to end."""
RESCUE_S = 5.0
"""How often rollbacks are looked at, where the beat is slower: a call that failed is soon tried
again, as far as the backoff of its endpoint permits."""
LISTEN_S = 0.5
"""Longest wait for a signal at a time, in seconds. Python runs a handler between two instructions:
one whose signal came right before a wait without end would not run until the wait was over."""
log = structlog.get_logger()


def _nothing() -> None:
    pass


class Daemon:
    """Beats until it is asked to end."""

    def __init__(  # noqa: PLR0913 - what a daemon is made of
        self,
        store: Store,
        printer: Printer,
        passes: Mapping[str, Runs],
        poll: timedelta,
        tenure: Tenure | None = None,
        *,
        begin: Callable[[], None] = _nothing,
        instruments: Instruments | None = None,
    ) -> None:
        """`begin` is called at the begin of each beat."""
        self._begin = begin
        self._store = store
        self.printer = printer
        self._applications = passes
        self.tenure = tenure or Tenure(passes.keys())
        counting = instruments or Instruments()
        self.passes = Passes(passes, store, tenure=self.tenure, instruments=counting)
        self.watchdog = Watchdog(poll, self.passes.longest_s)
        self._tick = Tick(poll)
        self._over = threading.Event()
        self._beating: threading.Thread | None = None
        self._telling = ThreadPoolExecutor(1, thread_name_prefix="heartbeat")
        self._told: Future[None] | None = None
        # Unlike an Event, this queue may be put to by a handler that interrupts its own waiting.
        self._signals = SimpleQueue[signal.Signals]()
        self._heartbeat_at: float | None = None
        self._unprinted: str | None = None
        """Why the last beat could not read what is to be printed."""

    def run(self) -> int:
        """Beat until SIGTERM (0) or SIGINT (130): passes under way are finished first."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        told = "Headgate looks after its releases"
        self._store.note(Event(name="daemon.started", because=told))
        self.tenure.begin(self.passes.busy)
        self.start()
        ended = self._await_signal()
        self.stop()
        self._drain(ended)
        return 130 if ended == signal.SIGINT else 0

    def start(self) -> None:
        """Beat from now on, on a thread of its own."""
        self._tick.start()
        self._start_beating()

    def stop(self) -> None:
        """Beat no more; a beat under way is not waited for."""
        self._over.set()
        self._tick.stop()

    def beat(self) -> None:
        """Start the passes that are due, and tell the state if it is time."""
        try:
            self._begin()
            self.passes.start_due()
            self._tell_state()
            self._print_new()
        except Exception:
            # Whatever it is, the next beat comes: a daemon that stops beating rolls nothing back.
            log.exception("beat.failed")
        else:
            self.watchdog.beaten()

    @property
    def ending(self) -> bool:
        """It was asked to end, and begins no pass any more."""
        return self._over.is_set()

    def ring(self, names: Collection[str]) -> Collection[str]:
        """Look at applications at once; these are those of them that are looked after here."""
        rung = self.passes.ring(names)
        self._tick.knock()
        return rung

    def watch(self) -> None:
        """Tell of a beat that stopped, and start it again if its thread is gone."""
        self.watchdog.check()
        if self._beating is not None and not self._beating.is_alive() and not self._over.is_set():
            self._start_beating()

    def _start_beating(self) -> None:
        # A daemon thread: one that hangs must not keep the process from ending.
        self._beating = threading.Thread(target=self._beats, name="beat", daemon=True)
        self._beating.start()

    def _beats(self) -> None:
        while not self._over.is_set():
            self.beat()
            self._tick.wait(self._between)

    def _between(self) -> float:
        """Between two beats: in how many seconds at most there is something to do again.

        Users who are to go home do not wait for the next beat, nor does who rang.
        """
        try:
            return min(RESCUE_S, self.passes.start_between(RESCUE_S))
        except Exception:
            log.exception("beat.failed")
            return RESCUE_S

    def _print_new(self) -> None:
        """Of what other replicas wrote, only a look at the journal tells.

        A store that cannot be read ends no beat: passes go on asking it, and a restart is no help.
        """
        try:
            self.printer.print_new()
        except RecordError as error:
            if self._unprinted != str(error):
                log.error("store.failed", because=str(error))
            self._unprinted = str(error)
            return
        self._unprinted = None

    def _tell_state(self) -> None:
        now = time.monotonic()
        due = (
            self._heartbeat_at is None
            or now - self._heartbeat_at >= HEARTBEAT_EVERY.total_seconds()
        )
        if not due or (self._told is not None and not self._told.done()):
            return
        self._heartbeat_at = now
        self._told = self._telling.submit(self._tell_each)

    def _tell_each(self) -> None:
        for name, one in self._applications.items():
            if not self.printer.ours():
                return
            try:
                loaded = self._store.load(name, one.spec)
                self.printer.heartbeat(loaded.application, loaded.as_of_seq)
            except RecordError as error:
                log.error("store.failed", application=name, because=str(error))
            except Exception:
                log.exception("heartbeat.failed", application=name)

    def _end(self, number: int, _: FrameType | None) -> None:
        self._signals.put(signal.Signals(number))

    def _await_signal(self) -> signal.Signals:
        while True:
            with suppress(Empty):
                return self._signals.get(timeout=LISTEN_S)
            self.watch()

    def _drain(self, ended: signal.Signals) -> None:
        self._telling.shutdown(wait=False, cancel_futures=True)
        late, told = self.passes.end(DRAIN_S), "passes under way ended"
        if late:
            told = f"{late} passes were still under way after {DRAIN_S:.0f} s, and are cut off"
        try:
            self._store.note(Event(name="daemon.stopped", because=f"{ended.name}: {told}"))
            self.printer.print_new()
        except RecordError as error:
            log.error("store.failed", because=str(error))
        self.tenure.end()
        if late:
            # Their threads would keep the process alive for as long as they hang.
            os._exit(0 if ended == signal.SIGTERM else 130)
