"""MLflow tracking: the real open-source server in a child process, and Databricks' artifacts.

This process never imports mlflow.
"""

import asyncio
import json
import re

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.sandbox.fleet import Answer, Process, ProcessEnded
from deploy.sandbox.tracking_server import ARTIFACT_ROOT
from deploy.sandbox.wire import (
    ApiError,
    Json,
    invalid,
    missing,
    no_such_api,
    read_arguments,
    reply,
    text,
)
from deploy.sandbox.workspace import Workspace

INTERNAL = "/WorkspaceInternal/Mlflow/Artifacts"

_SERVED = ("experiments", "runs", "metrics", "logged-models", "traces")
"""The resources that the child serves. Its registry, prompts and gateway are not Databricks'."""
_LOCATION = re.compile(
    rf"{re.escape(ARTIFACT_ROOT)}/(?P<experiment>[^/]+)/"
    r"(?P<resource>logged_models/[^/]+|[^/]+)/artifacts"
)
_START_LIMIT_S = 180.0
"""How long the server may take to start, in seconds."""


class Tracking:
    """Experiments, runs, logged models and traces, with artifacts in the Files API's store."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._process: asyncio.Future[Process]
        self._directories: dict[str, str] = {}

    async def start(self) -> None:
        """Make what is asked of the tracking server wait until it is warm."""
        self._process = asyncio.get_running_loop().create_future()

    async def warm(self) -> None:
        """Start the tracking server and wait until it can answer."""
        directory = self.workspace.settings.data / "tracking"
        directory.mkdir(parents=True, exist_ok=True)
        order = {"tracking": str(directory)}
        fleet = self.workspace.serving.fleet
        self._process.set_result(await fleet.launch(order, _START_LIMIT_S))

    async def _ask(self, head: Json, body: bytes = b"") -> Answer:
        """One request and its answer."""
        try:
            return await (await asyncio.shield(self._process)).ask(head, body)
        except ProcessEnded as error:
            raise ApiError(
                500, "INTERNAL_ERROR", "the sandbox's MLflow tracking server has ended"
            ) from error

    async def forward(self, request: Request) -> Response:
        """Let the real MLflow server answer."""
        path, method = request.url.path, request.method
        resource = request.path_params["resource"]
        if resource.partition("/")[0] not in _SERVED:
            raise no_such_api(method, path)
        body = await request.body()
        if resource == "experiments/create":
            _check_experiment_name(await read_arguments(request))
        answer = await self._ask(
            {
                "method": method,
                "path": path,
                "query": request.url.query,
                "content_type": request.headers.get("content-type", ""),
                "accept": request.headers.get("accept", ""),
            },
            body,
        )
        # A route that MLflow lacks is HTML there; clients fall back only on Databricks' JSON.
        if answer.status in (404, 405) and "json" not in answer.media_type:
            raise no_such_api(method, path)
        return Response(answer.body, answer.status, media_type=answer.media_type)

    async def _get(self, path: str, query: str = "") -> Json:
        """What MLflow answers to a GET of ours; its refusals are passed on."""
        answer = await self._ask({"method": "GET", "path": path, "query": query})
        body: Json = json.loads(answer.body)
        if answer.status != 200:  # noqa: PLR2004
            raise ApiError(answer.status, body["error_code"], body["message"])
        return body

    async def logged_model_data(self, model_id: str) -> Json:
        """The metrics and params of a logged model; nothing where there is no such model."""
        if not model_id:
            return {}
        try:
            body = await self._get(f"/api/2.0/mlflow/logged-models/{model_id}")
        except ApiError as error:
            if error.status != 404:  # noqa: PLR2004
                raise
            return {}
        data: Json = body["model"].get("data", {})
        return data

    async def _run_directory(self, run_id: str) -> tuple[str, str]:
        """The artifact URI of a run and the Files API's directory behind it."""
        if run_id not in self._directories:
            _check_id(run_id)
            body = await self._get("/api/2.0/mlflow/runs/get", f"run_id={run_id}")
            self._directories[run_id] = body["run"]["info"]["artifact_uri"]
        return self._directories[run_id], _internal(self._directories[run_id])

    async def _model_directory(self, model_id: str) -> tuple[str, str]:
        """The artifact URI of a logged model and the Files API's directory behind it."""
        if model_id not in self._directories:
            _check_id(model_id)
            body = await self._get(f"/api/2.0/mlflow/logged-models/{model_id}")
            self._directories[model_id] = body["model"]["info"]["artifact_uri"]
        return self._directories[model_id], _internal(self._directories[model_id])

    def _list(self, uri: str, directory: str, below: str) -> Response:
        """The artifacts in one directory of a run or model, by paths relative to its root."""
        name = _join(directory, below)
        path = self.workspace.files.path(name)
        if path.is_file():
            # MLflow knows by this that the path is a file: a listing of the file itself.
            files = [{"path": below, "is_dir": False, "file_size": path.stat().st_size}]
        else:
            files = [
                {
                    "path": _join("", below, entry["name"]).lstrip("/"),
                    "is_dir": entry["is_directory"],
                    "file_size": entry.get("file_size", 0),
                }
                for entry in self.workspace.files.entries(name)
            ]
        return reply({"root_uri": uri, "files": files})

    def _credential(self, request: Request, method: str, name: str) -> Json:
        """A signed URL in the shape of one for cloud storage."""
        return {
            "signed_uri": self.workspace.files.signed_url(request, method, name),
            # It is a URL that takes a plain PUT or GET, which is what this type tells a client.
            "type": "AWS_PRESIGNED_URL",
            "headers": [],
        }

    async def list_run_artifacts(self, request: Request) -> Response:
        """GET artifacts/list."""
        asked = await read_arguments(request)
        uri, directory = await self._run_directory(asked.get("run_id") or text(asked, "run_uuid"))
        return self._list(uri, directory, str(asked.get("path") or ""))

    async def run_credentials(self, request: Request) -> Response:
        """POST artifacts/credentials-for-read and -write: a signed URL for each path."""
        asked = await read_arguments(request)
        run_id = text(asked, "run_id")
        _, directory = await self._run_directory(run_id)
        method = "GET" if request.path_params["operation"] == "read" else "PUT"
        infos = [
            {
                "run_id": run_id,
                "path": path,
                **self._credential(request, method, _join(directory, path)),
            }
            for path in _paths(asked, "path")
        ]
        return reply({"credential_infos": infos})

    async def list_model_artifacts(self, request: Request) -> Response:
        """GET logged-models/{model_id}/artifacts/directories."""
        asked = await read_arguments(request)
        uri, directory = await self._model_directory(request.path_params["model_id"])
        return self._list(uri, directory, str(asked.get("artifact_directory_path") or ""))

    async def model_credentials(self, request: Request) -> Response:
        """POST logged-models/{model_id}/artifacts/credentials-for-upload and -download."""
        asked = await read_arguments(request)
        model_id = request.path_params["model_id"]
        _, directory = await self._model_directory(model_id)
        method = "GET" if request.path_params["operation"] == "download" else "PUT"
        credentials = [
            {
                "model_id": model_id,
                "credential_info": {
                    "path": path,
                    **self._credential(request, method, _join(directory, path)),
                },
            }
            for path in _paths(asked, "paths")
        ]
        return reply({"credentials": credentials})

    async def trace_credentials(self, request: Request) -> Response:
        """GET traces/{trace_id}/credentials-for-data-upload and -download."""
        asked = await read_arguments(request)
        trace_id = request.path_params["trace_id"]
        _check_id(trace_id)
        name = _join(f"{INTERNAL}/Traces/{trace_id}", str(asked.get("path") or "traces.json"))
        method = "GET" if request.path_params["operation"] == "download" else "PUT"
        return reply({"credential_info": self._credential(request, method, name)})

    def routes(self) -> list[Route]:
        """Artifacts of our own, and the rest of /api/2.0/mlflow and /api/3.0/mlflow by MLflow."""
        base = "/api/2.0/mlflow"
        model = f"{base}/logged-models/{{model_id}}/artifacts"
        return [
            Route(f"{base}/artifacts/list", self.list_run_artifacts, methods=["GET"]),
            Route(
                f"{base}/artifacts/credentials-for-{{operation}}",
                self.run_credentials,
                methods=["POST"],
            ),
            Route(f"{model}/directories", self.list_model_artifacts, methods=["GET"]),
            Route(
                f"{model}/credentials-for-{{operation}}",
                self.model_credentials,
                methods=["POST"],
            ),
            Route(
                f"{base}/traces/{{trace_id}}/credentials-for-data-{{operation}}",
                self.trace_credentials,
                methods=["GET"],
            ),
            *(
                Route(
                    f"/api/{version}/mlflow/{{resource:path}}",
                    self.forward,
                    methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
                )
                for version in ("2.0", "3.0")
            ),
        ]


