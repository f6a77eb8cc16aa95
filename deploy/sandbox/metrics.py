"""What `/metrics` exports: gauges and a histogram over the last closed window, per endpoint."""

import bisect
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
    """Counts an endpoint's responses by window; windows begin at multiples of their length."""

    length_s: float
    born: float
    """When the endpoint came to be: nothing is told of a window that it did not see whole."""
    windows: dict[int, Window] = field(default_factory=dict)

    def add(self, now: float, status: int, latency_ms: float) -> None:
        """Count a response in the window of the time now."""
        number = int(now // self.length_s)
        window = self.windows.get(number)
        if window is None:
            window = self.windows[number] = Window()
            for old in [key for key in self.windows if key < number - 1]:
                del self.windows[old]
        window.add(status, latency_ms)

    def closed(self, now: float) -> tuple[Window, int] | None:
        """The last window that has closed, and its end in milliseconds since the epoch."""
        number = int(now // self.length_s)
        if (number - 1) * self.length_s < self.born:
            return None
        return self.windows.get(number - 1, Window()), int(number * self.length_s * 1000)


@dataclass(frozen=True)
class Resources:
    """What an endpoint's processes have and use."""

    concurrency: int
    cpu_percent: float
    memory_percent: float


def exposition(endpoint: str, window: Window, end_ms: int, resources: Resources) -> str:
    """Format one scrape in Prometheus' text format, each sample with the window's end.

    The counts are gauges of one window in spite of `_total`. There is no label for the served
    entity: that the platform has one is not known.
    """
    label = f'endpoint_name="{endpoint}"'
    gauges: dict[str, float] = {
        "cpu_usage_percentage": round(resources.cpu_percent, 3),
        "mem_usage_percentage": round(resources.memory_percent, 3),
        "provisioned_concurrent_requests_total": resources.concurrency,
        "request_count_total": window.requests,
        "request_4xx_count_total": window.client_errors,
        "request_5xx_count_total": window.server_errors,
    }
    lines: list[str] = []
    for name, value in gauges.items():
        lines += [f"# TYPE {name} gauge", f"{name}{{{label}}} {value} {end_ms}"]
    lines.append("# TYPE request_latency_ms histogram")
    below = 0
    for bound, count in zip((*map(str, BOUNDS_MS), "+Inf"), window.buckets, strict=True):
        below += count
        lines.append(f'request_latency_ms_bucket{{{label},le="{bound}"}} {below} {end_ms}')
    lines.append(f"request_latency_ms_sum{{{label}}} {window.latency_sum_ms:.3f} {end_ms}")
    lines.append(f"request_latency_ms_count{{{label}}} {window.requests} {end_ms}")
    return "\n".join(lines) + "\n"
