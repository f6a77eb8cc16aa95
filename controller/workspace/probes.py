"""Questions to one served entity, whatever the traffic: golden queries and heartbeats.

`/serving-endpoints/E/served-models/N/invocations` ignores the split and answers at 0 % as well
(Databricks' documentation, "Serve multiple models to a model serving endpoint"). The SDK has no
call for it (databricks/databricks-sdk-py#1043), hence requests, with a timeout of its own.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Lock
from typing import Any

import requests
from databricks.sdk import WorkspaceClient

from controller.workspace import json_text, patterns
from controller.workspace.client import addressed, permission, translated
from controller.workspace.errors import Denied, Refused, Unreachable
from controller.workspace.inputs import Inputs, Known, misfit, request_of
from controller.workspace.jsonpath import found
from controller.workspace.markers import marker as new_marker
from controller.workspace.names import segment
from policies.answer_checks import Shown, unmet
from policies.golden import Begun, GoldenQuery, Round
from states.counted import Paths

SERVED_BY = "served-model-name"
"""The response header that names the entity which answered."""
AT_ONCE = 4
"""Probes under way at the same time; the smallest endpoint takes four requests at a time."""
TIMEOUT_S = 30.0
"""The deadline of one question, to the end of its answer."""
BROKEN_OFF = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)
"""What `requests` raises for an answer that ends before its end, or is not in its own encoding."""
LOOK_S = 45.0
"""After this no further question of a round is begun at a look: the next look goes on with it.

So short that as many looks as a pass may have in a row, each with a last answer that comes at its
deadline, are over before the watchdog says that the pass hangs; long enough for most rounds."""


class Probes:
    """Asks the served entities of one application's endpoint."""

    __slots__ = ("_application", "_clock", "_config", "_endpoint", "_timeout_s")

    def __init__(
        self,
        client: WorkspaceClient,
        endpoint: str,
        application: str,
        *,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = client.config
        self._endpoint = endpoint
        self._application = application
        self._timeout_s, self._clock = timeout_s, clock

    def ask(  # noqa: PLR0913, PLR0917 - what a question is made of
        self,
        entity: str,
        query: GoldenQuery,
        marker: str,
        paths: Paths,
        inputs: Inputs | None = None,
        endpoint: str | None = None,
    ) -> str | None:
        """Ask one question: None when the answer is as expected, else why not, in a few words.

        Of an entity of the application's endpoint, or of the one that is named. `paths` say where a
        response has what is expected of it.

        The words hold no prompt, no answer and no server message. What no version can be blamed
        for is raised: no reachable workspace, a refused token, a limit that was hit (429).
        """
        body = request_of(query.query, query.body, inputs)
        why = misfit(body, inputs) if inputs is not None else None
        if why is not None:
            return f"request: {why}"
        began = time.monotonic()
        try:
            response = self.send(entity, body, marker, endpoint)
        except requests.Timeout:
            return f"timed out after {self._timeout_s:g} s"
        except requests.ConnectionError:
            return "the connection broke before an answer"
        took = timedelta(seconds=time.monotonic() - began)
        return _unanswered(entity, response) or _unmet(query, response, took, paths)

    def beat(
        self, entity: str, query: GoldenQuery, marker: str, inputs: Inputs | None = None
    ) -> bool:
        """Send one marked request; True when that very entity answered it with 200."""
        try:
            response = self.send(entity, request_of(query.query, query.body, inputs), marker)
        except (requests.Timeout, requests.ConnectionError):
            return False
        return _unanswered(entity, response) is None

    def round(  # noqa: PLR0913, PLR0917 - what a round is asked of
        self,
        candidate: str,
        stable: str | None,
        tests: tuple[GoldenQuery, ...],
        paths: Paths,
        given_up: Callable[[], bool] = lambda: False,
        inputs: Known = (None, None),
        staging: str | None = None,
        begun: Begun | None = None,
    ) -> Round | Begun | None:
        """Ask every golden query, as often as it says, of both entities, a few at a time.

        `staging` is the endpoint that has the candidate, where it is another than stable's. `begun`
        is what earlier looks have of this round: it goes on with what has no answer yet. Begun is
        also what it comes to, when the time of one look is not enough for the rest.

        None, if it was given up between two queries: what was answered then tells of no version.
        """
        arms = (candidate,) if stable is None else (candidate, stable)
        ask = partial(self.ask, paths=paths)
        # One query of both, then the next: within a long round the environment may change.
        questions = [
            (arm, number, partial(ask, entity, query, inputs=inputs[arm], endpoint=place))
            for number, query in enumerate(tests, start=1)
            for arm, (entity, place) in enumerate(zip(arms, (staging, None), strict=False))
            for _ in range(query.repeat)
        ]
        known = begun.answers if begun is not None else ()
        fresh = self._asked_in_time(
            [(arms[arm], question) for arm, _, question in questions[len(known) :]], given_up
        )
        if given_up():
            return None
        answers = (*known, *fresh)
        if len(answers) < len(questions):
            return Begun(answers=answers, of=len(questions))
        return _concluded(tests, [(arm, number) for arm, number, _ in questions], answers)

    def _asked_in_time(
        self,
        questions: Sequence[tuple[str, Callable[..., str | None]]],
        given_up: Callable[[], bool],
    ) -> list[str | None]:
        """The answers to the first of the questions, to as many as one look has the time for."""
        until, turn = self._clock() + LOOK_S, Lock()
        left, answers = iter(enumerate(questions)), dict[int, str | None]()

        def following() -> tuple[int, tuple[str, Callable[..., str | None]]] | None:
            # Held together, or a later one may be asked although an earlier one is not.
            with turn:
                over = given_up() or self._clock() >= until
                return None if over else next(left, None)

        def work() -> None:
            while (one := following()) is not None:
                number, (entity, question) = one
                answers[number] = question(marker=new_marker(self._application, entity))

        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="probe") as pool:
            working = [pool.submit(work) for _ in range(AT_ONCE)]
        for one in working:
            one.result()
        return [answers[number] for number in range(len(answers))]

    def send(
        self, entity: str, body: dict[str, Any], marker: str, endpoint: str | None = None
    ) -> requests.Response:
        """One attempt; raises for what says nothing of the version that was asked.

        Besides, `requests.Timeout` and `requests.ConnectionError`, where there was no whole answer.
        """
        endpoint = endpoint or self._endpoint
        place = f"served entity {entity} of {endpoint}"
        url = (
            f"{self._config.host}/serving-endpoints/{segment(endpoint)}"
            f"/served-models/{segment(entity)}/invocations"
        )
        with translated(place):
            headers = self._config.authenticate() | addressed(self._config)
        try:
            response = requests.post(
                url,
                json={**body, "client_request_id": marker},
                # As `auth`, or an entry of ~/.netrc for this host would replace the header.
                auth=partial(_with, headers),
                timeout=self._timeout_s,
                allow_redirects=False,
            )
        except requests.exceptions.InvalidJSONError as error:
            # Pinned by a version of Headgate that did not refuse it in the configuration.
            raise Refused(
                f"{place}: a golden query has NaN or an infinity, which JSON has not: leave it "
                "out, and retry the release"
            ) from error
        except BROKEN_OFF as error:
            raise requests.ConnectionError(error) from error
        if response.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
            raise Denied(
                f"{place}: status {response.status_code}, the workspace refuses the token: "
                f"{permission(place)}"
            )
        if response.status_code == requests.codes.too_many_requests:
            raise Unreachable(f"{place}: a rate limit or a full queue (429): Headgate asks again")
        if response.status_code == requests.codes.not_found:
            # Of a version that is served, the platform does not say so, and no model can.
            raise Unreachable(f"{place}: it is not there (404): the next look tells why")
        return response


