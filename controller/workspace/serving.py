"""Serving endpoints: what one serves, and the single full-state write that changes it.

Facts of the API (databricks-sdk 0.156, `service/serving.py`; Databricks' documentation): a PUT of
the configuration replaces all of it; GET does not return plaintext environment variables; an
endpoint that was never deployed has only a pending configuration; one update at a time, else 409.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound
from databricks.sdk.service.serving import (
    AiGatewayConfig,
    AiGatewayInferenceTableConfig,
    AiGatewayUsageTrackingConfig,
    EndpointCoreConfigInput,
    EndpointTag,
    Route,
    ServedEntityInput,
    ServedEntityOutput,
    ServingEndpointAccessControlRequest,
    ServingEndpointDetailed,
    ServingEndpointPermissionLevel,
    ServingModelWorkloadType,
    TrafficConfig,
)

from controller.workspace import decode
from controller.workspace.client import call, translated
from controller.workspace.errors import Outdated, Refused, Unreachable, WorkspaceError
from controller.workspace.names import segment
from policies.rollout import WHOLE
from states.world import Absent, Endpoint, Grant, Serving, Share, Size

OWNER_TAG = EndpointTag(key="headgate.owner", value="headgate")
"""On every endpoint that Headgate created."""
RELEASE_TAG = "headgate.release"
"""On a staging endpoint: for which attempt of which release it was created."""
NOT_THE_API = ("NOT_FOUND", "ENDPOINT_NOT_FOUND")
"""Codes of a 404 that says nothing of the endpoint: the SDK's for an HTML page, such as a proxy's,
and Databricks' for a path that it does not have. An endpoint missed so must not seem deleted."""


