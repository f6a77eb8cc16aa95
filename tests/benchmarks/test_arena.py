"""The worlds and the arena: what systems meet, when they hear of it, and what is counted."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tests.benchmarks.arena import Arena, Case, Outcome, release
from tests.benchmarks.measures import bound_on_a_ramp, upper_bound, wald_bound
from tests.benchmarks.peers.argo import Argo
from tests.benchmarks.protocol import PROMOTED, ROLLED_BACK, Decision, EndpointMinute, Window
from tests.benchmarks.traces import (
    HEALTHY,
    WORLDS,
    Effect,
    Trace,
    World,
    bursty,
    constant,
    drifting,
    late,
    retrying,
    steady,
)


class Recorder:
    """Holds one weight, keeps what it hears, and ends where it is told to."""

    def __init__(
        self, weight: float, last_s: float = math.inf, last: Decision = ROLLED_BACK
    ) -> None:
        self.every_s, self.wants_past = 15.0, True
        self._weight, self._last_s, self._last = weight, last_s, last
        self.heard: list[tuple[float, list[Window], list[EndpointMinute]]] = []

    def look(
        self, now_s: float, windows: Sequence[Window], minutes: Sequence[EndpointMinute]
    ) -> Decision:
        self.heard.append((now_s, list(windows), list(minutes)))
        return self._last if now_s >= self._last_s else Decision(self._weight)


@pytest.mark.parametrize("world", [one(10.0) for one in WORLDS], ids=lambda one: one.name)
def test_a_world_is_the_same_for_the_same_seed_and_weights(world: World) -> None:
    weights = [0.05] * 60 + [0.5] * 60
    runs = [
        [trace.draw(tick, weight)._replace() for tick, weight in enumerate(weights)]
        for trace in (Trace(world, HEALTHY, 3, 1800.0) for _ in range(2))
    ]
    assert [repr(one) for one in runs[0]] == [repr(one) for one in runs[1]]
    other = [Trace(world, HEALTHY, 4, 1800.0).draw(tick, 0.05) for tick in range(3)]
    assert repr(other) != repr(runs[0][:3])


def test_a_window_does_not_depend_on_the_weights_before_it() -> None:
    one, other = (Trace(bursty(10.0), HEALTHY, 3, 1800.0) for _ in range(2))
    for tick in range(50):
        one.draw(tick, 0.05)
    assert repr(one.draw(50, 0.25)) == repr(other.draw(50, 0.25))


def test_a_weight_moves_requests_between_the_versions_and_makes_none() -> None:
    trace = Trace(bursty(10.0), HEALTHY, 3, 1800.0)
    for tick in range(40):
        whole = trace.draw(tick, 0.0).stable
        split = trace.draw(tick, 0.3)
        assert split.candidate.requests + split.stable.requests == whole.requests
        assert split.candidate.errors + split.stable.errors == whole.errors


def _rates(world: World, effect: Effect, weight: float = 0.5) -> tuple[float, float]:
    """Both versions' error rates over many releases."""
    sums = np.zeros(4)
    for seed in range(20):
        trace = Trace(world, effect, seed, 3600.0)
        for tick in range(len(trace)):
            drawn = trace.draw(tick, weight)
            sums += (*drawn.candidate[:2], *drawn.stable[:2])
    return sums[1] / sums[0], sums[3] / sums[2]


@pytest.mark.parametrize("make", [constant, retrying, steady])
def test_a_healthy_candidate_fails_as_often_as_the_stable_version(
    make: Callable[[float], World],
) -> None:
    candidate, stable = _rates(make(50.0), HEALTHY)
    assert candidate == pytest.approx(0.005, rel=0.05)
    assert stable == pytest.approx(0.005, rel=0.05)


