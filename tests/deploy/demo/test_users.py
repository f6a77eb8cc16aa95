import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploy.sandbox import demo
from deploy.sandbox.demo.questions import QUESTIONS

ROOT = Path(demo.__file__).parents[3]
DROP = 0
"""In place of a status: close the connection without an answer."""


@dataclass
class Endpoint:
    """A server whose answer to the n-th request a test chooses, and what it was asked."""

    status: Callable[[int], int] = lambda _: 200
    pause: float = 0.0
    asked: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    told = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.asked.append({"path": self.path, "token": self.headers["Authorization"], **body})
            status = told.status(len(told.asked))
            time.sleep(told.pause)
            if status == DROP:
                self.close_connection = True
                return
            self.send_response(status)
            if status != 404:
                self.send_header("served-model-name", "rag_chatbot-1")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Stay silent: the test's output is pytest's."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


def start(endpoint: Endpoint, out: Path, *options: str) -> subprocess.Popen[str]:
    command = ["-m", "deploy.sandbox.demo.users", "--endpoint", "chat", "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, *command, *options],
        cwd=ROOT,
        env={"DATABRICKS_HOST": endpoint.url + "/", "DATABRICKS_TOKEN": "dapi-sandbox"},
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def test_users_ask_at_their_pace_and_record_every_outcome(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.status = lambda n: 500 if n % 5 == 0 else 200
    out = tmp_path / "users.jsonl"

    asking = start(endpoint, out, "--rate", "50", "--threads", "2", "--for", "2")
    _, stderr = asking.communicate(timeout=20)

    assert asking.returncode == 0, stderr
    outcomes = lines(out)
    assert len(outcomes) == len(endpoint.asked)
    assert 50 <= len(outcomes) <= 110
    assert {outcome["status"] for outcome in outcomes} == {200, 500}
    assert {outcome["served"] for outcome in outcomes} == {"rag_chatbot-1"}
    assert all(set(outcome) == {"t", "status", "served", "ms"} for outcome in outcomes)
    asked = endpoint.asked
    assert {request["path"] for request in asked} == {"/serving-endpoints/chat/invocations"}
    assert {request["token"] for request in asked} == {"Bearer dapi-sandbox"}
    assert {request["dataframe_records"][0]["query"] for request in asked} <= set(QUESTIONS)
    assert len({request["client_request_id"] for request in asked}) == len(asked)


def test_waiting_for_the_endpoint_is_not_traffic(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.status = lambda n: 404 if n <= 3 else 200
    out = tmp_path / "users.jsonl"

    asking = start(endpoint, out, "--rate", "20", "--for", "2")
    _, stderr = asking.communicate(timeout=20)

    assert stderr.count("status 404") == 1
    assert len(lines(out)) == len(endpoint.asked) - 3
    assert {outcome["status"] for outcome in lines(out)} == {200}


def test_a_lost_connection_is_a_failure_with_status_zero(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.status = lambda n: DROP if n == 4 else 200
    out = tmp_path / "users.jsonl"

    start(endpoint, out, "--rate", "20", "--for", "1.5").communicate(timeout=20)

    lost = [outcome for outcome in lines(out) if outcome["status"] == 0]
    assert [outcome["served"] for outcome in lost] == [None]


def test_sigterm_awaits_the_answers_that_are_under_way(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.pause = 0.4
    out = tmp_path / "users.jsonl"
    asking = start(endpoint, out, "--rate", "20", "--threads", "3")
    while len(endpoint.asked) < 4:
        assert asking.poll() is None
        time.sleep(0.02)

    asking.send_signal(signal.SIGTERM)
    _, stderr = asking.communicate(timeout=20)

    assert asking.returncode == 0, stderr
    assert len(lines(out)) == len(endpoint.asked)
    assert {outcome["status"] for outcome in lines(out)} == {200}


def test_the_record_can_be_read_while_users_are_asking(endpoint: Endpoint, tmp_path: Path) -> None:
    out = tmp_path / "users.jsonl"
    asking = start(endpoint, out, "--rate", "20")
    deadline = time.monotonic() + 15
    while not (out.exists() and len(lines(out)) >= 5):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    asking.terminate()
    asking.communicate(timeout=20)

    assert asking.returncode == 0


def test_users_without_a_workspace_say_what_is_missing(tmp_path: Path) -> None:
    out = str(tmp_path / "users.jsonl")
    done = subprocess.run(
        [sys.executable, "-m", "deploy.sandbox.demo.users", "--endpoint", "chat", "--out", out],
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "DATABRICKS_HOST" in done.stderr
