import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient

from controller.workspace.client import connect
from controller.workspace.errors import (
    Denied,
    Refused,
    Unconfigured,
    Unreachable,
    WorkspaceError,
    outcome,
)
from controller.workspace.listing import Listing
from controller.workspace.metrics import Traffic
from controller.workspace.probes import Probes
from controller.workspace.registry import Registry
from controller.workspace.serving import Endpoints, ServingSettings
from policies.golden import GoldenQuery
from tests.contract.conftest import Workspace, name
from tests.contract.recorder import Recorder

ALIASES = "/aliases/"
FAULTS: list[tuple[dict[str, object], type[WorkspaceError], str]] = [
    ({"status": 503}, Unreachable, "open"),
    ({"status": 503, "after_handler": True}, Unreachable, "open"),
    ({"status": 500, "error_code": "INTERNAL_ERROR"}, Unreachable, "open"),
    ({"status": 502, "error_code": "BAD_GATEWAY"}, Unreachable, "open"),
    (
        {"status": 429, "error_code": "RESOURCE_EXHAUSTED", "retry_after": 100_000},
        Unreachable,
        "open",
    ),
    ({"drop_connection": True}, Unreachable, "open"),
    (
        {"status": 400, "error_code": "BAD_REQUEST", "message": "Unexpected error"},
        Refused,
        "refused",
    ),
    ({"status": 403, "error_code": "PERMISSION_DENIED"}, Denied, "refused"),
    ({"status": 409, "error_code": "RESOURCE_CONFLICT"}, Refused, "refused"),
]


@pytest.mark.parametrize(("fault", "kind", "came_of_it"), FAULTS)
def test_a_call_is_sent_once_whatever_comes_back(
    workspace: Workspace,
    model: str,
    fault: dict[str, object],
    kind: type[WorkspaceError],
    came_of_it: str,
) -> None:
    registry = Registry(connect())
    workspace.fault(method="PUT", path=ALIASES, times=5, **fault)
    before, began = workspace.last(), time.monotonic()
    with pytest.raises(WorkspaceError) as raised:
        registry.set_alias(model, "once", "1")
    assert type(raised.value) is kind
    assert outcome(raised.value) == came_of_it
    assert "Unexpected error" not in str(raised.value)
    assert time.monotonic() - began < 5
    assert len([one for one in workspace.asked(before) if one[0] == "PUT"]) == 1


def test_a_call_that_took_effect_before_its_answer_was_lost_is_seen_by_looking(
    workspace: Workspace, model: str
) -> None:
    registry = Registry(connect())
    registry.set_alias(model, "lost", "1")
    workspace.fault(method="PUT", path=ALIASES, drop_connection=True, after_handler=True)
    with pytest.raises(Unreachable):
        registry.set_alias(model, "lost", "2")
    assert registry.alias(model, "lost") == "2"


def test_a_workspace_that_is_slow_is_given_up_at_the_deadline(workspace: Workspace) -> None:
    client = connect(deadline_s=0.5)
    workspace.fault(path="serving-endpoints", delay_s=2.0, times=3)
    before, began = workspace.last(), time.monotonic()
    with pytest.raises(Unreachable, match="no answer in time"):
        Endpoints(client).observe(name())
    assert time.monotonic() - began < 1.5
    time.sleep(2)
    assert len(workspace.asked(before)) == 1


def test_a_refused_token_is_denied_and_says_what_to_do(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert workspace
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-wrong")
    with pytest.raises(Denied, match="renew DATABRICKS_TOKEN") as denied:
        Endpoints(connect()).observe(name())
    assert "dapi-wrong" not in str(denied.value)


MODEL = "main.a.rag"
RAG = ServingSettings(model=MODEL)


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: Listing(client).form("rag"),
        lambda client: Endpoints(client).observe("rag"),
        lambda client: Endpoints(client).switch_fallback_off("rag"),
        lambda client: Endpoints(client).capture("rag", replace(RAG, usage_tracking=True)),
        lambda client: Registry(client).set_tag(MODEL, "1", "key", "value"),
        lambda client: Traffic(client).minutes("rag"),
        lambda client: Probes(client, "rag", "app").beat("rag-v1", GoldenQuery(query="q"), "mark"),
    ],
    ids=["list", "observe", "fallback", "capture", "tag", "metrics", "probe"],
)
def test_every_call_names_the_workspace_that_is_meant_behind_a_host_of_several(
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[WorkspaceClient], object],
) -> None:
    monkeypatch.setenv("DATABRICKS_WORKSPACE_ID", "4711")
    client = connect()
    recorder.asked.clear()
    ask(client)
    sent = recorder.of("GET", "PUT", "POST")
    assert sent
    assert [one.workspace for one in sent] == ["4711"] * len(sent)


