"""*Sequencing Endpoint Deployment Steps for RAG Applications*: its six steps in working form.

The clients are unmodified. What the guide writes and the platform refuses is refused here too, with
the platform's kind of error.
"""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd  # type: ignore[import-untyped]
import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import BadRequest, InvalidParameterValue
from databricks.sdk.service.serving import (
    AiGatewayConfig,
    AiGatewayInferenceTableConfig,
    AutoCaptureConfigInput,
    EndpointCoreConfigInput,
    EndpointTag,
    Route,
    ServedEntityInput,
    TrafficConfig,
)
from mlflow import MlflowClient
from mlflow.deployments import get_deploy_client
from mlflow.models import infer_signature

from deploy.sandbox.launch import Sandbox

# MLflow warns about its own type hints, about ours, and of what it does with pandas.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*inferred as AnyType:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Add type hints:UserWarning"),
    pytest.mark.filterwarnings("ignore:Operation with range"),
]

CODE = """
import mlflow
import pandas as pd

class Chatbot(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: pd.DataFrame, params=None):
        words = (params or {}).get("max_tokens", 3)
        return [
            {"answer": " ".join(query.split()[:words]), "total_tokens": len(query.split())}
            for query in model_input["query"]
        ]

mlflow.models.set_model(Chatbot())
"""
QUERY = "What is Unity Catalog?"


def _register(folder: Path, model: str, kind: str) -> str:
    """Step 1: log with signature, input example, requirements and params; register with tags."""
    (folder / "chatbot.py").write_text(CODE)
    example = pd.DataFrame({"query": [QUERY]})
    answer = [{"answer": "What is Unity", "total_tokens": 4}]
    with mlflow.start_run():
        mlflow.log_params({"retriever": kind, "top_k": 3})
        mlflow.log_metric("faithfulness", 0.9)
        logged = mlflow.pyfunc.log_model(
            name="chatbot",
            python_model=str(folder / "chatbot.py"),
            signature=infer_signature(example, answer, params={"max_tokens": 3}),
            input_example=example,
            pip_requirements=["mlflow", "pandas"],
        )
    tags = {"git_sha": "0" * 40, "training_date": "2026-01-02"}
    return str(mlflow.register_model(logged.model_uri, model, tags=tags).version)


@dataclass(frozen=True)
class Guide:
    """Where the guide's first two steps have led: two versions, the first of them served."""

    model: str
    endpoint: str
    workspace: WorkspaceClient
    host: str

    def entity(self, version: str, **more: Any) -> ServedEntityInput:  # noqa: ANN401
        """A served entity as the working form of the guide asks for it."""
        wanted = {"workload_size": "Small", "scale_to_zero_enabled": False, **more}
        return ServedEntityInput(
            name=f"v{version}", entity_name=self.model, entity_version=version, **wanted
        )

    def serve(self, *entities: ServedEntityInput, shares: dict[str, int]) -> None:
        """Update the endpoint and wait."""
        routes = [
            Route(served_entity_name=name, traffic_percentage=share)
            for name, share in shares.items()
        ]
        self.workspace.serving_endpoints.update_config(
            self.endpoint, served_entities=list(entities), traffic_config=TrafficConfig(routes)
        ).result()


@pytest.fixture(scope="module")
def guide(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guide]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABRICKS_HOST", sandbox.host)
        patch.setenv("DATABRICKS_TOKEN", sandbox.token)
        patch.setenv("MLFLOW_TRACKING_URI", "databricks")
        patch.setenv("MLFLOW_REGISTRY_URI", "databricks-uc")
        unique = uuid.uuid4().hex[:8]
        model = f"main.ml_models.rag_{unique}"
        mlflow.set_experiment("/Shared/guide")
        for number, kind in ((1, "bm25"), (2, "dense")):
            folder = tmp_path_factory.mktemp(f"version{number}")
            assert _register(folder, model, kind) == str(number)
        workspace = WorkspaceClient(host=sandbox.host, token=sandbox.token)
        guide = Guide(model, f"rag-{unique}", workspace, sandbox.host)
        # Step 2: the endpoint, with AI Gateway's inference table instead of auto_capture_config.
        table = AiGatewayInferenceTableConfig(
            catalog_name="main", schema_name="ml_models", table_name_prefix=unique, enabled=True
        )
        workspace.serving_endpoints.create(
            guide.endpoint,
            config=EndpointCoreConfigInput(
                name=guide.endpoint, served_entities=[guide.entity("1")]
            ),
            ai_gateway=AiGatewayConfig(inference_table_config=table),
            tags=[EndpointTag(key="team", value="rag")],
        ).result()
        yield guide


def test_step_1_a_version_is_registered_with_everything_that_a_release_needs(guide: Guide) -> None:
    version = MlflowClient().get_model_version(guide.model, "1")
    assert version.status == "READY"
    assert version.tags == {"git_sha": "0" * 40, "training_date": "2026-01-02"}
    info = mlflow.models.get_model_info(f"models:/{guide.model}/1")
    assert info.signature is not None
    assert info.signature.inputs.input_names() == ["query"]
    assert info.signature.params is not None
    assert info.saved_input_example_info is not None
    assert mlflow.get_run(str(version.run_id)).data.params == {"retriever": "bm25", "top_k": "3"}


