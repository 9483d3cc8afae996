"""Storage for one machine: the part of /storage/v1 that the edge needs, on the file system.

Bucket  the one of STORAGE_BUCKET, public; only the service role writes
Routes  GET /bucket/<bucket>; POST, PUT /object/<bucket>/<path>; GET, HEAD /object/public/<bucket>/<path>
Errors  as Supabase Storage has them: HTTP 400 nearly always, the real number inside
"""

import asyncio
import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive

from functions._shared.pictures.formats import CONTENT_TYPES
from functions._shared.resources import resources_of
from functions._shared.web.function_app import function_app

MAX_FILE_BYTES = 50 * 1024 * 1024
"""Of a whole body, a form's other parts with it."""
UPLOAD_S = 600.0
"""What a whole body may take to arrive: the limit's size at 0.7 Mbit/s."""
CREATED_AT = "2026-01-01T00:00:00Z"
"""It is not made, so any moment will do."""
MAX_KEY_BYTES = 1024
"""As S3 has it, and with any data folder below what a system call takes (PATH_MAX, 4096)."""
MAX_NAME_BYTES = 200
"""Of one folder or file: below every file system's limit."""
INCOMING = ".incoming"
"""The folder beside the bucket's for what is not whole yet; no address leads there."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
NO_PLACE = frozenset({errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG})
"""A key that goes on below a file, or ends at a folder."""
KEY = re.compile(r"[A-Za-z0-9_/!.*'() &$=@;:+,?-]+")
BY_SUFFIX = {f".{name}": content_type for name, content_type in CONTENT_TYPES.items()}
# A picture opened by itself must not become a page of this origin: an SVG may hold scripts.
SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "none",
    "Cache-Control": "public, max-age=3600",
}


class StorageError(Exception):
    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.body = {"statusCode": str(status), "error": error, "message": message}


async def upload(request: Request) -> Response:
    """Write an object, whole or not at all. 409 for one that exists, unless x-upsert or PUT."""
    file = _locate(request)
    await _service_only(request)
    if file.suffix not in BY_SUFFIX:
        raise StorageError(
            415, "invalid_mime_type", f"mime type of {file.suffix or 'this name'} is not supported"
        )
    path: str = request.path_params["path"]
    upsert = request.method == "PUT" or request.headers.get("x-upsert") == "true"
    with _told(path):
        if file.is_dir():
            raise _invalid_key(path)
        if file.exists() and not upsert:
            raise StorageError(409, "Duplicate", "The resource already exists")
        data = await _read(request)
        await asyncio.to_thread(_write, file, data, _root(request) / INCOMING)
    return JSONResponse({"Id": str(uuid4()), "Key": f"{request.path_params['bucket']}/{path}"})


async def download(request: Request) -> Response:
    """The bytes, with ETag, length and ranges; 304 for a client that has them."""
    file = _locate(request)
    if not file.is_file():
        raise StorageError(404, "not_found", "Object not found")
    media_type = BY_SUFFIX.get(file.suffix, "application/octet-stream")
    answer = FileResponse(file, media_type=media_type, headers=SAFE, stat_result=file.stat())
    # Compared without the W/ that a proxy which compresses puts before it (RFC 9110, 13.1.2).
    had = request.headers.get("if-none-match", "").replace("W/", "").split(",")
    if answer.headers["etag"] in {tag.strip() for tag in had}:
        return Response(status_code=304, headers={**SAFE, "ETag": answer.headers["etag"]})
    return answer


async def bucket(request: Request) -> Response:
    """The row of the one bucket there is, for the service role."""
    name = _served_bucket(request)
    await _service_only(request)
    return JSONResponse(
        {
            "id": name,
            "name": name,
            "owner": "",
            "public": True,
            "file_size_limit": MAX_FILE_BYTES,
            "allowed_mime_types": list(CONTENT_TYPES.values()),
            "created_at": CREATED_AT,
            "updated_at": CREATED_AT,
        }
    )


async def _service_only(request: Request) -> None:
    if (await resources_of(request).auth.caller(request)).role != "service_role":
        raise StorageError(403, "Unauthorized", "new row violates row-level security policy")


def _served_bucket(request: Request) -> str:
    """The bucket that the path names, if it is ours. Raises StorageError."""
    settings = resources_of(request).settings
    name: str = request.path_params["bucket"]
    if name != settings.storage_bucket:
        raise StorageError(404, "Bucket not found", "Bucket not found")
    return name


def _locate(request: Request) -> Path:
    """The object's file, below the bucket's folder whatever its name tries. Raises StorageError."""
    bucket = _served_bucket(request)
    path: str = request.path_params["path"]
    if (
        len(path) > MAX_KEY_BYTES
        or not KEY.fullmatch(path)
        or any(part in {"", ".", ".."} or len(part) > MAX_NAME_BYTES for part in path.split("/"))
    ):
        raise _invalid_key(path)
    return _root(request) / bucket / path


def _root(request: Request) -> Path:
    return resources_of(request).settings.edge_data_dir.absolute() / "storage"


def _invalid_key(path: str) -> StorageError:
    return StorageError(400, "InvalidKey", f"Invalid key: {path[:MAX_NAME_BYTES]}")


@contextmanager
def _told(path: str) -> Iterator[None]:
    """What the file system says against an upload to ``path``, as a StorageError; a fault of ours stays one."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageError(
                507, "InsufficientStorage", "There is no room for the object"
            ) from None
        if error.errno in NO_PLACE:
            raise _invalid_key(path) from None
        raise


