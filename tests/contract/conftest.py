"""One sandbox for all contract tests, with a registered model that does as its question says."""

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from databricks.sdk import WorkspaceClient

from controller.workspace.client import connect
from controller.workspace.serving import Endpoints, ServingSettings, TableLocation
from deploy.sandbox.launch import Sandbox
from states.counted import Paths
from states.world import Absent, Endpoint, Serving, Share
from tests.contract.recorder import Recorder, recording

MODEL = "main.ml_models.obedient"
LAG_S = 1.0
PATHS = Paths(answer="$.predictions[0].answer", sources="$.predictions[0].sources")

_MODEL = """
import json
import os
import time
from pathlib import Path

import mlflow
from mlflow.types import Schema, ColSpec


VERSION = Path(__file__).parent.name


class Obedient(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        if os.environ.get("BREAK") == "yes":
            raise RuntimeError("told not to start")

    def predict(self, context, model_input, params=None):
        return [self._one(query) for query in model_input["query"]]

    def _one(self, query):
        if query.startswith("fail"):
            raise ValueError("told to fail: secret words")
        if query.startswith("sleep"):
            time.sleep(3)
        if query.startswith("{"):
            return json.loads(query)
        words = query.split()
        if "thinks" in words:
            time.sleep(0.1)
        if f"slow-in-{VERSION}" in words:
            time.sleep(0.12)
        sources = [] if f"sourceless-in-{VERSION}" in words else ["a", "b"]
        return {"answer": "Delta has ACID transactions", "sources": sources, "query": query}


mlflow.models.set_model(Obedient())
"""

_REGISTER = """
import sys
import mlflow
import pandas
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

name, code = sys.argv[1:]
mlflow.set_experiment("/Shared/contract")
with mlflow.start_run():
    logged = mlflow.pyfunc.log_model(
        name="obedient",
        python_model=code,
        signature=ModelSignature(
            Schema([ColSpec("string", "query")]), Schema([ColSpec("string", "answer")])
        ),
        pip_requirements=["mlflow"],
        input_example=pandas.DataFrame({"query": ["What is Delta Lake?"]}),
    )
for number in range(3):
    mlflow.register_model(logged.model_uri, name, tags={"git_sha": "abc"})
"""


@dataclass(frozen=True)
class Workspace:
    """The sandbox as a test sees it: its faults, and what was asked of it."""

    host: str
    token: str

    def fault(self, **fault: object) -> None:
        """Let a fault befall the next matching requests."""
        answer = requests.post(f"{self.host}/_sandbox/faults", json={"faults": [fault]}, timeout=5)
        answer.raise_for_status()

    def heal(self) -> None:
        """Take back the faults that did not happen."""
        requests.delete(f"{self.host}/_sandbox/faults", timeout=5).raise_for_status()

    def last(self) -> int:
        """The number of the last request."""
        return int(self._log(10**9)["last"])

    def asked(self, since: int) -> list[tuple[str, str, int | None]]:
        """Method, path and status of every request after one."""
        entries = self._log(since)["requests"]
        return [(entry["method"], entry["path"], entry["status"]) for entry in entries]

    def _log(self, since: int) -> dict[str, Any]:
        url = f"{self.host}/_sandbox/requests"
        found: dict[str, Any] = requests.get(url, params={"since": since}, timeout=5).json()
        return found


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    data = tmp_path_factory.mktemp("contract") / "data"
    manners = {
        "table_lag_s": LAG_S,
        "table_duplicate_share": 0.3,
        "update_s": 0.2,
        "metrics_window_s": 1.0,
    }
    with Sandbox.start(data, chunk_rows=2, sql_pending_polls=1, **manners) as started:
        yield started


