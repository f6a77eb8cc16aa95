"""The clock of this machine that every span of time is measured by which must not be cut short."""

import time


def steady() -> float:
    """Seconds on a clock that is never set, and that goes on while the machine sleeps.

    `time.monotonic` stands still on Linux while a virtual machine is suspended: by it a lease that
    others took over meanwhile would still be ours on waking up, and a call still in time.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
