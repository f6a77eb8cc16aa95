"""What is foretold comes about: simulations need as many requests as were told, within a factor."""

from dataclasses import replace
from math import exp, fsum, log
from random import Random
from statistics import median

import pytest

from policies.bounds import OPENS
from policies.criterion import Criterion
from policies.evidence import NOTHING, Tally
from policies.guards import LATENCY, ErrorGuard, Guards, measures
from policies.judge import no_worse
from policies.outlook import FARTHEST, missing, requests_needed
from policies.sequential import STAKES, safety_after, safety_gains, safety_wealth
from policies.wealth import Values, binary, rate_of
from tests.policies.counts import (
    GUARDS,
    HISTORY,
    arm,
    block,
    drawn,
    errors_by,
    guards_by,
    minutes,
)
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


@pytest.mark.parametrize(("weight", "clean"), [(1, 42), (5, 138), (25, 414), (50, 827)])
def test_without_an_error_a_step_needs_as_many_requests_as_the_study_has(
    weight: int, clean: int
) -> None:
    """Margins of 10, 3, 1 and 0.5 pp: facts of the study, and the same counted out in products."""
    margin = {1: 0.1, 5: 0.03, 25: 0.01, 50: 0.005}[weight]
    wealths = [
        sum(exp(requests * stake * margin) for stake in STAKES) / 6
        for requests in (clean - 1, clean)
    ]
    assert wealths[0] < 20 <= wealths[1]
    question = errors_by().safety(weight)
    for begun in (None, question.unproven(weight)):
        found = requests_needed(question, weight, begun)
        assert found == clean
        assert isinstance(found, int), "told in whole ones"


@pytest.mark.parametrize("guard", ["errors", "latency", "answers", "tokens"])
@pytest.mark.parametrize("weight", [1, 5, 50, 80])
def test_the_requests_foretold_are_the_first_that_would_show_it(guard: str, weight: int) -> None:
    """All of them in one block of what is expected show it, and one less does not."""
    found = guards_by(steps=(1, 5, 50, 80))
    question = next(one for one in found if one.guard == guard).safety(weight)
    foretold = requests_needed(question, weight)
    assert foretold is not None
    begun, (ours, theirs) = question.unproven(weight), question.likely(weight)
    evidence = []
    for requests in (foretold - 1, foretold):
        pair = times(ours, requests), times(theirs, requests)
        evidence.append(safety_after(question.comparison, begun, pair).evidence)
    assert evidence[0] < OPENS <= evidence[1]


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_a_proof_that_is_all_but_shown_needs_its_last_requests(left: int) -> None:
    """Six bets that together lack what the last of so many clean requests wins at the least."""
    question = errors_by().safety(50)
    gains = safety_gains(question.comparison, 0.0, question.likely(50))
    begun = question.unproven(50)
    short = [log(20 / 6) - (left - 0.5) * gain for gain in gains]
    assert requests_needed(question, 50, replace(begun, bets=tuple(short))) == left


def test_before_the_first_block_stables_past_says_what_its_rate_is_taken_for() -> None:
    """From one error in twenty on that is where bets are centred, by formula (1)."""
    likely = rate_of(0.08, 1.0)
    question = replace(errors_by().safety(5), expected=(likely, likely), known=True)
    begun = question.unproven(5)
    gains = safety_gains(question.comparison, 0.08, question.likely(5))

    def evidence(requests: int) -> float:
        won = zip(begun.bets, gains, strict=True)
        return log(fsum(exp(had + requests * gain) for had, gain in won))

    first = next(number for number in range(1, 10_000) if evidence(number) >= OPENS)
    assert requests_needed(question, 5) == first


def test_a_proof_goes_on_from_what_it_has_come_to_and_from_stables_rate_as_learnt() -> None:
    """Faulty answers, 3 % in the past, and 12 % in a first block of 500 of stable's."""
    question = next(one for one in guards_by() if one.guard == "answers").safety(25)
    first = binary(100, 10), binary(500, 60)
    begun = safety_after(question.comparison, question.unproven(25), first)
    foretold = requests_needed(question, 25, begun)
    assert foretold is not None
    guess = (50 * 0.03 + 60) / (50 + 500)
    ours, theirs = question.likely(25)
    evidence = []
    for requests in (foretold - 1, foretold):
        pair = times(ours, requests), times(theirs, requests)
        gains = safety_gains(question.comparison, guess, pair)
        evidence.append(log(fsum(exp(had + gain) for had, gain in zip(begun.bets, gains))))  # noqa: B905
    assert evidence[0] < OPENS <= evidence[1]


def test_once_stable_was_seen_the_candidate_is_expected_to_be_like_it() -> None:
    """Each edge by its own: of 950 answers 40 were above stable's p95, and 20 above the wider."""
    [criterion] = guards_by(only=("latency",))
    edges = measures(GUARDS, HISTORY, (5, 25, 50, 100))[LATENCY].edges
    slow = tuple(950 if edge < 273 else 40 if edge < 682 else 20 for edge in edges)
    blocks = (block(NOTHING, arm(950, latency=Tally(seen=950, counts=slow))),)
    question = criterion.safety(5)
    expected = binary(1, 20 / 950), binary(1, 40 / 950)
    begun = question.unproven(5)
    alike = requests_needed(replace(question, expected=expected), 5, begun)
    assert missing(criterion, blocks, begun, 5) == alike
    assert missing(criterion, (), begun, 5) == requests_needed(question, 5, begun) != alike


def test_nothing_is_foretold_beyond_a_million_millions() -> None:
    """Each clean request wins the best stake 0.97 d: a margin of 3 in 10 ** 12 needs too many."""
    question = errors_by().safety(50)
    needs = [
        requests_needed(
            replace(question, comparison=replace(question.comparison, margin=log(20) / many)), 50
        )
        for many in (1e11, 5e12)
    ]
    assert needs[0] is not None
    assert 1e11 < needs[0] < 2e11
    assert needs[1] is None


def times(values: Values, number: float) -> Values:
    """So many of such observations."""
    return tuple((value, part * number) for value, part in values)
