"""The two dialects of the registry: MLflow's own and Unity Catalog's, over one store."""

import json
import re
import sqlite3
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.sandbox.catalog import directory, given_tags, levels
from deploy.sandbox.wire import (
    Json,
    invalid,
    not_modelled,
    principal,
    read_arguments,
    reply,
    text,
)

if TYPE_CHECKING:
    from deploy.sandbox.registry import Registry

LEGACY = "/api/2.0/mlflow/unity-catalog"
NATIVE = "/api/2.1/unity-catalog"
_FILTER = re.compile(r"""\s*(name|run_id)\s*=\s*(?:'([^']*)'|"([^"]*)")\s*""")


def _flag(arguments: Json, key: str) -> bool:
    return str(arguments.get(key, "false")).lower() == "true"


def _no_deployment_job(arguments: Json) -> None:
    if arguments.get("deployment_job_id"):
        raise not_modelled("deployment jobs, which `deployment_job_id` asks for")


class Legacy:
    """MLflow's dialect: names whole, versions texts, everything by POST bodies and queries."""

    def __init__(self, registry: "Registry") -> None:
        self.registry = registry
        self.store = registry.store

    def _model(self, row: sqlite3.Row, *, whole_record: bool = True) -> Json:
        """A registered model; a search leaves out its aliases and tags."""
        name = row["full_name"]
        body: Json = {
            "name": name,
            "creation_timestamp": row["created_at"],
            "last_updated_timestamp": row["updated_at"],
            "user_id": row["created_by"],
            "description": row["comment"],
        }
        if whole_record:
            body["aliases"] = [
                {"alias": alias["alias"], "version": str(alias["version"])}
                for alias in self.store.aliases(name)
            ]
            body["tags"] = self.store.tags(name)
        return body

    def _version(self, row: sqlite3.Row, *, whole_record: bool = True) -> Json:
        """A version; a search leaves out its aliases and tags."""
        name, version = row["model"], row["version"]
        body: Json = {
            "name": name,
            "version": str(version),
            "creation_timestamp": row["created_at"],
            "last_updated_timestamp": row["updated_at"],
            "user_id": row["created_by"],
            "description": row["comment"],
            "source": row["source"],
            "run_id": row["run_id"],
            "run_tracking_server_id": row["run_workspace_id"],
            "status": row["status"],
            "status_message": row["status_message"],
            "storage_location": directory(name, version),
            "model_id": row["model_id"],
        }
        if whole_record:
            body["aliases"] = [
                {"alias": alias["alias"], "version": str(version)}
                for alias in self.store.aliases(name, version)
            ]
            body["tags"] = self.store.tags(name, version)
        return body

    async def create_model(self, request: Request) -> Response:
        """POST registered-models/create."""
        asked = await read_arguments(request)
        _no_deployment_job(asked)
        row = self.store.create_model(
            text(asked, "name"), asked.get("description", ""), given_tags(asked), principal(request)
        )
        return reply({"registered_model": self._model(row)})

    async def get_model(self, request: Request) -> Response:
        """GET registered-models/get."""
        row = self.store.model(text(await read_arguments(request), "name"))
        return reply({"registered_model": self._model(row)})

    async def update_model(self, request: Request) -> Response:
        """PATCH registered-models/update: its description, or with `new_name` its name."""
        asked = await read_arguments(request)
        _no_deployment_job(asked)
        changes: Json = {}
        if "description" in asked:
            changes["comment"] = asked["description"]
        if asked.get("new_name"):
            changes["full_name"] = asked["new_name"]
        row = self.store.update_model(text(asked, "name"), changes, principal(request))
        return reply({"registered_model": self._model(row)})

    async def delete_model(self, request: Request) -> Response:
        """DELETE registered-models/delete."""
        self.registry.delete_model(text(await read_arguments(request), "name"))
        return reply()

    async def search_models(self, request: Request) -> Response:
        """GET registered-models/search: all models, page by page."""
        asked = await read_arguments(request)
        if asked.get("filter"):
            raise invalid("registered models of Unity Catalog cannot be searched by a filter")
        rows, token = self.store.page("models", "true", [], asked)
        body: Json = {"registered_models": [self._model(row, whole_record=False) for row in rows]}
        return reply(body | ({"next_page_token": token} if token else {}))

    async def tag_model(self, request: Request) -> Response:
        """POST registered-models/set-tag."""
        asked = await read_arguments(request)
        self.store.tag_model(text(asked, "name"), text(asked, "key"), str(asked.get("value", "")))
        return reply()

    async def untag_model(self, request: Request) -> Response:
        """DELETE registered-models/delete-tag."""
        asked = await read_arguments(request)
        self.store.untag_model(text(asked, "name"), text(asked, "key"))
        return reply()

    async def set_alias(self, request: Request) -> Response:
        """POST registered-models/alias."""
        asked = await read_arguments(request)
        self.store.set_alias(text(asked, "name"), text(asked, "alias"), _number(asked))
        return reply()

    async def delete_alias(self, request: Request) -> Response:
        """DELETE registered-models/alias."""
        asked = await read_arguments(request)
        self.store.delete_alias(text(asked, "name"), text(asked, "alias"))
        return reply()

    async def get_alias(self, request: Request) -> Response:
        """GET registered-models/alias: the version that it points to."""
        asked = await read_arguments(request)
        row = self.store.version_at(text(asked, "name"), text(asked, "alias"))
        return reply({"model_version": await self._measured(row)})

    async def create_version(self, request: Request) -> Response:
        """POST model-versions/create."""
        asked = await read_arguments(request)
        about = {**asked, "comment": asked.get("description", "")}
        row = self.store.create_version(text(asked, "name"), about, principal(request))
        return reply({"model_version": self._version(row)})

    async def finalize(self, request: Request) -> Response:
        """POST model-versions/finalize."""
        asked = await read_arguments(request)
        row = self.registry.finalize(text(asked, "name"), _number(asked), principal(request))
        return reply({"model_version": self._version(row)})

    async def _measured(self, row: sqlite3.Row) -> Json:
        """A version with the metrics and parameters of the logged model that it was made from."""
        body = self._version(row)
        data = await self.registry.workspace.tracking.logged_model_data(row["model_id"])
        return body | {
            "model_metrics": data.get("metrics", []),
            "model_params": [
                {"name": param["key"], "value": param["value"]} for param in data.get("params", [])
            ],
        }

    async def get_version(self, request: Request) -> Response:
        """GET model-versions/get."""
        asked = await read_arguments(request)
        row = self.store.version(text(asked, "name"), _number(asked))
        return reply({"model_version": await self._measured(row)})

    async def update_version(self, request: Request) -> Response:
        """PATCH model-versions/update: its description."""
        asked = await read_arguments(request)
        changes = {"comment": asked["description"]} if "description" in asked else {}
        row = self.store.update_version(
            text(asked, "name"), _number(asked), changes, principal(request)
        )
        return reply({"model_version": self._version(row)})

    async def delete_version(self, request: Request) -> Response:
        """DELETE model-versions/delete."""
        asked = await read_arguments(request)
        self.registry.delete_version(text(asked, "name"), _number(asked))
        return reply()

    async def search_versions(self, request: Request) -> Response:
        """GET model-versions/search: of one model, or of one run, and by no other filter."""
        asked = await read_arguments(request)
        match = _FILTER.fullmatch(str(asked.get("filter") or ""))
        if match is None:
            raise invalid(
                f"Invalid filter {asked.get('filter')!r}: "
                "it must be name = '<full name>' or run_id = '<run id>'"
            )
        column = {"name": "model", "run_id": "run_id"}[match[1]]
        value = match[2] if match[2] is not None else match[3]
        rows, token = self.store.page("model_versions", f"{column} = ?", [value], asked)
        body: Json = {"model_versions": [self._version(row, whole_record=False) for row in rows]}
        return reply(body | ({"next_page_token": token} if token else {}))

    async def tag_version(self, request: Request) -> Response:
        """POST model-versions/set-tag."""
        asked = await read_arguments(request)
        self.store.tag_version(
            text(asked, "name"), _number(asked), text(asked, "key"), str(asked.get("value", ""))
        )
        return reply()

    async def untag_version(self, request: Request) -> Response:
        """DELETE model-versions/delete-tag."""
        asked = await read_arguments(request)
        self.store.untag_version(text(asked, "name"), _number(asked), text(asked, "key"))
        return reply()

    async def download_uri(self, request: Request) -> Response:
        """GET model-versions/get-download-uri."""
        asked = await read_arguments(request)
        row = self.store.version(text(asked, "name"), _number(asked))
        return reply({"artifact_uri": directory(row["model"], row["version"])})

    async def credentials(self, request: Request) -> Response:
        """POST model-versions/generate-temporary-credentials: none, use the Files API's URLs.

        MLflow before 3.0 asks this, and DEFAULT_STORAGE sends it to `create-upload-url`.
        """
        asked = await read_arguments(request)
        self.store.version(text(asked, "name"), _number(asked))
        return reply({"credentials": {"storage_mode": "DEFAULT_STORAGE"}})

    async def emit_lineage(self, request: Request) -> Response:
        """POST model-versions/emit-lineage, which MLflow does at every download.

        No client can read it back: the platform shows it on pages that the sandbox lacks.
        """
        asked = await read_arguments(request)
        self.store.version(text(asked, "name"), _number(asked))
        return reply()

    async def files_api_enabled(self, _request: Request) -> Response:
        """GET whether models travel by the Files API: yes, so MLflow needs no cloud storage."""
        return reply({"is_databricks_sdk_models_artifact_repository_enabled": True})

    def routes(self) -> list[Route]:
        """Everything under /api/2.0/mlflow/unity-catalog."""
        models, versions = f"{LEGACY}/registered-models", f"{LEGACY}/model-versions"
        return [
            Route(f"{models}/create", self.create_model, methods=["POST"]),
            Route(f"{models}/get", self.get_model, methods=["GET"]),
            Route(f"{models}/update", self.update_model, methods=["PATCH"]),
            Route(f"{models}/delete", self.delete_model, methods=["DELETE"]),
            Route(f"{models}/search", self.search_models, methods=["GET"]),
            Route(f"{models}/set-tag", self.tag_model, methods=["POST"]),
            Route(f"{models}/delete-tag", self.untag_model, methods=["DELETE"]),
            Route(f"{models}/alias", self.set_alias, methods=["POST"]),
            Route(f"{models}/alias", self.delete_alias, methods=["DELETE"]),
            Route(f"{models}/alias", self.get_alias, methods=["GET"]),
            Route(f"{versions}/create", self.create_version, methods=["POST"]),
            Route(f"{versions}/finalize", self.finalize, methods=["POST"]),
            Route(f"{versions}/get", self.get_version, methods=["GET"]),
            Route(f"{versions}/update", self.update_version, methods=["PATCH"]),
            Route(f"{versions}/delete", self.delete_version, methods=["DELETE"]),
            Route(f"{versions}/search", self.search_versions, methods=["GET"]),
            Route(f"{versions}/set-tag", self.tag_version, methods=["POST"]),
            Route(f"{versions}/delete-tag", self.untag_version, methods=["DELETE"]),
            Route(f"{versions}/emit-lineage", self.emit_lineage, methods=["POST"]),
            Route(f"{versions}/get-download-uri", self.download_uri, methods=["GET"]),
            Route(f"{versions}/generate-temporary-credentials", self.credentials, methods=["POST"]),
            Route(
                f"{models}:is-databricks-sdk-models-artifact-repository-enabled",
                self.files_api_enabled,
                methods=["GET"],
            ),
        ]


