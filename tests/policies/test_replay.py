import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.bounds import OPENS
from policies.guards import ERRORS
from policies.pairing import (
    GRID,
    average,
    paired_differences,
    paired_safety,
    with_difference,
)
from policies.pairs import CHECKS, Pair, Reply, differences
from policies.replay import (
    FAILS,
    FALSE_FAIL,
    Batch,
    Margins,
    Replayed,
    environment,
    fewest_pairs,
    folded,
    harm,
    outcome,
    proofs,
)
from policies.replay_told import verdict
from policies.verdict import Outcome

MARGINS = Margins()
GOOD = Reply(latency_ms=800, length=600, sources=4, tokens=150)
Maker = Callable[[Random, str], Pair]


def pair(request: str = "r", candidate: Reply = GOOD, stable: Reply = GOOD, **more: object) -> Pair:
    return Pair(request=request, candidate=candidate, stable=stable, **more)  # type: ignore[arg-type]


def of(number: int) -> Replayed:
    """A replay of so many requests, before the first is asked."""
    return Replayed(drawn=number, left=tuple(map(str, range(number))))


def seen(*pairs: Pair) -> Replayed:
    """A replay in which these were asked."""
    ids = tuple(one.request for one in pairs)
    return folded(Replayed(drawn=len(ids), left=ids), Batch(pairs=pairs))


def version(  # noqa: PLR0913 - all that may be wrong with a version
    *,
    slower: float = 1.0,
    errors: float = 0.0,
    both: float = 0.0,
    sourceless: float = 0.0,
    tokens: float = 1.0,
    length: float = 1.0,
    elsewhere: float = 0.0,
    noise: float = 0.4,
) -> Maker:
    """Pairs of a candidate that differs from stable so; both answer as language models do."""

    def made(random: Random, request: str) -> Pair:
        def reply(own: float, *, worse: bool) -> Reply:
            return Reply(
                failed=random.random() < both + worse * errors,
                latency_ms=800 * (slower if worse else 1) * math.exp(random.gauss(0, noise)),
                length=round(600 * (length if worse else 1) * math.exp(random.gauss(0, 0.2))),
                sources=0 if random.random() < own else 4,
                tokens=150 * (tokens if worse else 1) * math.exp(random.gauss(0, 0.2)),
            )

        candidate, stable = reply(sourceless, worse=True), reply(0, worse=False)
        found = candidate.sources and stable.sources
        apart = random.random() < elsewhere
        return pair(
            request, candidate, stable, overlap=(0.0 if apart else 0.7) if found else None,
            succeeded=False,
        )  # fmt: skip

    return made


def ended(make: Maker, seed: int, number: int = 200) -> tuple[Outcome, int]:
    """What a replay comes to that is looked at after every four pairs, and after how many."""
    random, state = Random(seed), of(number)  # noqa: S311 - made-up answers
    for at in range(0, number, 4):
        pairs = tuple(make(random, str(at + one)) for one in range(4))
        state = folded(state, Batch(pairs=pairs))
        found = outcome(MARGINS, state)
        if found is not Outcome.INSUFFICIENT:
            return found, at + 4
    return Outcome.INSUFFICIENT, number


@pytest.mark.parametrize(
    ("make", "expected", "most"),
    [
        (version(), Outcome.PASS, 200),
        (version(slower=2), Outcome.FAIL, 60),
        (version(sourceless=0.2), Outcome.FAIL, 130),
        (version(errors=0.2), Outcome.FAIL, 130),
        (version(tokens=3), Outcome.FAIL, 40),
        (version(elsewhere=1.0), Outcome.FAIL, 60),
        (version(length=0.3), Outcome.FAIL, 200),
    ],
)
def test_what_a_replay_tells_of_a_version_and_within_how_many_pairs(
    make: Maker, expected: Outcome, most: int
) -> None:
    found = [ended(make, seed) for seed in range(4)]
    assert [one for one, _ in found] == [expected] * 4, found
    assert max(number for _, number in found) <= most


@pytest.mark.parametrize(
    "make", [version(errors=0.02, sourceless=0.02), version(slower=1.25), version(tokens=1.25)]
)
def test_a_version_at_the_margin_seldom_passes(make: Maker) -> None:
    """One in twenty may, by each margin; five of twenty would be three in a thousand."""
    passed = [ended(make, seed)[0] for seed in range(20)].count(Outcome.PASS)
    assert passed <= 4


def test_versions_that_are_alike_are_not_rolled_back_however_noisy_they_are() -> None:
    for make in (version(noise=1.0), version(both=0.3, noise=0.8), version(both=0.02)):
        assert Outcome.FAIL not in [ended(make, seed)[0] for seed in range(8)]


