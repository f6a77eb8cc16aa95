"""What is foretold comes about: simulations need as many requests as were told, within a factor."""

from random import Random
from statistics import median

import pytest

from policies.bounds import OPENS
from policies.criterion import Criterion
from policies.evidence import NOTHING
from policies.judge import no_worse
from policies.outlook import FARTHEST, missing, requests_needed
from policies.sequential import (
    Comparison,
    Wealth,
    binary,
    safety_after,
    safety_wealth,
    unproven,
)
from tests.policies.counts import arm, block, drawn, errors_by, minutes
from tests.policies.worlds import CRITERIA, STABLE

SEED = 20261124


def needed_in_truth(random: Random, criterion: Criterion, weight: int, limit: int) -> int:
    """Candidate requests until a version that does as stable does has passed."""
    question, wealth, spent = criterion.safety(weight), unproven(), 0
    own = 20
    other = own * (100 - weight) // weight
    while wealth.evidence < OPENS and spent < limit:
        pair = (
            question.candidate(STABLE.answer(random, own)),
            question.stable(STABLE.answer(random, other)),
        )
        wealth, spent = safety_after(question.comparison, wealth, pair), spent + own
    return spent


@pytest.mark.parametrize("guard", ["latency", "answers", "tokens", "truth"])
@pytest.mark.parametrize("weight", [25, 50])
def test_as_many_requests_are_needed_as_were_foretold(guard: str, weight: int) -> None:
    criterion = next(one for one in CRITERIA if one.guard == guard)
    question = criterion.safety(weight)
    foretold = requests_needed(question.comparison, question.expected, weight)
    assert foretold is not None
    random = Random(SEED)  # noqa: S311 - repeatable, not secret
    spent = [needed_in_truth(random, criterion, weight, 6 * foretold + 40) for _ in range(7)]
    assert foretold / 5 <= median(spent) <= 4 * foretold + 20, f"seed {SEED}: {foretold} {spent}"


@pytest.mark.parametrize("rate", [0.0, 0.002, 0.01, 0.08])
def test_the_errors_proof_takes_as_long_as_stables_own_rate_says(rate: float) -> None:
    criterion = errors_by()
    comparison, random = criterion.safety(25).comparison, Random(SEED)  # noqa: S311
    likely = ((0.0, 1 - rate), (1.0, rate))
    foretold = requests_needed(comparison, (likely, likely), 25)
    assert foretold is not None
    spent = []
    for _ in range(15):
        wealth, number = unproven(), 0
        while wealth.evidence < OPENS and number < 8 * foretold:
            pair = binary(50, drawn(random, 50, rate)), binary(150, drawn(random, 150, rate))
            wealth, number = safety_after(comparison, wealth, pair), number + 50
        spent.append(number)
    assert foretold / 3 <= median(spent) <= 2 * foretold + 50, f"seed {SEED}: {foretold} {spent}"


def test_what_is_still_missing_comes_down_as_clean_requests_come() -> None:
    criterion, left = errors_by(), []
    for number in range(0, 12, 2):
        verdict = no_worse(criterion, minutes(number, arm(10), arm(190)), weight=5, pace=10)
        left.append(verdict.numbers.get("missing"))
    assert left == [138, 118, 98, 78, 58, 38]


def test_what_never_comes_is_told_so() -> None:
    """Stable fails half of the time: the best bet on a thousandth more gains nothing."""
    half = ((0.0, 0.5), (1.0, 0.5))
    worse = ((1.0, 1.0),)
    assert requests_needed(Comparison(margin=0.001), (worse, half), 50) is None
    lost = Wealth((-1e15,) * len(unproven().bets), unproven().waiting, 0.0, 0.0)
    clean = ((0.0, 1.0),)
    assert requests_needed(Comparison(margin=0.001), (clean, clean), 50, lost) is None
    assert FARTHEST > 10**9


def test_what_has_been_shown_needs_nothing_more() -> None:
    criterion = errors_by()
    blocks = minutes(30, arm(50), arm(950))
    question = criterion.safety(5)
    pairs = [(question.candidate(one.candidate), question.stable(one.stable)) for one in blocks]
    wealth = safety_wealth(question.comparison, pairs)
    assert missing(criterion, blocks, wealth, 5) == 0


def test_while_stable_was_not_seen_a_candidate_without_error_is_expected() -> None:
    criterion = errors_by()
    assert missing(criterion, (), unproven(), 5) == 138
    one_sided = (block(arm(5, 5), NOTHING),)
    assert missing(criterion, one_sided, unproven(), 5) == 138
    failing = (block(arm(50), arm(950, 40)),)
    later = missing(criterion, failing, unproven(), 5)
    assert later is not None
    assert later > 138
