"""How a sandbox lives: quick to answer, safe to kill, and at peace with another one beside it."""

import io
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.serving import EndpointCoreConfigInput, ServedEntityInput

from deploy.sandbox.launch import Sandbox
from tests.deploy.sandbox.stage import until

pytestmark = [
    # MLflow warns about the type hints of its own module when it is imported.
    pytest.mark.filterwarnings("ignore:.*inferred as AnyType:UserWarning"),
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="it reads Linux' tables"),
]

TIMEOUT_S = 10
_CODE = """
import os
import mlflow

class Large(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: list[str], params=None) -> list[int]:
        return [os.path.getsize(context.artifacts["index"]) for _ in model_input]

mlflow.models.set_model(Large())
"""
LARGE = 60 << 20


@pytest.fixture(scope="module")
def model(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model with an index of 60 MB, logged and registered by MLflow."""
    name, here = "main.life.large", tmp_path_factory.mktemp("large")
    (here / "large.py").write_text(_CODE)
    (here / "index.bin").write_bytes(os.urandom(LARGE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABRICKS_HOST", sandbox.host)
        patch.setenv("DATABRICKS_TOKEN", sandbox.token)
        patch.setenv("MLFLOW_TRACKING_URI", "databricks")
        patch.setenv("MLFLOW_REGISTRY_URI", "databricks-uc")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        mlflow.set_experiment("/Shared/life")
        with mlflow.start_run():
            mlflow.pyfunc.log_model(
                name="large",
                python_model=str(here / "large.py"),
                artifacts={"index": str(here / "index.bin")},
                pip_requirements=["mlflow"],
                registered_model_name=name,
            )
    return name


def _client(sandbox: Sandbox) -> WorkspaceClient:
    return WorkspaceClient(host=sandbox.host, token=sandbox.token)


def _serve(sandbox: Sandbox, endpoint: str, model: str) -> None:
    served = ServedEntityInput(
        name="v1",
        entity_name=model,
        entity_version="1",
        workload_size="Small",
        scale_to_zero_enabled=False,
    )
    config = EndpointCoreConfigInput(name=endpoint, served_entities=[served])
    _client(sandbox).serving_endpoints.create(endpoint, config=config)


def _answers(sandbox: Sandbox, endpoint: str) -> bool:
    answer = requests.post(
        f"{sandbox.host}/serving-endpoints/{endpoint}/invocations",
        json={"inputs": ["?"]},
        headers={"Authorization": f"Bearer {sandbox.token}"},
        timeout=TIMEOUT_S,
    )
    return answer.ok and answer.json()["predictions"] == [LARGE]


def test_a_model_with_a_large_artifact_travels_in_parts_and_is_served_within_a_second(
    sandbox: Sandbox, model: str
) -> None:
    parts = [one for one in sandbox.requests() if one["path"].endswith("create-upload-part-urls")]
    assert len(parts) >= 6, "10 MB each"
    began = time.monotonic()
    _serve(sandbox, "large", model)
    until(lambda: _answers(sandbox, "large"))
    # The issue asks for one second on a quiet machine.
    assert time.monotonic() - began < 3
    _client(sandbox).serving_endpoints.delete("large")


def _ready(host: str) -> bool:
    try:
        return requests.get(f"{host}/.well-known/databricks-config", timeout=TIMEOUT_S).ok
    except requests.ConnectionError:
        return False


@pytest.fixture
def port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def cold(tmp_path: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """A sandbox that is starting, in a directory for temporary files of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "deploy.sandbox", f"--port={port}"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as starting:
        yield starting
        starting.kill()


def test_the_control_plane_answers_while_the_children_still_warm_up(
    cold: subprocess.Popen[str], port: int
) -> None:
    began = time.monotonic()
    host = f"http://127.0.0.1:{port}"
    until(lambda: _ready(host))
    # The issue asks for one second on a quiet machine.
    assert time.monotonic() - began < 3
    workspace = WorkspaceClient(host=host, token="dapi-sandbox")
    assert workspace.current_user.me().active
    assert list(workspace.serving_endpoints.list()) == []
    workspace.registered_models.create(catalog_name="main", schema_name="life", name="early")
    workspace.files.upload("/Volumes/main/life/early.txt", io.BytesIO(b"early"))
    assert cold.stdout is not None
    early, _, _ = select.select([cold.stdout], [], [], 0)
    assert not early, "ready is said when all is ready, and not before"
    # What needs a child waits for it.
    found = workspace.api_client.do(
        "GET", "/api/2.0/mlflow/experiments/get", query={"experiment_id": "0"}
    )
    assert isinstance(found, dict)
    assert found["experiment"]["name"] == "Default"
    said = [cold.stdout.readline().strip() for _ in range(5)]
    assert said[0] == f"export DATABRICKS_HOST={host}"
    for line in said:
        assert line.startswith(("export ", "# ")), "a shell evaluates it whole"
    told = dict(line.removeprefix("export ").split("=") for line in said[:3])
    assert told["DATABRICKS_TOKEN"]
    warehouse = workspace.warehouses.get(told["DATABRICKS_WAREHOUSE_ID"])
    assert warehouse.state, "the daemon that takes it counts by it"
    assert "python -m deploy.sandbox.demo.team --model main.ml_models.rag_chatbot" in said[3]
    configuration = Path(shlex.split(said[4])[-1])
    assert "main.ml_models.rag_chatbot" in configuration.read_text(encoding="utf-8")


def test_a_sandbox_that_cannot_start_says_so_and_ends(tmp_path: Path) -> None:
    (tmp_path / "tracking").mkdir()
    (tmp_path / "tracking" / "mlflow.db").write_text("no database")
    ended = subprocess.run(
        [sys.executable, "-m", "deploy.sandbox", f"--data={tmp_path}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "sandbox: the sandbox cannot start" in ended.stderr


def test_the_next_start_removes_what_a_killed_one_has_left(
    cold: subprocess.Popen[str],
    port: int,
    tmp_path: Path,
    fresh_sandbox: Callable[..., Sandbox],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    until(lambda: _ready(f"http://127.0.0.1:{port}"))
    left = set(tmp_path.iterdir())
    assert {one.name.rpartition("-")[0] for one in left} == {"databricks-sandbox", "headgate"}
    cold.send_signal(signal.SIGKILL)
    cold.wait(TIMEOUT_S)
    (tmp_path / "headgate-of-another").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    beside = fresh_sandbox()
    with Sandbox.start() as second:
        assert not left & set(tmp_path.iterdir())
        assert (tmp_path / "headgate-of-another").is_dir(), "it is not ours"
        # The second start has left the first one's directories alone.
        assert len(list(tmp_path.iterdir())) == 5
        for one in (beside, second):
            assert _client(one).current_user.me().active
        _client(second).registered_models.create(
            catalog_name="main", schema_name="life", name="mine"
        )
        assert list(_client(beside).registered_models.list()) == []
