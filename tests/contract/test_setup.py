"""How an endpoint is set up beside its traffic, asked for over HTTP and seen by another client."""

import json
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.serving import (
    AiGatewayRateLimit,
    AiGatewayRateLimitKey,
    AiGatewayRateLimitRenewalPeriod,
    ServedEntityOutput,
    ServingEndpointAccessControlRequest,
    ServingEndpointPermissionLevel,
)
from typer.testing import CliRunner, Result

from controller.console.cli import app
from controller.daemon.building import Shared, passes_of
from controller.daemon.passes import Pass
from controller.daemon.readiness import Readiness
from controller.daemon.tenure import Tenure
from controller.record.printer import Printer
from controller.record.store import Store
from controller.settings import ProcessSettings, load
from controller.workspace.errors import Outdated, Refused
from controller.workspace.serving import Endpoints, ServingSettings, TableLocation
from states.world import Absent, Endpoint, Grant, Serving, Share, Size
from tests.contract.conftest import Workspace, entity, name, serving, settled

PROFILE = "arn:aws:iam::123456789012:instance-profile/rag"
WITHIN_S = 40


def entities(client: WorkspaceClient, endpoint: str) -> dict[str, ServedEntityOutput]:
    config = client.serving_endpoints.get(endpoint).config
    return {one.name or "": one for one in (config and config.served_entities) or ()}


def gateway(client: WorkspaceClient, endpoint: str) -> dict[str, Any]:
    found = client.serving_endpoints.get(endpoint).ai_gateway
    return found.as_dict() if found else {}


def test_an_endpoint_is_created_with_everything_that_a_custom_model_can_be_given(
    client: WorkspaceClient, settings: ServingSettings
) -> None:
    endpoints, endpoint = Endpoints(client), name()
    size, scope = Size(None, 4, 8, "GPU_SMALL", scale_to_zero=True), name()
    client.secrets.create_scope(scope)
    client.secrets.put_secret(scope, "key", string_value="hidden words")
    secret = f"{{{{secrets/{scope}/key}}}}"
    whole = replace(
        settings,
        size=size,
        environment={"TOP_K": "5", "API_KEY": secret},
        instance_profile=PROFILE,
        usage_tracking=True,
    )
    endpoints.create(endpoint, serving(settings.model, v1=100), whole)
    seen = settled(endpoints, endpoint)
    assert seen.sizes == {entity("v1"): size}
    assert (seen.usage_tracking, seen.capture_off) == (True, False)
    assert seen.inference_table == f"main.serving.{endpoint}_payload"
    shown = entities(client, endpoint)[entity("v1")]
    assert shown.instance_profile_arn == PROFILE
    assert shown.environment_vars == {"API_KEY": secret}, "plaintext is not shown"


def test_a_version_gets_the_size_that_is_asked_for_and_others_keep_theirs(
    client: WorkspaceClient, settings: ServingSettings
) -> None:
    endpoints, endpoint = Endpoints(client), name()
    endpoints.create(endpoint, serving(settings.model, v1=100), settings)
    settled(endpoints, endpoint)
    both = serving(settings.model, v1=100, v2=0)
    endpoints.serve(endpoint, both, settings, {entity("v2"): Size("Medium")})
    seen = settled(endpoints, endpoint)
    assert seen.sizes == {entity("v1"): Size("Small"), entity("v2"): Size("Medium")}
    endpoints.serve(endpoint, both, settings, {entity("v1"): Size(None, 4, 12)})
    seen = settled(endpoints, endpoint)
    assert seen.sizes == {entity("v1"): Size(None, 4, 12), entity("v2"): Size("Medium")}
    assert seen.serving == both


def test_a_sixteenth_entity_is_refused_by_the_workspace(
    client: WorkspaceClient, settings: ServingSettings
) -> None:
    endpoint = name()
    many = {
        f"other-{one}": Share(model="main.ml.other", version=str(one + 1), weight=0)
        for one in range(15)
    }
    wanted = Serving({**serving(settings.model, v1=100).shares, **many})
    with pytest.raises(Refused) as refused:
        Endpoints(client).create(endpoint, wanted, settings)
    assert refused.value.outcome == "refused"


