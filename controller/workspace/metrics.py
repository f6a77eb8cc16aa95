"""An endpoint's own metrics: what it gets and how that ends, without a warehouse.

`GET .../metrics` is text in Prometheus' format. Databricks' documentation, "Monitor endpoint
health": `request_count_total` is, in spite of its name, a gauge of the last minute, and each line
ends with a timestamp in milliseconds; `request_latency_ms` is a histogram of that minute. Scrape
at most once a minute gains nothing. Which labels there are is not documented: where one names the
served entity, the metrics count by version; else they speak of the whole endpoint.
"""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isnan, nan
from typing import Any, Self

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound

from controller.workspace.client import call, translated
from controller.workspace.names import segment
from policies.evidence import Arm
from policies.fuse import Minute

REQUESTS = "request_count_total"
ERRORS = ("request_4xx_count_total", "request_5xx_count_total")
LATENCY_SUM, LATENCY_COUNT = "request_latency_ms_sum", "request_latency_ms_count"
REMEMBERED_MS = 75 * 60 * 1000
"""How long minutes are remembered: the hour before a step, and a little more."""
PACE_MS = 10 * 60 * 1000
"""Over how long the rate is averaged."""
PEAK_MS = 60 * 60 * 1000
"""Over how long the peak is taken."""
MINUTE_S = 60
UNDATED = (
    "the answer with the endpoint's metrics has no Date: nothing compares the workspace's clock "
    "with the record's"
)
DATED = "let the proxy in between keep that header"
"""How that is mended: a server of HTTP sends it (RFC 9110, 6.6.1)."""

_SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r"(?:\{(?P<labels>(?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\})?"
    r"\s+(?P<value>\S+)\s+(?P<at>-?[0-9]+)\s*"
)
_LABEL = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)=\"((?:[^\"\\]|\\.)*)\"")


@dataclass(frozen=True)
class EntityMinute:
    """One closed minute, version by version."""

    ends_at: datetime
    arms: Mapping[str, Arm]
    """By served entity. Every 4xx is an error here, and none is known to be a 429: the metrics tell
    no finer. Headgate's own probes are in it, one for each entity and look."""


@dataclass(frozen=True)
class Labels:
    """Which labels the samples of a metrics export carry, and their values."""

    by_metric: Mapping[str, Mapping[str, frozenset[str]]]

    @classmethod
    def read(cls, text: str) -> Self:
        """The labels of every metric of an export."""
        found: dict[str, dict[str, set[str]]] = {}
        for sample in _samples(text):
            if not sample["labels"]:
                continue
            values = found.setdefault(sample["name"], {})
            for key, value in _LABEL.findall(sample["labels"]):
                values.setdefault(key, set()).add(value)
        return cls(
            {
                name: {key: frozenset(values) for key, values in labels.items()}
                for name, labels in found.items()
            }
        )

    def naming(self, metric: str, names: frozenset[str]) -> str | None:
        """The label of a metric whose values are among these names; most of them, if several.

        The endpoint's own name is none, although an entity may be called the same.
        """
        labels = self.by_metric.get(metric, {})
        found = {key: len(labels[key] & names) for key in sorted(labels)}
        named = [key for key, count in found.items() if count and not key.startswith("endpoint")]
        return max(named, key=found.__getitem__, default=None)


def samples(text: str, name: str) -> dict[int, float]:
    """A metric's values by timestamp (ms), summed over its labels; lines without one are left."""
    found: dict[int, float] = {}
    for at, _, value in _values(text, name):
        found[at] = found.get(at, 0.0) + value
    return found


def samples_by(text: str, name: str, label: str) -> dict[int, dict[str, float]]:
    """A metric's values by timestamp (ms) and by the value of a label; others' lines are left."""
    found: dict[int, dict[str, float]] = {}
    for at, labels, value in _values(text, name):
        named = labels.get(label)
        if named is not None:
            values = found.setdefault(at, {})
            values[named] = values.get(named, 0.0) + value
    return found


