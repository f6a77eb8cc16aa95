"""How long a ring takes to reach the workspace: `python -m tests.benchmarks.doorbell`.

From the moment a signed ping is sent to the moment the sandbox has the daemon's GET of the endpoint
in its record; real processes, HTTP throughout, a daemon that looks by itself once in ten minutes.
"""

import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

import requests

from controller.signing import DELIVERY, SIGNATURE, TIMESTAMP, signature
from deploy.sandbox.launch import Sandbox
from tests.end_to_end.stage import Course, Daemon, Workspace

RINGS, BETWEEN_S = 20, 1.1
SECRET = "0123456789abcdef-a-secret"


def main() -> None:
    """Ring twenty times, and print the median, the best and the worst."""
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        secret = here / "secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        with socket.create_server(("127.0.0.1", 0)) as found:
            address = f"127.0.0.1:{found.getsockname()[1]}"
        with Sandbox.start(here / "data", update_s=0.1) as running:
            workspace = Workspace(running.host, running.token, here)
            course = Course(workspace, "rung")
            settings = {
                "HEADGATE_POLL": "10m",
                "HEADGATE_HTTP": address,
                "HEADGATE_WEBHOOK_SECRET_FILE": str(secret),
            }
            with Daemon(here / "daemon", [course], **workspace.environment, **settings) as daemon:
                time.sleep(3)
                waits = sorted(_wait(course, f"http://{address}/doorbell") for _ in range(RINGS))
                daemon.stop()
            workspace.session.close()
    told = f"median {statistics.median(waits):.0f} ms, {waits[0]:.0f} to {waits[-1]:.0f} ms"
    sys.stdout.write(f"ring to GET, {RINGS} rings: {told}\n")


def _wait(course: Course, url: str) -> float:
    """One ring, in milliseconds."""
    log, wanted = "/_sandbox/requests", f"/api/2.0/serving-endpoints/{course.endpoint}"
    last = course.workspace.call("GET", log, params={"since": 10**9})["last"]
    body, sent = b"{}", str(int(time.time()))
    delivery = f"ring-{time.monotonic_ns()}"
    headers = {DELIVERY: delivery, TIMESTAMP: sent}
    headers[SIGNATURE] = signature(SECRET, delivery, sent, body).decode()
    begun = time.monotonic()
    requests.post(url, data=body, headers=headers, timeout=10).raise_for_status()
    while True:
        seen = course.workspace.call("GET", log, params={"since": last})["requests"]
        if any((one["method"], one["path"]) == ("GET", wanted) for one in seen):
            waited = time.monotonic() - begun
            time.sleep(BETWEEN_S)
            return 1000 * waited
        if time.monotonic() - begun > 30:
            raise RuntimeError("the daemon did not look")


if __name__ == "__main__":
    main()