@pytest.fixture
def workspace(running: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """The shared sandbox, found through the environment as everyone finds a workspace."""
    monkeypatch.setenv("DATABRICKS_HOST", running.host)
    monkeypatch.setenv("DATABRICKS_TOKEN", running.token)
    found = Workspace(running.host, running.token)
    yield found
    found.heal()


@pytest.fixture
def client(workspace: Workspace) -> WorkspaceClient:
    assert workspace.host
    return connect()


@pytest.fixture(scope="session")
def model(running: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three versions of one model, registered by MLflow in a process of its own."""
    here = tmp_path_factory.mktemp("model")
    (here / "obedient.py").write_text(_MODEL)
    (here / "register.py").write_text(_REGISTER)
    subprocess.run(
        [sys.executable, "-Wignore", "register.py", MODEL, str(here / "obedient.py")],
        cwd=here,
        check=True,
        stdout=subprocess.DEVNULL,
        env={
            "PATH": str(Path(sys.executable).parent),
            "DATABRICKS_HOST": running.host,
            "DATABRICKS_TOKEN": running.token,
            "MLFLOW_TRACKING_URI": "databricks",
            "MLFLOW_REGISTRY_URI": "databricks-uc",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "HOME": str(here),
        },
    )
    return MODEL


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """A workspace that notes what it is asked, and answers as a test says; clients find it."""
    with recording() as found:
        monkeypatch.setenv("DATABRICKS_HOST", found.host)
        monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-any")
        yield found


@pytest.fixture
def unmarked(client: WorkspaceClient, model: str) -> str:
    """The same model, whose versions nobody remembers: outcomes are marked on the versions."""
    registry, kept = client.api_client, "/api/2.0/mlflow/unity-catalog/model-versions"
    for version in ("1", "2", "3"):
        found = registry.do("GET", f"{kept}/get", query={"name": model, "version": version})
        assert isinstance(found, dict)
        for tag in found["model_version"].get("tags", ()):
            if tag["key"].startswith("headgate."):
                told = {"name": model, "version": version, "key": tag["key"]}
                registry.do("DELETE", f"{kept}/delete-tag", body=told)
    return model


@pytest.fixture
def settings(model: str) -> ServingSettings:
    return ServingSettings(model=model, inference_table=TableLocation("main", "serving"))


def serving(model: str, **weights: int) -> Serving:
    """`serving(model, v1=95, v2=5)`: entities named as Headgate names them."""
    return Serving(
        {
            entity(version): Share(model=model, version=version[1:], weight=weight)
            for version, weight in weights.items()
        }
    )


def entity(version: str) -> str:
    """The served entity name of `v1`."""
    return f"obedient-{version}"


def name() -> str:
    """An endpoint of this test's own."""
    return f"contract-{uuid.uuid4().hex[:8]}"


def eventually(look: Callable[[], Endpoint | Absent], within_s: float = 20) -> Endpoint:
    """The endpoint once no change is under way."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        seen = look()
        assert isinstance(seen, Endpoint), seen
        if not seen.updating and (seen.failed or seen.ready >= seen.serving.shares.keys()):
            return seen
        time.sleep(0.05)
    raise AssertionError(f"still changing after {within_s} s: {seen}")


def settled(endpoints: Endpoints, endpoint: str) -> Endpoint:
    """What an endpoint has come to."""
    return eventually(lambda: endpoints.observe(endpoint))


@dataclass(frozen=True)
class Split:
    """An endpoint with two versions, half of the users each."""

    endpoint: str
    table: str


@pytest.fixture(scope="session")
def split(running: Sandbox, model: str) -> Iterator[Split]:
    """One endpoint for tests that only ask."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABRICKS_HOST", running.host)
        patch.setenv("DATABRICKS_TOKEN", running.token)
        endpoints, endpoint = Endpoints(connect()), name()
        settings = ServingSettings(model=model, inference_table=TableLocation("main", "serving"))
        endpoints.create(endpoint, serving(model, v1=50, v2=50), settings)
        seen = settled(endpoints, endpoint)
        assert seen.inference_table is not None
        yield Split(endpoint, seen.inference_table)
