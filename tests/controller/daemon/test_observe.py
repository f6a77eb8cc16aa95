"""What one look at the world brings, and what it says of what it cannot see."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Event
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from controller.daemon.backoff import Backoff
from controller.daemon.collect import Collector
from controller.daemon.golden_table import GoldenReader
from controller.daemon.lead import COARSE
from controller.daemon.observe import Observer
from controller.daemon.past import Past
from controller.workspace.errors import Unreachable
from controller.workspace.inputs import Known
from controller.workspace.metrics import DATED, UNDATED, EntityMinute
from controller.workspace.statements import Parameter, Row
from policies.fuse import Minute
from policies.golden import Begun, GoldenQuery, Round
from policies.guards import History
from states.counted import Counted, Paths
from states.machine import State
from states.release import Order
from states.world import Absent, Endpoint, ModelVersion, World
from tests.controller.daemon.platform import MINUTE, Platform
from tests.controller.daemon.platform import Probes as Beats
from tests.states.story import TABLE, Story

DAY = History(requests=9000, answers=8900, lag=timedelta(minutes=3))
PATHS = Paths(answer="$.answer", tokens="$.tokens")


@dataclass
class Workspace:
    """Everything that an observer asks, with the story's world in it."""

    story: Story
    broken: bool = False
    asked: list[str] = field(default_factory=list)
    entities: list[frozenset[str]] = field(default_factory=list)
    above: list[int] = field(default_factory=list)
    """Above which versions were looked at closely, look by look."""
    told: datetime | None = None
    """The `Date` of its answers."""

    def observe(self, name: str) -> Endpoint | Absent:
        assert name == "rag-chatbot-endpoint"
        assert self.story.endpoint is not None
        return self.story.endpoint

    def versions(self, model: str, *, above: int, **_more: object) -> tuple[ModelVersion, ...]:
        assert model
        self.above.append(above)
        return tuple(self.story.versions.values())

    def alias(self, model: str, name: str) -> str | Absent | None:
        assert model
        assert name == "production"
        return self.story.alias

    def round(  # noqa: PLR0913, PLR0917 - as the probes have it
        self,
        candidate: str,
        stable: str | None,
        tests: tuple[GoldenQuery, ...],
        paths: Paths,
        given_up: Callable[[], bool],
        inputs: Known,
        staging: str | None = None,
        begun: Begun | None = None,
    ) -> Round | None:
        del staging, paths
        assert begun is None
        assert inputs == (None, None)
        assert (candidate, stable) == ("rag_chatbot-v2", "rag_chatbot-v1")
        assert not given_up()
        return Round(asked=len(tests), candidate_failed=(), stable_failed=(), why="")

    def minutes(self, endpoint: str, entities: frozenset[str]) -> tuple[Minute, ...]:
        assert endpoint
        self.entities.append(entities)
        return (Minute(ends_at=self.story.now, requests=60, errors=0),)

    def minutes_by_entity(self, endpoint: str) -> tuple[EntityMinute, ...]:
        assert endpoint
        return ()

    def requests_per_second(self, endpoint: str) -> float | None:
        assert endpoint
        return 1.0

    def peak_concurrency(self, endpoint: str) -> float | None:
        assert endpoint
        return 2.5

    def labelled(self, endpoint: str) -> bool:
        assert endpoint
        return True

    def told_at(self, endpoint: str) -> datetime | None:
        assert endpoint
        return self.told

    def history(
        self, *, table: str, endpoint: str, stable_entity: str, application: str, paths: Paths
    ) -> History:
        assert (table, endpoint, application) == (TABLE, "rag-chatbot-endpoint", "rag-chatbot")
        assert paths == PATHS
        self.asked.append(stable_entity)
        if self.broken:
            raise Unreachable("the warehouse is asleep")
        return DAY


def observer(workspace: Workspace) -> Observer:
    collecting = Collector(Platform(), Beats(), workspace, lambda: workspace.story.now)
    return Observer(
        endpoints=workspace,  # type: ignore[arg-type]
        registry=workspace,  # type: ignore[arg-type]
        probes=workspace,  # type: ignore[arg-type]
        traffic=workspace,  # type: ignore[arg-type]
        collector=collecting,
        past=Past(workspace),
        poll=timedelta(seconds=30),
        backoff=lambda what: Backoff(what, draw=lambda *_: 0.0),
    )


