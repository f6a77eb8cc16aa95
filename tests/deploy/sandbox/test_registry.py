"""What the registry half of the sandbox is to MLflow and to the SDK."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import (
    InvalidParameterValue,
    NotFound,
    PermissionDenied,
    ResourceAlreadyExists,
)
from databricks.sdk.service.catalog import ModelVersionInfoStatus
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from deploy.sandbox.launch import Sandbox

# MLflow warns about the type hints of its own module when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*inferred as AnyType:UserWarning")

LEGACY = "/api/2.0/mlflow/unity-catalog"

_CODE = """
import mlflow

class Doubler(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: list[str], params=None) -> list[str]:
        return [text + text for text in model_input]

mlflow.models.set_model(Doubler())
"""


@dataclass(frozen=True)
class Registered:
    """A model that MLflow logged and registered in the sandbox."""

    name: str
    local: Path
    """What was logged, as MLflow downloads it from tracking."""


@pytest.fixture(scope="module")
def registered(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """A pyfunc model, version 1, logged and registered by nothing but MLflow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABRICKS_HOST", sandbox.host)
        patch.setenv("DATABRICKS_TOKEN", sandbox.token)
        patch.setenv("MLFLOW_TRACKING_URI", "databricks")
        patch.setenv("MLFLOW_REGISTRY_URI", "databricks-uc")
        here = tmp_path_factory.mktemp("registered")
        (here / "doubler.py").write_text(_CODE)
        mlflow.set_experiment("/Shared/registry")
        with mlflow.start_run():
            logged = mlflow.pyfunc.log_model(
                name="doubler",
                python_model=str(here / "doubler.py"),
                input_example=["ab"],
                pip_requirements=["mlflow"],
            )
            mlflow.log_metric("accuracy", 0.75, model_id=logged.model_id)
        name = f"main.ml_models.doubler_{uuid.uuid4().hex[:8]}"
        version = mlflow.register_model(logged.model_uri, name, tags={"dataset": "b" * 64})
        assert version.version == "1"
        local = mlflow.artifacts.download_artifacts(logged.model_uri, dst_path=str(here / "logged"))
        yield Registered(name, Path(local))


@pytest.fixture
def workspace(clients: Sandbox) -> WorkspaceClient:
    return WorkspaceClient(host=clients.host, token=clients.token)


@pytest.fixture
def name() -> str:
    return f"main.ml_models.m_{uuid.uuid4().hex[:8]}"


