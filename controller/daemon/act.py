"""Acting: each call was journalled before it is sent, is sent once, and is absolute."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Lock

import structlog

from controller.daemon.backoff import Backoff
from controller.record.store import Store
from controller.workspace.errors import Unreachable, WorkspaceError
from controller.workspace.registry import Registry
from controller.workspace.serving import Endpoints, ServingSettings
from states.machine import State
from states.plan import Call, MoveAlias, Serve, SwitchFallbackOff, TagVersion
from states.release import Application

WINDOW = timedelta(minutes=5)
BUDGET = 50
"""Databricks takes 50 endpoint writes per workspace in five minutes."""
RESERVE = 10
"""Of these, kept for rollbacks: the way back must not wait behind the way forward."""
log = structlog.get_logger()


class Budget:
    """The workspace's writes, shared by all applications: what is granted is never over the limit.

    Counted on a clock that never jumps. What was sent before this process began, or by others, only
    the record tells, on its own clock.
    """

    def __init__(
        self, store: Store, *, shared: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._shared, self._clock = store, shared, clock
        self._granting = Lock()
        self._sent = deque[float]()
        self._begun = clock()

    @contextmanager
    def granted(self, calls: tuple[Call, ...], *, back: bool) -> Iterator[tuple[Call, ...]]:
        """The calls that there is room for; they count as sent if the block ends well.

        Nobody else is granted any before that: two that look at once would both find room.
        """
        if not calls:
            yield ()
            return
        with self._granting:
            room = BUDGET - (0 if back else RESERVE)
            spent = self._spent()
            allowed = calls[: max(0, room - spent)] if back else calls
            if spent + len(allowed) > room:
                allowed = ()
            if len(allowed) < len(calls):
                log.warning("workspace.budget", spent=spent, waiting=len(calls) - len(allowed))
            yield allowed
            self._sent.extend([self._clock()] * len(allowed))

    def _spent(self) -> int:
        now, window = self._clock(), WINDOW.total_seconds()
        while self._sent and now - self._sent[0] >= window:
            self._sent.popleft()
        own = len(self._sent)
        if not self._shared and now - self._begun >= window:
            return own
        # What lies ahead was written before the record's clock was set back: nobody knows when.
        at = self._store.now()
        ahead = self._store.writes_since(at + timedelta(microseconds=1))
        return max(own, self._store.writes_since(at - WINDOW) - ahead)


@dataclass
class Actor:
    """The hands of one application."""

    endpoints: Endpoints
    registry: Registry
    store: Store
    serving: ServingSettings
    budget: Budget
    backoff: Backoff = field(default_factory=lambda: Backoff("sending"))

    @contextmanager
    def affordable(
        self, application: Application, calls: tuple[Call, ...]
    ) -> Iterator[tuple[Call, ...]]:
        """The calls to commit and send now; the others wait for another look.

        They wait for room in the workspace's budget, or because sending to the endpoint fails.
        """
        live = application.live
        back = live is not None and live.state is State.ROLLED_BACK
        ready = self.backoff.ready(urgent=back)
        with self.budget.granted(calls if ready else (), back=back) as granted:
            yield granted

    def send(self, application: Application, call: Call, number: int) -> None:
        """Send one call, once; what came of it is written down, unless nobody knows."""
        try:
            self._send(application, call)
        except WorkspaceError as error:
            log.warning(
                "call.failed",
                application=application.name,
                kind=call.kind,
                target=call.target,
                outcome=error.outcome,
                because=str(error),
            )
            if isinstance(error, Unreachable):
                self.backoff.failed(error)
            if error.outcome != "open":
                self.store.settle_call(number, error.outcome, str(error))
            return
        self.backoff.succeeded()
        self.store.settle_call(number, "done", "the workspace took it")

    def _send(self, application: Application, call: Call) -> None:
        spec = application.spec
        match call:
            case Serve(serving):
                self.endpoints.serve(spec.endpoint, serving, self.serving)
            case SwitchFallbackOff():
                self.endpoints.switch_fallback_off(spec.endpoint)
            case MoveAlias(version):
                assert spec.alias is not None, "no alias, no wish to move it"
                self.registry.set_alias(spec.model, spec.alias, version)
            case TagVersion(version, key, value):
                self.registry.set_tag(spec.model, version, key, value)
