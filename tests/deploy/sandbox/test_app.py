"""The sandbox as a server: who may call it, how it fails on request, how it starts and ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import InternalError, NotFound, ResourceConflict, Unauthenticated
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from deploy.sandbox.__main__ import _options
from deploy.sandbox.launch import Sandbox
from deploy.sandbox.workspace import Settings

TIMEOUT_S = 10
ME = "/api/2.0/preview/scim/v2/Me"


@pytest.fixture
def workspace(sandbox: Sandbox) -> WorkspaceClient:
    return WorkspaceClient(host=sandbox.host, token=sandbox.token)


@pytest.fixture
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client has no credentials but those that the test gives it."""
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def faults(sandbox: Sandbox) -> Iterator[Callable[..., None]]:
    """Asks the sandbox for a fault, and for none after the test."""
    url = f"{sandbox.host}/_sandbox/faults"

    def ask(**fault: object) -> None:
        answer = requests.post(url, json={"faults": [fault]}, timeout=TIMEOUT_S)
        assert answer.ok, answer.text

    yield ask
    assert requests.delete(url, timeout=TIMEOUT_S).ok


def _log(sandbox: Sandbox, since: int = 0) -> tuple[list[tuple[str, str, int | None]], int]:
    body = requests.get(
        f"{sandbox.host}/_sandbox/requests", params={"since": since}, timeout=TIMEOUT_S
    ).json()
    entries = [(entry["method"], entry["path"], entry["status"]) for entry in body["requests"]]
    return entries, body["last"]


def test_a_wrong_token_is_refused_by_both_clients(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unauthenticated):
        WorkspaceClient(host=sandbox.host, token="wrong").current_user.me()
    monkeypatch.setenv("DATABRICKS_HOST", sandbox.host)
    monkeypatch.setenv("DATABRICKS_TOKEN", "wrong")
    with pytest.raises(MlflowException, match="Invalid access token"):
        MlflowClient("databricks", "databricks-uc").get_registered_model("main.ml_models.x")
    assert requests.get(sandbox.host + ME, timeout=TIMEOUT_S).status_code == 401


@pytest.mark.usefixtures("_no_environment")
def test_a_service_principal_gets_a_token_by_its_secret(sandbox: Sandbox) -> None:
    principal = WorkspaceClient(
        host=sandbox.host, client_id="sandbox-client", client_secret="sandbox-secret"
    )
    assert principal.current_user.me().user_name == "sandbox-client"
    answer = requests.post(
        f"{sandbox.host}/oidc/v1/token",
        data={"grant_type": "client_credentials", "scope": "all-apis"},
        auth=("sandbox-client", "wrong"),
        timeout=TIMEOUT_S,
    )
    assert answer.status_code == 401
    forged = requests.get(
        sandbox.host + ME,
        headers={"Authorization": "Bearer sandbox-oauth.99999999999.00"},
        timeout=TIMEOUT_S,
    )
    assert forged.status_code == 401


def test_a_client_learns_who_it_is_and_which_workspace_this_is(workspace: WorkspaceClient) -> None:
    assert workspace.current_user.me().user_name == "sandbox@example.com"
    assert workspace.get_workspace_id() == 1234567890123456


def test_what_is_not_modelled_answers_501_with_a_sentence(workspace: WorkspaceClient) -> None:
    with pytest.raises(Exception, match="the sandbox does not model GET /api/2"):
        list(workspace.jobs.list())


def test_the_log_counts_the_calls_that_a_client_made(
    sandbox: Sandbox, workspace: WorkspaceClient
) -> None:
    _, last = _log(sandbox)
    workspace.current_user.me()
    with pytest.raises(NotFound):
        workspace.registered_models.get("main.app.nobody")
    entries, now = _log(sandbox, last)
    assert entries == [
        ("GET", ME, 200),
        ("GET", "/api/2.1/unity-catalog/models/main.app.nobody", 404),
    ]
    assert now == last + 2


