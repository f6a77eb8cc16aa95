"""What an endpoint is asked to be: reading and refusing its configuration, and echoing it back."""

import re
import uuid
from dataclasses import dataclass, field
from typing import Any

from deploy.sandbox.wire import ApiError, Json, invalid, missing, not_modelled
from deploy.sandbox.workspace import Workspace

NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
MOST_ENTITIES = 15
"""The platform's real cap: its message says that there cannot be more than 15 elements."""

CONCURRENCY = {"Small": (4, 4), "Medium": (8, 16), "Large": (16, 64)}
"""Provisioned concurrent requests of each workload size, least and most."""

WORKLOAD_TYPES = frozenset(
    (
        *("CPU", "CPU_MEDIUM", "CPU_LARGE", "GPU_SMALL", "GPU_MEDIUM", "GPU_LARGE"),
        *("GPU_XLARGE", "GPU_XLARGE_8", "MULTIGPU_MEDIUM"),
    )
)
_THROUGHPUT = ("min_provisioned_throughput", "max_provisioned_throughput")
_RANGE = ("min_provisioned_concurrency", "max_provisioned_concurrency")
_OTHER_KINDS = ("external_model", "foundation_model", "provisioned_model_units")
_SECRET = re.compile(r"\{\{\s*secrets/([^/{}\s]+)/([^/{}\s]+)\s*\}\}")
_WHOLE = 100


@dataclass(frozen=True, kw_only=True)
class Entity:
    """One served entity as asked for, with what the workspace has given it."""

    name: str
    entity_name: str
    entity_version: str
    workload_type: str
    workload_size: str | None
    min_concurrency: int
    max_concurrency: int
    scale_to_zero: bool
    environment: dict[str, str]
    instance_profile_arn: str | None = None
    served_entity_id: str = ""
    """32 hex digits, given when the entity enters a configuration, kept while it is unchanged."""
    creator: str = ""
    created_ms: int = 0

    def wish(self) -> tuple[Any, ...]:
        """What the user asked for: entities with equal wishes share one running process."""
        return (
            *(self.name, self.entity_name, self.entity_version, self.workload_type),
            *(self.workload_size, self.min_concurrency, self.max_concurrency),
            *(self.scale_to_zero, self.instance_profile_arn, *sorted(self.environment.items())),
        )

    def echo(self, state: Json) -> Json:
        """The entity as GET shows it: defaults filled in, and no plaintext of its environment."""
        shown: Json = {
            "name": self.name,
            "entity_name": self.entity_name,
            "entity_version": self.entity_version,
            "workload_type": self.workload_type,
            "scale_to_zero_enabled": self.scale_to_zero,
            "creator": self.creator,
            "creation_timestamp": self.created_ms,
            "state": state,
        }
        if self.workload_size is None:
            shown[_RANGE[0]] = self.min_concurrency
            shown[_RANGE[1]] = self.max_concurrency
        else:
            shown["workload_size"] = self.workload_size
        told = {name: one for name, one in self.environment.items() if secret_of(one)}
        if told:
            shown["environment_vars"] = told
        if self.instance_profile_arn is not None:
            shown["instance_profile_arn"] = self.instance_profile_arn
        return shown


@dataclass(frozen=True, kw_only=True)
class Config:
    """One configuration of an endpoint: its entities and where the traffic goes."""

    version: int
    entities: tuple[Entity, ...]
    routes: dict[str, int]
    """Percent of the traffic by served entity name; an entity without a route gets none."""
    start_ms: int = 0

    def entity(self, name: str) -> Entity | None:
        """The entity of that name, if this configuration has it."""
        return next((entity for entity in self.entities if entity.name == name), None)

    def echo(self, states: dict[str, Json]) -> Json:
        """The configuration as GET shows it: both spellings of everything, in sorted order."""
        entities = sorted(self.entities, key=lambda entity: entity.name)
        shown = [entity.echo(states[entity.served_entity_id]) for entity in entities]
        models = [_as_model(entity) for entity in shown]
        routes = [
            {"served_model_name": name, "served_entity_name": name, "traffic_percentage": share}
            for name, share in sorted(self.routes.items())
        ]
        return {
            "served_entities": shown,
            "served_models": models,
            "traffic_config": {"routes": routes},
            "config_version": self.version,
        }


@dataclass
class Record:
    """What the workspace keeps of an endpoint, and finds again after a restart."""

    name: str
    id: str
    creator: str
    created_ms: int
    updated_ms: int
    config: Config | None = None
    pending: Config | None = None
    config_update: str = "NOT_UPDATING"
    failures: dict[str, str] = field(default_factory=dict)
    """Why entities of a failed update failed, by served_entity_id."""
    tags: dict[str, str] = field(default_factory=dict)
    ai_gateway: Json | None = None
    grants: dict[str, str] = field(default_factory=dict)
    """Permission levels by "kind:name" of who has them."""


