"""The child process that runs MLflow's own tracking server for `tracking.Tracking`.

It is started with a directory for its database and the numbers of the sockets that it inherits.
"""

import io
import json
import os
import select
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.sandbox.tracking import ARTIFACT_ROOT, FRAME

if TYPE_CHECKING:
    from flask import Flask


def _server(directory: Path) -> "Flask":
    """MLflow's server over a SQLite file, in the state that clients of Databricks expect."""
    os.environ.update(
        {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_LOGGING_LEVEL": "WARNING",
            "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{directory / 'mlflow.db'}",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": ARTIFACT_ROOT,
        }
    )
    # Only here: the import takes seconds and 200 MB, which the parent does not pay.
    from mlflow.server import app, handlers  # noqa: PLC0415
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415

    # Databricks' clients know the artifacts of a logged model by this folder name.
    SqlAlchemyStore.MODELS_FOLDER_NAME = "logged_models"
    handlers._get_tracking_store()  # noqa: SLF001 - creates the tables before the first request
    return app


def _watch(connection: socket.socket) -> None:
    """End this process as soon as the parent's end of the socket is closed, whatever it does."""
    watched = select.poll()
    # No event is asked for: a hang-up is always reported.
    watched.register(connection, 0)
    watched.poll()
    os._exit(0)


def _exactly(stream: io.BufferedReader, size: int) -> bytes:
    """So many bytes; fewer mean that the parent is gone, and this process ends."""
    data = stream.read(size)
    if len(data) < size:
        os._exit(0)
    return data


def _serve(app: "Flask", connection: socket.socket) -> None:
    """Answer the requests of one socket, one after another, for ever."""
    client = app.test_client()
    stream = connection.makefile("rb")
    while True:
        lengths = FRAME.unpack(_exactly(stream, FRAME.size))
        head: dict[str, Any] = json.loads(_exactly(stream, lengths[0]))
        body = _exactly(stream, lengths[1])
        headers = {"Accept": head["accept"]} if head.get("accept") else {}
        answer = client.open(
            head["path"],
            method=head["method"],
            query_string=head.get("query", ""),
            data=body,
            content_type=head.get("content_type") or None,
            headers=headers,
        )
        data = answer.get_data()
        answer_head = {"status": answer.status_code, "content_type": answer.content_type}
        encoded = json.dumps(answer_head).encode()
        try:
            connection.sendall(FRAME.pack(len(encoded), len(data)) + encoded + data)
        except OSError:
            os._exit(0)


def main(arguments: list[str]) -> None:
    """Serve until the parent's end of the sockets closes."""
    # Ctrl-C reaches the whole process group; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    directory, *numbers = arguments
    connections = [socket.socket(fileno=int(number)) for number in numbers]
    # Before the import of MLflow, which takes seconds in which nobody reads the sockets.
    threading.Thread(target=_watch, args=(connections[0],), daemon=True).start()
    app = _server(Path(directory))
    for connection in connections[1:]:
        threading.Thread(target=_serve, args=(app, connection), daemon=True).start()
    _serve(app, connections[0])


if __name__ == "__main__":
    main(sys.argv[1:])
