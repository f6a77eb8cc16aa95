import time
from datetime import UTC, datetime, timedelta

import pytest
from databricks.sdk import WorkspaceClient

from controller.workspace.client import connect
from controller.workspace.metrics import REQUESTS, Labels, Traffic, entity_label, samples
from deploy.sandbox.metrics import Group, Resources, Window, exposition
from policies.evidence import NOTHING, Arm
from policies.fuse import Minute
from tests.contract.conftest import Split, name
from tests.contract.recorder import Handler, Recorder

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
    monkeypatch.setattr(traffic, "_scrape", lambda _endpoint: (text, None))
    first, second = traffic.minutes("e")
    assert (first.requests, first.errors) == (120, 0)
    assert (second.requests, second.errors) == (60, 7)
    assert second.ends_at - first.ends_at == timedelta(minutes=1)


def test_a_minute_that_is_seen_twice_counts_once_and_old_minutes_are_forgotten(
    client: WorkspaceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic = Traffic(client)
    scrapes = iter([TEXT, TEXT, "request_count_total 240 1700000660000", ""])
    monkeypatch.setattr(traffic, "_scrape", lambda _endpoint: (next(scrapes), None))
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


V1, V2 = "rag-v1", "rag-v2"
ENTITIES = frozenset({V1, V2})
END_MS = 1_700_000_040_000


def window(requests: int, client_errors: int, server_errors: int, latency_ms: float) -> Window:
    made = Window()
    for status, count in (
        (400, client_errors),
        (503, server_errors),
        (200, requests - client_errors - server_errors),
    ):
        for _ in range(count):
            made.add(status, latency_ms)
    return made


def exported(end_ms: int = END_MS, **windows: Window) -> str:
    """An export whose labels name the entities, as the sandbox writes it."""
    groups = [
        Group(
            {"endpoint_name": "rag", "served_entity_name": name.replace("_", "-")},
            one,
            Resources(4, 10.0, 10.0),
        )
        for name, one in windows.items()
    ]
    return exposition(groups, end_ms)


@pytest.fixture
def scraping(client: WorkspaceClient, monkeypatch: pytest.MonkeyPatch) -> Traffic:
    """Traffic whose scrapes are written by the tests, in its `texts`."""
    traffic, texts = Traffic(client), list[str]()
    monkeypatch.setattr(traffic, "_scrape", lambda _endpoint: (texts.pop(0), None))
    monkeypatch.setattr(traffic, "texts", texts, raising=False)
    return traffic


def scrape(traffic: Traffic, *texts: str) -> tuple[Minute, ...]:
    """Scrape these, one after the other; what is remembered then."""
    traffic.texts[:] = texts  # type: ignore[attr-defined]
    return [traffic.minutes("e", ENTITIES) for _ in texts][-1]


def test_where_the_labels_name_the_entity_each_version_has_its_minutes(scraping: Traffic) -> None:
    first = exported(rag_v1=window(95, 2, 1, 100), rag_v2=window(5, 0, 1, 100))
    second = exported(END_MS + 60_000, rag_v1=window(90, 0, 0, 100), rag_v2=window(0, 0, 0, 0))
    scrape(scraping, first, first, second)
    assert scraping.labelled("e")
    one, other = scraping.minutes_by_entity("e")
    assert one.ends_at == datetime.fromtimestamp(END_MS / 1000, UTC)
    assert one.arms == {
        V1: Arm(requests=95, errors=3, server_errors=1),
        V2: Arm(requests=5, errors=1, server_errors=1),
    }
    assert other.arms == {V1: Arm(requests=90, errors=0, server_errors=0), V2: NOTHING}


def test_the_endpoints_own_minutes_are_the_sum_of_its_versions(scraping: Traffic) -> None:
    text = exported(rag_v1=window(95, 2, 1, 100), rag_v2=window(5, 0, 1, 100))
    [whole] = scrape(scraping, text)
    assert (whole.requests, whole.errors) == (100, 4)


def test_without_such_a_label_no_version_has_minutes_of_its_own(scraping: Traffic) -> None:
    scrape(scraping, TEXT)
    assert not scraping.labelled("e")
    assert scraping.minutes_by_entity("e") == ()


def test_requests_by_version_without_their_errors_count_for_nothing(scraping: Traffic) -> None:
    text = exported(rag_v1=window(95, 2, 1, 100), rag_v2=window(5, 0, 1, 100))
    lines = [line for line in text.splitlines() if not line.startswith("request_5xx")]
    scrape(scraping, "\n".join(lines))
    assert not scraping.labelled("e")
    lines = [line for line in text.splitlines() if not (V2 in line and "request_5xx" in line)]
    scrape(scraping, "\n".join(lines))
    assert scraping.labelled("e")
    assert scraping.minutes_by_entity("e") == ()


def test_an_endpoint_that_is_called_like_its_entity_does_not_name_the_entity() -> None:
    text = "".join(f'{name}{{endpoint_name="{V1}"}} 3 9\n' for name in (REQUESTS, "other"))
    assert Labels.read(text).naming(REQUESTS, ENTITIES) is None
    assert entity_label(text, ENTITIES) is None


def test_an_empty_scrape_forgets_neither_minutes_nor_labels(scraping: Traffic) -> None:
    scrape(scraping, exported(rag_v1=window(9, 0, 0, 100)), "")
    assert scraping.labelled("e")
    assert len(scraping.minutes_by_entity("e")) == 1


def test_the_peak_is_the_last_hours_and_what_littles_law_says(scraping: Traffic) -> None:
    assert scraping.peak_concurrency("e") is None
    scrape(scraping, exported(rag_v1=window(60, 0, 0, 2000), rag_v2=window(30, 0, 0, 4000)))
    assert scraping.peak_concurrency("e") == pytest.approx((60 * 2 + 30 * 4) / 60)
    quiet = exported(END_MS + 59 * 60_000, rag_v1=window(6, 0, 0, 1000))
    scrape(scraping, quiet)
    assert scraping.peak_concurrency("e") == pytest.approx(4.0)
    scrape(scraping, exported(END_MS + 61 * 60_000, rag_v1=window(0, 0, 0, 0)))
    assert scraping.peak_concurrency("e") == pytest.approx(0.1)


def test_without_latency_there_is_no_peak(scraping: Traffic) -> None:
    scrape(scraping, TEXT)
    assert scraping.peak_concurrency("e") is None


def test_an_export_is_told_with_the_workspaces_time(client: WorkspaceClient, split: Split) -> None:
    traffic = Traffic(client)
    before = datetime.now(UTC)
    traffic.minutes(split.endpoint)
    told = traffic.told_at(split.endpoint)
    assert told is not None
    assert before - timedelta(seconds=1) <= told <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("Mon, 23 Nov 2026 12:00:00 GMT", datetime(2026, 11, 23, 12, tzinfo=UTC)),
        ("Mon, 23 Nov 2026 12:00:00", None),
        ("Mon, 23 Nov 2026 12:00:00 -0000", None),
        ("Mon, 23 Nov 99999 12:00:00 GMT", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_date_that_cannot_be_read_is_none(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, header: str, told: datetime | None
) -> None:
    monkeypatch.setattr(Handler, "date_time_string", lambda _: header)
    traffic = Traffic(connect())
    assert traffic.minutes("rag") == ()
    assert traffic.told_at("rag") == told
    recorder.endpoint = None
    traffic.minutes("rag")
    assert traffic.told_at("rag") is None, "an endpoint without metrics tells none"