@dataclass(frozen=True, slots=True)
class TableLocation:
    """Where AI Gateway writes the requests of an endpoint that Headgate creates."""

    catalog: str
    schema: str
    prefix: str | None = None
    """The table is `<prefix>_payload`; None: the endpoint's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingSettings:
    """What the configuration says of serving an application's own model."""

    model: str
    """The application's registered model, `catalog.schema.name`."""
    size: Size = field(default_factory=Size)
    """Of a new version that no other size is asked for; those already there keep theirs."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """For every version of `model`; secrets as `{{secrets/scope/key}}`."""
    instance_profile: str | None = None
    inference_table: TableLocation | None = None
    usage_tracking: bool = False


class Endpoints:
    """The serving endpoints of a workspace."""

    def __init__(self, client: WorkspaceClient) -> None:
        self._client, self._api = client, client.serving_endpoints

    def observe(self, name: str) -> Endpoint | Absent:
        """The endpoint as it is now."""
        detail = self.detail(name)
        return Absent() if detail is None else decode.endpoint(name, detail)

    def create(
        self,
        name: str,
        serving: Serving,
        settings: ServingSettings,
        sizes: Mapping[str, Size] | None = None,
    ) -> None:
        """Ask for a new endpoint that serves exactly this.

        `sizes` are of entities that are to have another one than is configured. One write, which is
        refused where an endpoint of that name is there, whoever made it. Returning means that the
        workspace accepted it, not that it is so.
        """
        assert sum(share.weight for share in serving.shares.values()) == WHOLE, serving
        with translated(f"serving endpoint {name}"):
            self._api.create(
                name,
                config=EndpointCoreConfigInput(
                    name=name,
                    served_entities=_entities(serving, settings, None, sizes or {}),
                    traffic_config=_traffic(serving),
                ),
                ai_gateway=_gateway(settings),
                tags=[OWNER_TAG],
            )

    def serve(
        self,
        name: str,
        serving: Serving,
        settings: ServingSettings,
        sizes: Mapping[str, Size] | None = None,
        *,
        on: str = "",
    ) -> None:
        """Ask an endpoint that is there to serve exactly this from now on.

        `sizes` are of entities that are to have another one than they have, or than is configured;
        `on` is the id of the endpoint that is meant, empty for any. One read, and one write; none,
        but `Outdated`, where that endpoint was deleted meanwhile, or made anew.
        """
        assert sum(share.weight for share in serving.shares.values()) == WHOLE, serving
        entities = _entities(serving, settings, self._meant(name, on), sizes or {})
        with translated(f"serving endpoint {name}"):
            self._api.update_config(
                segment(name), served_entities=entities, traffic_config=_traffic(serving)
            )

    def _meant(self, name: str, on: str) -> ServingEndpointDetailed:
        """The endpoint before it is changed; nothing was sent where it cannot be read."""
        place = f"serving endpoint {name}"
        try:
            found = self.detail(name)
        except WorkspaceError as error:
            error.outcome = "unsent"
            raise
        if found is None:
            raise Outdated(f"{place}: it is not there any more; Headgate looks again")
        if on and found.id and found.id != on:
            raise Outdated(f"{place}: it was made anew meanwhile; Headgate looks again")
        return found

    def create_staging(
        self, name: str, serving: Serving, settings: ServingSettings, mark: str
    ) -> None:
        """Ask for a new endpoint that serves exactly this, without an inference table.

        One write, which is refused where an endpoint of that name is there, whoever made it.
        """
        with translated(f"serving endpoint {name}"):
            self._api.create(
                name,
                config=EndpointCoreConfigInput(
                    name=name,
                    served_entities=_entities(serving, settings, None, {}),
                    traffic_config=_traffic(serving),
                ),
                tags=[OWNER_TAG, EndpointTag(key=RELEASE_TAG, value=mark)],
            )

    def remove_staging(self, name: str, id_: str) -> None:
        """Delete an endpoint that Headgate made, and no other: `Refused`, if tag or id differ.

        One read, and one write if it is there. The API deletes by name: what somebody puts in its
        place between the two would go.
        """
        place = f"serving endpoint {name}"
        try:
            found = self.detail(name)
        except WorkspaceError as error:
            error.outcome = "unsent"
            raise
        if found is None:
            return
        if decode.tag(found, OWNER_TAG.key) != OWNER_TAG.value or not id_ or found.id != id_:
            raise Refused(f"{place}: it is not the one that Headgate made, and is left alone")
        # It may be gone by now: whether it is, the next look tells.
        with translated(place), suppress(NotFound):
            self._api.delete(segment(name))

    def apply(  # noqa: PLR0913 - what it is, and which one is meant
        self,
        name: str,
        serving: Serving,
        settings: ServingSettings,
        entity: str,
        size: Size,
        *,
        on: str = "",
    ) -> None:
        """Ask an endpoint to go on serving this, with one entity of another size: as `serve`."""
        self.serve(name, serving, settings, {entity: size}, on=on)

    def switch_fallback_off(self, name: str) -> None:
        """Ask the endpoint's AI Gateway to leave errors as they are, and keep all else of it.

        One read, and one write if it is on. A PUT replaces everything, so what was read is sent
        back word for word: the SDK's types would lose what they do not know.
        """
        place = f"/api/2.0/serving-endpoints/{segment(name)}"
        with translated(f"serving endpoint {name}'s AI Gateway"):
            found = call(self._client, "GET", place)
            gateway = found.get("ai_gateway") or {}
            if (gateway.get("fallback_config") or {}).get("enabled"):
                wanted = {**gateway, "fallback_config": {"enabled": False}}
                call(self._client, "PUT", f"{place}/ai-gateway", body=wanted)

    def capture(self, name: str, settings: ServingSettings) -> None:
        """Ask the endpoint's AI Gateway to write requests down, and keep all else of it.

        One read, and one write if anything is missing. A table that is there stays where it is.
        """
        place = f"/api/2.0/serving-endpoints/{segment(name)}"
        with translated(f"serving endpoint {name}'s AI Gateway"):
            found = call(self._client, "GET", place)
            gateway = found.get("ai_gateway") or {}
            missing = _gateway(settings)
            wanted = {**(missing.as_dict() if missing else {}), **gateway}
            if settings.usage_tracking:
                wanted["usage_tracking_config"] = {"enabled": True}
            if wanted != gateway:
                call(self._client, "PUT", f"{place}/ai-gateway", body=wanted)

    def granted(self, endpoint_id: str) -> frozenset[Grant]:
        """Who was given what on an endpoint, itself and not by inheritance."""
        with translated("the endpoint's permissions"):
            found = self._api.get_permissions(segment(endpoint_id))
        return frozenset(
            Grant(kind, name, one.permission_level.value)
            for entry in found.access_control_list or ()
            for kind, name in (
                ("group", entry.group_name),
                ("user", entry.user_name),
                ("service_principal", entry.service_principal_name),
            )
            for one in entry.all_permissions or ()
            if name and one.permission_level and not one.inherited
        )

    def grant(self, name: str, grants: Collection[Grant]) -> None:
        """Ask for permissions on an endpoint, and keep what others have. One read, one write."""
        found = self.detail(name)
        if found is None or not found.id:
            raise Refused(f"serving endpoint {name}: it is not there, or tells no id of its own")
        with translated(f"serving endpoint {name}'s permissions"):
            self._api.update_permissions(
                segment(found.id), access_control_list=[_access(one) for one in sorted(grants)]
            )

    def served(self) -> Mapping[str, tuple[str, ...]]:
        """The registered models that each endpoint serves, by its name; none of other endpoints."""
        with translated("serving endpoints"):
            return {
                one.name: tuple(
                    entity.entity_name
                    for entity in (one.config and one.config.served_entities) or ()
                    if entity.entity_name and entity.entity_version
                )
                for one in self._api.list()
                if one.name
            }

    def detail(self, name: str) -> ServingEndpointDetailed | None:
        """The endpoint as the API describes it; None where there is none."""
        with translated(f"serving endpoint {name}"):
            try:
                return self._api.get(segment(name))
            except NotFound as error:
                if error.error_code in NOT_THE_API:
                    raise Unreachable(
                        f"serving endpoint {name}: what answers is not the serving API: "
                        "check DATABRICKS_HOST; Headgate looks again"
                    ) from error
                return None


def _traffic(serving: Serving) -> TrafficConfig:
    """Everybody's share, a route for each entity."""
    return TrafficConfig(
        routes=[
            Route(served_entity_name=entity, traffic_percentage=share.weight)
            for entity, share in serving.shares.items()
        ]
    )


