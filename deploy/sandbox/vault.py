"""Secrets: kept for served entities, whose environment refers to them; never shown to anybody."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.sandbox.endpoints import secret_of
from deploy.sandbox.wire import ApiError, invalid, missing, read_json, reply
from deploy.sandbox.workspace import Database

_BASE = "/api/2.0/secrets"


class Vault:
    """The scopes of a workspace, and the secrets in them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.lock:
            database.connection.execute(
                "CREATE TABLE IF NOT EXISTS secret_scopes (name TEXT PRIMARY KEY)"
            )
            database.connection.execute(
                "CREATE TABLE IF NOT EXISTS secrets "
                "(scope TEXT, key TEXT, value TEXT, PRIMARY KEY (scope, key))"
            )

    def routes(self) -> list[Route]:
        """Make a scope, and put a secret into one."""
        return [
            Route(_BASE + "/scopes/create", self._create_scope, methods=["POST"]),
            Route(_BASE + "/put", self._put, methods=["POST"]),
        ]

    def value(self, scope: str, key: str) -> str | None:
        """A secret's value; None where there is no such secret."""
        query = "SELECT value FROM secrets WHERE scope = ? AND key = ?"
        with self._database.lock:
            row = self._database.connection.execute(query, (scope, key)).fetchone()
        return None if row is None else str(row["value"])

    def resolved(self, environment: dict[str, str]) -> dict[str, str]:
        """An environment with secrets in place of what refers to them."""
        places = {name: secret_of(value) for name, value in environment.items()}
        found = {name: self.value(*place) for name, place in places.items() if place is not None}
        return environment | {name: value for name, value in found.items() if value is not None}

    async def _create_scope(self, request: Request) -> Response:
        scope = (await read_json(request)).get("scope")
        if not isinstance(scope, str) or not scope:
            raise invalid("A secret scope needs a name.")
        if self._has(scope):
            raise ApiError(400, "RESOURCE_ALREADY_EXISTS", f"Scope {scope} already exists!")
        with self._database.lock:
            self._database.connection.execute("INSERT INTO secret_scopes VALUES (?)", (scope,))
        return reply()

    async def _put(self, request: Request) -> Response:
        body = await read_json(request)
        scope, key, value = (body.get(name) for name in ("scope", "key", "string_value"))
        if not isinstance(key, str) or not key or not isinstance(value, str):
            raise invalid("A secret needs a key, and a string_value.")
        if not isinstance(scope, str) or not self._has(scope):
            raise missing(f"Scope {scope} does not exist!")
        with self._database.lock:
            self._database.connection.execute(
                "INSERT OR REPLACE INTO secrets VALUES (?, ?, ?)", (scope, key, value)
            )
        return reply()

    def _has(self, scope: str) -> bool:
        query = "SELECT 1 FROM secret_scopes WHERE name = ?"
        with self._database.lock:
            return self._database.connection.execute(query, (scope,)).fetchone() is not None
