"""What the service principal may ask for: everything, or the calls on a list and nothing else."""

import re

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.sandbox.wire import ApiError, invalid, read_json, reply

_PLACE = re.compile(r"\\\{[^/{}]+\\\}")
"""A part of a path that may be anything, after `re.escape`."""


class Privileges:
    """The list, if there is one. The user, who makes endpoints and models, may do all."""

    def __init__(self) -> None:
        self._calls: dict[str, re.Pattern[str]] | None = None
        self._used: dict[str, int] = {}

    @property
    def restrict(self) -> bool:
        """Whether there is a list."""
        return self._calls is not None

    def check(self, method: str, path: str) -> None:
        """Refuse a call of the service principal that is not on the list."""
        if self._calls is None:
            return
        told = f"{method} {path}"
        for call, pattern in self._calls.items():
            if pattern.fullmatch(told):
                self._used[call] += 1
                return
        raise ApiError(403, "PERMISSION_DENIED", f"The service principal may not {told}.")

    async def _set(self, request: Request) -> Response:
        """PUT {"calls": ["GET /api/2.0/serving-endpoints/{name}", ...]}; null: no list."""
        calls = (await read_json(request)).get("calls")
        if calls is None:
            self._calls, self._used = None, {}
            return reply()
        if not isinstance(calls, list) or not all(isinstance(one, str) for one in calls):
            raise invalid('the body must be {"calls": [...]}, each a method and a path')
        self._calls = {one: re.compile(_PLACE.sub("[^/]+", re.escape(one))) for one in calls}
        self._used = dict.fromkeys(calls, 0)
        return reply()

    async def _show(self, _request: Request) -> Response:
        """GET: how often each call on the list was asked for."""
        return reply({"used": self._used})

    def routes(self) -> list[Route]:
        """The control of the list, which no Databricks client can reach by accident."""
        return [
            Route("/_sandbox/privileges", self._set, methods=["PUT"]),
            Route("/_sandbox/privileges", self._show, methods=["GET"]),
        ]
