"""Where spans cut what is counted, and which minutes make a window."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.daemon.windows import (
    Stretch,
    coverage,
    minute_windows,
    phase_of,
    quiet,
    span_at,
    stretch,
)
from controller.workspace.inference import Window
from controller.workspace.metrics import EntityMinute
from policies.evidence import NOTHING, Arm, Coverage
from policies.fuse import Minute
from states.span import Span
from tests.controller.daemon.platform import MINUTE, SECOND
from tests.states.story import START

HOUR = timedelta(hours=1)


def span(number: int, start: float, *, settled: bool = True) -> Span:
    return Span(number=number, step=1, weight=5, starts_at=START + start * SECOND, settled=settled)


def minute(end: float, requests: int = 60, errors: int = 0) -> Minute:
    return Minute(ends_at=START + end * SECOND, requests=requests, errors=errors)


def by_entity(end: float, requests: int = 60) -> EntityMinute:
    counted = Arm(requests=requests, errors=1, server_errors=0)
    return EntityMinute(START + end * SECOND, {"v2": counted, "other": counted})


def window(opened: float, closed: float) -> Window:
    return Window(
        opened=START + opened * SECOND,
        closed=START + closed * SECOND,
        candidate=NOTHING,
        stable=NOTHING,
        unattributed=0,
    )


def seconds(moment: datetime) -> float:
    return (moment - START) / SECOND


def test_a_later_decision_overrules_a_span_that_was_still_to_begin() -> None:
    spans = (span(1, 0), span(2, 60), span(3, 20))
    current, until = span_at(spans, START + 10 * SECOND)
    assert (current.number, until) == (1, START + 20 * SECOND)
    current, until = span_at(spans, START + 100 * SECOND)
    assert (current.number, until) == (3, None)


def test_cuts_are_the_standing_spans_beginnings_on_the_sources_clock() -> None:
    spans = (span(1, 0), span(2, 60), span(3, 20), span(4, 90))
    due = stretch(spans, None, HOUR)
    assert due.since == START + HOUR
    assert due.cuts == (START + HOUR + 20 * SECOND, START + HOUR + 90 * SECOND)
    assert [one.number for one in due.spans] == [1, 3, 4]
    assert due.span(due.cuts[0]).number == 3


def test_what_was_counted_is_not_cut_again() -> None:
    due = stretch((span(1, 0), span(2, 60)), START + 60 * SECOND, timedelta())
    assert due == Stretch(START + 60 * SECOND, (), (span(2, 60),), goes_on=True)


def test_a_cut_between_two_milliseconds_is_rounded_into_its_own_span() -> None:
    due = stretch((span(1, 0.0004), span(2, 1.0000001)), None, 7 * timedelta(microseconds=1))
    assert due.since == START + 0.001 * SECOND
    assert due.cuts == (START + 1.001 * SECOND,)
    assert due.span(due.since).number == 1


def test_whole_minutes_become_windows_and_neighbours_one_window() -> None:
    due = stretch((span(1, 0),), None, timedelta())
    minutes = [by_entity(end) for end in (0, 30, 60, 120, 240)]
    found = minute_windows(minutes, due, "v2", "v1")
    assert [(seconds(one.opened), seconds(one.closed)) for one in found] == [(0, 120), (180, 240)]
    assert found[0].candidate == Arm(requests=120, errors=2, server_errors=0)
    assert found[0].stable == NOTHING


def test_a_minute_that_a_change_of_weight_falls_into_is_left_out() -> None:
    due = stretch((span(1, 0), span(2, 90), span(3, 240)), None, timedelta())
    minutes = [by_entity(end) for end in (60, 120, 180, 240, 300)]
    found = minute_windows(minutes, due, "v2", None)
    spans = [
        (due.span(one.opened).number, seconds(one.opened), seconds(one.closed)) for one in found
    ]
    assert spans == [(1, 0, 60), (2, 120, 240), (3, 240, 300)]


def test_minutes_that_overlap_are_never_counted_twice() -> None:
    due = stretch((span(1, 0),), None, timedelta())
    minutes = [by_entity(end) for end in (60, 75, 90, 119.5, 180)]
    found = minute_windows(minutes, due, "v2", None)
    assert sum(one.candidate.requests for one in found) == 180
    again = stretch((span(1, 0),), found[-1].closed, timedelta())
    assert minute_windows(minutes, again, "v2", None) == []


@pytest.mark.parametrize("early", [0.02, 1])
def test_minutes_that_an_exporter_ends_a_little_early_are_counted_one_look_at_a_time_too(
    early: float,
) -> None:
    minutes = [by_entity(60 * number - early * (number % 2)) for number in range(1, 21)]
    closed, counted = None, 0
    for told in range(1, 21):
        due = stretch((span(1, -2),), closed, timedelta())
        for one in minute_windows(minutes[:told], due, "v2", None):
            assert closed is None or one.opened >= closed
            closed, counted = one.closed, counted + one.candidate.requests
    assert counted == 20 * 60


def test_a_minute_that_began_just_before_a_span_speaks_of_two_weights() -> None:
    due = stretch((span(1, 0.5),), None, timedelta())
    assert minute_windows([by_entity(60)], due, "v2", None) == []


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            {120: (58, 3), 180: (60, 2)},
            Coverage(requests=120, failed=5, seen=118, seen_failed=5),
        ),
        ({180: (60, 2)}, Coverage(requests=120, failed=5, seen=60, seen_failed=2)),
        ({}, Coverage(requests=120, failed=5, seen=0, seen_failed=0)),
    ],
)
def test_coverage_is_of_the_minutes_that_end_within_the_window(
    rows: Mapping[float, tuple[int, int]], expected: Coverage
) -> None:
    seen = {START + end * SECOND: counts for end, counts in rows.items()}
    metrics = [minute(60, 60, 9), minute(120, 60, 3), minute(180, 60, 2), minute(240, 60, 9)]
    phase = phase_of(metrics[0])
    assert coverage(window(60, 230), seen, metrics, phase) == expected


@pytest.mark.parametrize("every", [10, 30, 60, 70, 300])
def test_however_short_windows_are_each_minute_is_told_of_once(every: int) -> None:
    metrics = [minute(60 * number, 60, number) for number in range(1, 11)]
    seen = {one.ends_at: (59, 0) for one in metrics}
    edges = range(7, 700, every)
    found = [coverage(window(edge, edge + every), seen, metrics, 0) for edge in edges]
    told = sum((one for one in found if one), Coverage(requests=0, failed=0, seen=0, seen_failed=0))
    assert told == Coverage(requests=600, failed=55, seen=590, seen_failed=0)


def test_without_a_minute_of_the_phase_that_was_asked_for_nothing_is_covered() -> None:
    assert coverage(window(60, 100), {}, [minute(60), minute(120)], 0) is None
    assert coverage(window(0, 100), {}, [minute(60)], None) is None
    assert coverage(window(0, 100), {}, [minute(61)], 0) is None


@pytest.mark.parametrize(
    "minutes",
    [
        [minute(60, 9), minute(120, 0), minute(180, 0)],
        [minute(60, 0), minute(120, 0)],
    ],
)
def test_an_endpoint_is_quiet_if_every_minute_since_was_seen_without_requests(
    minutes: list[Minute],
) -> None:
    assert quiet(minutes, START + 60 * SECOND, START + 300 * SECOND, fresh=3 * MINUTE)


@pytest.mark.parametrize(
    "minutes",
    [
        [minute(120, 0), minute(180, 1), minute(240, 0)],
        [minute(120, 0), minute(240, 0)],
        [minute(180, 0), minute(240, 0)],
        [minute(60, 0)],
        [],
    ],
)
def test_an_endpoint_with_requests_or_with_a_minute_unseen_is_not_quiet(
    minutes: list[Minute],
) -> None:
    assert not quiet(minutes, START + 60 * SECOND, START + 300 * SECOND, fresh=3 * MINUTE)


STARTS = st.lists(st.integers(0, 3_600_000), min_size=1, max_size=5).map(
    lambda found: [found[0] / 1000, *(found[0] / 1000 + one / 1000 for one in found[1:])]
)


@given(
    STARTS,
    st.integers(-(10**9), 10**9),
    st.lists(st.integers(1, 200), max_size=40),
    st.integers(1, 39),
)
def test_minutes_however_they_come_are_counted_at_most_once_and_within_one_span(
    starts: list[float], ahead_us: int, gaps: list[int], pause: int
) -> None:
    spans = tuple(span(number, start) for number, start in enumerate(starts, start=1))
    ahead = timedelta(microseconds=ahead_us)
    ends = [sum(gaps[: index + 1]) for index in range(len(gaps))]
    minutes = [by_entity(end) for end in ends]
    first = minute_windows(minutes[:pause], stretch(spans, None, ahead), "v2", None)
    closed = first[-1].closed if first else None
    found = first + minute_windows(minutes, stretch(spans, closed, ahead), "v2", None)
    cuts = stretch(spans, None, ahead).cuts
    assert all(one.opened < one.closed for one in found)
    assert all(one.closed <= other.opened for one, other in pairwise(found))
    assert not any(one.opened < cut < one.closed for one in found for cut in cuts)
    told = sum((one.closed - one.opened) / MINUTE for one in found)
    assert sum(one.candidate.requests for one in found) <= 60 * told * 1.02
