"""The store of registered models: what both dialects of the registry read and write."""

import contextlib
import json
import re
import sqlite3
import uuid
from collections.abc import Iterator
from contextvars import ContextVar

from deploy.sandbox.wire import (
    Json,
    exists,
    invalid,
    missing,
    not_modelled,
    text,
    whole,
)
from deploy.sandbox.workspace import Workspace

PENDING, READY, FAILED = "PENDING_REGISTRATION", "READY", "FAILED_REGISTRATION"
PAGE = 100
"""Entries in a page unless the client asks for another number (documented for model versions)."""
PAGE_MAX = 1000
"""The most entries that a client may ask for in one page (documented)."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS models (
    full_name TEXT PRIMARY KEY, id TEXT NOT NULL, comment TEXT NOT NULL, owner TEXT NOT NULL,
    created_at INTEGER NOT NULL, created_by TEXT NOT NULL,
    updated_at INTEGER NOT NULL, updated_by TEXT NOT NULL, last_version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS model_versions (
    model TEXT NOT NULL REFERENCES models (full_name) ON UPDATE CASCADE ON DELETE CASCADE,
    version INTEGER NOT NULL, id TEXT NOT NULL, status TEXT NOT NULL, status_message TEXT NOT NULL,
    source TEXT NOT NULL, run_id TEXT NOT NULL, run_workspace_id TEXT NOT NULL,
    model_id TEXT NOT NULL, comment TEXT NOT NULL, dependencies TEXT NOT NULL,
    has_signature INTEGER NOT NULL,
    created_at INTEGER NOT NULL, created_by TEXT NOT NULL,
    updated_at INTEGER NOT NULL, updated_by TEXT NOT NULL,
    PRIMARY KEY (model, version));
CREATE TABLE IF NOT EXISTS model_aliases (
    model TEXT NOT NULL, alias TEXT NOT NULL, version INTEGER NOT NULL, id TEXT NOT NULL,
    PRIMARY KEY (model, alias),
    FOREIGN KEY (model, version) REFERENCES model_versions (model, version)
        ON UPDATE CASCADE ON DELETE CASCADE);
CREATE TABLE IF NOT EXISTS model_tags (
    model TEXT NOT NULL REFERENCES models (full_name) ON UPDATE CASCADE ON DELETE CASCADE,
    key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (model, key));
CREATE TABLE IF NOT EXISTS model_version_tags (
    model TEXT NOT NULL, version INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (model, version, key),
    FOREIGN KEY (model, version) REFERENCES model_versions (model, version)
        ON UPDATE CASCADE ON DELETE CASCADE);
"""

_past: ContextVar[sqlite3.Connection | None] = ContextVar("past", default=None)
"""What reads are answered from instead of the store, where a fault makes them stale."""

_LEVEL = re.compile(r"[^./ \x00-\x1f\x7f]{1,255}")
"""One level of a name, as Unity Catalog documents it for catalogs, schemas and their content."""
_EMPTY = "empty."
"""Begins the token of a page that has nothing but a token."""
_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,255}")
_RESERVED_ALIAS = re.compile(r"(?i)latest|v\d+")
"""MLflow keeps these for itself: an alias must not look like a version."""


def levels(full_name: str) -> tuple[str, str, str]:
    """The catalog, schema and model of a full name, which must have all three."""
    levels = full_name.split(".")
    if len(levels) != 3:  # noqa: PLR2004 - catalog, schema, model
        # MLflow looks for "specify all three levels" in this message to give its own advice.
        raise invalid(
            f"Invalid model name {full_name!r}: please specify all three levels of the model in "
            "the form `catalog_name.schema_name.model_name`"
        )
    if not all(_LEVEL.fullmatch(level) for level in levels):
        raise invalid(
            f"Invalid model name {full_name!r}: no level may be empty, longer than 255 characters, "
            "or hold a dot, a slash or a space"
        )
    catalog, schema, model = levels
    return catalog, schema, model


def directory(full_name: str, version: int) -> str:
    """Where the Files API keeps a version's artifacts; MLflow's client builds the same path."""
    return f"/Models/{full_name.replace('.', '/')}/{version}"


def given_tags(arguments: Json) -> list[tuple[str, str]]:
    """The tags of a request: pairs of a key and a value, which may be absent."""
    return [(text(tag, "key"), str(tag.get("value", ""))) for tag in arguments.get("tags", [])]


