"""Rings: which applications somebody wants looked at, and when each of them may be."""

import threading
from collections.abc import Callable, Collection

EVERY_S = 1.0
"""Between two passes of an application that were both rung for."""


class Rings:
    """Rings that no pass has begun after yet, however many there were; from any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: set[str] = set()
        self._answered_at: dict[str, float] = {}

    def ring(self, names: Collection[str]) -> None:
        """Want these looked at."""
        with self._lock:
            self._waiting.update(names)

    def due(self) -> list[str]:
        """Those that may be looked at now."""
        now = self._clock()
        with self._lock:
            return sorted(name for name in self._waiting if self._wait_s(name, now) <= 0)

    def wait_s(self) -> float:
        """In how many seconds the next may be looked at; without end, if nobody waits."""
        now = self._clock()
        with self._lock:
            waits = (self._wait_s(name, now) for name in self._waiting)
            return max(0.0, min(waits, default=float("inf")))

    def answered(self, name: str) -> None:
        """A pass is about to begin, and will see whatever was rung for until now."""
        with self._lock:
            if name in self._waiting:
                self._waiting.remove(name)
                self._answered_at[name] = self._clock()

    def _wait_s(self, name: str, now: float) -> float:
        answered_at = self._answered_at.get(name)
        return 0.0 if answered_at is None else answered_at + EVERY_S - now
