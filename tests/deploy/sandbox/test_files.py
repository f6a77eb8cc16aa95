"""What the Files API of the sandbox is to the SDK, and what its signed URLs permit."""

import io
import uuid
from pathlib import Path

import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import AlreadyExists, BadRequest, InvalidParameterValue, NotFound

from deploy.sandbox.launch import Sandbox

TIMEOUT_S = 10
CONTENT = bytes(range(256)) * 64


@pytest.fixture
def workspace(sandbox: Sandbox) -> WorkspaceClient:
    return WorkspaceClient(host=sandbox.host, token=sandbox.token)


@pytest.fixture
def folder() -> str:
    return f"/Volumes/main/files/v_{uuid.uuid4().hex[:8]}"


def _call(sandbox: Sandbox, method: str, path: str, **more: object) -> requests.Response:
    headers = {"Authorization": f"Bearer {sandbox.token}", **more.pop("headers", {})}  # type: ignore[dict-item]
    return requests.request(
        method,
        sandbox.host + path,
        headers=headers,
        timeout=TIMEOUT_S,
        **more,  # type: ignore[arg-type]
    )


def test_a_file_comes_back_as_it_was_uploaded(workspace: WorkspaceClient, folder: str) -> None:
    path = f"{folder}/deep/er/a file #1.bin"
    workspace.files.upload(path, io.BytesIO(CONTENT))
    contents = workspace.files.download(path).contents
    assert contents is not None
    assert contents.read() == CONTENT
    metadata = workspace.files.get_metadata(path)
    assert metadata.content_length == len(CONTENT)
    assert metadata.last_modified


def test_a_file_is_replaced_only_on_request(workspace: WorkspaceClient, folder: str) -> None:
    path = f"{folder}/a.txt"
    workspace.files.upload(path, io.BytesIO(b"one"))
    with pytest.raises(AlreadyExists):
        workspace.files.upload(path, io.BytesIO(b"two"), overwrite=False)
    workspace.files.upload(path, io.BytesIO(b"three"), overwrite=True)
    contents = workspace.files.download(path).contents
    assert contents is not None
    assert contents.read() == b"three"


def test_a_directory_lists_what_it_holds_page_by_page(
    workspace: WorkspaceClient, folder: str
) -> None:
    for name in ("b.txt", "a.txt", "c.txt"):
        workspace.files.upload(f"{folder}/{name}", io.BytesIO(b"12"))
    workspace.files.create_directory(f"{folder}/below")
    listed = list(workspace.files.list_directory_contents(folder, page_size=2))
    assert [entry.name for entry in listed] == ["a.txt", "b.txt", "below", "c.txt"]
    assert [entry.is_directory for entry in listed] == [False, False, True, False]
    assert listed[0].path == f"{folder}/a.txt"
    assert listed[0].file_size == 2


def test_what_was_deleted_is_gone(workspace: WorkspaceClient, folder: str) -> None:
    workspace.files.upload(f"{folder}/a.txt", io.BytesIO(b"12"))
    with pytest.raises(BadRequest, match="not empty"):
        workspace.files.delete_directory(folder)
    workspace.files.delete(f"{folder}/a.txt")
    with pytest.raises(NotFound):
        workspace.files.download(f"{folder}/a.txt")
    workspace.files.delete_directory(folder)
    with pytest.raises(NotFound):
        workspace.files.get_directory_metadata(folder)


def test_a_part_of_a_file_can_be_read(
    sandbox: Sandbox, workspace: WorkspaceClient, folder: str
) -> None:
    workspace.files.upload(f"{folder}/a.bin", io.BytesIO(CONTENT))
    part = _call(
        sandbox, "GET", f"/api/2.0/fs/files{folder}/a.bin", headers={"Range": "bytes=10-19"}
    )
    assert part.status_code == 206
    assert part.content == CONTENT[10:20]