def test_what_others_set_in_the_gateway_is_kept_and_nothing_is_sent_twice(
    client: WorkspaceClient, settings: ServingSettings, workspace: Workspace
) -> None:
    endpoints, endpoint = Endpoints(client), name()
    bare = replace(settings, inference_table=None)
    endpoints.create(endpoint, serving(settings.model, v1=100), bare)
    settled(endpoints, endpoint)
    assert endpoints.observe(endpoint).inference_table is None  # type: ignore[union-attr]
    limit = AiGatewayRateLimit(
        calls=1000,
        key=AiGatewayRateLimitKey.USER,
        renewal_period=AiGatewayRateLimitRenewalPeriod.MINUTE,
    )
    client.serving_endpoints.put_ai_gateway(endpoint, rate_limits=[limit])
    wanted = replace(settings, usage_tracking=True)
    before = workspace.last()
    endpoints.capture(endpoint, wanted)
    assert [method for method, _, _ in workspace.asked(before)] == ["GET", "PUT"]
    assert gateway(client, endpoint) == {
        "rate_limits": [limit.as_dict()],
        "usage_tracking_config": {"enabled": True},
        "inference_table_config": {
            "catalog_name": "main",
            "schema_name": "serving",
            "enabled": True,
        },
    }
    before = workspace.last()
    endpoints.capture(endpoint, wanted)
    moved = replace(wanted, inference_table=TableLocation("other", "place"))
    endpoints.capture(endpoint, moved)
    assert [method for method, _, _ in workspace.asked(before)] == ["GET", "GET"]


def test_permissions_are_added_to_those_of_others(
    client: WorkspaceClient, settings: ServingSettings
) -> None:
    endpoints, endpoint = Endpoints(client), name()
    endpoints.create(endpoint, serving(settings.model, v1=100), settings)
    id_ = settled(endpoints, endpoint).id
    theirs = ServingEndpointAccessControlRequest(
        user_name="ada@example.com", permission_level=ServingEndpointPermissionLevel.CAN_MANAGE
    )
    client.serving_endpoints.update_permissions(id_, access_control_list=[theirs])
    wanted = {
        Grant("group", "analysts", "CAN_QUERY"),
        Grant("service_principal", "a-robot", "CAN_VIEW"),
    }
    for _ in range(2):
        endpoints.grant(endpoint, wanted)
        found = endpoints.granted(id_)
        assert found > wanted
        assert Grant("user", "ada@example.com", "CAN_MANAGE") in found
        assert not any(one.name == "admins" for one in found), "what is inherited is not its own"


CONFIGURATION = """
applications:
  obedient:
    model: {model}
    endpoint: {endpoint}
    alias: none
    tests: [{{query: "What is Delta Lake?"}}]
    rollout: {{bake: 1s}}
    serving: {serving}
"""


@dataclass
class Head:
    """A daemon's passes over one application, with everything real but the pace."""

    store: Store
    url: str
    config: Path
    model: str
    endpoint: str
    one: Pass | None = None

    def configure(self, **serving_: object) -> None:
        """Edit the file."""
        told = json.dumps(serving_)
        text = CONFIGURATION.format(model=self.model, endpoint=self.endpoint, serving=told)
        self.config.write_text(text)

    def restart(self) -> None:
        """Let the daemon read the file."""
        process = ProcessSettings(store=self.url, poll=timedelta(seconds=0.2), replica="one")
        made = passes_of(
            load(self.config).applications,
            Shared("sandbox", self.store),
            self.store,
            Printer(self.store),
            process,
            Readiness(self.store, process.poll),
            Tenure(("obedient",)),
        )
        self.one = made["obedient"]

    def until(self, event: str, times: int = 1) -> dict[str, Any]:
        """Pass until an event was journalled so often."""
        assert self.one is not None
        end = time.monotonic() + WITHIN_S
        while time.monotonic() < end:
            self.one.run()
            told = [line for line in self.store.journal() if line["event"] == event]
            if len(told) >= times:
                return told[-1]
            time.sleep(0.1)
        raise AssertionError(f"no {event}: {[line['event'] for line in self.store.journal()]}")

    def apply(self, *options: str) -> Result:
        command = ["apply", "obedient", "--config", str(self.config), "--store", self.url]
        return CliRunner().invoke(app, [*command, *options])


@pytest.fixture
def head(
    client: WorkspaceClient, settings: ServingSettings, tmp_path: Path, workspace: Workspace
) -> Head:
    """An endpoint that others made, adopted."""
    assert workspace.host
    endpoint = name()
    Endpoints(client).create(endpoint, serving(settings.model, v1=100), settings)
    settled(Endpoints(client), endpoint)
    url = f"sqlite:///{tmp_path / 'headgate.db'}"
    made = Head(Store(url), url, tmp_path / "headgate.yaml", settings.model, endpoint)
    made.configure(environment={"TOP_K": "5"}, workload_size="Medium")
    made.restart()
    made.until("release.registered")
    return made


