import json
import socket
import statistics
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from controller.daemon.beat import RESCUE_S
from controller.signing import DELIVERY, SIGNATURE, TIMESTAMP, signature
from tests.end_to_end.stage import Course, Daemon, Users, eventually, headgate

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(120),
]
SECRET = "0123456789abcdef-a-secret"
RINGS = 3


def ring(url: str, *models: str) -> requests.Response:
    body = json.dumps({"updates": [{"full_name": one} for one in models]}).encode()
    delivery, sent = str(uuid4()), str(int(time.time()))
    headers = {
        DELIVERY: delivery,
        TIMESTAMP: sent,
        SIGNATURE: signature(SECRET, delivery, sent, body).decode(),
    }
    return requests.post(f"{url}/doorbell", data=body, headers=headers, timeout=10)


def last(course: Course) -> int:
    """The number of the last request to the workspace."""
    return int(course.workspace.call("GET", "/_sandbox/requests", params={"since": 10**9})["last"])


def look_after(course: Course, number: int) -> None:
    """Wait until the endpoint is read by itself, by the sandbox's own record of requests."""
    wanted = ("GET", f"/api/2.0/serving-endpoints/{course.endpoint}")

    def seen() -> bool:
        log = course.workspace.call("GET", "/_sandbox/requests", params={"since": number})
        return wanted in {(one["method"], one["path"]) for one in log["requests"]}

    eventually(seen, "it looks")


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    path.chmod(0o600)
    return path


@pytest.fixture
def address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"127.0.0.1:{found.getsockname()[1]}"


def test_a_ring_and_an_order_are_looked_at_at_once_by_a_daemon_that_looks_twice_a_minute(
    course: Callable[..., Course], daemon: Callable[..., Daemon], secret_file: Path, address: str
) -> None:
    one = course(rollout={"min_step": "10m"}).open().ready()
    rings = {"HEADGATE_HTTP": address, "HEADGATE_WEBHOOK_SECRET_FILE": str(secret_file)}
    head = daemon(one, HEADGATE_POLL="30s", **rings).start()
    head.until("release.registered", version="1")
    url, waits = f"http://{address}", []
    for _ in range(RINGS):
        number, rang_at = last(one), time.monotonic()
        assert ring(url, one.model).json() == {"rung": [one.name]}
        look_after(one, number)
        waits.append(time.monotonic() - rang_at)
    assert statistics.median(waits) < 2, "not half a minute"
    assert ring(url, "main.e2e.another").json() == {"rung": []}

    # A version that is registered now goes as far as rings take it: no beat comes in between.
    one.register()
    with Users(one) as users:

        def canary() -> bool:
            ring(url)
            time.sleep(0.2)
            return bool(head.told("release.settled", version="2", state="Canary"))

        eventually(canary, "its users are split")
        assert one.split == {"1": 80, "2": 20}
        assert headgate("abort", one.name, "--store", head.url, **rings).err == ""
        eventually(lambda: one.split == {"1": 100, "2": 0}, "its users are home")
        decided = head.until("release.transition", to_state="RolledBack")
    ordered = head.told("order.given")[-1]
    at = [datetime.fromisoformat(line["timestamp"]) for line in (ordered, decided)]
    assert (at[1] - at[0]).total_seconds() < RESCUE_S, "sooner than the beat looks for rollbacks"
    assert set(users.statuses) == {200}
    assert head.stop() == 0
    assert SECRET not in head.log.read_text()
