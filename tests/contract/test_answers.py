"""What an answer is held against, as it comes over the wire; no sandbox, a server that is told."""

import json
from datetime import timedelta
from typing import Any

import pytest

from controller.workspace.client import connect
from controller.workspace.inputs import Inputs
from controller.workspace.probes import Probes
from policies.golden import GoldenQuery, Round
from states.counted import Paths
from tests.contract.recorder import Answering, Recorder

ANSWER = {"choices": [{"message": {"content": '{"days": 7}'}}], "usage": {"total_tokens": 12}}
PATHS = Paths(
    answer="$.choices[0].message.content", sources="$.sources", tokens="$.usage.total_tokens"
)
CHAT = '{"messages": [{"role": "user", "content": "how long?"}]}'
DAYS = '{"type": "object", "properties": {"days": {"const": 7}}}'


@pytest.fixture
def recorder(recorder: Recorder) -> Recorder:
    recorder.changes = answering(ANSWER, "rag-v2")
    return recorder


@pytest.fixture
def probes(recorder: Recorder) -> Probes:
    assert recorder.host
    return Probes(connect(), "rag", "app")


def answering(document: object, entity: str) -> Answering:
    body = json.dumps(document).encode()
    return lambda handler: handler.answer(200, body, served_model_name=entity)


def test_an_answer_of_another_entity_is_no_answer(recorder: Recorder, probes: Probes) -> None:
    query = GoldenQuery(body=CHAT)
    assert probes.ask("rag-v2", query, "m", PATHS) is None
    assert probes.beat("rag-v2", query, "m")
    recorder.changes = answering(ANSWER, "rag-v1")
    assert probes.ask("rag-v2", query, "m", PATHS) == "another served entity answered"
    assert not probes.beat("rag-v2", query, "m")


def test_a_chat_request_is_sent_as_stated_with_our_mark(recorder: Recorder, probes: Probes) -> None:
    assert probes.ask("rag-v2", GoldenQuery(body=CHAT), "headgate/app/rag-v2/1", PATHS) is None
    [sent] = recorder.of("POST")
    assert sent.json == {**json.loads(CHAT), "client_request_id": "headgate/app/rag-v2/1"}


@pytest.mark.parametrize(
    ("expected", "why"),
    [
        ({"json_schema": DAYS, "max_tokens": 12, "answer_matches": ("[0-9]",)}, None),
        ({"max_tokens": 11}, "max_tokens: 12 tokens, 11 allowed"),
        (
            {"json_schema": '{"required": ["weeks"]}'},
            "json_schema: fails at required of the schema",
        ),
        ({"answer_matches": ("[a-z]{5}",)}, "answer_matches: nothing matches '[a-z]{5}'"),
        ({"min_sources": 1}, "min_sources: no list at $.sources"),
        ({"max_latency": timedelta(microseconds=1)}, "ms, 0 ms allowed"),
    ],
)
def test_each_kind_of_check_reads_its_own_part_of_the_answer(
    probes: Probes, expected: dict[str, Any], why: str | None
) -> None:
    found = probes.ask("rag-v2", GoldenQuery(body=CHAT, **expected), "m", PATHS)
    assert (found is None) if why is None else (why in (found or ""))


def test_a_query_that_the_signature_does_not_take_is_not_sent(
    recorder: Recorder, probes: Probes
) -> None:
    question = Inputs.read({"inputs": '[{"type": "string", "name": "question"}]'})
    why = probes.ask("rag-v2", GoldenQuery(body=CHAT), "m", PATHS, question)
    assert why == "request: the signature takes no messages"
    assert recorder.of("POST") == []


def test_a_round_tells_first_what_stable_does_not_share(recorder: Recorder, probes: Probes) -> None:
    """The first query fails on both, the second on the candidate alone."""

    def each(handler: Any) -> None:  # noqa: ANN401 - the recorder's
        entity = handler.path.split("/")[-2]
        told = {"content": "new" if entity == "rag-v2" else "old"}
        answering({"choices": [{"message": told}]}, entity)(handler)

    recorder.changes = each
    tests = (
        GoldenQuery(body=CHAT, answer_contains=("neither",)),
        GoldenQuery(body=CHAT, answer_contains=("old",), repeat=3, must_pass=1),
    )
    asked = probes.round("rag-v2", "rag-v1", tests, PATHS)
    assert isinstance(asked, Round)
    assert (asked.candidate_failed, asked.stable_failed) == ((1, 2), (1,))
    assert asked.why == (
        "query 2: answer_contains: lacks 'old' (0 of 3 answers as expected, 1 needed)"
    )
    assert len(recorder.of("POST")) == 8
