"""The model registry in Unity Catalog: versions, tags, signatures and the alias."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound

from controller.workspace.client import call, translated
from controller.workspace.errors import WorkspaceError
from controller.workspace.inputs import Inputs
from controller.workspace.mlflow_reader import MlflowReader
from controller.workspace.names import segment
from controller.workspace.signatures import input_columns
from states.world import Absent, ModelVersion

log = structlog.get_logger()

SET_TAG = "/api/2.0/mlflow/unity-catalog/model-versions/set-tag"
"""The request of `MlflowClient.set_model_version_tag`, sent without MLflow's retries."""
READY = "READY"
UNREAD_S = 600.0
"""After how long files that could not be read are asked for again, where they are only useful."""
FEW = 3
"""Versions that wait for a mark, and are looked at closely at once."""


@dataclass(frozen=True)
class _Key:
    model: str
    version: str


class Registry:
    """The registered models of a workspace."""

    def __init__(self, client: WorkspaceClient, *, deadline_s: float = 30) -> None:
        self._client = client
        self._mlflow = MlflowReader(deadline_s)
        self._signatures: dict[_Key, Mapping[str, Any]] = {}
        self._unreadable: dict[_Key, str] = {}
        self._unread_until: dict[_Key, float] = {}

    def versions(  # noqa: PLR0913 - which of them are looked at closely
        self,
        model: str,
        detail: Collection[str] | None = None,
        *,
        above: int = 0,
        skip: Collection[str] = (),
        also: Collection[str] = (),
        certainly: Collection[str] = (),
    ) -> tuple[ModelVersion, ...]:
        """All versions of a model, oldest first; none of a model that does not exist.

        Those above a number are looked at closely (tags, signature), or only those in `detail`,
        and none in `skip`; and the first few of those in `also`, whatever their number: they wait
        for a mark, and where nobody may set it each look would cost a call for each of them.
        Those in `certainly` are looked at, each of them.
        """
        with translated(f"model {model}"):
            try:
                listed = list(self._client.model_versions.list(segment(model)))
            except NotFound:
                return ()
        there = {str(info.version) for info in listed}
        few = [version for version in also if version in there][:FEW]
        found = []
        for info in listed:
            if info.version is None or info.status is None:
                raise WorkspaceError(
                    f"model {model}: a version's number or status is missing, or is a word that "
                    "this version of Headgate does not know: update Headgate"
                )
            one = ModelVersion(version=str(info.version), status=info.status.value)
            wanted = one.version not in skip and (detail is None or one.version in detail)
            named = one.version in few or one.version in certainly
            close = (info.version > above and wanted) or named
            found.append(self._closely(model, one) if close else one)
        return tuple(sorted(found, key=lambda one: int(one.version)))

    def model_exists(self, model: str) -> bool:
        """Whether the model is registered, with versions or without."""
        with translated(f"model {model}"):
            try:
                self._client.registered_models.get(segment(model))
            except NotFound:
                return False
        return True

    def alias(self, model: str, alias: str) -> str | Absent:
        """The version that an alias names."""
        return self.aliases(model).get(alias, Absent())

    def aliases(self, model: str) -> Mapping[str, str]:
        """The version that each alias names; none of a model that does not exist."""
        with translated(f"model {model}"):
            try:
                # Without include_aliases the list is empty (databricks/databricks-sdk-py#868).
                found = self._client.registered_models.get(segment(model), include_aliases=True)
            except NotFound:
                return {}
        return {
            one.alias_name: str(one.version_num)
            for one in found.aliases or ()
            if one.alias_name is not None and one.version_num is not None
        }

    def siblings(self, model: str) -> tuple[str, ...]:
        """The names of the models in the schema that a model is named in."""
        catalog, schema, _ = model.split(".")
        with translated(f"model {model}"):
            listed = self._client.registered_models.list(catalog_name=catalog, schema_name=schema)
            return tuple(sorted(one.full_name for one in listed if one.full_name))

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Make an alias name a version, whatever it named before: the API cannot compare first."""
        with translated(f"alias {alias} of {model}"):
            self._client.registered_models.set_alias(segment(model), segment(alias), int(version))

    def set_tag(self, model: str, version: str, key: str, value: str) -> None:
        """Set a tag on a version, in one attempt."""
        with translated(f"tag {key} of {model} version {version}"):
            body = {"name": model, "version": version, "key": key, "value": value}
            call(self._client, "POST", SET_TAG, body=body)

    def inputs(self, model: str, version: str) -> Inputs | None:
        """What a version's signature takes; None while that is not known.

        Where files cannot be read, it may take the whole deadline to find out: not at every look.
        """
        key, now = _Key(model, version), time.monotonic()
        if now < self._unread_until.get(key, 0):
            return None
        signature = self._signature(model, version)
        if signature is None:
            self._unread_until[key] = now + UNREAD_S
            return None
        return Inputs.read(signature)

    def _closely(self, model: str, one: ModelVersion) -> ModelVersion:
        tags = self._mlflow.tags(model, one.version)
        signature = self._signature(model, one.version) if one.status == READY else None
        if signature is None:
            return replace(one, tags=tags)
        try:
            columns = input_columns(signature)
        except ValueError:
            return replace(one, tags=tags)
        return replace(one, tags=tags, has_signature=columns is not None, inputs=columns)

    def _signature(self, model: str, version: str) -> Mapping[str, Any] | None:
        """Of a version, for ever: its files do not change. None while they cannot be read.

        Artifacts may lie where Headgate cannot read (another network, another grant), which must
        not hide the versions themselves; it is said once per sentence, and stays unseen.
        """
        key = _Key(model, version)
        if key not in self._signatures:
            try:
                self._signatures[key] = self._mlflow.signature(model, version)
            except WorkspaceError as error:
                if self._unreadable.get(key) != str(error):
                    self._unreadable[key] = str(error)
                    log.warning(
                        "registry.signature_unreadable",
                        model=model,
                        version=version,
                        because=str(error),
                    )
                return None
        return self._signatures[key]