def test_a_fault_adds_to_the_candidates_errors_and_leaves_the_stable_version_alone() -> None:
    candidate, stable = _rates(constant(50.0), Effect(extra=0.015))
    assert candidate == pytest.approx(0.02, rel=0.05)
    assert stable == pytest.approx(0.005, rel=0.05)
    assert _rates(constant(50.0), Effect(factor=4.0))[0] == pytest.approx(0.02, rel=0.05)


def test_retries_are_failed_requests_of_few_sessions() -> None:
    """Three tries in the mean; in the window's counts sessions are first attempts."""
    trace = Trace(retrying(100.0), HEALTHY, 1, 3600.0)
    drawn = [trace.draw(tick, 0.5).stable for tick in range(len(trace))]
    errors = sum(one.errors for one in drawn)
    failed = sum(one.failed_sessions for one in drawn)
    assert errors / failed == pytest.approx(3.0, rel=0.15)
    assert sum(one.requests - one.sessions for one in drawn) == errors - failed


def test_late_rows_are_missing_from_both_versions_and_errors_more_often() -> None:
    """The truth about the candidate's cost has them, and so does the endpoint's own count."""
    trace = Trace(late(100.0), Effect(extra=0.1), 1, 3600.0)
    drawn = [trace.draw(tick, 0.5) for tick in range(len(trace))]
    seen = sum(one.candidate.errors for one in drawn) / sum(one.failed for one in drawn)
    assert seen == pytest.approx(0.91, abs=0.01)
    rows = sum(one.candidate.requests + one.stable.requests for one in drawn)
    share = sum(one.late for one in drawn) / (rows + sum(one.late for one in drawn))
    assert 0.03 < share < 0.05


def test_latency_drifts_on_both_versions_together_and_only_the_candidates_is_shifted() -> None:
    trace = Trace(drifting(100.0), Effect(slower=1.5), 1, 3600.0)
    medians = np.array(
        [
            [np.median(drawn.candidate.latencies_ms), np.median(drawn.stable.latencies_ms)]
            for drawn in (trace.draw(tick, 0.5) for tick in range(len(trace)))
        ]
    )
    assert medians[:, 1].max() / medians[:, 1].min() > 1.8
    assert float(np.median(medians[:, 0] / medians[:, 1])) == pytest.approx(1.5, rel=0.03)


def test_the_first_look_brings_the_hour_before_and_its_replicas_add_up() -> None:
    system = Recorder(0.05)
    release(system, Case(retrying(10.0), horizon_s=60.0), 1)
    now_s, windows, minutes = system.heard[0]
    assert (now_s, windows[0].start_s, windows[-1].end_s) == (0.0, -3600.0, 0.0)
    assert [one.end_s for one in minutes] == [-86340.0 + 60 * i for i in range(1439)]
    for one in windows:
        assert sum(requests for requests, _ in one.replicas) == one.stable.requests
        assert sum(errors for _, errors in one.replicas) == one.stable.errors


@pytest.mark.parametrize("make", [constant, retrying])
def test_the_day_before_is_like_the_hour_before(make: Callable[[float], World]) -> None:
    trace = Trace(make(50.0), HEALTHY, 3, 60.0)
    day, hour = trace.day_before(), trace.past()
    requests, errors = sum(one.requests for one in day), sum(one.errors for one in day)
    assert requests / len(day) == pytest.approx(3000, rel=0.02)
    assert errors / requests == pytest.approx(0.005, rel=0.1)
    assert day[-1].end_s == hour[0].start_s


@pytest.mark.parametrize("lag_s", [0.0, 60.0, 900.0])
def test_windows_come_after_the_lag_and_the_endpoints_minutes_after_a_minute(lag_s: float) -> None:
    system = Recorder(0.05)
    release(system, Case(constant(10.0), lag_s=lag_s, horizon_s=1800.0), 1)
    for now_s, windows, minutes in system.heard[1:]:
        assert all(now_s - 15 < one.end_s + lag_s <= now_s for one in windows if one.end_s > 0)
        assert all(one.end_s + 60 == now_s for one in minutes)
    both = [one for _, windows, _ in system.heard for one in windows if one.start_s >= 0]
    assert len(both) == (1800 - lag_s) / 15


