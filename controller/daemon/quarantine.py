"""Quarantine: an application whose passes fail unexpectedly is tried at a slow pace only."""

import time
from collections.abc import Callable, Mapping

import structlog

PERMITTED = 5
"""Unexpected failures in a row that are taken for chance."""
PACE_S = 300.0
"""How often an application in quarantine is tried: it heals by itself when the cause has gone."""
log = structlog.get_logger()


class Quarantine:
    """Counts unexpected failures in a row, application by application, in memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, int] = {}
        self._tried: dict[str, float] = {}

    @property
    def failures(self) -> Mapping[str, int]:
        """How often in a row the passes of each application failed; absent: the last did not."""
        return self._failures

    @property
    def held(self) -> frozenset[str]:
        """The applications that are tried at the slow pace only."""
        return frozenset(name for name, one in list(self._failures.items()) if one >= PERMITTED)

    def may_try(self, name: str) -> bool:
        """Whether it is time for an ordinary pass; rollbacks do not ask."""
        if self._failures.get(name, 0) < PERMITTED:
            return True
        return self._clock() - self._tried[name] >= PACE_S

    def failed(self, name: str, error: Exception) -> str | None:
        """Count a failure; the sentence to hold with, from the one on that begins quarantine."""
        self._tried[name] = self._clock()
        count = self._failures[name] = self._failures.get(name, 0) + 1
        if count < PERMITTED:
            return None
        why = (
            f"its passes fail unexpectedly ({type(error).__name__}): it is tried every "
            f"{PACE_S / 60:.0f} min and only goes back, not on; the log has the traceback under "
            "pass.failed"
        )
        if count == PERMITTED:
            log.error("application.quarantined", application=name, because=why)
        return why

    def succeeded(self, name: str) -> None:
        """A pass went through: what was, is over."""
        if self._failures.pop(name, 0) >= PERMITTED:
            log.info("application.freed", application=name, because="its passes go through again")
