"""What the list of all endpoints is enough for, and what it is not believed."""

import json
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from structlog.testing import capture_logs

from controller.daemon.sight import Sight
from controller.workspace.listing import Listing
from controller.workspace.serving import Endpoints, ServingSettings
from states.world import Absent, Endpoint
from tests.contract.conftest import Workspace, name, serving, settled


@pytest.fixture
def endpoint(client: WorkspaceClient, settings: ServingSettings) -> str:
    """An endpoint at rest, with two versions."""
    endpoints, endpoint = Endpoints(client), name()
    endpoints.create(endpoint, serving(settings.model, v1=100, v2=0), settings)
    settled(endpoints, endpoint)
    return endpoint


@pytest.fixture
def looking(client: WorkspaceClient, endpoint: str) -> tuple[Listing, Callable[[], Endpoint]]:
    """The list, and a glance at the endpoint in a new beat."""
    listing = Listing(client, clock=lambda: 0.0)
    sight = Sight(Endpoints(client), listing)

    def glance() -> Endpoint:
        listing.renew()
        seen = sight.glance(endpoint)
        assert isinstance(seen, Endpoint)
        return seen

    return listing, glance


def reads(workspace: Workspace, since: int, endpoint: str) -> int:
    """How often the endpoint itself was read."""
    own = ("GET", f"/api/2.0/serving-endpoints/{endpoint}")
    return [(method, path) for method, path, _ in workspace.asked(since)].count(own)


def test_an_endpoint_that_nobody_updates_is_read_once(
    looking: tuple[Listing, Callable[[], Endpoint]], workspace: Workspace, endpoint: str
) -> None:
    _, glance = looking
    before = workspace.last()
    first = glance()
    assert [glance() for _ in range(3)] == [first] * 3
    assert reads(workspace, before, endpoint) == 1


def test_a_list_that_takes_a_second_is_believed_for_ten(
    client: WorkspaceClient, workspace: Workspace, endpoint: str
) -> None:
    # The clock of the daemon's machine: a second passes while the workspace makes its list.
    clock = [100.0]

    def steady() -> float:
        clock[0] += 0.5
        return clock[0]

    listing = Listing(client, steady)
    lists = ("GET", "/api/2.0/serving-endpoints")

    def listed(after: float) -> int:
        before = workspace.last()
        clock[0] += after
        listing.renew()
        assert listing.form(endpoint) is not None
        return [(method, path) for method, path, _ in workspace.asked(before)].count(lists)

    assert [listed(after) for after in (0, 1, 2, 5, 1)] == [1, 0, 0, 1, 0]


def test_weights_that_somebody_changed_are_seen_at_the_next_glance(
    looking: tuple[Listing, Callable[[], Endpoint]],
    client: WorkspaceClient,
    settings: ServingSettings,
    endpoint: str,
) -> None:
    _, glance = looking
    assert glance().serving == serving(settings.model, v1=100, v2=0)
    wanted = serving(settings.model, v1=90, v2=10)
    Endpoints(client).serve(endpoint, wanted, settings)
    seen = glance()
    assert wanted in (seen.serving, seen.pending)
    settled(Endpoints(client), endpoint)
    assert glance().serving == wanted


def test_fallback_that_somebody_switched_on_is_seen_at_the_next_glance(
    looking: tuple[Listing, Callable[[], Endpoint]], client: WorkspaceClient, endpoint: str
) -> None:
    _, glance = looking
    assert not glance().fallback
    client.api_client.do(
        "PUT",
        f"/api/2.0/serving-endpoints/{endpoint}/ai-gateway",
        body={"fallback_config": {"enabled": True}},
    )
    assert glance().fallback


def test_an_endpoint_that_was_deleted_is_absent_at_the_next_glance(
    client: WorkspaceClient, endpoint: str
) -> None:
    listing = Listing(client, clock=lambda: 0.0)
    sight = Sight(Endpoints(client), listing)
    assert isinstance(sight.glance(endpoint), Endpoint)
    client.serving_endpoints.delete(endpoint)
    listing.renew()
    assert sight.glance(endpoint) == Absent()


def test_a_workspace_whose_list_fails_is_read_endpoint_by_endpoint(
    looking: tuple[Listing, Callable[[], Endpoint]], workspace: Workspace, endpoint: str
) -> None:
    _, glance = looking
    first = glance()
    workspace.fault(path="^/api/2.0/serving-endpoints$", status=503, times=1)
    before = workspace.last()
    assert glance() == first
    assert reads(workspace, before, endpoint) == 1


class Deaf(Listing):
    """A list that shows an endpoint as it was, whatever becomes of it."""

    def form(self, name: str) -> bytes | None:
        return b"as ever" if super().form(name) is not None else None


def test_a_list_that_does_not_show_a_change_is_not_believed_any_more(
    client: WorkspaceClient, settings: ServingSettings, workspace: Workspace, endpoint: str
) -> None:
    listing = Deaf(client)
    sight = Sight(Endpoints(client), listing)
    first = sight.glance(endpoint)
    assert isinstance(first, Endpoint)
    wanted = serving(settings.model, v1=90, v2=10)
    Endpoints(client).serve(endpoint, wanted, settings)
    settled(Endpoints(client), endpoint)
    listing.renew()
    assert sight.glance(endpoint) == first, "the list misleads, until the endpoint is read anyway"
    with capture_logs() as logs:
        seen = sight.read(endpoint, idle=True)
    assert seen == replace(first, serving=wanted, config_version=first.config_version + 1)
    assert [line["event"] for line in logs] == ["workspace.list_mistrusted"]
    before = workspace.last()
    for _ in range(2):
        listing.renew()
        sight.glance(endpoint)
    assert reads(workspace, before, endpoint) == 2


def forms(*endpoints: dict[str, Any]) -> list[bytes | None]:
    """How a list of these shows the endpoints `a` and `b`."""
    listed = json.dumps({"endpoints": endpoints}).encode()
    api = SimpleNamespace(do=lambda *_, **__: {"contents": BytesIO(listed)})
    client = SimpleNamespace(config=SimpleNamespace(workspace_id=None), api_client=api)
    listing = Listing(client, clock=lambda: 0.0)  # type: ignore[arg-type]
    return [listing.form("a"), listing.form("b")]


def test_whatever_differs_in_the_words_of_the_list_shows_and_their_order_does_not() -> None:
    def told(at: int, of: str) -> dict[str, Any]:
        served = {"name": of, "last_updated_timestamp": at}
        return {"name": "a", "last_updated_timestamp": 7, "config": {"served_entities": [served]}}

    (before, _), (moved, _), (other, _) = (
        forms(told(*one)) for one in ((1, "x"), (2, "x"), (1, "y"))
    )
    assert len({before, moved, other, None}) == 4
    assert forms(dict(reversed(told(1, "x").items())))[0] == before


def test_an_endpoint_of_which_the_list_tells_too_little_takes_nothing_from_the_others() -> None:
    whole = {"name": "a", "last_updated_timestamp": 7}
    alone, _ = forms(whole)
    assert alone is not None
    assert forms(whole, {"name": "b"}, {"last_updated_timestamp": 7}) == [alone, None]
