"""Serving endpoints: what one serves, and the single full-state write that changes it.

Facts of the API (databricks-sdk 0.156, `service/serving.py`; Databricks' documentation): a PUT of
the configuration replaces all of it; GET does not return plaintext environment variables; an
endpoint that was never deployed has only a pending configuration; one update at a time, else 409.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound
from databricks.sdk.service.serving import (
    AiGatewayConfig,
    AiGatewayInferenceTableConfig,
    EndpointCoreConfigInput,
    EndpointTag,
    Route,
    ServedEntityInput,
    ServedEntityOutput,
    ServingEndpointDetailed,
    ServingModelWorkloadType,
    TrafficConfig,
)

from controller.workspace import decode
from controller.workspace.client import translated
from controller.workspace.errors import Refused, Unreachable, WorkspaceError
from controller.workspace.names import segment
from states.world import Absent, Endpoint, Serving, Share

OWNER_TAG = EndpointTag(key="headgate.owner", value="headgate")
"""On every endpoint that Headgate created."""
RELEASE_TAG = "headgate.release"
"""On a staging endpoint: for which attempt of which release it was created."""
NOT_THE_API = ("NOT_FOUND", "ENDPOINT_NOT_FOUND")
"""Codes of a 404 that says nothing of the endpoint: the SDK's for an HTML page, such as a proxy's,
and Databricks' for a path that it does not have. An endpoint missed so must not seem deleted."""
ALL = 100
"""Traffic in percent: the routes of a configuration share all of it."""


@dataclass(frozen=True)
class Size:
    """How big a newly served version is; versions already there keep the size they have.

    `workload_size` and the two concurrencies (requests at a time, multiples of 4) exclude each
    other. Without scale to zero by default: a version that sleeps cannot be gone back to.
    """

    workload_size: str | None = "Small"
    min_concurrency: int | None = None
    max_concurrency: int | None = None
    workload_type: str = "CPU"
    scale_to_zero: bool = False


@dataclass(frozen=True)
class TableLocation:
    """Where AI Gateway writes the requests of an endpoint that Headgate creates."""

    catalog: str
    schema: str
    prefix: str | None = None
    """The table is `<prefix>_payload`; None: the endpoint's name."""


@dataclass(frozen=True, kw_only=True)
class ServingSettings:
    """What the configuration says of serving an application's own model."""

    model: str
    """The application's registered model, `catalog.schema.name`."""
    size: Size = Size()
    environment: Mapping[str, str] = field(default_factory=dict)
    """For every version of `model`; secrets as `{{secrets/scope/key}}`."""
    instance_profile: str | None = None
    inference_table: TableLocation | None = None


class Endpoints:
    """The serving endpoints of a workspace."""

    def __init__(self, client: WorkspaceClient) -> None:
        self._client, self._api = client, client.serving_endpoints

    def observe(self, name: str) -> Endpoint | Absent:
        """The endpoint as it is now."""
        detail = self.detail(name)
        return Absent() if detail is None else decode.endpoint(name, detail)

    def serve(self, name: str, serving: Serving, settings: ServingSettings) -> None:
        """Ask the endpoint to serve exactly this, creating it if it is absent.

        One read and one write. Returning means that the workspace accepted it, not that it is so.
        """
        assert sum(share.weight for share in serving.shares.values()) == ALL, serving
        try:
            found = self.detail(name)
        except WorkspaceError as error:
            error.outcome = "unsent"
            raise
        entities = _entities(serving, settings, found)
        traffic = _traffic(serving)
        with translated(f"serving endpoint {name}"):
            if found is None:
                self._api.create(
                    name,
                    config=EndpointCoreConfigInput(
                        name=name, served_entities=entities, traffic_config=traffic
                    ),
                    ai_gateway=_gateway(settings.inference_table),
                    tags=[OWNER_TAG],
                )
            else:
                self._api.update_config(
                    segment(name), served_entities=entities, traffic_config=traffic
                )

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
                    served_entities=_entities(serving, settings, None),
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

    def switch_fallback_off(self, name: str) -> None:
        """Ask the endpoint's AI Gateway to leave errors as they are, and keep all else of it.

        One read, and one write if it is on. A PUT replaces everything, so what was read is sent
        back word for word: the SDK's types would lose what they do not know.
        """
        place = f"/api/2.0/serving-endpoints/{segment(name)}"
        with translated(f"serving endpoint {name}'s AI Gateway"):
            found: Any = self._client.api_client.do("GET", place)
            gateway = found.get("ai_gateway") or {}
            if (gateway.get("fallback_config") or {}).get("enabled"):
                wanted = {**gateway, "fallback_config": {"enabled": False}}
                self._client.api_client.do("PUT", f"{place}/ai-gateway", body=wanted)

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
    return TrafficConfig(
        routes=[
            Route(served_entity_name=entity, traffic_percentage=share.weight)
            for entity, share in serving.shares.items()
        ]
    )


def _entities(
    serving: Serving, settings: ServingSettings, found: ServingEndpointDetailed | None
) -> list[ServedEntityInput]:
    """Every entity in full: sizes as found, else as configured; environment as configured."""
    known: dict[str | None, ServedEntityOutput] = {}
    for config in (found and found.pending_config, found and found.config):
        known |= {entity.name: entity for entity in (config and config.served_entities) or ()}
    return [
        _kept(known[name], name, share, settings) if name in known else _new(name, share, settings)
        for name, share in serving.shares.items()
    ]


def _new(name: str, share: Share, settings: ServingSettings) -> ServedEntityInput:
    """An entity that the endpoint does not have yet."""
    size = settings.size
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
        environment_vars=dict(settings.environment),
        instance_profile_arn=settings.instance_profile,
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


def _gateway(table: TableLocation | None) -> AiGatewayConfig | None:
    if table is None:
        return None
    return AiGatewayConfig(
        inference_table_config=AiGatewayInferenceTableConfig(
            catalog_name=table.catalog,
            schema_name=table.schema,
            table_name_prefix=table.prefix,
            enabled=True,
        )
    )
