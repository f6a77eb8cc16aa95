"""How other release controllers judge, written anew from what their sources do.

Each module has the peer's rule by itself, which takes measured values and is tested on cases worked
by hand, and a system of the benchmark around it. All climb the same fixed schedule, and each is
given the benefit of a lag: it judges windows when they arrive, never counts a window that has not
arrived as missing, and stays on a step until that step's own windows have been judged.
"""

from collections.abc import Iterator, Sequence

from tests.benchmarks.protocol import Window, joined

STEPS = (0.05, 0.25, 0.50)
STEP_S = 600.0


class Schedule:
    """So long on each step, whatever is measured; then promoted."""

    def __init__(
        self, lag_s: float, steps: Sequence[float] = STEPS, step_s: float = STEP_S
    ) -> None:
        self._steps, self._stay_s = steps, step_s + lag_s

    def weight(self, now_s: float) -> float | None:
        """The weight by now; None when the last step is over."""
        step = int(now_s // self._stay_s)
        return self._steps[step] if step < len(self._steps) else None


class Spans:
    """Collects windows until they fill a span, as a query over the last minutes would see them."""

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._open: list[Window] = []

    def full(self, windows: Sequence[Window]) -> Iterator[list[Window]]:
        """The spans that these windows complete."""
        for window in windows:
            self._open.append(window)
            if window.end_s % self._span_s == 0:
                yield self._open
                self._open = []


def last(windows: Sequence[Window], span_s: float) -> Window:
    """The end of a span, as one window."""
    since = windows[-1].end_s - span_s
    return joined([one for one in windows if one.start_s >= since])
