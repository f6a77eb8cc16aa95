"""An endpoint's own metrics: how many requests it gets, without a warehouse.

`GET .../metrics` is text in Prometheus' format. Databricks' documentation, "Monitor endpoint
health": `request_count_total` is, in spite of its name, a gauge of the last minute, and each line
ends with a timestamp in milliseconds. Scrape at most once a minute gains nothing.
"""

import re

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound
from databricks.sdk.service.serving import ServingEndpointsAPI

from controller.workspace.client import translated
from controller.workspace.names import segment

REQUESTS = "request_count_total"
WINDOW_MS = 10 * 60 * 1000
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
        self._minutes: dict[str, dict[int, float]] = {}

    def requests_per_second(self, endpoint: str) -> float | None:
        """The mean over the last ten minutes seen; None when no minute was ever seen."""
        minutes = self._minutes.setdefault(endpoint, {})
        minutes |= samples(self._scrape(endpoint), REQUESTS)
        if not minutes:
            return None
        newest = max(minutes)
        recent = {at: count for at, count in minutes.items() if at > newest - WINDOW_MS}
        self._minutes[endpoint] = recent
        return sum(recent.values()) / len(recent) / MINUTE_S

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
