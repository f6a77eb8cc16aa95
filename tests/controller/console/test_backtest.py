"""`headgate backtest` replays what the store has, under one or two policies, with its limits."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from controller.console.cli import app
from tests.controller.house import House, opened
from tests.states.answers import RICH, Answers

CONFIGURATION = """
applications:
  rag-chatbot:
    model: main.ml_models.rag_chatbot
    endpoint: rag-chatbot-endpoint
    tests: [{query: "What is Delta Lake?"}]
    rollout: {steps: [5, 50, 100], min_step: 1m, settle: 30s, bake: 2m, watch: 2m, patience: 4h}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store in which version 2 went up, and version 3 back, both judged by latency too."""
    folder = tmp_path_factory.mktemp("past")
    with opened(folder) as house:
        story = house.outside.story
        story.history, story.requests_per_look = RICH, 1200
        story.error_rates |= {"": 0.01, "2": 0.01, "3": 0.2}
        house.passes()
        for version, state in (("2", "Production"), ("3", "RolledBack")):
            story.register(int(version))
            _rest(house, version, state)
    return f"sqlite:///{folder / 'headgate.db'}"


def _rest(house: House, version: str, state: str) -> None:
    for _ in range(200):
        house.passes()
        newest = house.application().newest(version)
        if newest is not None and newest.state == state and not newest.live:
            return
    raise AssertionError(f"{version} never {state}")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "headgate.yaml"
    path.write_text(CONFIGURATION)
    return path


def run(config: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["backtest", "--config", str(config), *options])


def report(config: Path, *options: str) -> dict[str, Any]:
    told = run(config, "--json", "--splits", "12", *options)
    assert told.exit_code == 0, told.output
    found: dict[str, Any] = json.loads(told.output)
    return found


def test_past_releases_are_judged_anew(store: str, config: Path) -> None:
    relived = report(config, "--store", store)["relived"]
    assert [(one["release"], one["state"], one["end"]) for one in relived] == [
        ("rag-chatbot/2", "Production", "opened"),
        ("rag-chatbot/3", "RolledBack", "closed"),
    ]
    assert relived[1]["guard"] == "errors"
    assert relived[1]["exposed"] > 0


def test_splits_raise_no_alarm_and_find_what_is_put_in(store: str, config: Path) -> None:
    trials = {one["harm"]: one for one in report(config, "--store", store)["trials"]}
    assert trials["as stable"]["closed"] <= 1
    for harm in ("errors +5 pp", "errors +20 pp", "latency x2"):
        assert trials[harm]["closed"] == 12
    assert trials["errors +20 pp"]["exposed"] < trials["errors +5 pp"]["exposed"]


def test_the_same_seed_gives_the_same_report(store: str, config: Path) -> None:
    first, again = (report(config, "--store", store, "--seed", "7") for _ in range(2))
    assert first == again
    assert report(config, "--store", store, "--seed", "8")["trials"] != first["trials"]


def test_another_policy_stands_beside(store: str, config: Path, tmp_path: Path) -> None:
    other = tmp_path / "patient.yaml"
    other.write_text(CONFIGURATION + "    guards: {errors: {margin: 15pp}}\n")
    trials = report(config, "--store", store, "--against", str(other))["trials"]
    exposed = {one["policy"]: one["exposed"] for one in trials if one["harm"] == "errors +5 pp"}
    assert set(exposed) == {"headgate.yaml", "patient.yaml"}
    assert exposed["patient.yaml"] > exposed["headgate.yaml"], "a wider margin finds it later"


def test_latency_that_was_counted_at_other_edges_is_not_judged_and_said(
    store: str, config: Path
) -> None:
    config.write_text(CONFIGURATION + "    guards: {latency: {margin: 10%}}\n")
    told = report(config, "--store", store)
    assert not any(one["harm"].startswith("latency") for one in told["trials"])
    assert any("counted at the edges of another margin" in one for one in told["notes"])


def test_a_step_that_only_the_past_release_had_is_not_judged_at_edges_it_was_not_counted_at(
    config: Path, tmp_path: Path
) -> None:
    """The edges of a narrower margin at 50 % are there: those of a fast model are whole ms."""
    with opened(tmp_path) as house:
        story = house.outside.story
        story.history = replace(RICH, latency_ms=(10.0, 12.0, 15.0, 20.0, 30.0))
        story.answered = {name: Answers(slower=0.1) for name in ("", "2")}
        story.requests_per_look = 1200
        house.passes()
        story.register(2)
        _rest(house, "2", "Production")
        store = f"sqlite:///{house.store.path}"
    assert [one["end"] for one in report(config, "--store", store)["relived"]] == ["opened"]
    config.write_text(
        CONFIGURATION.replace("[5, 50, 100]", "[50, 100]")
        + "    guards: {latency: {margin: 20%}}\n"
    )
    told = report(config, "--store", store)
    assert [one["end"] for one in told["relived"]] == ["opened"]
    assert any("latency in rag-chatbot/2: it was counted at" in one for one in told["notes"])


def test_a_person_reads_tables_and_their_limits(store: str, config: Path) -> None:
    told = run(config, "--store", store, "--splits", "3").output
    assert "past releases, judged anew on their own counts" in told
    assert "splits of stable's own counts, 3 of each kind" in told
    assert "limit: a split has stable's requests alone" in told


def test_a_store_without_counts_says_what_to_do(tmp_path: Path, config: Path) -> None:
    with opened(tmp_path) as house:
        house.passes()
        url = f"sqlite:///{house.store.path}"
    told = run(config, "--store", url)
    assert told.exit_code == 2
    assert "the store has no counts of rag-chatbot yet: run a release to Canary" in told.output


def test_a_policy_beside_itself_is_a_mistake(store: str, config: Path) -> None:
    told = run(config, "--store", store, "--against", str(config))
    assert told.exit_code == 2
    assert "is the same file as --config" in told.output


def test_a_store_that_is_not_there_is_no_store(config: Path, tmp_path: Path) -> None:
    assert run(config, "--store", f"sqlite:///{tmp_path / 'none.db'}").exit_code == 6
