"""What a replay says, whole: the sentence, the guard and every number, outcome by outcome."""

from dataclasses import replace
from math import log

import pytest

from policies.pairing import Differences
from policies.pairs import CHECKS
from policies.replay import Margins, Replayed
from policies.replay_told import verdict
from policies.verdict import Outcome, Verdict

MARGINS = Margins()
NONE: Differences = ((0.0, 1000.0),)
ALIKE = Replayed(
    drawn=1020,
    pairs=1000,
    missing=12,
    troubled=8,
    differences=dict.fromkeys(CHECKS, NONE),
    bad={"errors": (0, 0), "answers": (1, 1), "sources": (20, 20)},
)
"""A thousand pairs without a difference."""
COUNTED = {"pairs": 1000, "drawn": 1020, "missing": 12, "troubled": 8}
BAD = {
    "candidate_errors": 0,
    "stable_errors": 0,
    "candidate_answers": 1,
    "stable_answers": 1,
    "candidate_sources": 20,
    "stable_sources": 20,
}
EVEN = {"latency_ratio": 1.0, "tokens_ratio": 1.0, "length_ratio": 1.0, "other_sources": 0.0}
STAKES = (0.15, 0.3, 0.5, 0.7, 0.85, 0.97)
"""Shares of the wealth that each test is made of, evenly for harm."""


def shifted(check: str, differences: Differences, **more: object) -> Replayed:
    """The same thousand pairs, but for one check's differences."""
    return replace(ALIKE, differences={**ALIKE.differences, check: differences}, **more)  # type: ignore[arg-type]


def said(seen: Replayed, margins: Margins = MARGINS) -> tuple[Outcome, str, str]:
    found = verdict(margins, seen)
    return found.outcome, found.guard, found.because


def test_a_pass_tells_of_each_check_that_had_to_be_shown_and_its_margin() -> None:
    assert said(ALIKE) == (
        Outcome.PASS,
        "replay",
        (
            "replay of 1,000 recorded requests: no worse: "
            "errors 0, stable 0 of 1,000, within 2 pp; "
            "latency 1 times stable's in 1,000 pairs, within 25 %; "
            "empty answers 1, stable 1 of 1,000, within 2 pp; "
            "without sources 20, stable 20 of 1,000, within 2 pp; "
            "tokens 1 times stable's in 1,000 pairs, within 25 %"
        ),
    )


def test_a_passs_numbers_are_both_versions_counts_the_means_and_all_evidence() -> None:
    """Evidence is told up to a million to one.

    Of harm, six stakes on each of seven checks lose by
    each pair that is alike: by a fifth of 2 pp, and by 5 % in parts of log 4; the rest is lost.
    """
    numbers = dict(verdict(MARGINS, ALIKE).numbers)
    points, rise = 0.004, log(1.05) / log(4)
    left = [
        checks * sum((1 - stake * margin / (1 + margin)) ** 1000 for stake in STAKES)
        for checks, margin in ((3, points), (2, rise))
    ]
    assert numbers.pop("harm_evidence") == pytest.approx(sum(left) / 6 / 7, rel=0.005)
    proofs = dict.fromkeys(("errors", "latency", "answers", "sources", "tokens"), 1e6)
    assert numbers == {
        **COUNTED,
        **BAD,
        **EVEN,
        **{f"{check}_evidence": shown for check, shown in proofs.items()},
        "passes_at": 20,
    }


