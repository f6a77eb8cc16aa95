"""Lanes: which passes start, and where: rollbacks first, on slots of their own."""

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier, Condition
from typing import Protocol

import structlog

from controller.daemon.instruments import Instruments, Outcome
from controller.daemon.quarantine import Quarantine
from controller.daemon.rings import Rings
from controller.daemon.tenure import Tenure
from controller.record.errors import RecordError, StoreUnusable, Unreadable
from controller.record.store import Store
from states.spec import Spec

WORKERS = 8
"""Most ordinary passes at the same time: each waits for the workspace, not for the processor."""
RESCUERS = 4
"""Most rollbacks at the same time, beside these: eight that hang must not keep one waiting."""
BUSY_S = 0.1
"""How often it is looked whether a pass has ended that somebody rang during."""
log = structlog.get_logger()


class Runs(Protocol):
    """One application's pass, as `controller.daemon.passes` has it."""

    @property
    def spec(self) -> Spec:
        """What the configuration says of the application."""

    def run(self) -> bool:
        """Look and decide until there is something to wait for; False if it is not ours to do."""

    def quarantine(self, why: str) -> None:
        """Hold the live release until a pass succeeds again."""


class _Lane:
    """Slots for passes, and who waits for one, in order.

    A future for each who waits, of ten thousand, would be a tenth of the daemon's memory.
    """

    def __init__(self, slots: int, name: str) -> None:
        self.free, self.waiting = slots, dict[str, _Flight]()
        self.threads = ThreadPoolExecutor(slots, thread_name_prefix=name)
        # Begun now: where no thread could be had later, its pass would wait in vain, and its slot.
        begun = Barrier(slots + 1)
        try:
            for _ in range(slots):
                self.threads.submit(begun.wait)
            begun.wait()
        except RuntimeError:
            begun.abort()
            raise


@dataclass(eq=False, slots=True)
class _Flight:
    """A pass that was started, and has not ended."""

    lane: _Lane
    began: float | None = None
    """When it came to run, on the monotonic clock; None while it waits for a slot."""


