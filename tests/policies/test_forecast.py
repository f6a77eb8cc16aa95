from dataclasses import replace
from datetime import timedelta

import pytest

from policies.forecast import pin, slowest, time_needed
from policies.rollout import Rollout
from tests.policies.counts import errors_by
from tests.policies.worlds import CRITERIA

ERRORS = errors_by()
ONLY = (ERRORS,)


def test_the_least_time_of_a_step_follows_from_its_share_of_the_traffic() -> None:
    assert time_needed(ERRORS, 5, 10) == timedelta(seconds=276)
    assert time_needed(ERRORS, 50, 10) == timedelta(seconds=165.4)
    assert time_needed(ERRORS, 5, 0) is None


def test_steps_stay_while_all_of_them_can_decide_within_patience() -> None:
    rollout, because = pin(Rollout(), ONLY, 0.04)
    assert rollout == Rollout()
    assert because == "steps as configured, at 0.04 requests/s"


def test_a_busy_endpoints_pace_is_told_in_ones() -> None:
    assert pin(Rollout(), ONLY, 2500.0)[1] == "steps as configured, at 2,500 requests/s"


def test_a_step_that_cannot_decide_within_patience_is_left_out_and_named() -> None:
    """The first step is the slowest here: 138 requests at 5 % are 2,760 of the endpoint's."""
    rollout, because = pin(Rollout(), ONLY, 0.02)
    assert rollout.steps == (25, 50, 100)
    assert because == "5 % cannot decide within 1 d at 0.02 requests/s, and is left out"


def test_lag_counts_as_time_that_a_step_needs() -> None:
    """At 0.035 requests a second 5 % needs 22 hours, and the rows come three hours late."""
    assert pin(Rollout(), ONLY, 0.035)[0] == Rollout()
    rollout, because = pin(Rollout(), ONLY, 0.035, timedelta(hours=3))
    assert rollout.steps == (25, 50, 100)
    assert because == (
        "5 % cannot decide within 1 d at 0.035 requests/s and 3 h of lag, and is left out"
    )


def test_the_slowest_guard_decides_how_long_a_step_takes_and_is_named() -> None:
    times: dict[str, timedelta] = {}
    for one in CRITERIA:
        time = time_needed(one, 50, 1.0)
        assert time is not None
        times[one.guard] = time
    assert slowest(CRITERIA, 50, 1.0) == (max(times.values()), max(times, key=times.__getitem__))
    longest = slowest(CRITERIA, 50, 1.0)[1]
    time, name = slowest([one for one in CRITERIA if one.guard != longest], 50, 1.0)
    assert time is not None
    assert time <= times[longest]
    assert name in set(times) - {longest}


def test_a_guard_that_observes_keeps_nobody_waiting() -> None:
    observing = [replace(one, observe=True) for one in CRITERIA]
    assert slowest(observing, 50, 1.0) == (timedelta(), "")
    assert pin(Rollout(), observing, 1e-6)[0] == Rollout()


@pytest.mark.parametrize("pace", [0.0, 0.001])
def test_traffic_too_thin_to_compare_leaves_one_step_and_says_why(pace: float) -> None:
    rollout, because = pin(Rollout(), ONLY, pace)
    assert rollout.steps == (100,)
    assert rollout.bake == Rollout().bake, "only the steps change"
    assert because == (
        f"no step below 100 can decide within 1 d at {pace:.3g} requests/s: steps are 100 alone"
    )


def test_traffic_never_seen_changes_nothing() -> None:
    assert pin(Rollout(), ONLY, None)[0] == Rollout()


def test_nothing_to_compare_stays_so() -> None:
    alone = Rollout(steps=(100,))
    assert pin(alone, ONLY, 50) == (alone, "the configured steps compare nothing")


@pytest.mark.parametrize("steps", [(), (5, 25), (0, 100), (25, 5, 100), (5, 5, 100)])
def test_steps_climb_to_100(steps: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError):
        Rollout(steps=steps)
