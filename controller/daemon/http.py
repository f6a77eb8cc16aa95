"""The daemon's one HTTP application: health, readiness, and whatever else is handed in.

The two probes are open, as those who ask them have no token, and the doorbell has a secret of its
own; everything else wants the token.
"""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hmac import compare_digest

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.settings import HttpSettings, SettingsError
from controller.signing import PATH as DOORBELL

OPEN = ("/healthz", "/readyz", DOORBELL)
"""What is answered without a token: one word, or one sentence, about the daemon itself; and the
doorbell, which checks a signature."""
APPS = "/api"
"""Databricks' proxy lets those who have a token, and no browser, ask an app for what is below this
only: all that is answered is there as well."""
BODY_BYTES = 64 * 1024
"""Longest body that is read: a webhook has a few kilobytes."""
AT_ONCE = 64
"""Most requests at a time; more are answered with 503."""
KEEP_ALIVE_S, END_S = 5, 5.0
SECURE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Sent with every answer, unless a route says otherwise."""

Check = Callable[[], str | None]
"""What is wrong, in one sentence; None while all is well."""


def application(
    health: Check, readiness: Check, token: str | None, routes: Iterable[BaseRoute] = ()
) -> ASGIApp:
    """The application: two probes, and routes for those who have the token.

    Health is told by the event loop itself, so that no route that hangs can keep it back. Routes
    that are plain functions run on threads, as readiness does: they may read the store.
    """

    async def healthz(_: Request) -> Response:
        return _told(health())

    def readyz(_: Request) -> Response:
        return _told(readiness())

    probes = [Route("/healthz", healthz), Route("/readyz", readyz)]
    handlers = {HTTPException: _refused, Exception: _failed}
    inner = Starlette(routes=[*probes, *routes], exception_handlers=handlers)
    inner.router.redirect_slashes = False
    return _Guard(inner, token)


def _told(trouble: str | None) -> Response:
    if trouble is None:
        return JSONResponse({"status": "ok"})
    return JSONResponse({"status": "failing", "because": trouble}, status_code=503)


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail, dict(error.headers or {}))


def _failed(_: Request, __: Exception) -> Response:
    return _error(500, "Headgate failed to answer: its log says why")


def _error(status: int, because: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": because}, status_code=status, headers=headers)


class _Guard:
    """Token, size and headers of every request, before and after the routes."""

    def __init__(self, inner: ASGIApp, token: str | None) -> None:
        self._inner, self._token = inner, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        if scope["path"].startswith(f"{APPS}/"):
            scope = {**scope, "path": scope["path"].removeprefix(APPS)}
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, _secured(send))
            return
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > BODY_BYTES:
                raise HTTPException(413, f"a body has at most {BODY_BYTES} bytes")
            return message

        await self._inner(scope, bounded, _secured(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > BODY_BYTES:
            return _error(413, f"a body has at most {BODY_BYTES} bytes")
        if scope["path"] in OPEN:
            return None
        if self._token is None:
            return _error(403, "no token is set: name a file with one in HEADGATE_TOKEN_FILE")
        given = headers.get(b"authorization", b"")
        kind, _, value = given.partition(b" ")
        known = compare_digest(value.strip(), self._token.encode())
        if kind.lower() != b"bearer" or not known:
            told = "send the daemon's token: `Authorization: Bearer ...`"
            return _error(401, told, {"WWW-Authenticate": "Bearer"})
        return None


def _secured(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *(
                    (name.lower().encode(), value.encode())
                    for name, value in SECURE.items()
                    if name.lower().encode() not in own
                ),
            ]
        await send(message)

    return sending


class Server:
    """A port that is ours, and the application on it."""

    def __init__(self, settings: HttpSettings) -> None:
        self._socket = _listening(settings)

    @property
    def port(self) -> int:
        """The port it listens on; another than asked for only if that was 0."""
        return int(self._socket.getsockname()[1])

    @contextmanager
    def serving(self, app: ASGIApp) -> Iterator[None]:
        """Answer on a thread of its own, until the block ends."""
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            # Named, or what happens to be installed would decide.
            http="h11",
            loop="asyncio",
            ws="none",
            limit_concurrency=AT_ONCE,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        # A daemon thread: a client that hangs must not keep the process from ending.
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [self._socket]}, name="http", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join(END_S)
            self.close()

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


def _listening(settings: HttpSettings) -> socket.socket:
    """The port, ours from now on; found out at start, while somebody still looks on."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise SettingsError(
            f"HEADGATE_HTTP={settings.host}:{settings.port}: cannot be listened on "
            f"({error.strerror}): name another port, or `off`"
        ) from error
