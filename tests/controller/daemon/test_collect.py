from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from controller.daemon.collect import Collector
from controller.daemon.lead import Lead
from policies.evidence import Block, Coverage, Measure
from states.counted import Counted, Paths, Query
from states.leap import leapt, leapt_untold
from states.release import Application
from states.world import Endpoint, Evidence
from tests.controller.daemon.platform import (
    CANDIDATE,
    MINUTE,
    SECOND,
    STABLE,
    Platform,
    Probes,
    Request,
    one_a_second,
)
from tests.states.story import START, Story

TABLE, METRICS = "inference_table", "metrics"


def collector(
    platform: Platform, probes: Probes | None = None, lead: Lead | None = None
) -> Collector:
    """A collector that was just made, as after a restart, on the store's clock."""
    clock = lambda: platform.time  # noqa: E731
    return Collector(platform, probes or Probes(), platform, clock, lead=lead)


@pytest.fixture
def story() -> Story:
    """A canary that opened a moment ago, on the whole minute, and was not seen yet."""
    story = Story()
    paced(story, 10 * SECOND)
    story.look()
    story.register(2)
    story.obeys = True
    story.table_speaks = False
    story.until("Canary")
    return counted_by(story, errors=TABLE)


def paced(story: Story, every: timedelta) -> None:
    spec = replace(story.application.spec, evidence_every=every)
    story.application = replace(story.application, spec=spec)


def reading(story: Story, counted: Counted | None) -> None:
    """The live release was admitted under this."""
    assert story.live.pinned is not None
    pinned = replace(story.live.pinned, counted=counted)
    story.application = story.application.with_release(replace(story.live, pinned=pinned))


def counted_by(story: Story, **sources: str) -> Story:
    story.application = story.application.with_release(replace(story.live, sources=sources))
    return story


def endpoint(story: Story) -> Endpoint:
    assert isinstance(story.endpoint, Endpoint)
    return story.endpoint


def look(collecting: Collector, platform: Platform, story: Story) -> Evidence | None:
    """Look once, and keep what is closed in the record."""
    evidence = collecting.collect(
        story.application,
        endpoint(story),
        platform.time,
        platform.minutes(),
        platform.ahead if platform.dated else None,
    )
    if evidence is not None:
        live = story.live
        story.application = story.application.with_release(
            replace(live, blocks=(*live.blocks, *evidence.blocks))
        )
    return evidence


def gather(
    collecting: Collector, platform: Platform, story: Story, *, seconds: int, step: int = 10
) -> list[Block]:
    """Look every `step` seconds; what was closed meanwhile."""
    before, now = len(story.live.blocks), story.now
    for passed in range(0, seconds, step):
        platform.time = now + passed * SECOND
        look(collecting, platform, story)
    return list(story.live.blocks[before:])


def requests(blocks: list[Block]) -> int:
    return sum(block.candidate.requests + block.stable.requests for block in blocks)


def began(story: Story) -> datetime:
    return story.live.spans[0].starts_at


def test_windows_follow_each_other_without_gap_or_overlap_up_to_the_watermark(
    story: Story,
) -> None:
    platform = Platform()
    blocks = gather(collector(platform), platform, story, seconds=120)
    assert blocks[0].opened_at == began(story)
    for before, after in pairwise(blocks):
        assert after.opened_at == before.closed_at
        assert after.number == before.number + 1
    assert blocks[-1].closed_at == platform.time - platform.lag
    assert requests(blocks) == (blocks[-1].closed_at - began(story)) / SECOND


def test_a_block_never_reaches_over_a_change_of_weight(story: Story) -> None:
    story.look()
    settled = story.live.spans[-1]
    assert settled.settled
    platform = Platform()
    blocks = gather(collector(platform), platform, story, seconds=150)
    assert {block.span for block in blocks} == {1, 2}
    for block in blocks:
        before = block.closed_at <= settled.starts_at
        assert before or block.opened_at >= settled.starts_at
        assert block.comparable is not before