FAILS = [
    (
        shifted(
            "errors",
            ((0.0, 900.0), (1.0, 100.0)),
            bad={"errors": (100, 0), "answers": (1, 1), "sources": (20, 20)},
        ),
        "errors",
        "errors 100, stable 0 of 1,000: worse by over 0.4 pp",
        {"candidate_errors": 100},
    ),
    (
        shifted("latency", ((0.5, 1000.0),)),
        "latency",
        "latency 2 times stable's in 1,000 pairs: worse by over 5 %",
        {"latency_ratio": 2.0},
    ),
    (
        shifted(
            "answers",
            ((0.0, 800.0), (1.0, 200.0)),
            bad={"errors": (0, 0), "answers": (201, 1), "sources": (20, 20)},
        ),
        "answers",
        "empty answers 201, stable 1 of 1,000: worse by over 0.4 pp",
        {"candidate_answers": 201},
    ),
    (
        shifted(
            "sources",
            ((0.0, 800.0), (1.0, 200.0)),
            bad={"errors": (0, 0), "answers": (1, 1), "sources": (220, 20)},
        ),
        "sources",
        "without sources 220, stable 20 of 1,000: worse by over 0.4 pp",
        {"candidate_sources": 220},
    ),
    (
        shifted("tokens", ((0.25, 1000.0),)),
        "tokens",
        "tokens 1.41 times stable's in 1,000 pairs: worse by over 5 %",
        {"tokens_ratio": 1.4142},
    ),
    (
        shifted("overlap", ((0.0, 100.0), (1.0, 900.0))),
        "overlap",
        "other sources in 90 % of 1,000 answers: worse by over half, 50 % of answers",
        {"other_sources": 0.9},
    ),
    (
        shifted("length", ((1.0, 1000.0),)),
        "length",
        "length 8 times stable's in 1,000 pairs: worse by over 2 times",
        {"length_ratio": 8.0},
    ),
    (
        shifted("length", ((-1.0, 1000.0),)),
        "length",
        "length 0.125 times stable's in 1,000 pairs: worse by over 2 times",
        {"length_ratio": 0.125},
    ),
]


@pytest.mark.parametrize(("seen", "check", "told", "numbers"), FAILS)
def test_a_failure_tells_of_the_check_that_is_to_blame(
    seen: Replayed, check: str, told: str, numbers: dict[str, float]
) -> None:
    assert verdict(MARGINS, seen) == Verdict(
        outcome=Outcome.FAIL,
        guard=check,
        because=f"replay of 1,000 recorded requests: {told}, evidence over 1,000,000:1 of 500:1",
        numbers={**COUNTED, **BAD, **EVEN, **numbers, "evidence": 1e6, "fails_at": 500},
    )


def test_the_margins_that_were_asked_for_are_those_that_are_told() -> None:
    wide = Margins(errors=0.1, latency=0.5, answers=0.05, sources=0.03, tokens=1.0)
    assert said(ALIKE, wide)[2].count("within 10 pp") == 1
    assert [part.rpartition("within ")[2] for part in said(ALIKE, wide)[2].split("; ")] == [
        "10 pp",
        "50 %",
        "5 pp",
        "3 pp",
        "100 %",
    ]
    for seen, check, words in (
        (FAILS[0][0], "errors", "2 pp"),
        (FAILS[1][0], "latency", "10 %"),
        (FAILS[2][0], "answers", "1 pp"),
    ):
        _, guard, because = said(seen, wide)
        assert guard == check
        assert f": worse by over {words}, evidence" in because


FEW = Replayed(
    drawn=200,
    pairs=40,
    left=("161",),
    differences=dict.fromkeys(CHECKS, ((0.0, 40.0),)),
    bad={"errors": (2, 2), "answers": (0, 0), "sources": (0, 0)},
)
"""Too few pairs for 2 pp: all their stakes come to 1.02 ** 40 at the most."""


def test_what_is_undecided_says_what_is_the_farthest_from_its_proof() -> None:
    outcome, guard, because = said(FEW)
    assert outcome is Outcome.INSUFFICIENT
    assert guard == "errors"
    begins = (
        "replay of 40 recorded requests leaves undecided: errors 2, stable 2 of 40, within 2 pp"
    )
    assert because.startswith(f"{begins}, evidence 1.")
    assert because.endswith(":1 of 20:1")
    numbers = verdict(MARGINS, FEW).numbers
    assert because == f"{begins}, evidence {numbers['errors_evidence']:.2g}:1 of 20:1"
    assert 1 < numbers["errors_evidence"] < 1.02**40
    assert {key: value for key, value in numbers.items() if not key.endswith("_evidence")} == {
        "pairs": 40,
        "drawn": 200,
        "missing": 0,
        "troubled": 0,
        "candidate_errors": 2,
        "stable_errors": 2,
        "candidate_answers": 0,
        "stable_answers": 0,
        "candidate_sources": 0,
        "stable_sources": 0,
        **EVEN,
        "passes_at": 20,
    }


