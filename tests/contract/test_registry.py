import pytest
from databricks.sdk import WorkspaceClient

from controller.workspace import mlflow_reader
from controller.workspace.errors import Refused
from controller.workspace.mlflow_reader import MlflowReader
from controller.workspace.registry import Registry
from states.world import Absent, ModelVersion
from tests.contract.conftest import Workspace


def test_versions_are_listed_in_order_with_tags_and_signatures(
    client: WorkspaceClient, model: str
) -> None:
    versions = Registry(client).versions(model)
    assert [one.version for one in versions] == ["1", "2", "3"]
    assert {one.status for one in versions} == {"READY"}
    assert all(one.has_signature for one in versions)
    assert all(one.tags and one.tags["git_sha"] == "abc" for one in versions)


def test_only_what_is_asked_for_is_looked_at_closely(client: WorkspaceClient, model: str) -> None:
    registry = Registry(client)
    one, two, three = registry.versions(model, above=1, detail=["1", "2"])
    unseen = [ModelVersion(version=number, status="READY") for number in ("1", "3")]
    assert [one, three] == unseen
    assert two.has_signature


def test_a_signature_is_read_once_and_tags_every_time(
    client: WorkspaceClient, model: str, workspace: Workspace
) -> None:
    registry = Registry(client)
    registry.versions(model, ["3"])
    before = workspace.last()
    registry.set_tag(model, "3", "approved", "yes")
    [_, _, three] = registry.versions(model, ["3"])
    assert three.tags is not None
    assert three.tags["approved"] == "yes"
    assert not [path for _, path, _ in workspace.asked(before) if "MLmodel" in path]


def test_files_that_cannot_be_read_leave_the_signature_unseen(
    client: WorkspaceClient, model: str, workspace: Workspace
) -> None:
    registry = Registry(client, deadline_s=15)
    workspace.fault(
        path="MLmodel|is-databricks-sdk|temporary-credentials|fs/",
        status=403,
        error_code="PERMISSION_DENIED",
        times=50,
    )
    [one, _, _] = registry.versions(model, ["1"])
    assert one.has_signature is None
    assert one.tags is not None
    workspace.heal()
    [one, _, _] = registry.versions(model, ["1"])
    assert one.has_signature


@pytest.mark.parametrize(
    "text",
    ["flavors: [", "signature: !!python/name:os.system", "[" * 3000, "signature: 2026-13-01"],
    ids=["cut", "a tag", "deep", "no date"],
)
def test_a_file_that_is_no_yaml_hides_the_signature_and_nothing_else(
    client: WorkspaceClient, model: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(client, deadline_s=15)
    with monkeypatch.context() as spoilt:
        spoilt.setattr(mlflow_reader, "_file", lambda *_: text)
        [one, _, _] = registry.versions(model, ["1"])
        assert one.has_signature is None
        assert one.tags is not None
        with pytest.raises(Refused, match="its MLmodel file is no YAML that can be read"):
            MlflowReader(15).signature(model, "1")


@pytest.mark.parametrize(
    "inputs",
    [
        "[{name: q, type: string}]",
        "5",
        "{}",
        "'[1]'",
        "'" + "[" * 100_000 + "'",
        '\'[{"name": "q", "type": ' + "[" * 300 + "]" * 300 + "}]'",
    ],
    ids=["a list", "a number", "a mapping", "no columns", "no end", "deep"],
)
def test_a_signature_that_is_malformed_is_unseen_and_hides_no_version(
    client: WorkspaceClient, model: str, inputs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, read = Registry(client, deadline_s=15), mlflow_reader._file

    def third(name: str, version: str, file: str) -> str:
        spoilt = f"signature: {{inputs: {inputs}}}"
        return spoilt if version == "3" else read(name, version, file)

    monkeypatch.setattr(mlflow_reader, "_file", third)
    versions = registry.versions(model)
    assert [one.has_signature for one in versions] == [True, True, None]
    assert versions[2].inputs is None
    assert versions[2].tags is not None
    assert registry.inputs(model, "3") is None


def test_a_file_that_is_too_large_is_not_read(
    client: WorkspaceClient, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(mlflow_reader._file(model, "1", "MLmodel").encode())
    monkeypatch.setattr(mlflow_reader, "LARGEST", size)
    assert MlflowReader(15).has_signature(model, "1")
    monkeypatch.setattr(mlflow_reader, "LARGEST", size - 1)
    with pytest.raises(Refused, match=f"its file MLmodel is larger than {size - 1:,} bytes"):
        MlflowReader(15).signature(model, "1")
    [one, _, _] = Registry(client, deadline_s=15).versions(model, ["1"])
    assert one.has_signature is None


def test_a_model_that_is_not_there_has_no_versions(client: WorkspaceClient) -> None:
    registry = Registry(client)
    assert registry.versions("main.ml_models.nobody") == ()
    assert not registry.model_exists("main.ml_models.nobody")
    assert registry.alias("main.ml_models.nobody", "production") == Absent()


def test_an_alias_names_what_it_was_set_to(client: WorkspaceClient, model: str) -> None:
    registry = Registry(client)
    assert registry.model_exists(model)
    assert registry.alias(model, "unheard-of") == Absent()
    for version in ("1", "2"):
        registry.set_alias(model, "production", version)
        assert registry.alias(model, "production") == version


def test_an_alias_cannot_name_a_version_that_is_not_there(
    client: WorkspaceClient, model: str
) -> None:
    with pytest.raises(Refused, match="alias production of"):
        Registry(client).set_alias(model, "production", "99")


def test_a_tag_is_set_in_one_request(
    client: WorkspaceClient, model: str, workspace: Workspace
) -> None:
    before = workspace.last()
    Registry(client).set_tag(model, "2", "headgate.state", "RolledBack")
    [(method, path, status)] = workspace.asked(before)
    assert (method, status) == ("POST", 200)
    assert path.endswith("/model-versions/set-tag")
    [_, two, _] = Registry(client).versions(model, ["2"])
    assert two.tags is not None
    assert two.tags["headgate.state"] == "RolledBack"
