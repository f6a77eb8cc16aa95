"""The connection to a workspace: one attempt per call, a deadline on everything, errors translated.

Measured with databricks-sdk 0.156 (`retries.py`, `_base_client.py`, `config.py`): the SDK repeats
429, 503, timeouts and refused connections on every verb for 300 s, a PUT included; making a
`Config` asks the host for its metadata under the same budget; and token endpoints are asked
without any timeout (`oauth.retrieve_token`). None of that may stall a pass or send a call twice.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.clock import Clock
from databricks.sdk.config import Config
from databricks.sdk.credentials_provider import CredentialsStrategy, DefaultCredentials
from databricks.sdk.errors import (
    BadRequest,
    NotFound,
    PermissionDenied,
    ResourceConflict,
    TooManyRequests,
    Unauthenticated,
)
from databricks.sdk.errors.base import DatabricksError

from controller.address import is_loopback
from controller.record.redaction import hide
from controller.workspace.deadlines import CALL_S, keep_deadlines
from controller.workspace.errors import (
    Denied,
    Refused,
    Unconfigured,
    Unreachable,
    WorkspaceError,
)
from controller.workspace.lane import Lane
from controller.workspace.redirects import refuse_redirects

OAUTH_REFUSALS = (
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_grant_type",
)
"""RFC 6749, 4.1.2.1 and 5.2: answers of a token endpoint that asking again does not change."""
FRESH_S = 5.0
"""How long headers serve the calls that follow. A call that asks anew costs a thread, as asking may
hang; the SDK renews a token long enough before its end (`oauth.py`: 40 s) for these few seconds."""


SECRETS = ("DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET", "DATABRICKS_OIDC_TOKEN")
"""Variables of Databricks' unified authentication that hold a secret."""


PERSONAL = ("pat", "basic", "databricks-cli", "external-browser", "azure-cli", "runtime")
"""Ways to sign in as a person (`auth_type` of the SDK's providers); the others are a machine's."""


class AnotherAttempt(Exception):  # noqa: N818 - not an error: the sign that the SDK meant to retry
    """The SDK was about to wait and to send the same call again."""


class OneAttempt(Clock):
    """A clock on which no time passes and nothing can wait: a call is sent exactly once.

    The SDK loops while `time()` is before its deadline and calls `sleep()` between attempts.
    """

    def time(self) -> float:
        """The same moment for ever, so that a slow machine cannot use up the first attempt."""
        return 0.0

    def sleep(self, seconds: float) -> None:
        """End the call instead of waiting; the failed attempt is this exception's context."""
        raise AnotherAttempt(f"not waiting {seconds:.0f} s to repeat a call")


refuse_redirects()
keep_deadlines()
# Attributes are gathered from the class that asks first, and a subclass has none of its own.
Config.attributes()


class _Patient(Config):
    """The SDK's configuration, made without asking the host for its metadata."""

    def _resolve_host_metadata(self) -> None:
        """Nothing yet: `discover` asks, where a deadline guards it."""

    def discover(self) -> None:
        """Ask the host for its metadata; a host that has none is no error to the SDK."""
        super()._resolve_host_metadata()


class _Bounded(CredentialsStrategy):
    """Databricks' unified authentication, with a deadline on every step that may do I/O.

    Which credentials there are is found out at `connect` if the workspace answers, else at the
    first call that it does answer. Tokens are asked for again after a few seconds.
    """

    def __init__(self, deadline_s: float, *, pat: bool) -> None:
        self._default, self._pat = DefaultCredentials(), pat
        self._config: _Patient | None = None
        self._headers: Callable[[], dict[str, str]] | None = None
        self._lane = Lane("signing in to the Databricks workspace", self._ask, deadline_s)
        self._fresh: tuple[float, dict[str, str]] | None = None

    def auth_type(self) -> str:
        """The method in use as the SDK calls it; empty until it is known, which excludes none."""
        return (self._config and self._config.auth_type) or ""

    def __call__(self, cfg: Config) -> Callable[[], dict[str, str]]:
        """Remember the configuration; the SDK calls the result for every request."""
        assert isinstance(cfg, _Patient)
        self._config = cfg
        return self.headers

    def headers(self) -> dict[str, str]:
        """Authentication headers, at most a few seconds old."""
        now = time.monotonic()
        if self._fresh is None or now - self._fresh[0] >= FRESH_S:
            with translated("the Databricks workspace"):
                self._fresh = now, self._lane()
        return dict(self._fresh[1])

    def _ask(self) -> dict[str, str]:
        """Runs in the lane: everything in here may hang."""
        assert self._config is not None
        try:
            if self._headers is None:
                self._config.discover()
                self._headers = self._default(self._config)
                self._config.auth_type = self._default.auth_type()
                self._check(self._config)
            found = self._headers()
        except ValueError as error:
            raise _sign_in_error(error) from error
        tokens = (value.rpartition(" ")[2] for value in found.values())
        hide(*tokens, renewing="the workspace's token")
        return found

    def _check(self, config: Config) -> None:
        """Whether whoever runs this may sign in as it does."""
        host = urlsplit(config.host or "").hostname or ""
        if config.auth_type in PERSONAL and not self._pat and not is_loopback(host):
            self._headers = None
            raise Unconfigured(
                f"the credentials are a person's ({config.auth_type}), who may do more than "
                "Headgate must, and may leave: give a service principal's DATABRICKS_CLIENT_ID and "
                "DATABRICKS_CLIENT_SECRET, or workload identity, or set HEADGATE_ALLOW_PAT=yes"
            )