@pytest.fixture
def workspace() -> Workspace:
    """A version that is being tested."""
    story = Story(history=None)
    spec = replace(story.application.spec, counted=Counted(paths=PATHS))
    story.application = replace(story.application, spec=spec)
    story.look()
    story.register(2)
    story.until("Testing")
    return Workspace(story)


def look(observing: Observer, workspace: Workspace, *, after: timedelta) -> World:
    workspace.story.now += after
    return observing.look(workspace.story.application, workspace.story.now)


def test_stables_last_day_is_asked_for_once_and_told_until_the_record_has_it(
    workspace: Workspace,
) -> None:
    observing = observer(workspace)
    seen = [look(observing, workspace, after=5 * MINUTE).history for _ in range(3)]
    assert seen == [DAY] * 3
    assert workspace.asked == ["rag_chatbot-v1"]
    story = workspace.story
    story.application = story.application.with_release(replace(story.live, history=DAY))
    assert look(observing, workspace, after=5 * MINUTE).history is None
    assert len(workspace.asked) == 1


def test_the_next_attempt_asks_for_a_day_of_its_own(workspace: Workspace) -> None:
    observing = observer(workspace)
    look(observing, workspace, after=MINUTE)
    story = workspace.story
    failed = replace(story.live, state=State.ROLLED_BACK, settled=True)
    again = replace(story.live, attempt=2)
    story.application = story.application.with_release(failed).with_release(again)
    assert look(observing, workspace, after=MINUTE).history == DAY
    assert len(workspace.asked) == 2


def test_a_past_that_cannot_be_read_is_unseen_said_once_and_asked_for_at_the_evidences_pace(
    workspace: Workspace,
) -> None:
    observing = observer(workspace)
    workspace.broken = True
    with capture_logs() as logs:
        seen = [look(observing, workspace, after=MINUTE).history for _ in range(11)]
    assert seen == [None] * 11
    assert len(workspace.asked) == 3
    told = [line["because"] for line in logs if line.get("what") == "history"]
    assert told == ["the warehouse is asleep"]
    workspace.broken = False
    with capture_logs() as logs:
        assert look(observing, workspace, after=5 * MINUTE).history == DAY
    assert [line["event"] for line in logs] == ["workspace.seen"]


def test_without_a_table_or_a_baseline_there_is_no_past_to_ask_for(workspace: Workspace) -> None:
    story, past = workspace.story, Past(workspace)
    application, endpoint = story.application, story.endpoint
    assert isinstance(endpoint, Endpoint)
    assert story.live.pinned is not None
    assert past.is_time(application, endpoint, story.now)
    assert not past.is_time(application, replace(endpoint, inference_table=None), story.now)
    alone = replace(story.live, pinned=replace(story.live.pinned, baseline=None))
    assert not past.is_time(application.with_release(alone), endpoint, story.now)


def test_the_traffic_is_told_with_its_peak_and_whether_its_labels_name_the_version(
    workspace: Workspace,
) -> None:
    world = look(observer(workspace), workspace, after=MINUTE)
    assert world.requests_per_second == 1.0
    assert world.peak_concurrency == 2.5
    assert world.labelled
    assert workspace.entities == [frozenset({"rag_chatbot-v1", "rag_chatbot-v2"})]


def test_no_minute_is_missed_because_a_look_came_a_moment_early(workspace: Workspace) -> None:
    observing = observer(workspace)
    for _ in range(11):
        look(observing, workspace, after=timedelta(seconds=29.99))
    assert len(workspace.entities) == 6


def test_the_workspaces_clock_is_measured_by_when_its_metrics_were_asked_for_and_told(
    workspace: Workspace,
) -> None:
    """Not by when the look began: a slow one would make the clock seem to be ahead."""
    watch, observing = [0.0], observer(workspace)
    observing.since_read = lambda: timedelta(seconds=watch[0])
    versions, traffic = workspace.versions, workspace.minutes

    def slow_versions(model: str, *, above: int, **more: object) -> tuple[ModelVersion, ...]:
        watch[0] += 40
        return versions(model, above=above, **more)

    def slow_minutes(endpoint: str, entities: frozenset[str]) -> tuple[Minute, ...]:
        watch[0] += 1
        workspace.told = workspace.story.now + timedelta(hours=1, seconds=watch[0])
        watch[0] += 1
        return traffic(endpoint, entities)

    workspace.versions, workspace.minutes = slow_versions, slow_minutes  # type: ignore[method-assign]
    world = look(observing, workspace, after=MINUTE)
    assert world.ahead is not None
    assert timedelta(hours=1) <= world.ahead <= timedelta(hours=1) + timedelta(seconds=1) + COARSE


