"""A source that is broken shuts; errors that it does not show open nothing and blame nobody."""

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from policies.blindness import ENOUGH, blind, incomplete, named, unseen
from policies.criterion import charged
from policies.evidence import NOTHING, Block, Coverage
from policies.judge import harmful, no_worse
from policies.verdict import Outcome
from tests.policies.counts import TABLE, arm, block, drawn, errors_by, minutes

HOUR, LAG = timedelta(hours=1), timedelta(minutes=90)
ERRORS = errors_by()


def covered(number: int, failed: int, seen_failed: int, missing: int = 0) -> tuple[Block, ...]:
    """Minutes of 1000 requests, of which the metrics and the table tell differently."""
    cover = Coverage(requests=1000, failed=failed, seen=1000 - missing, seen_failed=seen_failed)
    blocks = minutes(number, arm(500, seen_failed // 2), arm(500, seen_failed // 2))
    return tuple(replace(one, coverage=cover) for one in blocks)


def test_silence_beyond_the_longest_lag_is_blindness_and_names_the_remedy() -> None:
    assert blind(TABLE, (), HOUR, LAG) is None
    assert blind(TABLE, (), LAG, LAG) is None
    verdict = blind(TABLE, (), 2 * HOUR, LAG)
    assert verdict is not None
    assert verdict.outcome is Outcome.BLIND
    assert verdict.because == (
        "the inference table has told nothing for 2 h, and may be 1.5 h late: "
        "the probes' own rows do not arrive"
    )
    assert verdict.numbers == {"silent_seconds": 7200}
    query = blind("query:truth", (), 2 * HOUR, LAG)
    assert query is not None
    assert query.because.startswith("the query truth has told nothing")
    assert query.because.endswith("see whether it still runs")
    assert named("metrics") == "metrics"


@pytest.mark.parametrize(("nameless", "is_blind"), [(4, False), (5, False), (6, True)])
def test_requests_that_belong_to_nobody_are_blindness_beyond_one_in_twenty(
    nameless: int, *, is_blind: bool
) -> None:
    made = replace(block(arm(40), arm(ENOUGH - 40 - nameless)), unattributed=nameless)
    verdict = blind(TABLE, (made,), HOUR, LAG)
    assert (verdict is not None) is is_blind
    if verdict is not None:
        assert f"{nameless} of {ENOUGH} requests bear a served entity id" in verdict.because
        assert verdict.numbers == {"unattributed": nameless, "requests": ENOUGH}
    few = replace(block(arm(1), arm(2)), unattributed=9)
    assert blind(TABLE, (few,), HOUR, LAG) is None, "too few to say"


@pytest.mark.parametrize(("failed", "seen_failed"), [(200, 0), (100, 50), (60, 30)])
def test_missing_errors_never_open_a_step_accuse_nobody_and_are_shown_in_the_end(
    failed: int, seen_failed: int
) -> None:
    shown_after = 0
    for number in range(1, 41):
        blocks = covered(number, failed, seen_failed)
        for weight in (5, 25, 50):
            verdict = no_worse(ERRORS, blocks, weight=weight, pace=None)
            assert verdict.outcome is Outcome.INSUFFICIENT, (number, weight)
        assert harmful([ERRORS], blocks) is None
        if not shown_after and incomplete(TABLE, blocks) is not None:
            shown_after = number
    assert 0 < shown_after < 10
    told = incomplete(TABLE, covered(40, failed, seen_failed))
    assert told is not None
    assert told.outcome is Outcome.BLIND
    assert "failed requests" in told.because
    assert "name another source for errors in evidence.queries" in told.because


def test_errors_that_all_are_seen_charge_nobody() -> None:
    blocks = covered(20, 4, 4)
    assert unseen(blocks) == 0
    assert no_worse(ERRORS, blocks, weight=25, pace=None).outcome is Outcome.PASS
    assert incomplete(TABLE, blocks) is None
    surplus = covered(20, 2, 4)
    assert surplus[0] == charged(surplus[0]), "more seen than told of is no error less"


def test_an_unseen_error_is_put_on_the_candidate_though_it_saw_no_request_itself() -> None:
    cover = Coverage(requests=9, failed=2, seen=9, seen_failed=0)
    alone = charged(block(NOTHING, arm(9), coverage=cover))
    assert (alone.candidate.requests, alone.candidate.errors) == (2, 2)
    assert unseen([block(NOTHING, arm(9), coverage=cover)]) == 2


def test_rows_that_are_missing_beyond_one_in_twenty_are_blindness() -> None:
    assert incomplete(TABLE, covered(20, 0, 0, missing=40)) is None
    verdict = incomplete(TABLE, covered(20, 0, 0, missing=100))
    assert verdict is not None
    assert "lacks 2,000 of the 20,000 requests (10 %)" in verdict.because
    assert verdict.numbers == {"missing": 2000, "of": 20_000}


def test_without_metrics_nothing_is_said_of_what_is_missing() -> None:
    assert incomplete(TABLE, minutes(9, arm(50, 9), arm(50))) is None
    assert unseen(minutes(9, arm(50, 9), arm(50))) == 0


def test_a_source_that_leaves_out_one_in_twenty_is_called_blind_in_one_of_a_hundred() -> None:
    seed, runs, called = 20261124, 100, 0
    random = Random(seed)  # noqa: S311 - repeatable, not secret
    for _ in range(runs):
        blocks = []
        for number in range(30):
            failed = drawn(random, 1000, 0.02)
            left = sum(random.random() < 0.05 for _ in range(failed))
            cover = Coverage(requests=1000, failed=failed, seen=1000, seen_failed=failed - left)
            blocks.append(block(arm(500), arm(500), number=number + 1, coverage=cover))
        called += incomplete(TABLE, blocks) is not None
    assert called <= 3, f"seed {seed}: {called} of {runs}"


def test_failures_that_nothing_names_are_the_candidates_when_opening_and_nobodys_when_closing() -> (
    None
):
    """A failed request may well be the one whose row bears no served entity."""
    usual = minutes(60, arm(50), arm(950))
    nameless = [replace(one, unattributed=10, unattributed_errors=10) for one in usual]
    opening = no_worse(errors_by(), tuple(nameless), weight=5, pace=None)
    assert opening.outcome is Outcome.INSUFFICIENT
    assert opening.numbers["candidate_errors"] == 600
    assert no_worse(errors_by(), usual, weight=5, pace=None).outcome is Outcome.PASS
    assert harmful((errors_by(),), tuple(nameless)) is None
