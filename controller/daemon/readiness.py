"""Readiness: whether the daemon can do its work, told in one sentence if it cannot."""

import time
from collections.abc import Callable
from datetime import timedelta

from controller.daemon.watchdog import MARGIN_S, MISSED
from controller.record.errors import RecordError
from controller.record.store import Store


class Readiness:
    """The store answers, and the workspace has told of an endpoint lately.

    The configuration is loaded before anything can ask. A replica that others leave nothing to look
    after is ready to take over.
    """

    def __init__(
        self,
        store: Store,
        pace: timedelta,
        clock: Callable[[], float] = time.monotonic,
        idle: Callable[[], bool] = lambda: False,
    ) -> None:
        """`idle` tells whether there is nothing to look after."""
        self._store, self._clock, self._idle = store, clock, idle
        self._patience_s = MISSED * pace.total_seconds() + MARGIN_S
        self._seen_at: float | None = None

    def seen(self) -> None:
        """The workspace has just told of an endpoint, or that it is not there."""
        self._seen_at = self._clock()

    def trouble(self) -> str | None:
        """What is not ready; None while all is."""
        try:
            self._store.now()
        except RecordError as error:
            return f"store: {error}"
        if self._idle():
            return None
        if self._seen_at is None:
            return "workspace: no look at it has succeeded yet"
        unseen_s = self._clock() - self._seen_at
        if unseen_s > self._patience_s:
            return f"workspace: not seen for {unseen_s:.0f} s; the log says why"
        return None
