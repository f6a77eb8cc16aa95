"""The registry of models: what serving and the Files API ask of it, and its routes."""

import contextlib
import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.sandbox.catalog import FAILED, PENDING, READY, Store, directory
from deploy.sandbox.dialects import Legacy, Native
from deploy.sandbox.rules import RegistryFault, Rule
from deploy.sandbox.wire import ApiError, Json, invalid, read_arguments
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


_Handler = Callable[[Request], Awaitable[Response]]
_FILTERED = re.compile(r"""name\s*=\s*['"]([^'"]*)['"]""")


async def _names(request: Request) -> dict[str, str]:
    """The model and the alias that a request is about, in either dialect; empty where none."""
    asked = {**await read_arguments(request), **request.path_params}
    model = asked.get("full_name") or asked.get("name") or ""
    if asked.get("filter"):
        filtered = _FILTERED.search(str(asked["filter"]))
        model = filtered[1] if filtered is not None else ""
    return {"model": str(model), "alias": str(asked.get("alias") or "")}


class Registry:
    """The registry's routes in both dialects, and what serving and the Files API ask of it."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.store = Store(workspace)
        self.legacy = Legacy(self)
        self.native = Native(self)
        self._past: dict[Rule, sqlite3.Connection] = {}
        """What the store was when each fault of stale reads was asked for."""
        workspace.faults.came.append(self._remember)

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
        """Both dialects, with the faults of the registry around each route."""
        found = []
        for route in (*self.legacy.routes(), *self.native.routes()):
            methods = sorted((route.methods or set()) - {"HEAD"})
            found.append(Route(route.path, self._suffering(route.endpoint), methods=methods))
        return found

    def _suffering(self, handler: "_Handler") -> "_Handler":
        """The handler, as faults let it act."""

        async def handle(request: Request) -> Response:
            if "registry" not in self.workspace.faults.rules:
                self._forget()
                return await handler(request)
            names = await _names(request)
            with self._stale(request, names):
                response = await handler(request)
            faults = self.workspace.faults
            moved = (
                faults.take("registry", RegistryFault, "alias", **names) if names["alias"] else None
            )
            if moved is not None and moved[1].move_alias_to is not None:
                self.store.set_alias(names["model"], names["alias"], moved[1].move_alias_to)
            return response

        return handle

    @contextlib.contextmanager
    def _stale(self, request: Request, names: dict[str, str]) -> Iterator[None]:
        """Let a read see the past, if a fault asks for it."""
        taken = None
        if request.method == "GET":
            taken = self.workspace.faults.take("registry", RegistryFault, "read", **names)
        if taken is None:
            yield
            return
        with self.store.reading(self._past[taken[0]]):
            yield

    def _remember(self, rule: Rule) -> None:
        """Hold on to what the store is now, for a fault of stale reads."""
        self._forget()
        if "read" in rule.effect.moments() and isinstance(rule.effect, RegistryFault):
            self._past[rule] = self.workspace.database.snapshot()

    def _forget(self) -> None:
        """Let go of what no fault reads any more."""
        for rule in [rule for rule in self._past if not self.workspace.faults.stands(rule)]:
            self._past.pop(rule).close()
