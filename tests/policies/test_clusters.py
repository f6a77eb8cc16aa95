"""How much errors come in clusters, by the day before: retries count, drift and outages do not."""

import math
from collections.abc import Callable
from datetime import timedelta
from random import Random
from statistics import fmean

import pytest

from policies.dispersion import clusters
from policies.fuse import Minute
from tests.policies.counts import NOON, drawn, many

SEED, HOURS, DAYS = 20261124, 60, 10
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


def estimated(make: Callable[[Random], Hour], times: int = HOURS) -> list[float]:
    """What is found in many such hours, or days, from the least to the most."""
    random, found = Random(SEED), []  # noqa: S311 - repeatable, not secret
    for _ in range(times):
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
    least = 2.2 if requests * rate < 2 else 3.0
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


@pytest.mark.parametrize(("requests", "rate"), [(60, 0.005), (60, 0.02), (600, 0.005)])
def test_a_quiet_day_tells_retries_from_chance_though_most_minutes_have_no_error(
    requests: int, rate: float
) -> None:
    """At one request a second an hour has eighteen errors, and most minutes none; a day has enough.

    Not even an outage every half hour changes that.
    """

    def day(make: Callable[[Random, int, float], Hour]) -> list[float]:
        return estimated(
            lambda random: [one for _ in range(24) for one in make(random, requests, rate)], DAYS
        )

    assert day(independent)[-1] < 1.2, f"seed {SEED}"
    found = day(retried)
    assert found[0] > 2.5, f"seed {SEED}"
    assert 3 < fmean(found) < 5, f"seed {SEED}"
    outages = day(lambda *so: with_outages(independent(*so), so[0]))
    assert outages[-1] < 2, f"seed {SEED}"


def test_single_errors_tell_nothing_of_clusters() -> None:
    """One error in two minutes falls on one of them, whatever made it."""
    alone = [(60, 1), (60, 0), (60, 0), (60, 0)] * 200
    assert estimated(lambda _: list(alone), 1) == pytest.approx([1.0])
    # Three at a time, and never two of them apart: about three times what coins would do.
    together = [(60, 3), (60, 0), (60, 0), (60, 0)] * 200
    assert 2.5 < estimated(lambda _: list(together), 1)[0] < 8


def test_only_the_last_day_counts() -> None:
    clustered, calm = [(60, 6), (60, 0)] * 300, [(60, 3)] * 1440
    assert estimated(lambda _: clustered + calm, 1) == pytest.approx([1.0])
    assert estimated(lambda _: calm + clustered, 1)[0] > 2


def test_minutes_of_unequal_traffic_share_errors_by_their_requests() -> None:
    """Nine requests to one, and nine errors to one: as expected, and no cluster."""
    uneven = [(900, 9), (100, 1)] * 100
    assert estimated(lambda _: list(uneven), 1) == pytest.approx([1.0])
    # The one error of the two minutes at the smaller one, now and then, is chance.
    rare = ([(900, 1), (100, 0)] * 9 + [(900, 0), (100, 1)]) * 50
    assert estimated(lambda _: list(rare), 1)[0] < 1.1


def test_nothing_seen_is_no_cluster() -> None:
    assert clusters([]) == pytest.approx(1)
    quiet = [(0, 0), (600, 0)] * 30
    assert estimated(lambda _: list(quiet)) == pytest.approx([1.0] * HOURS)
    assert estimated(lambda _: [(600, 3)])[0] == pytest.approx(1)
