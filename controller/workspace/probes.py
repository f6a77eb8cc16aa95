"""Questions to one served entity, whatever the traffic: golden queries and heartbeats.

`/serving-endpoints/E/served-models/N/invocations` ignores the split and answers at 0 % as well
(Databricks' documentation, "Serve multiple models to a model serving endpoint"). The SDK has no
call for it (databricks/databricks-sdk-py#1043), hence requests, with a timeout of its own.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import requests
from databricks.sdk import WorkspaceClient

from controller.workspace.client import permission, translated
from controller.workspace.errors import Denied, Unreachable
from controller.workspace.jsonpath import JsonPath
from controller.workspace.markers import marker as new_marker
from controller.workspace.names import segment
from policies.golden import GoldenQuery, Round

SERVED_BY = "served-model-name"
"""The response header that names the entity which answered."""
AT_ONCE = 4
"""Probes under way at the same time; the smallest endpoint takes four requests at a time."""


@dataclass(frozen=True)
class ResponsePaths:
    """Where an application's response has the answer and the sources it rests on."""

    answer: JsonPath = JsonPath.parse("$.predictions[0].answer")  # noqa: RUF009 - immutable
    sources: JsonPath = JsonPath.parse("$.predictions[0].sources")  # noqa: RUF009


class Probes:
    """Asks the served entities of one application's endpoint."""

    def __init__(
        self,
        client: WorkspaceClient,
        endpoint: str,
        application: str,
        *,
        response: ResponsePaths | None = None,
        timeout_s: float = 30,
    ) -> None:
        self._config = client.config
        self._endpoint = endpoint
        self._application = application
        self._response = response or ResponsePaths()
        self._timeout_s = timeout_s

    def ask(
        self, entity: str, query: GoldenQuery, marker: str, endpoint: str | None = None
    ) -> str | None:
        """Ask one question: None when the answer is as expected, else why not, in a few words.

        Of an entity of the application's endpoint, or of the one that is named.

        The words hold no prompt, no answer and no server message. What no version can be blamed
        for is raised: no reachable workspace, a refused token, a limit that was hit (429).
        """
        try:
            response = self._post(entity, query.query, marker, endpoint or self._endpoint)
        except requests.Timeout:
            return f"timed out after {self._timeout_s:g} s"
        except requests.ConnectionError:
            return "the connection broke before an answer"
        if response.status_code != requests.codes.ok:
            return f"status {response.status_code}"
        served_by = response.headers.get(SERVED_BY)
        if served_by is not None and served_by != entity:
            return "another served entity answered"
        try:
            document = response.json()
        except requests.JSONDecodeError:
            return "the answer is not JSON"
        return self._unmet(document, query)

    def beat(self, entity: str, query: str, marker: str) -> bool:
        """Send one marked request; True when the entity answered it with 200."""
        try:
            response = self._post(entity, query, marker, self._endpoint)
        except (requests.Timeout, requests.ConnectionError):
            return False
        return bool(response.status_code == requests.codes.ok)

    def round(
        self,
        candidate: str,
        stable: str | None,
        tests: tuple[GoldenQuery, ...],
        given_up: Callable[[], bool] = lambda: False,
        staging: str | None = None,
    ) -> Round | None:
        """Ask every golden query once of both entities, a few at a time.

        `staging` is the endpoint that has the candidate, where it is another than stable's.

        None, if it was given up between two queries: what was answered then tells of no version.
        """
        arms = (candidate,) if stable is None else (candidate, stable)
        questions = [
            partial(self.ask, entity, query, new_marker(self._application, entity), place)
            for entity, place in zip(arms, (staging, None), strict=False)
            for query in tests
        ]

        def asked(question: Callable[[], str | None]) -> str | None:
            return None if given_up() else question()

        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="probe") as pool:
            futures = [pool.submit(asked, question) for question in questions]
            answers = [future.result() for future in futures]
        if given_up():
            return None
        failed = [
            {number: why for number, why in enumerate(part, start=1) if why is not None}
            for part in (answers[: len(tests)], answers[len(tests) :])
        ]
        first = next(iter(failed[0].items()), None)
        return Round(
            asked=len(tests),
            candidate_failed=tuple(failed[0]),
            stable_failed=tuple(failed[1]),
            why=f"query {first[0]}: {first[1]}" if first else "",
        )

    def _unmet(self, document: object, query: GoldenQuery) -> str | None:
        """The first expectation that an answer does not meet."""
        if query.answer_contains:
            answer = self._response.answer.find(document)
            if not isinstance(answer, str):
                return f"no text at {self._response.answer}"
            for words in query.answer_contains:
                if words not in answer:
                    return f"answer lacks {words!r}"
        if query.min_sources:
            sources = self._response.sources.find(document)
            if not isinstance(sources, list):
                return f"no list at {self._response.sources}"
            if len(sources) < query.min_sources:
                return f"{len(sources)} sources, {query.min_sources} expected"
        return None

    def _post(self, entity: str, query: str, marker: str, endpoint: str) -> requests.Response:
        """One attempt; raises for what says nothing of the version that was asked."""
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
            json={"dataframe_records": [{"query": query}], "client_request_id": marker},
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


def _with(headers: dict[str, str], request: requests.PreparedRequest) -> requests.PreparedRequest:
    """The request with its authentication headers."""
    request.headers.update(headers)
    return request