async def _read(request: Request) -> bytes:
    """The object's bytes: the file part of a form, as supabase-py sends it, or the plain body. Raises StorageError."""
    if int(request.headers.get("content-length") or 0) > MAX_FILE_BYTES:
        raise _too_large()
    bounded = Request(request.scope, _bounded(request))
    try:
        async with asyncio.timeout(UPLOAD_S):
            if not request.headers.get("content-type", "").startswith("multipart/"):
                return await bounded.body()
            async with bounded.form(max_files=1) as form:
                for part in form.values():
                    if isinstance(part, UploadFile):
                        return await part.read()
    except TimeoutError:
        raise StorageError(408, "RequestTimeout", "The object took too long to arrive") from None
    except HTTPException as error:  # Starlette's, for what is no form
        raise StorageError(400, "invalid_request", error.detail) from None
    raise StorageError(400, "invalid_request", "The form holds no file")


def _bounded(request: Request) -> Receive:
    """``request``'s messages until they hold more than an object may have, however the body is framed."""
    came = 0

    async def receive() -> Message:
        nonlocal came
        message = await request.receive()
        came += len(message.get("body", b""))
        if came > MAX_FILE_BYTES:
            raise _too_large()
        return message

    return receive


def _too_large() -> StorageError:
    return StorageError(413, "Payload too large", "The object exceeded the maximum allowed size")


def _write(file: Path, data: bytes, incoming: Path) -> None:
    """Put ``data`` at ``file`` in one step; what fails leaves nothing behind. Raises OSError."""
    incoming.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=incoming, delete=False) as part:
        try:
            part.write(data)
            part.close()
            file.parent.mkdir(parents=True, exist_ok=True)
            os.replace(part.name, file)
        finally:
            Path(part.name).unlink(missing_ok=True)


async def on_storage_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StorageError)
    return JSONResponse(error.body, status_code=400)


app = function_app(
    [
        Route("/bucket/{bucket}", bucket, methods=["GET"]),
        Route("/object/public/{bucket}/{path:path}", download, methods=["GET"]),
        Route("/object/{bucket}/{path:path}", upload, methods=["POST", "PUT"]),
    ],
    handlers={StorageError: on_storage_error},
)
