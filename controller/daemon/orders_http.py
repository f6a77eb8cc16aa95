"""Orders over HTTP: the same verbs as through the store, for whoever has the token.

Whoever has it may give any order under any name: the name is recorded as claimed. Every order is
idempotent by nature, as through the store: what was ordered before is said to be. So nobody needs
to number requests. Only `promote` is about the place that the release has when it arrives: whoever
lost the answer to one looks at the history first.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import islice
from typing import Annotated

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.address import is_loopback, names_loopback
from controller.daemon.http import read
from controller.daemon.openapi import Described, described
from controller.record.asking import JOURNAL, LONGEST_REASON, ORDERS, Asked, Asking, obey
from controller.record.errors import OrderRefused, RecordError
from controller.record.store import Store
from states.setup import Setup
from states.world import Size, Variables

PAGE = 500
"""Lines of the journal in one answer."""
ENDING = "this daemon is ending: give the order to the next one, or through the store"
log = structlog.get_logger()
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$")]


class _Size(BaseModel):
    """How big a served entity is, as `serving` of the configuration has it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    workload_size: Annotated[Line, Field(max_length=32)] | None = None
    min_concurrency: Annotated[int, Field(ge=0, le=4096)] | None = None
    max_concurrency: Annotated[int, Field(ge=0, le=4096)] | None = None
    workload_type: Annotated[Line, Field(max_length=32)] = "CPU"
    scale_to_zero: bool = False


class _Setup(BaseModel):
    """Of `apply`: the setup that its operator was shown; the daemon's own must say the same."""

    model_config = ConfigDict(strict=True, extra="forbid")

    size: _Size | None = None
    scale_to_zero: bool = False
    """Where no size is stated."""
    names: Annotated[list[Annotated[Line, Field(max_length=256)]], Field(max_length=200)] = []
    """Of the environment variables; their values are not told."""
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{0,128}$")] = ""

    def setup(self) -> Setup:
        """The same as the record has it."""
        size = Size(**self.size.model_dump()) if self.size is not None else None
        variables = Variables(tuple(self.names), self.digest)
        return Setup(size=size, scale_to_zero=self.scale_to_zero, variables=variables)


class OrderBody(BaseModel):
    """An order, who gives it, and why."""

    model_config = ConfigDict(strict=True, extra="forbid")

    verb: Asking
    application: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,63}$")]
    version: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,17}$")] | None = None
    actor: Annotated[Line, Field(min_length=1, max_length=128)]
    """Whom the token's holder names; it is recorded as claimed."""
    reason: Annotated[str, Field(max_length=LONGEST_REASON, pattern=r"^[^\x00]*$")] = ""
    override: bool = False
    """Of `promote`: also without proof, and past what holds."""
    setup: _Setup | None = None

    def asked(self) -> Asked:
        """The same as the record takes it."""
        return Asked(
            verb=self.verb,
            application=self.application,
            version=self.version,
            actor=self.actor,
            reason=self.reason,
            override=self.override,
            setup=self.setup.setup() if self.setup is not None else None,
            via="http",
        )


class Said(BaseModel):
    """What was done, and whether this daemon looks at once."""

    said: str
    woken: bool


class Lines(BaseModel):
    """Lines of the journal, as the log has them."""

    lines: list[dict[str, object]]
    more: bool


@dataclass
class Orders:
    """Takes orders, and lets those who give them read what came of it."""

    store: Store
    names: Collection[str]
    """The applications of the configuration: an order for another would wait for nobody."""
    ring: Callable[[Collection[str]], Collection[str]]
    ending: Callable[[], bool]
    host: str
    """Where this daemon listens."""

    @property
    def routes(self) -> tuple[Route, ...]:
        """Where orders are given, and read about."""
        return (
            Route(ORDERS, self.order, methods=["POST"]),
            Route(JOURNAL, self.journal, methods=["GET"]),
        )

    @described(Described(body=OrderBody, answer=Said))
    async def order(self, request: Request) -> Response:
        """Give an order: one sentence tells what will be done, or why it is refused.

        409: it makes no sense in this state, and nothing was written. 404: no such application
        here. 503: the store cannot be used, or the daemon is ending; the order may be given again.
        Whoever gets no answer at all may give it again too: done twice is done once, but for
        `promote`, which is about the step that the release has by then.
        """
        self._no_web_page(request)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise HTTPException(415, "send the order as `Content-Type: application/json`")
        asked = _parsed(await read(request)).asked()
        name = asked.application
        if name not in self.names:
            raise HTTPException(
                404,
                f"{name} is not in this daemon's configuration, so that nobody looks after it "
                "here: ask the daemon that does, or add it again",
            )
        if self.ending():
            return _error(503, ENDING, "ending")
        try:
            said = await run_in_threadpool(obey, self.store, asked)
        except OrderRefused as refused:
            return _error(409, str(refused), "refused")
        except RecordError as trouble:
            log.error("store.failed", application=name, because=str(trouble))
            return _error(503, str(trouble), "store")
        woken = name in self.ring([name])
        return JSONResponse(Said(said=said, woken=woken).model_dump())

    @described(Described(answer=Lines, query={"after": "The number (`seq`) of the line before."}))
    def journal(self, request: Request) -> Response:
        """The journal as log lines, in order, from the one that follows `after`; 500 at a time."""
        self._no_web_page(request)
        after = request.query_params.get("after", "0")
        if not (after.isascii() and after.isdigit() and len(after) <= 18):  # noqa: PLR2004 - 64 bits
            raise HTTPException(400, "`after` is the number of a line, such as 0")
        try:
            lines = list(islice(self.store.journal(after=int(after)), PAGE))
        except RecordError as trouble:
            return _error(503, str(trouble), "store")
        return JSONResponse({"lines": lines, "more": len(lines) == PAGE})

    def _no_web_page(self, request: Request) -> None:
        """Refuse a browser: a page that somebody visits must not speak for them.

        A page elsewhere that had its own name point here would be told by that name.
        """
        headers = request.headers
        if "origin" in headers or "sec-fetch-site" in headers:
            raise HTTPException(403, "not for web pages: use `headgate`, or another program")
        if is_loopback(self.host) and not names_loopback(headers.get("host", "")):
            raise HTTPException(
                403, "this daemon listens on this machine alone: ask it as 127.0.0.1 or localhost"
            )


def _parsed(body: bytes) -> OrderBody:
    try:
        content = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise HTTPException(400, "the body is not JSON") from error
    try:
        return OrderBody.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        # Only keys that we know are told again: what was sent is nobody's to repeat.
        known = [str(part) for part in first["loc"] if part in OrderBody.model_fields]
        place = ".".join(known) or "a key that is none of " + ", ".join(OrderBody.model_fields)
        raise HTTPException(400, f"this is no order: look at {place} ({first['type']})") from error


def _error(status: int, because: str, kind: str) -> Response:
    return JSONResponse({"error": because, "kind": kind}, status_code=status)
