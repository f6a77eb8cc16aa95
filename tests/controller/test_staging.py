"""What the configuration says of staging endpoints, and what is refused of it."""

from pathlib import Path

import pytest

from controller.daemon.building import _serving, _staging
from controller.settings import ApplicationSettings, SettingsError, load
from tests.controller.test_settings import LEAST, refusal

OTHER = LEAST.split("\n", 1)[1].replace("rag-chatbot:", "other:")
OTHER = OTHER.replace("rag-chatbot-endpoint", "other-endpoint").replace("rag_chatbot", "other")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "headgate.yaml"


def read(file: Path, text: str) -> ApplicationSettings:
    file.write_text(text)
    return load(file).applications["rag-chatbot"]


def test_without_the_key_a_version_is_tested_on_its_endpoint_alone(file: Path) -> None:
    assert read(file, LEAST).spec().staging is None


def test_the_name_is_the_endpoints_and_minus_staging_in_63_characters(file: Path) -> None:
    asked = LEAST + "    staging: {}\n"
    assert read(file, asked).spec().staging == "rag-chatbot-endpoint-staging"
    long = "e" * 63
    name = read(file, asked.replace("rag-chatbot-endpoint", long)).spec().staging
    assert name == "e" * 55 + "-staging"
    named = LEAST + "    staging: {endpoint: trial, workload_size: Medium, scale_to_zero: false}\n"
    assert read(file, named).spec().staging == "trial"


def test_it_has_a_size_of_its_own_and_no_inference_table(file: Path) -> None:
    text = (
        LEAST
        + "    serving: {workload_size: Large, workload_type: GPU_SMALL, environment: {A: b}}\n"
    )
    settings = read(file, text + "    staging: {workload_size: Medium}\n")
    own, staging = _serving(settings), _staging(settings)
    assert (own.size.workload_size, own.size.scale_to_zero) == ("Large", False)
    assert (staging.size.workload_size, staging.size.scale_to_zero) == ("Medium", True)
    assert staging.size.workload_type == "GPU_SMALL"
    assert staging.environment == {"A": "b"}
    assert staging.inference_table is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LEAST + "    staging: {endpoint: rag-chatbot-endpoint}\n", "the endpoint of rag-chatbot"),
        (LEAST + "    staging: {endpoint: other-endpoint}\n" + OTHER, "the endpoint of other"),
        (
            LEAST + "    staging: {endpoint: trial}\n" + OTHER + "    staging: {endpoint: trial}\n",
            "the staging endpoint of rag-chatbot",
        ),
    ],
)
def test_a_name_that_something_else_has_is_refused(file: Path, text: str, told: str) -> None:
    sentence = refusal(file, text)
    assert told in sentence
    assert "name one that nothing else has" in sentence
    assert "staging.endpoint" in sentence, sentence


@pytest.mark.parametrize(
    "wrong", ["{endpoint: 'a b'}", "{workload_size: Tiny}", "{size: Small}", "rag"]
)
def test_what_no_platform_takes_is_refused(file: Path, wrong: str) -> None:
    file.write_text(LEAST + f"    staging: {wrong}\n")
    with pytest.raises(SettingsError):
        load(file)
