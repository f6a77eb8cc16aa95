from dataclasses import replace

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.serving import Route, ServedEntityInput, TrafficConfig

from controller.workspace.errors import Outdated, Refused, Unreachable, WorkspaceError, met
from controller.workspace.serving import Endpoints, ServingSettings
from states.world import Absent, Size
from tests.contract.conftest import Workspace, entity, name, serving, settled

WHOLE_RELEASE: list[dict[str, int]] = [
    {"v1": 100},
    {"v1": 100, "v2": 0},
    {"v1": 95, "v2": 5},
    {"v1": 0, "v2": 100},
    {"v2": 100},
]


def test_an_endpoint_that_is_not_there_is_absent(client: WorkspaceClient) -> None:
    assert Endpoints(client).observe(name()) == Absent()


def test_what_was_asked_for_is_what_is_seen_through_a_whole_release(
    client: WorkspaceClient, settings: ServingSettings, workspace: Workspace
) -> None:
    endpoints, endpoint = Endpoints(client), name()
    versions, change, sent = [0], endpoints.create, ["POST"]
    for weights in WHOLE_RELEASE:
        wanted = serving(settings.model, **weights)
        before = workspace.last()
        change(endpoint, wanted, settings)
        assert [method for method, _, _ in workspace.asked(before)] == sent
        change, sent = endpoints.serve, ["GET", "PUT"]
        seen = settled(endpoints, endpoint)
        assert seen.serving == wanted
        assert seen.ready == wanted.shares.keys()
        assert seen.pending is None
        assert not seen.failed
        versions.append(seen.config_version)
    assert versions == sorted(set(versions))
    assert seen.inference_table == f"main.serving.{endpoint}_payload"
    assert not seen.fallback
    assert not seen.route_optimized
    tags = {tag.key: tag.value for tag in client.serving_endpoints.get(endpoint).tags or ()}
    assert tags == {"headgate.owner": "headgate"}


def test_before_the_first_deployment_nothing_is_served_and_the_wish_is_pending(
    client: WorkspaceClient, settings: ServingSettings
) -> None:
    endpoints, endpoint = Endpoints(client), name()
    wanted = serving(settings.model, v1=100)
    endpoints.create(endpoint, wanted, settings)
    seen = endpoints.observe(endpoint)
    assert not isinstance(seen, Absent)
    assert not seen.serving.shares
    assert seen.pending == wanted
    assert not seen.ready
    settled(endpoints, endpoint)


def test_sizes_that_others_chose_survive_a_change_of_traffic(
    client: WorkspaceClient, settings: ServingSettings
) -> None:
    endpoints, endpoint = Endpoints(client), name()
    endpoints.create(endpoint, serving(settings.model, v1=100), settings)
    settled(endpoints, endpoint)
    client.serving_endpoints.update_config(
        endpoint,
        served_entities=[
            ServedEntityInput(
                name=entity("v1"),
                entity_name=settings.model,
                entity_version="1",
                workload_size="Medium",
                scale_to_zero_enabled=True,
            )
        ],
        traffic_config=TrafficConfig(
            routes=[Route(served_entity_name=entity("v1"), traffic_percentage=100)]
        ),
    )
    settled(endpoints, endpoint)
    endpoints.serve(endpoint, serving(settings.model, v1=100, v2=0), settings)
    seen = settled(endpoints, endpoint)
    assert seen.concurrency == {entity("v1"): 16, entity("v2"): 4}
    config = client.serving_endpoints.get(endpoint).config
    found = {
        one.name: (one.workload_size, one.scale_to_zero_enabled)
        for one in (config and config.served_entities) or ()
    }
    assert found == {entity("v1"): ("Medium", True), entity("v2"): ("Small", False)}


