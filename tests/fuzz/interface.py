"""The daemon's whole HTTP interface on a port, and requests that may be anything, byte for byte."""

import json
import logging
import re
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from hypothesis import strategies as st

from controller.daemon.beat import Daemon
from controller.daemon.doorbell import Doorbell
from controller.daemon.exposition import Exposition
from controller.daemon.exposition import route as metrics
from controller.daemon.http import APPS, OPEN, SECURE, Server, application
from controller.daemon.instruments import Instruments
from controller.daemon.orders_http import Orders
from controller.daemon.site import Site
from controller.record.budget import Budget
from controller.settings import HttpSettings
from tests.controller.house import NAME, opened

TOKEN = "a-token-that-is-long-enough"
HOST = "other.example"
"""Somebody else's host, whose content nobody may get here."""
MOVED, REFUSED, FAILED = 300, 400, 500
PATIENCE_S = 20.0
WELCOME = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r]*\r\n")
FRAMING = (b"Content-Length", b"Transfer-Encoding")
"""What says how long a body is."""
INTERIM = re.compile(rb"\AHTTP/1\.1 1\d\d [^\r]*\r\n\r\n")
"""`100 Continue`, before the answer."""
LOGIN = b"Basic " + b64encode(b"ann:" + TOKEN.encode())
SHOWN = (b"Bearer " + TOKEN.encode(), b"bearer  " + TOKEN.encode(), LOGIN)
"""How the token is shown."""
OWN = (NAME.encode(), b"headgate_journal_rows", b"openapi", b'"seq"')
"""What only those are told who may read the record."""


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """The port of everything that the daemon answers, behind a record of two releases.

    Orders are taken, and nothing carries them out.
    """
    with opened(folder) as house:
        house.passes(3)
        instruments = Instruments()
        passes = {NAME: house.one}
        daemon = Daemon(
            house.store, house.one.printer, passes, timedelta(30), instruments=instruments
        )
        instruments.registry.register(Exposition(house.store, daemon, Budget(shared=True)))
        server = Server(HttpSettings(port=0))
        bell = Doorbell("a secret of the doorbell", {NAME: "main.a.rag"}, lambda names: names)
        orders = Orders(house.store, [NAME], lambda names: names, lambda: False, "127.0.0.1")
        pages = Site(house.store, lambda: None).routes
        routes = [bell.route, *orders.routes, metrics(instruments.registry), *pages]
        with errors() as told:
            with server.serving(application(lambda: None, lambda: None, TOKEN, routes)):
                yield server.port
            assert told == [], "nobody who sends something fills the log with errors"
        daemon.passes.end(10)


@contextmanager
def errors() -> Iterator[list[str]]:
    """What the server tells of as failed, meanwhile."""
    told: list[str] = []
    heard = logging.Handler(logging.ERROR)
    heard.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(heard)
    try:
        yield told
    finally:
        logger.removeHandler(heard)


