"""`serving:`, `permissions:`, `inference_table:`: what they take, and refuse, and why."""

from pathlib import Path

import pytest

from controller.settings import SettingsError, load
from states.spec import Spec
from states.world import Grant, Size, Variables

LEAST = """\
applications:
  rag:
    model: main.ml_models.rag_chatbot
    endpoint: rag-endpoint
    tests: [{query: "What is Delta Lake?"}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "headgate.yaml"


def spec(file: Path, added: str = "") -> Spec:
    file.write_text(LEAST + added)
    return load(file).applications["rag"].spec()


def refusal(file: Path, added: str) -> str:
    with pytest.raises(SettingsError) as refused:
        spec(file, added)
    return str(refused.value)


@pytest.mark.parametrize(
    ("serving", "size"),
    [
        ("{}", None),
        ("{scale_to_zero: true}", None),
        ("{workload_size: Medium}", Size("Medium")),
        ("{min_concurrency: 4, max_concurrency: 64}", Size(None, 4, 64)),
        ("{workload_type: GPU_SMALL}", Size("Small", workload_type="GPU_SMALL")),
        (
            "{workload_size: Large, workload_type: MULTIGPU_MEDIUM, scale_to_zero: true}",
            Size("Large", None, None, "MULTIGPU_MEDIUM", scale_to_zero=True),
        ),
    ],
)
def test_a_size_is_what_is_stated_and_without_one_it_is_stables(
    file: Path, serving: str, size: Size | None
) -> None:
    assert spec(file, f"    serving: {serving}\n").setup.size == size


def test_a_gpu_may_take_longer_to_be_ready(file: Path) -> None:
    minutes = spec(file).provisioning_deadline.total_seconds() / 60
    gpu = spec(file, "    serving: {workload_type: GPU_LARGE}\n").provisioning_deadline
    assert (minutes, gpu.total_seconds() / 60) == (60, 150)


def test_of_variables_the_core_knows_names_and_whether_they_are_the_same(file: Path) -> None:
    told = '    serving: {environment: {TOP_K: "5", API_KEY: "{{secrets/rag/key}}"}}\n'
    known = spec(file, told)
    assert known.environment_declared
    assert known.setup.variables.names == ("API_KEY", "TOP_K")
    assert spec(file, told.replace('"5"', '"6"')).setup.variables != known.setup.variables
    other_order = '    serving: {environment: {API_KEY: "{{secrets/rag/key}}", TOP_K: "5"}}\n'
    assert spec(file, other_order).setup.variables == known.setup.variables
    assert "secrets/rag" not in repr(known)
    assert spec(file, "    serving: {environment: none}\n").setup.variables == Variables()


def test_the_variables_of_other_models_are_a_statement_of_their_own(file: Path) -> None:
    assert not spec(file, "    serving: {environment: none}\n").others_declared
    stated = spec(file, "    serving: {others_environment: none}\n")
    assert (stated.others_declared, stated.environment_declared) == (True, False)


def test_permissions_name_who_and_what(file: Path) -> None:
    told = (
        "    permissions:\n"
        "      - {group: analysts, level: CAN_QUERY}\n"
        "      - {user: ada@example.com, level: CAN_MANAGE}\n"
        "      - {service_principal: 8f3a, level: CAN_VIEW}\n"
    )
    assert spec(file, told).setup.permissions == (
        Grant("group", "analysts", "CAN_QUERY"),
        Grant("user", "ada@example.com", "CAN_MANAGE"),
        Grant("service_principal", "8f3a", "CAN_VIEW"),
    )


def test_a_table_that_is_declared_is_for_endpoints_that_were_found_too(file: Path) -> None:
    assert not spec(file).setup.captures
    assert spec(file, "    inference_table: {catalog: main, schema: logs}\n").setup.captures


SIZED = "size a custom model with workload_size, or with min_concurrency and max_concurrency"
REGISTERED = "Headgate serves the registered model that `model:` names"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("min_provisioned_throughput", SIZED),
        ("max_provisioned_throughput", SIZED),
        ("provisioned_model_units", SIZED),
        ("burst_scaling_enabled", "leave room for bursts with max_concurrency"),
        ("external_model", REGISTERED),
        ("foundation_model", REGISTERED),
        ("foundation_model_name", REGISTERED),
        ("entity_name", "is what `model:` names"),
        ("entity_version", "`headgate release` begins one"),
        ("name", "is given by Headgate"),
        ("min_provisioned_concurrency", "is called min_concurrency here"),
        ("max_provisioned_concurrency", "is called max_concurrency here"),
        ("scale_to_zero_enabled", "is called scale_to_zero here"),
        ("environment_vars", "is called environment here"),
        ("instance_profile_arn", "is called instance_profile here"),
        ("workload_sise", "did you mean workload_size?"),
    ],
)
def test_what_other_models_take_is_refused_with_what_to_use(
    file: Path, key: str, words: str
) -> None:
    told = refusal(file, f"    serving:\n      {key}: 5\n")
    assert f"{file}:7: applications.rag.serving.{key}: " in told
    assert words in told
    assert told.count("\n") == 0


@pytest.mark.parametrize(
    ("added", "words"),
    [
        ("serving: {workload_type: TPU}", "'GPU_XLARGE_8' or 'MULTIGPU_MEDIUM'"),
        ("serving: {workload_size: Small, max_concurrency: 8}", "not both"),
        ("serving: {max_concurrency: 8}", "go together"),
        ("serving: {min_concurrency: 6, max_concurrency: 8}", "multiple of 4"),
        ("serving: {min_concurrency: 12, max_concurrency: 8}", "min_concurrency is 12, above"),
        ("serving: {instance_profile: rag}", "arn:aws:iam::ACCOUNT:instance-profile/NAME"),
        ('serving: {environment: {"A-B": x}}', "name a variable with letters"),
        ('serving: {environment: {A: "{{secrets/rag}}"}}', "{{secrets/SCOPE/KEY}}"),
        ('serving: {environment: {A: "Bearer {{secrets/a/b}}"}}', "nothing beside it"),
        ("serving: {environment: {A: 5}}", "serving.environment"),
        ("permissions: [{level: CAN_QUERY}]", "name one of group, user and service_principal"),
        ("permissions: [{group: a, user: b, level: CAN_QUERY}]", "name one of"),
        ("permissions: [{group: a, level: CAN_RUN}]", "'CAN_QUERY', 'CAN_VIEW' or 'CAN_MANAGE'"),
        (
            "permissions: [{group: a, level: CAN_QUERY}, {group: a, level: CAN_VIEW}]",
            "permissions.1: group a is given a level already: keep one of them",
        ),
    ],
)
def test_what_the_platform_would_not_take_is_refused_before(
    file: Path, added: str, words: str
) -> None:
    told = refusal(file, f"    {added}\n")
    assert f"{file}:6: " in told
    assert words in told


def test_a_value_that_is_refused_is_never_told(file: Path) -> None:
    told = refusal(file, '    serving: {environment: {TOKEN: "{{secret words"}}\n')
    assert "TOKEN" in told
    assert "secret words" not in told
