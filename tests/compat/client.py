"""What a user's program does, by whatever versions of the clients this Python has.

    python client.py MODEL ENDPOINT

prints one line of JSON: the versions, and what came of each step. It imports nothing of this
project, because it runs in an environment that has the clients only.
"""
# ruff: noqa: PLC0415 - a step imports what it tries, so that a failure to import is its own

import importlib.metadata
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

CODE = """
import mlflow

class Greeter(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return ["hello " + name for name in model_input["name"]]

mlflow.models.set_model(Greeter())
"""
PACKAGES = ("databricks-sdk", "mlflow", "databricks-agents")


def version(package: str) -> str:
    """The installed version, or a dash."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "-"


def expect(found: object, wanted: object) -> None:
    """Say what was found where something else was wanted."""
    if found != wanted:
        raise AssertionError(f"{found!r}, not {wanted!r}")


class Program:
    """The steps, each of which needs those before it."""

    def __init__(self, model: str, endpoint: str) -> None:
        self.model, self.endpoint = model, endpoint
        self.number = ""
        self.uri = ""

    def steps(self) -> list[Callable[[], None]]:
        """All of them, in order."""
        return [self.log, self.register, self.read, self.alias, self.serve, self.query, self.sql]

    def log(self) -> None:
        """Log a model with a signature and an example."""
        import mlflow
        import pandas as pd  # type: ignore[import-untyped]
        from mlflow.models import infer_signature

        folder = Path(tempfile.mkdtemp())
        (folder / "greeter.py").write_text(CODE)
        example = pd.DataFrame({"name": ["Ada"]})
        mlflow.set_experiment("/Shared/compat")
        # MLflow 2 calls the first argument artifact_path.
        place = "name" if int(mlflow.__version__.split(".")[0]) > 2 else "artifact_path"
        arguments: dict[str, Any] = {
            place: "greeter",
            "python_model": str(folder / "greeter.py"),
            "signature": infer_signature(example, ["hello Ada"]),
            "input_example": example,
            "pip_requirements": ["mlflow"],
        }
        with mlflow.start_run():
            mlflow.log_params({"top_k": 3})
            mlflow.log_metric("accuracy", 0.9)
            self.uri = mlflow.pyfunc.log_model(**arguments).model_uri

    def register(self) -> None:
        """Register what was logged."""
        import mlflow

        registered = mlflow.register_model(self.uri, self.model)
        expect(registered.status, "READY")
        self.number = str(registered.version)

    def read(self) -> None:
        """Read it back, load it, and ask it."""
        import mlflow
        import pandas as pd

        loaded = mlflow.pyfunc.load_model(f"models:/{self.model}/{self.number}")
        expect(list(loaded.predict(pd.DataFrame({"name": ["Ada"]}))), ["hello Ada"])

    def alias(self) -> None:
        """Set an alias by MLflow, and read it by the SDK."""
        from databricks.sdk import WorkspaceClient
        from mlflow import MlflowClient

        MlflowClient().set_registered_model_alias(self.model, "champion", self.number)
        found = WorkspaceClient().model_versions.get_by_alias(self.model, "champion")
        expect(str(found.version), self.number)

    def serve(self) -> None:
        """Create an endpoint by the SDK and wait for it."""
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.service.serving import EndpointCoreConfigInput

        entity = {
            "name": "v1",
            "entity_name": self.model,
            "entity_version": self.number,
            "workload_size": "Small",
            "scale_to_zero_enabled": False,
        }
        config = EndpointCoreConfigInput.from_dict(
            {"name": self.endpoint, "served_entities": [entity]}
        )
        WorkspaceClient().serving_endpoints.create(self.endpoint, config=config).result()

    def query(self) -> None:
        """Ask by the SDK, and by MLflow's deployment client."""
        from databricks.sdk import WorkspaceClient
        from mlflow.deployments import get_deploy_client

        body: dict[str, Any] = {"dataframe_records": [{"name": "Ada"}]}
        answer = WorkspaceClient().serving_endpoints.query(self.endpoint, **body)
        expect(answer.predictions, ["hello Ada"])
        make_client: Any = get_deploy_client  # MLflow's function carries no types
        client = make_client("databricks")
        expect(client.predict(endpoint=self.endpoint, inputs=body)["predictions"], ["hello Ada"])

    def sql(self) -> None:
        """Run a statement."""
        from databricks.sdk import WorkspaceClient

        answer: Any = WorkspaceClient().statement_execution.execute_statement(
            "SELECT 7 / 2 AS half", "sandbox"
        )
        expect(answer.result.data_array, [["3.5"]])


def deploy_agent(model: str) -> None:
    """Log, register and deploy an agent as its library does it."""
    import mlflow
    from databricks import agents  # type: ignore[attr-defined]

    code = """
import mlflow
from mlflow.pyfunc import ResponsesAgent
from mlflow.types.responses import ResponsesAgentResponse

class Agent(ResponsesAgent):
    def predict(self, request):
        item = self.create_text_output_item("hello", "msg_1")
        return ResponsesAgentResponse(output=[item])

mlflow.models.set_model(Agent())
"""
    path = Path(tempfile.mkdtemp()) / "agent.py"
    path.write_text(code)
    mlflow.set_experiment("/Shared/agents")
    with mlflow.start_run():
        logged = mlflow.pyfunc.log_model(
            name="agent", python_model=str(path), pip_requirements=["mlflow"]
        )
    registered = mlflow.register_model(logged.model_uri, model)
    agents.deploy(model, int(registered.version), scale_to_zero=False)


def main() -> None:
    """Run the steps until one fails."""
    model, endpoint = sys.argv[1:3]
    results: dict[str, str] = {}
    program = Program(model, endpoint)
    steps = program.steps()
    if version("databricks-agents") != "-":

        def agents_deploy() -> None:
            deploy_agent(f"{model}_agent")

        steps = [agents_deploy]
    for step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this version's result
            results[step.__name__] = f"{type(error).__name__}: {error}"[:300]
            break
        results[step.__name__] = "ok"
    told = {"versions": {name: version(name) for name in PACKAGES}, "results": results}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