def _as_model(entity: Json) -> Json:
    """The older spelling of a served entity."""
    rest = {key: value for key, value in entity.items() if not key.startswith("entity_")}
    return {
        **rest,
        "model_name": entity["entity_name"],
        "model_version": entity["entity_version"],
    }


def new_id() -> str:
    """32 hexadecimal digits, the form of the platform's ids."""
    return uuid.uuid4().hex


def check_name(name: Any) -> str:  # noqa: ANN401 - it is whatever the client sent
    """Read an endpoint's name, or refuse it."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise invalid(
            "Endpoint name must be 1 to 63 characters: letters, digits, hyphens and underscores."
        )
    if name.startswith("databricks-"):
        raise invalid("Endpoint names that begin with 'databricks-' are reserved.")
    return name


def read_config(body: Json, workspace: Workspace, version: int) -> Config:
    """Read the wanted configuration, refusing what the platform refuses."""
    if body.get("auto_capture_config"):
        raise invalid(
            "auto_capture_config is no longer supported: use ai_gateway.inference_table_config."
        )
    if body.get("served_models"):
        raise not_modelled("the deprecated served_models input: send served_entities")
    wanted = body.get("served_entities")
    if wanted is None:
        raise not_modelled("a configuration without served_entities: send the full list")
    if not isinstance(wanted, list) or not wanted:
        raise invalid("served_entities must be a list of at least one entity.")
    if len(wanted) > MOST_ENTITIES:
        # The older name: the agents library looks for these words.
        raise invalid(f"served_models cannot contain more than {MOST_ENTITIES} elements.")
    entities = tuple(_entity(one, workspace) for one in wanted)
    names = [entity.name for entity in entities]
    models = [(entity.entity_name, entity.entity_version) for entity in entities]
    if len(set(names)) < len(names):
        raise invalid("Served entity names must be unique within an endpoint.")
    if len(set(models)) < len(models):
        raise ApiError(
            400,
            "BAD_REQUEST",
            "Cannot create 2+ served entities with the same entity name and version.",
        )
    routes = read_routes(body.get("traffic_config"), names)
    return Config(version=version, entities=entities, routes=routes, start_ms=workspace.now_ms())


def _entity(wanted: Any, workspace: Workspace) -> Entity:  # noqa: ANN401
    """Read one served entity."""
    if not isinstance(wanted, dict):
        raise invalid("A served entity must be an object.")
    if any(wanted.get(key) is not None for key in _OTHER_KINDS):
        raise not_modelled("served entities other than registered models")
    model, version = wanted.get("entity_name"), wanted.get("entity_version")
    if not isinstance(model, str) or not model:
        raise invalid("A served entity needs an entity_name.")
    if isinstance(version, int) and not isinstance(version, bool):
        version = str(version)  # as Databricks' own agents library sends it
    if not isinstance(version, str) or not version.isascii() or not version.isdigit():
        raise invalid(
            f"entity_version of {model} must be a version number, not {version!r}; "
            "aliases are not accepted."
        )
    if any(wanted.get(key) is not None for key in _THROUGHPUT):
        raise invalid(
            f"Provisioned throughput is not supported for {model}: it is for foundation models."
        )
    if not isinstance(wanted.get("scale_to_zero_enabled"), bool):
        raise invalid(f"scale_to_zero_enabled must be set for the served entity of {model}.")
    # How the platform shortens a three-level name in the default is not documented.
    name = wanted.get("name") or f"{model.rsplit('.', maxsplit=1)[-1]}-{version}"
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise invalid(f"Invalid served entity name {name!r}.")
    workload_type = wanted.get("workload_type") or "CPU"
    if workload_type not in WORKLOAD_TYPES:
        raise invalid(f"Unknown workload_type {workload_type!r}.")
    size, least, most = _size(wanted)
    _check_version(model, version, workspace)
    return Entity(
        name=name,
        entity_name=model,
        entity_version=version,
        workload_type=workload_type,
        workload_size=size,
        min_concurrency=least,
        max_concurrency=most,
        scale_to_zero=wanted["scale_to_zero_enabled"],
        environment=_environment(wanted.get("environment_vars"), workspace),
        instance_profile_arn=wanted.get("instance_profile_arn"),
    )


def _size(wanted: Json) -> tuple[str | None, int, int]:
    """Workload size, and the provisioned concurrency at least and at most."""
    size = wanted.get("workload_size")
    least, most = (wanted.get(key) for key in _RANGE)
    if size is not None and (least is not None or most is not None):
        raise invalid(
            "workload_size and min/max_provisioned_concurrency cannot be specified together."
        )
    if least is None and most is None:
        size = size or "Small"
        if size not in CONCURRENCY:
            raise invalid(f"Unknown workload_size {size!r}: Small, Medium or Large.")
        return size, *CONCURRENCY[size]
    if not isinstance(least, int) or not isinstance(most, int):
        raise invalid("min_ and max_provisioned_concurrency must be given together.")
    if least < 0 or most < max(least, 4) or least % 4 or most % 4:
        raise invalid("Provisioned concurrency must be multiples of 4, the least first.")
    return None, least, most


def secret_of(value: str) -> tuple[str, str] | None:
    """Scope and key of a value that refers to a secret; None of plaintext."""
    found = _SECRET.fullmatch(value)
    return (found[1], found[2]) if found else None


def _environment(wanted: Any, workspace: Workspace) -> dict[str, str]:  # noqa: ANN401
    """Environment variables of the model's process."""
    if wanted is None:
        return {}
    if not isinstance(wanted, dict) or not all(isinstance(v, str) for v in wanted.values()):
        raise invalid("environment_vars must map names to strings.")
    for name, value in wanted.items():
        place = secret_of(value)
        if place is not None and workspace.vault.value(*place) is None:
            raise invalid(f"The secret that {name} refers to does not exist: {'/'.join(place)}.")
    return dict(wanted)