def test_a_missing_permission_is_named(workspace: Workspace) -> None:
    client = connect()
    workspace.fault(path="serving-endpoints", status=403, error_code="PERMISSION_DENIED")
    with pytest.raises(Denied, match="CAN_MANAGE"):
        Endpoints(client).observe(name())


def test_a_service_principal_signs_in(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _as_service_principal(monkeypatch, workspace.host)
    client = connect()
    assert client.config.auth_type == "oauth-m2m"
    Endpoints(client).observe(name())


def test_a_service_principal_with_a_wrong_secret_is_denied(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _as_service_principal(monkeypatch, workspace.host)
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", "not-it")
    with pytest.raises(Denied, match="DATABRICKS_CLIENT_SECRET") as denied:
        Endpoints(connect()).observe(name())
    assert "not-it" not in str(denied.value)


def test_no_credentials_are_a_sentence_before_any_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _nobody(monkeypatch, tmp_path)
    with pytest.raises(Unconfigured, match="set DATABRICKS_HOST with DATABRICKS_TOKEN"):
        connect()


@pytest.mark.parametrize("principal", [False, True])
def test_a_workspace_that_refuses_connections_does_not_keep_headgate_from_starting(
    monkeypatch: pytest.MonkeyPatch, *, principal: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    _at(monkeypatch, f"http://127.0.0.1:{port}", principal=principal)
    began = time.monotonic()
    client = connect(deadline_s=1)
    with pytest.raises(Unreachable):
        Endpoints(client).observe(name())
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("principal", [False, True])
def test_a_workspace_that_never_answers_costs_no_more_than_the_deadlines(
    monkeypatch: pytest.MonkeyPatch, *, principal: bool
) -> None:
    with _silent() as host:
        _at(monkeypatch, host, principal=principal)
        began = time.monotonic()
        client = connect(deadline_s=0.5)
        assert time.monotonic() - began < 1.5
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(Unreachable):
                Endpoints(client).observe(name())
            assert time.monotonic() - began < 2.5


def test_a_token_endpoint_that_never_answers_stays_within_the_deadline(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _as_service_principal(monkeypatch, workspace.host)
    workspace.fault(path="oidc/v1/token", delay_s=3.0)
    began = time.monotonic()
    client = connect(deadline_s=0.5)
    with pytest.raises(Unreachable, match="signing in"):
        Endpoints(client).observe(name())
    assert time.monotonic() - began < 2
    time.sleep(max(0.0, 3.2 - (time.monotonic() - began)))
    Endpoints(client).observe(name())


def _at(monkeypatch: pytest.MonkeyPatch, host: str, *, principal: bool) -> None:
    if principal:
        _as_service_principal(monkeypatch, host)
        return
    monkeypatch.setenv("DATABRICKS_HOST", host)
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-any")


def _as_service_principal(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.delenv("DATABRICKS_TOKEN", raising=False)
    monkeypatch.setenv("DATABRICKS_HOST", host)
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "sandbox-client")
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", "sandbox-secret")


def _nobody(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    for variable in ("HOST", "TOKEN", "CLIENT_ID", "CLIENT_SECRET", "CONFIG_PROFILE", "AUTH_TYPE"):
        monkeypatch.delenv(f"DATABRICKS_{variable}", raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", str(home))


@contextlib.contextmanager
def _silent() -> Iterator[str]:
    """A host that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"
