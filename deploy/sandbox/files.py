"""The Files API over a directory of this machine, and URLs that carry their own permission."""

import contextlib
import email.utils
import os
import shutil
import tempfile
import urllib.parse
from pathlib import Path

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from deploy.sandbox.parts import Parts
from deploy.sandbox.wire import (
    ApiError,
    Json,
    invalid,
    read_arguments,
    reply,
    text,
    whole,
)
from deploy.sandbox.workspace import Workspace

ROOTS = ("Models", "Volumes", "WorkspaceInternal")
"""The trees that exist: registered models, volumes, and MLflow's artifacts."""
URL_LIFE_S = 3600
"""Life of a signed URL, in seconds."""
NAME_BYTES = 255
"""Longest name of a file or directory, in bytes: what common file systems take."""
PAGE = 1000
"""Entries in one page of a listing, and the most that a client may ask for."""
_ABSENT = "The file or directory being accessed is not found"


def absent(path: str) -> ApiError:
    """A file or directory that is not there; the Files API calls this NOT_FOUND."""
    return ApiError(404, "NOT_FOUND", f"{_ABSENT}: {path}")


class Files:
    """Files under the data directory, named by absolute paths such as `/Models/main/ml/x/1`."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.root = (workspace.settings.data / "files").resolve()
        self.incoming = self.root / ".incoming"
        self.incoming.mkdir(parents=True, exist_ok=True)
        self.parts = Parts(self)

    def path(self, name: str) -> Path:
        """Where the file of this name lies on this machine; never outside the root."""
        parts = name.strip("/").split("/")
        if any(
            part in ("", ".", "..") or "\0" in part or len(os.fsencode(part)) > NAME_BYTES
            for part in parts
        ):
            raise invalid(f"Invalid path: {name!r}")
        if parts[0] not in ROOTS:
            raise invalid(f"Invalid path: {name!r} is in none of /{', /'.join(ROOTS)}")
        path = self.root.joinpath(*parts)
        if not path.resolve().is_relative_to(self.root):
            raise invalid(f"Invalid path: {name!r}")
        return path

    def remove_tree(self, name: str) -> None:
        """Delete the directory of this name with all that it holds, if it exists."""
        path = self.path(name)
        if path.is_dir():
            shutil.rmtree(path)

    def signed_url(self, request: Request, method: str, name: str) -> str:
        """A URL that permits one method on one file for `URL_LIFE_S`, without a bearer token."""
        self.path(name)
        name = "/" + name.strip("/")
        expires = str(int(self.workspace.clock()) + URL_LIFE_S)
        query = urllib.parse.urlencode(
            {"expires": expires, "signature": self.workspace.signer.sign(method, name, expires)}
        )
        base = str(request.base_url).rstrip("/")
        return f"{base}/_storage{urllib.parse.quote(name)}?{query}"

    async def upload(self, request: Request) -> Response:
        """PUT a file: a new one, or with `overwrite=true` in place of one that is there."""
        name = _name(request)
        overwrite = request.query_params.get("overwrite", "false").lower() == "true"
        await self._store(request, name, overwrite=overwrite)
        return Response(status_code=204)

    async def _store(self, request: Request, name: str, *, overwrite: bool) -> None:
        """Write the request's body as this file, all of it or nothing."""
        self.check_free(name, overwrite=overwrite)
        descriptor, temporary = tempfile.mkstemp(dir=self.incoming)
        try:
            with os.fdopen(descriptor, "wb") as file:
                async for chunk in request.stream():
                    file.write(chunk)
            self.place(Path(temporary), name)
        except ClientDisconnect as error:
            raise ApiError(400, "ABORTED", f"the upload of {name} ended early") from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)  # noqa: PTH108

    def check_free(self, name: str, *, overwrite: bool) -> None:
        """Refuse to write a file where none may be written."""
        path = self.path(name)
        self.workspace.registry.check_writable(name)
        if path.is_dir():
            raise invalid(f"{name} is a directory")
        if path.exists() and not overwrite:
            raise ApiError(409, "ALREADY_EXISTS", f"The file {name} already exists")

    def place(self, written: Path, name: str) -> None:
        """Give a file that has been written whole its name."""
        path = self.path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise invalid(f"a part of the path {name} is a file") from error
        written.replace(path)

    async def download(self, request: Request) -> Response:
        """GET or HEAD a file, or with a Range header a part of it."""
        return self._read(request, _name(request))

    def _read(self, request: Request, name: str) -> Response:
        path = self.path(name)
        if not path.is_file():
            raise absent(name)
        unmodified_since = request.headers.get("if-unmodified-since")
        if unmodified_since:
            try:
                limit = email.utils.parsedate_to_datetime(unmodified_since).timestamp()
            except ValueError as error:
                raise invalid(f"If-Unmodified-Since is no date: {unmodified_since}") from error
            if int(path.stat().st_mtime) > limit:
                raise ApiError(412, "FAILED_PRECONDITION", f"The file {name} was modified")
        return FileResponse(path, media_type="application/octet-stream")

    async def delete(self, request: Request) -> Response:
        """DELETE a file."""
        name = _name(request)
        path = self.path(name)
        self.workspace.registry.check_writable(name)
        if not path.is_file():
            raise absent(name)
        path.unlink()
        return Response(status_code=204)

    async def make_directory(self, request: Request) -> Response:
        """PUT a directory and those above it; one that exists is left as it is."""
        name = _name(request)
        path = self.path(name)
        self.workspace.registry.check_writable(name)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise ApiError(409, "ALREADY_EXISTS", f"a part of {name} is a file") from error
        return Response(status_code=204)

    async def read_directory(self, request: Request) -> Response:
        """HEAD a directory: whether it exists. GET it: what it holds, page by page."""
        name = _name(request)
        path = self.path(name)
        if not path.is_dir():
            raise absent(name)
        if request.method == "HEAD":
            return Response(status_code=200)
        # MLflow's presigned repository sends the arguments of this GET in a body.
        arguments = await read_arguments(request)
        entries = self.entries(name)
        token = arguments.get("page_token")
        if token:
            entries = [entry for entry in entries if entry["name"] > token]
        size = min(whole(arguments, "page_size", 0) or PAGE, PAGE)
        body: Json = {"contents": entries[:size]}
        if len(entries) > size:
            body["next_page_token"] = entries[size - 1]["name"]
        return reply(body)

    def entries(self, name: str) -> list[Json]:
        """What the directory of this name holds, by name; nothing where there is none."""
        path = self.path(name)
        if not path.is_dir():
            return []
        return [_entry(f"/{name.strip('/')}", child) for child in sorted(path.iterdir())]

    async def delete_directory(self, request: Request) -> Response:
        """DELETE a directory, which must be empty."""
        name = _name(request)
        path = self.path(name)
        self.workspace.registry.check_writable(name)
        if not path.is_dir():
            raise absent(name)
        if any(path.iterdir()):
            raise ApiError(400, "DIRECTORY_NOT_EMPTY", f"The directory {name} is not empty")
        path.rmdir()
        return Response(status_code=204)

    async def create_download_url(self, request: Request) -> Response:
        """POST: a URL from which anyone may read one file."""
        # The SDK sends the path in the query, MLflow's presigned repository in the body.
        name = text(await read_arguments(request), "path")
        if not self.path(name).is_file():
            raise absent(name)
        return reply({"url": self.signed_url(request, "GET", name), "headers": []})

    async def create_upload_url(self, request: Request) -> Response:
        """POST: a URL to which anyone may write one file."""
        name = text(await read_arguments(request), "path")
        self.workspace.registry.check_writable(name)
        return reply({"url": self.signed_url(request, "PUT", name), "headers": []})

    async def signed(self, request: Request) -> Response:
        """GET or PUT with the permission that the URL itself carries."""
        name = _name(request)
        method = "PUT" if request.method == "PUT" else "GET"
        expires = request.query_params.get("expires", "")
        signature = request.query_params.get("signature", "")
        if not self.workspace.signer.accepts(signature, method, name, expires):
            raise ApiError(403, "PERMISSION_DENIED", "the signature of this URL is wrong")
        if int(expires) < self.workspace.clock():
            raise ApiError(403, "PERMISSION_DENIED", "this URL has expired")
        if method == "GET":
            return self._read(request, name)
        await self._store(request, name, overwrite=True)
        return Response(status_code=200)

    def routes(self) -> list[Route]:
        """The Files API and the storage that its signed URLs point to."""
        files, directories = "/api/2.0/fs/files/{path:path}", "/api/2.0/fs/directories/{path:path}"
        return [
            Route(files, self.upload, methods=["PUT"]),
            Route(files, self.download, methods=["GET", "HEAD"]),
            Route(files, self.delete, methods=["DELETE"]),
            Route(directories, self.make_directory, methods=["PUT"]),
            Route(directories, self.read_directory, methods=["GET", "HEAD"]),
            Route(directories, self.delete_directory, methods=["DELETE"]),
            Route("/api/2.0/fs/create-download-url", self.create_download_url, methods=["POST"]),
            Route("/api/2.0/fs/create-upload-url", self.create_upload_url, methods=["POST"]),
            *self.parts.routes(),
            Route("/_storage/{path:path}", self.signed, methods=["GET", "HEAD", "PUT"]),
        ]


def _name(request: Request) -> str:
    """The absolute path that the URL names, without a slash at the end."""
    return "/" + str(request.path_params["path"]).strip("/")


def _entry(directory: str, child: Path) -> Json:
    """One entry of a listing, as the Files API describes it."""
    stat = child.stat()
    entry: Json = {
        "path": f"{directory}/{child.name}",
        "name": child.name,
        "is_directory": child.is_dir(),
        "last_modified": int(stat.st_mtime * 1000),
    }
    if not child.is_dir():
        entry["file_size"] = stat.st_size
    return entry
