"""What `/metrics` exports: gauges and a histogram over the last closed window."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field

BOUNDS_MS = (
    *(5, 10, 25, 50, 75, 100, 250, 500, 750, 1000),
    *(2500, 5000, 7500, 10000, 30000, 60000, 120000, 300000, 600000),
)
"""Upper bounds of the latency buckets in milliseconds; the platform's run from 5 to 600000."""
_CLIENT_ERROR, _SERVER_ERROR = 400, 500


@dataclass
class Window:
    """What happened in one window."""

    requests: int = 0
    client_errors: int = 0
    server_errors: int = 0
    latency_sum_ms: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))

    def add(self, status: int, latency_ms: float) -> None:
        """Count one response."""
        self.requests += 1
        self.client_errors += _CLIENT_ERROR <= status < _SERVER_ERROR
        self.server_errors += status >= _SERVER_ERROR
        self.latency_sum_ms += latency_ms
        self.buckets[bisect.bisect_left(BOUNDS_MS, latency_ms)] += 1


@dataclass
class Meter:
    """Counts an endpoint's responses by window and by the name of the entity that answered.

    Windows begin at multiples of their length.
    """

    length_s: float
    born: float
    """When the endpoint came to be: nothing is told of a window that it did not see whole."""
    windows: dict[int, dict[str, Window]] = field(default_factory=dict)

    def add(self, now: float, entity: str, status: int, latency_ms: float) -> None:
        """Count a response in the window of the time now."""
        number = int(now // self.length_s)
        window = self.windows.get(number)
        if window is None:
            window = self.windows[number] = {}
            for old in [key for key in self.windows if key < number - 1]:
                del self.windows[old]
        window.setdefault(entity, Window()).add(status, latency_ms)

    def closed(self, now: float) -> tuple[dict[str, Window], int] | None:
        """The last window that has closed, and its end in milliseconds since the epoch."""
        number = int(now // self.length_s)
        if (number - 1) * self.length_s < self.born:
            return None
        return self.windows.get(number - 1, {}), int(number * self.length_s * 1000)


@dataclass(frozen=True)
class Resources:
    """What an endpoint's processes have and use."""

    concurrency: int
    cpu_percent: float
    memory_percent: float


@dataclass(frozen=True)
class Group:
    """What is exported under one set of labels."""

    labels: dict[str, str]
    window: Window
    resources: Resources


def together(windows: Sequence[Window]) -> Window:
    """One window that counts what these count."""
    total = Window()
    for window in windows:
        total.requests += window.requests
        total.client_errors += window.client_errors
        total.server_errors += window.server_errors
        total.latency_sum_ms += window.latency_sum_ms
        pairs = zip(total.buckets, window.buckets, strict=True)
        total.buckets = [one + other for one, other in pairs]
    return total


def exposition(groups: Sequence[Group], end_ms: int) -> str:
    """Format one scrape in Prometheus' text format, each sample with the window's end.

    The counts are gauges of one window in spite of `_total`.
    """
    samples: dict[str, list[str]] = {}
    for group in groups:
        for name, lines in _samples(group, end_ms).items():
            samples.setdefault(name, []).extend(lines)
    text: list[str] = []
    for name, lines in samples.items():
        kind = "histogram" if name == "request_latency_ms" else "gauge"
        text += [f"# TYPE {name} {kind}", *lines]
    return "".join(line + "\n" for line in text)


def _samples(group: Group, end_ms: int) -> dict[str, list[str]]:
    """The sample lines of one group by the name of their metric."""
    label = ",".join(f'{name}="{value}"' for name, value in group.labels.items())
    window, resources = group.window, group.resources
    gauges: dict[str, float] = {
        "cpu_usage_percentage": round(resources.cpu_percent, 3),
        "mem_usage_percentage": round(resources.memory_percent, 3),
        "provisioned_concurrent_requests_total": resources.concurrency,
        "request_count_total": window.requests,
        "request_4xx_count_total": window.client_errors,
        "request_5xx_count_total": window.server_errors,
    }
    samples = {name: [f"{name}{{{label}}} {value} {end_ms}"] for name, value in gauges.items()}
    lines: list[str] = []
    below = 0
    for bound, count in zip((*map(str, BOUNDS_MS), "+Inf"), window.buckets, strict=True):
        below += count
        lines.append(f'request_latency_ms_bucket{{{label},le="{bound}"}} {below} {end_ms}')
    lines.append(f"request_latency_ms_sum{{{label}}} {window.latency_sum_ms:.3f} {end_ms}")
    lines.append(f"request_latency_ms_count{{{label}}} {window.requests} {end_ms}")
    return {**samples, "request_latency_ms": lines}