def test_all_spans_that_have_passed_are_closed_by_one_statement(story: Story) -> None:
    story.look()
    platform = Platform(time=story.now + 10 * MINUTE)
    collecting = collector(platform, lead=Lead(timedelta(), timedelta()))
    look(collecting, platform, story)
    assert [block.span for block in story.live.blocks] == [1, 2]
    assert len(platform.asked) == 1


@pytest.mark.parametrize("hours", [-3, 2])
def test_a_warehouse_whose_clock_is_off_counts_the_same_stretch(story: Story, hours: int) -> None:
    story.look()
    platform = Platform(ahead=timedelta(hours=hours))
    blocks = gather(collector(platform), platform, story, seconds=60)
    assert blocks[0].opened_at == began(story) + platform.ahead
    assert requests(blocks) == (blocks[-1].closed_at - blocks[0].opened_at) / SECOND
    cut = story.live.spans[-1].starts_at + platform.ahead
    assert any(block.opened_at == cut for block in blocks)


def test_the_watermark_is_told_on_the_stores_clock(story: Story) -> None:
    platform = Platform(ahead=timedelta(hours=5), time=story.now + 60 * SECOND)
    evidence = look(collector(platform), platform, story)
    assert evidence is not None
    assert evidence.watermarks == {TABLE: platform.time - platform.lag}


def test_both_versions_are_probed_at_the_sources_pace_not_at_every_look(story: Story) -> None:
    platform, probes = Platform(), Probes()
    gather(collector(platform, probes), platform, story, seconds=40, step=1)
    assert probes.beaten == [CANDIDATE, STABLE] * 4


def test_a_warehouse_that_does_not_answer_brings_no_evidence_and_says_so(story: Story) -> None:
    platform = Platform(broken=True, time=story.now)
    evidence = look(collector(platform), platform, story)
    assert evidence == Evidence(trouble="the warehouse is asleep")


def test_nothing_is_asked_while_no_release_has_users() -> None:
    story, platform = Story(), Platform()
    story.look()
    idle = Application(name="idle", spec=story.application.spec)
    assert collector(platform).collect(idle, endpoint(story), story.now) is None
    assert platform.asked == []


def test_a_release_without_sources_is_not_asked_about(story: Story) -> None:
    counted_by(story)
    platform, probes = Platform(time=story.now), Probes()
    assert look(collector(platform, probes), platform, story) is None
    assert (platform.asked, probes.beaten) == ([], [])


@pytest.mark.parametrize("seconds", [1, 20])
def test_a_warehouse_whose_statements_wait_brings_evidence_all_the_same(
    story: Story, seconds: int
) -> None:
    platform = Platform(takes=timedelta(seconds=seconds))
    blocks = gather(collector(platform), platform, story, seconds=120)
    assert requests(blocks) > 0


def test_a_daemon_that_was_restarted_measures_the_clocks_anew(story: Story) -> None:
    """Else a warehouse ahead by hours would seem to have told of the whole bake already."""
    platform = Platform(ahead=timedelta(hours=2))
    assert gather(collector(platform), platform, story, seconds=60)
    platform.time += timedelta(seconds=30)
    evidence = look(collector(platform), platform, story)
    assert evidence is not None
    assert evidence.watermarks == {TABLE: platform.time - platform.lag}


def test_the_least_offset_is_kept_so_that_one_slow_start_is_forgotten(story: Story) -> None:
    platform = Platform(takes=timedelta(minutes=3))
    collecting = collector(platform)
    gather(collecting, platform, story, seconds=20)
    platform.takes = timedelta()
    story.now += timedelta(minutes=1)
    gather(collecting, platform, story, seconds=20)
    assert collecting.lead is not None
    assert collecting.lead.most == timedelta()


