"""The tick: APScheduler keeps the pace, and a monotonic wait sees to it that it does.

APScheduler's interval is on the wall clock: when that is set back an hour, its next run is an hour
away (measured with 3.11). So its one job only rings; who waits for it goes on without it after one
pace and a half, and gives the scheduler a new beginning.
"""

import time
from collections.abc import Callable
from datetime import UTC, timedelta
from threading import Event, Lock

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

OVERDUE = 1.5
"""Paces after which a ring that did not come is not waited for any longer."""
log = structlog.get_logger()


class Tick:
    """Rings once in every pace."""

    def __init__(self, pace: timedelta) -> None:
        self._pace_s = pace.total_seconds()
        self._rung = False
        self._woken = Event()
        self._scheduler: BackgroundScheduler | None = None
        self._changing = Lock()
        """Who waits may begin anew while another thread stops it all."""
        self._over = False

    def start(self) -> None:
        """Ring at the pace from now on, whatever was before; after `stop`, not any more."""
        with self._changing:
            self._end()
            if self._over:
                return
            self._scheduler = BackgroundScheduler(timezone=UTC)
            self._scheduler.add_job(
                self._ring,
                "interval",
                seconds=self._pace_s,
                coalesce=True,
                max_instances=1,
                misfire_grace_time=None,
            )
            self._scheduler.start()

    def stop(self) -> None:
        """Ring no more; whoever waits goes on at once."""
        with self._changing:
            self._over = True
            self._end()
        self._ring()

    def knock(self) -> None:
        """Let whoever waits do at once what is to be done meanwhile."""
        self._woken.set()

    def wait(self, meanwhile: Callable[[], float]) -> None:
        """Wait for the next ring, or for as long as it can be late.

        `meanwhile` is called first, at every knock, and after the seconds that it returns.
        """
        end = time.monotonic() + OVERDUE * self._pace_s
        while True:
            again_s = meanwhile()
            self._woken.wait(max(0.0, min(again_s, end - time.monotonic())))
            self._woken.clear()
            if self._rung:
                break
            if time.monotonic() >= end:
                log.warning(
                    "daemon.tick_lost",
                    because="the scheduler did not ring in time, most likely as the clock was set "
                    "back: it begins anew",
                )
                self.start()
                break
        self._rung = False

    def _ring(self) -> None:
        self._rung = True
        self._woken.set()

    def _end(self) -> None:
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None
