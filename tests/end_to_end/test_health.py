import socket
from collections.abc import Callable

import pytest
import requests

from tests.end_to_end.stage import Course, Daemon, eventually

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(120),
]


def test_a_daemon_that_runs_is_healthy_and_ready(
    course: Callable[..., Course], daemon: Callable[..., Daemon]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    head = daemon(course().open().ready(), HEADGATE_HTTP=f"127.0.0.1:{port}").start()
    url = f"http://127.0.0.1:{port}"
    assert requests.get(f"{url}/healthz", timeout=10).json() == {"status": "ok"}
    eventually(lambda: requests.get(f"{url}/readyz", timeout=10).ok, "it has seen the workspace")
    page = requests.get(f"{url}/", timeout=10)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "Applications" in page.text
    assert requests.get(f"{url}/applications", timeout=10).status_code == 403
    assert head.stop() == 0
