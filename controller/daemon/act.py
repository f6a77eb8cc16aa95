"""Acting: each call was journalled before it is sent, is sent once, and is absolute."""

from dataclasses import dataclass
from datetime import timedelta

import structlog

from controller.record.store import Store
from controller.workspace.errors import WorkspaceError
from controller.workspace.registry import Registry
from controller.workspace.serving import Endpoints, ServingSettings
from states.machine import State
from states.plan import Call, MoveAlias, Serve, TagVersion
from states.release import Application

WINDOW = timedelta(minutes=5)
BUDGET = 50
"""Databricks takes 50 endpoint writes per workspace in five minutes."""
RESERVE = 10
"""Of these, kept for rollbacks: the way back must not wait behind the way forward."""
log = structlog.get_logger()


@dataclass
class Actor:
    """The hands of one application."""

    endpoints: Endpoints
    registry: Registry
    store: Store
    serving: ServingSettings

    def affordable(self, application: Application, calls: tuple[Call, ...]) -> tuple[Call, ...]:
        """The calls that the workspace's budget still has room for; the others wait a look."""
        if not calls:
            return ()
        live = application.live
        back = live is not None and live.state is State.ROLLED_BACK
        room = BUDGET - (0 if back else RESERVE)
        spent = self.store.writes_since(self.store.now() - WINDOW)
        if spent + len(calls) > room:
            log.warning("workspace.budget", application=application.name, spent=spent)
            return ()
        return calls

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
            if error.outcome != "open":
                self.store.settle_call(number, error.outcome, str(error))
            return
        self.store.settle_call(number, "done", "the workspace took it")

    def _send(self, application: Application, call: Call) -> None:
        spec = application.spec
        match call:
            case Serve(serving):
                self.endpoints.serve(spec.endpoint, serving, self.serving)
            case MoveAlias(version):
                assert spec.alias is not None, "no alias, no wish to move it"
                self.registry.set_alias(spec.model, spec.alias, version)
            case TagVersion(version, key, value):
                self.registry.set_tag(spec.model, version, key, value)