def test_a_signed_url_needs_no_token_and_permits_one_method_on_one_file(
    sandbox: Sandbox, folder: str
) -> None:
    path = f"{folder}/signed.txt"
    # MLflow sends the path in the body, the SDK in the query: both must do.
    upload = _call(sandbox, "POST", "/api/2.0/fs/create-upload-url", json={"path": path}).json()
    assert requests.put(upload["url"], data=b"hello", timeout=TIMEOUT_S).ok
    download = _call(
        sandbox, "POST", "/api/2.0/fs/create-download-url", params={"path": path}
    ).json()
    assert requests.get(download["url"], timeout=TIMEOUT_S).content == b"hello"
    assert requests.put(download["url"], data=b"x", timeout=TIMEOUT_S).status_code == 403
    other = download["url"].replace("signed.txt", "other.txt")
    assert requests.get(other, timeout=TIMEOUT_S).status_code == 403
    later = download["url"].replace("expires=", "expires=9")
    assert requests.get(later, timeout=TIMEOUT_S).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/Volumes/../workspace.db",
        "/Volumes/a/%2e%2e/%2e%2e/workspace.db",
        "/Volumes/a/..%2f..%2fworkspace.db",
        "/.incoming/x",
        "/etc/passwd",
        "/Volumes//etc/passwd",
        "/Volumes/" + "x" * 300,
    ],
)
def test_no_path_leaves_the_trees_of_the_workspace(sandbox: Sandbox, path: str) -> None:
    # A prepared URL is sent as it is: requests would resolve the dots itself.
    prepared = requests.Request(
        "GET", sandbox.host, headers={"Authorization": f"Bearer {sandbox.token}"}
    ).prepare()
    prepared.url = f"{sandbox.host}/api/2.0/fs/files{path}"
    with requests.Session() as session:
        answer = session.send(prepared, timeout=TIMEOUT_S)
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"


def test_only_a_version_of_a_model_takes_files_below_models(workspace: WorkspaceClient) -> None:
    with pytest.raises(NotFound):
        workspace.files.upload("/Models/main/files/nobody/1/MLmodel", io.BytesIO(b"x"))
    with pytest.raises(InvalidParameterValue):
        workspace.files.upload("/Models/main/files/MLmodel", io.BytesIO(b"x"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 60 MB, which clients upload in parts; every mebibyte differs from the others."""
    path = tmp_path_factory.mktemp("large") / "large.bin"
    with path.open("wb") as file:
        for number in range(60):
            file.write(number.to_bytes(4) * (1 << 18))
    return path


def test_a_file_over_50_mb_is_uploaded_in_parts(
    sandbox: Sandbox, workspace: WorkspaceClient, folder: str, large: Path
) -> None:
    since = sandbox.last()
    with large.open("rb") as file:
        workspace.files.upload(f"{folder}/large.bin", file)
    asked = {entry["path"] for entry in sandbox.requests(since)}
    assert "/api/2.0/fs/create-upload-part-urls" in asked
    contents = workspace.files.download(f"{folder}/large.bin").contents
    assert contents is not None
    assert contents.read() == large.read_bytes()


def _begin(sandbox: Sandbox, path: str) -> dict[str, str]:
    """The arguments that name an upload in parts which has begun."""
    url = f"/api/2.0/fs/files{path}?action=initiate-upload"
    answer = _call(sandbox, "POST", url).json()["multipart_upload"]
    return {"path": path, "session_token": answer["session_token"]}


def test_an_upload_in_parts_is_whole_or_nothing(
    sandbox: Sandbox, workspace: WorkspaceClient, folder: str
) -> None:
    path = f"{folder}/parts.bin"
    upload = _begin(sandbox, path)
    asked = {**upload, "start_part_number": 1, "count": 2}
    urls = _call(sandbox, "POST", "/api/2.0/fs/create-upload-part-urls", json=asked).json()
    tags = [
        requests.put(one["url"], data=data, timeout=TIMEOUT_S).headers["ETag"]
        for one, data in zip(urls["upload_part_urls"], (b"one ", b"two"), strict=True)
    ]
    with pytest.raises(NotFound):
        workspace.files.get_metadata(path)
    complete = {"action": "complete-upload", "session_token": upload["session_token"]}
    parts = [{"part_number": number, "etag": tag} for number, tag in enumerate(tags, 1)]
    target = f"/api/2.0/fs/files{path}"
    unknown = {"parts": [{"part_number": 1, "etag": "00"}]}
    assert _call(sandbox, "POST", target, params=complete, json=unknown).status_code == 400
    assert _call(sandbox, "POST", target, params=complete, json={"parts": parts}).ok
    assert workspace.files.get_metadata(path).content_length == 7
    # The token has been used up, and never was one for another file.
    assert _call(sandbox, "POST", target, params=complete, json={"parts": parts}).status_code == 404
    other = f"{target}.other"
    assert _call(sandbox, "POST", other, params=complete, json={"parts": parts}).status_code == 400


def test_an_upload_in_parts_can_be_given_up(sandbox: Sandbox, folder: str) -> None:
    upload = _begin(sandbox, f"{folder}/parts.bin")
    answer = _call(sandbox, "POST", "/api/2.0/fs/create-abort-upload-url", json=upload).json()
    url = answer["abort_upload_url"]["url"]
    forged = url.replace("signature=", "signature=0")
    assert requests.delete(forged, timeout=TIMEOUT_S).status_code == 403
    assert requests.delete(url, timeout=TIMEOUT_S).ok
    asked = {**upload, "start_part_number": 1, "count": 1}
    late = _call(sandbox, "POST", "/api/2.0/fs/create-upload-part-urls", json=asked)
    assert late.status_code == 404
