"""Who may call: the token of the settings, and OAuth tokens for the service principal."""

import base64
import binascii
import urllib.parse

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.sandbox.wire import ApiError, reply
from deploy.sandbox.workspace import Workspace

TOKEN_LIFE_S = 3600
"""Life of an OAuth token in seconds; Databricks' is one hour."""
_PREFIX = "sandbox-oauth"


class Identity:
    """Knows callers by their Authorization header, and issues OAuth tokens."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._token = f"Bearer {workspace.settings.token}"

    def principal(self, authorization: str) -> str:
        """The user name or application id that this Authorization header proves."""
        if authorization == self._token:
            return self.workspace.user_name
        scheme, _, token = authorization.partition(" ")
        if scheme != "Bearer" or not token:
            raise ApiError(
                401,
                "UNAUTHENTICATED",
                "Credential was not sent or was of an unsupported type for this API.",
            )
        kind, expires, signature = (*token.split("."), "", "", "")[:3]
        known = kind == _PREFIX and self.workspace.signer.accepts(signature, "oauth", expires)
        # A known signature vouches for the expiry, which this workspace wrote as a number.
        if not known or int(expires) < self.workspace.clock():
            raise ApiError(401, "UNAUTHENTICATED", "Invalid access token.")
        return self.workspace.settings.client_id

    async def issue(self, request: Request) -> Response:
        """POST /oidc/v1/token: a token for the service principal, by its id and secret."""
        form = urllib.parse.parse_qs((await request.body()).decode("utf-8", "replace"))
        if form.get("grant_type") != ["client_credentials"]:
            return reply(
                {
                    "error": "unsupported_grant_type",
                    "error_description": "the sandbox issues tokens for client_credentials only",
                },
                400,
            )
        offered = _basic(request.headers.get("authorization", "")) or (
            form.get("client_id", [""])[0],
            form.get("client_secret", [""])[0],
        )
        settings = self.workspace.settings
        if offered != (settings.client_id, settings.client_secret):
            return reply(
                {
                    "error": "invalid_client",
                    "error_description": "Client authentication failed",
                },
                401,
            )
        expires = str(int(self.workspace.clock()) + TOKEN_LIFE_S)
        signature = self.workspace.signer.sign("oauth", expires)
        return reply(
            {
                "access_token": f"{_PREFIX}.{expires}.{signature}",
                "token_type": "Bearer",
                "expires_in": TOKEN_LIFE_S,
                "scope": "all-apis",
            }
        )

    async def workspace_configuration(self, request: Request) -> Response:
        """What the SDK and MLflow ask first: whose workspace this is and where tokens are made."""
        return reply(
            {
                "oidc_endpoint": f"{_base(request)}/oidc",
                "workspace_id": self.workspace.workspace_id,
                "cloud": "aws",
            }
        )

    async def authorization_server(self, request: Request) -> Response:
        """The OAuth endpoints of this workspace."""
        base = _base(request)
        return reply(
            {
                "issuer": f"{base}/oidc",
                "authorization_endpoint": f"{base}/oidc/v1/authorize",
                "token_endpoint": f"{base}/oidc/v1/token",
                "grant_types_supported": ["client_credentials"],
            }
        )

    async def me(self, request: Request) -> Response:
        """The caller, as SCIM shows a user or a service principal."""
        name = str(request.scope["principal"])
        is_user = name == self.workspace.user_name
        return reply(
            {
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
                "id": "7001" if is_user else "7002",
                "userName": name,
                "displayName": "Sandbox user" if is_user else "Sandbox service principal",
                "active": True,
                "emails": [{"value": name, "type": "work", "primary": True}] if is_user else [],
                "groups": [{"display": "users", "value": "8001"}],
            }
        )

    def routes(self) -> list[Route]:
        """Discovery, tokens, and the question who one is."""
        return [
            Route("/.well-known/databricks-config", self.workspace_configuration, methods=["GET"]),
            Route(
                "/oidc/.well-known/oauth-authorization-server",
                self.authorization_server,
                methods=["GET"],
            ),
            Route("/oidc/v1/token", self.issue, methods=["POST"]),
            Route("/api/2.0/preview/scim/v2/Me", self.me, methods=["GET"]),
        ]


def _base(request: Request) -> str:
    """The workspace's address as this client wrote it, without a slash at the end."""
    return str(request.base_url).rstrip("/")


def _basic(authorization: str) -> tuple[str, str] | None:
    """The id and secret of a Basic header; none where there is no such header."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    name, _, secret = decoded.partition(":")
    return urllib.parse.unquote(name), urllib.parse.unquote(secret)
