import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from controller.record.store import Store
from states.plan import Event
from tests.controller.daemon.test_courier import SECRET, listening
from tests.end_to_end.stage import Course, Daemon, eventually

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.timeout(120),
]


def test_a_daemon_that_runs_is_healthy_and_ready_and_tells_its_metrics_and_whom_it_should(
    course: Callable[..., Course], daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    with listening() as ear:
        receivers = tmp_path / "receivers.yaml"
        receivers.write_text(f"receivers:\n  oncall:\n    url: {ear.url}\n    severity: error\n")
        receivers.chmod(0o600)
        head = daemon(
            course().open().ready(),
            HEADGATE_HTTP=f"127.0.0.1:{port}",
            HEADGATE_NOTIFY_FILE=str(receivers),
        ).start()
        url = f"http://127.0.0.1:{port}"
        assert requests.get(f"{url}/healthz", timeout=10).json() == {"status": "ok"}
        eventually(lambda: requests.get(f"{url}/readyz", timeout=10).ok, "it saw the workspace")
        told = requests.get(f"{url}/metrics", timeout=10).text
        assert 'headgate_lease_held{application="$journal"} 1.0' in told
        read = 'headgate_workspace_calls_total{kind="endpoint",operation="read",outcome="done"}'
        assert read in told
        page = requests.get(f"{url}/", timeout=10)
        assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "Applications" in page.text
        assert requests.get(f"{url}/applications", timeout=10).status_code == 403
        waits = 'headgate_notifications_waiting{receiver="oncall"} 0.0'
        eventually(
            lambda: waits in requests.get(f"{url}/metrics", timeout=10).text, "the courier is there"
        )
        store = Store(head.url, create=False)
        store.note(Event(name="config.refused", level="error", because="another one is wrong"))
        store.close()
        eventually(lambda: bool(ear.heard), "the receiver was told")
        assert ear.titles == ["Headgate: the daemon has a configuration that is refused"]
        assert head.stop() == 0
    assert SECRET not in head.log.read_text() + head.errors.read_text()
