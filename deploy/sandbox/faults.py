"""Faults on request, for every part of the workspace, and the log of what clients called."""

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deploy.sandbox.rules import SCOPES, Effect, HttpFault, Rule, read_rule
from deploy.sandbox.wire import Json, invalid, read_json, reply, whole

LOG_LENGTH = 100_000
"""Requests that the log remembers: enough for a contract test, bounded for a long evening."""

_Kind = TypeVar("_Kind", bound=Effect)


def replaced(fault: HttpFault) -> Response:
    """The answer that the client sees in place of the real one."""
    assert fault.status is not None
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    body = {"error_code": fault.error_code, "message": fault.message}
    return JSONResponse(body, status_code=fault.status, headers=headers)


class Faults:
    """The rules that were asked for, oldest first, and what is to be done when one comes or goes.

    Parts of the workspace ask `take` at each event that a rule can befall, on the event loop.
    """

    def __init__(self) -> None:
        self.rules: dict[str, list[Rule]] = {}
        """The rules by their scope; a scope without any is not here, which costs a look only."""
        self.came: list[Callable[[Rule], None]] = []
        """Called with each new rule."""
        self._last = 0

    def take(
        self, scope: str, kind: type[_Kind], moment: str, /, **names: str
    ) -> tuple[Rule, _Kind] | None:
        """The first rule that befalls this event, counted as applied, and its effect."""
        for rule in self.rules.get(scope, ()):
            if rule.applies(moment, names):
                assert isinstance(rule.effect, kind), "a scope has one kind of effects"
                return rule, rule.effect
        return None

    def stands(self, rule: Rule) -> bool:
        """Whether a rule has not been cleared, however often it has applied."""
        return rule in self.rules.get(rule.scope, ())

    def put(self, body: Any) -> Rule:  # noqa: ANN401 - anything may stand in a request
        """A new rule, after those that are there."""
        rule = read_rule(body)
        self._last += 1
        rule.number = self._last
        self.rules.setdefault(rule.scope, []).append(rule)
        for told in self.came:
            told(rule)
        return rule

    def clear(self, scope: str | None = None) -> None:
        """No more faults, or no more of one scope."""
        if scope is None:
            self.rules.clear()
        else:
            self.rules.pop(scope, None)

    def _shown(self) -> Response:
        rules = [rule for of_scope in self.rules.values() for rule in of_scope]
        rules.sort(key=lambda rule: rule.number)
        return reply({"faults": [rule.shown() for rule in rules]})

    async def _add(self, request: Request) -> Response:
        """POST {"faults": [...]}, or one fault alone: refused as a whole or put as a whole."""
        body = await read_json(request)
        asked = body.get("faults", [body])
        if not isinstance(asked, list) or not ("scope" in body or "faults" in body):
            raise invalid('the body must be {"faults": [...]}, or one fault with its scope')
        for one in asked:
            read_rule(one)
        for one in asked:
            self.put(one)
        return self._shown()

    async def _show(self, _request: Request) -> Response:
        """GET: all rules, each with how often it matched and applied."""
        return self._shown()

    async def _clear(self, request: Request) -> Response:
        """DELETE: no more faults; with ?scope= no more of that one."""
        scope = request.query_params.get("scope")
        if scope is not None and scope not in SCOPES:
            raise invalid(f"there is no scope {scope!r}: {', '.join(SCOPES)}")
        self.clear(scope)
        return self._shown()

    def routes(self) -> list[Route]:
        """The control of the faults, which no Databricks client can reach by accident."""
        return [
            Route("/_sandbox/faults", self._add, methods=["POST"]),
            Route("/_sandbox/faults", self._show, methods=["GET"]),
            Route("/_sandbox/faults", self._clear, methods=["DELETE"]),
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