def test_apply_changes_the_running_version_in_place_and_tells_of_variables_by_name(
    head: Head, client: WorkspaceClient
) -> None:
    asked = head.apply("--yes", "--reason", "the evening's load")
    assert (asked.exit_code, asked.stderr) == (0, "")
    assert "size: Small on CPU -> Medium on CPU" in asked.output
    assert "what it has is not known to Headgate -> TOP_K, as configured" in asked.output
    done = head.until("apply.finished")
    assert "version 1 runs as applied, watched for 1 s" in done["because"]
    seen = settled(Endpoints(client), head.endpoint)
    assert seen.sizes == {entity("v1"): Size("Medium")}
    assert seen.serving == serving(head.model, v1=100)
    order = head.until("order.given")
    assert (order["reason"], order["variables"]) == ("the evening's load", ["TOP_K"])

    head.configure(environment={"LANGUAGE": "secret-words"}, workload_size="Medium")
    unasked = head.apply()
    assert unasked.exit_code == 2
    assert "variables: added: LANGUAGE; removed: TOP_K" in unasked.output
    assert "say --yes to apply this" in unasked.stderr
    assert head.apply("--yes").exit_code == 0
    refused = head.until("order.refused")
    assert "the daemon runs with another configuration" in refused["because"]

    head.restart()
    held = head.until("release.held")
    assert "serving.environment was edited since" in held["because"]
    assert head.apply("--yes").exit_code == 0
    head.until("apply.finished", times=2)
    assert "runs as configured: nothing to apply" in head.apply("--yes").output
    history = CliRunner().invoke(app, ["history", "obedient", "--store", head.url])
    assert "ordered apply: the evening's load" in history.output
    record = json.dumps([dict(line) for line in head.store.journal()], default=str)
    assert "secret-words" not in record
    assert "secret-words" not in head.store.path.read_bytes().decode("latin-1")


def test_an_update_that_fails_leaves_what_ran_and_is_held(
    head: Head, client: WorkspaceClient
) -> None:
    head.configure(environment={"BREAK": "yes"}, workload_size="Medium")
    head.restart()
    assert head.apply("--yes").exit_code == 0
    held = head.until("release.held")
    assert "Databricks could not update the endpoint" in held["because"]
    assert settled_size(client, head.endpoint) == Size("Small")
    head.configure(environment={"BREAK": "no"}, workload_size="Medium")
    head.restart()
    assert head.apply("--yes").exit_code == 0
    head.until("apply.finished")
    assert settled_size(client, head.endpoint) == Size("Medium")
    assert head.store.load("obedient").application.hold is None


def test_nothing_is_created_by_applying(client: WorkspaceClient, settings: ServingSettings) -> None:
    endpoints, endpoint = Endpoints(client), name()
    with pytest.raises(Outdated, match="it is not there any more") as gone:
        endpoints.apply(
            endpoint, serving(settings.model, v1=100), settings, entity("v1"), Size("Large")
        )
    assert gone.value.outcome == "unsent"
    assert endpoints.observe(endpoint) == Absent()


def test_an_endpoint_of_ours_is_given_its_permissions_once_in_a_call_of_their_own(
    client: WorkspaceClient, settings: ServingSettings, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'headgate.db'}"
    head = Head(Store(url), url, tmp_path / "headgate.yaml", settings.model, name())
    head.configure(workload_size="Small")
    with head.config.open("a") as file:
        file.write("    permissions: [{group: analysts, level: CAN_QUERY}]\n")
    head.restart()
    told = head.until("endpoint.permitted")
    assert "1 permissions seen on" in told["because"]
    endpoints = Endpoints(client)
    seen = endpoints.observe(head.endpoint)
    assert isinstance(seen, Endpoint)
    assert Grant("group", "analysts", "CAN_QUERY") in endpoints.granted(seen.id)
    sent = [one.kind for one in head.store.load("obedient").application.attempts]
    assert sent.count("permissions") == 1
    client.serving_endpoints.set_permissions(seen.id, access_control_list=[])
    for _ in range(3):
        assert head.one is not None
        head.one.run()
    kept = endpoints.granted(seen.id)
    assert Grant("group", "analysts", "CAN_QUERY") not in kept, "what others do later is kept"
    head.store.close()


def settled_size(client: WorkspaceClient, endpoint: str) -> Size:
    seen = Endpoints(client).observe(endpoint)
    return seen.sizes[entity("v1")]  # type: ignore[union-attr]


def test_apply_needs_a_version_that_serves_and_an_application_that_is_configured(
    head: Head, tmp_path: Path
) -> None:
    nobody = CliRunner().invoke(app, ["apply", "nobody", "--config", str(head.config)])
    assert (nobody.exit_code, "there is no application nobody" in nobody.stderr) == (2, True)
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    Store(url).close()
    command = ["apply", "obedient", "--config", str(head.config), "--store", url, "--yes"]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 2
    assert "no version of obedient serves yet" in told.stderr
