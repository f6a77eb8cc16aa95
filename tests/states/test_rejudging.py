"""What a verdict is derived from again, kind by kind, and what is missing for it otherwise."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.evidence import Arm, Block, Coverage, Measure
from policies.fuse import Minute
from policies.guards import AnswerGuard, ErrorGuard, Guards, History
from policies.verdict import Outcome, Verdict
from states.rejudging import Bench, Given, Untold, again, unbelieved
from tests.policies.counts import HISTORY, NOON, TABLE, arm, block, faulty, minutes, set_to

OTHER = "query:own"
PASS, FAIL, BLIND = Outcome.PASS, Outcome.FAIL, Outcome.BLIND
MINUTE = timedelta(minutes=1)
LIMIT = 90 * MINUTE
BENCH = Bench(
    guards=Guards(),
    measures={"answers": Measure()},
    history=None,
    sources={"errors": TABLE, "answers": OTHER},
    dispersion=1.0,
)
FAILING = minutes(3, arm(100, 30), arm(1900, 19))
"""Three minutes in which 30 % of the candidate's requests fail, and 1 % of stable's."""
FAILED = (
    "candidate 90 of 300 failed (30 %), stable 57 of 5,700 failed (1 %): more errors than stable "
    "by over 0.025 pp, evidence over 1,000,000:1 of 100:1"
)
FAULTY = tuple(
    block(arm(100, answers=faulty(100, 60)), arm(1900, answers=faulty(1900, 0)), source=OTHER)
    for _ in range(3)
)
CLEAN = block(arm(100), arm(1900))


def said(guard: str = "errors", outcome: Outcome = FAIL, **facts: object) -> Given:
    return replace(Given(guard=guard, outcome=outcome), **facts)  # type: ignore[arg-type]


def because(found: Verdict | None) -> str | None:
    return None if found is None else found.because


def test_harm_is_that_of_all_deciding_guards_over_the_whole_release() -> None:
    found = again(BENCH, FAILING, said(span=7, weight=5))
    assert found == Verdict(
        outcome=FAIL,
        guard="errors",
        because=FAILED,
        numbers={
            "candidate_requests": 300,
            "candidate_errors": 90,
            "candidate_rate": 0.3,
            "stable_requests": 5700,
            "stable_errors": 57,
            "stable_rate": 0.01,
            "evidence": 1_000_000,
            "closes_at": 100,
        },
    )
    assert again(BENCH, (CLEAN,) * 3, said()) is None
    # Whichever guard it was told of, the one that closed the gate is named.
    assert because(again(BENCH, FAILING, said("answers"))) == FAILED


def test_errors_in_clusters_are_worth_less() -> None:
    one = FAILING[:1]
    told = again(replace(BENCH, dispersion=8.0, sources={"errors": TABLE}), one, said())
    assert told is not None
    assert told.numbers["evidence"] < 1000
    sure = again(replace(BENCH, sources={"errors": TABLE}), one, said())
    assert sure is not None
    assert sure.numbers["evidence"] == 1_000_000


def test_at_100_percent_it_rests_on_what_the_endpoint_was_like_before() -> None:
    alone = tuple(block(arm(1000, 30), arm(0), number=number, whole=True) for number in (1, 2, 3))
    assert again(BENCH, alone, said()) is None, "3 % are not the 20 % of a version without a past"
    assert because(again(BENCH, alone, said(before=set_to(0.01)))) == (
        "candidate 90 of 3,000 failed (3 %) at 100 %: more errors than the 1 % that the past "
        "permits, evidence over 1,000,000:1 of 100:1"
    )


def test_a_guard_that_observes_is_judged_by_itself_and_only_where_it_was_said_to() -> None:
    watching = replace(BENCH, guards=Guards(errors=ErrorGuard(observe=True)))
    assert again(watching, FAILING, said()) is None
    assert because(again(watching, FAILING, said(observe=True))) == FAILED
    # Others' harm is not its own, nor is their past.
    told = again(watching, FAULTY, said(observe=True))
    assert told is None
    both = replace(BENCH, guards=Guards(answers=AnswerGuard(observe=True)))
    found = again(both, (*FAILING, *FAULTY), said("answers", observe=True))
    assert found is not None
    assert found.guard == "answers"


PASSED = (
    "candidate 0 of 300 failed (0 %), stable 0 of 5,700 failed (0 %): within 3 pp of stable, "
    "evidence 1,490:1 of 20:1"
)


def test_safety_is_that_of_one_span_after_settle() -> None:
    step = minutes(3, arm(100), arm(1900))
    elsewhere = block(arm(100, 90), arm(1900), span=2)
    settling = replace(block(arm(100, 90), arm(1900)), comparable=False)
    found = again(BENCH, (elsewhere, *step, settling), said(outcome=PASS, span=1, weight=5))
    assert found is not None
    assert (found.outcome, found.guard, found.because) == (PASS, "errors", PASSED)
    assert found.numbers["margin"] == 0.03
    nothing = again(BENCH, step, said(outcome=PASS, span=2, weight=5))
    assert nothing is not None
    assert nothing.outcome is Outcome.INSUFFICIENT


PACE = ", 38 s at 20 requests/s"


@pytest.mark.parametrize(
    ("history", "weight", "pace", "evidence", "lacking"),
    [
        # 38 more requests of the candidate, which has 5 % of 20 a second: 38 s.
        (None, 5, 20.0, "3 pp of stable, evidence 8:1", f"38 more requests are missing{PACE}"),
        (None, 5, None, "3 pp of stable, evidence 8:1", "38 more requests are missing"),
        (History(), 5, 20.0, "3 pp of stable, evidence 8:1", f"38 more requests are missing{PACE}"),
        (
            History(lag=2 * MINUTE),
            5,
            20.0,
            "3 pp of stable, evidence 8:1",
            f"38 more requests are missing{PACE}, and 2 min until they are told of",
        ),
        # A past of 50,000 requests without an error says how errors may be bet on: 16 will do.
        (HISTORY, 5, None, "3 pp of stable, evidence 13:1", "16 more requests are missing"),
        # Of half of all: 592 / 10 s.
        (
            HISTORY,
            50,
            20.0,
            "0.5 pp of stable, evidence 1.5:1",
            "592 more requests are missing, 59.2 s at 20 requests/s",
        ),
    ],
)
def test_what_is_missing_is_told_by_past_weight_pace_and_lag(
    history: History | None, weight: int, pace: float | None, evidence: str, lacking: str
) -> None:
    given = said(outcome=PASS, span=1, weight=weight, pace=pace)
    found = again(replace(BENCH, history=history), (CLEAN,), given)
    counts = "candidate 0 of 100 failed (0 %), stable 0 of 1,900 failed (0 %)"
    assert because(found) == f"{counts}: within {evidence} of 20:1; about {lacking}"


def test_a_fuse_is_blown_again_by_its_setting_and_its_minutes() -> None:
    storm = (Minute(ends_at=NOON + MINUTE, requests=100, errors=40),)
    given = said("fuse", fuse=set_to(0.01), minutes=storm)
    assert again(BENCH, (), given) == Verdict(
        outcome=FAIL,
        guard="fuse",
        because=(
            "40 of 100 requests to the endpoint failed (40 %) since the step was opened; the hour "
            "before it permits 1 %; nobody is blamed until the counts by version arrive"
        ),
        numbers={
            "endpoint_requests": 100,
            "endpoint_errors": 40,
            "permitted_rate": 0.01,
            "dispersion": 1.0,
        },
    )
    assert again(BENCH, (), replace(given, minutes=())) is None


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (said("fuse"), "the fuse that it rests on is not told"),
        (said(outcome=BLIND, max_lag=LIMIT), "the span that it rests on is not told"),
        (said(outcome=BLIND, span=1), "the longest lag that it rests on is not told"),
        (said(outcome=PASS, weight=5), "the span that it rests on is not told"),
        (said(outcome=PASS, span=1), "the weight that it rests on is not told"),
        (said("tokens"), "the guard tokens is not among those that the release is judged by"),
    ],
)
def test_what_was_not_told_is_named(given: Given, what: str) -> None:
    with pytest.raises(Untold) as caught:
        again(BENCH, (), given)
    assert str(caught.value) == what


def nameless(source: str, span: int = 1, number: int = 6) -> Block:
    """100 requests, of which so many bear an id that nothing names."""
    known = Arm(requests=100 - number, errors=0, server_errors=0)
    return replace(block(arm(0), known, span=span, source=source), unattributed=number)


def test_a_source_is_believed_as_long_as_it_may_be_late() -> None:
    given = said(outcome=BLIND, span=1, max_lag=LIMIT, silences={TABLE: LIMIT})
    assert again(BENCH, (), given) is None
    silent = replace(given, silences={TABLE: LIMIT + MINUTE})
    assert because(again(BENCH, (), silent)) == (
        "the inference table has told nothing for 1.52 h, and may be 1.5 h late: the probes' own "
        "rows do not arrive"
    )


def test_the_first_source_that_cannot_be_believed_is_named() -> None:
    both = {OTHER: LIMIT * 2, TABLE: LIMIT * 3}
    told = because(unbelieved(BENCH.sources, (), 1, both, LIMIT))
    assert told == (
        "the inference table has told nothing for 4.5 h, and may be 1.5 h late: the probes' own "
        "rows do not arrive"
    )
    last = because(unbelieved(BENCH.sources, (), 1, {TABLE: MINUTE, OTHER: LIMIT * 2}, LIMIT))
    assert last == (
        "the query own has told nothing for 3 h, and may be 1.5 h late: see whether it still runs"
    )
    assert unbelieved(BENCH.sources, (), 1, {}, LIMIT) is None


NAMELESS = (
    "6 of 100 requests bear a served entity id that nothing names: grant SELECT on "
    "system.serving.served_entities"
)


@pytest.mark.parametrize(
    ("blocks", "told"),
    [
        ((nameless(TABLE),), NAMELESS),
        ((nameless(TABLE, number=5),), None),
        ((nameless(TABLE, span=2),), None),
        ((nameless(OTHER),), None),
        ((nameless(TABLE), nameless(TABLE, span=2, number=0)), NAMELESS),
        ((nameless(TABLE), nameless(OTHER, number=0)), NAMELESS),
    ],
)
def test_names_are_asked_of_the_present_span_of_a_source(
    blocks: tuple[Block, ...], told: str | None
) -> None:
    assert because(unbelieved(BENCH.sources, blocks, 1, {TABLE: MINUTE}, LIMIT)) == told
    given = said(outcome=BLIND, span=1, max_lag=LIMIT, silences={TABLE: MINUTE})
    assert because(again(BENCH, blocks, given)) == told


GAPS = Coverage(requests=1000, failed=0, seen=800, seen_failed=0)


@pytest.mark.parametrize("span", [1, 2])
def test_what_the_source_of_errors_leaves_out_is_counted_over_the_whole_release(span: int) -> None:
    lacking = replace(CLEAN, span=span, coverage=GAPS)
    assert because(unbelieved(BENCH.sources, (lacking,), 1, {TABLE: MINUTE}, LIMIT)) == (
        "the inference table lacks 200 of the 1,000 requests (20 %) that the endpoint's metrics "
        "tell of: name another source for errors in evidence.queries, or see why rows are not "
        "logged"
    )
    assert unbelieved({"errors": OTHER}, (lacking,), 1, {TABLE: MINUTE}, LIMIT) is None
    elsewhere = replace(lacking, source=OTHER)
    assert unbelieved(BENCH.sources, (elsewhere,), 1, {TABLE: MINUTE}, LIMIT) is None
