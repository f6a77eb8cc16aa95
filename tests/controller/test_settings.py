from datetime import timedelta
from pathlib import Path

import pytest

from controller.settings import ProcessSettings, SettingsError, load
from policies.rollout import ErrorGuard, Rollout

LEAST = """\
applications:
  rag-chatbot:
    model: main.ml_models.rag_chatbot
    endpoint: rag-chatbot-endpoint
    tests:
      - query: What are the key features of Delta Lake?
        expect: {answer_contains: [ACID], min_sources: 1}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "headgate.yaml"


def refusal(file: Path, text: str) -> str:
    file.write_text(text)
    with pytest.raises(SettingsError) as refused:
        load(file)
    return str(refused.value)


def test_the_least_configuration_is_enough_and_the_rest_are_the_policies_defaults(
    file: Path,
) -> None:
    file.write_text(LEAST)
    spec = load(file).applications["rag-chatbot"].spec()
    assert spec.rollout == Rollout()
    assert spec.errors == ErrorGuard()
    assert spec.alias == "production"
    assert spec.tests[0].answer_contains == ("ACID",)
    assert not spec.environment_declared


def test_durations_and_shares_are_read_as_they_are_written(file: Path) -> None:
    file.write_text(
        LEAST
        + "    rollout: {bake: 90m, patience: 2d, settle: 500ms}\n"
        + "    guards: {errors: {margin: 0.25pp, limit: 3%}}\n"
        + "    alias: none\n    serving: {environment: none}\n"
    )
    spec = load(file).applications["rag-chatbot"].spec()
    assert spec.rollout.bake == timedelta(minutes=90)
    assert spec.rollout.patience == timedelta(days=2)
    assert spec.rollout.settle == timedelta(seconds=0.5)
    assert spec.errors.margin == pytest.approx(0.0025)
    assert spec.errors.limit == pytest.approx(0.03)
    assert spec.alias is None
    assert spec.environment_declared


@pytest.mark.parametrize(
    ("added", "line", "words"),
    [
        ("    rolout: {}\n", 8, "did you mean rollout?"),
        ("    guards: {errors: {margn: 1pp}}\n", 8, "did you mean margin?"),
        ("    guards:\n      errors:\n        margin: 5\n", 10, "such as 0.5pp or 5%"),
        ("    rollout: {bake: 10}\n", 8, "such as 30s, 10m, 1h or 7d"),
        ("    rollout: {steps: [5, 25]}\n", 8, "that end at 100"),
        ("    rollout: {steps: [50, 25, 100]}\n", 8, "rising percentages"),
        ("    alias: a/b\n", 8, "letters, digits"),
        ("    endpoint: other\n", 8, "given twice"),
        (
            "    serving: {workload_size: Small, min_concurrency: 4, max_concurrency: 8}\n",
            8,
            "not both",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_the_remedy(
    file: Path, added: str, line: int, words: str
) -> None:
    told = refusal(file, LEAST + added)
    assert f"{file}:{line}:" in told
    assert words in told


def test_a_misspelt_key_below_a_test_is_the_only_complaint(file: Path) -> None:
    told = refusal(file, LEAST.replace("min_sources", "min_source"))
    assert told.count("\n") == 0
    assert "did you mean min_sources?" in told


def test_a_model_is_named_in_three_parts(file: Path) -> None:
    told = refusal(file, LEAST.replace("main.ml_models.rag_chatbot", "rag_chatbot"))
    assert "catalog.schema.model" in told


def test_two_applications_cannot_share_an_endpoint(file: Path) -> None:
    other = LEAST.split("\n", 1)[1].replace("  rag-chatbot:", "  twin:")
    assert "share one endpoint" in refusal(file, LEAST + other)


@pytest.mark.parametrize("text", ["", "[]", "applications: {}", "applications:\n  - a\n"])
def test_a_file_without_applications_is_refused(file: Path, text: str) -> None:
    assert str(file) in refusal(file, text)


def test_what_is_not_yaml_is_named_with_its_line(file: Path) -> None:
    assert f"{file}:3:" in refusal(file, "applications:\n  a: [\n")


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load(tmp_path / "nowhere.yaml")


def test_process_settings_come_from_the_environment_alone() -> None:
    settings = ProcessSettings.read({"HEADGATE_POLL": "5s", "DATABRICKS_WAREHOUSE_ID": "w"})
    assert settings.poll == timedelta(seconds=5)
    assert settings.warehouse == "w"
    assert settings.store == "sqlite:///headgate.db"


@pytest.mark.parametrize(
    ("name", "value"), [("HEADGATE_POLL", "5"), ("HEADGATE_POLL", "1ms"), ("HEADGATE_LOG", "xml")]
)
def test_a_wrong_process_setting_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}={value}: "):
        ProcessSettings.read({name: value})


def test_a_file_that_is_no_text_is_a_sentence(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="is not UTF-8 text"):
        load(file)


@pytest.mark.parametrize("margin", ["0.5", "20pp", "50%"])
def test_a_margin_that_would_let_anything_pass_is_refused(file: Path, margin: str) -> None:
    told = refusal(file, LEAST + f"    guards: {{errors: {{margin: {margin}}}}}\n")
    assert "guards.errors.margin" in told
