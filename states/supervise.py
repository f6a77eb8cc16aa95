"""Whether the endpoint and the alias are as Headgate left them; a stranger's change is shown."""

from dataclasses import dataclass

from states.desired import desired, desired_alias
from states.home import add_span, roll_back
from states.machine import State
from states.release import Application, Order
from states.turn import Turn
from states.wishes import exposed
from states.world import Endpoint


@dataclass(frozen=True)
class Finding:
    """What is not ours, in one sentence; nothing where all is well; `unknown` when unseen."""

    trouble: str | None = None
    unknown: bool = False


def supervise(turn: Turn) -> None:
    """Hold while something that Headgate owns was changed by others; go on when it is right."""
    findings = [_endpoint(turn), _alias(turn)]
    troubles = [finding.trouble for finding in findings if finding.trouble]
    if troubles:
        if turn.application.hold is None:
            _cut(turn)
        turn.hold_application("; ".join(troubles))
    elif not any(finding.unknown for finding in findings):
        turn.free_application()


def _cut(turn: Turn) -> None:
    """Somebody moved the weights: what is counted from here on proves nothing of this step."""
    live = turn.application.live
    if live is not None and live.state is State.CANARY and live.spans:
        add_span(turn, turn.put(live, settled=False), settled=False)


def _endpoint(turn: Turn) -> Finding:
    application, endpoint = turn.application, turn.endpoint
    if turn.unseen:
        return Finding(unknown=True)
    if endpoint is None:
        if application.seen is None:
            return Finding()
        wanted = desired(application) or application.seen
        return Finding(
            f"endpoint {application.spec.endpoint} is gone: create it again, serving {wanted}"
        )
    serving = endpoint.serving
    if not serving.shares and application.seen is None:
        return Finding()
    if serving in (desired(application), application.seen) or str(serving) in _sent(application):
        if serving != application.seen:
            _tell_update(turn, endpoint)
        turn.record(seen=serving)
        return Finding()
    return _foreign(turn, endpoint)


def _sent(application: Application) -> set[str]:
    """Targets that may yet take effect: the last one asked, and those whose outcome is unknown."""
    sent = [attempt for attempt in application.attempts if attempt.kind == "serve"]
    unknown = {attempt.target for attempt in sent if attempt.outcome == "open"}
    asked = {application.asked} if application.asked else set()
    return unknown | asked | {attempt.target for attempt in sent[-1:]}


def _tell_update(turn: Turn, endpoint: Endpoint) -> None:
    weights = {name: share.weight for name, share in sorted(endpoint.serving.shares.items())}
    turn.tell(
        "endpoint.update",
        turn.shown,
        f"{turn.application.spec.endpoint} serves {endpoint.serving}",
        weights=weights,
        config_version=endpoint.config_version,
    )


def _foreign(turn: Turn, endpoint: Endpoint) -> Finding:
    application, live = turn.application, turn.application.live
    if live is not None and live.state in (State.CANARY, State.PRODUCTION):
        entity = application.entity(live.version)
        weight = endpoint.serving.weight(entity)
        raised = application.seen is not None and weight > application.seen.weight(entity)
        if weight < live.weight and not raised and live.pinned and live.pinned.baseline:
            told = f"its weight was lowered by someone else, to {weight} % of {live.weight} %"
            if live.order is Order.ABORT:
                told = "aborted by the operator"
            roll_back(turn, live, told)
            turn.record(seen=endpoint.serving)
            return Finding()
    if exposed(application, endpoint.serving):
        return Finding()
    return Finding(
        f"endpoint {application.spec.endpoint} was changed by someone else: it serves "
        f"{endpoint.serving}, Headgate wants {desired(application)}; put it back, and it goes on"
    )


def _alias(turn: Turn) -> Finding:
    application, alias = turn.application, turn.world.alias
    name, named = application.spec.alias, desired_alias(application)
    if name is None:
        return Finding()
    if alias is None:
        return Finding(unknown=True)
    if not isinstance(alias, str):
        return Finding()
    ours = {attempt.target for attempt in application.attempts if attempt.kind == "alias"}
    if alias in (named, application.seen_alias) or alias in ours:
        if alias == named and alias != application.seen_alias:
            _tell_alias(turn, alias)
        turn.record(seen_alias=alias)
        return Finding()
    if named is None:
        return Finding()
    return Finding(
        f"alias {name} was moved by someone else to version {alias}, Headgate wants version "
        f"{named}; put it back, and it goes on"
    )


def _tell_alias(turn: Turn, alias: str) -> None:
    name = turn.application.spec.alias
    turn.tell(
        "alias.moved",
        turn.shown,
        f"{name} names version {alias}",
        alias=name,
        from_version=turn.application.seen_alias,
        to_version=alias,
    )