class Native:
    """Unity Catalog's own dialect: names in levels, versions numbers, aliases only if asked."""

    def __init__(self, registry: "Registry") -> None:
        self.registry = registry
        self.store = registry.store

    def _alias(self, row: sqlite3.Row) -> Json:
        catalog, schema, model = levels(row["model"])
        return {
            "alias_name": row["alias"],
            "version_num": row["version"],
            "id": row["id"],
            "catalog_name": catalog,
            "schema_name": schema,
            "model_name": model,
        }

    def _model(self, row: sqlite3.Row, *, aliases: bool = False, tags: bool = False) -> Json:
        name = row["full_name"]
        catalog, schema, model = levels(name)
        body: Json = {
            "name": model,
            "catalog_name": catalog,
            "schema_name": schema,
            "full_name": name,
            "comment": row["comment"],
            "owner": row["owner"],
            "id": row["id"],
            "storage_location": f"/Models/{name.replace('.', '/')}",
            **{key: row[key] for key in ("created_at", "created_by", "updated_at", "updated_by")},
        }
        if aliases:
            body["aliases"] = [self._alias(alias) for alias in self.store.aliases(name)]
        if tags:
            body["tags"] = self.store.tags(name)
        return body

    def _version(self, row: sqlite3.Row, *, aliases: bool = False, tags: bool = False) -> Json:
        name, version = row["model"], row["version"]
        catalog, schema, model = levels(name)
        body: Json = {
            "model_name": model,
            "catalog_name": catalog,
            "schema_name": schema,
            "version": version,
            "id": row["id"],
            "comment": row["comment"],
            "source": row["source"],
            "run_id": row["run_id"],
            "model_id": row["model_id"],
            "status": row["status"],
            "storage_location": directory(name, version),
            **{key: row[key] for key in ("created_at", "created_by", "updated_at", "updated_by")},
        }
        if row["run_workspace_id"].isdigit():
            body["run_workspace_id"] = int(row["run_workspace_id"])
        dependencies = json.loads(row["dependencies"])
        # MLflow's dialect sends a list of another shape here, which this one cannot express.
        if isinstance(dependencies, dict):
            body["model_version_dependencies"] = dependencies
        if aliases:
            body["aliases"] = [self._alias(alias) for alias in self.store.aliases(name, version)]
        if tags:
            body["tags"] = self.store.tags(name, version)
        return body

    async def create_model(self, request: Request) -> Response:
        """POST models."""
        asked = await read_arguments(request)
        _no_deployment_job(asked)
        row = self.store.create_model(
            _full_name(asked, "name"),
            asked.get("comment", ""),
            given_tags(asked),
            principal(request),
        )
        return reply(self._model(row, tags=True))

    async def list_models(self, request: Request) -> Response:
        """GET models: all, or those of a catalog or a schema."""
        asked = await read_arguments(request)
        prefix = ""
        if asked.get("catalog_name"):
            prefix = f"{asked['catalog_name']}."
            if asked.get("schema_name"):
                prefix += f"{asked['schema_name']}."
        elif asked.get("schema_name"):
            raise invalid("`schema_name` needs `catalog_name`")
        where, values = "substr(full_name, 1, length(?)) = ?", [prefix, prefix]
        rows, token = self.store.page("models", where, [*values], asked)
        body: Json = {"registered_models": [self._model(row) for row in rows]}
        return reply(body | ({"next_page_token": token} if token else {}))

    async def get_model(self, request: Request) -> Response:
        """GET models/{full_name}."""
        asked = await read_arguments(request)
        row = self.store.model(request.path_params["full_name"])
        return reply(self._model(row, aliases=_flag(asked, "include_aliases"), tags=True))

    async def update_model(self, request: Request) -> Response:
        """PATCH models/{full_name}: its comment or owner. Aliases in the body change nothing."""
        asked = await read_arguments(request)
        _no_deployment_job(asked)
        changes: Json = {key: asked[key] for key in ("comment", "owner") if key in asked}
        name = request.path_params["full_name"]
        if asked.get("new_name"):
            new = str(asked["new_name"])
            changes["full_name"] = new if "." in new else ".".join([*levels(name)[:2], new])
        return reply(self._model(self.store.update_model(name, changes, principal(request))))

    async def delete_model(self, request: Request) -> Response:
        """DELETE models/{full_name} and all its versions."""
        self.registry.delete_model(request.path_params["full_name"])
        return reply()

    async def create_version(self, request: Request) -> Response:
        """POST models/versions."""
        asked = await read_arguments(request)
        row = self.store.create_version(_full_name(asked, "model_name"), asked, principal(request))
        return reply(self._version(row, tags=True))

    async def list_versions(self, request: Request) -> Response:
        """GET models/{full_name}/versions, in no order, without aliases and tags."""
        name = request.path_params["full_name"]
        self.store.model(name)
        rows, token = self.store.page(
            "model_versions", "model = ?", [name], await read_arguments(request)
        )
        body: Json = {"model_versions": [self._version(row) for row in rows]}
        return reply(body | ({"next_page_token": token} if token else {}))

    async def get_version(self, request: Request) -> Response:
        """GET models/{full_name}/versions/{version}."""
        asked = await read_arguments(request)
        row = self.store.version(request.path_params["full_name"], _number(request.path_params))
        return reply(self._version(row, aliases=_flag(asked, "include_aliases"), tags=True))

    async def update_version(self, request: Request) -> Response:
        """PATCH models/{full_name}/versions/{version}: its comment."""
        asked = await read_arguments(request)
        name, version = request.path_params["full_name"], _number(request.path_params)
        changes = {"comment": asked["comment"]} if "comment" in asked else {}
        row = self.store.update_version(name, version, changes, principal(request))
        return reply(self._version(row))

    async def finalize(self, request: Request) -> Response:
        """PATCH models/{full_name}/versions/{version}/finalize."""
        name, version = request.path_params["full_name"], _number(request.path_params)
        return reply(self._version(self.registry.finalize(name, version, principal(request))))

    async def delete_version(self, request: Request) -> Response:
        """DELETE models/{full_name}/versions/{version}."""
        name, version = request.path_params["full_name"], _number(request.path_params)
        self.registry.delete_version(name, version)
        return reply()

    async def set_alias(self, request: Request) -> Response:
        """PUT models/{full_name}/aliases/{alias}: whoever writes last wins."""
        name, alias = request.path_params["full_name"], request.path_params["alias"]
        version = _number(await read_arguments(request), "version_num")
        self.store.set_alias(name, alias, version)
        [row] = [row for row in self.store.aliases(name, version) if row["alias"] == alias]
        return reply(self._alias(row))

    async def get_alias(self, request: Request) -> Response:
        """GET models/{full_name}/aliases/{alias}: the version that it points to."""
        asked = await read_arguments(request)
        row = self.store.version_at(request.path_params["full_name"], request.path_params["alias"])
        return reply(self._version(row, aliases=_flag(asked, "include_aliases"), tags=True))

    async def delete_alias(self, request: Request) -> Response:
        """DELETE models/{full_name}/aliases/{alias}."""
        self.store.delete_alias(request.path_params["full_name"], request.path_params["alias"])
        return reply()

    async def tag_model(self, request: Request) -> Response:
        """PATCH securable-tags/FUNCTION/{full_name}."""
        added, removed = _tag_changes(await read_arguments(request))
        name = request.path_params["full_name"]
        for key, value in added:
            self.store.tag_model(name, key, value)
        for key in removed:
            self.store.untag_model(name, key)
        return reply()

    async def tag_version(self, request: Request) -> Response:
        """PATCH subentity-tags/FUNCTION/{full_name}/{version}."""
        added, removed = _tag_changes(await read_arguments(request))
        name, version = request.path_params["full_name"], _number(request.path_params)
        for key, value in added:
            self.store.tag_version(name, version, key, value)
        for key in removed:
            self.store.untag_version(name, version, key)
        return reply()

    async def credentials(self, request: Request) -> Response:
        """POST temporary-model-version-credentials: none, use the Files API's URLs."""
        asked = await read_arguments(request)
        self.store.version(_full_name(asked, "model_name"), _number(asked))
        return reply({"storage_mode": "DEFAULT_STORAGE"})

    def routes(self) -> list[Route]:
        """Models under /api/2.1/unity-catalog; grants and other securables are not modelled."""
        model = f"{NATIVE}/models/{{full_name}}"
        version, alias = f"{model}/versions/{{version}}", f"{model}/aliases/{{alias}}"
        tags = f"{NATIVE}/securable-tags/FUNCTION/{{full_name}}"
        version_tags = f"{NATIVE}/subentity-tags/FUNCTION/{{full_name}}/{{version}}"
        return [
            Route(f"{NATIVE}/models", self.create_model, methods=["POST"]),
            Route(f"{NATIVE}/models", self.list_models, methods=["GET"]),
            Route(f"{NATIVE}/models/versions", self.create_version, methods=["POST"]),
            Route(model, self.get_model, methods=["GET"]),
            Route(model, self.update_model, methods=["PATCH"]),
            Route(model, self.delete_model, methods=["DELETE"]),
            Route(f"{model}/versions", self.list_versions, methods=["GET"]),
            Route(version, self.get_version, methods=["GET"]),
            Route(version, self.update_version, methods=["PATCH"]),
            Route(version, self.delete_version, methods=["DELETE"]),
            Route(f"{version}/finalize", self.finalize, methods=["PATCH"]),
            Route(alias, self.set_alias, methods=["PUT"]),
            Route(alias, self.get_alias, methods=["GET"]),
            Route(alias, self.delete_alias, methods=["DELETE"]),
            Route(tags, self.tag_model, methods=["PATCH"]),
            Route(version_tags, self.tag_version, methods=["PATCH"]),
            Route(
                f"{NATIVE}/temporary-model-version-credentials", self.credentials, methods=["POST"]
            ),
        ]


def _number(arguments: Any, key: str = "version") -> int:  # noqa: ANN401 - a body or a path
    """The version that a request names, as a whole number from 1."""
    value = str(arguments.get(key, ""))
    if not (value.isascii() and value.isdigit()) or int(value) < 1:
        raise invalid(f"Invalid value for '{key}': {value!r} is no version number")
    return int(value)


def _full_name(asked: Json, model_key: str) -> str:
    """The three levels that the native dialect sends apart."""
    return ".".join(text(asked, key) for key in ("catalog_name", "schema_name", model_key))


def _tag_changes(asked: Json) -> tuple[list[tuple[str, str]], list[str]]:
    """The tags to set and the keys to remove."""
    changes = asked.get("changes")
    if not isinstance(changes, dict):
        raise invalid("Missing value for required parameter 'changes'")
    return given_tags({"tags": changes.get("add_tags", [])}), list(changes.get("remove", []))
