"""One recorded request, asked of both versions, one after the other; what comes back is numbers."""

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any

import requests

from controller.workspace import json_text
from controller.workspace.errors import Unreachable
from controller.workspace.jsonpath import Missing, found
from controller.workspace.markers import replay_marker
from controller.workspace.probes import Probes, answered
from controller.workspace.recorded import Recorded
from policies.pairs import Pair, Reply
from states.counted import Paths

NOT_REPEATED = ("client_request_id", "usage_context", "databricks_options", "stream")
"""Of a recorded body, what is not sent again: its mark, whom it is charged to, and how it is told:
an answer that streams has no JSON in it."""


@dataclass(frozen=True)
class _Answer:
    """What one version answered, in numbers and in digests of its sources."""

    reply: Reply
    sources: frozenset[str] = frozenset()


class Replays:
    """Asks pairs of the served entities of one application's endpoint."""

    __slots__ = ("_application", "_probes")

    def __init__(self, probes: Probes, application: str) -> None:
        self._probes, self._application = probes, application

    def pair(
        self, recorded: Recorded, candidate: str, stable: str, salt: str, paths: Paths
    ) -> Pair | None:
        """Ask both; which one first is drawn from its id. None: it cannot be sent as JSON.

        Raises what blames no version: no reachable workspace, a refused token, a full queue.
        """
        document = _document(recorded.body)
        if document is None:
            return None
        drawn = hashlib.sha256(f"{salt}/{recorded.id}/first".encode()).digest()[0]
        order = (candidate, stable) if drawn % 2 else (stable, candidate)
        answers = {entity: self._ask(entity, document, recorded.id, paths) for entity in order}
        own, theirs = answers[candidate], answers[stable]
        overlap = None
        if own.sources and theirs.sources:
            both = own.sources | theirs.sources
            overlap = len(own.sources & theirs.sources) / len(both)
        return Pair(
            request=recorded.id,
            candidate=own.reply,
            stable=theirs.reply,
            overlap=overlap,
            succeeded=recorded.succeeded,
        )

    def _ask(self, entity: str, body: dict[str, Any], request: str, paths: Paths) -> _Answer:
        began = time.perf_counter()
        marker = replay_marker(self._application, entity, request)
        try:
            response = self._probes.send(entity, body, marker)
        except (requests.Timeout, requests.ConnectionError):
            return _Answer(Reply(failed=True))
        latency_ms = round((time.perf_counter() - began) * 1000, 1)
        if response.status_code == requests.codes.not_found:
            raise Unreachable(f"served entity {entity} is not there (404): Headgate asks again")
        if response.status_code != requests.codes.ok:
            return _Answer(Reply(failed=True, latency_ms=latency_ms))
        try:
            document = answered(response)
        except ValueError:
            return _Answer(Reply(failed=True, latency_ms=latency_ms))
        return _read(document, latency_ms, paths)


def _read(document: object, latency_ms: float, paths: Paths) -> _Answer:
    """The numbers of an answer, and the digests of its sources."""
    places = paths.answer, paths.sources, paths.tokens
    answer, named, tokens = (_value(found(place, document)) for place in places)
    each = named if isinstance(named, list) else [named] if named else []
    reply = Reply(
        latency_ms=latency_ms,
        length=len(_text(answer)),
        sources=len(each),
        tokens=json_text.number(tokens),
    )
    return _Answer(reply, frozenset(map(_digest, each)))


def _document(body: str) -> dict[str, Any] | None:
    """A recorded body, less what is not sent again; None if it is none that can be sent."""
    try:
        document = json_text.read(body)
    except ValueError:
        return None
    if not isinstance(document, dict) or json_text.unwritable(document) is not None:
        return None
    return {name: value for name, value in document.items() if name not in NOT_REPEATED}


def _value(value: Any) -> Any:  # noqa: ANN401 - JSON is anything
    return None if isinstance(value, Missing) else value


def _text(answer: object) -> str:
    if answer is None:
        return ""
    return answer.strip() if isinstance(answer, str) else json.dumps(answer)


def _digest(source: object) -> str:
    """What tells a source from others: all that it carries but its scores, which are fractions."""
    if isinstance(source, dict):
        source = {name: one for name, one in source.items() if not isinstance(one, float)}
    return hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()
