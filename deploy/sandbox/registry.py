"""The registry of models: what serving and the Files API ask of it, and its routes."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import yaml
from starlette.routing import Route

from deploy.sandbox.catalog import FAILED, PENDING, READY, Store, directory
from deploy.sandbox.dialects import Legacy, Native
from deploy.sandbox.wire import (
    ApiError,
    Json,
    invalid,
)
from deploy.sandbox.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """One version of a registered model, as serving sees it."""

    name: str
    """Three levels: catalog, schema and model."""
    version: str
    status: str
    """PENDING_REGISTRATION, READY or FAILED_REGISTRATION; only READY can be served."""
    has_signature: bool
    """Whether its MLmodel file, read when it was finalized, declares a signature."""
    path: Path
    """The directory of this machine that holds its MLmodel file and the rest."""


def _declares_signature(mlmodel: Path) -> bool:
    """Whether this MLmodel file declares a signature; ValueError where it is no MLmodel file."""
    try:
        content = yaml.safe_load(mlmodel.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"the MLmodel file cannot be read: {error}") from error
    if not isinstance(content, dict) or "flavors" not in content:
        raise ValueError("the MLmodel file names no flavors")
    return bool(content.get("signature"))


class Registry:
    """The registry's routes in both dialects, and what serving and the Files API ask of it."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.store = Store(workspace)
        self.legacy = Legacy(self)
        self.native = Native(self)

    def version(self, full_name: str, version: str) -> ModelVersion | None:
        """A version of a model; none where there is no such model or version."""
        if not (version.isascii() and version.isdigit()):
            return None
        found = self.store.rows(
            "SELECT * FROM model_versions WHERE model = ? AND version = ?", full_name, int(version)
        )
        if not found:
            return None
        row = found[0]
        return ModelVersion(
            name=row["model"],
            version=str(row["version"]),
            status=row["status"],
            has_signature=bool(row["has_signature"]),
            path=self.workspace.files.path(directory(row["model"], row["version"])),
        )

    def check_writable(self, path: str) -> None:
        """Refuse a write to a version's files unless the version still waits to be finalized."""
        parts = path.strip("/").split("/")
        if parts[0] != "Models":
            return
        if len(parts) < 5 or not parts[4].isdigit():  # noqa: PLR2004 - /Models/c/s/m/v
            raise invalid(f"Invalid path: {path} names no version of a model")
        row = self.store.version(".".join(parts[1:4]), int(parts[4]))
        if row["status"] != PENDING:
            raise ApiError(
                403,
                "PERMISSION_DENIED",
                f"The files of version {row['version']} of {row['model']} cannot change: "
                f"its status is {row['status']}",
            )

    def finalize(self, name: str, version: int, who: str) -> sqlite3.Row:
        """The version after its upload has ended: READY, or FAILED_REGISTRATION.

        What has no readable MLmodel file fails. A version that was finalized before stays as it
        is, because clients repeat the call when its answer is lost.
        """
        row = self.store.version(name, version)
        if row["status"] != PENDING:
            return row
        mlmodel = self.workspace.files.path(directory(name, version)) / "MLmodel"
        changes: Json
        try:
            changes = {"status": READY, "has_signature": int(_declares_signature(mlmodel))}
        except ValueError as error:
            changes = {"status": FAILED, "status_message": f"Invalid model: {error}"}
        return self.store.update_version(name, version, changes, who)

    def delete_model(self, name: str) -> None:
        """Delete a model and the files of all its versions."""
        self.store.delete_model(name)
        self.workspace.files.remove_tree(f"/Models/{name.replace('.', '/')}")

    def delete_version(self, name: str, version: int) -> None:
        """Delete a version and its files."""
        self.store.delete_version(name, version)
        self.workspace.files.remove_tree(directory(name, version))

    def routes(self) -> list[Route]:
        """Both dialects."""
        return [*self.legacy.routes(), *self.native.routes()]