def _entities(
    serving: Serving,
    settings: ServingSettings,
    found: ServingEndpointDetailed | None,
    sizes: Mapping[str, Size],
) -> list[ServedEntityInput]:
    """Every entity in full: sized as asked, else as found, else as configured."""
    known: dict[str | None, ServedEntityOutput] = {}
    for config in (found and found.pending_config, found and found.config):
        known |= {entity.name: entity for entity in (config and config.served_entities) or ()}
    return [
        _kept(known[name], name, share, settings)
        if name in known and name not in sizes
        else _sized(name, share, settings, sizes.get(name, settings.size))
        for name, share in serving.shares.items()
    ]


def _sized(name: str, share: Share, settings: ServingSettings, size: Size) -> ServedEntityInput:
    """An entity that is new, or gets another size; variables are for our own model alone."""
    own = share.model == settings.model
    return ServedEntityInput(
        name=name,
        entity_name=share.model,
        entity_version=share.version,
        workload_size=size.workload_size if size.max_concurrency is None else None,
        min_provisioned_concurrency=size.min_concurrency,
        max_provisioned_concurrency=size.max_concurrency,
        workload_type=ServingModelWorkloadType(size.workload_type),
        # Always said: an update without it fails (databricks/terraform-provider-databricks#4064).
        scale_to_zero_enabled=size.scale_to_zero,
        environment_vars=dict(settings.environment) if own else None,
        instance_profile_arn=settings.instance_profile if own else None,
    )


def _kept(
    found: ServedEntityOutput, name: str, share: Share, settings: ServingSettings
) -> ServedEntityInput:
    """An entity that is there: its size is its owner's, and stays as it was found."""
    own = share.model == settings.model
    # A concurrency that was set stays set; the server may fill in a workload_size beside it,
    # and the two exclude each other.
    by_concurrency = found.max_provisioned_concurrency is not None
    environment = settings.environment if own else found.environment_vars
    external = found.external_model is not None
    return ServedEntityInput(
        name=name,
        entity_name=None if external else share.model,
        entity_version=None if external else share.version or None,
        external_model=found.external_model,
        workload_size=None if by_concurrency else found.workload_size,
        min_provisioned_concurrency=found.min_provisioned_concurrency,
        max_provisioned_concurrency=found.max_provisioned_concurrency,
        min_provisioned_throughput=found.min_provisioned_throughput,
        max_provisioned_throughput=found.max_provisioned_throughput,
        provisioned_model_units=found.provisioned_model_units,
        workload_type=found.workload_type,
        scale_to_zero_enabled=None if external else bool(found.scale_to_zero_enabled),
        environment_vars=dict(environment or {}),
        instance_profile_arn=found.instance_profile_arn
        or (settings.instance_profile if own else None),
    )


def _gateway(settings: ServingSettings) -> AiGatewayConfig | None:
    """What an endpoint's AI Gateway should do at least."""
    table, usage = settings.inference_table, settings.usage_tracking
    if table is None and not usage:
        return None
    return AiGatewayConfig(
        inference_table_config=AiGatewayInferenceTableConfig(
            catalog_name=table.catalog,
            schema_name=table.schema,
            table_name_prefix=table.prefix,
            enabled=True,
        )
        if table is not None
        else None,
        usage_tracking_config=AiGatewayUsageTrackingConfig(enabled=True) if usage else None,
    )


def _access(grant: Grant) -> ServingEndpointAccessControlRequest:
    """A permission as the API takes it."""
    return ServingEndpointAccessControlRequest(
        group_name=grant.name if grant.kind == "group" else None,
        user_name=grant.name if grant.kind == "user" else None,
        service_principal_name=grant.name if grant.kind == "service_principal" else None,
        permission_level=ServingEndpointPermissionLevel(grant.level),
    )
