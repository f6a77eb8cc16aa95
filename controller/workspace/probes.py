"""Questions to one served entity, whatever the traffic: golden queries and heartbeats.

`/serving-endpoints/E/served-models/N/invocations` ignores the split and answers at 0 % as well
(Databricks' documentation, "Serve multiple models to a model serving endpoint"). The SDK has no
call for it (databricks/databricks-sdk-py#1043), hence requests, with a timeout of its own.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import requests
from databricks.sdk import WorkspaceClient

from controller.workspace import patterns
from controller.workspace.client import permission, translated
from controller.workspace.errors import Denied, Unreachable
from controller.workspace.inputs import Inputs, Known, misfit, request_of
from controller.workspace.jsonpath import found
from controller.workspace.markers import marker as new_marker
from controller.workspace.names import segment
from policies.answer_checks import Shown, unmet
from policies.golden import GoldenQuery, Round
from states.counted import Paths

SERVED_BY = "served-model-name"
"""The response header that names the entity which answered."""
AT_ONCE = 4
"""Probes under way at the same time; the smallest endpoint takes four requests at a time."""


class Probes:
    """Asks the served entities of one application's endpoint."""

    def __init__(
        self,
        client: WorkspaceClient,
        endpoint: str,
        application: str,
        *,
        timeout_s: float = 30,
    ) -> None:
        self._config = client.config
        self._endpoint = endpoint
        self._application = application
        self._timeout_s = timeout_s

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
    ) -> Round | None:
        """Ask every golden query, as often as it says, of both entities, a few at a time.

        `staging` is the endpoint that has the candidate, where it is another than stable's.

        None, if it was given up between two queries: what was answered then tells of no version.
        """
        arms = (candidate,) if stable is None else (candidate, stable)
        ask = partial(self.ask, paths=paths)
        questions = [
            (arm, number, partial(ask, entity, query, inputs=inputs[arm], endpoint=place))
            for arm, (entity, place) in enumerate(zip(arms, (staging, None), strict=False))
            for number, query in enumerate(tests, start=1)
            for _ in range(query.repeat)
        ]

        def asked(arm: int, question: Callable[..., str | None]) -> str | None:
            mark = new_marker(self._application, arms[arm])
            return None if given_up() else question(marker=mark)

        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="probe") as pool:
            futures = [pool.submit(asked, arm, question) for arm, _, question in questions]
            answers = [future.result() for future in futures]
        if given_up():
            return None
        by_query: dict[tuple[int, int], list[str | None]] = {}
        for (arm, number, _), answer in zip(questions, answers, strict=True):
            by_query.setdefault((arm, number), []).append(answer)
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

    def send(
        self, entity: str, body: dict[str, Any], marker: str, endpoint: str | None = None
    ) -> requests.Response:
        """One attempt; raises for what says nothing of the version that was asked.

        Besides, what `requests` raises where there was no answer.
        """
        endpoint = endpoint or self._endpoint
        place = f"served entity {entity} of {endpoint}"
        url = (
            f"{self._config.host}/serving-endpoints/{segment(endpoint)}"
            f"/served-models/{segment(entity)}/invocations"
        )
        with translated(place):
            headers = self._config.authenticate()
        if self._config.workspace_id:
            headers = headers | {"X-Databricks-Workspace-Id": self._config.workspace_id}
        response = requests.post(
            url,
            json={**body, "client_request_id": marker},
            # As `auth`, or an entry of ~/.netrc for this host would replace the header.
            auth=partial(_with, headers),
            timeout=self._timeout_s,
            allow_redirects=False,
        )
        if response.status_code in (requests.codes.unauthorized, requests.codes.forbidden):
            raise Denied(
                f"{place}: status {response.status_code}, the workspace refuses the token: "
                f"{permission(place)}"
            )
        if response.status_code == requests.codes.too_many_requests:
            raise Unreachable(f"{place}: a rate limit or a full queue (429): Headgate asks again")
        return response


def _unanswered(entity: str, response: requests.Response) -> str | None:
    """Why a response is no answer of an entity; None if it is one, as far as it tells."""
    if response.status_code != requests.codes.ok:
        return f"status {response.status_code}"
    if response.headers.get(SERVED_BY, entity) != entity:
        return "another served entity answered"
    return None


def _unmet(
    query: GoldenQuery, response: requests.Response, took: timedelta, paths: Paths
) -> str | None:
    """The first expectation that an answer does not meet."""
    try:
        document = response.json()
    except requests.JSONDecodeError:
        return "the answer is not JSON"
    shown = _shown(paths, document, took)
    return unmet(query, shown) or patterns.unmet(query, found(paths.answer, document))


def _shown(paths: Paths, document: object, latency: timedelta) -> Shown:
    """What a response shows, as far as it is there in the form that it should have."""
    answer, sources = found(paths.answer, document), found(paths.sources, document)
    tokens: Any = found(paths.tokens, document)
    return Shown(
        answer=answer if isinstance(answer, str) else None,
        sources=sources if isinstance(sources, list) else None,
        tokens=tokens if type(tokens) in (int, float) else None,
        latency=latency,
        places=(str(paths.answer), str(paths.sources), str(paths.tokens)),
    )


def _with(headers: dict[str, str], request: requests.PreparedRequest) -> requests.PreparedRequest:
    """The request with its authentication headers."""
    request.headers.update(headers)
    return request