def test_the_endpoints_minutes_have_both_versions_and_late_rows() -> None:
    system = Recorder(0.3)
    release(system, Case(late(10.0), horizon_s=600.0), 1)
    windows = [one for _, some, _ in system.heard for one in some if 0 <= one.start_s < 540]
    told = sum(one.requests for _, _, some in system.heard for one in some if one.start_s >= 0)
    rows = sum(one.candidate.requests + one.stable.requests + one.late for one in windows)
    assert told == rows > 0


def test_a_rolled_back_candidate_costs_nothing_more() -> None:
    """10 requests/s at a weight of 10 % for 5 minutes are 300."""
    case = Case(constant(10.0), Effect(extra=0.2), horizon_s=3600.0)
    found = release(Recorder(0.1, 300.0), case, 1)
    assert found.rolled_back_s == 300.0
    assert 200 < found.exposed < 400
    assert found.failed / found.exposed == pytest.approx(0.205, abs=0.07)


def test_a_promoted_candidate_costs_until_the_horizon_unless_nobody_asks() -> None:
    """All of 10 requests/s for the 55 minutes after its promotion."""
    case = Case(constant(10.0), Effect(extra=0.2), horizon_s=3600.0)
    found = release(Recorder(0.1, 300.0, PROMOTED), case, 1)
    assert found.promoted_s == 300.0
    assert found.exposed == pytest.approx(33_300, rel=0.05)
    assert release(Recorder(0.1, 300.0, PROMOTED), case._replace(to_the_end=False), 1).exposed < 400


def test_requests_count_from_the_faults_onset() -> None:
    case = Case(constant(10.0), Effect(extra=0.2, onset_s=240.0), horizon_s=3600.0)
    assert 30 < release(Recorder(0.1, 300.0), case, 1).exposed < 100


def test_two_processes_give_what_one_gives_in_the_order_of_the_seeds() -> None:
    case = Case(constant(1.0), Effect(extra=0.2))
    with Arena(5) as arena:
        found = arena.releases(Argo, case, 6)
    expected = [release(Argo(lag_s=0, seed=s), case, s) for s in range(5_000_000, 5_000_006)]
    assert found == expected
    assert isinstance(found[0], Outcome)


@pytest.mark.parametrize(
    ("candidate", "share", "requests"),
    [(0.01, 0.05, 2530), (0.02, 0.05, 392), (0.05, 0.05, 74), (0.01, 0.5, 5381), (0.2, 0.5, 36)],
)
def test_the_bound_is_that_of_the_study(candidate: float, share: float, requests: float) -> None:
    """0.5 % errors on the stable version; the requests were found before, by another program."""
    assert wald_bound(candidate, 0.005, share) == pytest.approx(requests, rel=0.01)


def test_a_ramps_bound_is_one_steps_bound_until_the_step_runs_out() -> None:
    alone = wald_bound(0.02, 0.005, 0.05)
    assert bound_on_a_ramp(0.02, 0.005, [(0.05, 1000)]) == pytest.approx(alone)
    halves = [(0.05, alone / 2), (0.5, 1e6)]
    expected = alone / 2 + wald_bound(0.02, 0.005, 0.5) / 2
    assert bound_on_a_ramp(0.02, 0.005, halves) == pytest.approx(expected)
    assert bound_on_a_ramp(0.02, 0.005, [(0.05, alone - 1)]) == math.inf


def test_no_event_in_300_bounds_a_share_by_one_percent() -> None:
    """The rule of three: 1 - 0.05 ** (1 / 300) = 0.993 %."""
    assert upper_bound(0, 300) == pytest.approx(0.00994, abs=1e-5)
    assert upper_bound(3, 3) == 1.0
