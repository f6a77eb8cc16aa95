"""What a person does when Headgate is dead: the commands themselves, against the sandbox."""

import json
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import ResourceAlreadyExists
from databricks.sdk.service.serving import (
    EndpointCoreConfigInput,
    Route,
    ServedEntityInput,
    TrafficConfig,
)

from controller.workspace.serving import Endpoints
from tests.contract.conftest import Workspace, entity, name, settled

HOME = Path(__file__).parents[2] / "deploy/databricks/home.sh"
# The arguments that the CLI's reference documents for these two commands, and no others; the CLI
# itself is no Python package, and not here. It sends what it is given, and follows no redirects.
CLI = """#!/bin/sh
set -eu
url=$DATABRICKS_HOST/api/2.0/serving-endpoints/$3
token="Authorization: Bearer $DATABRICKS_TOKEN"
case "$1 $2 $4 $5 ${6-}" in
  "serving-endpoints get -o json ") exec curl -sSf -H "$token" "$url" ;;
  "serving-endpoints update-config --no-wait --json @"*)
    exec curl -sSf -X PUT -H "$token" -H "Content-Type: application/json" -d "$6" "$url/config" ;;
esac
echo "unknown command: $*" >&2
exit 1
"""


@pytest.fixture
def half(client: WorkspaceClient, model: str) -> str:
    """An endpoint on which a version is on trial, with sizes and a secret of their own."""
    endpoint = name()
    with suppress(ResourceAlreadyExists):
        client.secrets.create_scope("rag")
        client.secrets.put_secret("rag", "key", string_value="value")
    entities = [
        ServedEntityInput(
            name=entity("v1"),
            entity_name=model,
            entity_version="1",
            environment_vars={"KEY": "{{secrets/rag/key}}"},
            min_provisioned_concurrency=4,
            max_provisioned_concurrency=8,
            scale_to_zero_enabled=False,
        ),
        ServedEntityInput(
            name=entity("v2"),
            entity_name=model,
            entity_version="2",
            workload_size="Medium",
            scale_to_zero_enabled=False,
        ),
    ]
    routes = [Route(50, served_entity_name=entity(one)) for one in ("v1", "v2")]
    config = EndpointCoreConfigInput(
        name=endpoint, served_entities=entities, traffic_config=TrafficConfig(routes=routes)
    )
    client.serving_endpoints.create(endpoint, config=config)
    settled(Endpoints(client), endpoint)
    return endpoint


def by_hand(
    folder: Path, workspace: Workspace, *arguments: str, cli: bool
) -> "subprocess.CompletedProcess[str]":
    """Run the script with nothing at hand but jq, and curl or the CLI."""
    tools = folder / "tools"
    tools.mkdir(parents=True)
    for tool in ("jq", "curl"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    if cli:
        (tools / "databricks").write_text(CLI)
        (tools / "databricks").chmod(0o755)
    known = {"DATABRICKS_HOST": workspace.host, "DATABRICKS_TOKEN": workspace.token}
    return subprocess.run(
        ["/bin/sh", str(HOME), *arguments],
        cwd=folder,
        env={"PATH": str(tools), **known},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.skipif(not (shutil.which("jq") and shutil.which("curl")), reason="needs jq and curl")
def test_a_version_is_put_to_100_by_hand_and_nothing_else_is_changed(
    client: WorkspaceClient, workspace: Workspace, half: str, tmp_path: Path
) -> None:
    endpoints = Endpoints(client)
    before = settled(endpoints, half)
    for version, cli, wanted in (
        ("1", False, "obedient-v1 100 %, obedient-v2 0 %"),
        ("2", True, "obedient-v1 0 %, obedient-v2 100 %"),
    ):
        done = by_hand(tmp_path / version, workspace, half, version, cli=cli)
        assert done.returncode == 0, done.stderr
        after = settled(endpoints, half)
        assert str(after.serving) == wanted
        assert after.sizes == before.sizes
        config = client.serving_endpoints.get(half).config
        assert config is not None
        variables = {one.name: one.environment_vars for one in config.served_entities or ()}
        assert variables[entity("v1")] == {"KEY": "{{secrets/rag/key}}"}
    done = by_hand(tmp_path / "by-name", workspace, half, entity("v1"), cli=False)
    assert done.returncode == 0, done.stderr
    after = settled(endpoints, half)
    assert str(after.serving) == "obedient-v1 100 %, obedient-v2 0 %"
    done = by_hand(tmp_path / "9", workspace, half, "9", cli=False)
    assert done.returncode != 0
    assert "version 9 is not served there" in done.stderr
    assert endpoints.observe(half) == after, "nothing is sent where nothing could come of it"


@pytest.mark.skipif(not shutil.which("jq"), reason="needs jq")
@pytest.mark.parametrize(
    ("stable", "shares"),
    [("6", None), ("rag-v6", {"rag-v6": 100, "rag-v7": 0, "rerank-v6": 0}), ("9", None)],
)
def test_a_version_of_another_model_is_never_meant(
    stable: str, shares: dict[str, int] | None
) -> None:
    """Of several models, two may have the same version, or the one that is not meant alone."""
    entities = [
        {"name": "rag-v6", "entity_name": "main.ml.rag", "entity_version": "6"},
        {"name": "rag-v7", "entity_name": "main.ml.rag", "entity_version": "7"},
        {"name": "rerank-v6", "entity_name": "main.ml.reranker", "entity_version": "6"},
    ]
    _, _, program = HOME.read_text().partition("home='")
    found = subprocess.run(
        ["jq", "--arg", "v", stable, program[: program.index("'\nif ")]],  # noqa: S607
        input=json.dumps({"config": {"served_entities": entities}}),
        capture_output=True,
        text=True,
        check=False,
    )
    if shares is None:
        assert found.returncode != 0
        assert not found.stdout
        assert stable == "9" or "name one of rag-v6, rag-v7, rerank-v6" in found.stderr
        return
    routes = json.loads(found.stdout)["traffic_config"]["routes"]
    assert {one["served_entity_name"]: one["traffic_percentage"] for one in routes} == shares
