"""An endpoint's own metrics: how many requests it gets, without a warehouse.

`GET .../metrics` is text in Prometheus' format. Databricks' documentation, "Monitor endpoint
health": `request_count_total` is, in spite of its name, a gauge of the last minute, and each line
ends with a timestamp in milliseconds. Scrape at most once a minute gains nothing.
"""

import re
from datetime import UTC, datetime

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound
from databricks.sdk.service.serving import ServingEndpointsAPI

from controller.workspace.client import translated
from controller.workspace.names import segment
from policies.fuse import Minute

REQUESTS = "request_count_total"
ERRORS = ("request_4xx_count_total", "request_5xx_count_total")
REMEMBERED_MS = 75 * 60 * 1000
"""How long minutes are remembered: the hour before a step, and a little more."""
PACE_MS = 10 * 60 * 1000
"""Over how long the rate is averaged."""
MINUTE_S = 60

_SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r"(?:\{(?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*\})?"
    r"\s+(?P<value>\S+)\s+(?P<at>-?[0-9]+)\s*"
)


def samples(text: str, name: str) -> dict[int, float]:
    """A metric's values by timestamp (ms), summed over its labels; lines without one are left."""
    found: dict[int, float] = {}
    for line in text.splitlines():
        sample = _SAMPLE.fullmatch(line)
        if sample is None or sample["name"] != name:
            continue
        value = float(sample["value"])
        if value >= 0:  # NaN is not
            at = int(sample["at"])
            found[at] = found.get(at, 0.0) + value
    return found


class Traffic:
    """Remembers the closed minutes of every endpoint that it was asked about."""

    def __init__(self, client: WorkspaceClient) -> None:
        self._api = client.serving_endpoints
        self._minutes: dict[str, dict[int, Minute]] = {}

    def minutes(self, endpoint: str) -> tuple[Minute, ...]:
        """Scrape, and tell all closed minutes that are remembered, oldest first."""
        text = self._scrape(endpoint)
        failed = [samples(text, name) for name in ERRORS]
        known = self._minutes.setdefault(endpoint, {})
        for at, count in samples(text, REQUESTS).items():
            errors = sum(one.get(at, 0.0) for one in failed)
            ends_at = datetime.fromtimestamp(at / 1000, UTC)
            known[at] = Minute(ends_at=ends_at, requests=round(count), errors=round(errors))
        newest = max(known, default=0)
        recent = {at: one for at, one in sorted(known.items()) if at > newest - REMEMBERED_MS}
        self._minutes[endpoint] = recent
        return tuple(recent.values())

    def requests_per_second(self, endpoint: str) -> float | None:
        """The mean over the last ten minutes remembered; None when no minute was ever seen."""
        known = self._minutes.get(endpoint, {})
        newest = max(known, default=0)
        recent = [one.requests for at, one in known.items() if at > newest - PACE_MS]
        return sum(recent) / len(recent) / MINUTE_S if recent else None

    def _scrape(self, endpoint: str) -> str:
        return export(self._api, endpoint)


def export(api: ServingEndpointsAPI, endpoint: str) -> str:
    """The text of one export; an endpoint without metrics has none."""
    with translated(f"serving endpoint {endpoint}, its metrics"):
        try:
            contents = api.export_metrics(segment(endpoint)).contents
        except NotFound:
            return ""
        if contents is None:
            return ""
        with contents:
            return contents.read().decode("utf-8", errors="replace")
