import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
import requests
from databricks.sdk import WorkspaceClient

from controller.daemon.replaying import Replayer
from controller.workspace.inference import InferenceTable
from controller.workspace.markers import OWN, marker
from controller.workspace.names import identifier
from controller.workspace.probes import Probes
from controller.workspace.recorded import RecordedRequests, Sample
from controller.workspace.replays import Replays
from controller.workspace.serving import Endpoints, ServingSettings
from controller.workspace.statements import Statements
from policies.golden import GoldenQuery, Round
from policies.guards import Guards
from policies.replay import Margins, Replay, Replayed
from policies.rollout import Rollout
from policies.verdict import Outcome
from states.counted import Counted
from states.machine import State
from states.pinned import Pinned
from states.reconcile import reconcile
from states.release import Application, Release
from states.spec import Spec
from states.world import Endpoint, ModelVersion, World
from tests.contract.conftest import LAG_S, PATHS, Workspace, entity, name, serving, settled

WAREHOUSE = "sandbox"
DAY = timedelta(hours=24)
ROUGH = Margins(errors=0.15, answers=0.15, sources=0.15)
"""Shown by thirty pairs; the defaults take six times as long to show, here as elsewhere."""
BUSY = replace(ROUGH, latency=2.0)
"""A machine that is busy with other tests is slow on either version, whichever is asked then."""


@dataclass
class Stage:
    """An endpoint whose stable version has all users, and a candidate at 0 %."""

    workspace: Workspace
    client: WorkspaceClient
    model: str
    seen: Endpoint
    endpoint: str

    @property
    def table(self) -> str:
        assert self.seen.inference_table is not None
        return self.seen.inference_table

    @property
    def recorded(self) -> RecordedRequests:
        return RecordedRequests(self.client, WAREHOUSE, InferenceTable(self.client, WAREHOUSE))

    @property
    def probes(self) -> Probes:
        return Probes(self.client, self.endpoint, "app", timeout_s=10)

    def users(self, queries: Sequence[str]) -> None:
        """Users ask, and what they asked is in the table."""

        def ask(query: str) -> None:
            requests.post(
                f"{self.workspace.host}/serving-endpoints/{self.endpoint}/invocations",
                json={"dataframe_records": [{"query": query}], "client_request_id": "a user's own"},
                headers={"Authorization": f"Bearer {self.workspace.token}"},
                timeout=10,
            )

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(ask, queries))
        time.sleep(LAG_S + 0.3)

    def rows(self) -> dict[str, tuple[str, str, int]]:
        """By request id: marker, query and the length of the request, as the table has them."""
        statement = (
            "SELECT databricks_request_id, max(client_request_id), max(request) "  # noqa: S608
            f"FROM {identifier(self.table)} GROUP BY databricks_request_id"
        )
        found = Statements(self.client, WAREHOUSE).rows("table", statement, {})
        return {
            row[0] or "": (
                row[1] or "",
                json.loads(row[2] or "")["dataframe_records"][0]["query"],
                len(row[2] or ""),
            )
            for row in found
        }

    def draw(self, most: int = 1000, salt: str = "app/2#1") -> tuple[str, ...]:
        sample = Sample(
            table=self.table,
            endpoint=self.endpoint,
            application="app",
            entity=entity("v1"),
            over=DAY,
            most=most,
            salt=salt,
        )
        return self.recorded.draw(sample).requests

    def replayer(self) -> Replayer:
        """A daemon's, as it is when the daemon has just begun."""
        return Replayer(self.recorded, Replays(self.probes, "app"))

    def tested(self, settings: Replay) -> Application:
        """Version 2, through its golden queries."""
        pinned = Pinned(
            baseline="1",
            incumbent="1",
            rollout=Rollout(),
            guards=Guards(),
            counted=Counted(paths=PATHS),
            tests=(),
            max_lag=timedelta(hours=1),
            provisioning_deadline=timedelta(hours=1),
            testing_deadline=timedelta(hours=1),
            replay=settings,
        )
        release = Release(
            application="app",
            version="2",
            state=State.TESTING,
            since=datetime.now(UTC),
            pinned=pinned,
            rounds=(Round(asked=1, candidate_failed=(), stable_failed=()),),
            replay=Replayed(),
        )
        stable = Release(
            application="app",
            version="1",
            state=State.PRODUCTION,
            confirmed=True,
            since=datetime.now(UTC),
        )
        return Application(
            name="app",
            spec=Spec(model=self.model, endpoint=self.endpoint),
            adopted=True,
            ours=True,
            stable="1",
            seen=self.seen.serving,
            endpoint_id=self.seen.id,
            seen_alias="1",
            seen_alias_of="production",
            releases=(stable, release),
        )

    def replay(self, settings: Replay, looks: int = 12) -> tuple[Release, list[str]]:
        """Replay until there is a verdict; every look is another daemon's, as after a kill."""
        application, told = self.tested(settings), []
        for _ in range(looks):
            brought = self.replayer().look(application, self.seen, lambda: False)
            world = World(
                now=datetime.now(UTC),
                endpoint=self.seen,
                versions=tuple(
                    ModelVersion(version=one, status="READY", tags={}, has_signature=True)
                    for one in ("1", "2")
                ),
                alias="1",
                replay=brought,
            )
            plan = reconcile(application, world)
            again = reconcile(plan.application, replace(world, now=datetime.now(UTC)))
            told += [event.name for event in plan.events]
            application = plan.application
            release = application.newest("2")
            assert release is not None
            assert release.replay is not None
            repeated = again.application.newest("2")
            assert repeated is not None
            assert repeated.replay is not None
            assert repeated.replay.pairs == release.replay.pairs, "a pair counts once"
            if release.replay.outcome is not None:
                return release, told
        raise AssertionError(f"no verdict in {looks} looks: {application.newest('2')}")


