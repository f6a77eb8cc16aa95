"""A workspace of a few lines that records what reaches it, byte for byte, and answers as told."""

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DETAIL: Mapping[str, Any] = {
    "name": "rag",
    "config": {
        "config_version": 1,
        "served_entities": [
            {
                "name": "rag-v1",
                "entity_name": "main.a.rag",
                "entity_version": "1",
                "workload_size": "Small",
                "scale_to_zero_enabled": False,
                "state": {"deployment": "DEPLOYMENT_READY"},
            }
        ],
        "traffic_config": {"routes": [{"served_model_name": "rag-v1", "traffic_percentage": 100}]},
    },
    "state": {"ready": "READY", "config_update": "NOT_UPDATING"},
    "ai_gateway": {"fallback_config": {"enabled": True}},
}
"""An endpoint as the API describes it."""


@dataclass(frozen=True)
class Asked:
    """One request as it came: the target as it stood in the request line."""

    method: str
    target: str
    body: bytes
    workspace: str | None = None
    """The workspace that is meant, of those behind one host."""

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.body)


QUARTER = 1 << 18
Answering = Callable[["Handler"], None]
"""What is done with a request."""


@dataclass
class Recorder:
    """What was asked, and how it is answered."""

    asked: list[Asked] = field(default_factory=list)
    changes: Answering | None = None
    """How requests that change something are answered; None: with an empty object."""
    reads: Answering | None = None
    """How requests that read are answered; None: with the endpoint."""
    takes: float = 0.0
    """Seconds that each quarter of a megabyte of a body is taken in."""
    left: threading.Event = field(default_factory=threading.Event)
    """Somebody closed the connection on which an answer was trickling."""
    connections: int = 0
    endpoint: Mapping[str, Any] | None = field(default_factory=lambda: DETAIL)
    silent: Callable[[str], bool] | None = None
    """Targets that are never answered while the recorder lives."""
    over: threading.Event = field(default_factory=threading.Event)
    host: str = ""

    def of(self, *methods: str) -> list[Asked]:
        """Requests of these methods; what the SDK asks before it signs in is left out."""
        return [one for one in self.asked if one.method in methods and "/.well" not in one.target]


class Handler(BaseHTTPRequestHandler):
    """Records, then answers."""

    protocol_version = "HTTP/1.1"
    recorder: Recorder
    asked: Asked
    """The request that is being answered."""

    def setup(self) -> None:
        super().setup()
        self.recorder.connections += 1

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing: it is all recorded."""

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def reset(self) -> None:
        """End the connection as a router does that forgot it."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True

    def trickle(self, text: bytes, every_s: float) -> None:
        """Say it byte by byte, for as long as somebody listens."""
        self.close_connection = True
        for byte in text:
            try:
                self.wfile.write(bytes([byte]))
            except OSError:
                self.recorder.left.set()
                return
            if self.recorder.over.wait(every_s):
                return

    def hang(self) -> None:
        self.recorder.over.wait(20)
        self.close_connection = True

    def _handle(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        recorder = self.recorder
        body = b""
        while recorder.takes and len(body) < size and not recorder.over.wait(recorder.takes):
            body += self.rfile.read(min(QUARTER, size - len(body)))
        body += self.rfile.read(size - len(body))
        self.asked = Asked(
            self.command, self.path, body, self.headers.get("X-Databricks-Workspace-Id")
        )
        recorder.asked.append(self.asked)
        if recorder.silent is not None and recorder.silent(self.path):
            self.hang()
        elif "/.well" in self.path:
            self.answer(404, b"{}")
        elif self.command == "GET" and recorder.reads is not None:
            recorder.reads(self)
        elif self.command == "GET":
            self._tell()
        elif recorder.changes is not None:
            recorder.changes(self)
        else:
            self.answer(200, b"{}")

    def _tell(self) -> None:
        if self.recorder.endpoint is None:
            gone = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such endpoint"}
            self.answer(404, json.dumps(gone).encode())
        else:
            self.answer(200, json.dumps(self.recorder.endpoint).encode())

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815 - http.server's names


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """A client that went away is part of what is tested."""


@contextmanager
def recording(*, tls: ssl.SSLContext | None = None) -> Iterator[Recorder]:
    """A recorder on a port of its own, over TLS where there is something to prove its name with."""
    recorder = Recorder()
    handler = type("Own", (Handler,), {"recorder": recorder})
    server = _Server(("127.0.0.1", 0), handler)
    recorder.host = f"http://127.0.0.1:{server.server_address[1]}"
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        recorder.host = recorder.host.replace("http", "https")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        recorder.over.set()
        server.shutdown()
        server.server_close()


def quiet_for(seconds: float, recorder: Recorder) -> int:
    """How many requests there are, once none has come for a while."""
    before = -1
    while before != len(recorder.asked):
        before = len(recorder.asked)
        time.sleep(seconds)
    return before
