"""What the tracking half of the sandbox is to MLflow."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.databricks_artifact_repo import DatabricksArtifactRepository

from deploy.sandbox.launch import Sandbox

TIMEOUT_S = 10
pytestmark = [
    pytest.mark.usefixtures("clients"),
    # MLflow warns about the type hints of its own module when it is imported.
    pytest.mark.filterwarnings("ignore:.*inferred as AnyType:UserWarning"),
]


@pytest.fixture
def experiment(clients: Sandbox) -> str:
    del clients
    return str(mlflow.set_experiment("/Shared/tracking").experiment_id)


def test_a_run_keeps_what_was_logged_to_it(experiment: str) -> None:
    with mlflow.start_run(experiment_id=experiment) as run:
        mlflow.log_param("depth", 3)
        mlflow.log_metric("loss", 0.5, step=1)
        mlflow.log_metric("loss", 0.25, step=2)
        mlflow.set_tag("team", "risk")
    data = MlflowClient().get_run(run.info.run_id).data
    assert data.params == {"depth": "3"}
    assert data.metrics == {"loss": 0.25}
    assert data.tags["team"] == "risk"
    history = MlflowClient().get_metric_history(run.info.run_id, "loss")
    assert [point.value for point in history] == [0.5, 0.25]
    found = mlflow.search_runs([experiment], "tags.team = 'risk'", output_format="list")
    assert run.info.run_id in [each.info.run_id for each in found]


def test_an_artifact_of_a_run_comes_back(experiment: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    with mlflow.start_run(experiment_id=experiment) as run:
        mlflow.log_artifact(str(tmp_path / "a.txt"), "some/where")
    listed = MlflowClient().list_artifacts(run.info.run_id, "some/where")
    assert [(file.path, file.file_size) for file in listed] == [("some/where/a.txt", 5)]
    downloaded = mlflow.artifacts.download_artifacts(
        run_id=run.info.run_id, artifact_path="some/where/a.txt", dst_path=str(tmp_path / "down")
    )
    assert Path(downloaded).read_text() == "hello"


def test_older_clients_reach_the_same_artifacts_by_signed_urls(
    experiment: str, tmp_path: Path
) -> None:
    (tmp_path / "down").mkdir()
    (tmp_path / "new.txt").write_text("by the Files API")
    (tmp_path / "old.txt").write_text("by a signed URL")
    model = mlflow.create_external_model("m", experiment_id=experiment)
    with mlflow.start_run(experiment_id=experiment) as run:
        mlflow.log_artifact(str(tmp_path / "new.txt"), "both")
    for uri in (run.info.artifact_uri, model.artifact_location):
        repository = DatabricksArtifactRepository(uri)
        repository.log_artifact(str(tmp_path / "old.txt"), "both")  # type: ignore[no-untyped-call]
        names = [file.path for file in repository.list_artifacts("both")]
        assert "both/old.txt" in names
        assert repository.list_artifacts("both/old.txt") == []
        downloaded = repository.download_artifacts(  # type: ignore[no-untyped-call]
            "both/old.txt", str(tmp_path / "down")
        )
        assert Path(downloaded).read_text() == "by a signed URL"
    listed = MlflowClient().list_artifacts(run.info.run_id, "both")
    assert [file.path for file in listed] == ["both/new.txt", "both/old.txt"]


def test_a_trace_is_logged_and_found(experiment: str) -> None:
    @mlflow.trace
    def answer(question: str) -> str:
        return question.upper()

    assert answer("why") == "WHY"
    mlflow.flush_trace_async_logging()
    [trace] = mlflow.search_traces(locations=[experiment], return_type="list")
    assert trace.data.spans[0].inputs == {"question": "why"}
    assert trace.data.spans[0].outputs == "WHY"


def test_the_name_of_an_experiment_is_a_path_in_the_workspace() -> None:
    with pytest.raises(MlflowException, match="absolute path"):
        MlflowClient().create_experiment("no-path")


def test_several_runs_are_written_at_the_same_time(experiment: str) -> None:
    def write(number: int) -> str:
        client = MlflowClient()
        run = client.create_run(experiment)
        for step in range(5):
            client.log_metric(run.info.run_id, "number", number, step=step)
        client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(write, range(8)))
    metrics = [MlflowClient().get_run(run).data.metrics["number"] for run in runs]
    assert metrics == list(range(8))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/2.0/mlflow/registered-models/search"),
        ("GET", "/api/2.0/mlflow/traces/nothing/like/this"),
        ("POST", "/api/4.0/mlflow/traces/search"),
    ],
)
def test_an_mlflow_route_that_the_workspace_lacks_is_json_that_clients_fall_back_on(
    clients: Sandbox, method: str, path: str
) -> None:
    answer = requests.request(
        method,
        clients.host + path,
        headers={"Authorization": f"Bearer {clients.token}"},
        timeout=TIMEOUT_S,
    )
    assert answer.status_code == 404
    assert answer.json()["error_code"] == "ENDPOINT_NOT_FOUND"


def test_the_artifacts_of_an_unknown_run_are_a_404(clients: Sandbox) -> None:
    answer = requests.get(
        f"{clients.host}/api/2.0/mlflow/artifacts/list",
        params={"run_id": "0" * 32},
        headers={"Authorization": f"Bearer {clients.token}"},
        timeout=TIMEOUT_S,
    )
    assert answer.status_code == 404
    assert answer.json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"
