"""Verdicts on errors: blamed, passed, or not yet; and the sentences that say so."""

from dataclasses import replace
from random import Random

import pytest

from policies.bounds import FALSE_ROLLBACK, OPENS
from policies.evidence import NOTHING, Block, total
from policies.guards import ErrorGuard, Guards
from policies.judge import harmful, no_worse
from policies.onearm import highest_rate
from policies.standing import permitted_by
from policies.telling import tell
from policies.verdict import Outcome
from policies.wealth import binary
from tests.policies.counts import arm, block, drawn, errors_by, guards_by, many, minutes

ERRORS = errors_by()


def test_a_candidate_that_errs_more_fails_and_the_sentence_holds_counts_and_rates() -> None:
    verdict = harmful([ERRORS], minutes(3, arm(100, 10), arm(1900, 4)))
    assert verdict is not None
    assert verdict.outcome is Outcome.FAIL
    assert verdict.guard == "errors"
    assert verdict.because.startswith(
        "candidate 30 of 300 failed (10 %), stable 12 of 5,700 failed (0.211 %): "
        "more errors than stable by over 0.025 pp, evidence "
    )
    assert verdict.because.endswith(" of 100:1")
    assert verdict.numbers["closes_at"] == pytest.approx(1 / FALSE_ROLLBACK)
    assert verdict.numbers["evidence"] >= 100
    assert (verdict.numbers["candidate_requests"], verdict.numbers["stable_errors"]) == (300, 12)


def test_a_baseline_that_is_as_bad_blames_nobody() -> None:
    assert harmful([ERRORS], minutes(20, arm(100, 10, 10), arm(1900, 190, 190))) is None


def test_an_outage_of_both_blames_nobody_though_it_is_over_the_hard_limit() -> None:
    """Rolling back could not help: the hard limit closes only on what does worse than stable."""
    calm = minutes(60, arm(100), arm(1900, 4, 2))
    outage = minutes(5, arm(100, 60, 60), arm(1900, 1140, 1140))
    assert harmful([ERRORS], (*calm, *outage)) is None


def test_the_hard_limit_closes_beside_a_better_stable_whatever_the_margin() -> None:
    wide = errors_by(Guards(errors=ErrorGuard(margin=0.9, limit=0.05)))
    verdict = harmful([wide], minutes(20, arm(100, 12, 12), arm(1900, 19, 19)))
    assert verdict is not None
    assert "server errors above the limit of 5 %" in verdict.because


def test_the_hard_limit_works_alone_on_a_first_release() -> None:
    first = tuple(
        block(arm(100, 12, 12), NOTHING, number=number + 1, whole=True) for number in range(9)
    )
    verdict = harmful([ERRORS], first)
    assert verdict is not None
    assert "server errors above the limit of 5 %" in verdict.because
    assert "stable 0" not in verdict.because
    clients = tuple(replace(one, candidate=arm(100, 12, 0)) for one in first)
    assert harmful([ERRORS], clients) is None, "clients' mistakes are under no hard limit"


def test_at_100_percent_the_candidate_is_held_to_stables_own_past() -> None:
    past = minutes(10, arm(500, 2), arm(500, 2))
    worse = tuple(
        block(arm(1000, 60), NOTHING, number=number + 11, step=2, whole=True) for number in range(9)
    )
    verdict = harmful([ERRORS], (*past, *worse))
    assert verdict is not None
    assert "that the past permits" in verdict.because


@pytest.mark.parametrize(("rate", "requests"), [(0.02, 1000), (0.005, 900), (0.05, 3000)])
def test_hours_at_100_percent_do_not_prove_the_chance_error_of_a_short_last_step(
    rate: float, requests: int
) -> None:
    """Held to the sample's own rate, up to one healthy release in six was rolled back here."""
    random, blamed = Random(5), 0  # noqa: S311 - repeatable, not secret
    for _ in range(60):
        both = [drawn(random, requests, rate) for _ in range(2)]
        past = block(arm(requests, both[0]), arm(requests, both[1]))
        alone = tuple(
            block(arm(20_000, many(random, 20_000, rate)), NOTHING, step=2, whole=True)
            for _ in range(4)
        )
        blamed += harmful([ERRORS], (past, *alone)) is not None
    assert blamed <= 1


def test_hours_at_100_percent_do_not_prove_the_chance_error_of_errors_in_clusters() -> None:
    """Each failure is retried four times: a sample of such is worth a fifth of its size."""
    random, blamed, criterion = Random(6), 0, errors_by(dispersion=5.0)  # noqa: S311
    for _ in range(60):
        ours, theirs = (5 * drawn(random, 1000, 0.004) for _ in range(2))
        past = block(arm(1000, ours), arm(1000, theirs))
        alone = tuple(
            block(arm(20_000, 5 * many(random, 20_000, 0.004)), NOTHING, step=2, whole=True)
            for _ in range(4)
        )
        blamed += harmful([criterion], (past, *alone)) is not None
    assert blamed <= 1


