"""What `headgate init` finds out about an endpoint, or a model, before it writes anything."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from databricks.sdk.service.serving import ServedEntityOutput, ServingEndpointDetailed

from controller.places import meant
from controller.sections.base import NAME
from controller.sections.serving import SECRET
from controller.settings import MODEL_PARTS, SettingsError
from controller.workspace import decode, json_text
from controller.workspace.client import connect
from controller.workspace.errors import WorkspaceError
from controller.workspace.mlflow_reader import MlflowReader
from controller.workspace.registry import READY, Registry
from controller.workspace.serving import Endpoints
from states.world import Size

PREFERRED = ("production", "prod", "champion")
"""Aliases in the order in which one is taken, where several name the version that serves."""
DEADLINE_S = 30


@dataclass(frozen=True, kw_only=True)
class Found:
    """An application as it is today, as far as the workspace tells."""

    endpoint: str
    model: str
    version: str | None
    """That with most traffic; of a model without an endpoint, the newest that is READY."""
    share: int | None = None
    """Its percentage of traffic; None without an endpoint."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """The version that each alias of the model names."""
    size: Size | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables that are told because they only point at a secret."""
    profile: str | None = None
    table: str | None = None
    signature: Mapping[str, Any] = field(default_factory=dict)
    example: Mapping[str, Any] | None = None
    """The request of the model's input example."""
    troubles: tuple[str, ...] = ()
    """What could not be read, and why."""

    @property
    def exists(self) -> bool:
        """Whether there is an endpoint already."""
        return self.share is not None

    @property
    def alias(self) -> str:
        """The alias that names what serves; else the usual one."""
        named = [alias for alias, version in self.aliases.items() if version == self.version]
        known = [alias for alias in PREFERRED if alias in named]
        return next(iter([*known, *sorted(named)]), PREFERRED[0])


@dataclass(frozen=True)
class Finder:
    """Looks at a workspace: `SettingsError` for what it lacks, WorkspaceError if it refuses."""

    endpoints: Endpoints
    registry: Registry
    mlflow: MlflowReader

    @classmethod
    def connected(cls) -> Self:
        """One for the workspace that Databricks' unified authentication names."""
        client = connect()
        return cls(Endpoints(client), Registry(client), MlflowReader(DEADLINE_S))

    def custom(self) -> dict[str, tuple[str, ...]]:
        """The endpoints that serve registered models, and which."""
        return {name: models for name, models in self.endpoints.served().items() if models}

    def endpoint(self, name: str) -> Found:
        """What an endpoint serves, and how."""
        detail = self.endpoints.detail(name)
        if detail is None:
            there = list(self.custom())
            told = meant(name, there, "there is") if there else ""
            raise SettingsError(
                f"there is no serving endpoint {name}{told}: or say --model catalog.schema.model, "
                "if Headgate is to create it"
            )
        seen = decode.endpoint(name, detail)
        serving = seen.serving if seen.serving.shares else seen.pending or seen.serving
        entity, share = max(
            ((one, share) for one, share in serving.shares.items() if share.version),
            key=lambda pair: pair[1].weight,
            default=(None, None),
        )
        if entity is None or share is None or share.model.count(".") != MODEL_PARTS - 1:
            raise SettingsError(
                f"serving endpoint {name} serves no registered model of Unity Catalog: Headgate "
                "releases versions, which foundation and external models do not have"
            )
        served = _entity(detail, entity)
        found = self._model(share.model, share.version)
        return Found(
            endpoint=name,
            model=share.model,
            version=share.version,
            share=share.weight,
            size=seen.sizes.get(entity),
            secrets=_secrets(served),
            profile=served.instance_profile_arn if served else None,
            table=seen.inference_table,
            **found,
        )

    def model(self, model: str, endpoint: str | None) -> Found:
        """What is known of a model that has no endpoint yet."""
        parts = model.split(".")
        if len(parts) != MODEL_PARTS or not all(NAME.match(part) for part in parts):
            raise SettingsError(f"--model {model}: name it as catalog.schema.model")
        named = endpoint or f"{parts[-1].replace('_', '-')}-endpoint"
        if self.endpoints.detail(named) is not None:
            told = f"serving endpoint {named} is there already: say --endpoint {named} alone, or "
            raise SettingsError(f"{told}another name for the one that Headgate is to create")
        if not self.registry.model_exists(model):
            there = self._siblings(model)
            near = meant(model, there, "its schema has") if there else ""
            raise SettingsError(f"there is no registered model {model}{near}")
        ready = [
            one.version for one in self.registry.versions(model, detail=()) if one.status == READY
        ]
        version = ready[-1] if ready else None
        found = self._model(model, version) if version else {}
        if version is None:
            found = {
                "troubles": (f"{model} has no version that is READY: nothing was read of one",)
            }
        return Found(endpoint=named, model=model, version=version, **found)

    def _siblings(self, model: str) -> tuple[str, ...]:
        """The models beside one; none where they may not be listed: it is only a help."""
        try:
            return self.registry.siblings(model)
        except WorkspaceError:
            return ()

    def _model(self, model: str, version: str) -> dict[str, Any]:
        """Aliases, signature and example of a version; what cannot be read is a trouble."""
        found: dict[str, Any] = {}
        troubles = []
        reads: dict[str, Callable[[], object]] = {
            "aliases": lambda: self.registry.aliases(model),
            "signature": lambda: self.mlflow.signature(model, version),
            "example": lambda: _request(self.mlflow.example(model, version)),
        }
        for name, read in reads.items():
            try:
                found[name] = read()
            except WorkspaceError as error:
                troubles.append(str(error))
        return {**found, "troubles": tuple(troubles)}


def _entity(detail: ServingEndpointDetailed, name: str) -> ServedEntityOutput | None:
    entities = (detail.config and detail.config.served_entities) or ()
    return next((one for one in entities if one.name == name), None)


def _secrets(served: ServedEntityOutput | None) -> dict[str, str]:
    """What points at a secret; a value in plain words may be one, and is not repeated."""
    told = (served and served.environment_vars) or {}
    return {name: value for name, value in told.items() if SECRET.fullmatch(value)}


def _request(text: str | None) -> Mapping[str, Any] | None:
    if text is None:
        return None
    try:
        found = json_text.read(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
