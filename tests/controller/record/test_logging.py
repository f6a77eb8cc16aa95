import io
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog

from controller.record.logging import STRANGERS, configure_logging

LINES = 300


class Slow(io.StringIO):
    """A stream that lets another thread go on at every write, as a full pipe does."""

    def write(self, text: str) -> int:
        with ThreadPoolExecutor(1) as another:
            another.submit(int).result()
        return super().write(text)


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Logging is the whole process's, and a server in a test may have set up its own: put it back.

    The daemon's own server sets up none (`log_config=None`).
    """
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    servers = [logging.getLogger(name) for name in (STRANGERS, f"{STRANGERS}.error")]
    theirs = [(one, one.handlers, one.propagate) for one in servers]
    for one in servers:
        one.handlers, one.propagate = [], True
    yield
    for one, kept, passed_on in theirs:
        one.handlers, one.propagate = kept, passed_on
    root.handlers, root.level = handlers, level
    logging.getLogger(STRANGERS).setLevel(logging.NOTSET)
    structlog.configure(**before)


def test_lines_of_threads_and_of_libraries_never_run_into_one_another() -> None:
    stream = Slow()
    configure_logging("json", stream)
    ours, theirs = structlog.get_logger(), logging.getLogger("databricks.sdk")

    def tell(number: int) -> None:
        for _ in range(LINES // 4):
            if number % 2:
                ours.warning("workspace.unseen", because="x" * 50)
            else:
                theirs.warning("a warning of a library")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tell, range(4)))
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(told) == LINES
    assert {one["event"] for one in told} == {"workspace.unseen", "a warning of a library"}


def test_what_strangers_send_is_not_told_and_a_failure_of_the_server_is() -> None:
    stream = io.StringIO()
    configure_logging("json", stream)
    server = logging.getLogger("uvicorn.error")
    server.warning("Invalid HTTP request received.")
    assert stream.getvalue() == ""
    server.error("Exception in ASGI application")
    assert json.loads(stream.getvalue())["level"] == "error"
