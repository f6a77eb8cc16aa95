"""The collector on a real table, with real probes: what users got is what the blocks say."""

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
import requests
from databricks.sdk import WorkspaceClient

from controller.daemon.collect import Collector
from controller.daemon.past import Past
from controller.daemon.windows import TABLE
from controller.workspace.counting import ms
from controller.workspace.inference import InferenceTable
from controller.workspace.metrics import Traffic
from controller.workspace.probes import Probes
from controller.workspace.serving import Endpoints
from policies.evidence import Arm, Block, Measure, total
from policies.golden import GoldenQuery
from policies.guards import Guards
from policies.rollout import Rollout
from states.counted import Counted, Query
from states.machine import State
from states.pinned import Pinned
from states.release import Application, Release
from states.span import Span
from states.spec import Spec
from states.world import Endpoint, Evidence
from tests.contract.conftest import MODEL, PATHS, Split, Workspace, entity, name

SECOND = timedelta(seconds=1)
PATIENCE_S = 20


def canary(application: str, endpoint: str, began: datetime) -> Application:
    """A release at 50 % that opened then, and settled two seconds later."""
    tests = (GoldenQuery(query="beat"),)
    spec = Spec(model=MODEL, endpoint=endpoint, evidence_every=SECOND, tests=tests)
    pinned = Pinned(
        baseline="1",
        incumbent="1",
        rollout=Rollout(steps=(50, 100)),
        guards=Guards(),
        counted=Counted(paths=PATHS),
        tests=tests,
        max_lag=spec.max_lag,
        provisioning_deadline=spec.provisioning_deadline,
        testing_deadline=spec.testing_deadline,
    )
    first = Span(number=1, step=1, weight=50, starts_at=began, settled=False)
    settled = replace(first, number=2, starts_at=began + 2 * SECOND, settled=True)
    release = Release(
        application=application,
        version="2",
        state=State.CANARY,
        step=1,
        since=began,
        pinned=pinned,
        spans=(first, settled),
        sources={"errors": TABLE},
    )
    return Application(name=application, spec=spec, stable="1", releases=(release,))


@dataclass
class Outside:
    """Users, and one application's collector."""

    workspace: Workspace
    split: Split
    collector: Collector
    endpoint: Endpoint
    application: Application
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    watermark: datetime | None = None

    def ask(self, query: str, times: int) -> None:
        """Ask as users do, and remember which version answered how."""
        for _ in range(times):
            answer = requests.post(
                f"{self.workspace.host}/serving-endpoints/{self.split.endpoint}/invocations",
                json={"dataframe_records": [{"query": query}]},
                headers={"Authorization": f"Bearer {self.workspace.token}"},
                timeout=10,
            )
            self.answers[answer.headers["served-model-name"], answer.status_code] += 1

    def arm(self, version: str) -> Arm:
        """What was answered by a version."""
        own = {status: n for (who, status), n in self.answers.items() if who == entity(version)}
        return Arm(requests=sum(own.values()), errors=own.get(400, 0), server_errors=0)

    def look(self) -> None:
        """One look, whose blocks are kept in the record."""
        found = self.collector.collect(self.application, self.endpoint, datetime.now(UTC))
        live = self.application.live
        if found is None or live is None:
            return
        assert found.trouble is None
        blocks = (*live.blocks, *found.blocks)
        self.application = self.application.with_release(replace(live, blocks=blocks))
        self.watermark = found.watermarks.get(TABLE, self.watermark)

    def look_past(self, moment: datetime) -> tuple[Block, ...]:
        """Look until the table has told of all before a moment."""
        end = time.monotonic() + PATIENCE_S
        while self.watermark is None or self.watermark < moment:
            assert time.monotonic() < end, self.watermark
            time.sleep(0.2)
            self.look()
        assert self.application.live is not None
        return self.application.live.blocks


@pytest.fixture
def outside(client: WorkspaceClient, workspace: Workspace, split: Split) -> Outside:
    application = name()
    probes = Probes(client, split.endpoint, application)
    table = InferenceTable(client, "sandbox")
    collector = Collector(table, probes, Traffic(client), lambda: datetime.now(UTC))
    endpoint = Endpoints(client).observe(split.endpoint)
    assert isinstance(endpoint, Endpoint)
    began = canary(application, split.endpoint, datetime.now(UTC))
    return Outside(workspace, split, collector, endpoint, began)