@pytest.mark.parametrize("rate", [0.004, 0.02])
def test_the_chance_of_a_wrong_fail_or_pass_is_bounded_at_every_look(rate: float) -> None:
    """Exactly, for pairs of yes or no: by going through all ways that thirty pairs may come."""
    bound = {"harm": 1 / math.exp(FAILS), "safety": 1 / math.exp(OPENS)}
    crossed = dict.fromkeys(bound, 0.0)
    tests = {"harm": (paired_differences, FAILS), "safety": (paired_safety, OPENS)}
    for name, (test, line) in tests.items():
        alive = {(0, 0): 1.0}
        for number in range(1, 31):
            fresh: defaultdict[tuple[int, int], float] = defaultdict(float)
            for (worse, better), chance in alive.items():
                fresh[worse + 1, better] += chance * (rate + 0.1)
                fresh[worse, better + 1] += chance * 0.1
                fresh[worse, better] += chance * (0.8 - rate)
            alive = {}
            for (worse, better), chance in fresh.items():
                same = float(number - worse - better)
                values = ((-1.0, float(better)), (0.0, same), (1.0, float(worse)))
                if test(values, rate) >= line:
                    crossed[name] += chance
                else:
                    alive[worse, better] = chance
    assert crossed["harm"] <= bound["harm"]
    assert crossed["safety"] <= bound["safety"]


SIZES = st.floats(0, 1e7, allow_nan=False)
REPLIES = st.builds(
    Reply,
    failed=st.booleans(),
    latency_ms=SIZES,
    length=st.none() | st.integers(0, 10**6),
    sources=st.none() | st.integers(0, 50),
    tokens=st.none() | SIZES,
)
PAIRS = st.builds(
    Pair,
    request=st.sampled_from([str(one) for one in range(12)]),
    candidate=REPLIES,
    stable=REPLIES,
    overlap=st.none() | st.floats(0, 1),
    succeeded=st.booleans(),
)


@given(st.lists(PAIRS, max_size=12, unique_by=lambda one: one.request), st.randoms())
def test_the_order_of_pairs_and_how_they_come_in_looks_change_nothing(
    pairs: list[Pair], random: Random
) -> None:
    at_once = folded(of(12), Batch(pairs=tuple(pairs)))
    random.shuffle(pairs)
    piecemeal = of(12)
    for one in pairs:
        # Every look is repeated, as by a daemon that was killed before it wrote the first one down.
        piecemeal = folded(piecemeal, Batch(pairs=(one,)))
        if not one.troubled:
            assert folded(piecemeal, Batch(pairs=(one,))) == piecemeal
    assert piecemeal.pairs == at_once.pairs
    assert sorted(piecemeal.left) == sorted(at_once.left)
    assert piecemeal.bad == at_once.bad
    assert piecemeal.worst == at_once.worst
    assert harm(MARGINS, piecemeal) == pytest.approx(harm(MARGINS, at_once), abs=1e-6)
    assert outcome(MARGINS, piecemeal) is outcome(MARGINS, at_once)
    assert verdict(MARGINS, piecemeal).because


@given(PAIRS)
def test_every_difference_is_bounded_and_none_is_worse_than_itself(one: Pair) -> None:
    found = differences(one)
    assert set(found) <= set(CHECKS)
    assert all(-1 <= value <= 1 for value in found.values())
    same = differences(replace(one, candidate=one.stable, overlap=None))
    assert all(value == 0 for value in same.values())
    swapped = differences(replace(one, candidate=one.stable, stable=one.candidate, overlap=None))
    for check, value in swapped.items():
        assert value == pytest.approx(-found[check])


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.floats(0.001, 0.5))
def test_what_the_grid_rounds_lowers_the_evidence_and_keeps_the_mean(
    values: list[float], margin: float
) -> None:
    kept: tuple[tuple[float, float], ...] = ()
    for value in values:
        kept = with_difference(kept, value)
    exact = tuple((value, 1.0) for value in values)
    assert average(kept) == pytest.approx(average(exact), abs=1e-9)
    assert len(kept) <= 2 * GRID + 1
    for test in (paired_differences, paired_safety):
        assert test(kept, margin) <= test(exact, margin) + 1e-9


def test_what_stable_answered_before_and_both_fail_now_blames_neither() -> None:
    failing = Reply(failed=True)
    trouble = pair("0", failing, failing)
    state = folded(of(3), Batch(pairs=(trouble,)))
    assert environment(Batch(pairs=(trouble, pair("1"))))
    assert not environment(Batch(pairs=(trouble, pair("1"), pair("2"))))
    assert (state.pairs, state.left) == (0, ("1", "2", "0")), "it is asked once more, at the end"
    state = folded(state, Batch(pairs=(trouble,)))
    assert (state.troubled, state.left) == (1, ("1", "2")), "and then counts for nobody"
    assert state.differences == {}


