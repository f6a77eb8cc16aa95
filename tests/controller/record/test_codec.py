from datetime import UTC, timedelta

from hypothesis import given
from hypothesis import strategies as st

from controller.record import codec, times
from policies.evidence import Arm, Block
from policies.golden import GoldenQuery, Round
from policies.rollout import ErrorGuard, Rollout
from states.plan import Call, MoveAlias, Serve, TagVersion
from states.release import Application, Pinned, Release, Span, Spec
from states.world import Serving, Share

TIMES = st.datetimes(timezones=st.just(UTC))
SPANS_OF_TIME = st.timedeltas(timedelta(), timedelta(days=400))
# A surrogate is no text that a database could hold.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
VERSIONS = st.integers(1, 10**6).map(str)
COUNTS = st.integers(0, 10**9)
SERVINGS = st.dictionaries(TEXTS, st.builds(Share, version=VERSIONS, model=TEXTS), max_size=3).map(
    Serving
)
ARMS = st.lists(COUNTS, min_size=3, max_size=3).map(
    lambda counts: Arm(
        **dict(zip(("server_errors", "errors", "requests"), sorted(counts), strict=True))
    )
)
BLOCKS = st.builds(Block, opened_at=TIMES, closed_at=TIMES, candidate=ARMS, stable=ARMS)
PINNED = st.builds(
    Pinned,
    baseline=st.none() | VERSIONS,
    incumbent=st.none() | VERSIONS,
    rollout=st.builds(Rollout, settle=SPANS_OF_TIME, steps=st.just((1, 100))),
    errors=st.builds(ErrorGuard, margin=st.floats(0.0001, 0.99)),
    tests=st.lists(st.builds(GoldenQuery, query=TEXTS), max_size=2).map(tuple),
    max_lag=SPANS_OF_TIME,
    provisioning_deadline=SPANS_OF_TIME,
    testing_deadline=SPANS_OF_TIME,
)
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
    rounds=st.lists(st.builds(Round, why=TEXTS), max_size=2).map(tuple),
    blocks=st.lists(BLOCKS, max_size=2).map(tuple),
    watermark=st.none() | TIMES,
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
)
CALLS = st.one_of(
    st.builds(Serve, SERVINGS, kind=st.just("serve")),
    st.builds(MoveAlias, VERSIONS, kind=st.just("alias")),
    st.builds(TagVersion, VERSIONS, TEXTS, TEXTS, kind=st.just("tag")),
)


@given(RELEASES)
def test_a_release_is_read_as_it_was_written(release: Release) -> None:
    row = codec.release_row(release)
    assert codec.release_of(row, release.blocks) == release


@given(BLOCKS)
def test_a_block_is_read_as_it_was_written(block: Block) -> None:
    assert codec.block_of(codec.block_row(block)) == block


@given(APPLICATIONS)
def test_an_application_is_read_as_it_was_written(application: Application) -> None:
    row = codec.application_row(application)
    assert codec.application_of(row, application.spec) == application


@given(CALLS)
def test_a_call_is_read_as_it_was_written(call: Call) -> None:
    assert codec.call_of(codec.call_json(call)) == call


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
