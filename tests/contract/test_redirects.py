"""Whoever answers in the workspace's name cannot send us, or what we carry, to another host."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests

from controller.workspace import redirects
from controller.workspace.client import connect
from controller.workspace.errors import Denied, Unreachable, WorkspaceError
from controller.workspace.mlflow_reader import MlflowReader
from controller.workspace.probes import Probes
from controller.workspace.registry import Registry
from controller.workspace.serving import Endpoints, ServingSettings
from controller.workspace.statements import Statements
from policies.golden import GoldenQuery
from states.counted import Paths
from states.world import Serving, Share
from tests.contract.recorder import Handler, Recorder, recording

SECRET = "dose-of-the-service-principal"
ONE = Serving({"rag-v1": Share(model="main.a.rag", version="1", weight=100)})
TOLD = ServingSettings(model="main.a.rag", environment={"KEY": "{{secrets/a/b}}"})


@pytest.fixture
def far() -> Iterator[Recorder]:
    """Where nothing may ever arrive."""
    with recording() as found:
        yield found


@pytest.fixture
def near(far: Recorder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """The configured host, which sends everybody on, with the body and the verb that they had."""
    with recording() as found:
        monkeypatch.setenv("DATABRICKS_HOST", found.host)
        monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-of-somebody")
        found.changes = lambda handler: away(handler, far)
        yield found


def away(handler: Handler, far: Recorder) -> None:
    handler.answer(307, b"", Location=f"{far.host}{handler.path}")


CALLS: dict[str, Callable[[Any], object]] = {
    "alias": lambda client: Registry(client).set_alias("main.a.rag", "production", "2"),
    "tag": lambda client: Registry(client).set_tag("main.a.rag", "2", "key", "value"),
    "endpoint": lambda client: Endpoints(client).serve("rag", ONE, TOLD),
    "statement": lambda client: Statements(client, "w").rows("table", "SELECT 1", {}),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_redirect_is_an_error_and_nothing_of_the_call_arrives_elsewhere(
    near: Recorder, far: Recorder, name: str
) -> None:
    with pytest.raises(Unreachable, match="a redirect to another address, which is not followed"):
        CALLS[name](connect())
    assert [one.method for one in near.asked if one.method != "GET"] != []
    assert far.asked == []


def test_a_library_that_asks_for_itself_does_not_follow_either(
    near: Recorder, far: Recorder
) -> None:
    near.endpoint, handle = None, Handler._tell

    def tell(handler: Handler) -> None:
        away(handler, far) if handler.recorder is near else handle(handler)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "_tell", tell)
        with pytest.raises(WorkspaceError):
            MlflowReader(20).tags("main.a.rag", "1")
        assert requests.get(f"{near.host}/x", allow_redirects=False, timeout=5).is_redirect
    assert any("get" in one.target for one in near.asked)
    assert far.asked == []


def test_a_golden_query_that_is_sent_on_has_failed(near: Recorder, far: Recorder) -> None:
    probes = Probes(connect(), "rag", "app")
    why = probes.ask("rag-v1", GoldenQuery(query="What?"), "headgate/app/x/1", Paths())
    assert why == "status 307"
    assert near.of("POST")
    assert far.asked == []


def test_a_token_endpoint_that_sends_elsewhere_gets_no_secret_there(
    near: Recorder, far: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABRICKS_TOKEN")
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", "headgate")
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", SECRET)
    # Without metadata the SDK asks where tokens are made, and is told by the configured host.
    near.endpoint = {
        "authorization_endpoint": f"{near.host}/oidc/v1/authorize",
        "token_endpoint": f"{near.host}/oidc/v1/token",
    }
    with pytest.raises((Unreachable, Denied)) as found:
        Registry(connect()).alias("main.a.rag", "production")
    assert SECRET not in str(found.value)
    assert far.asked == []


def test_without_that_the_body_would_arrive_there(
    near: Recorder, far: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the guard is for: if this ever fails, `requests` needs it no longer."""
    monkeypatch.setattr(requests.Session, "resolve_redirects", redirects._resolve)
    with suppress(WorkspaceError):
        Endpoints(connect()).serve("rag", ONE, TOLD)
    [arrived] = far.of("PUT")
    assert arrived.json["served_entities"][0]["environment_vars"] == TOLD.environment
    assert near.asked