def _check_id(identifier: str) -> None:
    """Refuse what is no id before it becomes part of a path or a query of ours."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", identifier):
        raise invalid(f"Invalid id: {identifier!r}")


def _check_experiment_name(asked: Json) -> None:
    """Databricks keeps experiments in the workspace's folders, so a name is an absolute path."""
    name = text(asked, "name")
    if not name.startswith("/"):
        raise invalid(
            f"Got an invalid experiment name '{name}'. An experiment name must be an absolute path "
            f"within the Databricks workspace. E.g. '/Users/<some-username>/{name}'."
        )


def _internal(uri: str) -> str:
    """The Files API's directory behind an artifact URI, as MLflow's own client computes it."""
    match = _LOCATION.fullmatch(uri)
    if match is None:
        raise missing(f"The artifacts at {uri} are not in this workspace")
    kind, _, model_id = match["resource"].partition("/")
    resource = f"LoggedModels/{model_id}" if model_id else f"Runs/{kind}"
    return f"{INTERNAL}/{match['experiment']}/{resource}/artifacts"


def _join(*parts: str) -> str:
    """A path from parts, of which any may be empty."""
    return "/".join(["", *(part.strip("/") for part in parts if part.strip("/"))])


def _paths(asked: Json, key: str) -> list[str]:
    """The artifact paths of a request."""
    paths = asked.get(key)
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise invalid(f"Missing value for required parameter '{key}'")
    return paths
