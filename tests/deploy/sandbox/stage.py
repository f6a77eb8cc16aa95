"""A stage for tests of serving and the warehouse: models on disk, and the parts over HTTP."""

import asyncio
import contextlib
import socket
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import uvicorn
from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config
from databricks.sdk.service.sql import StatementParameterListItem
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.sandbox.registry import ModelVersion
from deploy.sandbox.serving import Serving
from deploy.sandbox.vault import Vault
from deploy.sandbox.warehouse import Warehouse
from deploy.sandbox.wire import ApiError, reply
from deploy.sandbox.workspace import Database, Settings, Workspace

MODEL = "main.rag.chatbot"
CALLER = "11111111-2222-4333-8444-555555555555"

SOURCE = """
import os, time
import mlflow.pyfunc, mlflow.models
import pandas as pd

class Chatbot(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        import wording
        self.version = wording.VERSION
        print("the index is loaded")
        if wording.BROKEN:
            raise RuntimeError("no index")

    def predict(self, context, model_input: pd.DataFrame, params=None):
        question = str(model_input["question"].iloc[0])
        if question == "boom":
            raise ValueError("the retriever is down")
        if question.startswith("sleep "):
            time.sleep(float(question.split()[1]))
        if question == "greeting":
            return [os.environ.get("GREETING", "none")]
        if question == "pid":
            return [str(os.getpid())]
        if question == "much":
            return ["x" * (2 << 20)]
        return [self.version]

mlflow.models.set_model(Chatbot())
"""


def save_models(directory: Path) -> dict[str, ModelVersion]:
    """Versions of one model by number: 1, 2 and 5 answer, 3 cannot load, others are unfit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc  # noqa: PLC0415 - seconds, and only these tests need it
        from mlflow.models import ModelSignature  # noqa: PLC0415
        from mlflow.types import ColSpec, Schema  # noqa: PLC0415

        question = Schema([ColSpec("string", "question")])
        signature = ModelSignature(question, Schema([ColSpec("string")]))
        for number, words in ((1, "one"), (2, "two"), (3, "three")):
            code = directory / f"code{number}"
            code.mkdir()
            (code / "chatbot.py").write_text(SOURCE)
            # The same module name in every version: they must not see each other's.
            text = f"VERSION = {words!r}\nBROKEN = {number == 3}\n"
            (code / "wording.py").write_text(text)
            mlflow.pyfunc.save_model(
                str(directory / f"v{number}"),
                python_model=str(code / "chatbot.py"),
                code_paths=[str(code / "wording.py")],
                signature=signature,
                pip_requirements=["mlflow"],
            )

    def version(number: str, folder: str, *, ready: bool = True, signed: bool = True) -> None:
        status = "READY" if ready else "PENDING_REGISTRATION"
        versions[number] = ModelVersion(
            name=MODEL,
            version=number,
            status=status,
            has_signature=signed,
            path=directory / folder,
        )

    versions: dict[str, ModelVersion] = {}
    for name, saved in (("1", "v1"), ("2", "v2"), ("3", "v3"), ("5", "v1")):
        version(name, saved)
    version("4", "v1", ready=False)
    version("6", "v1", signed=False)
    return versions


@dataclass
class Shelf:
    """A registry that has what was saved."""

    versions: dict[str, ModelVersion]

    def version(self, full_name: str, version: str) -> ModelVersion | None:
        """The version, if the model and it are there."""
        return self.versions.get(version) if full_name == MODEL else None


class Time:
    """A clock that a test can set forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        """Seconds since the epoch, as the test has them."""
        return time.time() + self.ahead


