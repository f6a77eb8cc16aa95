import json
from datetime import UTC, timedelta

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from controller.record import codec, times
from policies.evidence import GRID, Arm, Block, Coverage, Measure, Tally
from policies.golden import GoldenQuery, Round
from policies.guards import (
    AnswerGuard,
    ErrorGuard,
    Guards,
    History,
    LatencyGuard,
    ScoreGuard,
    TokenGuard,
)
from policies.replay import Replay, Replayed, Worst
from policies.rollout import Rollout
from policies.verdict import Outcome
from states.pinned import Pinned
from states.plan import (
    Apply,
    Call,
    Capture,
    CreateStaging,
    MoveAlias,
    Permit,
    RemoveStaging,
    Serve,
    SwitchFallbackOff,
    TagVersion,
)
from states.release import Application, Release
from states.span import Span
from states.spec import Spec
from states.staged import Staged
from states.world import Grant, Serving, Share, Size

TIMES = st.datetimes(timezones=st.just(UTC))
SPANS_OF_TIME = st.timedeltas(timedelta(), timedelta(days=400))
# A surrogate is no text that a database could hold.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
VERSIONS = st.integers(1, 10**6).map(str)
COUNTS = st.integers(0, 10**9)
SERVINGS = st.dictionaries(TEXTS, st.builds(Share, version=VERSIONS, model=TEXTS), max_size=3).map(
    Serving
)
NUMBERS = st.floats(0, 1e12)
TALLIES = st.builds(
    lambda counts, mass: Tally(seen=max(counts, default=0), counts=counts, mass=mass),
    counts=st.lists(COUNTS, max_size=4).map(tuple),
    mass=st.just(()) | st.lists(NUMBERS, min_size=GRID + 1, max_size=GRID + 1).map(tuple),
)
ARMS = st.builds(
    lambda counts, rejected, tallies: Arm(
        server_errors=counts[0],
        errors=counts[1],
        requests=counts[2] + rejected,
        rejected=rejected,
        tallies=tallies,
    ),
    counts=st.lists(COUNTS, min_size=3, max_size=3).map(sorted),
    rejected=COUNTS,
    tallies=st.dictionaries(TEXTS, TALLIES, max_size=3),
)
COVERAGE = st.builds(Coverage, requests=COUNTS, failed=COUNTS, seen=COUNTS, seen_failed=COUNTS)
BLOCKS = st.builds(
    Block,
    opened_at=TIMES,
    closed_at=TIMES,
    candidate=ARMS,
    stable=ARMS,
    late=COUNTS,
    coverage=st.none() | COVERAGE,
)
SHARES = st.floats(0.0001, 0.99)
GUARDS = st.builds(
    Guards,
    errors=st.builds(ErrorGuard, margin=SHARES, observe=st.booleans()),
    latency=st.builds(LatencyGuard, margin=SHARES, limit_ms=st.none() | NUMBERS),
    answers=st.builds(AnswerGuard, margin=SHARES),
    tokens=st.none() | st.builds(TokenGuard, margin=SHARES),
    scores=st.dictionaries(TEXTS, st.builds(ScoreGuard, margin=SHARES), max_size=2),
)
EDGES = st.lists(NUMBERS, max_size=5).map(tuple)
HISTORIES = st.builds(
    History, requests=COUNTS, latency_ms=EDGES, tokens=EDGES, lag=st.none() | SPANS_OF_TIME
)
GOLDEN = st.builds(
    GoldenQuery,
    query=TEXTS,
    body=TEXTS,
    must_pass=st.none() | COUNTS,
    answer_matches=st.lists(TEXTS, max_size=2).map(tuple),
    max_latency=st.none() | SPANS_OF_TIME,
    max_tokens=st.none() | COUNTS,
    quotable=st.booleans(),
)
REPLAYED = st.builds(
    Replayed,
    began=SPANS_OF_TIME,
    drawn_at=st.none() | TIMES,
    drawn=st.none() | COUNTS,
    left=st.lists(TEXTS, max_size=3).map(tuple),
    differences=st.dictionaries(
        TEXTS, st.lists(st.tuples(SHARES, NUMBERS), max_size=3).map(tuple), max_size=2
    ),
    bad=st.dictionaries(TEXTS, st.tuples(COUNTS, COUNTS), max_size=2),
    worst=st.lists(st.builds(Worst, request=TEXTS, score=NUMBERS, why=TEXTS), max_size=2).map(
        tuple
    ),
    outcome=st.none() | st.sampled_from(Outcome),
    because=TEXTS,
)
PINNED = st.builds(
    Pinned,
    baseline=st.none() | VERSIONS,
    incumbent=st.none() | VERSIONS,
    rollout=st.builds(Rollout, settle=SPANS_OF_TIME, steps=st.just((1, 100))),
    guards=GUARDS,
    tests=st.lists(GOLDEN, max_size=2).map(tuple),
    tests_table=st.none() | TEXTS,
    max_lag=SPANS_OF_TIME,
    provisioning_deadline=SPANS_OF_TIME,
    testing_deadline=SPANS_OF_TIME,
    staging=st.none() | TEXTS,
    replay=st.none() | st.builds(Replay, over=SPANS_OF_TIME, within=SPANS_OF_TIME),
)
ROUNDS = st.lists(st.builds(Round, why=TEXTS), max_size=2).map(tuple)
RELEASES = st.builds(
    Release,
    application=TEXTS,
    version=VERSIONS,
    hold=st.none() | TEXTS,
    because=TEXTS,
    since=TIMES,
    step=st.integers(1, 2),
    pinned=PINNED,
    spans=st.lists(st.builds(Span, starts_at=TIMES), max_size=2).map(tuple),
    rounds=ROUNDS,
    staged=st.booleans(),
    replay=st.none() | REPLAYED,
    blocks=st.lists(BLOCKS, max_size=2).map(tuple),
    sources=st.dictionaries(TEXTS, TEXTS, max_size=3),
    watermarks=st.dictionaries(TEXTS, TIMES, max_size=3),
    history=st.none() | HISTORIES,
    measures=st.dictionaries(
        TEXTS, st.builds(Measure, edges=EDGES, cap=st.none() | NUMBERS), max_size=3
    ),
    verdicts=st.dictionaries(TEXTS, TEXTS, max_size=3),
    in_state=SPANS_OF_TIME,
    on_step=SPANS_OF_TIME,
    undecided=SPANS_OF_TIME,
    ended_at=st.none() | TIMES,
)
SPECS = st.just(Spec(model="main.ml.rag", endpoint="rag"))
APPLICATIONS = st.builds(
    Application,
    name=TEXTS,
    spec=SPECS,
    stable=st.none() | VERSIONS,
    carried=SERVINGS,
    seen=st.none() | SERVINGS,
    hold=st.none() | TEXTS,
    looked_at=st.none() | TIMES,
    staging=st.none()
    | st.builds(
        Staged,
        endpoint=TEXTS,
        release=TEXTS,
        asked_at=TIMES,
        ids=st.dictionaries(TEXTS, TEXTS, max_size=2),
        rounds=ROUNDS,
    ),
)
GRANTS = st.builds(Grant, TEXTS, TEXTS, TEXTS)
SIZES = st.builds(Size, st.none() | TEXTS, st.none() | st.integers(0, 64))
CALLS = st.one_of(
    st.builds(Serve, SERVINGS, st.dictionaries(TEXTS, SIZES, max_size=2), kind=st.just("serve")),
    st.builds(Apply, SERVINGS, TEXTS, SIZES, st.tuples(TEXTS), kind=st.just("apply")),
    st.builds(Permit, st.tuples(GRANTS), kind=st.just("permissions")),
    st.just(Capture()),
    st.builds(MoveAlias, VERSIONS, kind=st.just("alias")),
    st.just(SwitchFallbackOff()),
    st.builds(TagVersion, VERSIONS, TEXTS, TEXTS, kind=st.just("tag")),
    st.builds(
        CreateStaging, TEXTS, SERVINGS, TEXTS, st.integers(1), kind=st.just("create_staging")
    ),
    st.builds(RemoveStaging, TEXTS, TEXTS, kind=st.just("remove_staging")),
)


