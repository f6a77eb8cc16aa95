"""What a scrape of /metrics tells, over a real port, of a record that passes have written."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Connection, event
from structlog.testing import capture_logs

from controller.daemon.beat import Daemon
from controller.daemon.exposition import Exposition, route
from controller.daemon.http import Server, application
from controller.daemon.instruments import Instruments
from controller.daemon.quarantine import PERMITTED
from controller.record.budget import BUDGET, Budget
from controller.record.store import Store
from controller.settings import HttpSettings
from controller.workspace.errors import Refused
from tests.controller.house import NAME, House, opened

TOKEN = "0123456789abcdef-a-token"
Sample = tuple[str, frozenset[tuple[str, str]]]


@dataclass
class Scraped:
    """One scrape, as Prometheus would keep it."""

    samples: dict[Sample, float]
    kinds: dict[str, str]

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))

    def all(self, name: str) -> dict[frozenset[tuple[str, str]], float]:
        return {labels: value for (one, labels), value in self.samples.items() if one == name}


@dataclass
class Target:
    """A daemon's metrics, served."""

    url: str
    daemon: Daemon
    instruments: Instruments

    def scrape(self) -> Scraped:
        answer = requests.get(f"{self.url}/metrics", timeout=10)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        families = list(text_string_to_metric_families(answer.text))
        samples = {
            (one.name, frozenset(one.labels.items())): one.value
            for family in families
            for one in family.samples
        }
        return Scraped(samples, {family.name: family.type for family in families})


@contextmanager
def scraped(house: House, token: str | None = None) -> Iterator[Target]:
    """The house's pass run by a real daemon, which is not beating."""
    instruments = Instruments(clock=lambda: 1e9)
    house.one.actor.counted = partial(instruments.called, "write")
    daemon = Daemon(
        house.store, house.one.printer, {NAME: house.one}, timedelta(30), instruments=instruments
    )
    instruments.registry.register(
        Exposition(house.store, daemon, Budget(shared=True), clock=lambda: 1e9)
    )
    server = Server(HttpSettings(port=0))
    app = application(lambda: None, lambda: None, token, [route(instruments.registry)])
    with server.serving(app):
        yield Target(f"http://127.0.0.1:{server.port}", daemon, instruments)
    daemon.passes.end(10)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path) as house:
        house.passes()
        yield house


def broken() -> None:
    raise ZeroDivisionError


def rolled_back(house: House) -> None:
    """Version 2 fails in its Canary, and its users are seen home."""
    house.outside.story.error_rates["2"] = 0.2
    house.outside.story.register(2)
    house.until("Canary")
    while house.application().live is not None:
        house.passes()


def test_a_release_that_went_back_is_counted_with_its_verdict_its_pace_and_its_shutting(
    house: House,
) -> None:
    with scraped(house) as target:
        before = target.scrape()
        assert before("headgate_releases", application=NAME, state="Production") == 1
        moves = {"application": NAME, "trigger": "roll_back", "state": "RolledBack"}
        assert before("headgate_transitions_total", **moves) == 0, "so that the first one is a rise"
        rolled_back(house)
        after = target.scrape()
    assert after("headgate_releases", application=NAME, state="RolledBack") == 1
    assert after("headgate_transitions_total", **moves) == 1
    verdict = {"application": NAME, "guard": "errors", "verdict": "FAIL"}
    assert after("headgate_decisions_total", **verdict) == 1
    assert after("headgate_decision_seconds_count", trigger="roll_back") == 1
    shut = after("headgate_shut_seconds_sum", trigger="roll_back")
    lines = [one for one in house.store.journal() if one.get("version") == "2"]
    [decided] = [one for one in lines if one.get("to_state") == "RolledBack"]
    settled = next(
        one for one in lines if one["event"] == "release.settled" and one["seq"] > decided["seq"]
    )
    assert shut == _seconds(settled["timestamp"]) - _seconds(decided["timestamp"])
    assert after("headgate_shut_seconds_bucket", trigger="roll_back", le="+Inf") == 1
    writes = {"operation": "write", "kind": "serve", "outcome": "done"}
    assert after("headgate_workspace_calls_total", **writes) == 3, "added, opened, and shut"
    left = after("headgate_workspace_writes_left")
    assert left is not None
    assert BUDGET - 3 <= left < BUDGET


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def test_a_daemon_that_begins_anew_counts_on_from_the_record(house: House) -> None:
    rolled_back(house)
    with scraped(house) as first:
        before = first.scrape()
    with scraped(house) as second:
        after = second.scrape()
    for name in ("headgate_decisions_total", "headgate_transitions_total", "headgate_releases"):
        assert before.all(name) == after.all(name) != {}


