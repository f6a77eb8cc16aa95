"""The daemon's one HTTP application: health, readiness, and whatever else is handed in.

The two probes are open, as those who ask them have no token, and the doorbell has a secret of its
own; everything else wants the token. Without one, only this machine can ask: it may read metrics.
Pages take the token as a browser sends it, and where none is set they are shown on this machine
alone: to who calls it by a name that no other site can have.
"""

import asyncio
import binascii
import socket
import threading
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from hmac import compare_digest
from typing import Literal

import uvicorn
from h11 import LocalProtocolError
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.address import names_loopback
from controller.daemon.openapi import Described, described
from controller.daemon.openapi import route as openapi
from controller.settings import HttpSettings, SettingsError
from controller.signing import PATH as DOORBELL

OPEN = ("/healthz", "/readyz", DOORBELL)
"""What is answered without a token: one word, or one sentence, about the daemon itself; and the
doorbell, which checks a signature."""
APPS = "/api"
"""Databricks' proxy lets those who have a token, and no browser, ask an app for what is below this
only: all that is answered is there as well."""
LOCAL = ("/metrics",)
"""What is also answered where no token is set: then nobody but this machine's users can ask."""
PAGES = ("/", "/app/")
"""What people read: the first page, and whatever is below the other."""
BODY_BYTES = 64 * 1024
"""Longest body that is read: a webhook has a few kilobytes."""
AT_ONCE = 64
"""Most requests at a time; more are answered with 503."""
READ_S = 10.0
"""Longest that a body may take to come."""
KEEP_ALIVE_S, END_S = 5, 5.0
OVER_S = 1.0
"""Within what time a connection that was ended is known to be."""
READING = ("GET", "HEAD")
LOGIN = "log in with any name, and the daemon's token as the password"
ELSEWHERE = (
    "without a token the pages are shown on this machine only, at http://localhost or "
    "http://127.0.0.1: name a file with a token in HEADGATE_TOKEN_FILE"
)
SECURE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Sent with every answer, unless a route says otherwise."""


class Condition(BaseModel):
    """How the daemon is; what is wrong in one sentence."""

    status: Literal["ok", "failing"]
    because: str | None = None


Check = Callable[[], str | None]
"""What is wrong, in one sentence; None while all is well."""


def application(
    health: Check, readiness: Check, token: str | None, routes: Iterable[BaseRoute] = ()
) -> ASGIApp:
    """The application: two probes, routes for those who have the token, and what documents them.

    Health is told by the event loop itself, so that no route that hangs can keep it back. Routes
    that are plain functions run on threads, as readiness does: they may read the store.
    """

    @described(Described(answer=Condition, refusal=Condition))
    async def healthz(_: Request) -> Response:
        """Whether passes begin and end: one that is not is to be restarted."""
        return _told(health())

    @described(Described(answer=Condition, refusal=Condition))
    def readyz(_: Request) -> Response:
        """Whether store and workspace were seen of late, and the log can be written."""
        return _told(readiness())

    told = [Route("/healthz", healthz), Route("/readyz", readyz), *routes]
    handlers = {HTTPException: _refused, Exception: _failed}
    inner = Starlette(routes=[*told, openapi(told, OPEN)], exception_handlers=handlers)
    inner.router.redirect_slashes = False
    return _Guard(inner, token)


async def read(request: Request) -> bytes:
    """A request's body, which has to come soon."""
    try:
        async with asyncio.timeout(READ_S):
            return await request.body()
    except (TimeoutError, ClientDisconnect) as error:
        raise HTTPException(408, f"the body did not come within {READ_S:.0f} s") from error


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
            await refusal(scope, receive, _secured(receive, send))
            return
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > BODY_BYTES:
                raise HTTPException(413, f"a body has at most {BODY_BYTES} bytes")
            return message

        await self._inner(scope, bounded, _secured(receive, send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > BODY_BYTES:
            return _error(413, f"a body has at most {BODY_BYTES} bytes")
        if scope["path"] in OPEN:
            return None
        local = self._token is None and scope["path"] in LOCAL
        if scope["method"] in READING and (local or _is_page(scope["path"])):
            return self._page_refusal(headers)
        if self._token is None:
            return _error(403, "no token is set: name a file with one in HEADGATE_TOKEN_FILE")
        kind, _, value = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() == b"bearer" and self._is_token(value.strip()):
            return None
        told = "send the daemon's token: `Authorization: Bearer ...`"
        return _error(401, told, {"WWW-Authenticate": "Bearer"})

    def _page_refusal(self, headers: dict[bytes, bytes]) -> Response | None:
        """Who may read; a browser's password would go along with what another site makes it send,
        so that it opens what is read, and never what acts.
        """  # noqa: D205 - one sentence
        if self._token is None:
            host = headers.get(b"host", b"").decode("latin-1")
            return None if names_loopback(host) else _error(403, ELSEWHERE)
        kind, _, value = headers.get(b"authorization", b"").partition(b" ")
        given = {b"bearer": value.strip(), b"basic": _password(value)}.get(kind.lower(), b"")
        if self._is_token(given):
            return None
        challenge = 'Basic realm="Headgate", charset="UTF-8"'
        return _error(401, LOGIN, {"WWW-Authenticate": challenge})

    def _is_token(self, given: bytes) -> bool:
        assert self._token is not None, "asked only where one is set"
        return compare_digest(given, self._token.encode())


def _is_page(path: str) -> bool:
    first, below = PAGES
    return path == first or path.startswith(below)


def _password(value: bytes) -> bytes:
    """What a browser's login dialog was told as the password; nothing, if it is damaged."""
    try:
        return b64decode(value.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def _secured(receive: Receive, send: Send) -> Send:
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
        try:
            await send(message)
        except LocalProtocolError:
            # A body that is none is refused by the server itself, while we answer its beginning:
            # whoever sent it could fill the log with errors.
            if not await _over(receive):
                raise

    return sending


async def _over(receive: Receive) -> bool:
    """Whether nobody is there any more to be answered."""
    with suppress(TimeoutError):
        async with asyncio.timeout(OVER_S):
            while (await receive())["type"] != "http.disconnect":
                """What is left of the body."""
            return True
    return False


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
