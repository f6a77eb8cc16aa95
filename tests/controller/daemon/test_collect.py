from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from controller.daemon.collect import Collector, span_at
from controller.workspace.errors import Unreachable
from controller.workspace.inference import Look
from policies.evidence import NOTHING, Arm, Block
from states.release import Application, Span
from states.world import Endpoint
from tests.states.story import START, TABLE, Story

SECOND = timedelta(seconds=1)


@dataclass
class Warehouse:
    """A table whose rows arrive `lag` late, on a clock of its own."""

    lag: timedelta = timedelta(seconds=10)
    ahead: timedelta = timedelta()
    """How far the warehouse's clock is ahead of the store's."""
    time: datetime = START
    asked: list[tuple[datetime | None, datetime | None]] = field(default_factory=list)
    broken: bool = False
    takes: timedelta = timedelta()
    """How long a statement waits before it runs."""

    def look(  # noqa: PLR0913 - one statement's parameters
        self,
        *,
        table: str,
        application: str,
        candidate_entity: str,
        stable_entity: str | None,
        endpoint: str,
        since: datetime | None,
        until: datetime | None,
    ) -> Look:
        assert table == TABLE
        assert application == "rag-chatbot"
        assert endpoint == "rag-chatbot-endpoint"
        assert (candidate_entity, stable_entity) == ("rag_chatbot-v2", "rag_chatbot-v1")
        assert since is not None
        self.asked.append((since, until))
        if self.broken:
            raise Unreachable("the warehouse is asleep")
        now = self.time + self.ahead + self.takes
        watermark = now - self.lag
        closed = max(since, min(until or watermark, watermark))
        arm = Arm(requests=int((closed - since).total_seconds()), errors=0, server_errors=0)
        return Look(now=now, watermark=watermark, closed=closed, candidate=arm, stable=NOTHING)


@dataclass
class Probes:
    beaten: list[str] = field(default_factory=list)

    def beat(self, entity: str, query: str, marker: str) -> bool:
        assert query
        assert marker.startswith("headgate/")
        self.beaten.append(entity)
        return True


def collector(warehouse: Warehouse, probes: Probes | None = None) -> Collector:
    """A collector that was just made, as after a restart, on the store's clock."""
    return Collector(warehouse, probes or Probes(), lambda: warehouse.time)


@pytest.fixture
def story() -> Story:
    """A canary that opened a moment ago and was not seen yet."""
    story = Story()
    story.application = replace(
        story.application, spec=replace(story.application.spec, evidence_every=10 * SECOND)
    )
    story.look()
    story.register(2)
    story.obeys = True
    story.table_speaks = False
    story.until("Canary")
    return story


def endpoint(story: Story) -> Endpoint:
    assert isinstance(story.endpoint, Endpoint)
    return story.endpoint


def gather(
    collecting: Collector, warehouse: Warehouse, story: Story, *, seconds: int, step: int = 10
) -> list[Block]:
    """Look every `step` seconds, and keep what each look closes in the record."""
    blocks: list[Block] = []
    now = story.now
    for passed in range(0, seconds, step):
        warehouse.time = now + passed * SECOND
        evidence = collecting.collect(story.application, endpoint(story), warehouse.time)
        if evidence is None:
            continue
        blocks += evidence.blocks
        live = story.live
        story.application = story.application.with_release(
            replace(live, blocks=(*live.blocks, *evidence.blocks))
        )
    return blocks


def test_windows_follow_each_other_without_gap_or_overlap_up_to_the_watermark(
    story: Story,
) -> None:
    warehouse = Warehouse()
    blocks = gather(collector(warehouse), warehouse, story, seconds=120)
    assert blocks[0].opened_at == story.live.spans[0].starts_at
    for before, after in pairwise(blocks):
        assert after.opened_at == before.closed_at
        assert after.number == before.number + 1
    assert blocks[-1].closed_at == warehouse.time - warehouse.lag