@pytest.mark.parametrize("hours", [-24, -1, 1, 24])
def test_a_store_clock_that_was_set_leaves_no_stale_offset(story: Story, hours: int) -> None:
    platform = Platform(takes=timedelta(seconds=1))
    collecting, by = collector(platform), timedelta(hours=hours)
    gather(collecting, platform, story, seconds=20)
    story.now += by
    platform.ahead -= by
    gather(collecting, platform, story, seconds=20)
    assert collecting.lead is not None
    assert collecting.lead.most == platform.ahead + platform.takes


@pytest.mark.parametrize("hours", [-24, -1, 1, 24])
def test_the_warehouse_tells_by_how_much_its_clock_is_ahead_and_so_a_clock_that_was_set(
    story: Story, hours: int
) -> None:
    """Who takes over has no reading of the clock from before; the warehouse's clock went on."""
    platform, by = Platform(ahead=timedelta(minutes=50)), timedelta(hours=hours)
    platform.time, platform.lag = story.now, timedelta(hours=2)
    before = look(collector(platform), platform, story)
    assert before is not None
    assert (before.blocks, before.lead) == ((), platform.ahead), "also where no row has come yet"
    release = replace(story.live, lead=before.lead)
    story.application = story.application.with_release(release)
    platform.time += MINUTE
    after = look(collector(platform), platform, story)
    assert leapt_untold(story.live, after) == timedelta(), "it was not set"
    platform.time += by + MINUTE
    platform.ahead -= by
    evidence = look(collector(platform), platform, story)
    assert leapt_untold(story.live, evidence) == by
    moved = leapt(story.application, by).live
    assert leapt_untold(moved, evidence) == timedelta(), "a leap that was noticed is made good"


def test_a_store_clock_that_went_back_by_half_a_minute_is_no_statement_that_waited(
    story: Story,
) -> None:
    """The watermark would be told half a minute late on it, and a stay seem to be told of whole."""
    platform, ticks = Platform(), [0.0]
    collecting = collector(platform)
    collecting.steady = lambda: ticks[0]
    gather(collecting, platform, story, seconds=20)
    platform.ahead += 31 * SECOND
    story.now += 20 * SECOND
    gather(collecting, platform, story, seconds=20)
    assert collecting.lead is not None
    assert collecting.lead.most == platform.ahead

    def waits() -> float:
        ticks[0] += 20
        return ticks[0]

    collecting.steady, platform.takes = waits, 20 * SECOND
    story.now += 20 * SECOND
    gather(collecting, platform, story, seconds=20)
    assert collecting.lead.most == platform.ahead, "that one did wait"


def test_what_is_known_by_a_statement_that_waited_long_tells_nothing_of_the_clock(
    story: Story,
) -> None:
    """A warehouse that starts, or others' statements that are asked one after the other."""
    platform = Platform(takes=timedelta(seconds=130))
    collecting = collector(platform)
    ticks = [0.0]

    def steady() -> float:
        ticks[0] += platform.takes.total_seconds()
        return ticks[0]

    collecting.steady = steady
    evidence = look(collecting, platform, story)
    assert evidence is not None
    assert evidence.lead is None
    platform.takes = timedelta(seconds=40)
    platform.time += MINUTE
    evidence = look(collecting, platform, story)
    assert evidence is not None
    assert evidence.lead == platform.takes
    platform.takes = timedelta(seconds=90)
    platform.time += MINUTE
    evidence = look(collecting, platform, story)
    assert evidence is not None
    assert evidence.lead == timedelta(seconds=40), "the better measure of before holds"


def test_releases_of_one_pace_are_looked_at_in_the_same_beat_whenever_they_opened(
    story: Story,
) -> None:
    paced(story, 5 * MINUTE)
    moments: list[set[datetime]] = []
    for opened in (0, 150):
        platform, seen = Platform(), set[datetime]()
        collecting = collector(platform, lead=Lead(timedelta(), timedelta()))
        for passed in range(opened, 1200, 30):
            platform.time = story.now + passed * SECOND
            count = len(platform.asked)
            look(collecting, platform, story)
            if len(platform.asked) > count:
                seen.add(platform.time)
        moments.append(seen)
        assert min(seen) == story.now + opened * SECOND, "the first look does not wait"
        assert max(later - one for one, later in pairwise(sorted(seen))) <= 5 * MINUTE
    first, other = ({*sorted(seen)[1:]} for seen in moments)
    assert other <= first
    assert all(one.minute % 5 == 0 and one.second == 0 for one in first | other)