def _check_version(model: str, version: str, workspace: Workspace) -> None:
    """Refuse a model version that cannot be served."""
    found = workspace.registry.version(model, version)
    if found is None:
        raise missing(f"Model version {model} version {version} does not exist.")
    if found.status != "READY":
        raise invalid(f"Model version {model} version {version} is {found.status}, not READY.")
    if not found.has_signature:
        raise invalid(f"Model version {model} version {version} has no signature.")


def read_routes(traffic: Any, names: list[str]) -> dict[str, int]:  # noqa: ANN401
    """Read the routes: they name entities, once each, and sum to 100."""
    if traffic is None:
        if len(names) > 1:
            raise invalid("traffic_config is required with more than one served entity.")
        return {names[0]: _WHOLE}
    routes: dict[str, int] = {}
    for route in traffic.get("routes") or []:
        name = route.get("served_entity_name") or route.get("served_model_name")
        share = route.get("traffic_percentage")
        if name not in names:
            raise invalid(f"Traffic route {name!r} does not name a served entity.")
        if name in routes:
            raise invalid(f"Served entity {name!r} has two traffic routes.")
        if not isinstance(share, int) or isinstance(share, bool) or not 0 <= share <= _WHOLE:
            raise invalid("traffic_percentage must be an integer from 0 to 100.")
        routes[name] = share
    if sum(routes.values()) != _WHOLE:
        raise invalid(
            f"Traffic percentages must sum to 100, but they sum to {sum(routes.values())}."
        )
    return routes


def check_gateway(wanted: Json, before: Json | None) -> Json | None:
    """Read an AI Gateway configuration; nothing unsets it.

    Guardrails and rate limits are kept and shown; no request is judged or counted by them.
    """
    for limit in wanted.get("rate_limits") or []:
        if limit.get("renewal_period") != "minute":
            raise invalid("The renewal_period of a rate limit must be 'minute'.")
        if (limit.get("calls") is None) == (limit.get("tokens") is None):
            raise invalid("A rate limit needs either calls or tokens.")
    kept = {key: value for key, value in wanted.items() if value is not None}
    table = kept.get("inference_table_config")
    if not table or not table.get("enabled"):
        return kept or None
    for key in ("catalog_name", "schema_name"):
        if not table.get(key):
            raise invalid(f"inference_table_config needs {key}.")
    old = (before or {}).get("inference_table_config") or {}
    place = ("catalog_name", "schema_name", "table_name_prefix")
    if old.get("enabled") and any(old.get(key) != table.get(key) for key in place):
        raise invalid(
            "Inference tables must be disabled before catalog, schema or prefix can change."
        )
    return kept


def payload_table(endpoint: str, gateway: Json | None) -> tuple[str, str, str] | None:
    """Catalog, schema and name of the endpoint's inference table, while it has one."""
    table = (gateway or {}).get("inference_table_config") or {}
    if not table.get("enabled"):
        return None
    prefix = table.get("table_name_prefix") or endpoint
    return table["catalog_name"], table["schema_name"], f"{prefix}_payload"