def test_a_block_never_reaches_over_a_change_of_weight(story: Story) -> None:
    story.look()
    settled = story.live.spans[-1]
    assert settled.settled
    warehouse = Warehouse()
    blocks = gather(collector(warehouse), warehouse, story, seconds=150)
    spans = {block.span for block in blocks}
    assert len(spans) == 2
    for block in blocks:
        before = block.closed_at <= settled.starts_at
        assert before or block.opened_at >= settled.starts_at
        assert block.comparable is not before


@pytest.mark.parametrize("hours", [-3, 2])
def test_a_warehouse_whose_clock_is_off_counts_the_same_stretch(story: Story, hours: int) -> None:
    warehouse = Warehouse(ahead=timedelta(hours=hours))
    blocks = gather(collector(warehouse), warehouse, story, seconds=60)
    assert blocks[0].opened_at == story.live.spans[0].starts_at + warehouse.ahead
    assert sum(block.candidate.requests for block in blocks) > 0


def test_the_watermark_is_told_on_the_stores_clock(story: Story) -> None:
    warehouse = Warehouse(ahead=timedelta(hours=5), time=story.now + 60 * SECOND)
    evidence = collector(warehouse).collect(story.application, endpoint(story), warehouse.time)
    assert evidence is not None
    assert evidence.watermark == warehouse.time - warehouse.lag


def test_both_versions_are_probed_at_the_sources_pace_not_at_every_look(story: Story) -> None:
    warehouse, probes = Warehouse(), Probes()
    gather(collector(warehouse, probes), warehouse, story, seconds=40, step=1)
    assert probes.beaten == ["rag_chatbot-v2", "rag_chatbot-v1"] * 4


def test_a_warehouse_that_does_not_answer_brings_no_evidence_and_says_so(story: Story) -> None:
    warehouse = Warehouse(broken=True)
    evidence = collector(warehouse).collect(story.application, endpoint(story), story.now)
    assert evidence is not None
    assert evidence.blocks == ()
    assert evidence.watermark is None
    assert evidence.trouble == "the warehouse is asleep"


def test_nothing_is_asked_while_no_release_has_users() -> None:
    story = Story()
    story.look()
    warehouse = Warehouse()
    assert (
        collector(warehouse).collect(
            Application(name="idle", spec=story.application.spec), endpoint(story), story.now
        )
        is None
    )
    assert warehouse.asked == []


def span(number: int, start: int, *, settled: bool = True) -> Span:
    return Span(number=number, step=1, weight=5, starts_at=START + start * SECOND, settled=settled)


def test_a_later_decision_overrules_a_span_that_was_still_to_begin() -> None:
    spans = (span(1, 0), span(2, 60), span(3, 20))
    current, until = span_at(spans, START + 10 * SECOND)
    assert (current.number, until) == (1, START + 20 * SECOND)
    current, until = span_at(spans, START + 100 * SECOND)
    assert (current.number, until) == (3, None)


@pytest.mark.parametrize("seconds", [1, 20])
def test_a_warehouse_whose_statements_wait_brings_evidence_all_the_same(
    story: Story, seconds: int
) -> None:
    warehouse = Warehouse(takes=timedelta(seconds=seconds))
    blocks = gather(collector(warehouse), warehouse, story, seconds=120)
    assert sum(block.candidate.requests for block in blocks) > 0


def test_a_daemon_that_was_restarted_measures_the_clocks_anew(story: Story) -> None:
    """Else a warehouse ahead by hours would seem to have told of the whole bake already."""
    warehouse = Warehouse(ahead=timedelta(hours=2))
    assert gather(collector(warehouse), warehouse, story, seconds=60)
    warehouse.time += timedelta(seconds=30)
    evidence = collector(warehouse).collect(story.application, endpoint(story), warehouse.time)
    assert evidence is not None
    assert evidence.watermark == warehouse.time - warehouse.lag


def test_the_least_offset_is_kept_so_that_one_slow_start_is_forgotten(story: Story) -> None:
    warehouse = Warehouse(takes=timedelta(minutes=3))
    collecting = collector(warehouse)
    gather(collecting, warehouse, story, seconds=20)
    warehouse.takes = timedelta()
    story.now += timedelta(minutes=1)
    gather(collecting, warehouse, story, seconds=20)
    assert collecting.offset == timedelta()
