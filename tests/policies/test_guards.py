"""Each guard by itself: what is worse is found and named, what is equal is left in peace."""

from dataclasses import replace
from random import Random

import pytest

from policies.criteria import criteria
from policies.evidence import NOTHING, Arm
from policies.guards import (
    ANSWERS,
    CAP_TIMES,
    FEWEST,
    LATENCY,
    LEAST_DOUBLED_MS,
    LEAST_SLOWER_MS,
    TOKENS,
    AnswerGuard,
    CapacityGuard,
    ErrorGuard,
    Guards,
    History,
    LatencyGuard,
    ScoreGuard,
    TokenGuard,
    measures,
    slower,
    twice,
    widening,
)
from policies.judge import harmful, no_worse
from policies.verdict import Outcome
from tests.policies.counts import HISTORY, TABLE, above, arm, block, guards_by, lognormal
from tests.policies.worlds import CRITERIA, GUARDS, STABLE, STEPS, Day, Version

SEED = 20261124
WORSE = {
    "errors": Version(errors=0.08),
    "latency": Version(slower=1.5),
    "answers": Version(faulty=0.12),
    "tokens": Version(tokens=1.8),
    "truth": Version(truth=0.62),
}

FAR_WORSE = {
    "latency": Version(slower=2.5),
    "answers": Version(faulty=0.2),
    "tokens": Version(tokens=3.0),
}
"""Against the past, which is known from a sample, only more is felt."""


@pytest.mark.parametrize("guard", WORSE)
@pytest.mark.parametrize("wild", [False, True])
def test_a_worse_version_is_found_and_the_guard_named(guard: str, *, wild: bool) -> None:
    day = Day(Random(SEED), WORSE[guard], wild=wild)  # noqa: S311 - repeatable, not secret
    verdict = harmful(CRITERIA, day.blocks(25))
    assert verdict is not None, f"seed {SEED}"
    assert verdict.outcome is Outcome.FAIL
    assert verdict.guard == guard
    assert verdict.because.startswith("candidate ")
    assert ", stable " in verdict.because
    assert verdict.numbers["evidence"] >= verdict.numbers["closes_at"]


@pytest.mark.parametrize("guard", WORSE)
def test_a_guard_that_observes_reports_and_never_decides(guard: str) -> None:
    observing = [replace(one, observe=one.guard == guard) for one in CRITERIA]
    blocks = Day(Random(SEED), WORSE[guard]).blocks(25)  # noqa: S311
    assert harmful(observing, blocks) is None
    alone = [replace(one, observe=False) for one in observing if one.observe]
    assert harmful(alone, blocks) is not None


@pytest.mark.parametrize("guard", ["errors", "latency", "answers", "tokens", "truth"])
def test_a_version_that_turns_bad_at_100_percent_is_held_to_stables_past(guard: str) -> None:
    bad = {**WORSE, **FAR_WORSE}[guard]
    day = Day(Random(SEED), STABLE, requests=(60, 60))  # noqa: S311
    past = day.blocks(25)
    day.candidate = bad
    alone = tuple(day.block(26 + index, step=2, whole=True) for index in range(25))
    verdict = harmful(CRITERIA, (*past, *alone))
    assert verdict is not None, f"seed {SEED}"
    assert verdict.guard == guard
    assert "that the past permits" in verdict.because
    day.candidate = STABLE
    well = tuple(day.block(26 + index, step=2, whole=True) for index in range(25))
    assert harmful(CRITERIA, (*past, *well)) is None


def test_the_weaker_ones_are_named_only_if_they_would_do_alone() -> None:
    day = Day(Random(SEED), Version(errors=0.3, slower=2.0))  # noqa: S311
    verdict = harmful(CRITERIA, day.blocks(15))
    assert verdict is not None
    named = {verdict.guard, *(one for one in ("errors", "latency") if one in verdict.because)}
    assert named == {"errors", "latency"}
    assert "alone would do as well" in verdict.because


def test_a_latency_limit_closes_beside_a_quicker_stable_and_alone_but_not_with_it() -> None:
    limited = replace(GUARDS, latency=LatencyGuard(margin=9.0, limit_ms=400))
    criterion = guards_by(limited, only=(LATENCY,))[0]
    edges, random = measures(limited, HISTORY, STEPS)[LATENCY].edges, Random(SEED)  # noqa: S311

    def answered(times: float) -> Arm:
        return arm(60, latency=above(lognormal(random, 120 * times, 0.5, 60), edges))

    beside = [block(answered(2.5), answered(1), number=number + 1) for number in range(30)]
    verdict = harmful([criterion], tuple(beside))
    assert verdict is not None
    assert "more than one answer in twenty above the limit of 400 ms" in verdict.because
    alone = tuple(replace(one, stable=NOTHING, comparable=False, whole=True) for one in beside)
    verdict = harmful([criterion], alone)
    assert verdict is not None
    assert "over 400 ms" in verdict.because, "it is told what was counted"
    assert "at 100 %" in verdict.because
    slow_both = [block(answered(2.5), answered(2.5), number=number + 1) for number in range(30)]
    assert harmful([criterion], tuple(slow_both)) is None, "stable breaks it as well"


