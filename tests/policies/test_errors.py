from dataclasses import replace
from random import Random

import pytest

from policies.errors import OPENS, harmful, no_worse, permitted_rate, tell
from policies.evidence import NOTHING, Block
from policies.rollout import ErrorGuard, margin_at
from policies.sequential import highest_rate
from policies.verdict import Outcome
from tests.policies.counts import arm, block
from tests.policies.test_sequential import drawn

GUARD = ErrorGuard()


def minutes(number: int, candidate: tuple[int, ...], stable: tuple[int, ...]) -> tuple[Block, ...]:
    """The same minute, again and again."""
    return tuple(block(arm(*candidate), arm(*stable), number=index + 1) for index in range(number))


def test_a_candidate_that_errs_more_fails_and_the_sentence_holds_counts_and_rates() -> None:
    verdict = harmful(GUARD, minutes(3, (100, 10), (1900, 4)))
    assert verdict is not None
    assert verdict.outcome is Outcome.FAIL
    assert verdict.because.startswith(
        "candidate 30 of 300 failed (10 %), stable 12 of 5,700 failed (0.211 %): "
        "more errors than stable by over 0.1 pp, evidence "
    )
    assert verdict.numbers["closes_at"] == 100
    assert verdict.numbers["evidence"] >= 100
    assert (verdict.numbers["candidate_requests"], verdict.numbers["stable_errors"]) == (300, 12)


def test_a_baseline_that_is_as_bad_blames_nobody() -> None:
    assert harmful(GUARD, minutes(20, (100, 10, 10), (1900, 190, 190))) is None


def test_an_outage_of_both_blames_nobody_though_it_is_over_the_hard_limit() -> None:
    """Rolling back could not help: the hard limit closes only on what does worse than stable."""
    calm = minutes(60, (100, 0, 0), (1900, 4, 2))
    outage = minutes(5, (100, 60, 60), (1900, 1140, 1140))
    assert harmful(GUARD, (*calm, *outage)) is None


def test_the_hard_limit_closes_beside_a_better_stable_whatever_the_margin() -> None:
    wide = ErrorGuard(margin=0.9, limit=0.05)
    verdict = harmful(wide, minutes(20, (100, 12, 12), (1900, 19, 19)))
    assert verdict is not None
    assert "server errors above the limit of 5 %" in verdict.because


def test_the_hard_limit_works_alone_on_a_first_release() -> None:
    first = tuple(
        block(arm(100, 12, 12), NOTHING, number=number + 1, whole=True) for number in range(9)
    )
    verdict = harmful(GUARD, first)
    assert verdict is not None
    assert "server errors above the limit of 5 %" in verdict.because
    assert "stable" not in verdict.because
    clients = tuple(replace(one, candidate=arm(100, 12, 0)) for one in first)
    assert harmful(GUARD, clients) is None, "clients' mistakes are under no hard limit"


def test_at_100_percent_the_candidate_is_held_to_stables_own_past() -> None:
    past = minutes(10, (500, 2), (500, 2))
    worse = tuple(
        block(arm(1000, 60), NOTHING, number=number + 11, step=2, whole=True) for number in range(9)
    )
    verdict = harmful(GUARD, (*past, *worse))
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
            block(arm(20_000, _many(random, 20_000, rate)), NOTHING, step=2, whole=True)
            for _ in range(4)
        )
        blamed += harmful(GUARD, (past, *alone)) is not None
    assert blamed <= 1


def _many(random: Random, requests: int, rate: float) -> int:
    """The normal approximation, for large counts."""
    mean = requests * rate
    return max(0, round(random.gauss(mean, (mean * (1 - rate)) ** 0.5)))


def test_the_permitted_rate_is_what_stables_last_compared_step_allows_for() -> None:
    early = block(arm(50), arm(950, 90), step=1)
    late = block(arm(500), arm(500, 5), step=3, span=2)
    assert permitted_rate(GUARD, ()) is None
    assert permitted_rate(GUARD, (block(arm(9), NOTHING, whole=True),)) is None
    expected = highest_rate(5, 500, 0.001) + GUARD.harm_margin
    assert permitted_rate(GUARD, (early, late)) == pytest.approx(expected)
    assert permitted_rate(GUARD, (block(arm(1), arm(1, 1)),)) == 0.5


def test_a_clean_candidate_passes_and_the_sentence_says_within_what() -> None:
    verdict = no_worse(GUARD, minutes(10, (50, 0), (950, 2)), weight=5, pace=10)
    assert verdict.outcome is Outcome.PASS
    assert "candidate 0 of 500 failed (0 %), stable 20 of 9,500 failed (0.211 %)" in verdict.because
    assert "within 3 pp of stable" in verdict.because
    assert verdict.numbers["margin"] == pytest.approx(0.03)
    assert verdict.numbers["evidence"] >= verdict.numbers["opens_at"] == 20


def test_too_little_says_how_much_is_missing_and_when_it_may_come() -> None:
    verdict = no_worse(GUARD, (), weight=5, pace=2.0)
    assert verdict.outcome is Outcome.INSUFFICIENT
    assert verdict.numbers["missing"] == 138
    assert verdict.numbers["seconds_missing"] == 1380
    assert "138 more requests without error are missing, about 23 min at 2 requests/s" in (
        verdict.because
    )
    unpaced = no_worse(GUARD, (), weight=5, pace=None)
    assert "seconds_missing" not in unpaced.numbers
    assert unpaced.because.endswith("138 more requests without error are missing")


def test_a_candidate_worse_by_the_margin_never_passes() -> None:
    verdict = no_worse(GUARD, minutes(50, (500, 20), (500, 5)), weight=50, pace=10)
    assert verdict.outcome is Outcome.INSUFFICIENT


def test_margins_are_wider_while_fewer_users_are_exposed() -> None:
    margins = [margin_at(weight, GUARD) for weight in (1, 4, 5, 24, 25, 49, 50, 99)]
    assert margins == pytest.approx([0.1, 0.1, 0.03, 0.03, 0.01, 0.01, 0.005, 0.005])
    assert GUARD.harm_margin < GUARD.margin, "between harm and safety lies peace"


def test_counts_are_told_of_one_arm_or_two() -> None:
    assert tell((block(arm(10, 1), arm(20)),)) == (
        "candidate 1 of 10 failed (10 %), stable 0 of 20 failed (0 %)"
    )
    assert tell(()) == "candidate 0 of 0 failed (0 %)"
    assert OPENS > 0


@pytest.mark.parametrize("counts", [(1, 2, 0), (3, 1, 2), (1, 0, -1), (-1, 0, 0)])
def test_counts_that_cannot_be_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(AssertionError):
        arm(*counts)
