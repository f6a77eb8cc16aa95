"""Every change is sent exactly once, whatever comes back: counted where it arrives."""

import json
import time

import pytest
from databricks.sdk import WorkspaceClient

from controller.workspace.client import connect
from controller.workspace.errors import Denied, Refused, Unreachable, WorkspaceError
from controller.workspace.registry import Registry
from controller.workspace.serving import Endpoints, ServingSettings
from states.world import Serving, Share
from tests.contract.recorder import DETAIL, Answering, Handler, Recorder, quiet_for

MODEL = "main.a.rag"
DEADLINE_S = 0.5
SERVING = Serving(
    {
        "rag-v1": Share(model=MODEL, version="1", weight=95),
        "rag-v2": Share(model=MODEL, version="2", weight=5),
    }
)


def create(client: WorkspaceClient) -> None:
    Endpoints(client).create("rag", SERVING, ServingSettings(model=MODEL))


def update(client: WorkspaceClient) -> None:
    Endpoints(client).serve("rag", SERVING, ServingSettings(model=MODEL))


def alias(client: WorkspaceClient) -> None:
    Registry(client).set_alias(MODEL, "production", "2")


def tag(client: WorkspaceClient) -> None:
    Registry(client).set_tag(MODEL, "2", "headgate.state", "RolledBack")


def fallback(client: WorkspaceClient) -> None:
    Endpoints(client).switch_fallback_off("rag")


CHANGES = {"create": create, "update": update, "gateway": fallback, "alias": alias, "tag": tag}


def failing(status: int, **headers: str) -> Answering:
    body = json.dumps({"error_code": "SOMETHING", "message": "secret words"}).encode()
    return lambda handler: handler.answer(status, body, **headers)


OUTCOMES: dict[str, tuple[Answering, type[WorkspaceError]]] = {
    "429": (failing(429), Unreachable),
    "429, come back in a day": (failing(429, Retry_After="86400"), Unreachable),
    "503 after it was done": (failing(503, Retry_After="1"), Unreachable),
    "500": (failing(500), Unreachable),
    "504": (failing(504), Unreachable),
    "reset": (Handler.reset, Unreachable),
    "timeout": (Handler.hang, Unreachable),
    "200 and no body": (lambda handler: handler.answer(200, b""), Unreachable),
    "200 and half a body": (lambda handler: handler.answer(200, b'{"name": "ra'), Unreachable),
    "200 and a page": (
        lambda handler: handler.answer(200, b"<html>sign in</html>", Content_Type="text/html"),
        Unreachable,
    ),
    "200 and a list": (lambda handler: handler.answer(200, b"[1, 2]"), Unreachable),
    "401": (failing(401), Denied),
    "409": (failing(409), Refused),
}


UNREAD = {
    *(("alias", "200 and no body"), ("tag", "200 and no body"), ("tag", "200 and a list")),
    *(("gateway", "200 and no body"), ("gateway", "200 and a list")),
}
"""Answers that nothing is read of: a 200 is a 200, and whether it is so is seen by looking."""


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_arrives_once_and_what_is_unknown_stays_unknown(
    recorder: Recorder, change: str, outcome: str
) -> None:
    client = connect(deadline_s=DEADLINE_S)
    recorder.endpoint = None if change == "create" else DETAIL
    recorder.changes, kind = OUTCOMES[outcome]
    began = time.monotonic()
    if (change, outcome) in UNREAD:
        CHANGES[change](client)
    else:
        with pytest.raises(WorkspaceError) as raised:
            CHANGES[change](client)
        assert type(raised.value) is kind
        assert raised.value.outcome == ("open" if kind is Unreachable else "refused")
        assert "secret words" not in str(raised.value)
    assert time.monotonic() - began < 10 * DEADLINE_S
    quiet_for(0.05, recorder)
    assert len(recorder.of("PUT", "POST", "PATCH", "DELETE")) == 1


@pytest.mark.parametrize(("header", "seconds"), [("86400", 86_400), ("7", 7), ("soon", 1)])
def test_how_long_the_workspace_asks_for_is_told_and_not_waited_for(
    recorder: Recorder, header: str, seconds: float
) -> None:
    client = connect(deadline_s=DEADLINE_S)
    recorder.changes = failing(429, Retry_After=header)
    began = time.monotonic()
    with pytest.raises(Unreachable) as raised:
        alias(client)
    assert time.monotonic() - began < 5
    assert raised.value.retry_after_s == seconds


def test_a_change_that_is_taken_arrives_once(recorder: Recorder) -> None:
    client = connect(deadline_s=DEADLINE_S)
    recorder.changes = lambda handler: handler.answer(200, json.dumps(DETAIL).encode())
    for number, change in enumerate((update, fallback, alias, tag), start=1):
        change(client)
        assert len(recorder.of("PUT", "POST", "PATCH", "DELETE")) == number
    first = recorder.of("PUT")[0].json
    weights = {one["served_entity_name"]: one["traffic_percentage"] for one in _routes(first)}
    assert weights == {"rag-v1": 95, "rag-v2": 5}


def _routes(body: dict[str, dict[str, list[dict[str, object]]]]) -> list[dict[str, object]]:
    return body["traffic_config"]["routes"]


def test_a_token_endpoint_that_hangs_keeps_no_call_for_longer_than_its_deadline(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABRICKS_TOKEN")
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "someone")
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", "secret")
    recorder.silent = lambda target: "/oidc/" in target or "/.well" in target
    client = connect(deadline_s=DEADLINE_S)
    changes = [update, fallback, alias, tag]
    for change in changes:
        began = time.monotonic()
        with pytest.raises(Unreachable):
            change(client)
        assert time.monotonic() - began < 5
    told = {one.target.partition("?")[0] for one in recorder.asked}
    assert not any("/serving-endpoints" in target or "/mlflow" in target for target in told)


def test_a_change_before_which_nothing_could_be_read_is_known_not_to_be_sent(
    recorder: Recorder,
) -> None:
    client = connect(deadline_s=DEADLINE_S)
    recorder.silent = lambda target: target.endswith("/serving-endpoints/rag")
    with pytest.raises(Unreachable) as raised:
        update(client)
    assert raised.value.outcome == "unsent"
    assert not recorder.of("PUT", "POST")
