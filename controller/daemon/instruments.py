"""What this process counts of its own work, for Prometheus; each daemon has a registry of its own.

Only what cannot be told from the record: passes, calls, errors. It begins anew with the process, as
Prometheus expects of counters, and costs a pass a few microseconds.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

PASS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of a pass's duration, in seconds: from a glance at an idle endpoint to one whose
calls all ran into their deadlines."""
Operation = Literal["read", "write"]
Outcome = Literal["done", "store_failed", "failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


def uncounted(what: str, outcome: str) -> None:
    """Stands for `Instruments.called` where nobody scrapes."""


@dataclass(frozen=True)
class _Scraped(Collector):
    """One family, made when somebody scrapes."""

    family: Callable[[], Metric]

    def collect(self) -> Iterable[Metric]:
        """The family."""
        return (self.family(),)


class Instruments:
    """The counters of one daemon, and the registry that is scraped."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` is the wall clock, in seconds since the epoch: Prometheus compares with its own.

        It is read for what is shown, and decides nothing.
        """
        self._clock = clock
        # One more series for each counter, for what Prometheus sees by itself: that it began anew.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        # auto_describe would run the collectors once, and with them ask the store, at registration.
        self.registry = registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=registry)
        self._passes: dict[str, list[int]] = {}
        """By application, in the order of `OUTCOMES`."""
        self._passed_at: dict[str, float] = {}
        # Both as they are scraped: an object for each series is a quarter of an idle application.
        registry.register(_Scraped(self._pass_counts))
        self._seconds = Histogram(
            "headgate_pass_duration_seconds",
            "How long passes took, whatever their outcome.",
            buckets=PASS_S,
            registry=registry,
        )
        registry.register(_Scraped(self._pass_times))
        self._calls = Counter(
            "headgate_workspace_calls",
            "What was asked of the workspace: operation read or write, kind, and outcome as done, "
            "refused, denied, unsent or unreachable.",
            ("operation", "kind", "outcome"),
            registry=registry,
        )
        self._store_errors = Counter(
            "headgate_store_errors",
            "Passes, and looks for rollbacks, that the store failed.",
            registry=registry,
        )
        self._notices = Counter(
            "headgate_notifications",
            "Messages to each receiver, by outcome: sent or failed.",
            ("receiver", "outcome"),
            registry=registry,
        )
        self._waiting = Gauge(
            "headgate_notifications_waiting",
            "Things that each receiver was not told of yet, as far as they are counted.",
            ("receiver",),
            registry=registry,
        )

    def passed(self, application: str, outcome: Outcome, seconds: float) -> None:
        """A pass has ended."""
        counts = self._passes.setdefault(application, [0] * len(OUTCOMES))
        counts[OUTCOMES.index(outcome)] += 1
        self._seconds.observe(seconds)
        if outcome == "done":
            self._passed_at[application] = self._clock()
        elif outcome == "store_failed":
            self.store_failed()

    def _pass_counts(self) -> Metric:
        family = CounterMetricFamily(
            "headgate_passes",
            "Passes that ended, by outcome: done, store_failed or failed (unexpectedly).",
            labels=("application", "outcome"),
        )
        # Passes end while somebody scrapes.
        for application, counts in list(self._passes.items()):
            # Those that never were are told as 0: else the first of them would not be a rise.
            for outcome, count in zip(OUTCOMES, counts, strict=True):
                family.add_metric((application, outcome), count)
        return family

    def _pass_times(self) -> Metric:
        family = GaugeMetricFamily(
            "headgate_last_pass_timestamp_seconds",
            "When a pass of the application last ended well, on this machine's clock.",
            labels=("application",),
        )
        for application, at in list(self._passed_at.items()):
            family.add_metric((application,), at)
        return family

    def called(self, operation: Operation, kind: str, outcome: str) -> None:
        """Something was asked of the workspace, and this came of it."""
        self._calls.labels(operation, kind, outcome).inc()

    def store_failed(self) -> None:
        """The store could not be read or written."""
        self._store_errors.inc()

    def notified(self, receiver: str, outcome: Literal["sent", "failed"]) -> None:
        """A message was sent to a receiver, or could not be."""
        self._notices.labels(receiver, outcome).inc()

    def waits(self, receiver: str, number: int) -> None:
        """So many things are still to be told to a receiver."""
        self._waiting.labels(receiver).set(number)
