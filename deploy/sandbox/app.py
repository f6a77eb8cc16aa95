"""The workspace as one ASGI application: its parts, who may call them, and how errors look."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deploy.sandbox.faults import RequestLog, replaced
from deploy.sandbox.files import Files
from deploy.sandbox.identity import Identity
from deploy.sandbox.registry import Registry
from deploy.sandbox.rules import HttpFault
from deploy.sandbox.serving import Serving
from deploy.sandbox.tracking import Tracking
from deploy.sandbox.vault import Vault
from deploy.sandbox.warehouse import Warehouse
from deploy.sandbox.wire import ApiError, no_such_api, not_modelled
from deploy.sandbox.workspace import Clock, Database, Settings, Workspace

_log = logging.getLogger("sandbox")

_OPEN = ("/.well-known/", "/oidc/", "/_sandbox/", "/_storage/", "/_storage-parts/")
"""Paths that need no bearer token: discovery, tokens, the sandbox's controls, signed URLs."""


class Connections:
    """The open TCP connections by their peer's address, so that a fault can reset one."""

    def __init__(self) -> None:
        self.transports: dict[Any, asyncio.Transport] = {}

    async def reset(self, scope: Scope, receive: Receive) -> None:
        """End this request's connection without an answer, and wait until the server noticed."""
        transport = self.transports.get(tuple(scope["client"]))
        assert transport is not None, "the server must register its connections here"
        transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass


class Gate:
    """What every request passes: authentication, org header and date, the log, and faults.

    It is plain ASGI because the data plane passes here too: it costs some ten microseconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        workspace: Workspace,
        log: RequestLog,
        connections: Connections,
    ) -> None:
        self.app = app
        self.identity = Identity(workspace)
        self.clock = workspace.clock
        self.faults, self.privileges = workspace.faults, workspace.privileges
        self.permissions = workspace.serving.permissions
        self.client_id = workspace.settings.client_id
        self.log = log
        self.connections = connections
        self._org = (b"x-databricks-org-id", workspace.workspace_id.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the lifespan, which passes as it is."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        status: int | None = None

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                date = (b"date", formatdate(self.clock(), usegmt=True).encode())
                message["headers"] = [*message.get("headers", ()), self._org, date]
            await send(message)

        fault = None
        if "http" in self.faults.rules and not path.startswith("/_sandbox/"):
            fault = self.faults.take("http", HttpFault, "request", method=method, path=path)
        try:
            if fault is None:
                await self._handle(scope, receive, marked)
            else:
                await self._suffer(fault[1], scope, receive, marked)
        finally:
            if path.startswith("/api/"):
                self.log.add(method, path, status)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate and answer; an unexpected exception is a 500 as long as none was begun."""
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            if not scope["path"].startswith(_OPEN):
                scope["principal"] = self.identity.principal(_authorization(scope))
                if scope["principal"] == self.client_id and self.privileges.restrict:
                    self.privileges.check(scope["method"], scope["path"])
                    self.permissions.check(self.client_id, scope["method"], scope["path"])
            await self.app(scope, receive, noted)
        except ApiError as refusal:
            await refusal.response()(scope, receive, noted)
        except Exception:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            if started:
                raise
            failure = ApiError(
                500, "INTERNAL_ERROR", "the sandbox failed; its standard error stream says why"
            )
            await failure.response()(scope, receive, noted)

    async def _suffer(self, fault: HttpFault, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or do not, as the fault says."""
        lost = fault.drop_connection or fault.status is not None
        held: list[Message] = []

        async def hold(message: Message) -> None:
            held.append(message)

        if fault.after_handler or not lost:
            await self._handle(scope, receive, hold)
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.drop_connection:
            await self.connections.reset(scope, receive)
        elif fault.status is not None:
            await replaced(fault)(scope, receive, send)
        else:
            for message in held:
                await send(message)


def _authorization(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization":
            return str(value, "latin-1")
    return ""


def _refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


def _unknown(request: Request, error: Exception) -> Response:
    """The answer to a route that is not here, and to a method that a route lacks."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if path.startswith("/api/") and "/mlflow/" in path:
        return no_such_api(request.method, path).response()
    return not_modelled(f"{request.method} {path}").response()


async def _warm(workspace: Workspace) -> None:
    """Wait until the children have imported what they need and serve what was served before."""
    async with asyncio.TaskGroup() as group:
        group.create_task(workspace.tracking.warm())
        group.create_task(workspace.serving.warm())


async def _end(task: "asyncio.Task[None]") -> None:
    """End a task that may still run; how it ended is its owner's to tell."""
    task.cancel()
    await asyncio.wait({task})


def build(settings: Settings, clock: Clock = time.time) -> Starlette:
    """The workspace that these settings describe, as an application with a lifespan.

    Its `state.workspace` is the workspace; its `state.connections` is where the server that runs
    it must register its TCP connections; and its `state.warm`, once its lifespan has begun, is the
    task that waits for the children.
    """
    database = Database(settings.data / "workspace.db")
    workspace = Workspace(settings, database, clock)
    workspace.files = Files(workspace)
    workspace.registry = Registry(workspace)
    workspace.tracking = Tracking(workspace)
    workspace.serving = Serving(workspace)
    workspace.warehouse = Warehouse(workspace)
    workspace.vault = Vault(database)
    log, connections = RequestLog(workspace.clock), Connections()
    # The data plane comes first: routes are matched in order.
    routes = [
        *workspace.serving.routes(),
        *workspace.files.routes(),
        *workspace.registry.routes(),
        *workspace.warehouse.routes(),
        *Identity(workspace).routes(),
        *workspace.vault.routes(),
        *workspace.faults.routes(),
        *workspace.privileges.routes(),
        *log.routes(),
        *workspace.tracking.routes(),
    ]

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as parts:
            parts.callback(database.connection.close)
            # They stop in the reverse order: serving while the warehouse still takes its rows.
            parts.push_async_callback(workspace.warehouse.stop)
            parts.push_async_callback(workspace.serving.stop)
            await workspace.tracking.start()
            await workspace.serving.start()
            await workspace.warehouse.start()
            # The control plane answers while the children import MLflow.
            app.state.warm = asyncio.create_task(_warm(workspace))
            parts.push_async_callback(_end, app.state.warm)
            yield

    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={ApiError: _refusal, HTTPException: _unknown},
        middleware=[Middleware(Gate, workspace=workspace, log=log, connections=connections)],
    )
    app.router.redirect_slashes = False
    app.state.workspace = workspace
    app.state.connections = connections
    return app
