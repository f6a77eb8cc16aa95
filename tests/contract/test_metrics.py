import time
from datetime import timedelta

import pytest
from databricks.sdk import WorkspaceClient

from controller.workspace.metrics import REQUESTS, Traffic, samples
from tests.contract.conftest import Split, name

TEXT = """\
# HELP request_count_total requests of the last minute
# TYPE request_count_total gauge
request_count_total{endpoint_name="a \\"b\\" }c",served="v1"} 90 1700000000000
request_count_total{endpoint_name="a",served="v2"} 30.0 1700000000000
request_count_total 60 1700000060000
request_count_total NaN 1700000120000
request_count_total 7
request_4xx_count_total 5 1700000060000
"""


def test_samples_of_one_minute_are_added_over_their_labels() -> None:
    assert samples(TEXT, REQUESTS) == {1_700_000_000_000: 120.0, 1_700_000_060_000: 60.0}


def _pace(traffic: Traffic, endpoint: str) -> float | None:
    traffic.minutes(endpoint)
    return traffic.requests_per_second(endpoint)


def test_a_minute_tells_its_requests_and_its_errors_of_both_kinds(
    client: WorkspaceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic = Traffic(client)
    text = TEXT + "request_5xx_count_total 2 1700000060000\n"
    monkeypatch.setattr(traffic, "_scrape", lambda _endpoint: text)
    first, second = traffic.minutes("e")
    assert (first.requests, first.errors) == (120, 0)
    assert (second.requests, second.errors) == (60, 7)
    assert second.ends_at - first.ends_at == timedelta(minutes=1)


def test_a_minute_that_is_seen_twice_counts_once_and_old_minutes_are_forgotten(
    client: WorkspaceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic = Traffic(client)
    scrapes = iter([TEXT, TEXT, "request_count_total 240 1700000660000", ""])
    monkeypatch.setattr(traffic, "_scrape", lambda _endpoint: next(scrapes))
    seen = [_pace(traffic, "e") for _ in range(4)]
    assert seen == [1.5, 1.5, 4.0, 4.0]


def test_an_endpoint_without_metrics_has_no_rate(client: WorkspaceClient) -> None:
    assert _pace(Traffic(client), name()) is None


def test_the_workspaces_own_export_is_understood(client: WorkspaceClient, split: Split) -> None:
    traffic, end = Traffic(client), time.monotonic() + 10
    rate = _pace(traffic, split.endpoint)
    while rate is None and time.monotonic() < end:
        time.sleep(0.1)  # the workspace's clock is real here: a window must close
        rate = _pace(traffic, split.endpoint)
    assert rate is not None
    assert rate >= 0
