import json
from datetime import date
from typing import Any

import pytest

from controller.workspace.inputs import Inputs, malformed, misfit, placed, request_of
from controller.workspace.jsonpath import JsonPath

CHAT = {"messages": [{"role": "user", "content": "What is Delta?"}]}


def inputs(*columns: dict[str, Any]) -> Inputs:
    """What a signature with these inputs takes, as MLflow writes it down."""
    found = Inputs.read({"inputs": json.dumps(columns), "outputs": None, "params": None})
    assert found is not None
    return found


def column(name: str, kind: str = "string", *, required: bool = True) -> dict[str, Any]:
    return {"type": kind, "name": name, "required": required}


QUESTION = inputs(column("question"))
MESSAGES = inputs(column("messages", "array"), column("temperature", "double", required=False))
RESPONSES = inputs(column("input", "array"), column("custom_inputs", "object", required=False))


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        (None, {"dataframe_records": [{"query": "q"}]}),
        (QUESTION, {"dataframe_records": [{"question": "q"}]}),
        (
            inputs(column("question"), column("session", required=False)),
            {"dataframe_records": [{"question": "q"}]},
        ),
        (
            inputs(column("query"), column("session")),
            {"dataframe_records": [{"query": "q"}]},
        ),
        (inputs(column("two words")), {"dataframe_records": [{"two words": "q"}]}),
        (MESSAGES, {"messages": [{"role": "user", "content": "q"}]}),
        (RESPONSES, {"input": [{"role": "user", "content": "q"}]}),
    ],
)
def test_a_question_is_put_where_the_signature_has_it(
    known: Inputs | None, asked: dict[str, Any]
) -> None:
    body = request_of("q", "", known)
    assert body == asked
    assert malformed(body) is None


def test_a_request_that_is_stated_is_sent_as_it_is() -> None:
    assert request_of("", json.dumps(CHAT), QUESTION) == CHAT


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("$.dataframe_records[0].text", {"dataframe_records": [{"text": "q"}]}),
        ("$.inputs.question[0]", {"inputs": {"question": ["q"]}}),
        ("$.messages[0].content", {"messages": [{"role": "user", "content": "q"}]}),
        ("$.input", {"input": "q"}),
    ],
)
def test_a_question_is_put_where_the_configuration_says(path: str, asked: dict[str, Any]) -> None:
    body = placed(JsonPath.parse(path), "q")
    assert body == asked
    assert malformed(body) is None


@pytest.mark.parametrize("path", ["$", "$[0]", "$.messages[1].content"])
def test_a_place_that_no_request_has_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"begins with a name|first place"):
        placed(JsonPath.parse(path), "q")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({}, "state one of"),
        ({"query": "q"}, "state one of"),
        ({**CHAT, "inputs": [1]}, "state one of"),
        ({**CHAT, "client_request_id": "x"}, "leave client_request_id out"),
        ({**CHAT, "stream": True}, "leave stream out"),
        ({"inputs": [1], "temperature": 0}, "temperature means nothing beside inputs"),
        ({"dataframe_records": {"query": "q"}}, "as a list of records"),
        ({"dataframe_records": []}, "as a list of records"),
        ({"dataframe_split": {"columns": ["a"]}}, "columns, a list of names, and data"),
        (
            {"dataframe_split": {"columns": ["a", "b"], "data": [[1]]}},
            "one value for each column",
        ),
        ({"inputs": []}, "as a list or mapping"),
        ({"messages": ["hello"]}, "with role and content"),
        ({"input": []}, "as text, or as a list"),
        ({"inputs": [float("nan")]}, "leave NaN and infinities out"),
        ({"inputs": [1], "params": {"k": float("-inf")}}, "leave NaN and infinities out"),
        ({"inputs": [date(2026, 11, 28)]}, "put dates into quotes"),
        ({"inputs": json.loads("[" * 201 + "]" * 201)}, "200 levels at most"),
    ],
)
def test_a_request_of_no_form_that_serving_takes_is_refused(body: dict[str, Any], why: str) -> None:
    assert why in (malformed(body) or "")


@pytest.mark.parametrize(
    ("body", "known"),
    [
        ({"dataframe_records": [{"question": "q", "more": 1}]}, QUESTION),
        ({"dataframe_split": {"columns": ["question"], "data": [["q"]]}}, QUESTION),
        ({"inputs": {"question": ["q"]}, "params": {"k": 1}}, QUESTION),
        ({**CHAT, "temperature": 1}, MESSAGES),
        ({"input": "q"}, RESPONSES),
        ({"inputs": [[1.5]]}, inputs({"type": "tensor", "tensor-spec": {"dtype": "float64"}})),
        ({"dataframe_records": [{"n": 1}]}, inputs(column("n", "double"))),
    ],
)
def test_a_request_that_a_signature_takes_fits(body: dict[str, Any], known: Inputs) -> None:
    assert malformed(body) is None
    assert misfit(body, known) is None


@pytest.mark.parametrize(
    ("body", "known", "why"),
    [
        (
            {"dataframe_records": [{"question": "q"}, {"query": "q"}]},
            QUESTION,
            "the signature asks for question, which it lacks",
        ),
        (
            {"dataframe_split": {"columns": ["query"], "data": [["q"]]}},
            QUESTION,
            "the signature asks for question, which it lacks",
        ),
        (
            {"inputs": {"query": ["q"]}},
            QUESTION,
            "the signature asks for question, which it lacks",
        ),
        (CHAT, QUESTION, "the signature takes no messages"),
        ({"input": "q"}, MESSAGES, "the signature takes no input"),
        (
            {"dataframe_records": [{"n": "1"}]},
            inputs(column("n", "long")),
            "the signature has n as long, the request as something else",
        ),
        (
            {"dataframe_records": [{"n": True}]},
            inputs(column("n", "long")),
            "the signature has n as long, the request as something else",
        ),
    ],
)
def test_what_a_signature_does_not_take_is_told_without_the_question(
    body: dict[str, Any], known: Inputs, why: str
) -> None:
    assert misfit(body, known) == why


@pytest.mark.parametrize(
    "signature",
    [
        {},
        {"inputs": None},
        {"inputs": "[1]"},
        {"inputs": "x"},
        {"inputs": "[" * 100_000},
        {"inputs": [{"name": "q", "type": "string"}]},
        {"inputs": '[{"name": "q", "type": ["string"]}]'},
        {"inputs": '[{"name": ["q"], "type": "string"}]'},
    ],
    ids=lambda one: repr(one)[:50],
)
def test_a_signature_that_cannot_be_read_is_unknown(signature: dict[str, Any]) -> None:
    assert Inputs.read(signature) is None