def test_latency_thresholds_are_whole_milliseconds_and_never_less_than_can_be_felt() -> None:
    assert slower(200.4, 0.05) == 210
    assert slower(12.0, 0.05) == 12 + LEAST_SLOWER_MS
    assert slower(0.4, 0.0) == round(0.4 + LEAST_SLOWER_MS)
    assert twice(200.4) == 401
    assert twice(4.0) == 4 + LEAST_DOUBLED_MS, "what a busy machine adds is no harm"
    quick = replace(HISTORY, latency_ms=(0.4, 1.2, 2.0, 3.0, 3.0))
    edges = measures(Guards(), quick, STEPS)[LATENCY].edges
    assert all(edge == round(edge) for edge in edges)
    assert edges == tuple(sorted(set(edges)))


@pytest.mark.parametrize("limit", [None, 1234.5])
@pytest.mark.parametrize("milliseconds", [HISTORY.latency_ms, (0.0,) * 5, (3.0,) * 5])
def test_every_question_finds_its_threshold_among_what_was_counted(
    limit: float | None, milliseconds: tuple[float, ...]
) -> None:
    history = replace(HISTORY, latency_ms=milliseconds)
    for margin in (0.01, 0.25, 3.0):
        guards = replace(GUARDS, latency=LatencyGuard(margin=margin, limit_ms=limit))
        for steps in ((1, 5, 25, 50, 100), (10, 100), (100,)):
            for one in guards_by(guards, history=history, steps=steps):
                for weight in steps[:-1]:
                    assert one.safety(weight).expected
                    verdict = no_worse(one, (), weight=weight, pace=1.0)
                    assert verdict.outcome is Outcome.INSUFFICIENT


def test_the_past_must_tell_enough_for_a_guard_to_be_judged_by_it() -> None:
    assert set(measures(GUARDS, None, STEPS)) == {"truth"}
    few = replace(HISTORY, answers=FEWEST - 1)
    assert set(measures(GUARDS, few, STEPS)) == {"truth"}
    unchecked = replace(HISTORY, checked=FEWEST - 1)
    assert ANSWERS not in measures(GUARDS, unchecked, STEPS)
    assert TOKENS not in measures(replace(GUARDS, tokens=None), HISTORY, STEPS)
    assert TOKENS not in measures(GUARDS, replace(HISTORY, tokens=()), STEPS)
    assert LATENCY not in measures(GUARDS, replace(HISTORY, latency_ms=()), STEPS)
    counted = measures(GUARDS, HISTORY, STEPS)
    assert counted[TOKENS].cap == CAP_TIMES * HISTORY.tokens[-1]
    assert criteria(GUARDS, counted, HISTORY, {}) == ()
    only = criteria(GUARDS, counted, HISTORY, {"truth": TABLE})
    assert [one.guard for one in only] == ["truth"]


def test_errors_come_first_and_each_guard_keeps_its_source() -> None:
    sources = {"truth": "query:truth", "errors": "metrics", "latency": TABLE}
    found = criteria(GUARDS, measures(GUARDS, HISTORY, STEPS), HISTORY, sources)
    assert {one.guard: one.source for one in found} == sources
    assert found[0].guard == "errors"


def test_early_steps_ask_for_less() -> None:
    assert [widening(weight) for weight in (1, 4, 5, 24, 25, 49, 50, 99)] == [
        20, 20, 6, 6, 2, 2, 1, 1,
    ]  # fmt: skip
    told = {one.guard: one.within(5) for one in CRITERIA}
    assert told == {
        "errors": "3 pp of stable",
        "latency": "150 % of stable",
        "answers": "12 pp of stable",
        "tokens": "150 % of stable",
        "truth": "0.3 of stable",
    }


@pytest.mark.parametrize(
    "guard", [ErrorGuard, LatencyGuard, AnswerGuard, TokenGuard, ScoreGuard, CapacityGuard]
)
def test_a_guard_without_a_margin_is_refused(guard: type) -> None:
    with pytest.raises(AssertionError):
        guard(margin=0.0)


def test_no_history_judges_nothing_but_errors_and_scores() -> None:
    found = guards_by(GUARDS, history=None)
    assert [one.guard for one in found] == ["errors", "truth"]
    assert measures(Guards(), History(), STEPS) == {}
