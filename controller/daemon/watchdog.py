"""The watchdog: whether the daemon still beats, told in one sentence if it does not."""

import time
from collections.abc import Callable
from datetime import timedelta

import structlog

MISSED, MARGIN_S = 3, 5.0
"""Paces, and seconds on top of them, after which a beat that did not end has stopped."""
HANGS_S = 900.0
"""A pass that takes longer hangs: its calls have deadlines, and what asks much at a look has a time
for it (`probes.LOOK_S`, `replaying.LOOK_S`), which end far below this."""
log = structlog.get_logger()


class Watchdog:
    """Sees the beats end, on a clock that never jumps."""

    def __init__(
        self,
        pace: timedelta,
        longest_s: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pace = pace
        self._patience_s = MISSED * pace.total_seconds() + MARGIN_S
        self._longest_s, self._clock = longest_s, clock
        self._beaten_at = clock()
        self._told = False

    def beaten(self) -> None:
        """A beat ended."""
        self._beaten_at = self._clock()

    @property
    def silent_s(self) -> float:
        """Seconds since a beat ended."""
        return self._clock() - self._beaten_at

    def trouble(self) -> str | None:
        """What is wrong, in a sentence for operators; None while all is well."""
        silent_s = self.silent_s
        if silent_s > self._patience_s:
            return f"no beat ended for {silent_s:.0f} s: nothing is looked at; restart the daemon"
        longest_s = self._longest_s()
        if longest_s > HANGS_S:
            return f"a pass has been under way for {longest_s:.0f} s: it hangs; restart the daemon"
        return None

    def check(self) -> None:
        """Tell of trouble once when it begins, and when it is over."""
        why = self.trouble()
        if why is not None and not self._told:
            log.error("daemon.stalled", because=why)
        elif why is None and self._told:
            log.info("daemon.recovered", because="beats end in time again")
        self._told = why is not None