def test_a_clock_is_not_measured_by_a_reading_of_the_records_that_took_long(
    workspace: Workspace,
) -> None:
    """When within these 30 s the record's clock showed what it showed, nobody knows."""
    observing = observer(workspace)
    observing.since_read = observing.reading_took = lambda: timedelta(seconds=30)
    workspace.told = workspace.story.now + MINUTE
    ahead = look(observing, workspace, after=MINUTE).ahead
    assert ahead == COARSE, "it was read just now, or 30 s ago"


def test_answers_without_a_date_are_told_of_once_and_measure_nothing(
    workspace: Workspace,
) -> None:
    observing = observer(workspace)
    with capture_logs() as logs:
        worlds = [look(observing, workspace, after=MINUTE) for _ in range(3)]
    assert [world.ahead for world in worlds] == [None, None, None]
    assert [one["because"] for one in logs if one.get("what") == "clock"] == [f"{UNDATED}: {DATED}"]


def test_an_abort_ends_a_round_of_golden_queries_that_is_slow(workspace: Workspace) -> None:
    observing, ended = observer(workspace), Event()
    let_go: list[Callable[[], bool]] = []

    def slow(*_: object, given_up: Callable[[], bool] = lambda: True) -> Round | None:
        let_go.append(given_up)
        ended.wait(30)
        return None

    observing.probes = SimpleNamespace(round=lambda *a, **_: slow(given_up=a[4]))  # type: ignore[assignment]
    going, staying = (workspace.story.application.name,), ("another",)
    observing.homeward = lambda: going if let_go else staying
    begun = time.monotonic()
    seen = look(observing, workspace, after=MINUTE)
    assert time.monotonic() - begun < 5
    assert (seen.round, seen.evidence, seen.versions) == (None, None, None)
    assert isinstance(seen.endpoint, Endpoint)
    assert let_go[0](), "the queries that were not asked yet are not asked any more"
    ended.set()


def test_on_the_way_home_only_what_it_rests_on_is_looked_at(workspace: Workspace) -> None:
    observing = observer(workspace)
    story = workspace.story
    assert story.application.live is not None
    story.order(Order.ABORT)
    seen = look(observing, workspace, after=MINUTE)
    assert (seen.endpoint, seen.alias) == (story.endpoint, "1")
    assert (seen.round, seen.versions, seen.history) == (None, None, None)
    story.look()
    assert story.release is not None
    assert story.release.state == "RolledBack"


def test_another_release_is_not_left_alone_for_what_the_one_before_did_not_answer(
    workspace: Workspace,
) -> None:
    """Its tests have a deadline, and the last waits are as long as that."""
    observing, asked = observer(workspace), list[str]()

    def silent(candidate: str, *_: object, **_more: object) -> Round:
        asked.append(candidate)
        raise Unreachable("it answers no query")

    observing.probes = SimpleNamespace(round=silent)  # type: ignore[assignment]
    observing.backoff = lambda what: Backoff(what, draw=lambda *_: 1.0, clock=lambda: 0.0)
    for _ in range(3):
        look(observing, workspace, after=MINUTE)
    assert asked == ["rag_chatbot-v2"]
    live = workspace.story.live
    again = replace(live, attempt=live.attempt + 1)
    story = workspace.story
    story.application = replace(story.application, releases=(again,))
    for _ in range(3):
        look(observing, workspace, after=MINUTE)
    assert asked == ["rag_chatbot-v2"] * 2


def test_a_workspace_that_fails_is_not_asked_at_every_look(workspace: Workspace) -> None:
    observing, asked = observer(workspace), list[str]()
    observing.backoff = lambda what: Backoff(what, draw=lambda *_: 1.0)

    def fail(name: str) -> Endpoint:
        asked.append(name)
        raise Unreachable("429", retry_after_s=200)

    observing.sight.endpoints = SimpleNamespace(observe=fail)  # type: ignore[assignment]
    with capture_logs() as logs:
        worlds = [look(observing, workspace, after=MINUTE) for _ in range(5)]
    assert [one.endpoint for one in worlds] == [None] * 5
    assert len(asked) == 1
    assert [line["event"] for line in logs] == ["workspace.unseen"]
    assert logs[0]["application"] == "rag-chatbot"