def test_every_users_request_is_in_one_block_of_its_version_and_span(outside: Outside) -> None:
    outside.look()
    outside.ask("q", 12)
    outside.ask("fail", 5)
    live = outside.application.live
    assert live is not None
    time.sleep(max(0.0, (live.spans[1].starts_at - datetime.now(UTC)).total_seconds()))
    outside.look()
    outside.ask("q", 9)
    blocks = outside.look_past(datetime.now(UTC))
    candidate, stable = total(blocks)
    told = {name: (one.requests, one.errors) for name, one in (("v2", candidate), ("v1", stable))}
    assert told == {
        version: (outside.arm(version).requests, outside.arm(version).errors)
        for version in ("v1", "v2")
    }
    assert [block.number for block in blocks] == list(range(1, len(blocks) + 1))
    assert {block.span for block in blocks} == {1, 2}
    late = [block for block in blocks if block.span == 2]
    # A machine that is slow may still ask the first ones when the second span begins.
    assert 9 <= sum(block.candidate.requests + block.stable.requests for block in late) < 26


JUDGED = """
SELECT served_entity_name, timestamp_millis({since} + after) AS request_time, value
FROM VALUES {scores} AS scored(served_entity_name, after, value)
"""


def judged(outside: Outside, *scores: str) -> Evidence:
    """One look at a release whose score on the truth a query brings: of each version, in turn."""
    live = outside.application.live
    assert live is not None
    assert live.pinned is not None
    # Well within a span: what the statement waits for moves its bounds by a part of a second.
    spans = tuple(replace(one, starts_at=one.starts_at - 60 * SECOND) for one in live.spans)
    since = ms(spans[1].starts_at + 20 * SECOND)
    rows = ", ".join(
        f"('{entity(who)}', {10 * number}, CAST({score} AS DOUBLE))"
        for number, (who, score) in enumerate(zip(("v1", "v2") * len(scores), scores, strict=False))
    )
    truth = Query(name="truth", sql=JUDGED.format(since=since, scores=rows), counts="score")
    counted = Counted(paths=PATHS, queries=(truth,))
    asked = replace(
        live,
        spans=spans,
        pinned=replace(live.pinned, counted=counted),
        sources={"errors": TABLE, "truth": "query:truth"},
        measures={"truth": Measure(cap=1.0)},
    )
    outside.application = outside.application.with_release(asked)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = outside.collector.collect(outside.application, outside.endpoint, datetime.now(UTC))
        if found is not None and TABLE in found.watermarks:
            return found
        time.sleep(0.2)
    raise AssertionError("the table told nothing")


@pytest.mark.parametrize(
    ("scores", "strays"),
    [
        (("4", "5", "0.5", "3", "1", "1"), 3),
        (("'NaN'", "0.9", "0.9", "1", "1"), 1),
        (("-0.1", "0.9", "0.9", "1", "1"), 1),
    ],
)
def test_a_score_that_is_none_makes_its_query_unusable_aloud_and_no_other_source(
    outside: Outside, scores: tuple[str, ...], strays: int
) -> None:
    found = judged(outside, *scores)
    assert found.trouble is not None
    assert f"{strays} of query truth" in found.trouble
    assert "no score (NaN, below 0 or above 1)" in found.trouble
    assert "query:truth" not in found.watermarks, "it has told nothing: the gate waits, or shuts"
    assert {block.source for block in found.blocks} == {TABLE}


def test_scores_from_0_to_1_are_counted_and_where_there_is_none_nothing_is_said(
    outside: Outside,
) -> None:
    found = judged(outside, "0", "1", "NULL", "0.25", "0.5", "NULL")
    assert found.trouble is None
    candidate, stable = total(block for block in found.blocks if block.source == "query:truth")
    assert (candidate.requests, stable.requests) == (2, 2)
    assert candidate.tallies["truth"].mean == pytest.approx((1 + 0.25) / 2)
    assert stable.tallies["truth"].mean == pytest.approx((0 + 0.5) / 2)


def test_stables_last_day_is_told_by_the_table(client: WorkspaceClient, outside: Outside) -> None:
    outside.ask("q", 10)
    outside.look_past(datetime.now(UTC))
    live = outside.application.live
    assert live is not None
    testing = replace(live, state=State.TESTING, step=0, spans=(), sources={})
    application = outside.application.with_release(testing)
    past = Past(InferenceTable(client, "sandbox"))
    assert past.is_time(application, outside.endpoint, datetime.now(UTC))
    found = past.ask(application, outside.endpoint, datetime.now(UTC))
    assert found.requests >= outside.arm("v1").requests
    assert found.lag is not None