@dataclass(frozen=True)
class Sent:
    """One request as it goes over the wire."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def __repr__(self) -> str:
        """Its first bytes: enough to know it by."""
        return repr(self.raw[:300])

    def _repr_pretty_(self, printer: Any, _: bool) -> None:  # noqa: ANN401, FBT001 - Hypothesis's
        printer.text(repr(self))

    @property
    def raw(self) -> bytes:
        """Its bytes; the server closes what it has answered."""
        headers = (*self.headers, (b"Connection", b"close"))
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        return self.method + b" " + self.target + b" HTTP/1.1\r\n" + lines + b"\r\n" + self.body

    @property
    def whole(self) -> bool:
        """Whether its body is as long as it says, so that nobody waits for the rest."""
        told = [value for name, value in self.headers if name in FRAMING]
        return told in ([], [str(len(self.body)).encode()])

    @property
    def may_read(self) -> bool:
        """Whether it shows the token in some way, so that it may be told what is kept."""
        return any(name == b"Authorization" and value in SHOWN for name, value in self.headers)

    @property
    def path(self) -> str:
        """The path as the application sees it."""
        path = self.target.partition(b"?")[0]
        return unquote_to_bytes(path).decode("utf-8", "replace").removeprefix(APPS)


@dataclass(frozen=True)
class Answered:
    """What came back until the connection was closed."""

    status: int | None
    """None: nothing, as of a request that was never whole."""
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def unread(self) -> bool:
        """Whether the server itself refused it as no HTTP, before the application."""
        kind = self.headers.get(b"content-type", b"")
        return self.status == REFUSED and kind.startswith(b"text/plain")


def ask(port: int, sent: Sent) -> Answered:
    """Send one request, whatever it is, and read what comes."""
    got = b""
    with closing(socket.create_connection(("127.0.0.1", port), PATIENCE_S)) as wire:
        # Who is refused before he has said everything is hung up on.
        with suppress(OSError):
            wire.sendall(sent.raw)
            if not sent.whole:
                wire.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while data := wire.recv(65536):
                got += data
    got = INTERIM.sub(b"", got)
    found = WELCOME.match(got)
    if found is None:
        assert got == b"", got[:200]
        return Answered(None, {}, b"")
    head, end, body = got.partition(b"\r\n\r\n")
    if not end:
        return Answered(None, {}, b"")
    pairs = (line.partition(b": ") for line in head.split(b"\r\n")[1:])
    return Answered(int(found[1]), {name.lower(): value for name, _, value in pairs}, body)


def wrong(sent: Sent, answered: Answered) -> Iterator[str]:
    """What is wrong with an answer; nothing, if it is one that anybody may get to that."""
    status, headers, body = answered.status, answered.headers, answered.body
    if status is None:
        return
    if status >= FAILED:
        yield f"it failed with {status}"
    if MOVED <= status < REFUSED or b"location" in headers:
        yield f"it sends elsewhere: {status} {headers.get(b'location')!r}"
    if HOST.encode() in b"".join(headers.values()) or b"access-control-allow-origin" in headers:
        yield "it speaks for another host"
    if answered.unread:
        return
    if missing := [name for name in SECURE if name.lower().encode() not in headers]:
        yield f"it lacks {missing}"
    if not sent.may_read:
        if status < REFUSED and sent.path not in OPEN:
            yield f"it answers {status} without the token"
        if told := [word for word in OWN if word in body]:
            yield f"it tells {told} without the token"


_PATHS = (
    *(*OPEN, "/metrics", "/openapi.json", "/v1/journal", "/v1/orders", "/"),
    *(f"/app/{NAME}", f"/app/{NAME}/2", "/app/", "/app/x/y/z"),
)
_PIECES = st.sampled_from(
    (
        *(b"..", b".", b"", b"%2e%2e", b"%2F", b"%00", b"%ff", b"%", b"%zz", b"%E0%80"),
        *(b"%F0%9F%98%80", b"app", b"v1", b"api", b"metrics", NAME.encode(), b"a" * 3000),
        *(b"\xc3\xa9", b"\xff", b";a=b"),
    )
)
_TARGETS = (
    st.sampled_from(_PATHS).map(str.encode)
    | st.sampled_from(_PATHS).map(lambda path: f"{APPS}{path}".encode())
    | st.sampled_from(_PATHS).map(lambda path: f"http://{HOST}{path}".encode())
    | st.lists(_PIECES, min_size=1, max_size=5).map(lambda parts: b"/" + b"/".join(parts))
    | st.builds(lambda path, piece: path.encode() + b"/" + piece, st.sampled_from(_PATHS), _PIECES)
    | st.sampled_from([b"*", b"", b"//", b"//" + HOST.encode() + b"/", b"other.example:443"])
    | st.sampled_from((b"\x00", b"/ x", b"/\x7f", b"/\xff"))
)
_QUERIES = st.one_of(
    st.just(b""),
    st.sampled_from(
        [b"0", b"-1", b"1e9", b"", b"9" * 400, b"%00", b"%ff", b"0&after=1", b"\xff"]
    ).map(lambda value: b"?after=" + value),
    st.integers(1, 12_000).map(lambda times: b"?" + b"a=1&" * times),
    st.binary(max_size=20).map(lambda some: b"?" + quote(some, safe="&=+").encode()),
)
_LOGINS = st.sampled_from(
    (None, *SHOWN, b"Bearer", b"Bearer wrong", b"Basic !", b"Basic \xff", b"Digest x", b"")
)
_HOSTS = st.sampled_from((b"localhost", b"127.0.0.1:8350", HOST.encode(), b"[::1]:80", b"a.b"))
_MORE = st.sampled_from(
    (
        *((b"X-Forwarded-Host", HOST.encode()), (b"X-Forwarded-For", b"127.0.0.1")),
        *((b"Origin", b"http://" + HOST.encode()), (b"Accept", b"*/*;q=x, \xff")),
        *((b"Accept", b"application/openmetrics-text"), (b"Expect", b"100-continue")),
        *((b"Upgrade", b"websocket"), (b"Content-Type", b"application/json")),
        *((b"Range", b"bytes=0-1"), (b"Content-Length", b"9" * 30), (b"X-Long", b"a" * 40_000)),
    )
)
_DAMAGE = st.sampled_from(
    (
        *((b"Host", b"other.example"), (b"Host", b"\xff"), (b"Cookie", b"\x00"), (b"Na me", b"x")),
        *((b"Content-Length", b"-1"), (b"Content-Length", b"+1"), (b"Content-Length", b"7")),
        *((b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"gzip"), (b"", b"x")),
        *((b"X-Long", b"a" * 70_000), (b"X-Fold", b"a\r\n b")),
    )
)
"""What makes most requests be none."""
_BODIES = st.binary(max_size=40) | st.sampled_from(
    [
        b"",
        json.dumps({"verb": "pause", "application": NAME, "actor": "ann"}).encode(),
        json.dumps({"verb": "pause", "application": "\ud800"}).encode(),
        b"[" * 5000,
        b"9" * 70_000,
        b"0\r\n\r\n",
        b"zz\r\n",
    ]
)


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    """A request: mostly one that is understood, with something odd about it."""
    method = draw(
        st.sampled_from([b"GET"] * 6 + [b"HEAD", b"POST", b"POST", b"PUT", b"DELETE", b"PATCH"])
        | st.sampled_from([b"OPTIONS", b"TRACE", b"CONNECT", b"get", b"PROPFIND", b"A" * 300, b""])
    )
    headers = [(b"Host", draw(_HOSTS))]
    headers += [(b"Authorization", login)] if (login := draw(_LOGINS)) is not None else []
    headers += draw(st.lists(_MORE, max_size=2))
    if draw(st.integers(0, 4)) == 0:
        headers += draw(st.lists(_DAMAGE, max_size=2))
        headers = headers[draw(st.integers(0, 1)) :]
    body = draw(_BODIES)
    if not {name for name, _ in headers} & {*FRAMING}:
        headers.append((b"Content-Length", str(len(body)).encode()))
    return Sent(method, draw(_TARGETS) + draw(_QUERIES), tuple(headers), body)