def test_what_is_lacking_is_told_in_its_own_terms() -> None:
    """The latency of 40 pairs: 4 ** (3 / 32) times stable's, which is shown neither way."""
    found = verdict(MARGINS, shifted("latency", ((3 / 32, 40.0),)))
    evidence = found.numbers["latency_evidence"]
    assert 1 < evidence < 20
    assert (found.outcome, found.guard, found.because) == (
        Outcome.INSUFFICIENT,
        "latency",
        (
            "replay of 1,000 recorded requests leaves undecided: latency 1.14 times stable's in "
            f"40 pairs, within 25 %, evidence {evidence:.2g}:1 of 20:1"
        ),
    )


def test_what_leans_to_harm_says_of_what() -> None:
    """Two of forty fail: more likely harm than not, and no proof of it."""
    leaning = replace(
        FEW,
        differences={**FEW.differences, "errors": ((0.0, 36.0), (1.0, 4.0))},
        bad={**FEW.bad, "errors": (4, 0)},
    )
    found = verdict(MARGINS, leaning)
    assert (found.outcome, found.guard) == (Outcome.INSUFFICIENT, "errors")
    evidence = found.numbers["harm_evidence"]
    assert 1 < evidence < 500
    assert found.because == (
        "replay of 40 recorded requests leaves undecided, and more likely harm than not: "
        f"errors 4, stable 0 of 40, evidence {evidence:.2g}:1 of 500:1"
    )


def test_why_no_more_could_be_asked_comes_before_what_is_lacking() -> None:
    assert said(replace(FEW, why="the time for it is over")) == (
        Outcome.INSUFFICIENT,
        "errors",
        "replay of 40 recorded requests leaves undecided: the time for it is over",
    )


def test_failures_of_both_versions_are_told_as_what_leaves_it_undecided() -> None:
    """A fifth of all pairs is not too many: 250 of 1,250; the next one is."""
    assert said(replace(ALIKE, troubled=250))[0] is Outcome.PASS
    assert said(replace(ALIKE, troubled=2500)) == (
        Outcome.INSUFFICIENT,
        said(replace(ALIKE, troubled=251))[1],
        (
            "replay of 1,000 recorded requests leaves undecided: 2,500 more failed on both "
            "versions, although stable had answered them"
        ),
    )


def test_a_replay_that_never_drew_tells_of_nothing() -> None:
    found = verdict(MARGINS, Replayed(why="nothing was recorded"))
    assert found.outcome is Outcome.INSUFFICIENT
    assert found.because == ("replay of 0 recorded requests leaves undecided: nothing was recorded")
    assert found.numbers == {
        "pairs": 0,
        "drawn": 0,
        "missing": 0,
        "troubled": 0,
        "errors_evidence": 1.0,
        "latency_evidence": 1.0,
        "harm_evidence": 1.0,
        "passes_at": 20,
    }


def test_what_some_pairs_do_not_tell_is_counted_in_those_that_do() -> None:
    """Parts of pairs, as the grid keeps them, are told as whole ones."""
    partly = shifted("tokens", ((0.0, 300.4), (1 / 32, 99.6)))
    assert "tokens 1.01 times stable's in 400 pairs, within 25 %" in said(partly)[2]
    assert verdict(MARGINS, partly).numbers["tokens_ratio"] == pytest.approx(1.0108, abs=1e-4)


def test_a_check_that_no_pair_has_told_of_is_lacking() -> None:
    """Of a third of all answers other sources are told, to four digits; of errors nothing."""
    partly = Replayed(
        pairs=9,
        differences={"latency": ((0.0, 9.0),), "overlap": ((0.0, 6.0), (1.0, 3.0))},
    )
    found = verdict(MARGINS, partly)
    assert (found.guard, found.because) == (
        "errors",
        (
            "replay of 9 recorded requests leaves undecided: errors 0, stable 0 of 0, within 2 pp, "
            "evidence 1:1 of 20:1"
        ),
    )
    assert found.numbers["other_sources"] == 0.3333