@dataclass
class Passes:
    """Starts passes: one under way per application, rollbacks on slots of their own."""

    passes: Mapping[str, Runs]
    store: Store
    clock: Callable[[], float] = time.monotonic
    tenure: Tenure = field(default_factory=lambda: Tenure(()))
    instruments: Instruments = field(default_factory=Instruments)
    _flights: dict[str, _Flight] = field(default_factory=dict, init=False)
    _changing: Condition = field(default_factory=Condition, init=False)
    """Held to change what waits or runs; notified when a pass has ended."""
    _over: bool = field(default=False, init=False)
    _started: dict[str, float] = field(default_factory=dict, init=False)
    _quarantine: Quarantine = field(init=False)
    _rings: Rings = field(init=False)
    _rescued_at: float = field(default=float("-inf"), init=False)
    _unstored: dict[str, str] = field(default_factory=dict, init=False)
    """By application, why its last pass could not use the store."""

    def __post_init__(self) -> None:
        self._ordinary, self._rescue = _Lane(WORKERS, "pass"), _Lane(RESCUERS, "rescue")
        self._quarantine = Quarantine(self.clock)
        self._rings = Rings(self.clock)

    def ring(self, names: Collection[str]) -> list[str]:
        """Want these looked at as soon as may be; those of them that are looked after here."""
        ours = sorted(name for name in names if name in self.passes and name in self.tenure)
        self._rings.ring(ours)
        return ours

    def start_due(self) -> None:
        """Start what is due: rollbacks, then the others, those first that waited longest."""
        urgent = self.start_urgent()
        waiting = [name for name in self.passes.keys() - set(urgent) if name in self.tenure]
        for name in sorted(waiting, key=lambda one: (self._started.get(one, 0.0), one)):
            if self._quarantine.may_try(name):
                self._start(name, self._ordinary)

    def start_urgent(self) -> Collection[str]:
        """Start the rollbacks; these are their names."""
        self._rescued_at = self.clock()
        urgent = self._urgent()
        for name in urgent:
            self._start(name, self._rescue)
        return urgent

    def start_between(self, rescue_every_s: float) -> float:
        """Start who was rung for, and the rollbacks when it is time; seconds until there is more.

        Whoever rings may have ordered an abort: then it goes the way of the rollbacks.
        """
        if self.clock() - self._rescued_at >= rescue_every_s:
            self.start_urgent()
        due = self._rings.due()
        ready = [name for name in due if not self._runs(name)]
        urgent = self._urgent() if ready else []
        for name in ready:
            self._rings.answered(name)
            # One whose passes always fail has a pace of its own, but for rollbacks.
            if name in urgent or self._quarantine.may_try(name):
                self._start(name, self._rescue if name in urgent else self._ordinary)
        waits = self._rings.wait_s() if len(ready) == len(due) else BUSY_S
        return max(0.0, min(waits, self._rescued_at + rescue_every_s - self.clock()))

    def _runs(self, name: str) -> bool:
        """Whether a pass is under way that may have looked already."""
        flight = self._flights.get(name)
        return flight is not None and flight.began is not None

    def longest_s(self) -> float:
        """For how long the oldest pass under way has run, in seconds."""
        now = self.clock()
        began = [one.began for one in list(self._flights.values())]
        return max((now - one for one in began if one is not None), default=0.0)

    def busy(self) -> frozenset[str]:
        """The applications with a pass under way, or waiting for a slot."""
        return frozenset(list(self._flights))

    def trouble(self) -> str | None:
        """Why passes cannot use the store; None once those that could not have gone through."""
        known = list(self._unstored.items())
        return next((why for name, why in known if name in self.tenure), None)

    def quarantined(self) -> frozenset[str]:
        """The applications whose passes fail so often that they are tried at a slow pace only."""
        return self._quarantine.held

    def end(self, within_s: float | None) -> int:
        """Start nothing more, and wait for what is under way: how many passes are cut off.

        None: none is, however long it takes.
        """
        with self._changing:
            self._over = True
            for lane in (self._ordinary, self._rescue):
                for name in lane.waiting:
                    del self._flights[name]
                lane.waiting.clear()
                lane.threads.shutdown(wait=False)
            self._changing.wait_for(lambda: not self._flights, within_s)
            return len(self._flights)

    def _urgent(self) -> list[str]:
        try:
            urgent = self.store.urgent()
            return [name for name in urgent if name in self.passes and name in self.tenure]
        except RecordError as error:
            self.instruments.store_failed()
            log.error("store.failed", because=str(error))
            return []

    def _start(self, name: str, lane: _Lane) -> None:
        with self._changing:
            flight = self._flights.get(name)
            # A rollback does not queue behind others for an ordinary slot.
            overtakes = lane is self._rescue and name in self._ordinary.waiting
            if self._over or (flight is not None and not overtakes):
                return
            if overtakes:
                del self._ordinary.waiting[name]
            self._started[name] = self.clock()
            self._rings.answered(name)
            self._flights[name] = lane.waiting[name] = _Flight(lane)
            self._fill(lane)

    def _fill(self, lane: _Lane) -> None:
        """Give each free slot to who has waited longest for one."""
        while lane.free and lane.waiting:
            name = next(iter(lane.waiting))
            lane.free -= 1
            lane.threads.submit(self._fly, name, lane.waiting.pop(name))

    def _fly(self, name: str, flight: _Flight) -> None:
        """Run one pass; then its slot is the next one's, whatever became of it."""
        try:
            self._guarded(name, flight)
        finally:
            with self._changing:
                del self._flights[name]
                flight.lane.free += 1
                self._fill(flight.lane)
                self._changing.notify_all()

    def _guarded(self, name: str, flight: _Flight) -> None:
        """One application's trouble must not stop the others; a later beat tries again."""
        flight.began = self.clock()
        outcome = self._ran(name)
        self.instruments.passed(name, outcome, self.clock() - flight.began)

    def _ran(self, name: str) -> Outcome:
        try:
            through = self.passes[name].run()
        except Unreadable as error:
            log.error("store.failed", application=name, because=str(error))
            self._quarantine.failed(name, error)
            return "store_failed"
        except RecordError as error:
            log.error("store.failed", application=name, because=str(error))
            if isinstance(error, StoreUnusable):
                self._unstored[name] = str(error)
            return "store_failed"
        except Exception as error:
            log.exception("pass.failed", application=name)
            why = self._quarantine.failed(name, error)
            if why is not None:
                self._hold(name, why)
            return "failed"
        if through:
            self._quarantine.succeeded(name)
            self._unstored.pop(name, None)
        return "done"

    def _hold(self, name: str, why: str) -> None:
        try:
            self.passes[name].quarantine(why)
        except Exception:
            log.exception("quarantine.unwritten", application=name)
