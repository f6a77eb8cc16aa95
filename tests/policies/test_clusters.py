"""How much errors come in clusters, by the hour before: retries count, drift and outages do not."""

import math
from collections.abc import Callable
from datetime import timedelta
from random import Random
from statistics import fmean

import pytest

from policies.fuse import Minute, clusters
from tests.policies.counts import NOON, drawn, many

SEED, HOURS = 20261124, 60
Hour = list[tuple[int, int]]
"""Requests and errors, minute by minute."""


def poisson(random: Random, mean: float) -> int:
    return drawn(random, 10**6, mean / 10**6) if mean < 50 else many(random, 10**9, mean / 10**9)


def independent(random: Random, requests: int, rate: float) -> Hour:
    return [(requests, min(requests, poisson(random, requests * rate))) for _ in range(60)]


def retried(random: Random, requests: int, rate: float) -> Hour:
    """Each failure is retried while a coin says so: three errors on average, dispersion 5."""

    def errors() -> int:
        failures = poisson(random, requests * rate / 3)
        return sum(
            1 + math.floor(math.log(1 - random.random()) / math.log(2 / 3)) for _ in range(failures)
        )

    return [(requests, min(requests, errors())) for _ in range(60)]


def drifting(random: Random, requests: int, rate: float) -> Hour:
    """Up and down by more than half within the hour."""
    rates = [rate * (1 + 0.6 * math.sin(number / 60 * math.tau)) for number in range(60)]
    return [(requests, poisson(random, requests * one)) for one in rates]


def with_outages(hour: Hour, random: Random) -> Hour:
    """Two outages of a few minutes, in which a third of the requests fail, begin and end in it."""
    for early, late in ((2, 22), (32, 50)):
        begin = random.uniform(early, late)
        end = begin + random.uniform(3, 8)
        for number, (requests, errors) in enumerate(hour):
            part = max(0.0, min(end, number + 1) - max(begin, number))
            more = poisson(random, requests * 0.3 * part)
            hour[number] = (requests, min(requests, errors + more))
    return hour


def estimated(make: Callable[[Random], Hour]) -> list[float]:
    """What is found in many such hours, from the least to the most."""
    random, found = Random(SEED), []  # noqa: S311 - repeatable, not secret
    for _ in range(HOURS):
        minutes = [
            Minute(ends_at=NOON + timedelta(minutes=number), requests=requests, errors=errors)
            for number, (requests, errors) in enumerate(make(random))
        ]
        found.append(clusters(minutes))
    return sorted(found)


RATES = [(60, 0.02), (600, 0.005), (600, 0.1), (6000, 0.02)]


@pytest.mark.parametrize(("requests", "rate"), RATES)
def test_independent_errors_are_found_to_be_so(requests: int, rate: float) -> None:
    found = estimated(lambda random: independent(random, requests, rate))
    assert 1 <= fmean(found) < 1.3, f"seed {SEED}"
    assert found[-3] < 2.2, f"seed {SEED}"


@pytest.mark.parametrize(("requests", "rate"), RATES)
def test_retries_are_found_nearly_as_many_as_they_are(requests: int, rate: float) -> None:
    """Five in truth; where an hour has a few dozen errors, less is found than there is."""
    found = estimated(lambda random: retried(random, requests, rate))
    least = 2.2 if requests * rate < 2 else 3.2
    assert least < fmean(found) < 6.5, f"seed {SEED}"


@pytest.mark.parametrize(("requests", "rate"), RATES)
def test_a_slow_drift_moves_it_little(requests: int, rate: float) -> None:
    found = estimated(lambda random: drifting(random, requests, rate))
    assert fmean(found) < 1.5, f"seed {SEED}"


@pytest.mark.parametrize(("requests", "rate"), RATES)
def test_two_outages_within_the_hour_move_it_little(requests: int, rate: float) -> None:
    """A third of all requests fails then: with a tenth left out it was 2 to 30, and up to 100."""
    found = estimated(lambda random: with_outages(independent(random, requests, rate), random))
    assert fmean(found) < 1.9, f"seed {SEED}"
    assert found[-6] < 2.8, f"seed {SEED}"
    both = estimated(lambda random: with_outages(retried(random, requests, rate), random))
    assert 2.2 < fmean(both) < 7.5, f"seed {SEED}"


def test_nothing_seen_is_no_cluster() -> None:
    assert clusters([]) == pytest.approx(1)
    quiet = [(0, 0), (600, 0)] * 30
    assert estimated(lambda _: list(quiet)) == pytest.approx([1.0] * HOURS)
    assert estimated(lambda _: [(600, 3)])[0] == pytest.approx(1)
