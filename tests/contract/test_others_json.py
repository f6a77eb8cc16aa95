"""What models answer and users have asked may be any text: it fails its own test, and ends no look.

Over the wire, from a server that answers byte for byte as it is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from controller.daemon.replaying import Replayer
from controller.workspace.client import connect
from controller.workspace.errors import Refused
from controller.workspace.json_text import DEEPEST
from controller.workspace.probes import Probes
from controller.workspace.recorded import Recorded, Sample
from controller.workspace.replays import Replays
from policies.golden import Finding, GoldenQuery, Round, judge
from policies.pairs import Pair
from policies.replay import Batch, Drawn, Replay
from states.counted import Paths
from states.release import Application
from states.world import Endpoint
from tests.contract.recorder import Answering, Recorder
from tests.states.story import SPEC, TABLE, Story

PATHS = Paths(answer="$.answer", sources="$.sources", tokens="$.tokens")
QUERY = GoldenQuery(query="What is Delta?", answer_contains=("ACID",))
ASKED = Recorded("id-1", '{"inputs": ["What is Delta?"]}', succeeded=True)
WELL = b'{"answer": "ACID", "sources": ["a"], "tokens": 12}'
CANDIDATE, STABLE = "rag_chatbot-v2", "rag_chatbot-v1"


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


NO_JSON = {
    "no end": b"[" * 200_000,
    "deep": deep(50_000).encode(),
    "a little too deep": f'{{"answer": "ACID", "sources": {deep(DEEPEST)}}}'.encode(),
    "long number": b'{"answer": "ACID", "tokens": ' + b"1" * 5000 + b"}",
    "cut": b'{"answer": "ACID',
    "nothing": b"",
    "bytes": b"\xff\xfe\x00",
}
NO_NUMBER = [b"NaN", b"Infinity", b"-1e999", b"1" * 400, b"true", b'"12"']


@pytest.fixture
def probes(recorder: Recorder) -> Probes:
    assert recorder.host
    return Probes(connect(), "rag", "rag-chatbot")


def answers(recorder: Recorder, candidate: bytes, kind: str = "application/json") -> None:
    """The candidate answers so, and stable answers well."""

    def each(handler: Any) -> None:  # noqa: ANN401 - the recorder's
        body = candidate if CANDIDATE in handler.path else WELL
        handler.answer(200, body, Content_Type=kind)

    recorder.changes = each


def pair(probes: Probes, recorded: Recorded = ASKED) -> Pair | None:
    return Replays(probes, "rag-chatbot").pair(recorded, CANDIDATE, STABLE, "salt", PATHS)


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream"])
@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON.keys())
def test_an_answer_that_is_not_json_is_the_candidates_failure(
    recorder: Recorder, probes: Probes, body: bytes, kind: str
) -> None:
    answers(recorder, body, kind)
    asked = probes.round(CANDIDATE, STABLE, (QUERY,), PATHS)
    assert asked == Round(
        asked=1,
        candidate_failed=(1,),
        stable_failed=(),
        why="query 1: the answer is not JSON",
    )
    assert isinstance(asked, Round)
    assert judge((asked, asked))[0] is Finding.FAIL
    replayed = pair(probes)
    assert replayed is not None, "it is not skipped"
    assert replayed.candidate.failed
    assert not replayed.stable.failed


def cut(handler: Any) -> None:  # noqa: ANN401 - the recorder's
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(WELL)
    handler.close_connection = True


def in_pieces(handler: Any) -> None:  # noqa: ANN401 - the recorder's
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"2\r\n{}\r\nno number\r\n")
    handler.close_connection = True


def encoded(handler: Any) -> None:  # noqa: ANN401 - the recorder's
    handler.answer(200, WELL, Content_Encoding="gzip")


@pytest.mark.parametrize("answer", [cut, in_pieces, encoded])
def test_an_answer_that_breaks_off_is_the_candidates_failure(
    recorder: Recorder, probes: Probes, answer: Answering
) -> None:
    """As of a container that is killed for its memory while it answers."""
    recorder.changes = lambda handler: (
        answer(handler) if CANDIDATE in handler.path else handler.answer(200, WELL)
    )
    asked = probes.round(CANDIDATE, STABLE, (QUERY,), PATHS)
    assert isinstance(asked, Round)
    assert (asked.candidate_failed, asked.stable_failed) == ((1,), ())
    assert asked.why == "query 1: the connection broke before an answer"
    assert not probes.beat(CANDIDATE, QUERY, "m")
    replayed = pair(probes)
    assert replayed is not None
    assert (replayed.candidate.failed, replayed.stable.failed) == (True, False)


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream"])
def test_an_answer_as_deep_as_it_may_be_is_read(
    recorder: Recorder, probes: Probes, kind: str
) -> None:
    body = f'{{"answer": "ACID", "sources": {deep(DEEPEST - 1)}, "score": NaN}}'.encode()
    answers(recorder, body, kind)
    assert probes.ask(CANDIDATE, QUERY, "m", PATHS) is None
    replayed = pair(probes)
    assert replayed is not None
    assert (replayed.candidate.failed, replayed.candidate.length) == (False, 4)


@pytest.mark.parametrize("tokens", NO_NUMBER)
def test_tokens_that_are_no_finite_number_are_none(
    recorder: Recorder, probes: Probes, tokens: bytes
) -> None:
    answers(recorder, b'{"answer": "ACID", "sources": ["a"], "tokens": ' + tokens + b"}")
    assert probes.ask(CANDIDATE, QUERY, "m", PATHS) is None
    limited = replace(QUERY, max_tokens=20)
    assert probes.ask(CANDIDATE, limited, "m", PATHS) == "max_tokens: no number at $.tokens"
    replayed = pair(probes)
    assert replayed is not None
    assert (replayed.candidate.failed, replayed.candidate.tokens) == (False, None)
    assert replayed.stable.tokens == 12


@pytest.mark.parametrize(
    ("answer", "expected", "why"),
    [
        (b"[" * 200_000, {"json_schema": '{"type": "object"}'}, "the answer is not JSON"),
        (deep(DEEPEST + 60).encode(), {"json_schema": "{}"}, "the answer is not JSON"),
        (b"\\ud83d", {"json_schema": '{"minLength": 1}'}, "the answer is not JSON"),
        (b'\\"\\\\ud83d\\"', {"json_schema": '{"minLength": 1}'}, "is not Unicode text"),
        (b"cut \\ud83d", {"answer_matches": ("[a-z]{5}",)}, "nothing matches"),
        (b"cut \\ud83d", {"answer_matches": ("cut",)}, None),
    ],
)
def test_a_text_that_cannot_be_held_against_what_is_expected_fails(
    recorder: Recorder, probes: Probes, answer: bytes, expected: dict[str, Any], why: str | None
) -> None:
    answers(recorder, b'{"answer": "' + answer + b'"}')
    found = probes.ask(CANDIDATE, GoldenQuery(query="q", **expected), "m", PATHS)
    assert (found is None) if why is None else (why in (found or ""))


UNSENDABLE = {
    "nan": '{"inputs": [NaN]}',
    "infinity": '{"inputs": {"a": [-Infinity]}}',
    "too large": '{"inputs": [1e999]}',
    "long number": f'{{"inputs": [{"1" * 5000}]}}',
    "no end": '{"inputs": ' + "[" * 60_000,
    "deep": f'{{"inputs": {deep(30_000)}}}',
    "a little too deep": f'{{"inputs": {deep(DEEPEST)}}}',
    "no object": "[1]",
    "cut": '{"inputs": ["What',
}


@dataclass
class Table:
    """An inference table in which users have asked so."""

    bodies: dict[str, str]

    def draw(self, sample: Sample) -> Drawn:
        raise AssertionError(f"it is drawn already: {sample}")

    def texts(self, table: str, ids: Sequence[str], over: timedelta) -> list[Recorded]:
        assert (table, over) == (TABLE, Replay().over)
        return [Recorded(one, self.bodies[one], succeeded=True) for one in ids]


def test_recorded_requests_that_cannot_be_sent_again_are_counted_as_missing(
    recorder: Recorder, probes: Probes
) -> None:
    bodies = {"first": ASKED.body, **UNSENDABLE, "last": f'{{"inputs": {deep(DEEPEST - 1)}}}'}
    story = Story(
        application=Application(name="rag-chatbot", spec=replace(SPEC, replay=Replay())),
        recorded=len(bodies),
    )
    story.look()
    story.register(2)
    while story.application.live is None or story.application.live.replay is None:
        story.look()
    story.look()
    assert story.live.replay is not None
    begun = replace(story.live.replay, drawn=len(bodies), left=tuple(bodies))
    application = story.application.with_release(replace(story.live, replay=begun))
    assert isinstance(story.endpoint, Endpoint)
    answers(recorder, WELL)
    replayer = Replayer(Table(bodies), Replays(probes, "rag-chatbot"))
    batch = replayer.look(application, story.endpoint, lambda: False)
    assert isinstance(batch, Batch)
    assert [one.request for one in batch.pairs] == ["first", "last"]
    assert sorted(batch.missing) == sorted(UNSENDABLE)
    assert len(recorder.of("POST")) == 4, "two pairs, and of the others nothing is sent"


def test_a_query_pinned_before_it_was_refused_blames_no_version(
    recorder: Recorder, probes: Probes
) -> None:
    query = GoldenQuery(body='{"inputs": [NaN]}')
    with pytest.raises(Refused, match="a golden query has NaN or an infinity"):
        probes.round(CANDIDATE, STABLE, (query,), PATHS)
    with pytest.raises(Refused, match="a golden query has NaN or an infinity"):
        probes.beat(CANDIDATE, query, "m")
    assert recorder.of("POST") == []