def test_a_request_that_is_cut_off_asked_for_nothing_and_is_logged_so(sandbox: Sandbox) -> None:
    """As when a client is killed while it sends one."""
    _, last = _log(sandbox)
    place = urlsplit(sandbox.host)
    path = "/api/2.0/serving-endpoints"
    with socket.create_connection((place.hostname or "", place.port or 0)) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 100\r\n"
        connection.sendall(f"{head}Authorization: Bearer {sandbox.token}\r\n\r\n{{".encode())
    deadline = time.monotonic() + 10
    while not (entries := _log(sandbox, last)[0]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert entries == [("POST", path, 400)]


def test_a_fault_befalls_as_many_requests_as_were_asked_for(
    sandbox: Sandbox, workspace: WorkspaceClient, faults: Callable[..., None]
) -> None:
    faults(method="GET", path="scim/v2/Me$", status=500, error_code="INTERNAL_ERROR", times=2)
    for _ in range(2):
        with pytest.raises(InternalError, match="asked for"):
            workspace.current_user.me()
    assert workspace.current_user.me().active
    faults(path="scim/v2/Me$", status=429, error_code="RESOURCE_EXHAUSTED", retry_after=1)
    _, last = _log(sandbox)
    began = time.monotonic()
    workspace.current_user.me()
    assert time.monotonic() - began >= 1, "the SDK must see the Retry-After header"
    assert [status for _, _, status in _log(sandbox, last)[0]] == [429, 200]


def test_an_answer_can_be_lost_after_the_work_was_done(
    workspace: WorkspaceClient, faults: Callable[..., None]
) -> None:
    faults(
        method="POST",
        path="/unity-catalog/models$",
        status=503,
        error_code="TEMPORARILY_UNAVAILABLE",
        retry_after=1,
        after_handler=True,
    )
    # The SDK repeats a POST after 503, and the repetition finds what the first one made.
    with pytest.raises(ResourceConflict):
        workspace.registered_models.create(catalog_name="main", schema_name="app", name="lost")
    assert workspace.registered_models.get("main.app.lost").name == "lost"


@pytest.mark.parametrize("after_handler", [False, True])
def test_a_connection_can_be_reset_before_or_after_the_work(
    sandbox: Sandbox,
    workspace: WorkspaceClient,
    faults: Callable[..., None],
    after_handler: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    name = f"reset_{after_handler}".lower()
    faults(method="POST", path="/models$", drop_connection=True, after_handler=after_handler)
    with pytest.raises(requests.ConnectionError):
        requests.post(
            f"{sandbox.host}/api/2.1/unity-catalog/models",
            json={"catalog_name": "main", "schema_name": "app", "name": name},
            headers={"Authorization": f"Bearer {sandbox.token}"},
            timeout=TIMEOUT_S,
        )
    names = {model.name for model in workspace.registered_models.list()}
    assert (name in names) is after_handler


def test_an_answer_does_not_wait_for_a_delayed_acknowledgement(sandbox: Sandbox) -> None:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {sandbox.token}"
        took = sorted(
            session.get(sandbox.host + ME, timeout=TIMEOUT_S).elapsed.total_seconds()
            for _ in range(21)
        )
    assert took[10] < 0.02, "Nagle's algorithm would make it 0.04"


def test_an_answer_can_be_late(workspace: WorkspaceClient, faults: Callable[..., None]) -> None:
    faults(path="scim/v2/Me$", delay_s=0.3)
    began = time.monotonic()
    assert workspace.current_user.me().active
    assert time.monotonic() - began >= 0.3


def test_a_fault_that_makes_no_sense_is_refused(sandbox: Sandbox) -> None:
    for fault in ({"status": "500"}, {"path": "("}, {"paht": "x", "status": 500}, {}):
        answer = requests.post(
            f"{sandbox.host}/_sandbox/faults", json={"faults": [fault]}, timeout=TIMEOUT_S
        )
        assert answer.status_code == 400, fault


def test_faults_are_listed_with_what_they_did_until_they_are_cleared(
    sandbox: Sandbox, workspace: WorkspaceClient
) -> None:
    since = sandbox.last()
    match = {"method": "GET", "path": "scim/v2/Me$"}
    fault = sandbox.fault("http", match=match, status=500, error_code="INTERNAL_ERROR", skip=1)
    assert (fault["scope"], fault["matched"], fault["applied"]) == ("http", 0, 0)
    workspace.current_user.me()
    with pytest.raises(InternalError):
        workspace.current_user.me()
    workspace.current_user.me()
    [listed] = [one for one in sandbox.faults() if one["number"] == fault["number"]]
    assert (listed["matched"], listed["applied"]) == (2, 1)
    assert [entry["status"] for entry in sandbox.requests(since)] == [200, 500, 200]
    sandbox.clear_faults()
    assert sandbox.faults() == []
    with pytest.raises(RuntimeError, match="no scope 'nowhere'"):
        sandbox.fault("nowhere")


def _descendants(pid: int) -> set[int]:
    """All living processes below this one, by the kernel's own tables."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            children = {int(child) for child in task.read_text().split()} - found
            found |= children
            waiting += children
    return found


def _alive(pids: set[int]) -> set[int]:
    """Those of the processes that still run; a zombie does not."""
    alive = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            alive.add(pid)
    return alive


def _all_end(pids: set[int], within_s: float = 10) -> bool:
    deadline = time.monotonic() + within_s
    while _alive(pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="it reads Linux' process tables")
@pytest.mark.end_to_end
@pytest.mark.usefixtures("_no_environment")
def test_what_was_registered_survives_a_kill_and_no_process_does(
    fresh_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    first = fresh_sandbox(data=tmp_path)
    WorkspaceClient(host=first.host, token=first.token).registered_models.create(
        catalog_name="main", schema_name="app", name="kept"
    )
    principal = WorkspaceClient(
        host=first.host, client_id="sandbox-client", client_secret="sandbox-secret"
    )
    token = principal.config.authenticate()["Authorization"]
    below = _descendants(first.process.pid)
    assert below, "the sandbox runs MLflow in a child process"
    os.kill(first.process.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    # Two seconds on a quiet machine.
    assert _all_end(below, within_s=6)

    second = fresh_sandbox(data=tmp_path)
    again = WorkspaceClient(host=second.host, token=second.token)
    assert again.registered_models.get("main.app.kept").created_by == "sandbox@example.com"
    me = requests.get(second.host + ME, headers={"Authorization": token}, timeout=TIMEOUT_S)
    assert me.json()["userName"] == "sandbox-client"
    below = _descendants(second.process.pid)
    second.process.send_signal(signal.SIGINT)
    assert second.wait() == 130
    assert _all_end(below, within_s=1)


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_during_the_start_ends_it_at_once_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals, status: int
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-m", "deploy.sandbox"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as starting:
        deadline = time.monotonic() + TIMEOUT_S
        while not list(tmp_path.glob("databricks-sandbox-*/tracking")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)
        below = _descendants(starting.pid)
        began = time.monotonic()
        starting.send_signal(sent)
        said, complained = starting.communicate(timeout=TIMEOUT_S)
    assert (starting.returncode, said, complained) == (status, "", "")
    assert time.monotonic() - began < 3
    assert not list(tmp_path.iterdir()), "no temporary file or directory may be left"
    assert _all_end(below)


def test_every_setting_can_be_given_on_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert set(_options([])) == {field.name for field in fields(Settings)}
    given = _options(
        ["--table-lag-s=3600", "--table-skip-statuses=401,429", "--data=some/where", "--seed=4"]
    )
    assert (given["table_lag_s"], given["table_skip_statuses"]) == (3600.0, (401, 429))
    assert (given["data"], given["seed"]) == (Path("some/where"), 4)
    assert _options(["--table-skip-statuses="])["table_skip_statuses"] == ()
    assert _options(["--system-tables=off"])["system_tables"] is False
    assert _options(["--metrics-entity-labels=on"])["metrics_entity_labels"] is True
    assert Settings(**_options(["--data=some/where"])) == Settings(data=Path("some/where"))
    with pytest.raises(SystemExit):
        _options(["--system-tables=perhaps"])
    assert "neither on nor off" in capsys.readouterr().err


def _refused(*arguments: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "deploy.sandbox", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    return ended.stderr


def test_a_port_in_use_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = _refused("--port", str(port), "--data", str(tmp_path))
    assert said == (
        f"sandbox: port {port} of 127.0.0.1 is in use: choose another with --port, or none\n"
    )


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="it reads Linux' process tables")
def test_a_data_directory_in_use_is_refused_in_one_sentence(sandbox: Sandbox) -> None:
    command = Path(f"/proc/{sandbox.process.pid}/cmdline").read_text().split("\0")
    [data] = [part.removeprefix("--data=") for part in command if part.startswith("--data=")]
    assert _refused("--data", data) == (
        f"sandbox: another sandbox uses the data directory {data}\n"
    )
