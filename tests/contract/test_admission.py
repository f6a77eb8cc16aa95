"""Admission and an operator's words, through the daemon's passes, the real store and registry."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from databricks.sdk import WorkspaceClient
from mlflow import MlflowClient

from controller.daemon.building import Shared, passes_of
from controller.daemon.passes import Pass
from controller.daemon.readiness import Readiness
from controller.daemon.tenure import Tenure
from controller.record.printer import Printer
from controller.record.store import Store
from controller.settings import ProcessSettings, load
from controller.workspace.registry import Registry
from controller.workspace.serving import Endpoints, ServingSettings, TableLocation
from policies.admission import HOLD_TAG, Column
from states.machine import State
from states.release import Release
from tests.contract.conftest import MODEL, Workspace, name, serving, settled

NAME = "bot"
QUICK = {"steps": [100], "settle": "0s", "min_step": "0s", "bake": "0s", "watch": "0s"}


def a_pass(here: Path, store: Store, endpoint: str) -> Pass:
    """What the daemon runs of an application, by a configuration file."""
    file = here / "headgate.yaml"
    one = {
        "model": MODEL,
        "endpoint": endpoint,
        "alias": endpoint,
        "serving": {"environment": "none"},
        "tests": [{"query": "What is Delta?", "expect": {"answer_contains": ["ACID"]}}],
        "admission": {"approval": "before_canary", "required_tags": ["git_sha"]},
        "evidence": {"every": "500ms"},
        "rollout": QUICK,
    }
    file.write_text(yaml.safe_dump({"applications": {NAME: one}}))
    poll = timedelta(milliseconds=100)
    found = passes_of(
        load(file).applications,
        Shared("sandbox", store),
        store,
        Printer(store),
        ProcessSettings(poll=poll),
        Readiness(store, poll),
        Tenure((NAME,)),
    )
    return found[NAME]


def until(one: Pass, store: Store, seen: Callable[[Release], bool], version: str) -> Release:
    """Look until the newest attempt at a version is as wanted."""
    end, release = time.monotonic() + 90, None
    while time.monotonic() < end:
        one.run()
        release = store.load(NAME).application.newest(version)
        if release is not None and seen(release):
            return release
        time.sleep(0.1)
    raise AssertionError(f"it never came to that: {release}")


def test_a_version_is_asked_for_held_approved_and_undone_by_command_and_by_tag(
    client: WorkspaceClient, unmarked: str, workspace: Workspace, tmp_path: Path
) -> None:
    assert workspace.host
    model = unmarked
    endpoint, endpoints = name(), Endpoints(client)
    settings = ServingSettings(model=model, inference_table=TableLocation("main", "serving"))
    endpoints.create(endpoint, serving(model, v1=100), settings)
    settled(endpoints, endpoint)
    registry = MlflowClient(tracking_uri="databricks", registry_uri="databricks-uc")
    registry.set_registered_model_alias(model, endpoint, "1")
    registry.set_model_version_tag(model, "2", HOLD_TAG, "yes")
    registry.set_model_version_tag(model, "2", "approval_check", "Approved")
    store = Store(f"sqlite:///{tmp_path / 'headgate.db'}")
    try:
        daemon = a_pass(tmp_path, store, endpoint)
        until(daemon, store, lambda one: one.confirmed, "1")
        assert store.load(NAME).application.newest("2") is None, "it was there at adoption"

        store.begin(NAME, "2", "release", "ann", "the one that we want")
        until(daemon, store, lambda one: HOLD_TAG in (one.hold or ""), "2")
        registry.delete_model_version_tag(model, "2", HOLD_TAG)
        held = until(daemon, store, lambda one: one.ask is not None, "2")
        assert held.state is State.TESTING
        assert "approval_check was set too early to count" in (held.hold or "")

        registry.delete_model_version_tag(model, "2", "approval_check")
        until(daemon, store, lambda one: not one.signs.approved, "2")
        registry.set_model_version_tag(model, "2", "approval_check", "Approved")
        until(daemon, store, lambda one: one.confirmed, "2")
        assert endpoints.observe(endpoint).serving.weight("obedient-v2") == 100  # type: ignore[union-attr]

        store.undo(NAME, "ann", "answers are wrong")
        until(daemon, store, lambda one: one.attempt == 2 and one.confirmed, "1")
        assert endpoints.observe(endpoint).serving.weight("obedient-v1") == 100  # type: ignore[union-attr]
        assert registry.get_model_version_by_alias(model, endpoint).version == "1"
    finally:
        store.close()
        client.serving_endpoints.delete(endpoint)
        registry.delete_registered_model_alias(model, endpoint)
        for key in (HOLD_TAG, "approval_check"):
            registry.delete_model_version_tag(model, "2", key)


def test_the_input_columns_are_those_that_mlflow_wrote(client: WorkspaceClient, model: str) -> None:
    [one, _, _] = Registry(client).versions(model, ["1"])
    assert one.inputs == (Column(name="query", type="string"),)


@pytest.mark.parametrize("version", ["1", "3"])
def test_a_version_below_the_watermark_is_looked_at_when_it_is_asked_for(
    client: WorkspaceClient, model: str, version: str
) -> None:
    seen = {
        one.version: one for one in Registry(client).versions(model, above=3, certainly=[version])
    }
    assert seen[version].tags is not None
    assert seen["2"].tags is None
