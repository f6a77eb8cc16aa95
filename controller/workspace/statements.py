"""SQL statements on a warehouse: named parameters, one deadline, rows of strings.

Databricks' Statement Execution API: a failed statement is HTTP 200 with `status.error`; every cell
is a string or null; a stopped warehouse takes minutes to start, and the statement waits for it.
"""

import time
from collections.abc import Mapping, Sequence

from databricks.sdk import WorkspaceClient
from databricks.sdk.service.sql import (
    ServiceError,
    ServiceErrorCode,
    StatementParameterListItem,
    StatementResponse,
    StatementState,
)

from controller.workspace.client import permission, translated
from controller.workspace.errors import Denied, Refused, Unreachable, WorkspaceError

Row = Sequence[str | None]
Parameter = str | int | None

WAIT = "5s"
"""How long the first call waits for the result: shorter than the client's read timeout."""
POLL_S, POLL_AT_MOST_S = 0.2, 5.0
"""Between polls of a statement: at first, and after doubling each time."""

PASSING = (
    ServiceErrorCode.ABORTED,
    ServiceErrorCode.CANCELLED,
    ServiceErrorCode.DEADLINE_EXCEEDED,
    ServiceErrorCode.INTERNAL_ERROR,
    ServiceErrorCode.IO_ERROR,
    ServiceErrorCode.RESOURCE_EXHAUSTED,
    ServiceErrorCode.SERVICE_UNDER_MAINTENANCE,
    ServiceErrorCode.TEMPORARILY_UNAVAILABLE,
    ServiceErrorCode.WORKSPACE_TEMPORARILY_UNAVAILABLE,
)
"""Errors of the warehouse, not of the statement."""
DENIED = ("INSUFFICIENT_PERMISSIONS", "PERMISSION_DENIED", "UNAUTHORIZED_ACCESS")
MISSING = ("TABLE_OR_VIEW_NOT_FOUND", "SCHEMA_NOT_FOUND", "NO_SUCH_CATALOG_EXCEPTION")
"""Databricks' error conditions; they stand in brackets at the beginning of the message."""


class Statements:
    """Runs read-only statements on one SQL warehouse."""

    def __init__(
        self, client: WorkspaceClient, warehouse_id: str, *, deadline_s: float = 60
    ) -> None:
        self._api = client.statement_execution
        self._warehouse_id = warehouse_id
        self._deadline_s = deadline_s

    def rows(self, place: str, statement: str, parameters: Mapping[str, Parameter]) -> list[Row]:
        """All rows of a statement's result; `place` is what it reads, for the error's sentence."""
        with translated(f"SQL warehouse {self._warehouse_id}"):
            answer = self._api.execute_statement(
                statement,
                self._warehouse_id,
                parameters=[_parameter(name, value) for name, value in parameters.items()],
                wait_timeout=WAIT,
            )
            answer = self._finished(place, answer)
            _checked(place, answer)
            return self._chunks(place, answer)

    def _finished(self, place: str, answer: StatementResponse) -> StatementResponse:
        """The statement's last state; one that takes too long is cancelled."""
        give_up_at, pause_s = time.monotonic() + self._deadline_s, POLL_S
        while _state(place, answer) in (StatementState.PENDING, StatementState.RUNNING):
            statement_id = answer.statement_id or ""
            if time.monotonic() > give_up_at:
                self._api.cancel_execution(statement_id)
                raise Unreachable(
                    f"{place}: the SQL warehouse gave no result in {self._deadline_s:g} s, "
                    "it may be starting: Headgate asks again"
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_AT_MOST_S)
            answer = self._api.get_statement(statement_id)
        return answer

    def _chunks(self, place: str, answer: StatementResponse) -> list[Row]:
        """The rows of every chunk; an empty result has no rows at all, not an empty list."""
        rows: list[Row] = []
        chunk = answer.result
        while chunk is not None:
            rows += chunk.data_array or []
            if chunk.next_chunk_index is None:
                break
            chunk = self._api.get_statement_result_chunk_n(
                answer.statement_id or "", chunk.next_chunk_index
            )
        if answer.manifest and answer.manifest.truncated:
            raise WorkspaceError(f"{place}: the SQL warehouse cut the result short")
        return rows


def _parameter(name: str, value: Parameter) -> StatementParameterListItem:
    """A named parameter; an absent value is SQL's NULL."""
    kind = "BIGINT" if isinstance(value, int) else "STRING"
    text = None if value is None else str(value)
    return StatementParameterListItem(name=name, value=text, type=kind)


def _state(place: str, answer: StatementResponse) -> StatementState:
    if answer.status is None or answer.status.state is None:
        raise WorkspaceError(
            f"{place}: the SQL warehouse reports a state that this version of Headgate does not "
            "know: update Headgate"
        )
    return answer.status.state


def _checked(place: str, answer: StatementResponse) -> None:
    """Raise what a statement that did not succeed means."""
    if _state(place, answer) is StatementState.SUCCEEDED:
        return
    error = (answer.status and answer.status.error) or ServiceError()
    message = error.message or ""
    if any(word in message for word in DENIED):
        raise Denied(f"{place}: permission denied: {permission('inference table')}")
    if any(word in message for word in MISSING):
        raise Refused(
            f"{place}: there is no such table: it appears with the first logged request; "
            "check inference_table in the configuration, and that AI Gateway logs to it"
        )
    if error.error_code is None or error.error_code in PASSING:
        raise Unreachable(f"{place}: the SQL warehouse failed: Headgate asks again")
    raise Refused(
        f"{place}: the SQL warehouse refuses the statement ({error.error_code.value}): "
        "check that the table is an AI Gateway inference table"
    )