class Store:
    """The records of models and their versions. Names are three-level, versions whole numbers."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.lock = workspace.database.lock
        self.connection = workspace.database.connection
        with self.lock:
            self.connection.execute("PRAGMA foreign_keys=ON")
            self.connection.executescript(_SCHEMA)

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """The rows that a query finds."""
        with self.lock:
            return (_past.get() or self.connection).execute(sql, values).fetchall()

    @contextlib.contextmanager
    def reading(self, past: sqlite3.Connection) -> Iterator[None]:
        """Let what this task reads come from another connection to the same store."""
        token = _past.set(past)
        try:
            yield
        finally:
            _past.reset(token)

    def change(self, sql: str, *values: object) -> int:
        """The number of rows that a statement changed."""
        with self.lock:
            return self.connection.execute(sql, values).rowcount

    def model(self, name: str) -> sqlite3.Row:
        """The registered model of this name, which must exist."""
        levels(name)
        found = self.rows("SELECT * FROM models WHERE full_name = ?", name)
        if not found:
            raise missing(f"Routine or Model '{name}' does not exist.")
        return found[0]

    def version(self, name: str, version: int) -> sqlite3.Row:
        """The version of this number, which must exist."""
        found = self.rows(
            "SELECT * FROM model_versions WHERE model = ? AND version = ?", name, version
        )
        if not found:
            self.model(name)
            raise missing(f"Model Version (name={name}, version={version}) not found")
        return found[0]

    def version_at(self, name: str, alias: str) -> sqlite3.Row:
        """The version that this alias points to, which must exist."""
        self.model(name)
        found = self.rows(
            "SELECT version FROM model_aliases WHERE model = ? AND alias = ?", name, alias
        )
        if not found:
            raise missing(f"Alias '{alias}' of the model '{name}' does not exist.")
        return self.version(name, found[0]["version"])

    def create_model(
        self, name: str, comment: str, tags: list[tuple[str, str]], who: str
    ) -> sqlite3.Row:
        """A new registered model without versions."""
        levels(name)
        now = self.workspace.now_ms()
        with self.lock:
            if self.rows("SELECT 1 FROM models WHERE full_name = ?", name):
                raise exists(f"Routine or Model '{name}' already exists.")
            values = (name, uuid.uuid4().hex, comment, who, now, who, now, who, 0)
            self.change("INSERT INTO models VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *values)
            for key, value in tags:
                self.tag_model(name, key, value)
            return self.model(name)

    def update_model(self, name: str, changes: Json, who: str) -> sqlite3.Row:
        """The model after its comment, owner or name was changed; `changes` is column: value."""
        with self.lock:
            self.model(name)
            new_name = changes.get("full_name", name)
            if new_name != name:
                levels(new_name)
                raise not_modelled("renaming a registered model")
            self._set("models", "full_name = ?", (name,), changes, who)
            return self.model(name)

    def update_version(self, name: str, version: int, changes: Json, who: str) -> sqlite3.Row:
        """The version after these columns were changed."""
        with self.lock:
            self.version(name, version)
            self._set("model_versions", "model = ? AND version = ?", (name, version), changes, who)
            return self.version(name, version)

    def _set(
        self, table: str, where: str, key: tuple[object, ...], changes: Json, who: str
    ) -> None:
        changes = {**changes, "updated_at": self.workspace.now_ms(), "updated_by": who}
        # Table and column names come from this module; values are always parameters.
        columns = ", ".join(f"{column} = ?" for column in changes)
        self.change(f"UPDATE {table} SET {columns} WHERE {where}", *changes.values(), *key)  # noqa: S608

    def create_version(self, name: str, about: Json, who: str) -> sqlite3.Row:
        """A new version, PENDING_REGISTRATION until its files have arrived and it is finalized."""
        now = self.workspace.now_ms()
        with self.lock:
            # Numbers are never used again, not even after their version was deleted.
            number = int(self.model(name)["last_version"]) + 1
            self.change("UPDATE models SET last_version = ? WHERE full_name = ?", number, name)
            row: Json = {
                "model": name,
                "version": number,
                "id": uuid.uuid4().hex,
                "status": PENDING,
                "status_message": "",
                "source": about.get("source", ""),
                "run_id": about.get("run_id", ""),
                "run_workspace_id": about.get("run_tracking_server_id", ""),
                "model_id": about.get("model_id", ""),
                "comment": about.get("comment", ""),
                "dependencies": json.dumps(about.get("model_version_dependencies")),
                "has_signature": 0,
                "created_at": now,
                "created_by": who,
                "updated_at": now,
                "updated_by": who,
            }
            marks = ", ".join("?" * len(row))
            self.change(f"INSERT INTO model_versions VALUES ({marks})", *row.values())  # noqa: S608
            for key, value in given_tags(about):
                self.tag_version(name, number, key, value)
            return self.version(name, number)

    def delete_model(self, name: str) -> None:
        """Delete a model with its versions, aliases and tags."""
        self.model(name)
        self.change("DELETE FROM models WHERE full_name = ?", name)

    def delete_version(self, name: str, version: int) -> None:
        """Delete a version with its tags and the aliases that point to it."""
        self.version(name, version)
        self.change("DELETE FROM model_versions WHERE model = ? AND version = ?", name, version)

    def set_alias(self, name: str, alias: str, version: int) -> str:
        """Point an alias to a version, whatever it pointed to before; the alias' id."""
        if not _ALIAS.fullmatch(alias) or _RESERVED_ALIAS.fullmatch(alias):
            raise invalid(f"Invalid alias name: {alias!r}")
        with self.lock:
            self.version(name, version)
            self.change(
                "INSERT INTO model_aliases VALUES (?, ?, ?, ?)"
                " ON CONFLICT (model, alias) DO UPDATE SET version = excluded.version",
                name,
                alias,
                version,
                uuid.uuid4().hex,
            )
            [row] = self.rows(
                "SELECT id FROM model_aliases WHERE model = ? AND alias = ?", name, alias
            )
            return str(row["id"])

    def delete_alias(self, name: str, alias: str) -> None:
        """Delete an alias, which must exist."""
        self.version_at(name, alias)
        self.change("DELETE FROM model_aliases WHERE model = ? AND alias = ?", name, alias)

    def aliases(self, name: str, version: int | None = None) -> list[sqlite3.Row]:
        """The aliases of a model, or of one of its versions."""
        sql = "SELECT * FROM model_aliases WHERE model = ? AND version = ifnull(?, version)"
        return self.rows(f"{sql} ORDER BY alias", name, version)

    def tag_model(self, name: str, key: str, value: str) -> None:
        """Set a tag of a model, in place of one with the same key."""
        self.model(name)
        self.change("INSERT OR REPLACE INTO model_tags VALUES (?, ?, ?)", name, key, value)

    def untag_model(self, name: str, key: str) -> None:
        """Delete a tag of a model; one that is not there is no error."""
        self.model(name)
        self.change("DELETE FROM model_tags WHERE model = ? AND key = ?", name, key)

    def tag_version(self, name: str, version: int, key: str, value: str) -> None:
        """Set a tag of a version, in place of one with the same key."""
        self.version(name, version)
        self.change(
            "INSERT OR REPLACE INTO model_version_tags VALUES (?, ?, ?, ?)",
            name,
            version,
            key,
            value,
        )

    def untag_version(self, name: str, version: int, key: str) -> None:
        """Delete a tag of a version; one that is not there is no error."""
        self.version(name, version)
        self.change(
            "DELETE FROM model_version_tags WHERE model = ? AND version = ? AND key = ?",
            name,
            version,
            key,
        )

    def tags(self, name: str, version: int | None = None) -> list[Json]:
        """The tags of a model, or those of one of its versions."""
        if version is None:
            found = self.rows("SELECT * FROM model_tags WHERE model = ? ORDER BY key", name)
        else:
            found = self.rows(
                "SELECT * FROM model_version_tags WHERE model = ? AND version = ? ORDER BY key",
                name,
                version,
            )
        return [{"key": row["key"], "value": row["value"]} for row in found]

    def page(
        self, table: str, where: str, values: list[object], arguments: Json
    ) -> tuple[list[sqlite3.Row], str | None]:
        """One page of a table's rows and the token of the next.

        The order is that of random ids, because the platform promises none: a client that
        counts on the newest version first is wrong and should find out here. A client that takes
        an empty page for the end is as wrong: the second page is always empty, with a token.
        """
        size = min(whole(arguments, "max_results", 0) or PAGE, PAGE_MAX)
        after = str(arguments.get("page_token") or "")
        if after.startswith(_EMPTY):
            return [], after.removeprefix(_EMPTY)
        found = self.rows(
            f"SELECT * FROM {table} WHERE {where} AND id > ? ORDER BY id LIMIT ?",  # noqa: S608
            *values,
            after,
            size + 1,
        )
        token = found[size - 1]["id"] if len(found) > size else None
        if token is not None and not after:
            token = _EMPTY + token
        return found[:size], token
