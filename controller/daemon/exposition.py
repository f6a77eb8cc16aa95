"""What Prometheus is told: the record at this moment, the journal counted, and this process's work.

All of it is read when somebody scrapes, and nothing of it on a pass. What is told of the record is
the same from every replica, so that only the one that prints the log tells it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from importlib.metadata import version
from threading import Lock

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controller.daemon.beat import Daemon
from controller.daemon.openapi import Described, described
from controller.record.budget import BUDGET, Budget
from controller.record.census import Census, census
from controller.record.errors import RecordError
from controller.record.leases import PRINTER
from controller.record.loading import understood
from controller.record.store import Store
from controller.record.tally import Spread, Tally
from states.machine import State, Trigger
from states.release import Release

PATH = "/metrics"
READ_S = 2.0
"""Longest that one scrape counts journal rows of before this process; the next goes on there."""


class Exposition(Collector):
    """Everything that is read at a scrape; `Instruments` holds what is counted meanwhile."""

    def __init__(
        self,
        store: Store,
        daemon: Daemon,
        budget: Budget,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` is this machine's, which Prometheus compares with its own."""
        self._store, self._daemon, self._budget, self._clock = store, daemon, budget, clock
        self._tenure = daemon.tenure
        self._tally = Tally()
        self._reading = Lock()

    def collect(self) -> Iterator[Metric]:
        """All families, in the order of their page."""
        info = {
            "version": version("headgate"),
            "store": "postgresql" if self._store.shared else "sqlite",
        }
        yield InfoMetricFamily("headgate", "The daemon's version and kind of store.", info)
        yield from self._of_the_process()
        try:
            yield from self._of_the_record()
        except RecordError:
            # Its sentence is in the log, and at /readyz; here is what an alert can be made of.
            yield _gauge("headgate_store_usable", "Whether the record can be read.", 0.0)
        else:
            yield _gauge("headgate_store_usable", "Whether the record can be read.", 1.0)

    def _of_the_process(self) -> Iterator[Metric]:
        yield _gauge(
            "headgate_last_beat_timestamp_seconds",
            "When a beat last ended, on this machine's clock: every application is due once in it.",
            self._clock() - self._daemon.watchdog.silent_s,
        )
        yield _gauge(
            "headgate_poll_seconds",
            "The pace of beats, as configured.",
            self._daemon.watchdog.pace.total_seconds(),
        )
        yield _gauge(
            "headgate_longest_pass_seconds",
            "For how long the oldest pass under way has run.",
            self._daemon.passes.longest_s(),
        )
        yield _gauge(
            "headgate_log_writable",
            "Whether the log can be written; rows of the journal wait until it can.",
            float(self._daemon.printer.trouble() is None),
        )
        yield CounterMetricFamily(
            "headgate_log_lost_lines",
            "Lines that could not be written to the log: none of them are rows of the journal.",
            self._daemon.printer.lost,
        )
        yield _labelled(
            GaugeMetricFamily(
                "headgate_application_quarantined",
                "The passes of an application fail so often that it is tried rarely.",
                labels=("application",),
            ),
            (
                ((name,), 1.0)
                for name in sorted(self._daemon.passes.quarantined())
                if name in self._tenure
            ),
        )
        held = self._tenure.epochs()
        yield _labelled(
            GaugeMetricFamily(
                "headgate_lease_held",
                f"Whether this replica looks after an application; {PRINTER}: prints the log.",
                labels=("application",),
            ),
            (((name,), float(epoch is not None)) for name, epoch in held.items()),
        )
        yield _labelled(
            GaugeMetricFamily(
                "headgate_lease_epoch",
                "How often the lease that this replica holds was taken, by any; 0 without leases.",
                labels=("application",),
            ),
            (((name,), float(epoch)) for name, epoch in held.items() if epoch is not None),
        )

    def _of_the_record(self) -> Iterator[Metric]:
        """Read by one scrape at a time: a second one goes on from where the first came to."""
        with self._reading:
            with self._store.reading() as connection, understood("an application"):
                found = census(connection)
                left = self._budget.left(connection)
            yield _gauge(
                "headgate_workspace_writes_left",
                f"Endpoint writes left in the window, of {BUDGET}; the last ones for rollbacks.",
                left,
            )
            if not self._tenure.prints():
                # Another replica tells of the record, and has counted on meanwhile.
                return
            yield from _of_releases(found)
            yield from _of_evidence(found)
            yield CounterMetricFamily(
                "headgate_journal_rows", "Rows of the journal, ever: its last `seq`.", found.seq
            )
            yield _gauge(
                "headgate_journal_unprinted_rows",
                "Rows that are not known to be printed to the log yet.",
                max(found.seq - max(found.printed, self._store.printed()), 0),
            )
            # Half of a past would look like a sudden rise: it is told once it is whole.
            if self._counted(found.seq):
                yield from _of_the_journal(self._tally, found)

    def _counted(self, last: int) -> bool:
        """Count the journal on; False while more of it is left than one scrape has time for."""
        if last < self._tally.seq:
            # A backup was restored in its place: what it has not seen did not happen.
            self._tally = Tally()
        until = time.monotonic() + READ_S
        while True:
            with self._store.reading() as connection:
                if self._tally.read(connection, last):
                    return True
            if time.monotonic() >= until:
                return False


