"""A warehouse, metrics and probes that count drawn requests, each on the platform's own clock."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from controller.workspace.errors import Unreachable
from controller.workspace.inference import Answer, Ask, QueryAsk, Window
from controller.workspace.inputs import Inputs
from controller.workspace.metrics import EntityMinute
from policies.evidence import NOTHING, Arm
from policies.fuse import Minute
from policies.golden import GoldenQuery
from tests.states.story import START, TABLE

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
CANDIDATE, STABLE = "rag_chatbot-v2", "rag_chatbot-v1"


@dataclass(frozen=True)
class Request:
    """A user's request: when it came, by the store's clock, and when its row did."""

    at: datetime
    written: datetime
    entity: str
    failed: bool = False


def one_a_second(
    seconds: int, lag: timedelta = 10 * SECOND, *, since: datetime = START
) -> list[Request]:
    """A request a second, each twentieth of them the candidate's."""
    return [
        Request(
            since + (number + 0.5) * SECOND,
            since + (number + 0.5) * SECOND + lag / 2,
            CANDIDATE if number % 20 == 0 else STABLE,
            failed=number % 7 == 0,
        )
        for number in range(seconds)
    ]


@dataclass
class Platform:
    """Table and metrics of one endpoint; `time` is the store's, and theirs is `ahead` of it."""

    requests: list[Request] = field(default_factory=lambda: one_a_second(3600))
    lag: timedelta = 10 * SECOND
    """How late the watermark is: the table says that all before it has arrived."""
    ahead: timedelta = timedelta()
    time: datetime = START
    asked: list[Ask] = field(default_factory=list)
    broken: bool = False
    takes: timedelta = timedelta()
    """How long a statement waits before it runs."""
    query_lag: timedelta = 30 * SECOND
    dated: bool = True
    """Its answers tell the time."""
    exported: int = 75
    """How many minutes the metrics remember."""

    def look(self, ask: Ask) -> Answer:
        """Count the rows that were written by now."""
        self.asked.append(ask)
        if self.broken:
            raise Unreachable("the warehouse is asleep")
        assert (ask.application, ask.endpoint) == ("rag-chatbot", "rag-chatbot-endpoint")
        assert (ask.table, ask.candidate_entity, ask.stable_entity) == (TABLE, CANDIDATE, STABLE)
        now = self.time + self.ahead + self.takes
        watermark = now - self.lag
        since = ask.counted_since
        return Answer(
            now=now,
            watermark=watermark,
            windows=self._windows(ask, watermark),
            recounted=len(self._rows(since, ask.since)) if since else 0,
            minutes=self._minutes(ask.minute_phase_ms, ask.since, watermark),
            queries={
                name: self._windows(query, now - self.query_lag)
                for name, query in ask.queries.items()
            },
        )

    def _windows(self, ask: Ask | QueryAsk, watermark: datetime) -> tuple[Window, ...]:
        assert list(ask.cuts) == sorted({*ask.cuts})
        assert all(cut > ask.since for cut in ask.cuts)
        bounds = [ask.since, *(cut for cut in ask.cuts if cut < watermark), watermark]
        return tuple(
            Window(
                opened=opened,
                closed=closed,
                candidate=arm(self._rows(opened, closed), CANDIDATE),
                stable=arm(self._rows(opened, closed), STABLE),
                unattributed=0,
            )
            for opened, closed in pairwise(bounds)
            if opened < closed
        )

    def _rows(self, since: datetime, until: datetime) -> list[Request]:
        return [
            one
            for one in self.requests
            if one.written <= self.time + self.takes and since <= one.at + self.ahead < until
        ]

    def _minutes(
        self, phase: int | None, since: datetime, until: datetime
    ) -> dict[datetime, tuple[int, int]]:
        """Rows by whole minute; one without rows is not there, as a GROUP BY has it."""
        if phase is None:
            return {}
        first = since.replace(second=0, microsecond=0) + timedelta(milliseconds=phase)
        ends = [first + number * MINUTE for number in range(1, 1 + (until - since) // MINUTE)]
        rows = {end: self._rows(end - MINUTE, end) for end in ends}
        return {end: (len(own), sum(one.failed for one in own)) for end, own in rows.items() if own}

    def minutes(self) -> tuple[Minute, ...]:
        """The endpoint's own minutes up to now, whatever the table has."""
        return tuple(
            Minute(ends_at=end, requests=len(own), errors=sum(one.failed for one in own))
            for end, own in self._closed()
        )

    def minutes_by_entity(self, endpoint: str) -> tuple[EntityMinute, ...]:
        """The same by version."""
        assert endpoint == "rag-chatbot-endpoint"
        return tuple(
            EntityMinute(end, {name: arm(own, name) for name in (CANDIDATE, STABLE)})
            for end, own in self._closed()
        )

    def _closed(self) -> Iterable[tuple[datetime, list[Request]]]:
        """Minutes that ended, on the platform's clock, with all requests in them."""
        newest = (self.time + self.ahead).replace(second=0, microsecond=0)
        for number in reversed(range(self.exported)):
            end = newest - number * MINUTE
            if end - MINUTE >= START + self.ahead - MINUTE:
                inside = [one for one in self.requests if end - MINUTE <= one.at + self.ahead < end]
                yield end, inside


def arm(requests: Iterable[Request], entity: str) -> Arm:
    """One version's counts of some requests."""
    own = [one for one in requests if one.entity == entity]
    failed = sum(one.failed for one in own)
    return Arm(requests=len(own), errors=failed, server_errors=failed) if own else NOTHING


@dataclass
class Probes:
    """Marked probes that were sent."""

    beaten: list[str] = field(default_factory=list)

    def beat(
        self, entity: str, query: GoldenQuery, marker: str, inputs: Inputs | None = None
    ) -> bool:
        assert query.query
        assert inputs is None
        assert marker.startswith("headgate/")
        self.beaten.append(entity)
        return True
