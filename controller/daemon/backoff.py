"""Backing off: a workspace that fails is asked less and less often, place by place.

Full jitter (a wait anywhere between nothing and a bound that doubles) keeps many endpoints, and
many daemons, from coming back in one wave.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from secrets import randbits

import structlog

from controller.workspace.errors import WorkspaceError

FIRST_S, MOST_S = 1.0, 300.0
"""The bound of the wait after the first failure, and the longest one; it doubles in between.

A `Retry-After` is obeyed within the same two: one of a day would be a day without a rollback."""
URGENT_S = 30.0
"""Longest wait of a rollback, whatever the workspace asks for: one look of an ordinary pace."""
TOLD_AT = 6
"""The failure in a row at which the log tells of it: from here on, waits can outlast a look."""
log = structlog.get_logger()

Draw = Callable[[str, int], float]
"""A number from 0 to 1 that hangs on nothing but what it is for, and its count."""


def drawn(seed: int) -> Draw:
    """Draws that are the same for the same seed, whoever else draws in between."""
    return lambda what, count: Random(f"{seed}/{what}/{count}").random()  # noqa: S311 - jitter


_OWN = drawn(randbits(64))


@dataclass(slots=True)
class Backoff:
    """How long a place is left alone: for looking at it, or for sending to it."""

    what: str
    """As the log tells it: `looking at NAME`."""
    draw: Draw = _OWN
    clock: Callable[[], float] = time.monotonic
    """Seconds, of a clock that never jumps."""
    quiet: bool = False
    """Whoever uses it tells of it by itself."""
    failures: int = 0
    _until: float = field(default=0.0, init=False)
    _since: float = field(default=0.0, init=False)

    def failed(self, error: WorkspaceError) -> None:
        """Wait, from now on, as the workspace asks or as long as it has failed."""
        self.failures += 1
        bound = min(MOST_S, FIRST_S * 2.0 ** min(self.failures - 1, 16))
        wait = bound * self.draw(self.what, self.failures)
        asked = getattr(error, "retry_after_s", None)
        if asked is not None:
            wait = max(wait, min(max(float(asked), FIRST_S), MOST_S))
        self._since = self.clock()
        self._until = self._since + wait
        if self.failures == TOLD_AT and not self.quiet:
            log.warning(
                "workspace.backoff",
                because=f"{self.what} failed {TOLD_AT} times in a row: it is tried less and less "
                f"often, at least every {MOST_S:.0f} s",
            )

    def succeeded(self) -> None:
        """Wait no more."""
        if self.failures >= TOLD_AT and not self.quiet:
            log.info("workspace.recovered", because=f"{self.what} succeeds", failures=self.failures)
        self.failures, self._until = 0, 0.0

    def ready(self, *, urgent: bool = False) -> bool:
        """Whether to try; a rollback waits for a short while only."""
        until = min(self._until, self._since + URGENT_S) if urgent else self._until
        return not self.failures or self.clock() >= until