def test_step_2_the_endpoint_is_created_and_becomes_ready(guide: Guide) -> None:
    endpoint = guide.workspace.serving_endpoints.get(guide.endpoint)
    assert endpoint.state is not None
    assert endpoint.state.ready is not None
    assert endpoint.state.ready.value == "READY"
    assert [(tag.key, tag.value) for tag in endpoint.tags or []] == [("team", "rag")]


def test_step_3_autoscaling_is_a_size_or_a_range_of_concurrency(guide: Guide) -> None:
    ranged = guide.entity(
        "1", workload_size=None, min_provisioned_concurrency=4, max_provisioned_concurrency=8
    )
    guide.serve(ranged, shares={"v1": 100})
    config = guide.workspace.serving_endpoints.get(guide.endpoint).config
    assert config is not None
    [entity] = config.served_entities or []
    assert (entity.min_provisioned_concurrency, entity.max_provisioned_concurrency) == (4, 8)
    guide.serve(guide.entity("1"), shares={"v1": 100})


def test_step_4_the_endpoint_is_tested_by_http_with_the_sdks_own_token(guide: Guide) -> None:
    config = guide.workspace.config
    assert config.host == guide.host, "the host has its scheme already"
    response = requests.post(
        f"{config.host}/serving-endpoints/{guide.endpoint}/invocations",
        headers=config.authenticate(),
        json={"dataframe_records": [{"query": QUERY}], "params": {"max_tokens": 2}},
        timeout=30,
    )
    assert response.status_code == 200, response.text
    assert response.json()["predictions"] == [{"answer": "What is", "total_tokens": 4}]
    assert response.headers["served-model-name"] == "v1"


MONITORING = """
SELECT request_date, COUNT(*) AS requests, AVG(execution_duration_ms) >= 0 AS has_mean,
  PERCENTILE_APPROX(execution_duration_ms, 0.95) >= 0 AS has_p95,
  SUM(CASE WHEN status_code >= 400 THEN 1 ELSE 0 END) AS errors,
  SUM(response:predictions[0].total_tokens::int) AS tokens
FROM IDENTIFIER('{table}') WHERE client_request_id = 'monitored' GROUP BY request_date
"""


def test_step_5_the_inference_table_tells_requests_latency_errors_and_tokens(guide: Guide) -> None:
    url = f"{guide.host}/serving-endpoints/{guide.endpoint}/invocations"
    for query in ({"query": QUERY}, {"query": QUERY}, {"wrong": "column"}):
        requests.post(
            url,
            headers=guide.workspace.config.authenticate(),
            json={"dataframe_records": [query], "client_request_id": "monitored"},
            timeout=30,
        )
    statement = MONITORING.format(
        table=f"main.ml_models.{guide.endpoint.removeprefix('rag-')}_payload"
    )
    rows: list[list[str]] = []
    end = time.monotonic() + 20
    while [row[1] for row in rows] != ["3"] and time.monotonic() < end:
        time.sleep(0.3)
        answer = guide.workspace.statement_execution.execute_statement(statement, "sandbox")
        assert answer.result is not None
        rows = answer.result.data_array or []
    assert [row[1:] for row in rows] == [["3", "true", "true", "1", "8"]]


def test_step_6_a_version_is_promoted_by_alias_and_served_by_its_number(guide: Guide) -> None:
    client = MlflowClient()
    guide.serve(guide.entity("1"), guide.entity("2"), shares={"v1": 90, "v2": 10})
    client.set_registered_model_alias(guide.model, "production", "2")
    number = client.get_model_version_by_alias(guide.model, "production").version
    guide.serve(guide.entity(str(number)), shares={f"v{number}": 100})
    deployments: Any = get_deploy_client  # MLflow's function carries no types
    answer = deployments("databricks").predict(
        endpoint=guide.endpoint, inputs={"dataframe_records": [{"query": QUERY}]}
    )
    assert answer["predictions"][0]["answer"] == "What is Unity"
    config = guide.workspace.serving_endpoints.get(guide.endpoint).config
    assert config is not None
    assert [entity.entity_version for entity in config.served_entities or []] == ["2"]
    guide.serve(guide.entity("1"), shares={"v1": 100})


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"entity_version": "production"}, "version number"),
    ({"min_provisioned_throughput": 0, "max_provisioned_throughput": 10}, "throughput"),
    ({"scale_to_zero_enabled": None}, "scale_to_zero_enabled must be set"),
    ({"min_provisioned_concurrency": 4, "max_provisioned_concurrency": 8}, "together"),
]


@pytest.mark.parametrize(("snippet", "words"), REFUSED)
def test_what_the_guide_writes_and_the_platform_refuses(
    guide: Guide, snippet: dict[str, Any], words: str
) -> None:
    entity = guide.entity("1")
    for key, value in snippet.items():
        setattr(entity, key, value)
    with pytest.raises(InvalidParameterValue, match=words):
        guide.workspace.serving_endpoints.update_config(guide.endpoint, served_entities=[entity])
    # It was refused before anything changed.
    endpoint = guide.workspace.serving_endpoints.get(guide.endpoint)
    assert endpoint.pending_config is None


def test_the_guides_auto_capture_is_no_longer_accepted(guide: Guide) -> None:
    capture = AutoCaptureConfigInput(catalog_name="main", schema_name="ml_models", enabled=True)
    with pytest.raises(BadRequest, match="ai_gateway"):
        guide.workspace.serving_endpoints.update_config(
            guide.endpoint, served_entities=[guide.entity("1")], auto_capture_config=capture
        )
