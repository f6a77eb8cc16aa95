"""Calls that a short release never makes need no more than SECURITY.md says, and need that."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest
import requests
from databricks.sdk import WorkspaceClient

from controller.workspace.client import connect
from controller.workspace.errors import Denied, Unreachable
from controller.workspace.listing import Listing
from controller.workspace.probes import Probes
from controller.workspace.serving import Endpoints
from controller.workspace.statements import Statements
from deploy.sandbox.workspace import Settings
from policies.golden import GoldenQuery
from tests.contract.conftest import Split, Workspace
from tests.rights import CALLS, PRINCIPAL

OURS = [call for call, by in CALLS.items() if by == "contract"]
SAMPLE = "SELECT explode(sequence(1, 5))"


@dataclass
class Principal:
    """The service principal, on an endpoint that somebody else has made."""

    workspace: Workspace
    user: WorkspaceClient
    endpoint: str
    id: str
    client: WorkspaceClient = field(init=False)

    def has(self, level: str | None) -> None:
        """Give it a level on the endpoint, or none at all."""
        held = {"service_principal_name": Settings.client_id, "permission_level": level}
        listed = {"access_control_list": [held] if level else []}
        self.user.api_client.do(
            "PUT", f"/api/2.0/permissions/serving-endpoints/{self.id}", body=listed
        )

    def may(self, calls: list[str] | None) -> None:
        """Let it make these calls and no others; None: all that there are."""
        place = f"{self.workspace.host}/_sandbox/privileges"
        requests.put(place, json={"calls": calls}, timeout=5).raise_for_status()

    def used(self) -> dict[str, int]:
        """How often each of the calls was made."""
        place = f"{self.workspace.host}/_sandbox/privileges"
        return dict(requests.get(place, timeout=5).json()["used"])

    def hides_errors(self) -> None:
        """Somebody has switched the endpoint's fallback on."""
        place = f"/api/2.0/serving-endpoints/{self.endpoint}"
        found = self.user.api_client.do("GET", place)
        assert isinstance(found, dict)
        wanted = {**found["ai_gateway"], "fallback_config": {"enabled": True}}
        self.user.api_client.do("PUT", f"{place}/ai-gateway", body=wanted)


@pytest.fixture
def principal(
    workspace: Workspace, client: WorkspaceClient, split: Split, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Principal]:
    shown = client.serving_endpoints.get(split.endpoint)
    found = Principal(workspace, client, split.endpoint, str(shown.id))
    for name, value in PRINCIPAL.items():
        monkeypatch.setenv(name, value)
    found.client = connect()
    found.may(list(CALLS))
    yield found
    found.may(None)
    found.has(None)
    Endpoints(client).switch_fallback_off(split.endpoint)


def lists(principal: Principal) -> None:
    principal.has("CAN_VIEW")
    if Listing(principal.client).form(principal.endpoint) is None:
        raise Denied("it is not in the list")


def lets_errors_be_seen(principal: Principal) -> None:
    principal.has("CAN_MANAGE")
    principal.hides_errors()
    Endpoints(principal.client).switch_fallback_off(principal.endpoint)


def asks(principal: Principal) -> None:
    rows = Statements(principal.client, "sandbox").rows("numbers", SAMPLE, {})
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]


def gives_up(principal: Principal) -> None:
    with pytest.raises(Unreachable, match="gave no result in 0 s"):
        Statements(principal.client, "sandbox", deadline_s=0).rows("numbers", SAMPLE, {})


DONE: Mapping[str, Callable[[Principal], None]] = {
    "GET /api/2.0/serving-endpoints": lists,
    "PUT /api/2.0/serving-endpoints/{endpoint}/ai-gateway": lets_errors_be_seen,
    "GET /api/2.0/sql/statements/{id}": asks,
    "GET /api/2.0/sql/statements/{id}/result/chunks/{index}": asks,
    "POST /api/2.0/sql/statements/{id}/cancel": gives_up,
}
"""What makes each call."""


def test_every_call_of_the_page_is_shown_by_something() -> None:
    assert set(CALLS.values()) == {"release", "doctor", "contract"}
    assert sorted(OURS) == sorted(DONE)


@pytest.mark.parametrize("call", DONE)
def test_a_call_needs_no_more_than_the_page_says_and_is_needed(
    principal: Principal, call: str
) -> None:
    DONE[call](principal)
    assert principal.used()[call]
    principal.may([one for one in CALLS if one != call])
    with pytest.raises(Denied):
        DONE[call](principal)


def test_who_may_not_view_an_endpoint_is_told_nothing_of_it(principal: Principal) -> None:
    listing = Listing(principal.client)
    assert listing.form(principal.endpoint) is None
    with pytest.raises(Denied, match="permission denied"):
        Endpoints(principal.client).observe(principal.endpoint)
    principal.has("CAN_VIEW")
    listing.forget()
    assert listing.form(principal.endpoint) is not None
    Endpoints(principal.client).observe(principal.endpoint)


def test_who_may_query_an_endpoint_may_ask_it_and_change_nothing(principal: Principal) -> None:
    principal.hides_errors()
    probes = Probes(principal.client, principal.endpoint, "rights")
    entity, endpoints = "obedient-v1", Endpoints(principal.client)
    question = GoldenQuery(query="What is Delta Lake?")
    principal.has("CAN_VIEW")
    with pytest.raises(Denied, match="CAN_QUERY on the endpoint"):
        probes.beat(entity, question, "headgate/rights")
    principal.has("CAN_QUERY")
    assert probes.beat(entity, question, "headgate/rights")
    for change in (
        lambda: endpoints.switch_fallback_off(principal.endpoint),
        lambda: endpoints.granted(principal.id),
    ):
        with pytest.raises(Denied):
            change()
    principal.has("CAN_MANAGE")
    endpoints.switch_fallback_off(principal.endpoint)
    assert endpoints.granted(principal.id)
