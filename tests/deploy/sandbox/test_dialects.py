"""Routes of the registry and of tracking that no other test's program happens to need."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from databricks.sdk import WorkspaceClient
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.tracking._model_registry import utils as mlflow_stores

from deploy.sandbox.launch import Sandbox

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*inferred as AnyType:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Add type hints:UserWarning"),
]

_CODE = """
import mlflow

class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: list[str], params=None) -> list[str]:
        return model_input

mlflow.models.set_model(Echo())
"""


@pytest.fixture
def name() -> str:
    return f"main.dialects.m_{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dialects")
    (folder / "echo.py").write_text(_CODE)
    mlflow.pyfunc.save_model(
        str(folder / "model"),
        python_model=str(folder / "echo.py"),
        input_example=["a"],
        pip_requirements=["mlflow"],
    )
    return folder / "model"


def _forget_stores() -> None:
    """MLflow keeps the store that it once made for a URI, whatever the environment says later."""
    made: Any = mlflow_stores._get_store_registry  # MLflow's function carries no types
    made()._get_store_with_resolved_uri.cache_clear()


@pytest.fixture
def native(clients: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """MLflow in Unity Catalog's own dialect."""
    monkeypatch.setenv("MLFLOW_ENABLE_UC_NATIVE_MODEL_REGISTRY", "true")
    _forget_stores()
    yield clients
    _forget_stores()


@pytest.fixture(params=["legacy", "native"])
def client(request: pytest.FixtureRequest) -> MlflowClient:
    """MLflow's client in either dialect."""
    request.getfixturevalue("clients" if request.param == "legacy" else "native")
    if request.param == "legacy":
        _forget_stores()
    return MlflowClient()


def _asked(sandbox: Sandbox, method: str, path: str, **more: Any) -> requests.Response:  # noqa: ANN401
    """A request as no client of these versions makes it any more."""
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    return requests.request(method, sandbox.host + path, headers=headers, timeout=20, **more)


def test_a_model_lives_and_ends_in_either_dialect(
    client: MlflowClient, saved: Path, name: str, sandbox: Sandbox
) -> None:
    before = len(_asked(sandbox, "GET", "/_sandbox/requests").json()["requests"])
    client.create_registered_model(name, tags={"team": "risk"}, description="first")
    client.update_registered_model(name, description="second")
    client.set_registered_model_tag(name, "stage", "trial")
    client.delete_registered_model_tag(name, "stage")
    version = client.create_model_version(name, str(saved), tags={"a": "b"})
    assert (str(version.version), version.status) == ("1", "READY")
    client.update_model_version(name, "1", description="of the version")
    client.set_model_version_tag(name, "1", "c", "d")
    client.delete_model_version_tag(name, "1", "a")
    client.set_registered_model_alias(name, "champion", "1")
    found = client.get_model_version(name, "1")
    assert (found.description, found.tags) == ("of the version", {"c": "d"})
    model = client.get_registered_model(name)
    assert (model.description, model.aliases) == ("second", {"champion": "1"})
    assert name in {one.name for one in client.search_registered_models(max_results=1000)}
    client.delete_registered_model_alias(name, "champion")
    with pytest.raises(MlflowException):
        client.get_model_version_by_alias(name, "champion")
    client.delete_model_version(name, "1")
    client.delete_registered_model(name)
    with pytest.raises(MlflowException):
        client.get_registered_model(name)
    # It was this dialect and not the one that MLflow remembered.
    calls = _asked(sandbox, "GET", "/_sandbox/requests").json()["requests"][before:]
    legacy = [one for one in calls if "/unity-catalog/registered-models/" in one["path"]]
    native = [one for one in calls if one["path"].startswith("/api/2.1/unity-catalog/models")]
    assert bool(legacy) != bool(native)


def test_the_sdk_changes_descriptions(clients: Sandbox, name: str) -> None:
    workspace = WorkspaceClient(host=clients.host, token=clients.token)
    catalog, schema, short = name.split(".")
    workspace.registered_models.create(catalog_name=catalog, schema_name=schema, name=short)
    workspace.registered_models.update(name, comment="by the SDK")
    assert workspace.registered_models.get(name).comment == "by the SDK"
    assert name in {one.full_name for one in workspace.registered_models.list()}


def test_older_clients_are_sent_to_signed_urls(clients: Sandbox, saved: Path, name: str) -> None:
    _forget_stores()
    client = MlflowClient()
    client.create_registered_model(name)
    client.create_model_version(name, str(saved))
    assert client.get_model_version_download_uri(name, "1")
    legacy = "/api/2.0/mlflow/unity-catalog/model-versions/generate-temporary-credentials"
    told = _asked(clients, "POST", legacy, json={"name": name, "version": "1"})
    assert told.json() == {"credentials": {"storage_mode": "DEFAULT_STORAGE"}}
    catalog, schema, short = name.split(".")
    asked = {
        "catalog_name": catalog,
        "schema_name": schema,
        "model_name": short,
        "version": 1,
        "operation": "READ_MODEL_VERSION",
    }
    native = "/api/2.1/unity-catalog/temporary-model-version-credentials"
    assert _asked(clients, "POST", native, json=asked).json() == {"storage_mode": "DEFAULT_STORAGE"}


def test_the_spans_of_a_trace_have_a_signed_url(clients: Sandbox) -> None:
    for operation in ("upload", "download"):
        path = f"/api/2.0/mlflow/traces/tr-{'0' * 32}/credentials-for-data-{operation}"
        told = _asked(clients, "GET", path)
        assert told.json()["credential_info"]["signed_uri"].startswith(clients.host)


@pytest.mark.parametrize("version", ["2.0", "3.0"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_every_verb_of_an_unknown_mlflow_route_is_told_so(
    clients: Sandbox, method: str, version: str
) -> None:
    answer = _asked(clients, method, f"/api/{version}/mlflow/nothing/like/this")
    assert answer.status_code == 404
    assert answer.json()["error_code"] == "ENDPOINT_NOT_FOUND"