def test_a_new_version_can_be_sized_by_concurrency(
    client: WorkspaceClient, settings: ServingSettings
) -> None:
    endpoints, endpoint = Endpoints(client), name()
    sized = ServingSettings(
        model=settings.model, size=Size(workload_size=None, min_concurrency=4, max_concurrency=8)
    )
    for change in (endpoints.create, endpoints.serve):
        change(endpoint, serving(settings.model, v1=100), sized)
        assert settled(endpoints, endpoint).concurrency == {entity("v1"): 8}
        config = client.serving_endpoints.get(endpoint).config
        found = [
            (one.min_provisioned_concurrency, one.max_provisioned_concurrency)
            for one in (config and config.served_entities) or ()
        ]
        assert found == [(4, 8)]


def test_a_version_that_does_not_start_is_seen_to_have_failed(
    client: WorkspaceClient, settings: ServingSettings
) -> None:
    endpoints, endpoint = Endpoints(client), name()
    told = ServingSettings(model=settings.model, environment={"BREAK": "yes"})
    endpoints.create(endpoint, serving(settings.model, v1=100), told)
    seen = settled(endpoints, endpoint)
    assert seen.failed == {entity("v1")}
    assert seen.update_failed
    assert not seen.ready
    assert not seen.serving.shares


def test_a_second_change_during_the_first_is_refused(
    client: WorkspaceClient, settings: ServingSettings
) -> None:
    endpoints, endpoint = Endpoints(client), name()
    endpoints.create(endpoint, serving(settings.model, v1=100), settings)
    with pytest.raises(Refused, match=f"serving endpoint {endpoint}: .*busy") as refused:
        endpoints.serve(endpoint, serving(settings.model, v1=100, v2=0), settings)
    assert refused.value.outcome == "refused"
    assert settled(endpoints, endpoint).serving == serving(settings.model, v1=100)


def test_a_change_is_for_the_endpoint_that_was_meant_and_no_other(
    client: WorkspaceClient, settings: ServingSettings, workspace: Workspace
) -> None:
    endpoints, endpoint = Endpoints(client), name()
    one, both = serving(settings.model, v1=100), serving(settings.model, v1=100, v2=0)
    endpoints.create(endpoint, one, settings)
    meant = settled(endpoints, endpoint).id
    with pytest.raises(Refused):
        endpoints.create(endpoint, both, settings)
    client.serving_endpoints.delete(endpoint)
    before = workspace.last()
    with pytest.raises(Outdated, match="it is not there any more; Headgate looks again") as gone:
        endpoints.serve(endpoint, both, settings, on=meant)
    assert (gone.value.outcome, met(gone.value)) == ("unsent", "unsent")
    assert [method for method, _, _ in workspace.asked(before)] == ["GET"]
    endpoints.create(endpoint, one, settings)
    anew = settled(endpoints, endpoint).id
    before = workspace.last()
    with pytest.raises(Outdated, match="it was made anew meanwhile; Headgate looks again"):
        endpoints.serve(endpoint, both, settings, on=meant)
    assert [method for method, _, _ in workspace.asked(before)] == ["GET"]
    endpoints.serve(endpoint, both, settings, on=anew)
    assert settled(endpoints, endpoint).serving == both


def test_an_endpoint_that_is_made_anew_is_seen_to_be_another(
    client: WorkspaceClient, settings: ServingSettings
) -> None:
    endpoints, endpoint = Endpoints(client), name()
    seen = []
    for _ in range(2):
        endpoints.create(endpoint, serving(settings.model, v1=100), settings)
        seen.append(settled(endpoints, endpoint))
        client.serving_endpoints.delete(endpoint)
    first, second = seen
    assert first.id
    assert second.id not in ("", first.id)
    assert 0 < first.created_ms < second.created_ms
    assert first.serving == second.serving