def test_the_permitted_rate_is_what_stables_last_compared_step_allows_for() -> None:
    assert permitted_by(ERRORS, (), 0.001) is None
    expected = highest_rate(5, 500, 0.001) + Guards().errors.harm_margin
    assert permitted_by(ERRORS, binary(500, 5), 0.001) == pytest.approx(expected)
    assert permitted_by(ERRORS, binary(1, 1), 0.001) == 0.5
    clustered = errors_by(dispersion=5.0)
    wider = highest_rate(1, 100, 0.001) + Guards().errors.harm_margin
    assert permitted_by(clustered, binary(500, 5), 0.001) == pytest.approx(wider)


def test_a_clean_candidate_passes_and_the_sentence_says_within_what() -> None:
    verdict = no_worse(ERRORS, minutes(10, arm(50), arm(950, 2)), weight=5, pace=10)
    assert verdict.outcome is Outcome.PASS
    assert "candidate 0 of 500 failed (0 %), stable 20 of 9,500 failed (0.211 %)" in verdict.because
    assert "within 3 pp of stable" in verdict.because
    assert verdict.numbers["margin"] == pytest.approx(0.03)
    assert verdict.numbers["evidence"] >= verdict.numbers["opens_at"] == 20


def test_too_little_says_how_much_is_missing_and_when_it_may_come() -> None:
    verdict = no_worse(ERRORS, (), weight=5, pace=2.0)
    assert verdict.outcome is Outcome.INSUFFICIENT
    assert verdict.numbers["missing"] == 138
    assert verdict.numbers["seconds_missing"] == 1380
    assert verdict.because.endswith("about 138 more requests are missing, 23 min at 2 requests/s")
    unpaced = no_worse(ERRORS, (), weight=5, pace=None)
    assert "seconds_missing" not in unpaced.numbers
    assert unpaced.because.endswith("138 more requests are missing")


def test_a_candidate_worse_by_the_margin_never_passes() -> None:
    verdict = no_worse(ERRORS, minutes(50, arm(500, 20), arm(500, 5)), weight=50, pace=10)
    assert verdict.outcome is Outcome.INSUFFICIENT


def test_what_can_not_be_proven_at_the_rates_seen_says_so() -> None:
    """Stable fails so often that no number of requests shows half a percentage point."""
    verdict = no_worse(ERRORS, minutes(9, arm(50, 40), arm(50, 20)), weight=50, pace=10)
    assert verdict.outcome is Outcome.INSUFFICIENT
    assert "missing" not in verdict.numbers or verdict.numbers["missing"] > 10_000


def test_margins_are_wider_while_fewer_users_are_exposed() -> None:
    margins = [ERRORS.margin_at(weight) for weight in (1, 4, 5, 24, 25, 49, 50, 99)]
    assert margins == pytest.approx([0.1, 0.1, 0.03, 0.03, 0.01, 0.01, 0.005, 0.005])
    guard = Guards().errors
    assert guard.harm_margin < guard.margin, "between harm and safety lies peace"


def test_counts_are_told_of_one_arm_or_two() -> None:
    assert tell(ERRORS.telling, total((block(arm(10, 1), arm(20)),))) == (
        "candidate 1 of 10 failed (10 %), stable 0 of 20 failed (0 %)"
    )
    assert tell(ERRORS.telling, total(())) == "candidate not counted yet"
    assert OPENS > 0


@pytest.mark.parametrize("counts", [(1, 2, 0), (3, 1, 2), (1, 0, -1), (-1, 0, 0)])
def test_counts_that_cannot_be_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(AssertionError):
        arm(*counts)


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1])
def test_a_guard_without_a_margin_is_refused(margin: float) -> None:
    with pytest.raises(AssertionError):
        ErrorGuard(margin=margin)


def test_a_guard_without_any_block_of_its_source_says_neither_yes_nor_no() -> None:
    elsewhere: tuple[Block, ...] = tuple(
        replace(one, source="metrics") for one in minutes(9, arm(500, 100), arm(500))
    )
    for criterion in guards_by():
        verdict = no_worse(criterion, elsewhere, weight=50, pace=None)
        assert verdict.outcome is Outcome.INSUFFICIENT
        assert verdict.numbers["evidence"] == pytest.approx(1)
    assert harmful(guards_by(), elsewhere) is None
    assert harmful([], elsewhere) is None
