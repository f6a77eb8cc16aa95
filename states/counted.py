"""What the counting sources count, as the configuration states it: pinned with a release's plan."""

from dataclasses import dataclass

QUERY = "query:"
"""Before the name of a configured query, where it is named as a source."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Paths:
    """Where what an answer is judged by stands: JSON paths into it, two into the request."""

    answer: str | None = None
    sources: str | None = None
    tokens: str | None = None
    finish: str | None = None
    session: str | None = None
    """Into the request; of a session's requests in a window, only the first is then counted."""
    question: str | None = None
    """Into the request; where a golden query's text is put. None: where the signature has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """A counting source of the user's own: one row for each request."""

    name: str
    sql: str
    """One SELECT: `served_entity_name`, `request_time` (TIMESTAMP) and `value` of each request."""
    counts: str
    """What `value` is: errors, latency or score."""
    server_errors: bool = False
    """A column `server_error` says which errors are the server's."""

    @property
    def source(self) -> str:
        """Its name as a source."""
        return QUERY + self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """How requests are counted: counts of before and after an edit of it are not comparable."""

    paths: Paths = Paths()
    queries: tuple[Query, ...] = ()

    def tells_server_errors(self, source: str) -> bool:
        """Whether a source of errors says which are the server's: a query only if it was told to.

        Without that no limit on them holds.
        """
        mute = not any(one.source == source and one.server_errors for one in self.queries)
        return not (source.startswith(QUERY) and mute)

    @property
    def by_session(self) -> bool:
        """Of a session's requests in a window only the first counts: its retries are none."""
        return self.paths.session is not None