def test_every_row_is_counted_once_or_told_once_as_late(story: Story) -> None:
    paced(story, MINUTE)
    late = [
        Request(story.now + number * SECOND, story.now + (number + delay) * SECOND, STABLE)
        for number, delay in ((20, 200), (40, 500), (41, 500), (130, 90))
    ]
    platform = Platform([*one_a_second(1200, since=story.now), *late])
    blocks = gather(collector(platform), platform, story, seconds=900)
    told = {block.number: block.late for block in blocks if block.late}
    assert sum(told.values()) == 4
    assert len(told) == 3
    assert requests(blocks) == (blocks[-1].closed_at - began(story)) / SECOND


def test_rows_late_by_less_than_the_watermark_are_not_late(story: Story) -> None:
    platform = Platform(one_a_second(1200, lag=40 * SECOND), lag=40 * SECOND)
    blocks = gather(collector(platform), platform, story, seconds=600)
    assert {block.late for block in blocks} == {0}


def test_a_long_release_recounts_the_last_hours_only_and_tells_nothing_twice(
    story: Story,
) -> None:
    paced(story, timedelta(minutes=30))
    late = Request(story.now + MINUTE, story.now + 40 * MINUTE, STABLE)
    platform = Platform([late], exported=0)
    blocks = gather(collector(platform), platform, story, seconds=10 * 3600, step=600)
    assert sum(block.late for block in blocks) == 1
    since = platform.asked[-1].counted_since
    assert since is not None
    assert timedelta(hours=5) < platform.asked[-1].since - since <= timedelta(hours=6)


def test_sessions_are_not_held_against_rows(story: Story) -> None:
    platform = Platform()
    reading(story, Counted(paths=Paths(session="$.session")))
    collecting = collector(platform)
    assert gather(collecting, platform, story, seconds=60)
    assert {ask.counted_since for ask in platform.asked} == {None}


def test_a_block_tells_how_much_of_the_metrics_minutes_the_table_has(story: Story) -> None:
    paced(story, 5 * MINUTE)
    unwritten = datetime.max.replace(tzinfo=START.tzinfo)
    drawn = one_a_second(1800)
    lost = [replace(one, written=unwritten) if one.failed else one for one in drawn]
    platform = Platform(lost)
    blocks = gather(collector(platform), platform, story, seconds=600, step=30)
    covers = [block.coverage for block in blocks if block.coverage is not None]
    whole = sum(covers, Coverage(requests=0, failed=0, seen=0, seen_failed=0))
    assert whole.requests >= 300
    assert whole.requests % 60 == 0
    assert whole.seen_failed == 0
    assert whole.requests - whole.seen == whole.failed > 0


def test_without_metrics_no_minutes_are_asked_for_and_nothing_is_known_of_coverage(
    story: Story,
) -> None:
    platform = Platform(exported=0)
    blocks = gather(collector(platform), platform, story, seconds=300)
    assert {ask.minute_phase_ms for ask in platform.asked} == {None}
    assert {block.coverage for block in blocks} == {None}


def test_metrics_that_name_the_version_are_counted_by_whole_minutes_at_their_own_pace(
    story: Story,
) -> None:
    paced(story, 5 * MINUTE)
    counted_by(story, errors=METRICS)
    story.look()
    platform, probes = Platform(), Probes()
    collecting = collector(platform, probes)
    blocks = gather(collecting, platform, story, seconds=600, step=30)
    assert {block.source for block in blocks} == {METRICS}
    assert [block.number for block in blocks] == list(range(1, len(blocks) + 1))
    assert len(blocks) >= 8
    assert all((block.closed_at - block.opened_at) % MINUTE == timedelta() for block in blocks)
    for block in blocks:
        counted = block.candidate.requests + block.stable.requests
        assert counted == (block.closed_at - block.opened_at) / SECOND
        assert block.candidate.errors == block.candidate.server_errors
    settled = story.live.spans[-1].starts_at
    assert not any(block.opened_at < settled < block.closed_at for block in blocks)
    assert (platform.asked, probes.beaten) == ([], []), "no warehouse is needed for them"


