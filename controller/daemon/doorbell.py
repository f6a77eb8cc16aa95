"""The doorbell: whoever knows that something has changed may wake the loop; nothing more.

It takes the webhooks of a self-hosted MLflow as they are (`mlflow.webhooks.delivery`, MLflow 3),
and pings signed in the same way, such as a Databricks job sends that model updates trigger. What is
said in them is believed of no one: it only chooses whose next pass comes at once. Polling alone
suffices, so that a ring that is lost costs half a minute.
"""

import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.daemon.http import read
from controller.signing import DELIVERY, PATH, SIGNATURE, TIMESTAMP, signature

SKEW_S = 300
"""How far a delivery's time may be from ours, either way."""
MOST = 10_000
"""Deliveries that are remembered: they come to an end after ten minutes at most."""
TOLD_EVERY_S = 60.0
"""Between two lines of the log about what was refused: anybody may knock."""
MODELS = ("registered_model", "model_version")
"""How MLflow's entities begin whose name is a model's: their tags and aliases too."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
UNSET = (
    "no secret is set: name a file with one in HEADGATE_WEBHOOK_SECRET_FILE, and give the same "
    "secret to whoever rings"
)
log = structlog.get_logger()


class _Webhook(BaseModel):
    """What MLflow sends; more than is read here may be in it."""

    model_config = ConfigDict(strict=True)

    entity: str
    action: str
    data: dict[str, Any]


class _Update(BaseModel):
    """One of `{{job.trigger.model.updates}}`; a version and an alias may be in it."""

    model_config = ConfigDict(strict=True)

    full_name: str


class _Ping(BaseModel):
    """What whoever has no MLflow sends; nothing named means that all are to be looked at."""

    model_config = ConfigDict(strict=True, extra="forbid")

    updates: list[_Update] = []
    applications: list[str] = []


@dataclass
class Doorbell:
    """Checks who rings, and wakes the loop for the applications that are meant."""

    secret: str | None = field(repr=False)
    models: Mapping[str, str]
    """The registered model of each application."""
    ring: Callable[[Collection[str]], Collection[str]]
    """Wakes the loop for applications; those of them that this replica looks after."""
    _until: dict[str, float] = field(default_factory=dict, init=False)
    """The deliveries taken, and until when each could be delivered again."""
    _refused: int = field(default=0, init=False)
    _told_at: float = field(default=float("-inf"), init=False)

    @property
    def route(self) -> Route:
        """Where it is rung."""
        return Route(PATH, self._rung, methods=["POST"])

    async def _rung(self, request: Request) -> Response:
        """Look at applications at once; the delivery is signed as MLflow signs its webhooks."""
        try:
            names = self._meant(request, await read(request))
        except HTTPException as refused:
            self._tell(refused.detail)
            raise
        rung = sorted(self.ring(names))
        log.info("doorbell.rung", applications=rung)
        return JSONResponse({"rung": rung}, status_code=202)

    def _meant(self, request: Request, body: bytes) -> Collection[str]:
        """The applications that a delivery is about; `HTTPException` where it is not valid."""
        if self.secret is None:
            raise HTTPException(403, UNSET)
        delivery, sent = _one(request, DELIVERY), _one(request, TIMESTAMP)
        if not compare_digest(
            _one(request, SIGNATURE).encode("latin-1"), signature(self.secret, delivery, sent, body)
        ):
            told = "the signature is not that of this delivery: give both sides the same secret"
            raise HTTPException(401, told)
        if _ID.fullmatch(delivery) is None or _SECONDS.fullmatch(sent) is None:
            told = f"{DELIVERY} has up to 128 letters, digits, - and _; {TIMESTAMP} Unix seconds"
            raise HTTPException(400, told)
        now, at = time.time(), int(sent)
        if abs(now - at) > SKEW_S:
            told = f"sent {abs(now - at):.0f} s from now by {TIMESTAMP}: at most {SKEW_S} s; "
            raise HTTPException(401, told + "check both clocks")
        names = self._named(body)
        self._remember(delivery, at, now)
        return names

    def _named(self, body: bytes) -> Collection[str]:
        """The applications that a body names."""
        try:
            content = from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise HTTPException(400, "the body is not JSON") from error
        try:
            if isinstance(content, dict) and "entity" in content:
                return self._of_webhook(_Webhook.model_validate(content))
            return self._of_ping(_Ping.model_validate(content))
        except ValidationError as error:
            place = ".".join(str(part) for part in error.errors()[0]["loc"])
            told = f"the body is neither a webhook of MLflow nor a ping: look at {place or 'it'}"
            raise HTTPException(400, told) from error

    def _of_webhook(self, webhook: _Webhook) -> Collection[str]:
        if not webhook.entity.startswith(MODELS):
            return ()  # of a prompt, or a budget: nothing here depends on it
        name = webhook.data.get("name")
        return self._serving({name}) if isinstance(name, str) else self.models.keys()

    def _of_ping(self, ping: _Ping) -> Collection[str]:
        if not ping.updates and not ping.applications:
            return self.models.keys()
        found = self._serving({one.full_name for one in ping.updates})
        return found | (self.models.keys() & set(ping.applications))

    def _serving(self, names: Collection[str]) -> set[str]:
        """The applications of models; a registry without catalogs knows only a model's own name."""
        return {
            application
            for application, model in self.models.items()
            if model in names or model.rpartition(".")[2] in names
        }

    def _remember(self, delivery: str, at: int, now: float) -> None:
        if delivery in self._until:
            raise HTTPException(409, "this delivery has been taken already")
        if len(self._until) >= MOST:
            self._until = {one: until for one, until in self._until.items() if until >= now}
            if len(self._until) >= MOST:
                told = f"more than {MOST} deliveries in ten minutes: polling goes on without them"
                raise HTTPException(429, told, {"Retry-After": str(SKEW_S)})
        self._until[delivery] = at + SKEW_S

    def _tell(self, because: str) -> None:
        """Say in the log what is refused, and how much of it was since the last line."""
        self._refused += 1
        now = time.monotonic()
        if now - self._told_at < TOLD_EVERY_S:
            return
        log.warning("doorbell.refused", because=because, refused=self._refused)
        self._told_at, self._refused = now, 0


def _one(request: Request, header: str) -> str:
    """A header that must be there once."""
    values = request.headers.getlist(header)
    if len(values) != 1:
        told = f"send one {header}, as MLflow does for webhooks that have a secret"
        raise HTTPException(401, told)
    return values[0]