def entity_label(text: str, entities: frozenset[str]) -> str | None:
    """The label that names these served entities in requests and errors alike, if there is one.

    Requests by version without their errors would show every version to be well.
    """
    labels = Labels.read(text)
    label = labels.naming(REQUESTS, entities)
    if label is None or any(labels.naming(metric, entities) != label for metric in ERRORS):
        return None
    return label


@dataclass(slots=True)
class _Known:
    """What is remembered of one endpoint, minute by minute, oldest first.

    In arrays, not objects: of ten thousand idle endpoints, each is remembered for an hour.
    """

    at: "array[int]" = field(default_factory=lambda: array("q"))
    """The minutes' ends in ms."""
    requests: "array[int]" = field(default_factory=lambda: array("q"))
    errors: "array[int]" = field(default_factory=lambda: array("q"))
    in_flight: "array[float]" = field(default_factory=lambda: array("d"))
    """Not a number where the export does not tell."""
    by_entity: dict[int, EntityMinute] = field(default_factory=dict)
    labelled: bool = False
    told_at: datetime | None = None

    def since(self, span_ms: int) -> int:
        """The index of the first minute within a span that ends with the newest one."""
        return bisect_right(self.at, self.at[-1] - span_ms) if self.at else 0

    def put(self, at: int, requests: int, errors: int, in_flight: float) -> None:
        """Remember a minute, in its place; one that is told again is told anew."""
        place = bisect_left(self.at, at)
        told = (at, requests, errors, in_flight)
        again = place < len(self.at) and self.at[place] == at
        for column, value in zip(self._columns, told, strict=True):
            if again:
                column[place] = value
            else:
                column.insert(place, value)

    def forget(self) -> None:
        old = self.since(REMEMBERED_MS)
        for column in self._columns:
            del column[:old]
        if self.by_entity:
            first = self.at[0]
            kept = ((at, one) for at, one in sorted(self.by_entity.items()) if at >= first)
            self.by_entity = dict(kept)

    @property
    def _columns(self) -> tuple["array[Any]", ...]:
        return self.at, self.requests, self.errors, self.in_flight


class Traffic:
    """Remembers the closed minutes of every endpoint that it was asked about."""

    def __init__(self, client: WorkspaceClient) -> None:
        self._client = client
        self._known: dict[str, _Known] = {}

    def minutes(self, endpoint: str, entities: frozenset[str] = frozenset()) -> tuple[Minute, ...]:
        """Scrape, and tell all closed minutes that are remembered, oldest first.

        `entities` are the names of those served now, by which a label that names them is known.
        """
        known = self._known.setdefault(endpoint, _Known())
        text, known.told_at = self._scrape(endpoint)
        failed = [samples(text, name) for name in ERRORS]
        requests = samples(text, REQUESTS)
        in_flight = _in_flight(text, requests)
        for at, count in requests.items():
            errors = round(sum(one.get(at, 0.0) for one in failed))
            known.put(at, round(count), errors, in_flight.get(at, nan))
        if requests:
            label = entity_label(text, entities) if entities else None
            known.labelled = label is not None
            if label is not None:
                known.by_entity |= _by_entity(text, label)
        known.forget()
        return tuple(
            Minute(ends_at=_time(at), requests=requests, errors=errors)
            for at, requests, errors in zip(known.at, known.requests, known.errors, strict=True)
        )

    def minutes_by_entity(self, endpoint: str) -> tuple[EntityMinute, ...]:
        """The remembered minutes in which the labels named the entities, oldest first."""
        return tuple(self._of(endpoint).by_entity.values())

    def labelled(self, endpoint: str) -> bool:
        """The labels of the newest minute seen name the served entities."""
        return self._of(endpoint).labelled

    def told_at(self, endpoint: str) -> datetime | None:
        """The `Date` of the last scrape's answer; None where it told none."""
        return self._of(endpoint).told_at

    def requests_per_second(self, endpoint: str) -> float | None:
        """The mean over the last ten minutes remembered; None when no minute was ever seen."""
        known = self._of(endpoint)
        recent = known.requests[known.since(PACE_MS) :]
        return sum(recent) / len(recent) / MINUTE_S if recent else None

    def peak_concurrency(self, endpoint: str) -> float | None:
        """The most requests in flight, averaged over a minute, in the last hour remembered.

        By Little's law, arrivals per second times mean latency. None where latency is not exported.
        """
        known = self._of(endpoint)
        recent = known.in_flight[known.since(PEAK_MS) :]
        return max((one for one in recent if not isnan(one)), default=None)

    def _of(self, endpoint: str) -> _Known:
        return self._known.get(endpoint) or _Known()

    def _scrape(self, endpoint: str) -> tuple[str, datetime | None]:
        return export(self._client, endpoint)


