"""Acting: each call was journalled before it is sent, is sent once, and is absolute."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from controller.daemon.backoff import Backoff
from controller.daemon.instruments import uncounted
from controller.record.budget import Budget
from controller.record.store import Store
from controller.workspace.errors import Unreachable, WorkspaceError, met
from controller.workspace.registry import Registry
from controller.workspace.serving import Endpoints, ServingSettings
from states.plan import (
    Apply,
    Call,
    Capture,
    CreateStaging,
    MoveAlias,
    Permit,
    RemoveStaging,
    Serve,
    SwitchFallbackOff,
    TagVersion,
)
from states.release import Application

STAGING = (CreateStaging, RemoveStaging)
REGISTRY = (MoveAlias, TagVersion)
log = structlog.get_logger()


@dataclass(slots=True)
class Actor:
    """The hands of one application."""

    endpoints: Endpoints
    registry: Registry
    store: Store
    serving: ServingSettings
    budget: Budget
    backoff: Backoff
    """Of sending to the application's own endpoint."""
    staging_backoff: Backoff
    registry_backoff: Backoff
    staging: ServingSettings | None = None
    """How a version is served on the staging endpoint; None: as on the application's own."""
    counted: Callable[[str, str], None] = uncounted
    """Told the kind of each call, and what came of it."""

    def affordable(self, application: Application, calls: tuple[Call, ...]) -> tuple[Call, ...]:
        """The calls to commit and send now; while sending to where they go fails, they wait."""
        urgent = application.taking_back
        return tuple(one for one in calls if self._backoff(one).ready(urgent=urgent))

    def _backoff(self, call: Call) -> Backoff:
        """Of where a call goes.

        A staging endpoint that cannot be removed, or a tag that cannot be set, must not keep users
        from going home; and an alias that moved says nothing of an endpoint that asked for rest.
        """
        if isinstance(call, STAGING):
            return self.staging_backoff
        return self.registry_backoff if isinstance(call, REGISTRY) else self.backoff

    def send(self, application: Application, call: Call, number: int) -> None:
        """Send one call, once; what came of it is written down, unless nobody knows."""
        try:
            self._send(application, call)
        except WorkspaceError as error:
            self.counted(call.kind, met(error))
            log.warning(
                "call.failed",
                application=application.name,
                kind=call.kind,
                target=call.target,
                outcome=error.outcome,
                because=str(error),
            )
            if isinstance(error, Unreachable):
                self._backoff(call).failed(error)
            if error.outcome != "open":
                self.store.settle_call(number, error.outcome, str(error))
            return
        self.counted(call.kind, "done")
        self._backoff(call).succeeded()
        self.store.settle_call(number, "done", "the workspace took it")

    def _send(self, application: Application, call: Call) -> None:
        spec = application.spec
        match call:
            case Serve():
                self._serve(spec.endpoint, call)
            case Apply(serving, entity, size):
                self.endpoints.apply(spec.endpoint, serving, self.serving, entity, size, on=call.on)
            case Capture():
                self.endpoints.capture(spec.endpoint, self.serving)
            case Permit(grants):
                self.endpoints.grant(spec.endpoint, grants)
            case SwitchFallbackOff():
                self.endpoints.switch_fallback_off(spec.endpoint)
            case CreateStaging(endpoint, serving):
                sized = self.staging or self.serving
                self.endpoints.create_staging(endpoint, serving, sized, call.mark)
            case RemoveStaging(endpoint, id_):
                self.endpoints.remove_staging(endpoint, id_)
            case MoveAlias(version):
                assert spec.alias is not None, "no alias, no wish to move it"
                self.registry.set_alias(spec.model, spec.alias, version)
            case TagVersion(version, key, value):
                self.registry.set_tag(spec.model, version, key, value)

    def _serve(self, endpoint: str, call: Serve) -> None:
        if call.on is None:
            self.endpoints.create(endpoint, call.serving, self.serving, call.sizes)
        else:
            self.endpoints.serve(endpoint, call.serving, self.serving, call.sizes, on=call.on)