def route(registry: CollectorRegistry) -> Route:
    """Where it is scraped, in the text format of Prometheus or in OpenMetrics."""

    @described(Described(kinds=("text/plain", "application/openmetrics-text")))
    def metrics(request: Request) -> Response:
        """The record and this process's work as Prometheus reads them, or OpenMetrics."""
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": kind})

    return Route(PATH, metrics)


def _of_releases(found: Census) -> Iterator[Metric]:
    yield _labelled(
        GaugeMetricFamily(
            "headgate_releases",
            "Releases of an application by state.",
            labels=("application", "state"),
        ),
        (((name, state), float(count)) for name, state, count in found.states),
    )
    yield _labelled(
        GaugeMetricFamily(
            "headgate_live_state_seconds",
            "For how long the live release has been in its state, or on its step.",
            labels=("application", "state"),
        ),
        (((one.application, one.state.value), _since(one.since, found.now)) for one in found.live),
    )
    yield _labelled(
        GaugeMetricFamily(
            "headgate_live_unsettled_seconds",
            "For how long the world was not seen as the live release's state wants it; else 0.",
            labels=("application", "state"),
        ),
        (
            (
                (one.application, one.state.value),
                0.0 if one.settled else _since(one.since, found.now),
            )
            for one in found.live
        ),
    )
    for name, told, value in (
        ("wanted", "that the live release should get", _wanted),
        ("seen", "that the live release was seen to get, when last settled", _seen),
    ):
        yield _labelled(
            GaugeMetricFamily(
                f"headgate_live_weight_{name}_ratio",
                f"The share of users {told}.",
                labels=("application",),
            ),
            (((one.application,), value(one)) for one in found.live),
        )
    yield _labelled(
        GaugeMetricFamily(
            "headgate_held",
            "Something of an application is held, and whether a person has to act.",
            labels=("application", "needs_person"),
        ),
        (((name, "yes" if person else "no"), 1.0) for name, person in found.holds),
    )


def _wanted(release: Release) -> float:
    return release.weight / 100


def _seen(release: Release) -> float:
    return (release.weight_seen or 0) / 100


def _of_evidence(found: Census) -> Iterator[Metric]:
    ages = [
        ((one.application, source), _since(one.watermarks.get(source, begun), found.now))
        for one in found.live
        if one.state in (State.CANARY, State.PRODUCTION) and one.spans
        for begun in (one.spans[0].starts_at,)
        for source in sorted(set(one.sources.values()))
    ]
    yield _labelled(
        GaugeMetricFamily(
            "headgate_evidence_age_seconds",
            "How long ago everything that a counting source of the live release told of was.",
            labels=("application", "source"),
        ),
        ages,
    )
    allowed = [
        ((one.application,), one.pinned.max_lag.total_seconds())
        for one in found.live
        if one.pinned is not None
    ]
    yield _labelled(
        GaugeMetricFamily(
            "headgate_evidence_max_lag_seconds",
            "How old evidence of the live release may be before its source counts as broken.",
            labels=("application",),
        ),
        allowed,
    )


def _of_the_journal(tally: Tally, found: Census) -> Iterator[Metric]:
    # A counter that appears with its first rollback would not have risen, as Prometheus sees it.
    never = {(name, Trigger.ROLL_BACK, State.ROLLED_BACK): 0 for name, _, _ in found.states}
    moves = never | tally.transitions
    yield _labelled(
        CounterMetricFamily(
            "headgate_decisions",
            "Verdicts of the guards, each counted when it changes or decides.",
            labels=("application", "guard", "verdict"),
        ),
        ((key, float(count)) for key, count in sorted(tally.verdicts.items())),
    )
    yield _labelled(
        CounterMetricFamily(
            "headgate_transitions",
            "Moves of releases by trigger and the state that they led to.",
            labels=("application", "trigger", "state"),
        ),
        ((key, float(count)) for key, count in sorted(moves.items())),
    )
    yield _labelled(
        CounterMetricFamily(
            "headgate_blind_seconds",
            "For how long the counting source was broken while a release needed it.",
            labels=("application",),
        ),
        (
            ((name,), spent.total_seconds())
            for name, spent in sorted(tally.blind(found.now).items())
        ),
    )
    yield _labelled(
        GaugeMetricFamily(
            "headgate_blind",
            "The counting source of an application is broken, and a release needs it.",
            labels=("application",),
        ),
        (((name,), 1.0) for name in sorted(tally.blind_now)),
    )
    yield _histogram(
        "headgate_decision_seconds",
        "From opening a step to the decision that ended it, by what was decided.",
        tally.decided,
    )
    yield _histogram(
        "headgate_shut_seconds",
        "From deciding to take a version's users back to seeing them gone, by trigger.",
        tally.shut,
    )


def _histogram(name: str, told: str, spreads: Mapping[str, Spread]) -> Metric:
    """Without applications: a series for each bucket of each would be too many."""
    family = HistogramMetricFamily(name, told, labels=("trigger",))
    for trigger, spread in sorted(spreads.items()):
        below, buckets = 0, []
        for bound, count in zip((*spread.bounds, "+Inf"), spread.counts, strict=True):
            below += count
            buckets.append((str(bound), float(below)))
        family.add_metric((trigger,), buckets, spread.total)
    return family


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(name, told, value=value)


def _labelled(
    family: GaugeMetricFamily | CounterMetricFamily,
    values: Iterable[tuple[tuple[str, ...], float]],
) -> Metric:
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def _since(then: datetime, now: datetime) -> float:
    """Seconds; nothing where a clock was set back."""
    return max((now - then).total_seconds(), 0.0)