def _concluded(
    tests: tuple[GoldenQuery, ...],
    questions: Sequence[tuple[int, int]],
    answers: Sequence[str | None],
) -> Round:
    """What a round comes to; `questions` are arm (candidate 0, stable 1) and number of a query."""
    by_query: dict[tuple[int, int], list[str | None]] = {}
    for asked, answer in zip(questions, answers, strict=True):
        by_query.setdefault(asked, []).append(answer)
    failed: tuple[dict[int, str], dict[int, str]] = ({}, {})
    for (arm, number), each in by_query.items():
        why = tests[number - 1].verdict(each)
        if why is not None:
            failed[arm][number] = why
    own = {number: why for number, why in failed[0].items() if number not in failed[1]}
    first = next(iter((own or failed[0]).items()), None)
    return Round(
        asked=len(tests),
        candidate_failed=tuple(failed[0]),
        stable_failed=tuple(failed[1]),
        why=f"query {first[0]}: {first[1]}" if first else "",
    )


def _unanswered(entity: str, response: requests.Response) -> str | None:
    """Why a response is no answer of an entity; None if it is one, as far as it tells."""
    if response.status_code != requests.codes.ok:
        return f"status {response.status_code}"
    if response.headers.get(SERVED_BY, entity) != entity:
        return "another served entity answered"
    return None


def answered(response: requests.Response) -> Any:  # noqa: ANN401 - JSON is anything
    """What a response says; ValueError where it is not JSON, or none that can be looked through."""
    # Of a charset that is not told, JSON's own rules tell.
    return json_text.read(response.content if response.encoding is None else response.text)


def _unmet(
    query: GoldenQuery, response: requests.Response, took: timedelta, paths: Paths
) -> str | None:
    """The first expectation that an answer does not meet."""
    try:
        document = answered(response)
    except ValueError:
        return "the answer is not JSON"
    shown = _shown(paths, document, took)
    return unmet(query, shown) or patterns.unmet(query, found(paths.answer, document))


def _shown(paths: Paths, document: object, latency: timedelta) -> Shown:
    """What a response shows, as far as it is there in the form that it should have."""
    answer, sources = found(paths.answer, document), found(paths.sources, document)
    return Shown(
        answer=answer if isinstance(answer, str) else None,
        sources=sources if isinstance(sources, list) else None,
        tokens=json_text.number(found(paths.tokens, document)),
        latency=latency,
        places=(str(paths.answer), str(paths.sources), str(paths.tokens)),
    )


def _with(headers: dict[str, str], request: requests.PreparedRequest) -> requests.PreparedRequest:
    """The request with its authentication headers."""
    request.headers.update(headers)
    return request