@pytest.fixture
def stage(
    workspace: Workspace, client: WorkspaceClient, model: str, settings: ServingSettings
) -> Stage:
    endpoint, endpoints = name(), Endpoints(client)
    endpoints.create(endpoint, serving(model, v1=100, v2=0), settings)
    return Stage(workspace, client, model, settled(endpoints, endpoint), endpoint)


def test_the_sample_is_reproducible_stratified_and_without_headgates_own(stage: Stage) -> None:
    for version in ("v1", "v1", "v2"):
        assert stage.probes.beat(
            entity(version), GoldenQuery(query="beat"), marker("app", entity(version))
        )
    stage.users(["q" * 7 * number for number in range(1, 41)] + ["fail"] * 4 + ["long " * 20_000])
    rows = stage.rows()
    drawn = stage.draw()
    assert len(rows) == 48
    assert len(drawn) == 44, "all of users' but the one that is too long"
    assert not any(rows[one][0].startswith(OWN) for one in drawn)
    assert sum(rows[one][1] == "fail" for one in drawn) == 4, "a model's own errors are replayed"
    assert stage.draw() == drawn
    assert stage.draw(12) == drawn[:12], "a shorter sample is the beginning of a longer one"
    other = stage.draw(salt="app/3#1")
    assert sorted(other) == sorted(drawn)
    assert other != drawn
    ranked = sorted(drawn, key=lambda one: (rows[one][2], one))
    quarter = {one: place // 11 for place, one in enumerate(ranked)}
    for turn in range(0, 44, 4):
        assert sorted(quarter[one] for one in drawn[turn : turn + 4]) == [0, 1, 2, 3]


def test_a_healthy_version_passes_whoever_is_killed_meanwhile(stage: Stage) -> None:
    stage.users([f"q {number}" for number in range(70)] + ["fail"] * 2)
    release, told = stage.replay(Replay(margins=BUSY))
    assert release.replay is not None
    assert release.replay.outcome is Outcome.PASS, release.replay
    assert release.replay.pairs in {40, 72}, "looks of forty, and each pair counts once"
    assert release.state is State.TESTING
    assert told[:2] == ["replay.started", "replay.batch"]
    assert "no worse: errors" in release.replay.because
    time.sleep(LAG_S + 0.3)
    own = [row for row in stage.rows().values() if row[0].startswith(f"{OWN}app/")]
    assert len(own) >= 2 * release.replay.pairs, "both answers are in the table, and marked"


@pytest.mark.parametrize(
    ("query", "guard"),
    [
        (lambda number: f"thinks slow-in-2 {number}", "latency "),
        (lambda number: f"sourceless-in-2 {number}" if number % 3 == 0 else "q", "without sources"),
    ],
)
def test_a_slow_version_and_one_that_lost_a_topic_never_meet_a_user(
    stage: Stage, query: Callable[[int], str], guard: str
) -> None:
    stage.users([query(number) for number in range(80)])
    release, _ = stage.replay(Replay(margins=ROUGH))
    assert release.replay is not None
    assert release.replay.outcome is Outcome.FAIL, release.replay
    assert release.state is State.ROLLED_BACK
    assert guard in release.because
    worst = release.replay.worst[0]
    assert worst.request in stage.rows()
    time.sleep(LAG_S + 0.3)
    texts = stage.recorded.pair(stage.table, "app", worst.request, datetime.now(UTC) - DAY)
    assert texts is not None
    assert "in-2" in texts.request
    assert [status for _, status, _ in texts.answers] == [200, 200, 200]
    assert {who.split("/")[2] for who, _, _ in texts.answers if who.startswith(OWN)} == {
        entity("v1"),
        entity("v2"),
    }
    assert "in-2" not in repr(texts), "texts are for eyes, not for logs"
