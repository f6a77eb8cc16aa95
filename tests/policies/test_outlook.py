"""What is foretold comes about: simulations need as many requests as were told, within a factor."""

from dataclasses import replace
from random import Random
from statistics import median

import pytest

from policies.bounds import OPENS
from policies.criterion import Criterion
from policies.evidence import NOTHING
from policies.guards import ErrorGuard, Guards
from policies.judge import no_worse
from policies.outlook import FARTHEST, missing, requests_needed
from policies.sequential import safety_after, safety_wealth
from policies.wealth import binary
from tests.policies.counts import arm, block, drawn, errors_by, minutes
from tests.policies.worlds import CRITERIA, STABLE

SEED = 20261124


def needed_in_truth(random: Random, criterion: Criterion, weight: int, limit: int) -> int:
    """Candidate requests until a version that does as stable does has passed."""
    question, spent = criterion.safety(weight), 0
    wealth = question.unproven(weight)
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
    foretold = requests_needed(question, weight)
    assert foretold is not None
    random = Random(SEED)  # noqa: S311 - repeatable, not secret
    spent = [needed_in_truth(random, criterion, weight, 6 * foretold + 40) for _ in range(7)]
    assert foretold / 5 <= median(spent) <= 4 * foretold + 20, f"seed {SEED}: {foretold} {spent}"


@pytest.mark.parametrize("rate", [0.0, 0.002, 0.01, 0.08])
@pytest.mark.parametrize("known", [False, True])
def test_the_errors_proof_takes_as_long_as_stables_own_rate_says(
    rate: float, *, known: bool
) -> None:
    likely = ((0.0, 1 - rate), (1.0, rate))
    question = replace(errors_by().safety(25), expected=(likely, likely), known=known)
    random = Random(SEED)  # noqa: S311
    foretold = requests_needed(question, 25)
    assert foretold is not None
    spent = []
    for _ in range(15):
        wealth, number = question.unproven(25), 0
        while wealth.evidence < OPENS and number < 8 * foretold:
            pair = binary(50, drawn(random, 50, rate)), binary(150, drawn(random, 150, rate))
            wealth, number = safety_after(question.comparison, wealth, pair), number + 50
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
    thin = errors_by(Guards(errors=ErrorGuard(margin=0.001)))
    question = replace(thin.safety(50), expected=(worse, half))
    assert requests_needed(question, 50) is None
    begun = question.unproven(50)
    lost = replace(begun, bets=(-1e15,) * len(begun.bets))
    clean = ((0.0, 1.0),)
    assert requests_needed(replace(question, expected=(clean, clean)), 50, lost) is None
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
    begun = criterion.safety(5).unproven(5)
    assert missing(criterion, (), begun, 5) == 138
    one_sided = (block(arm(5, 5), NOTHING),)
    assert missing(criterion, one_sided, begun, 5) == 138
    failing = (block(arm(50), arm(950, 40)),)
    later = missing(criterion, failing, begun, 5)
    assert later is not None
    assert later > 138
