from dataclasses import replace

from controller.console.guarding import guards_in_words
from policies.guards import (
    AnswerGuard,
    ErrorGuard,
    Guards,
    LatencyGuard,
    LengthGuard,
    ScoreGuard,
    TokenGuard,
)
from states.counted import Counted, Query
from states.spec import Spec

SPEC = Spec(model="main.ml.rag", endpoint="rag")


def test_each_guard_is_told_with_its_source_and_what_lacks_one_with_the_reason() -> None:
    errors = (
        "errors: margin 0.5 pp, limit 5 %, counted by inference table "
        "(metrics, if their labels name the version)"
    )
    assert guards_in_words("rag", SPEC) == [
        errors,
        "latency: margin 25 %, counted by inference table",
        "answers: margin 2 pp, counted by inference table",
        "capacity: margin 1 pp, counted by inference table",
        "length: not guarded: name guards.length to compare how long answers are",
        "tokens: not guarded: response.tokens does not say where their number is",
    ]


def test_a_configured_query_is_told_as_the_source_that_it_is() -> None:
    guards = Guards(
        latency=LatencyGuard(limit_ms=8000),
        answers=AnswerGuard(observe=True),
        tokens=TokenGuard(price_per_1k=0.002),
        length=LengthGuard(),
        scores={"relevance": ScoreGuard()},
    )
    queries = (
        Query(name="relevance", sql="SELECT 1", counts="score"),
        Query(name="gateway", sql="SELECT 1", counts="latency"),
    )
    spec = replace(SPEC, guards=guards, counted=Counted(queries=queries))
    told = guards_in_words("rag", spec)
    assert "latency: margin 25 %, limit 8,000 ms, counted by query gateway" in told
    assert "answers: margin 2 pp, counted by inference table; observed only" in told
    assert "tokens: margin 25 %, 0.002 per thousand, counted by inference table" in told
    for side in ("shorter", "longer"):
        assert f"{side}: margin 10 pp, counted by inference table" in told
    assert "relevance: margin 0.05, counted by query relevance" in told


def test_no_limit_is_told_of_that_a_query_cannot_hold() -> None:
    for told_apart, words in (
        (False, "no limit by query gateway, which does not tell server errors apart"),
        (True, "limit 5 %"),
    ):
        query = Query(name="gateway", sql="SELECT 1", counts="errors", server_errors=told_apart)
        told = guards_in_words("rag", replace(SPEC, counted=Counted(queries=(query,))))
        [errors] = [line for line in told if line.startswith("errors: ")]
        assert errors == (
            f"errors: margin 0.5 pp, {words}, counted by query gateway "
            "(metrics, if their labels name the version)"
        )


def test_where_all_guards_only_observe_it_is_said_what_that_means() -> None:
    observing = Guards(
        errors=ErrorGuard(observe=True),
        latency=LatencyGuard(observe=True),
        answers=AnswerGuard(observe=True),
    )
    told = guards_in_words("rag", replace(SPEC, guards=observing))
    assert "note: every guard only observes, so that no step below 100 % will be opened" in told
    deciding = replace(observing, scores={"relevance": ScoreGuard()})
    assert not any(
        "note" in line for line in guards_in_words("rag", replace(SPEC, guards=deciding))
    )
