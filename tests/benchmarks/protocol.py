"""What the benchmark of judging says to a system, and what it hears back.

Every system, ours and the peers', sees the same three things: both versions' counts per closed
window, as late as the world's lag says; the whole endpoint's minutes, one minute old; and the time.
It answers with the share of traffic that it wants for the candidate.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NONE_MS: Floats = np.empty(0)

TICK_S = 15.0
"""Length of one window. Nothing is finer: a weight holds for a whole window."""


class Counts(NamedTuple):
    """One version's requests in one window.

    A session is a first attempt with all its retries, so without retries it is a request.
    Latencies, in milliseconds, are in the order of arrival; empty where a world has none.
    """

    requests: int = 0
    errors: int = 0
    sessions: int = 0
    failed_sessions: int = 0
    latencies_ms: Floats = NONE_MS


class Window(NamedTuple):
    """Both versions' rows of one closed window, in seconds since the release began.

    Windows before 0 are the hour before it, with weight 0; they alone tell `replicas`: requests
    and errors of each of the stable version's replicas. `late` counts rows of earlier windows that
    arrived after these had been delivered; they are in no window's counts.
    """

    start_s: float
    end_s: float
    weight: float
    candidate: Counts
    stable: Counts
    late: int = 0
    replicas: tuple[tuple[int, int], ...] = ()


class EndpointMinute(NamedTuple):
    """Requests and errors of the whole endpoint, both versions together, as its metrics tell."""

    start_s: float
    end_s: float
    requests: int
    errors: int


class End(Enum):
    """How a release ended."""

    ROLLED_BACK = "rolled back"
    PROMOTED = "promoted"


class Decision(NamedTuple):
    """The share of traffic wanted for the candidate, 0 to 1, and whether the release is over.

    `fused` is true while the candidate is shut because of the endpoint's own errors, unblamed.
    """

    weight: float
    end: End | None = None
    fused: bool = False


ROLLED_BACK = Decision(0.0, End.ROLLED_BACK)
PROMOTED = Decision(1.0, End.PROMOTED)


class System(Protocol):
    """A release controller's judgement, made anew for each release.

    `every_s` is how often it looks, a multiple of `TICK_S`. The first look, at 0, brings the hour
    before the release if `wants_past`; each further one brings what has arrived since the last.
    """

    every_s: float
    wants_past: bool

    def look(
        self, now_s: float, windows: Sequence[Window], minutes: Sequence[EndpointMinute]
    ) -> Decision:
        """Judge by what has arrived."""
        ...


class Make(Protocol):
    """Makes a system for one release: the lag that it may plan with, and a seed of its own."""

    def __call__(self, *, lag_s: float, seed: int) -> System: ...


def total(counts: Iterable[Counts]) -> Counts:
    """Several windows of one version as one."""
    several = tuple(counts)
    if len(several) == 1:
        return several[0]
    slow = [one.latencies_ms for one in several if one.latencies_ms.size]
    return Counts(
        sum(one.requests for one in several),
        sum(one.errors for one in several),
        sum(one.sessions for one in several),
        sum(one.failed_sessions for one in several),
        np.concatenate(slow) if slow else NONE_MS,
    )


def joined(windows: Sequence[Window]) -> Window:
    """Adjoining windows as one, under the last one's weight."""
    if len(windows) == 1:
        return windows[0]
    return Window(
        windows[0].start_s,
        windows[-1].end_s,
        windows[-1].weight,
        total(one.candidate for one in windows),
        total(one.stable for one in windows),
        sum(one.late for one in windows),
    )