def test_what_is_live_is_told_with_its_state_weight_and_the_age_of_its_evidence(
    house: House,
) -> None:
    house.outside.story.register(2)
    house.until("Canary")
    house.passes(2)
    with scraped(house) as target:
        told = target.scrape()
        assert told("headgate_live_weight_wanted_ratio", application=NAME) == 0.05
        assert told("headgate_live_weight_seen_ratio", application=NAME) == 0.05
        assert told("headgate_live_state_seconds", application=NAME, state="Canary") == 60
        source = {"application": NAME, "source": "inference_table"}
        fresh = told("headgate_evidence_age_seconds", **source)
        assert fresh is not None
        assert fresh <= 30
        limit = told("headgate_evidence_max_lag_seconds", application=NAME)
        assert limit == 5400
        house.outside.story.table_speaks = False
        house.passes(10)
        assert target.scrape()("headgate_evidence_age_seconds", **source) == fresh + 300


def test_blind_time_is_counted_from_the_verdict_until_the_source_speaks_again(
    house: House,
) -> None:
    house.outside.story.register(2)
    house.until("Canary")
    house.outside.story.table_speaks = False
    with scraped(house) as target:
        assert target.scrape().all("headgate_blind") == {}
        while not target.scrape().all("headgate_blind"):
            house.passes(after=300)
        before = target.scrape()("headgate_blind_seconds_total", application=NAME) or 0.0
        house.passes(2, after=300)
        during = target.scrape()("headgate_blind_seconds_total", application=NAME)
        assert during == before + 600
        house.outside.story.table_speaks = True
        while target.scrape().all("headgate_blind"):
            house.passes()
        over = target.scrape()("headgate_blind_seconds_total", application=NAME)
        house.passes(5)
        assert target.scrape()("headgate_blind_seconds_total", application=NAME) == over


def test_a_hold_is_told_for_as_long_as_it_lasts_and_whether_a_person_must_act(
    house: House,
) -> None:
    house.outside.story.edit(v1=60)
    with scraped(house) as target:
        assert target.scrape().all("headgate_held") == {}
        house.outside.story.alias = "9"
        house.passes(3)
        assert target.scrape()("headgate_held", application=NAME, needs_person="yes") == 1


def test_passes_are_counted_by_what_came_of_them_and_quarantine_is_told(house: House) -> None:
    house.outside.meanwhile = broken
    # Tracebacks for eyes take seconds to draw.
    with capture_logs(), scraped(house) as target:
        for _ in range(PERMITTED):
            target.daemon.passes.start_due()
            while target.daemon.passes.busy():
                time.sleep(0.001)
        told = target.scrape()
        assert told("headgate_passes_total", application=NAME, outcome="failed") == PERMITTED
        assert told("headgate_passes_total", application=NAME, outcome="done") == 0
        assert told("headgate_application_quarantined", application=NAME) == 1
        assert told("headgate_pass_duration_seconds_count") == PERMITTED
        house.outside.meanwhile = None
        target.daemon.passes._quarantine.succeeded(NAME)
        target.daemon.passes.start_due()
        while target.daemon.passes.busy():
            time.sleep(0.001)
        told = target.scrape()
        assert told("headgate_passes_total", application=NAME, outcome="done") == 1
        assert told("headgate_last_pass_timestamp_seconds", application=NAME) == 1e9
        assert told.all("headgate_application_quarantined") == {}


