"""Faults of the HTTP layer, asked for from outside, and the log of what clients called."""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deploy.sandbox.wire import Json, invalid, read_json, reply, whole

LOG_LENGTH = 100_000
"""Requests that the log remembers: enough for a contract test, bounded for a long evening."""


@dataclass(kw_only=True)
class Fault:
    """What befalls the next `times` requests whose method and path match.

    With `after_handler` the request takes effect and only its answer is lost or replaced: the
    case in which a client cannot know what happened.
    """

    method: str | None = None
    """An HTTP method; none is any."""
    path: str = ""
    """A regular expression that is searched for in the path."""
    status: int | None = None
    """The status of the answer that replaces the real one; none leaves the real one."""
    error_code: str = "TEMPORARILY_UNAVAILABLE"
    message: str = "a fault that the sandbox was asked for"
    retry_after: int | None = None
    """The answer's Retry-After header, in seconds."""
    after_handler: bool = False
    times: int = 1
    delay_s: float = 0.0
    """How long the answer is held back, in seconds."""
    drop_connection: bool = False
    """Whether the TCP connection is reset instead of answered."""

    def matches(self, method: str, path: str) -> bool:
        """Whether this request is to suffer it."""
        return self.method in (None, method) and re.search(self.path, path) is not None

    def response(self) -> Response:
        """The answer that the client sees in place of the real one."""
        assert self.status is not None
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        body = {"error_code": self.error_code, "message": self.message}
        return JSONResponse(body, status_code=self.status, headers=headers)


_TYPES: dict[str, tuple[type, ...]] = {
    "method": (str,),
    "path": (str,),
    "status": (int,),
    "error_code": (str,),
    "message": (str,),
    "retry_after": (int,),
    "after_handler": (bool,),
    "times": (int,),
    "delay_s": (int, float),
    "drop_connection": (bool,),
}
assert set(_TYPES) == {field.name for field in fields(Fault)}


def _fault(body: Any) -> Fault:  # noqa: ANN401 - anything may stand in a request
    """The fault that one object of the request describes."""
    if not isinstance(body, dict):
        raise invalid("a fault must be a JSON object")
    for key, value in body.items():
        if key not in _TYPES:
            raise invalid(f"a fault has no field {key!r}; it has {', '.join(sorted(_TYPES))}")
        if not isinstance(value, _TYPES[key]):
            raise invalid(f"the field {key!r} of a fault cannot be {value!r}")
    fault = Fault(**body)
    try:
        re.compile(fault.path)
    except re.error as error:
        raise invalid(f"the path {fault.path!r} is no regular expression: {error}") from error
    if fault.status is None and not fault.drop_connection and not fault.delay_s:
        raise invalid("a fault must set a status, a delay_s, or drop_connection")
    return fault


class Faults:
    """The faults that are still to happen, oldest first."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that befalls this request, counted as used."""
        for fault in self.waiting:
            if fault.matches(method, path):
                fault.times -= 1
                if fault.times <= 0:
                    self.waiting.remove(fault)
                return fault
        return None

    def _answer(self) -> Response:
        return reply({"faults": [asdict(fault) for fault in self.waiting]})

    async def add(self, request: Request) -> Response:
        """POST {"faults": [...]}: put faults at the end of those that wait."""
        asked = (await read_json(request)).get("faults")
        if not isinstance(asked, list):
            raise invalid('the body must be {"faults": [...]}')
        self.waiting += [_fault(body) for body in asked]
        return self._answer()

    async def show(self, _request: Request) -> Response:
        """GET: the faults that have not happened yet."""
        return self._answer()

    async def clear(self, _request: Request) -> Response:
        """DELETE: no more faults."""
        self.waiting.clear()
        return self._answer()

    def routes(self) -> list[Route]:
        """The control of the faults, which no Databricks client can reach by accident."""
        return [
            Route("/_sandbox/faults", self.add, methods=["POST"]),
            Route("/_sandbox/faults", self.show, methods=["GET"]),
            Route("/_sandbox/faults", self.clear, methods=["DELETE"]),
        ]


class RequestLog:
    """The API requests that were answered, numbered from 1 in the order of their answers."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: deque[Json] = deque(maxlen=LOG_LENGTH)
        self._last = 0

    def add(self, method: str, path: str, status: int | None) -> None:
        """Write down one request; no status means that the client got no answer."""
        self._last += 1
        self._entries.append(
            {
                "number": self._last,
                "time": self._clock(),
                "method": method,
                "path": path,
                "status": status,
            }
        )

    async def show(self, request: Request) -> Response:
        """GET ?since=N: the requests numbered above N, and the number to ask from next time."""
        since = whole(dict(request.query_params), "since", 0)
        entries = [entry for entry in self._entries if entry["number"] > since]
        return reply({"requests": entries, "last": self._last})

    def routes(self) -> list[Route]:
        """Where tests count the calls that a client made."""
        return [Route("/_sandbox/requests", self.show, methods=["GET"])]