class Stage:
    """Serving and the warehouse behind a real HTTP server, in a thread of its own."""

    def __init__(self, versions: dict[str, ModelVersion], settings: Settings) -> None:
        self.time = Time()
        self.settings, self.models = settings, bool(versions)
        self.workspace = Workspace(settings, Database(settings.data / "workspace.db"), self.time)
        self.workspace.registry = Shelf(versions)  # type: ignore[assignment]
        self.workspace.serving = Serving(self.workspace)
        self.workspace.warehouse = Warehouse(self.workspace)
        self.workspace.vault = Vault(self.workspace.database)
        # asyncio turns Nagle's algorithm off only where the socket names its protocol; with it,
        # each answer would take 40 ms more.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self.host = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.sdk: WorkspaceClient
        self.session = requests.Session()

    def __enter__(self) -> Self:
        # Its own configuration of logging, and levels, would be those of all tests to come.
        config = uvicorn.Config(self._app(), log_config=None, ws="none", lifespan="on")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._server.serve(sockets=[self._socket]))
        )
        self._thread.start()
        until(lambda: self._server.started or not self._thread.is_alive(), 60)
        assert self._server.started, "the stage did not start"
        self.sdk = WorkspaceClient(
            config=Config(host=self.host, token="any", retry_timeout_seconds=2)
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.session.close()
        self._server.should_exit = True
        self._thread.join(30)
        self._socket.close()
        self.workspace.database.connection.close()

    def call(self, verb: str, path: str, body: Any = None) -> requests.Response:  # noqa: ANN401
        """One request of the control plane."""
        url = f"{self.host}/api/2.0/serving-endpoints{path}"
        return self.session.request(verb, url, json=body, timeout=30)

    def ask(
        self, endpoint: str, question: str, entity: str = "", **extra: object
    ) -> requests.Response:
        """Ask the endpoint, or one of its entities."""
        middle = f"/served-models/{entity}" if entity else ""
        url = f"{self.host}/serving-endpoints/{endpoint}{middle}/invocations"
        body = {"dataframe_records": [{"question": question}], **extra}
        return self.session.post(url, json=body, timeout=30)

    def answer(self, endpoint: str, question: str, entity: str = "") -> str:
        """What is answered, where it must be an answer."""
        response = self.ask(endpoint, question, entity)
        assert response.status_code == 200, response.text
        return str(response.json()["predictions"][0])

    def get(self, endpoint: str) -> dict[str, Any]:
        """The endpoint as GET shows it."""
        response = self.call("GET", f"/{endpoint}")
        assert response.status_code == 200, response.text
        return dict(response.json())

    def settled(self, endpoint: str) -> dict[str, Any]:
        """The endpoint as soon as its update has ended."""
        until(lambda: self.get(endpoint)["state"]["config_update"] != "IN_PROGRESS")
        return self.get(endpoint)

    def create(self, name: str, config: dict[str, Any], **more: object) -> dict[str, Any]:
        """An endpoint that is deployed."""
        response = self.call("POST", "", {"name": name, "config": config, **more})
        assert response.status_code == 200, response.text
        return self.settled(name)

    def update(self, name: str, config: dict[str, Any]) -> dict[str, Any]:
        """The endpoint after an update, however that ended."""
        response = self.call("PUT", f"/{name}/config", config)
        assert response.status_code == 200, response.text
        return self.settled(name)

    def rows(
        self,
        sql: str,
        parameters: list[StatementParameterListItem] | None = None,
        schema: str | None = None,
    ) -> list[list[str | None]]:
        """The rows of a statement, through the SDK."""
        answer = self.sdk.statement_execution.execute_statement(
            sql, "sandbox", parameters=parameters, schema=schema
        )
        assert answer.status is not None
        assert answer.status.error is None, answer.status.error
        assert answer.result is not None
        return [list(row) for row in answer.result.data_array or []]

    def _app(self) -> Starlette:
        serving, warehouse = self.workspace.serving, self.workspace.warehouse

        @contextlib.asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncIterator[None]:
            async with contextlib.AsyncExitStack() as parts:
                for part in (serving, warehouse):
                    parts.push_async_callback(part.stop)
                    await part.start()
                if self.models:
                    await serving.warm()
                yield

        app = Starlette(
            routes=[
                *serving.routes(),
                *warehouse.routes(),
                *self.workspace.vault.routes(),
                Route("/.well-known/{rest:path}", _known),
            ],
            exception_handlers={ApiError: _refused},
            lifespan=lifespan,
        )
        app.add_middleware(_Known)
        return app


class _Known:
    """Lets everybody in under one name."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["principal"] = CALLER
        await self.app(scope, receive, send)


def _known(_request: Request) -> Response:
    return reply({"workspace_id": "1234567890123456"})


def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


def entity(version: str, **more: object) -> dict[str, Any]:
    """A served entity as a client asks for it."""
    wanted = {
        "name": f"v{version}",
        "entity_name": MODEL,
        "entity_version": version,
        "workload_size": "Small",
        "scale_to_zero_enabled": False,
    }
    return {key: value for key, value in (wanted | more).items() if value is not None}


def serving(**shares: int) -> dict[str, Any]:
    """A configuration of versions by their traffic, as in v1=90, v2=10."""
    routes = [
        {"served_entity_name": name, "traffic_percentage": share} for name, share in shares.items()
    ]
    entities = [entity(name.removeprefix("v")) for name in shares]
    return {"served_entities": entities, "traffic_config": {"routes": routes}}


def until(holds: Callable[[], bool], limit_s: float = 20) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.02)


def staged(tmp_path_factory: Any, **settings: Any) -> Iterator[Stage]:  # noqa: ANN401
    """A stage with the saved models, for a fixture."""
    versions = save_models(tmp_path_factory.mktemp("models"))
    data = tmp_path_factory.mktemp("data")
    with Stage(versions, Settings(data=data, **settings)) as stage:
        yield stage