def test_calls_are_counted_by_what_the_workspace_said(house: House) -> None:
    with scraped(house) as target:
        house.outside.failing = Refused("no")
        house.outside.story.register(2)
        house.passes(4)
        told = target.scrape().all("headgate_workspace_calls_total")
    assert {dict(labels)["outcome"] for labels in told} == {"refused"}


def test_a_store_that_cannot_be_read_is_told_and_the_process_still_is(
    house: House, tmp_path: Path
) -> None:
    with scraped(house) as target:
        assert target.scrape()("headgate_store_usable") == 1
        (tmp_path / "headgate.db").rename(tmp_path / "away")
        told = target.scrape()
        assert told("headgate_store_usable") == 0
        assert told("headgate_last_beat_timestamp_seconds") is not None
        assert told.all("headgate_releases") == {}
        (tmp_path / "away").rename(tmp_path / "headgate.db")
        assert target.scrape()("headgate_store_usable") == 1


def test_a_store_that_cannot_be_written_is_counted_and_told_until_it_can(house: House) -> None:
    def read_only(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA query_only = ON")

    house.outside.story.register(2)
    with capture_logs(), scraped(house) as target:
        assert target.daemon.passes.trouble() is None
        event.listen(house.store._engine, "begin", read_only)
        for _ in range(2):
            target.daemon.passes.start_due()
            while target.daemon.passes.busy():
                time.sleep(0.001)
        told = target.scrape()
        assert told("headgate_store_errors_total") == 2
        assert told("headgate_passes_total", application=NAME, outcome="store_failed") == 2
        assert "read-only" in str(target.daemon.passes.trouble())
        event.remove(house.store._engine, "begin", read_only)
        house.store._engine.dispose()
        target.daemon.passes.start_due()
        while target.daemon.passes.busy():
            time.sleep(0.001)
        assert target.daemon.passes.trouble() is None


def test_only_the_replica_that_prints_tells_of_the_record(house: House) -> None:
    with scraped(house) as target:
        target.daemon.tenure.prints = lambda: False  # type: ignore[method-assign]
        told = target.scrape()
        assert told.all("headgate_releases") == {}
        assert told("headgate_workspace_writes_left") is not None


def test_metrics_are_for_this_machine_or_for_those_with_the_token(house: House) -> None:
    with scraped(house, TOKEN) as target:
        url = f"{target.url}/metrics"
        assert requests.get(url, timeout=10).status_code == 401
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert requests.get(url, headers=bearer, timeout=10).status_code == 200
    with scraped(house) as target:
        assert requests.get(f"{target.url}/metrics", timeout=10).status_code == 200
        assert requests.post(f"{target.url}/metrics", timeout=10).status_code == 403


def test_the_registry_is_its_own_and_no_label_grows_without_bound(house: House) -> None:
    rolled_back(house)
    with scraped(house) as one, scraped(house) as other:
        told, again = one.scrape(), other.scrape()
    assert told.kinds == again.kinds
    labels = {name for _, labels in told.samples for name, _ in labels}
    assert labels <= {
        *("application", "state", "source", "guard", "verdict", "trigger", "needs_person"),
        *("operation", "kind", "outcome", "le", "version", "store"),
    }
    versions = [labels for (name, labels) in told.samples if dict(labels).get("version")]
    assert len(versions) == 1, "the daemon's own"


def test_a_long_journal_is_counted_by_several_scrapes_and_told_once_it_is_whole(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    rolled_back(house)
    monkeypatch.setattr("controller.record.tally.AT_ONCE", 5)
    monkeypatch.setattr("controller.daemon.exposition.READ_S", -1.0)
    with scraped(house) as target:
        scrapes = 0
        while not (found := target.scrape().all("headgate_transitions_total")):
            scrapes += 1
        assert scrapes == (house.store.last_seq() - 1) // 5
        assert sum(found.values()) == sum(
            one["event"] == "release.transition" for one in house.store.journal()
        )


def test_a_store_without_anything_in_it_can_be_scraped(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'empty.db'}")
    with opened(tmp_path / "other") as house:
        house.store, kept = store, house.store
        with scraped(house) as target:
            assert target.scrape()("headgate_journal_rows_total") == 0
        kept.close()