def test_a_request_that_always_failed_is_no_news_when_it_fails_on_both() -> None:
    failing = Reply(failed=True)
    state = seen(pair("0", failing, failing, succeeded=False))
    assert state.bad[ERRORS] == (1, 1)
    assert average(state.differences[ERRORS]) == 0


def test_what_stable_never_shows_need_not_be_kept_and_is_not_said_to_be() -> None:
    bare = Reply(latency_ms=100, length=10, sources=0)
    state = seen(*(pair(str(one), bare, bare) for one in range(200)))
    assert set(proofs(MARGINS, state)) == {"errors", "latency", "answers"}
    found = verdict(MARGINS, state)
    assert found.outcome is Outcome.PASS
    assert "sources" not in found.because


def test_no_pairs_are_no_pass_and_few_of_them_are_none_however_wide_the_margins() -> None:
    wide = Margins(errors=0.9, answers=0.9, sources=0.9, latency=2, tokens=2)
    for number, expected in ((0, Outcome.INSUFFICIENT), (29, Outcome.INSUFFICIENT), (30, "PASS")):
        state = seen(*(pair(str(one)) for one in range(number)))
        assert outcome(wide, state) == expected


def test_nothing_passes_while_harm_is_the_likelier() -> None:
    """Answers of a third of the length lose nothing that must be kept, and are no success."""
    short = replace(GOOD, length=150)
    state = seen(*(pair(str(one), short) for one in range(20)))
    wide = Margins(errors=0.9, answers=0.9, sources=0.9, latency=2, tokens=2)
    more = seen(*(pair(str(one), short) for one in range(31)))
    assert outcome(wide, state) is Outcome.INSUFFICIENT
    assert outcome(wide, more) is Outcome.INSUFFICIENT
    assert "more likely harm than not: length 0.2" in verdict(wide, more).because


def test_the_worst_pairs_are_kept_by_request_id_with_what_is_worse() -> None:
    pairs = [pair(str(one)) for one in range(30)]
    pairs[3] = pair("3", Reply(failed=True))
    pairs[5] = pair("5", replace(GOOD, sources=0))
    pairs[7] = pair("7", replace(GOOD, latency_ms=2400, tokens=450))
    worst = seen(*pairs).worst
    assert [(one.request, one.why) for one in worst] == [
        ("3", "the candidate fails"),
        ("7", "3 times the latency, 3 times the tokens"),
        ("5", "sources lost"),
    ]


def test_the_verdict_says_both_counts_the_bound_and_the_margin() -> None:
    failing = Reply(failed=True)
    bad = seen(*(pair(str(one), failing if one % 4 == 0 else GOOD) for one in range(200)))
    found = verdict(MARGINS, bad)
    assert (found.outcome, found.guard) == (Outcome.FAIL, "errors")
    assert found.because.startswith(
        "replay of 200 recorded requests: errors 50, stable 0 of 200: worse by over 0.4 pp, "
    )
    assert found.because.endswith("of 500:1")
    assert found.numbers["candidate_errors"] == 50
    assert found.numbers["fails_at"] == 1 / FALSE_FAIL
    few = verdict(MARGINS, seen(*(pair(str(one)) for one in range(50))))
    assert few.outcome is Outcome.INSUFFICIENT
    assert "errors 0, stable 0 of 50, within 2 pp, evidence 2.2:1 of 20:1" in few.because


def test_the_pairs_that_a_margin_needs_are_those_that_show_it() -> None:
    needs = {margin: fewest_pairs(margin) for margin in (0.01, 0.02, 0.05)}
    assert needs == {0.01: 354, 0.02: 176, 0.05: 70}
    for margin, number in needs.items():
        margins = Margins(errors=margin, answers=margin, sources=margin)
        for one, expected in ((number, Outcome.PASS), (number - 1, Outcome.INSUFFICIENT)):
            assert outcome(margins, seen(*(pair(str(at)) for at in range(one)))) is expected
    assert all(one < two for one, two in pairwise([needs[0.05], needs[0.02], needs[0.01]]))


def test_a_pair_of_two_failures_and_one_of_a_failure_alone_are_told_apart() -> None:
    for own, theirs in product((True, False), repeat=2):
        found = differences(pair("r", Reply(failed=own), Reply(failed=theirs), succeeded=False))
        assert found[ERRORS] == own - theirs
