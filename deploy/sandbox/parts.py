"""Uploads in parts, which clients use for files above 50 MB: begun, put piece by piece, completed.

An upload is a directory of its parts. Its session token, signed, says which file it will become.
"""

import hashlib
import re
import shutil
import tempfile
import urllib.parse
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.sandbox.wire import (
    ApiError,
    Json,
    invalid,
    read_arguments,
    read_json,
    reply,
    text,
    whole,
)

if TYPE_CHECKING:
    from deploy.sandbox.files import Files

URL_LIFE_S = 3600
"""Life of a part's URL, in seconds."""
_MOST_PARTS = 10_000
"""Parts of one upload, as cloud storage limits them."""


class Parts:
    """The uploads in parts that are under way."""

    def __init__(self, files: "Files") -> None:
        self._files = files
        self._signer = files.workspace.signer

    def routes(self) -> list[Route]:
        """The coordination, and the storage that the parts go to."""
        return [
            Route("/api/2.0/fs/files/{path:path}", self._coordinate, methods=["POST"]),
            Route("/api/2.0/fs/create-upload-part-urls", self._urls, methods=["POST"]),
            Route("/api/2.0/fs/create-abort-upload-url", self._abort_url, methods=["POST"]),
            Route("/_storage-parts/{upload}/{number:int}", self._put, methods=["PUT"]),
            Route("/_storage-parts/{upload}", self._abort, methods=["DELETE"]),
        ]

    async def _coordinate(self, request: Request) -> Response:
        """POST a file with `action`: begin an upload in parts, or complete it."""
        name = "/" + str(request.path_params["path"]).strip("/")
        action = request.query_params.get("action")
        if action == "initiate-upload":
            overwrite = request.query_params.get("overwrite", "false").lower() == "true"
            self._files.check_free(name, overwrite=overwrite)
            upload = uuid.uuid4().hex
            self._directory(upload).mkdir()
            signature = self._signer.sign("upload", upload, name)
            return reply({"multipart_upload": {"session_token": f"{upload}.{signature}"}})
        if action != "complete-upload":
            raise invalid(f"Unknown action {action!r}: initiate-upload or complete-upload")
        upload = self._opened(dict(request.query_params), name)
        listed = (await read_json(request)).get("parts") or []
        # Up to gigabytes are copied here, which must not stop the other requests.
        await run_in_threadpool(self._complete, upload, name, listed)
        return Response(status_code=200)

    async def _urls(self, request: Request) -> Response:
        """POST: URLs to which anyone may put parts of one upload."""
        asked = await read_arguments(request)
        upload = self._opened(asked, text(asked, "path"))
        first, count = whole(asked, "start_part_number", 1), whole(asked, "count", 1)
        if first < 1 or count < 1 or first + count - 1 > _MOST_PARTS:
            raise invalid(f"Parts are numbered from 1 to {_MOST_PARTS}")
        numbers = range(first, first + count)
        urls = [
            {"url": self._url(request, "PUT", upload, str(n)), "part_number": n, "headers": []}
            for n in numbers
        ]
        return reply({"upload_part_urls": urls})

    async def _abort_url(self, request: Request) -> Response:
        """POST: a URL by which anyone may give one upload up."""
        asked = await read_arguments(request)
        upload = self._opened(asked, text(asked, "path"))
        return reply(
            {"abort_upload_url": {"url": self._url(request, "DELETE", upload), "headers": []}}
        )

    async def _put(self, request: Request) -> Response:
        """PUT one part; its ETag is what completes it."""
        upload, number = request.path_params["upload"], request.path_params["number"]
        directory = self._permitted(request, "PUT", upload, str(number))
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with tempfile.NamedTemporaryFile(dir=directory, delete=False) as file:
                async for chunk in request.stream():
                    digest.update(chunk)
                    file.write(chunk)
            self._keep(Path(file.name), number, digest.hexdigest())
        except ClientDisconnect as error:
            raise ApiError(400, "ABORTED", f"the upload of part {number} ended early") from error
        return Response(status_code=200, headers={"ETag": f'"{digest.hexdigest()}"'})

    def _keep(self, written: Path, number: int, tag: str) -> None:
        """Name a part that has arrived whole; it replaces one that was put before."""
        for before in written.parent.glob(f"{number}-*"):
            before.unlink()
        written.rename(written.parent / f"{number}-{tag}")

    async def _abort(self, request: Request) -> Response:
        """DELETE an upload with its parts."""
        upload = request.path_params["upload"]
        shutil.rmtree(self._permitted(request, "DELETE", upload))
        return Response(status_code=204)

    def _complete(self, upload: str, name: str, listed: list[Any]) -> None:
        """Join the parts as the client lists them; this is a thread."""
        directory = self._directory(upload)
        self._files.workspace.registry.check_writable(name)
        if not listed:
            raise invalid("An upload is completed with the list of its parts")
        with tempfile.NamedTemporaryFile(dir=directory, delete=False) as whole_file:
            for position, part in enumerate(listed, 1):
                number, tag = part.get("part_number"), str(part.get("etag", "")).strip('"')
                written = directory / f"{position}-{tag}"
                if number != position or not re.fullmatch("[0-9a-f]+", tag) or not written.exists():
                    raise invalid(f"Part {number!r} with ETag {tag!r} is not the next of {name}")
                with written.open("rb") as file:
                    shutil.copyfileobj(file, whole_file)
        self._files.place(Path(whole_file.name), name)
        shutil.rmtree(directory)

    def _directory(self, upload: str) -> Path:
        return self._files.incoming / upload

    def _opened(self, asked: Json, name: str) -> str:
        """The upload that a session token opens, if the token is of this file."""
        name = "/" + name.strip("/")
        upload, _, signature = text(asked, "session_token").partition(".")
        if not self._signer.accepts(signature, "upload", upload, name):
            raise invalid(f"The session token is not one of an upload of {name}")
        if not self._directory(upload).is_dir():
            raise ApiError(404, "NOT_FOUND", f"The upload of {name} has ended")
        return upload

    def _url(self, request: Request, method: str, *parts: str) -> str:
        expires = str(int(self._files.workspace.clock()) + URL_LIFE_S)
        signature = self._signer.sign("part", method, *parts, expires)
        query = urllib.parse.urlencode({"expires": expires, "signature": signature})
        return f"{str(request.base_url).rstrip('/')}/_storage-parts/{'/'.join(parts)}?{query}"

    def _permitted(self, request: Request, method: str, *parts: str) -> Path:
        """The directory of an upload, if the URL carries the permission."""
        expires = request.query_params.get("expires", "")
        signature = request.query_params.get("signature", "")
        if not self._signer.accepts(signature, "part", method, *parts, expires):
            raise ApiError(403, "PERMISSION_DENIED", "the signature of this URL is wrong")
        if int(expires) < self._files.workspace.clock():
            raise ApiError(403, "PERMISSION_DENIED", "this URL has expired")
        directory = self._directory(parts[0])
        if not directory.is_dir():
            raise ApiError(404, "NOT_FOUND", "this upload has ended")
        return directory
