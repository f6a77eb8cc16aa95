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
from controller.workspace.inference import InferenceTable
from controller.workspace.metrics import Traffic
from controller.workspace.probes import Probes
from controller.workspace.serving import Endpoints
from policies.evidence import Arm, Block, total
from policies.golden import GoldenQuery
from policies.guards import Guards
from policies.rollout import Rollout
from states.counted import Counted
from states.machine import State
from states.pinned import Pinned
from states.release import Application, Release
from states.span import Span
from states.spec import Spec
from states.world import Endpoint
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
