"""The guide's whole deployment script as ten lines of configuration: one release by it."""

import re
from collections.abc import Callable

import pytest
import yaml

from tests.end_to_end.stage import ENDPOINTS, Daemon, Workspace, eventually
from tests.markdown import Page

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(120)]
README = Page.of("README.md")
QUICK = {
    "rollout": {"settle": "0s", "min_step": "100ms", "bake": "300ms", "watch": "300ms"},
    "evidence": {"every": "200ms"},
}
"""Seconds where production has minutes."""
SET_TAG = "/api/2.0/mlflow/unity-catalog/model-versions/set-tag"
TAGS = {"git_sha": "0a1b2c3", "training_date": "2026-11-01"}


def endpoints(workspace: Workspace) -> set[str]:
    return {one["name"] for one in workspace.call("GET", ENDPOINTS)["endpoints"]}


def test_the_guides_whole_script_is_ten_lines_and_brings_a_version_to_production(
    workspace: Workspace, daemon: Callable[..., Daemon]
) -> None:
    text = README.block("the guide's whole script", "yaml")
    assert len(text.splitlines()) == 10
    wanted = yaml.safe_load(text)
    [(name, one)] = wanted["applications"].items()
    model, endpoint = one["model"], one["endpoint"]
    assert workspace.register(model) == "1"
    head = daemon()
    head.config.write_text(yaml.safe_dump({"applications": {name: {**one, **QUICK}}}))
    head.start()
    held = head.until("release.held", application=name, version="1")
    assert set(TAGS) <= set(re.findall(r"\w+", held["because"]))
    for key, value in TAGS.items():
        tag = {"name": model, "version": "1", "key": key, "value": value}
        workspace.call("POST", SET_TAG, json=tag)
    head.until("release.transition", version="1", to_state="Testing")
    head.until("release.confirmed", version="1")
    assert workspace.split(endpoint) == {"1": 100}
    assert workspace.alias(model) == "1"
    assert head.told("tests.finished", version="1", finding="PASS", endpoint=f"{endpoint}-staging")
    eventually(lambda: f"{endpoint}-staging" not in endpoints(workspace), "staging is gone")
    assert endpoint in endpoints(workspace)