GATEWAY = {
    "fallback_config": {"enabled": True},
    "guardrails": {
        "input": {"safety": True, "pii": {"behavior": "BLOCK"}, "invalid_keywords": ["secret"]},
        "output": {"pii": {"behavior": "A_WORD_OF_NEXT_YEAR"}},
    },
    "rate_limits": [
        {"calls": 100, "key": "user", "renewal_period": "minute"},
        {"tokens": 9000, "key": "user_group", "principal": "rag", "renewal_period": "minute"},
    ],
    "usage_tracking_config": {"enabled": True},
    "what_the_sdk_does_not_know": {"kept": [1, 2]},
}


def test_switching_the_fallback_off_keeps_all_else_of_the_gateway_word_for_word(
    client: WorkspaceClient, settings: ServingSettings, workspace: Workspace
) -> None:
    endpoints, endpoint = Endpoints(client), name()
    endpoints.create(endpoint, serving(settings.model, v1=100), settings)
    settled(endpoints, endpoint)
    place = f"/api/2.0/serving-endpoints/{endpoint}"

    def gateway() -> object:
        shown = client.api_client.do("GET", place)
        assert isinstance(shown, dict)
        return shown["ai_gateway"]

    first = gateway()
    assert isinstance(first, dict)
    client.api_client.do("PUT", f"{place}/ai-gateway", body={**first, **GATEWAY})
    masked = endpoints.observe(endpoint)
    assert not isinstance(masked, Absent)
    assert masked.fallback
    since = workspace.last()
    endpoints.switch_fallback_off(endpoint)
    assert workspace.asked(since) == [("GET", place, 200), ("PUT", f"{place}/ai-gateway", 200)]
    assert gateway() == {**first, **GATEWAY, "fallback_config": {"enabled": False}}
    unmasked = replace(masked, fallback=False)
    assert endpoints.observe(endpoint) == unmasked, "nothing else of the endpoint has changed"
    since = workspace.last()
    endpoints.switch_fallback_off(endpoint)
    assert workspace.asked(since) == [("GET", place, 200)], "what is off is not written again"


def test_a_404_that_is_not_the_apis_own_does_not_make_an_endpoint_absent(
    client: WorkspaceClient, workspace: Workspace
) -> None:
    workspace.fault(path="serving-endpoints", status=404, error_code="ENDPOINT_NOT_FOUND")
    with pytest.raises(Unreachable, match="not the serving API"):
        Endpoints(client).observe(name())


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (None, "state is missing"),
        ({"ready": "READY", "config_update": "SOMETHING_NEW"}, "state.config_update"),
        ({"ready": "PERHAPS", "config_update": "NOT_UPDATING"}, "state.ready"),
    ],
)
def test_a_state_that_is_not_understood_is_an_error_and_no_guess(
    client: WorkspaceClient,
    monkeypatch: pytest.MonkeyPatch,
    state: dict[str, str] | None,
    words: str,
) -> None:
    answer = {"name": "x", "config": {}, **({} if state is None else {"state": state})}
    monkeypatch.setattr(client.api_client, "do", lambda *_args, **_more: answer)
    with pytest.raises(WorkspaceError, match=words):
        Endpoints(client).observe("x")


@pytest.mark.parametrize("hostile", ["a b?x=1", "a#b", "%2e%2e", "%2e%2e%2fmodels"])
def test_a_hostile_name_stays_within_its_url_segment(
    client: WorkspaceClient, workspace: Workspace, hostile: str
) -> None:
    before = workspace.last()
    assert Endpoints(client).observe(hostile) == Absent()
    paths = [path for _, path, _ in workspace.asked(before)]
    assert len(paths) == 1
    assert paths[0].startswith("/api/2.0/serving-endpoints/")


@pytest.mark.parametrize(
    "nameless", ["", ".", "..", "../../2.1/unity-catalog/models", "a/b", "a\\b", "a\nb"]
)
def test_a_name_that_would_be_no_segment_is_refused_unsent(
    client: WorkspaceClient, workspace: Workspace, nameless: str
) -> None:
    before = workspace.last()
    with pytest.raises(Refused, match="correct the configuration"):
        Endpoints(client).observe(nameless)
    assert not workspace.asked(before)