def _sign_in_error(error: ValueError) -> Exception:
    """Why signing in failed: the SDK wraps everything in ValueErrors, the cause innermost."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if not isinstance(cause, ValueError):
        return cause if isinstance(cause, Exception) else error
    if "cannot configure default credentials" in str(cause):
        return _unconfigured()
    if str(cause).startswith(OAUTH_REFUSALS):
        return Denied(
            "the workspace's token endpoint refuses the credentials: "
            "check DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET, or sign in again"
        )
    return Unreachable(
        "the workspace's token endpoint gave no token: Headgate asks again at its next look"
    )


def _unconfigured() -> Unconfigured:
    return Unconfigured(
        "no usable Databricks credentials were found: set DATABRICKS_HOST with DATABRICKS_TOKEN "
        "(or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET), or run `databricks auth login` "
        "and set DATABRICKS_CONFIG_PROFILE"
    )


def connect(*, deadline_s: float = CALL_S, pat: bool = True) -> WorkspaceClient:
    """A client of the workspace that Databricks' unified authentication names.

    Without `pat` a personal access token is `Unconfigured`, unless it is for this very machine.

    Every call makes one HTTP attempt, and gives up when its answer is not there in full after
    `deadline_s`; a call for which a token has to be fetched first waits as long for that.
    An unreachable workspace is no error here, but at the first call; missing credentials are, and
    an address to which they would go unencrypted.
    """
    credentials = _Bounded(deadline_s, pat=pat)
    hide(*(os.environ.get(name) for name in SECRETS))
    try:
        config = _Patient(
            credentials_strategy=credentials,
            clock=OneAttempt(),
            http_timeout_seconds=deadline_s,
            # Only the metadata request, made with a clock of its own, still minds this budget.
            retry_timeout_seconds=1,
            product="headgate",
        )
    except ValueError as error:
        raise _unconfigured() from error
    if not config.host:
        raise _unconfigured()
    _encrypted(config.host)
    # Not swallowed: the first call signs in again and reports what it meets then.
    with suppress(Unreachable, Denied):
        credentials.headers()
    client = WorkspaceClient(config=config)
    _settle_environment(client, config.host)
    return client


def _encrypted(host: str) -> None:
    """Whether credentials go to a host as nobody on the way can read them, or not beyond here."""
    place = urlsplit(host)
    if place.scheme != "https" and not is_loopback(place.hostname or ""):
        raise Unconfigured(
            f"the workspace's address begins with {place.scheme}://, over which everybody on the "
            "way could read the credentials: write https:// in DATABRICKS_HOST, or in the profile "
            "of `databricks auth login`; plain http is for a sandbox on this machine"
        )


def _settle_environment(client: WorkspaceClient, host: str) -> None:
    """Read what the environment says of proxies and certificates once, instead of at each call.

    There it would take as long as the call itself (requests 2.32, `merge_environment_settings`).
    """
    session = client.api_client._api_client._session  # noqa: SLF001 - the SDK has no other way
    found = session.merge_environment_settings(host, {}, None, session.verify, None)
    session.proxies, session.verify, session.trust_env = found["proxies"], found["verify"], False


def addressed(config: Config) -> dict[str, str]:
    """The header that tells a host of several workspaces which one is meant.

    The SDK's own methods send it (0.156, `service/serving.py`), and its `ApiClient` does not.
    """
    return {"X-Databricks-Workspace-Id": config.workspace_id} if config.workspace_id else {}


def call(
    client: WorkspaceClient,
    verb: str,
    place: str,
    *,
    headers: Mapping[str, str] = MappingProxyType({}),
    **more: Any,  # noqa: ANN401 - as the SDK's `ApiClient.do` has it
) -> Any:  # noqa: ANN401
    """A call that the SDK's types would not carry whole; what comes back is as it came."""
    headers = {**addressed(client.config), **headers}
    return client.api_client.do(verb, place, headers=headers, **more)


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn whatever the SDK, MLflow or requests raise inside into this package's errors.

    `place` is what was asked, as an operator names it: `serving endpoint NAME`.
    """
    try:
        yield
    except WorkspaceError:
        raise
    except (AnotherAttempt, TimeoutError, DatabricksError, requests.RequestException) as error:
        raise translate(error, place) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # What the SDK meets in an answer of another shape, an empty one for instance.
        raise Unreachable(
            f"{place}: the answer is not one that the workspace's API gives: Headgate looks again; "
            "check DATABRICKS_HOST if it lasts"
        ) from error


def translate(error: BaseException, place: str) -> WorkspaceError:
    """The error of this package that says what happened at `place`."""
    while isinstance(error, AnotherAttempt | TimeoutError) and (
        before := error.__cause__ or error.__context__
    ):
        error = before
    if isinstance(error, WorkspaceError):
        return error
    if isinstance(error, PermissionDenied):
        return Denied(f"{place}: permission denied: {permission(place)}")
    for kind, meaning, words in _MEANINGS:
        if isinstance(error, kind):
            told = f"{place}: {words}"
            if meaning is Unreachable:
                return Unreachable(told, retry_after_s=getattr(error, "retry_after_secs", None))
            return meaning(told)
    return Unreachable(
        f"{place}: the workspace cannot be reached: "
        "Headgate looks again; check DATABRICKS_HOST and the network if it lasts"
    )


_MEANINGS: tuple[tuple[type[BaseException], type[WorkspaceError], str], ...] = (
    (
        Unauthenticated,
        Denied,
        "the workspace refuses the token: renew DATABRICKS_TOKEN or the service principal's secret",
    ),
    (NotFound, Refused, "not found: check the configuration"),
    (
        ResourceConflict,
        Refused,
        "the workspace is busy with another change, or has it already: Headgate looks again",
    ),
    (
        BadRequest,
        Refused,
        "the workspace refuses the request as invalid: check the application's configuration",
    ),
    (TooManyRequests, Unreachable, "too many requests (429): Headgate looks again"),
    (DatabricksError, Unreachable, "the workspace failed: Headgate looks again"),
    (requests.Timeout, Unreachable, "no answer in time: Headgate looks again"),
    (
        requests.TooManyRedirects,
        Unreachable,
        "the answer is a redirect to another address, which is not followed: check DATABRICKS_HOST",
    ),
    (
        requests.JSONDecodeError,
        Unreachable,
        "the answer is not JSON: check that DATABRICKS_HOST is a workspace",
    ),
)
"""Kinds of error in the order in which they are tried; words never repeat the server's."""


def permission(place: str) -> str:
    """The permission that a caller denied at `place` most likely lacks."""
    for start, remedy in _PERMISSIONS.items():
        if place.startswith(start):
            return remedy
    return "grant it to the identity that Headgate runs as"


_PERMISSIONS = {
    "serving endpoint": "Headgate's identity needs CAN_MANAGE on the endpoint, "
    "and its creator EXECUTE on the model",
    "alias": "Headgate's identity must own the model to set aliases, or use `alias: none`",
    "tag": "Headgate's identity needs APPLY TAG on the model",
    "model": "Headgate's identity needs EXECUTE on the model, "
    "USE CATALOG and USE SCHEMA on its parents",
    "served entity": "Headgate's identity needs CAN_QUERY on the endpoint",
    "inference table": "Headgate's identity needs SELECT on the table, "
    "USE CATALOG and USE SCHEMA on its parents",
    "Lakebase database": "Headgate's identity needs CAN_USE on the instance or project, "
    "and a PostgreSQL role of its own there",
    "SQL warehouse": "Headgate's identity needs CAN_USE on the warehouse",
}