def test_versions_that_an_endpoint_is_adopted_with_are_not_looked_at_closely() -> None:
    workspace = Workspace(Story())
    observing = observer(workspace)
    look(observing, workspace, after=MINUTE)
    assert workspace.above[-1] > 10**9
    workspace.story.look()
    assert workspace.story.application.adopted
    look(observing, workspace, after=MINUTE)
    assert workspace.above[-1] == 1, "what is later than the watermark may begin"


def test_without_an_endpoint_all_versions_may_begin_and_are_looked_at_closely() -> None:
    workspace = Workspace(Story())
    workspace.story.endpoint = Absent()
    look(observer(workspace), workspace, after=MINUTE)
    assert workspace.above == [0]


def test_what_is_idle_is_glanced_at_and_looked_at_every_five_minutes() -> None:
    workspace = Workspace(Story())
    workspace.story.look()
    observing, application = observer(workspace), workspace.story.application
    assert observing.glance(application, workspace.story.now) is None, "nothing is known yet"
    seen = look(observing, workspace, after=MINUTE)
    assert seen.minutes
    assert observing.minutes == (), "nor between a look and the next glance"
    for _ in range(4):
        workspace.story.now += MINUTE
        glimpse = observing.glance(application, workspace.story.now)
        assert glimpse is not None
        assert (glimpse.endpoint, glimpse.alias, glimpse.versions) == (
            seen.endpoint,
            seen.alias,
            seen.versions,
        )
        assert glimpse.minutes == (), "not in memory for each of ten thousand"
        assert glimpse.requests_per_second == 1.0
    assert observing.glance(application, workspace.story.now + MINUTE) is None


def test_a_release_that_is_live_is_never_only_glanced_at(workspace: Workspace) -> None:
    observing = observer(workspace)
    look(observing, workspace, after=MINUTE)
    assert observing.glance(workspace.story.application, workspace.story.now) is None


@dataclass
class Warehouse:
    """A table of golden queries, as SQL shows it."""

    asleep: bool = True

    def rows(self, place: str, statement: str, parameters: Mapping[str, Parameter]) -> list[Row]:
        assert not parameters
        if self.asleep:
            raise Unreachable(f"{place}: the SQL warehouse gave no result")
        if statement.startswith("DESCRIBE"):
            return [["query"], ["expect"]]
        return [["What is a golden query?", "{}"]]


@pytest.fixture
def waiting(workspace: Workspace) -> Workspace:
    """A version whose golden queries are in a table."""
    story = workspace.story
    assert story.live.pinned is not None
    pinned = replace(story.live.pinned, tests_table="main.rag.golden")
    story.application = story.application.with_release(replace(story.live, pinned=pinned))
    return workspace


def test_a_round_waits_for_the_table_and_asks_its_queries_with_the_configurations_own(
    waiting: Workspace,
) -> None:
    warehouse = Warehouse()
    observing = replace(observer(waiting), tables=GoldenReader(warehouse))
    world = look(observing, waiting, after=MINUTE)
    assert (world.golden, world.round) == (None, None)
    warehouse.asleep = False
    world = look(observing, waiting, after=MINUTE)
    assert world.golden is not None
    assert [one.query for one in world.golden.queries] == ["What is a golden query?"]
    assert isinstance(world.round, Round)
    assert world.round.asked == 2


def test_an_edit_of_where_questions_are_put_is_not_of_a_release_that_waits_for_its_table(
    waiting: Workspace,
) -> None:
    story = waiting.story
    edited = Counted(paths=replace(PATHS, question="$.input", tokens=None))
    spec = replace(story.application.spec, counted=edited)
    story.application = replace(story.application, spec=spec)
    observing = replace(observer(waiting), tables=GoldenReader(Warehouse(asleep=False)))
    golden = look(observing, waiting, after=MINUTE).golden
    assert golden is not None
    assert [(one.query, one.body) for one in golden.queries] == [("What is a golden query?", "")]