def export(client: WorkspaceClient, endpoint: str) -> tuple[str, datetime | None]:
    """The text of one export, and its `Date`; an endpoint without metrics has neither."""
    with translated(f"serving endpoint {endpoint}, its metrics"):
        place = f"/api/2.0/serving-endpoints/{segment(endpoint)}/metrics"
        text = {"Accept": "text/plain"}
        try:
            # As the SDK's own method asks, which does not hand out what the answer's headers tell.
            found = call(client, "GET", place, headers=text, raw=True, response_headers=["date"])
        except NotFound:
            return "", None
        with found["contents"] as contents:
            return contents.read().decode("utf-8", errors="replace"), _date(found["date"])


def _date(header: str | None) -> datetime | None:
    """A `Date`, as an answer has it; None where it has none that can be read."""
    try:
        moment = parsedate_to_datetime(header) if header else None
    except ValueError:
        return None
    # Without a zone it is not what HTTP has: GMT, always.
    return moment if moment and moment.tzinfo else None


def _by_entity(text: str, label: str) -> dict[int, EntityMinute]:
    """The minutes whose requests and errors are all told by entity: what lacks is never zero."""
    client_errors, server_errors = (samples_by(text, name, label) for name in ERRORS)
    found: dict[int, EntityMinute] = {}
    for at, requests in samples_by(text, REQUESTS, label).items():
        of_client, of_server = client_errors.get(at, {}), server_errors.get(at, {})
        if requests.keys() <= of_client.keys() & of_server.keys():
            arms = {
                name: _arm(count, of_client[name], of_server[name])
                for name, count in requests.items()
            }
            found[at] = EntityMinute(_time(at), arms)
    return found


def _arm(requests: float, client_errors: float, server_errors: float) -> Arm:
    """Counts of one entity; three gauges read one after the other may not quite agree."""
    whole = round(requests)
    return Arm(
        requests=whole,
        errors=min(whole, round(client_errors) + round(server_errors)),
        server_errors=min(whole, round(server_errors)),
    )


def _in_flight(text: str, requests: Mapping[int, float]) -> dict[int, float]:
    """Mean requests in flight by minute, where the export tells of latency."""
    total, answered = samples(text, LATENCY_SUM), samples(text, LATENCY_COUNT)
    return {
        at: count / MINUTE_S * (total[at] / answered[at] / 1000 if answered[at] else 0.0)
        for at, count in requests.items()
        if at in total and (answered.get(at) or (at in answered and not count))
    }


def _values(text: str, name: str) -> Iterator[tuple[int, dict[str, str], float]]:
    for sample in _samples(text, name):
        if sample["name"] == name and (value := float(sample["value"])) >= 0:  # NaN is not
            yield int(sample["at"]), dict(_LABEL.findall(sample["labels"] or "")), value


def _samples(text: str, start: str = "") -> Iterator[re.Match[str]]:
    """The samples of an export, or of the lines of it that start so."""
    for line in text.splitlines():
        if line.startswith(start) and (sample := _SAMPLE.fullmatch(line)) is not None:
            yield sample


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
