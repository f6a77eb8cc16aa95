"""What may go wrong with the registry: reads that are late, and others who write."""

import uuid
from collections.abc import Iterator

import pytest
from databricks.sdk import WorkspaceClient
from mlflow import MlflowClient

from deploy.sandbox.launch import Sandbox

pytestmark = [
    pytest.mark.usefixtures("clients"),
    # MLflow warns about the type hints of its own module when it is imported.
    pytest.mark.filterwarnings("ignore:.*inferred as AnyType:UserWarning"),
]

CREATE = "/api/2.0/mlflow/unity-catalog/model-versions/create"


@pytest.fixture
def workspace(sandbox: Sandbox) -> Iterator[WorkspaceClient]:
    """A client, and no faults after the test."""
    yield WorkspaceClient(host=sandbox.host, token=sandbox.token)
    sandbox.clear_faults()


@pytest.fixture
def name(workspace: WorkspaceClient) -> str:
    """A registered model with two versions, the first of which is the champion."""
    name = f"main.ml_models.m_{uuid.uuid4().hex[:8]}"
    MlflowClient().create_registered_model(name)
    for _ in range(2):
        _register(workspace, name)
    workspace.registered_models.set_alias(name, "champion", 1)
    return name


def _register(workspace: WorkspaceClient, name: str) -> None:
    workspace.api_client.do("POST", CREATE, body={"name": name, "source": "s"})


def _numbers(workspace: WorkspaceClient, name: str) -> list[int]:
    return sorted(one.version or 0 for one in workspace.model_versions.list(name))


def _champion(workspace: WorkspaceClient, name: str) -> int | None:
    return workspace.registered_models.get(name, include_aliases=True).aliases[0].version_num  # type: ignore[index]


def test_reads_can_be_stale_in_both_dialects_until_they_have_been_asked_often_enough(
    sandbox: Sandbox, workspace: WorkspaceClient, name: str
) -> None:
    sandbox.fault("registry", match={"model": name}, stale_reads=True, times=4)
    _register(workspace, name)
    workspace.registered_models.set_alias(name, "champion", 3)
    assert _numbers(workspace, name) == [1, 2]
    assert [one.version for one in MlflowClient().search_model_versions(f"name='{name}'")] != []
    assert _champion(workspace, name) == 1
    assert MlflowClient().get_registered_model(name).aliases == {"champion": "1"}
    # What was written is there, and shows as soon as reads catch up.
    assert _numbers(workspace, name) == [1, 2, 3]
    assert _champion(workspace, name) == 3


def test_stale_reads_of_one_model_leave_the_others_fresh(
    sandbox: Sandbox, workspace: WorkspaceClient, name: str
) -> None:
    sandbox.fault("registry", match={"model": "main.ml_models.other"}, stale_reads=True)
    _register(workspace, name)
    assert _numbers(workspace, name) == [1, 2, 3]


def test_an_alias_can_be_moved_by_another_right_after_it_was_set(
    sandbox: Sandbox, workspace: WorkspaceClient, name: str
) -> None:
    sandbox.fault("registry", match={"model": name, "alias": "champion"}, move_alias_to=1)
    workspace.registered_models.set_alias(name, "champion", 2)
    assert _champion(workspace, name) == 1
    workspace.registered_models.set_alias(name, "champion", 2)
    assert _champion(workspace, name) == 2


def test_an_alias_can_be_moved_by_another_right_after_it_was_read(
    sandbox: Sandbox, workspace: WorkspaceClient, name: str
) -> None:
    sandbox.fault("registry", match={"alias": "champion"}, move_alias_to=2)
    first = MlflowClient().get_model_version_by_alias(name, "champion")
    second = workspace.model_versions.get_by_alias(name, "champion")
    assert (first.version, second.version) == ("1", 2)


def test_a_page_can_be_empty_and_have_a_successor(workspace: WorkspaceClient, name: str) -> None:
    _register(workspace, name)
    path = f"/api/2.1/unity-catalog/models/{name}/versions"
    pages: list[list[int]] = []
    token: str | None = ""
    while token is not None:
        query = {"max_results": 2, **({"page_token": token} if token else {})}
        page = workspace.api_client.do("GET", path, query=query)
        assert isinstance(page, dict)
        pages.append([one["version"] for one in page["model_versions"]])
        token = page.get("next_page_token")
    assert [len(page) for page in pages] == [2, 0, 1]
    # The SDK's iterator walks over it; MLflow's caller must do so himself.
    listed = workspace.model_versions.list(name, max_results=2)
    assert sorted(one.version or 0 for one in listed) == [1, 2, 3]
    found = MlflowClient().search_model_versions(f"name = '{name}'", max_results=2)
    following = MlflowClient().search_model_versions(
        f"name = '{name}'", max_results=2, page_token=found.token
    )
    assert (len(found), len(following), bool(following.token)) == (2, 0, True)


@pytest.mark.parametrize("filtered", ["name='{}'", 'name="{}"', "name = '{}'", " name  =  '{}' "])
def test_versions_are_found_by_the_name_of_their_model_however_it_is_written(
    workspace: WorkspaceClient, name: str, filtered: str
) -> None:
    del workspace
    found = MlflowClient().search_model_versions(filtered.format(name))
    assert sorted(one.version for one in found) == ["1", "2"]


@pytest.mark.parametrize(
    "filtered", ["", "name LIKE 'main%'", "version = 1", "name='a' AND run_id='b'", "tags.a='b'"]
)
def test_no_other_filter_of_versions_is_known(workspace: WorkspaceClient, filtered: str) -> None:
    with pytest.raises(Exception, match="Invalid filter"):
        workspace.api_client.do(
            "GET",
            "/api/2.0/mlflow/unity-catalog/model-versions/search",
            query={"filter": filtered},
        )
