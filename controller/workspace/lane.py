"""One call at a time, off the caller's thread, where a call's own timeouts cannot be trusted."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from controller.workspace.deadlines import at_most
from controller.workspace.errors import Unreachable

Result = TypeVar("Result")

FORSAKEN_AFTER_S = 30.0
"""How long the first hanging call is waited for by later callers before another one is started."""
FORSAKEN_AT_MOST_S = 3600.0


class Lane(Generic[Result]):
    """Callers share the call under way, and none of them waits longer than the deadline.

    A thread cannot be ended from outside, so a call that hangs is left behind. Each one left
    behind doubles the time until the next is: a day of silence costs some thirty threads.
    """

    def __init__(self, what: str, function: Callable[[], Result], deadline_s: float) -> None:
        self._what = what
        self._function = function
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._running: Future[Result] | None = None
        self._since = 0.0
        self._patience_s = FORSAKEN_AFTER_S

    def __call__(self) -> Result:
        """The function's result or exception, or Unreachable when the deadline has passed.

        Or when that of the caller has (`deadlines.before`), if it is sooner.
        """
        future, seconds = self._join(), at_most(self._deadline_s)
        try:
            result = future.result(timeout=seconds)
        except TimeoutError as error:
            if future.done():
                raise
            raise Unreachable(
                f"{self._what}: no answer in {seconds:.3g} s: Headgate looks again"
            ) from error
        self._patience_s = FORSAKEN_AFTER_S
        return result

    def _join(self) -> Future[Result]:
        """The call under way, or a new one."""
        with self._lock:
            now = time.monotonic()
            if self._running is not None and not self._running.done():
                if now - self._since < self._patience_s:
                    return self._running
                self._patience_s = min(2 * self._patience_s, FORSAKEN_AT_MOST_S)
            self._running, self._since = Future(), now
            # A daemon thread: one that hangs must not keep the process from ending.
            threading.Thread(
                target=self._run, args=(self._running,), name=self._what, daemon=True
            ).start()
            return self._running

    def _run(self, future: Future[Result]) -> None:
        try:
            future.set_result(self._function())
        except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
            future.set_exception(error)
