"""The processes that serve: one per model, and one for MLflow's own server, forks of the zygote.

Two model versions in one Python process are not isolated: the second would run the first one's
modules.

Every process connects to the workspace's Unix socket. A frame is two 32-bit lengths, a JSON head
and a body of bytes. The end of that connection is the end of the process: a workspace that is
killed leaves no orphan.
"""

import io
import json
import os
import queue
import resource
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

SIZES = struct.Struct(">II")
"""The frame's prefix: bytes of the head, bytes of the body."""

Head = dict[str, Any]
Answering = Callable[[Head, bytes], tuple[int, str, bytes]]
"""What a worker does with a request: status, media type and body of its answer."""


class Stream(Protocol):
    """What a frame is read from."""

    def read(self, size: int, /) -> bytes:
        """Read as many bytes as asked, fewer only at the end."""
        ...


_KIB = 1024
# Linux counts the resident set in KiB, macOS in bytes.
_RSS_UNIT = 1 if sys.platform == "darwin" else _KIB


def pack(head: Head, body: bytes = b"") -> bytes:
    """One frame as bytes."""
    text = json.dumps(head).encode()
    return SIZES.pack(len(text), len(body)) + text + body


def read_frame(stream: Stream) -> tuple[Head, bytes] | None:
    """The next frame, or None when the other side has gone."""
    prefix = stream.read(SIZES.size)
    if len(prefix) < SIZES.size:
        return None
    head_size, body_size = SIZES.unpack(prefix)
    head, body = stream.read(head_size), stream.read(body_size)
    if len(head) < head_size or len(body) < body_size:
        return None
    value: Head = json.loads(head)
    return value, body


class Line:
    """A process's connection to the workspace; replies may come from several threads."""

    def __init__(self, path: str, hello: Head) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        self._stream = self._socket.makefile("rb")
        self._lock = threading.Lock()
        self.send({**hello, "pid": os.getpid()})

    def send(self, head: Head, body: bytes = b"") -> None:
        """Send one frame; a workspace that is gone ends this process."""
        try:
            with self._lock:
                self._socket.sendall(pack(head, body))
        except OSError:
            os._exit(1)

    def receive(self) -> tuple[Head, bytes]:
        """Wait for the next frame; a workspace that is gone ends this process."""
        try:
            frame = read_frame(self._stream)
        except OSError:
            frame = None
        if frame is None:
            os._exit(0)
        return frame

    def close(self) -> None:
        """Give the connection up without ending it for the process that forked this one."""
        self._stream.close()
        self._socket.close()


class Served:
    """One model, loaded once, answering with MLflow's own scoring server."""

    def __init__(self, path: str) -> None:
        import mlflow.pyfunc  # noqa: PLC0415 - only the zygote and its forks import MLflow

        self.model: PyFuncModel = mlflow.pyfunc.load_model(path)
        self.schema = self.model.metadata.get_input_schema()

    def answer(self, head: Head, body: bytes) -> tuple[int, str, bytes]:
        """Status, media type and body of one answer; whatever the model raises is a 400."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415
        from mlflow.pyfunc import scoring_server  # noqa: PLC0415

        content_type = head["content_type"]
        data: Any = body
        try:
            if content_type.startswith("application/json"):
                data = body.decode()
            # MLflow's scoring server carries no types.
            score: Any = scoring_server.invocations
            result = score(data, content_type, self.model, self.schema)
        except MlflowException as error:
            refused: Any = error
            text: str = refused.serialize_as_json()
            return refused.get_http_status_code(), "application/json", text.encode()
        except Exception as error:  # noqa: BLE001 - the platform answers 400 to any of them
            refusal = {"error_code": "BAD_REQUEST", "message": f"{type(error).__name__}: {error}"}
            return 400, "application/json", json.dumps(refusal).encode()
        return result.status, result.mimetype, result.response.encode()


def redirect(log: Path) -> None:
    """Send this process's output, Python's and C's alike, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    log.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)


def _usage() -> Head:
    """What the process has used: CPU seconds, and the largest resident set in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"cpu_s": time.process_time(), "rss": peak * _RSS_UNIT}


def _serve(
    line: Line, answering: Answering, requests: "queue.SimpleQueue[tuple[Head, bytes]]"
) -> None:
    """Answer requests one after another: the body of each serving thread."""
    while True:
        head, body = requests.get()
        began = time.perf_counter()
        status, media_type, answer = answering(head, body)
        spent = (time.perf_counter() - began) * 1000
        reply = {"id": head["id"], "status": status, "media_type": media_type, "ms": spent}
        line.send({**reply, **_usage()}, answer)


def serve(order: Head, load: Callable[[], Answering], threads: int) -> None:
    """Load what the order is about, and answer with it until the workspace hangs up."""
    line = Line(order["socket"], {"hello": order["ticket"]})
    requests: queue.SimpleQueue[tuple[Head, bytes]] = queue.SimpleQueue()

    def listen() -> None:
        while True:
            requests.put(line.receive())

    # Listening begins before anything is loaded, so that a workspace's end stops a slow load too.
    threading.Thread(target=listen, daemon=True).start()
    try:
        answering = load()
    except BaseException as error:  # noqa: BLE001 - a model may raise anything, even SystemExit
        traceback.print_exc()
        line.send({"failed": f"{type(error).__name__}: {error}"})
        return
    line.send({"ready": True, **_usage()})
    for _ in range(threads - 1):
        threading.Thread(target=_serve, args=(line, answering, requests), daemon=True).start()
    _serve(line, answering, requests)


def run_worker(order: Head) -> None:
    """Load the ordered model and serve it until the workspace hangs up."""
    redirect(Path(order["build_log"]))
    scratch = Path(order["scratch"])
    scratch.mkdir(parents=True, exist_ok=True)
    # Whatever a model writes to its working directory stays out of the sandbox's.
    os.chdir(scratch)
    os.environ.update(order["environment"])

    def load() -> Answering:
        began = time.perf_counter()
        print(f"loading {order['label']} from {order['path']}")  # noqa: T201 - this is the build log
        served = Served(order["path"])
        print(f"loaded in {time.perf_counter() - began:.2f} s")  # noqa: T201
        redirect(Path(order["log"]))
        return served.answer

    serve(order, load, order["threads"])
