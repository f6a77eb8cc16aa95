"""What the serving API answers, read strictly: what is not understood is an error, never a guess.

The SDK turns a word that it does not know into None, so None where the API promises a word means
that Databricks says something which this version of Headgate cannot act upon.
"""

from collections.abc import Iterator
from sys import intern
from typing import TypeVar

from databricks.sdk.service.serving import (
    EndpointCoreConfigOutput,
    EndpointPendingConfig,
    EndpointStateConfigUpdate,
    ServedEntityOutput,
    ServedModelStateDeployment,
    ServingEndpointDetailed,
)

from controller.sections.base import interned
from controller.workspace.errors import WorkspaceError
from policies.rollout import WHOLE
from states.world import Endpoint, Serving, Share, Size

Config = EndpointCoreConfigOutput | EndpointPendingConfig
Value = TypeVar("Value")
NONE = frozenset[str]()

FAILED_UPDATES = (
    EndpointStateConfigUpdate.UPDATE_FAILED,
    # Cancelled in the serving UI: as with a failure, the wanted state did not come about.
    EndpointStateConfigUpdate.UPDATE_CANCELED,
)


def endpoint(name: str, detail: ServingEndpointDetailed) -> Endpoint:
    """An endpoint as the core understands it."""
    place = f"serving endpoint {name}"
    state = _required(detail.state, place, "state")
    update = _required(state.config_update, place, "state.config_update")
    _required(state.ready, place, "state.ready")
    active, pending = detail.config, detail.pending_config
    gateway = detail.ai_gateway
    fallback = gateway.fallback_config if gateway else None
    usage = gateway.usage_tracking_config if gateway else None
    return Endpoint(
        serving=_serving(place, active) if active else Serving(),
        pending=_serving(place, pending) if pending else None,
        updating=update is EndpointStateConfigUpdate.IN_PROGRESS,
        update_failed=update in FAILED_UPDATES,
        id=detail.id or "",
        created_ms=detail.creation_timestamp or 0,
        config_version=(active.config_version or 0) if active else 0,
        ready=frozenset(_in(place, active, ServedModelStateDeployment.DEPLOYMENT_READY)),
        failed=frozenset(_in(place, active, ServedModelStateDeployment.DEPLOYMENT_FAILED))
        | frozenset(_in(place, pending, ServedModelStateDeployment.DEPLOYMENT_FAILED))
        # Python makes each empty one anew, and thousands of endpoints are remembered.
        or NONE,
        fallback=bool(fallback and fallback.enabled),
        route_optimized=bool(detail.route_optimized),
        inference_table=_inference_table(name, detail),
        owner=tag(detail, "headgate.owner"),
        made_for=tag(detail, "headgate.release"),
        concurrency=_concurrency(active),
        sizes=_sizes(active),
        capture_off=_capture_off(detail),
        usage_tracking=bool(usage and usage.enabled),
    )


def tag(detail: ServingEndpointDetailed, key: str) -> str:
    """What a tag of an endpoint says; empty without it."""
    return next((one.value or "" for one in detail.tags or () if one.key == key), "")


def _required(value: Value | None, place: str, what: str) -> Value:
    """A value that the API promises."""
    if value is None:
        raise WorkspaceError(
            f"{place}: {what} is missing, or is a word that this version of Headgate does not "
            "know: nothing is done to the endpoint until it is understood; update Headgate"
        )
    return value


def _serving(place: str, config: Config) -> Serving:
    """Who serves what in a configuration, by its own routes."""
    entities = {
        _required(entity.name, place, "a served entity's name"): entity
        for entity in config.served_entities or ()
    }
    weights = _weights(place, config, list(entities))
    return Serving(
        {
            _once(name): Share(
                model=_once(_required(_model(entity), place, f"the model of {name}")),
                version=entity.entity_version or "",
                weight=weights.get(name, 0),
            )
            for name, entity in entities.items()
        }
    )


def _once(name: str) -> str:
    """A name, as the same object wherever it is read; what others wrote may be no text at all."""
    return intern(name) if type(name) is str else name


def _model(entity: ServedEntityOutput) -> str | None:
    """What an entity serves, whatever its kind; only registered models have versions."""
    if entity.entity_name:
        return entity.entity_name
    if entity.external_model:
        return entity.external_model.name
    return entity.foundation_model.name if entity.foundation_model else None


def _weights(place: str, config: Config, names: list[str]) -> dict[str, int]:
    """The percentage of each routed entity; a sole entity without routes has everything."""
    routes = (config.traffic_config and config.traffic_config.routes) or []
    if not routes:
        if len(names) > 1:
            raise WorkspaceError(
                f"{place}: several entities and no routes: who gets traffic is unknown"
            )
        return dict.fromkeys(names, WHOLE)
    weights: dict[str, int] = {}
    for route in routes:
        name = route.served_entity_name or route.served_model_name
        if name not in names:
            raise WorkspaceError(
                f"{place}: a route leads to no entity: who gets traffic is unknown"
            )
        weights[name] = _required(route.traffic_percentage, place, "a route's percentage")
    return weights


def _in(place: str, config: Config | None, wanted: ServedModelStateDeployment) -> Iterator[str]:
    """Names of the entities in a state of deployment."""
    for entity in (config.served_entities if config else None) or ():
        if entity.state is None and isinstance(config, EndpointPendingConfig):
            continue  # not begun
        state = _required(entity.state, place, f"the state of {entity.name}")
        if _required(state.deployment, place, f"the deployment of {entity.name}") is wanted:
            yield _once(entity.name or "")


def _inference_table(name: str, detail: ServingEndpointDetailed) -> str | None:
    """Databricks names the table after the prefix, or after the endpoint."""
    table = detail.ai_gateway and detail.ai_gateway.inference_table_config
    if not table or not table.enabled or not table.catalog_name or not table.schema_name:
        return None
    return f"{table.catalog_name}.{table.schema_name}.{table.table_name_prefix or name}_payload"


def _capture_off(detail: ServingEndpointDetailed) -> bool:
    """A table is set up and not enabled: somebody has switched it off."""
    table = detail.ai_gateway and detail.ai_gateway.inference_table_config
    return bool(table and not table.enabled)


def _sizes(active: Config | None) -> dict[str, Size]:
    """How big each entity is that serves a registered model."""
    return {
        _once(entity.name or ""): interned(size(entity))
        for entity in (active.served_entities if active else None) or ()
        if entity.entity_version
    }


def size(entity: ServedEntityOutput) -> Size:
    """An entity's size. A concurrency that was set holds, whatever is filled in beside it."""
    ranged = entity.max_provisioned_concurrency is not None
    return Size(
        workload_size=None if ranged else entity.workload_size,
        min_concurrency=entity.min_provisioned_concurrency if ranged else None,
        max_concurrency=entity.max_provisioned_concurrency if ranged else None,
        workload_type=entity.workload_type.value if entity.workload_type else "CPU",
        scale_to_zero=bool(entity.scale_to_zero_enabled),
    )


def _concurrency(active: Config | None) -> dict[str, int]:
    """How many requests in flight each entity is provisioned for, where it is told."""
    entities = (active.served_entities if active else None) or ()
    found = {_once(entity.name or ""): size(entity).room[1] for entity in entities}
    return {name: most for name, most in found.items() if most is not None}
