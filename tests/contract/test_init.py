"""`headgate init` against the sandbox: what it finds, and that what it writes is valid at once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from controller.console.cli import app
from controller.console.drafting import SCHEMA_FILE
from controller.console.keys import schema_text
from controller.settings import ApplicationSettings, load
from controller.workspace.client import connect
from controller.workspace.serving import Endpoints, ServingSettings, TableLocation
from deploy.sandbox.launch import Sandbox
from states.world import Size
from tests.contract.conftest import MODEL, Workspace, name, serving, settled


@pytest.fixture(scope="module")
def endpoint(running: Sandbox, model: str) -> Iterator[str]:
    """Version 2 has most users, and an alias names it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABRICKS_HOST", running.host)
        patch.setenv("DATABRICKS_TOKEN", running.token)
        client, made = connect(), f"{name()}-endpoint"
        settings = ServingSettings(
            model=model,
            size=Size(workload_size="Medium"),
            inference_table=TableLocation("main", "serving"),
        )
        Endpoints(client).create(made, serving(model, v1=10, v2=90), settings)
        settled(Endpoints(client), made)
        # Other tests of this model may have left theirs.
        known = client.registered_models.get(model, include_aliases=True).aliases
        for alias in known or ():
            client.registered_models.delete_alias(model, str(alias.alias_name))
        client.registered_models.set_alias(model, "champion", 2)
        yield made
        client.registered_models.delete_alias(model, "champion")
        client.serving_endpoints.delete(made)


@pytest.fixture
def here(tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert workspace.host
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*words: str) -> Result:
    return CliRunner().invoke(app, ["init", *words])


def only(file: Path) -> ApplicationSettings:
    [one] = load(file).applications.values()
    return one


def test_an_endpoint_becomes_a_configuration_that_is_valid_at_once(
    here: Path, workspace: Workspace, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = workspace.last()
    monkeypatch.delenv("DATABRICKS_WAREHOUSE_ID", raising=False)
    told = init("--endpoint", endpoint)
    assert told.exit_code == 0, told.output
    assert told.stdout.endswith(
        "It stops at the SQL warehouse until you set DATABRICKS_WAREHOUSE_ID to an id of "
        "`databricks warehouses list`.\n"
    )
    monkeypatch.setenv("DATABRICKS_WAREHOUSE_ID", "sandbox")
    again = init("--endpoint", endpoint, "--force")
    assert again.stdout.endswith("then `headgate doctor --config headgate.yaml`.\n")
    # MLflow reads a file through these, and so tells the lineage that it was read.
    assert {path for verb, path, _ in workspace.asked(before) if verb not in ("GET", "HEAD")} == {
        "/api/2.0/fs/create-download-url",
        "/api/2.0/mlflow/unity-catalog/model-versions/emit-lineage",
    }
    found, text = only(here / "headgate.yaml"), (here / "headgate.yaml").read_text()
    assert (found.model, found.endpoint, found.alias) == (MODEL, endpoint, "champion")
    assert found.serving.workload_size == "Medium"
    assert found.response.answer == "$.predictions[0].answer"
    assert [test.query for test in found.stated_tests] == ["What is Delta Lake?"]
    assert f"main.serving.{endpoint}_payload" in text
    assert "# environment: none" in text
    assert found.serving.environment is None
    assert (here / SCHEMA_FILE).read_text() == schema_text()
    assert text.startswith(f"# yaml-language-server: $schema={SCHEMA_FILE}\n")
    checked = CliRunner().invoke(app, ["validate"])
    assert checked.exit_code == 0, checked.output
    assert endpoint.removesuffix("-endpoint") in checked.stdout


def test_a_file_that_is_there_is_kept_unless_force_is_said(here: Path, endpoint: str) -> None:
    (here / "headgate.yaml").write_text("mine")
    (here / SCHEMA_FILE).write_text("mine")
    refused = init("--endpoint", endpoint)
    assert (refused.exit_code, (here / "headgate.yaml").read_text()) == (2, "mine")
    assert "say --force, or another --output" in refused.stderr
    assert init("--endpoint", endpoint, "--output", "other.yaml", "--app", "bot").exit_code == 0
    assert list(load(here / "other.yaml").applications) == ["bot"]
    assert (here / SCHEMA_FILE).read_text() == "mine"
    assert init("--endpoint", endpoint, "--force").exit_code == 0
    assert only(here / "headgate.yaml").endpoint == endpoint


def test_a_model_without_an_endpoint_becomes_one_too(here: Path, model: str) -> None:
    printed = init("--model", model, "--output", "-")
    assert printed.exit_code == 0, printed.output
    assert not list(here.iterdir())
    (here / "headgate.yaml").write_text(printed.stdout)
    found = only(here / "headgate.yaml")
    assert (found.endpoint, found.serving.environment) == ("obedient-endpoint", "none")
    assert found.inference_table is not None
    assert [test.query for test in found.stated_tests] == ["What is Delta Lake?"]


@pytest.mark.usefixtures("here")
def test_without_an_endpoint_it_says_which_there_are(endpoint: str) -> None:
    told = init()
    assert told.exit_code == 2
    assert f"{endpoint}: {MODEL}" in told.stderr
    assert "say which one with --endpoint" in told.stderr


@pytest.mark.usefixtures("here")
def test_what_is_not_there_is_told_with_the_nearest_that_is(endpoint: str) -> None:
    wrong = init("--endpoint", f"{endpoint}s")
    assert (wrong.exit_code, f"did you mean {endpoint}?" in wrong.stderr) == (2, True)
    wrong = init("--model", f"{MODEL}ly")
    assert (wrong.exit_code, f"did you mean {MODEL}?" in wrong.stderr) == (2, True)
    wrong = init("--model", "obedient")
    assert (wrong.exit_code, "name it as catalog.schema.model" in wrong.stderr) == (2, True)


@pytest.mark.usefixtures("here")
def test_nobody_is_asked_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", "wrong")
    denied = init("--endpoint", "any")
    assert (denied.exit_code, "the workspace refuses the token" in denied.stderr) == (5, True)
    for variable in ("DATABRICKS_HOST", "DATABRICKS_TOKEN"):
        monkeypatch.delenv(variable)
    nobody = init("--endpoint", "any")
    assert (nobody.exit_code, "no usable Databricks credentials" in nobody.stderr) == (2, True)