def _content(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_a_model_that_mlflow_registers_is_a_ready_version_to_the_sdk(
    registered: Registered, workspace: WorkspaceClient
) -> None:
    version = workspace.model_versions.get(registered.name, 1)
    assert version.version == 1
    assert version.status is ModelVersionInfoStatus.READY
    assert version.created_by == "sandbox@example.com"
    model = workspace.registered_models.get(registered.name)
    assert model.full_name == registered.name
    assert [listed.version for listed in workspace.model_versions.list(registered.name)] == [1]


@pytest.mark.usefixtures("clients")
def test_mlflow_reads_back_the_tags_and_the_metrics_of_a_version(registered: Registered) -> None:
    version = MlflowClient().get_model_version(registered.name, "1")
    assert version.tags == {"dataset": "b" * 64}
    assert version.status == "READY"
    assert version.run_id
    assert [(metric.key, metric.value) for metric in version.metrics or []] == [("accuracy", 0.75)]


@pytest.mark.usefixtures("clients")
def test_a_version_that_is_downloaded_is_what_was_logged(
    registered: Registered, tmp_path: Path
) -> None:
    downloaded = _content(
        Path(
            mlflow.artifacts.download_artifacts(
                f"models:/{registered.name}/1", dst_path=str(tmp_path)
            )
        )
    )
    logged = _content(registered.local)
    assert "MLmodel" in logged
    # MLflow itself writes where a model came from into every model that it downloads.
    downloaded.pop("registered_model_meta", None)
    logged.pop("registered_model_meta", None)
    assert downloaded == logged


@pytest.mark.usefixtures("clients")
def test_a_registered_model_loads_and_predicts(registered: Registered) -> None:
    model = mlflow.pyfunc.load_model(f"models:/{registered.name}/1")
    assert model.predict(["ab", "c"]) == ["abab", "cc"]


def test_either_client_sees_the_alias_that_the_other_set(
    registered: Registered, workspace: WorkspaceClient
) -> None:
    MlflowClient().set_registered_model_alias(registered.name, "by-mlflow", "1")
    workspace.registered_models.set_alias(registered.name, "by-sdk", 1)
    assert workspace.model_versions.get_by_alias(registered.name, "by-mlflow").version == 1
    assert MlflowClient().get_model_version_by_alias(registered.name, "by-sdk").version == "1"
    assert set(MlflowClient().get_model_version(registered.name, "1").aliases) >= {
        "by-mlflow",
        "by-sdk",
    }
    workspace.registered_models.delete_alias(registered.name, "by-mlflow")
    with pytest.raises(NotFound):
        workspace.model_versions.get_by_alias(registered.name, "by-mlflow")


def test_the_native_dialect_shows_aliases_only_to_who_asks_for_them(
    registered: Registered, workspace: WorkspaceClient
) -> None:
    workspace.registered_models.set_alias(registered.name, "champion", 1)
    assert not workspace.registered_models.get(registered.name).aliases
    aliases = workspace.registered_models.get(registered.name, include_aliases=True).aliases or []
    assert ("champion", 1) in [(alias.alias_name, alias.version_num) for alias in aliases]
    assert not workspace.model_versions.get(registered.name, 1).aliases


@pytest.mark.usefixtures("clients")
def test_a_search_leaves_out_tags_and_finds_nothing_for_an_unknown_model(
    registered: Registered, sandbox: Sandbox
) -> None:
    body = requests.get(
        f"{sandbox.host}{LEGACY}/model-versions/search",
        params={"filter": f"name='{registered.name}'"},
        headers={"Authorization": f"Bearer {sandbox.token}"},
        timeout=10,
    ).json()
    [found] = body["model_versions"]
    assert found["version"] == "1"
    assert "tags" not in found
    assert "aliases" not in found
    assert MlflowClient().search_model_versions("name='main.ml_models.nobody'") == []


def test_the_files_of_a_ready_version_cannot_change(
    registered: Registered, workspace: WorkspaceClient, tmp_path: Path
) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {}")
    path = f"/Models/{registered.name.replace('.', '/')}/1/MLmodel"
    with (
        (tmp_path / "MLmodel").open("rb") as file,
        pytest.raises(PermissionDenied, match="cannot change"),
    ):
        workspace.files.upload(path, file, overwrite=True)


def test_a_version_waits_for_its_files_and_fails_without_a_readable_mlmodel(
    workspace: WorkspaceClient, name: str
) -> None:
    catalog, schema, model = name.split(".")
    workspace.registered_models.create(catalog_name=catalog, schema_name=schema, name=model)
    created = workspace.api_client.do(
        "POST", f"{LEGACY}/model-versions/create", body={"name": name, "source": "models:/m-1"}
    )
    assert isinstance(created, dict)
    assert created["model_version"]["version"] == "1"
    pending = workspace.model_versions.get(name, 1)
    assert pending.status is ModelVersionInfoStatus.PENDING_REGISTRATION
    workspace.api_client.do(
        "POST", f"{LEGACY}/model-versions/finalize", body={"name": name, "version": "1"}
    )
    failed = workspace.model_versions.get(name, 1)
    assert failed.status is ModelVersionInfoStatus.FAILED_REGISTRATION


def test_the_number_of_a_deleted_version_is_not_used_again(
    workspace: WorkspaceClient, name: str
) -> None:
    MlflowClient().create_registered_model(name)
    for _ in range(2):
        workspace.api_client.do(
            "POST", f"{LEGACY}/model-versions/create", body={"name": name, "source": "s"}
        )
    workspace.registered_models.set_alias(name, "newest", 2)
    workspace.model_versions.delete(name, 2)
    with pytest.raises(NotFound):
        workspace.model_versions.get_by_alias(name, "newest")
    created = workspace.api_client.do(
        "POST", f"{LEGACY}/model-versions/create", body={"name": name, "source": "s"}
    )
    assert isinstance(created, dict)
    assert created["model_version"]["version"] == "3"


def test_both_clients_learn_that_a_model_exists_already_or_not_at_all(
    workspace: WorkspaceClient, name: str
) -> None:
    MlflowClient().create_registered_model(name)
    with pytest.raises(MlflowException) as twice:
        MlflowClient().create_registered_model(name)
    assert twice.value.error_code == "RESOURCE_ALREADY_EXISTS"
    catalog, schema, model = name.split(".")
    with pytest.raises(ResourceAlreadyExists):
        workspace.registered_models.create(catalog_name=catalog, schema_name=schema, name=model)
    with pytest.raises(NotFound):
        workspace.registered_models.get("main.ml_models.nobody")
    with pytest.raises(MlflowException) as nobody:
        MlflowClient().get_registered_model("main.ml_models.nobody")
    assert nobody.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    with pytest.raises(NotFound):
        workspace.model_versions.get(name, 7)


def test_a_model_name_must_have_three_levels(workspace: WorkspaceClient) -> None:
    with pytest.raises(MlflowException, match="all three levels"):
        MlflowClient().create_registered_model("ml_models.short")
    with pytest.raises(InvalidParameterValue):
        workspace.registered_models.get("short")


def test_tags_and_descriptions_can_be_changed_and_removed(
    workspace: WorkspaceClient, registered: Registered
) -> None:
    client = MlflowClient()
    client.set_model_version_tag(registered.name, "1", "approved", "yes")
    client.set_registered_model_tag(registered.name, "team", "risk")
    client.update_model_version(registered.name, "1", "a description")
    assert client.get_model_version(registered.name, "1").tags["approved"] == "yes"
    assert client.get_registered_model(registered.name).tags == {"team": "risk"}
    assert workspace.model_versions.get(registered.name, 1).comment == "a description"
    client.delete_model_version_tag(registered.name, "1", "approved")
    client.delete_registered_model_tag(registered.name, "team")
    assert "approved" not in client.get_model_version(registered.name, "1").tags
    assert client.get_registered_model(registered.name).tags == {}


def test_a_listing_is_paged_and_complete(workspace: WorkspaceClient, name: str) -> None:
    MlflowClient().create_registered_model(name)
    for _ in range(5):
        workspace.api_client.do(
            "POST", f"{LEGACY}/model-versions/create", body={"name": name, "source": "s"}
        )
    listed = list(workspace.model_versions.list(name, max_results=2))
    assert sorted(version.version or 0 for version in listed) == [1, 2, 3, 4, 5]
    page = MlflowClient().search_model_versions(f"name='{name}'", max_results=2)
    assert len(page) == 2
    assert page.token


def test_grants_are_not_modelled_and_say_so(
    workspace: WorkspaceClient, registered: Registered
) -> None:
    response = requests.get(
        f"{workspace.config.host}/api/2.1/unity-catalog/permissions/FUNCTION/{registered.name}",
        headers={"Authorization": f"Bearer {workspace.config.token}"},
        timeout=10,
    )
    assert response.status_code == 501
    assert "does not model" in response.json()["message"]
