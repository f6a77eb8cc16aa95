"""A first configuration as text: guesses, examples, and names that try to be more than names."""

import json
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.serving import ServingEndpointDetailed

from controller.console.drafting import PLACEHOLDER, Draft, golden, paths_of
from controller.console.existing import Finder, Found
from controller.settings import ApplicationSettings, SettingsError, load
from controller.workspace.mlflow_reader import MlflowReader
from controller.workspace.registry import Registry
from controller.workspace.serving import Endpoints
from states.world import Size

MODEL = "main.ml_models.rag_chatbot"
TEXT = {"name": "query", "type": "string"}
MESSAGES = {"name": "messages", "type": "array"}


def signature(inputs: list[Any], outputs: list[Any]) -> dict[str, str]:
    return {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs)}


def written(folder: Path, found: Found) -> tuple[ApplicationSettings, str]:
    file = folder / "headgate.yaml"
    file.write_text(Draft("bot", found).text(), encoding="utf-8")
    [one] = load(file).applications.values()
    return one, file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("outputs", "paths"),
    [
        ([{"name": "answer", "type": "string"}], {"answer": "$.predictions[0].answer"}),
        (
            [{"name": "source_documents", "type": "array"}, {"name": "text", "type": "string"}],
            {"answer": "$.predictions[0].text", "sources": "$.predictions[0].source_documents"},
        ),
        ([{"name": "the words", "type": "string"}], {"answer": "$.predictions[0]['the words']"}),
        ([{"type": "string"}], {"answer": "$.predictions[0]"}),
        ([{"name": "it's", "type": "string"}], {}),
        (
            [{"name": "choices", "type": "array"}, {"name": "usage", "type": "object"}],
            {
                "answer": "$.choices[0].message.content",
                "finish": "$.choices[0].finish_reason",
                "tokens": "$.usage.completion_tokens",
            },
        ),
        ([{"name": "output", "type": "array"}], {"answer": "$.output[0].content[0].text"}),
        ([{"type": "tensor", "tensor-spec": {}}], {}),
        ([{"name": "score", "type": "double"}], {}),
        ([], {}),
    ],
)
def test_response_paths_are_guessed_from_the_output(
    outputs: list[Any], paths: dict[str, str]
) -> None:
    assert paths_of(signature([TEXT], outputs)) == paths


DEEP = {"outputs": "[" * 100_000}


@pytest.mark.parametrize(
    "broken", [{}, {"outputs": "{"}, {"outputs": "7"}, {"outputs": None}, DEEP]
)
def test_a_signature_that_cannot_be_read_guesses_nothing(broken: dict[str, Any]) -> None:
    assert paths_of(broken) == {}


ROW = {"columns": ["query"], "data": [["What is Delta?"], ["Else?"]]}
CHAT = {"messages": [{"role": "user", "content": "Hello?"}]}
SYSTEM = {"messages": [{"role": "system", "content": "Be kind"}]}


@pytest.mark.parametrize(
    ("inputs", "example", "asked"),
    [
        ([TEXT], {"dataframe_split": ROW}, {"query": "What is Delta?"}),
        ([TEXT], {"dataframe_records": [{"query": "A?"}, {"query": "B?"}]}, {"query": "A?"}),
        (
            [TEXT, {"name": "k", "type": "long"}],
            {"dataframe_split": {"columns": ["query", "k"], "data": [["A?", 3]]}},
            {"request": {"dataframe_records": [{"query": "A?", "k": 3}]}},
        ),
        ([MESSAGES], CHAT, {"query": "Hello?"}),
        ([MESSAGES], SYSTEM, {"request": SYSTEM}),
        ([TEXT], {"inputs": ["A?"]}, {"request": {"inputs": ["A?"]}}),
        ([TEXT], {"prompt": "A?"}, None),
        ([TEXT], {"inputs": ["A?", float("nan")]}, None),
        ([TEXT], {"dataframe_records": [{"query": "A" * 5000}]}, None),
        ([TEXT], {**CHAT, "stream": True}, None),
        ([TEXT], None, None),
    ],
)
def test_an_input_example_becomes_a_golden_query_where_it_can_be_asked(
    inputs: list[Any], example: dict[str, Any] | None, asked: dict[str, Any] | None
) -> None:
    assert golden(signature(inputs, []), example) == asked


def test_what_others_named_or_wrote_stays_a_value_and_a_comment(tmp_path: Path) -> None:
    """Newlines, quotes, escape codes and direction marks forge no key and steer no terminal."""
    evil = 'a"\n  other: {model: x.y.z}\u202e\x1b[31m # {{secrets}} \u2028 \'"'
    found = Found(
        endpoint="rag",
        model=MODEL,
        version="3",
        share=100,
        aliases={"production": "2"},
        size=Size(workload_size=None, min_concurrency=4, max_concurrency=16, scale_to_zero=True),
        secrets={"KEY": "{{secrets/scope/key}}"},
        table=f"main.{evil}.rag_payload",
        example={"dataframe_records": [{"query": evil}]},
        signature=signature([TEXT], [{"name": evil, "type": "string"}]),
        troubles=(f"model {evil}: not found",),
    )
    one, text = written(tmp_path, found)
    assert [test.query for test in one.stated_tests] == [evil]
    assert (one.serving.min_concurrency, one.serving.max_concurrency) == (4, 16)
    assert one.serving.scale_to_zero
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "it names version 2, and version 3 serves" in text
    assert "# environment: {KEY: '{{secrets/scope/key}}'}" in text


def test_without_an_example_or_a_signature_the_places_to_fill_in_are_marked(
    tmp_path: Path,
) -> None:
    found = Found(endpoint="rag", model=MODEL, version=None, troubles=("nothing was read",))
    one, text = written(tmp_path, found)
    assert [test.query for test in one.stated_tests] == [PLACEHOLDER]
    assert (one.serving.environment, one.serving.workload_size) == ("none", "Small")
    assert one.inference_table is not None
    assert text.count("# REVIEW: ") == 3
    assert max(map(len, text.splitlines())) <= 100


class Foundation(Endpoints):
    """An endpoint as Databricks shows one of a foundation model, or of another provider's."""

    def __init__(self, entity: dict[str, Any]) -> None:
        self._entity = {"name": "llm", "state": {"deployment": "DEPLOYMENT_READY"}, **entity}

    def detail(self, name: str) -> ServingEndpointDetailed:
        return ServingEndpointDetailed.from_dict(
            {
                "name": name,
                "state": {"ready": "READY", "config_update": "NOT_UPDATING"},
                "config": {"served_entities": [self._entity]},
            }
        )


@pytest.mark.parametrize(
    "entity",
    [
        {"foundation_model": {"name": "system.ai.llama_v3"}},
        {"external_model": {"name": "gpt", "provider": "openai", "task": "llm/v1/chat"}},
        {"entity_name": "main.tools.lookup"},
        {"entity_name": "old_registry_model", "entity_version": "3"},
    ],
)
def test_an_endpoint_without_versions_is_refused_with_a_sentence(entity: dict[str, Any]) -> None:
    client = object.__new__(WorkspaceClient)  # nobody is asked
    finder = Finder(Foundation(entity), Registry(client), MlflowReader(1))
    with pytest.raises(SettingsError, match="llm serves no registered model of Unity Catalog"):
        finder.endpoint("llm")