def test_where_no_answer_tells_the_time_the_record_knows_by_how_much_its_clock_was_set(
    story: Story,
) -> None:
    counted_by(story, errors=METRICS)
    story.look()
    by = 10 * MINUTE
    story.application, story.now = leapt(story.application, by), story.now + by
    platform = Platform(ahead=-by, requests=one_a_second(3600, since=START + by))
    platform.dated = False
    blocks = gather(collector(platform), platform, story, seconds=300, step=30)
    assert began(story) - by <= blocks[0].opened_at < began(story) - by + MINUTE
    platform.time += MINUTE
    evidence = look(collector(platform), platform, story)
    assert evidence is not None
    assert evidence.watermarks[METRICS] == evidence.blocks[-1].closed_at + by <= platform.time


def test_two_sources_are_two_sequences_of_windows_under_one_numbering(story: Story) -> None:
    paced(story, MINUTE)
    counted_by(story, errors=METRICS, latency=TABLE)
    platform = Platform()
    collecting = collector(platform)
    blocks = gather(collecting, platform, story, seconds=600, step=30)
    assert [block.number for block in blocks] == list(range(1, len(blocks) + 1))
    for source in (METRICS, TABLE):
        own = [block for block in blocks if block.source == source]
        assert len(own) > 5
        for before, after in pairwise(own):
            assert after.opened_at == before.closed_at
    platform.time += MINUTE
    evidence = look(collecting, platform, story)
    assert evidence is not None
    assert evidence.watermarks.keys() == {METRICS, TABLE}
    assert evidence.watermarks[METRICS] == platform.minutes()[-1].ends_at


def test_the_metrics_minutes_are_cut_by_their_own_clock(story: Story) -> None:
    paced(story, MINUTE)
    counted_by(story, errors=METRICS, latency=TABLE)
    story.look()
    platform = Platform(ahead=timedelta(hours=1, seconds=20))
    blocks = gather(collector(platform), platform, story, seconds=600, step=30)
    own = [block for block in blocks if block.source == METRICS]
    cut = story.live.spans[-1].starts_at + platform.ahead
    assert not any(block.opened_at < cut < block.closed_at for block in own)
    assert own[0].opened_at >= began(story) + platform.ahead


def test_a_configured_query_is_asked_with_the_table_and_has_its_own_watermark(
    story: Story,
) -> None:
    counted_by(story, errors=TABLE, quality="query:quality")
    measures = {"quality": Measure(cap=1.0)}
    story.application = story.application.with_release(replace(story.live, measures=measures))
    platform = Platform()
    queries = tuple(
        Query(name=name, sql="SELECT 1", counts="score") for name in ("quality", "unused")
    )
    reading(story, Counted(queries=queries))
    collecting = collector(platform)
    blocks = gather(collecting, platform, story, seconds=120)
    own = [block for block in blocks if block.source == "query:quality"]
    assert own[0].opened_at == began(story)
    assert own[-1].closed_at == platform.time - platform.query_lag
    assert requests(own) == (own[-1].closed_at - own[0].opened_at) / SECOND
    assert platform.asked[-1].queries.keys() == {"quality"}
    assert platform.asked[-1].measures == measures
    platform.time += 10 * SECOND
    evidence = look(collecting, platform, story)
    assert evidence is not None
    assert evidence.watermarks["query:quality"] == platform.time - platform.query_lag


