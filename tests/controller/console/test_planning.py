"""`headgate plan` tells what a release would take, find and cost, and says what it assumed."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from controller.console.cli import app
from controller.console.planning import Given, Known, Plan, plan
from controller.settings import load
from policies.fuse import Minute
from policies.guards import QUANTILES, History
from states.judging import pace_of
from states.release import Application
from states.world import Absent, Endpoint, Serving, World

CONFIGURATION = """
applications:
  rag-chatbot:
    model: main.ml_models.rag_chatbot
    endpoint: rag-chatbot-endpoint
    tests: [{query: "What is Delta Lake?"}]
"""
PAST = History(
    requests=864_000,
    errors=4_320,
    answers=859_680,
    latency_ms=tuple(100.0 * (1 + index) for index in range(len(QUANTILES))),
    checked=859_680,
    faulty=8_600,
    lag=timedelta(minutes=20),
)
TABLE = Endpoint(serving=Serving(), inference_table="main.ml_models.rag_payload")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "headgate.yaml"
    path.write_text(CONFIGURATION)
    return path


def run(config: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["plan", "--config", str(config), *options])


def planned(config: Path, known: Known, given: Given | None = None) -> Plan:
    settings = load(config).applications["rag-chatbot"]
    return plan("rag-chatbot", settings, known, given or Given())


def test_figures_are_enough_for_a_plan(config: Path) -> None:
    told = run(config, "--rps", "10", "--lag", "15m")
    assert told.exit_code == 0
    assert "rag-chatbot  rag-chatbot-endpoint, at 10 requests/s and 15 min of lag" in told.output
    assert "steps 5 %, 25 %, 50 %, 100 %: steps as configured" in told.output
    assert "assumed: stable is without errors" in told.output
    assert "nothing is said of latency, answers" in told.output


def test_a_busy_endpoints_pace_is_told_in_ones(config: Path) -> None:
    told = run(config, "--rps", "2500", "--lag", "15m")
    assert "rag-chatbot-endpoint, at 2,500 requests/s and 15 min of lag" in told.output
    assert "steps as configured, at 2,500 requests/s" in told.output
    found = planned(config, Known(endpoint=TABLE, requests_per_second=2500.0, history=PAST))
    assert "traffic goes on at the 2,500 requests/s that the metrics saw lately" in found.assumed
    busy = replace(PAST, requests=2500 * 86_400)
    found = planned(config, Known(endpoint=TABLE, history=busy))
    assert "the metrics saw no request: stable's last day had 2,500 requests/s" in found.assumed


def test_a_plan_in_json_has_a_step_for_each_weight(config: Path) -> None:
    told = run(config, "rag-chatbot", "--rps", "10", "--lag", "15m", "--errors", "0.5%", "--json")
    (found,) = json.loads(told.output)
    assert (found["requests_per_second"], found["lag_s"], found["error_rate"]) == (10, 900, 0.005)
    assert [one["weight"] for one in found["steps"]] == [5, 25, 50]
    first: dict[str, Any] = found["steps"][0]
    assert first["slowest"] == "errors"
    assert first["time_s"] > first["needs"][0]["time_s"]
    assert 0.005 < first["smallest_error_rate"] < 0.2
    assert first["requests_failing"] < first["requests_undetected"]
    assert found["to_whole_s"] < found["to_production_s"] < found["to_confirmed_s"]
    assert found["provisioning_h"] == pytest.approx(2 * found["to_confirmed_s"] / 3600, abs=1e-3)


def test_a_step_that_cannot_decide_within_patience_is_named(config: Path) -> None:
    told = run(config, "--rps", "0.02", "--lag", "15m").output
    assert "5 % cannot decide within 1 d at 0.02 requests/s and 15 min of lag" in told
    assert "5 % cannot decide within patience: errors: 138 requests take 1.6 d" in told
    assert "  steps 25 %, 50 %, 100 %:" in told


def test_a_climb_that_will_stop_promises_no_end(config: Path) -> None:
    told = run(config, "--rps", "1", "--lag", "15m", "--errors", "5%").output
    assert "50 % cannot decide within patience: errors: no number of requests is enough" in told
    assert "it climbs no further than 50 %: see rollout.on_undecided" in told
    assert "all users after" not in told
    as_json = json.loads(
        run(config, "--rps", "1", "--errors", "5%", "--lag", "15m", "--json").output
    )
    assert as_json[0]["stops_at"] == 50
    assert as_json[0]["to_whole_s"] is None


def test_what_lag_does_to_a_step_and_to_the_gate_is_told(config: Path) -> None:
    told = " ".join(run(config, "--rps", "10", "--lag", "25h").output.split())
    assert "138 requests take 4.6 min, and are told of 1.04 d later" in told
    assert "evidence.max_lag is raised: counts that come 1.04 d late" in told


def test_users_who_are_held_back_come_with_the_alias(config: Path) -> None:
    config.write_text(f"{CONFIGURATION}    rollout: {{hold_back: 10%}}\n")
    told = run(config, "--rps", "10", "--lag", "15m", "--errors", "0%").output
    assert "90 % of users after " in told
    assert "all of them, and the alias, after " in told


def test_where_nothing_decides_each_step_says_so(config: Path) -> None:
    config.write_text(f"{CONFIGURATION}    guards: {{errors: {{observe: true}}}}\n")
    told = run(config, "--rps", "10", "--lag", "15m").output
    assert "5 % has no guard that decides" in told
    assert "it climbs no further than 5 %" in told


def test_what_is_undetectable_in_principle_is_called_so(config: Path) -> None:
    told = run(config, "--rps", "0.0001", "--lag", "15m").output
    assert "steps 100 %: no step below 100 can decide" in told
    assert "undetectable" in told


def test_stables_last_day_brings_lag_errors_and_the_other_guards(config: Path) -> None:
    found = planned(config, Known(endpoint=TABLE, requests_per_second=25.0, history=PAST))
    assert found.traffic.requests_per_second == 25
    assert found.traffic.lag == timedelta(minutes=20)
    assert found.traffic.errors == pytest.approx(0.005)
    assert set(found.sources) == {"errors", "latency", "answers"}
    assert not any("nothing is said" in one for one in found.assumed)


@pytest.mark.parametrize(
    ("counts", "labelled", "limited"),
    [
        ("errors", False, False),
        ("errors", True, True),
        ("errors, server_errors: true", False, True),
    ],
)
def test_a_limit_that_the_source_of_errors_cannot_hold_is_told(
    config: Path, counts: str, *, labelled: bool, limited: bool
) -> None:
    queries = f"{{queries: {{gateway: {{sql: SELECT 1, counts: {counts}}}}}}}"
    config.write_text(f"{CONFIGURATION}    evidence: {queries}\n")
    found = planned(config, Known(endpoint=TABLE, labelled=labelled, history=PAST))
    told = "no limit by query gateway, which does not tell server errors apart"
    assert (told not in found.assumed) is limited


def test_answers_that_cannot_be_read_are_told_where_there_are_more_than_a_few(
    config: Path,
) -> None:
    for unread, told in ((0.04, False), (0.3, True)):
        past = replace(PAST, checked=round(PAST.answers * (1 - unread)))
        found = planned(config, Known(endpoint=TABLE, history=past))
        words = "30 % of stable's answers cannot be read (streamed, or no JSON"
        assert any(words in one for one in found.assumed) is told


def test_without_a_minute_seen_the_last_days_mean_is_the_pace(config: Path) -> None:
    found = planned(config, Known(endpoint=TABLE, history=PAST))
    assert found.traffic.requests_per_second == 10
    assert any("stable's last day had 10 requests/s" in one for one in found.assumed)


NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def minutes(*requests: int) -> tuple[Minute, ...]:
    return tuple(
        Minute(ends_at=NOW + timedelta(minutes=number), requests=one, errors=0)
        for number, one in enumerate(requests)
    )


@pytest.mark.parametrize(
    ("lately", "day", "history", "told"),
    [
        (25.0, (), PAST, "the 25 requests/s that the metrics saw lately"),
        (0.5, (), PAST, "the 10 requests/s that stable's last day had: the highest of what is kno"),
        (0.5, (60, 600), None, "the 5.5 requests/s that the endpoint's minutes, up to a day's, ha"),
        (None, (60, 600), None, "the 5.5 requests/s that the endpoint's minutes, up to a day's"),
        (0.5, (60, 1740), PAST, "the 15 requests/s that the endpoint's minutes, up to a day's"),
        (0.0, (0, 0), PAST, "the metrics saw no request: stable's last day had 10 requests/s"),
        (0.0, (0,), None, "no request was seen"),
    ],
)
def test_a_plan_is_made_at_the_pace_by_which_a_release_pins_its_steps_and_says_which_it_is(
    config: Path,
    lately: float | None,
    day: tuple[int, ...],
    history: History | None,
    told: str,
) -> None:
    seen = minutes(*day)
    known = Known(endpoint=TABLE, requests_per_second=lately, minutes=seen, history=history)
    spec = load(config).applications["rag-chatbot"].spec()
    application = Application(name="rag-chatbot", spec=spec, minutes=seen)
    found = planned(config, known)
    pinned_by = pace_of(application, World(now=NOW, requests_per_second=lately), history)
    assert found.traffic.requests_per_second == pinned_by
    assert len([one for one in found.assumed if told in one]) == 1
    assert not any("keeps its steps as configured" in one for one in found.assumed)


def test_a_quiet_hour_takes_no_steps_from_a_plan(config: Path) -> None:
    quiet = Known(endpoint=TABLE, requests_per_second=0.01, history=PAST)
    assert planned(config, quiet).forecast.pinned == (5, 25, 50, 100)
    alone = replace(quiet, history=None)
    assert planned(config, alone).forecast.pinned != (5, 25, 50, 100)


def test_what_metrics_that_tell_nothing_leave_of_the_steps_is_said(config: Path) -> None:
    kept = "a release that opens while the metrics tell of no minute keeps its steps as configured"
    for history in (None, PAST):
        assert kept in planned(config, Known(endpoint=TABLE, history=history)).assumed
    assert kept not in planned(config, Known(endpoint=Absent())).assumed
    given = Given(requests_per_second=1.0)
    assert kept not in planned(config, Known(endpoint=TABLE), given).assumed


def test_figures_given_go_before_figures_read(config: Path) -> None:
    given = Given(requests_per_second=1.0, lag=timedelta(minutes=1), errors=0.1)
    found = planned(config, Known(endpoint=TABLE, requests_per_second=25.0, history=PAST), given)
    assert (found.traffic.requests_per_second, found.traffic.errors) == (1, 0.1)
    assert found.traffic.lag == timedelta(minutes=1)


def test_where_nothing_is_known_the_promise_is_taken_and_said(config: Path) -> None:
    found = planned(config, Known(endpoint=TABLE, troubles=("the warehouse is gone: make one",)))
    assert found.traffic.lag == timedelta(hours=1)
    assert found.forecast.pinned == (100,)
    assert "no request was seen: say --rps if there will be some" in found.assumed
    assert "the warehouse is gone: make one" in found.assumed


def test_a_first_release_compares_nothing(config: Path) -> None:
    found = planned(config, Known(endpoint=Absent()), Given(requests_per_second=10.0))
    assert found.forecast.steps == ()
    assert any("there is no endpoint yet" in one for one in found.assumed)


def test_an_endpoint_without_a_table_has_nothing_to_judge_by(config: Path) -> None:
    bare = Known(endpoint=Endpoint(serving=Serving()))
    found = planned(config, bare, Given(requests_per_second=10.0))
    assert found.sources == {}
    assert "no source counts by version: nothing is compared" in found.assumed


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--rps", "10", "--lag", "15"), "--lag 15: write a duration such as 30s, 10m, 1h or 7d"),
        (("--rps", "-1", "--lag", "15m"), "--rps -1: write requests per second, such as 12.5"),
        (("--rps", "nan", "--lag", "15m"), "--rps nan: write requests per second"),
        (("--rps", "1e308", "--lag", "15m"), "and at most 1,000,000"),
        (("--rps", "1", "--lag", "9999999999d"), "write a duration of at most 365d"),
        (("--errors", "often"), "--errors often: write a share such as 0.5pp or 5%"),
        (
            ("nobody", "--rps", "1", "--lag", "1m"),
            "has no application nobody; there is rag-chatbot",
        ),
    ],
)
def test_a_wrong_figure_is_a_sentence(config: Path, options: tuple[str, ...], told: str) -> None:
    answer = run(config, *options)
    assert answer.exit_code == 2
    assert told in answer.output


def test_without_credentials_the_remedy_is_told(
    config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_CONFIG_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    answer = run(config)
    assert answer.exit_code == 2
    assert "no usable Databricks credentials" in answer.output


def test_an_unreachable_workspace_ends_with_5(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("DATABRICKS_TOKEN", "none")
    assert run(config).exit_code == 5
