"""What is fed with anything at all, and what it may do with it: take it, or refuse it in words."""

import asyncio
import io
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.console import Console

from controller.console import render, tree
from controller.console.glance import glances
from controller.console.logs import lines_in
from controller.console.reading import ReadingError, fold
from controller.daemon.doorbell import Doorbell
from controller.daemon.http import application
from controller.settings import SettingsError, load
from controller.signing import DELIVERY, PATH, SIGNATURE, TIMESTAMP, signature

SECRET = "a secret of more than sixteen"
MODELS = {"chat": "main.ml_models.rag_chatbot", "search": "main.ml_models.search"}
NOW = datetime(2026, 11, 27, 4, tzinfo=UTC)

Target = Callable[[bytes], bool]
"""True: it was taken; False: it was refused in words. Anything else is a finding."""


def _in_words(refusal: Exception) -> bool:
    assert str(refusal).strip(), "a refusal says something"
    return False


def configuration(data: bytes) -> bool:
    """A configuration file with this content."""
    with tempfile.TemporaryDirectory(prefix="headgate-fuzz-") as folder:
        path = Path(folder) / "headgate.yaml"
        path.write_bytes(data)
        try:
            loaded = load(path)
        except SettingsError as refused:
            return _in_words(refused)
        for one in loaded.applications.values():
            one.spec()
    return True


def log(data: bytes) -> bool:
    """A log with these lines: folded, and shown by every command that reads one."""
    console = Console(file=io.StringIO(), width=100, highlight=False)
    try:
        book = fold(lines_in("log", io.BytesIO(data)))
        tree.page(console, glances(book, all_=True), NOW).show(console)
        render.print_history(console, book.history())
        for one in book.statuses(all_=True):
            render.print_explanation(console, book.explain(one["release"]), NOW)
    except ReadingError as refused:
        return _in_words(refused)
    return True


def webhook(data: bytes) -> bool:
    """A delivery with this body, signed as it must be."""
    woken: list[Any] = []

    def ring(names: Any) -> Any:  # noqa: ANN401 - names of applications
        woken.append(names)
        return names

    bell = Doorbell(SECRET, MODELS, ring)
    delivery, sent = str(uuid4()), str(int(time.time()))
    headers = {
        DELIVERY: delivery,
        TIMESTAMP: sent,
        SIGNATURE: signature(SECRET, delivery, sent, data).decode(),
    }
    app = application(lambda: None, lambda: None, None, [bell.route])
    status, body = asyncio.run(_asked(app, headers, data))
    assert status in {202, 400, 413}, (status, body)
    assert len(woken) == (status == 202)
    assert isinstance(json.loads(body), dict)
    return status == 202


async def _asked(app: Any, headers: Mapping[str, str], data: bytes) -> tuple[int, bytes]:  # noqa: ANN401
    """One POST to the doorbell without a server between; status and body of the answer."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(message: Any) -> None:  # noqa: ANN401 - ASGI's messages
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": PATH,
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "scheme": "http",
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(one.get("body", b"") for one in sent[1:])


TARGETS: Mapping[str, Target] = {"configuration": configuration, "log": log, "webhook": webhook}