def test_a_query_of_errors_is_asked_for_the_servers_where_it_was_configured_to_tell(
    story: Story,
) -> None:
    counted_by(story, errors="query:gateway")
    for told_apart in (True, False):
        query = Query(name="gateway", sql="SELECT 1", counts="errors", server_errors=told_apart)
        reading(story, Counted(queries=(query,)))
        platform = Platform(time=story.now + MINUTE)
        look(collector(platform), platform, story)
        assert platform.asked[-1].queries["gateway"].server_errors is told_apart


def test_a_pinned_query_that_left_the_configuration_is_missed_aloud(story: Story) -> None:
    counted_by(story, errors=TABLE, quality="query:quality")
    platform = Platform(time=story.now + MINUTE)
    evidence = look(collector(platform), platform, story)
    assert evidence is not None
    assert evidence.blocks
    assert evidence.trouble is not None
    assert "query quality is not in evidence.queries any more" in evidence.trouble


def test_an_edit_of_what_is_counted_is_of_later_releases_only(story: Story) -> None:
    counted_by(story, errors=TABLE, quality="query:quality")
    pinned, edited = (
        Counted(
            paths=Paths(answer=answer),
            queries=(Query(name="quality", sql=sql, counts="score"),),
        )
        for answer, sql in (("$.answer", "SELECT 1"), ("$.text", "SELECT 2"))
    )
    spec = replace(story.application.spec, counted=edited)
    story.application = replace(story.application, spec=spec)
    for counted, by in ((pinned, pinned), (None, edited)):
        reading(story, counted)
        platform = Platform(time=story.now + MINUTE)
        assert look(collector(platform), platform, story) is not None
        [ask] = platform.asked[-1:]
        assert ask.paths == by.paths
        assert ask.queries["quality"].sql == by.queries[0].sql


def test_an_inference_table_that_was_switched_off_is_missed_aloud(story: Story) -> None:
    platform = Platform(time=story.now + MINUTE)
    story.endpoint = replace(endpoint(story), inference_table=None)
    evidence = look(collector(platform), platform, story)
    assert evidence is not None
    assert evidence.trouble is not None
    assert "has no inference table" in evidence.trouble


def asked_times(story: Story, platform: Platform, hours: float) -> list[datetime]:
    collecting, found = collector(platform, lead=Lead(timedelta(), timedelta())), list[datetime]()
    for passed in range(0, int(hours * 3600), 30):
        platform.time = story.now + passed * SECOND
        count = len(platform.asked)
        look(collecting, platform, story)
        if len(platform.asked) > count:
            found.append(platform.time)
    return found


def test_an_endpoint_without_any_request_is_asked_about_every_half_hour(story: Story) -> None:
    paced(story, 5 * MINUTE)
    moments = asked_times(story, Platform([]), 2)
    waits = {later - one for one, later in pairwise(moments[1:])}
    assert waits == {timedelta(minutes=30)}


def test_an_endpoint_whose_metrics_are_unseen_is_asked_about_at_every_pace(story: Story) -> None:
    paced(story, 5 * MINUTE)
    moments = asked_times(story, Platform([], exported=0), 1)
    assert {later - one for one, later in pairwise(moments[1:])} == {5 * MINUTE}


def test_the_probes_own_requests_keep_an_endpoint_without_users_covered(story: Story) -> None:
    paced(story, 5 * MINUTE)
    probes = [
        Request(story.now + number * 5 * MINUTE + SECOND, story.now, STABLE) for number in range(30)
    ]
    moments = asked_times(story, Platform(probes), 1)
    assert {later - one for one, later in pairwise(moments[1:])} == {5 * MINUTE}


def test_a_look_that_failed_is_made_up_for_although_nothing_came_since(story: Story) -> None:
    paced(story, 5 * MINUTE)
    platform = Platform([], time=story.now)
    collecting = collector(platform, lead=Lead(timedelta(), timedelta()))
    unanswered = 0
    for passed in range(0, 1800, 30):
        platform.time = story.now + passed * SECOND
        platform.broken = passed < 900
        look(collecting, platform, story)
        if platform.broken:
            unanswered = len(platform.asked)
    assert unanswered == 4, "at first, and at every pace"
    assert len(platform.asked) == unanswered + 1