def kept(row: codec.Row) -> codec.Row:
    """A row as a database gives it back: what is no plain column went through JSON text."""
    structured = {key: value for key, value in row.items() if isinstance(value, dict)}
    return {**row, **json.loads(json.dumps(structured))}


@given(RELEASES)
def test_a_release_is_read_as_it_was_written(release: Release) -> None:
    row = kept(codec.release_row(release))
    assert codec.release_of(row, release.blocks) == release


@given(BLOCKS)
def test_a_block_is_read_as_it_was_written(block: Block) -> None:
    assert codec.block_of(kept(codec.block_row(block))) == block


@given(APPLICATIONS)
def test_an_application_is_read_as_it_was_written(application: Application) -> None:
    row = codec.application_row(application)
    assert codec.application_of(row, application.spec) == application


@given(CALLS)
def test_a_call_is_read_as_it_was_written(call: Call) -> None:
    assert TypeAdapter(Call).validate_python(codec.call_json(call)) == call


@given(TIMES)
def test_a_time_keeps_its_microseconds(moment: object) -> None:
    assert times.moment(times.micros(moment)) == moment  # type: ignore[arg-type]


def test_a_body_written_before_a_field_existed_gets_its_default() -> None:
    row = codec.application_row(Application(name="rag", spec=Spec(model="m", endpoint="e")))
    del row["body"]["carried"]
    assert codec.application_of(row, None).carried == Serving()


def test_what_is_put_in_is_not_in_the_body() -> None:
    row = codec.application_row(Application(name="rag", spec=Spec(model="m", endpoint="e")))
    assert not {"spec", "releases", "attempts", "name"} & set(row["body"])
