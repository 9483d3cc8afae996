"""Storage for one machine: the part of /storage/v1 that the edge needs, on the file system.

Bucket  the one of STORAGE_BUCKET, public; only the service role writes
Routes  GET /bucket/<bucket>; POST, PUT /object/<bucket>/<path>; GET, HEAD /object/public/<bucket>/<path>
Errors  as Supabase Storage has them: HTTP 400 nearly always, the real number inside
"""

import asyncio
import os
import re
import tempfile
from pathlib import Path
from uuid import uuid4

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from functions._shared.errors import NotFound
from functions._shared.function_app import function_app
from functions._shared.picture_formats import CONTENT_TYPES
from functions._shared.resources import resources_of

MAX_FILE_BYTES = 50 * 1024 * 1024
CREATED_AT = "2026-01-01T00:00:00Z"
"""It is not made, so any moment will do."""
MAX_NAME_BYTES = (
    200  # of one folder or file: below every file system's limit, with room for a temporary name
)
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
    upsert = request.method == "PUT" or request.headers.get("x-upsert") == "true"
    if file.exists() and not upsert:
        raise StorageError(409, "Duplicate", "The resource already exists")
    data = await _read(request)
    await asyncio.to_thread(_write, file, data)
    key = f"{request.path_params['bucket']}/{request.path_params['path']}"
    return JSONResponse({"Id": str(uuid4()), "Key": key})


async def download(request: Request) -> Response:
    """The bytes, with ETag, length and ranges."""
    file = _locate(request)
    if not file.is_file():
        raise StorageError(404, "not_found", "Object not found")
    return FileResponse(
        file, media_type=BY_SUFFIX.get(file.suffix, "application/octet-stream"), headers=SAFE
    )


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
    """The bucket that the path names, if it is ours. Raises StorageError, NotFound without the local stack."""
    settings = resources_of(request).settings
    if not settings.local_stack:
        raise NotFound("Not found")
    name: str = request.path_params["bucket"]
    if name != settings.storage_bucket:
        raise StorageError(404, "Bucket not found", "Bucket not found")
    return name


def _locate(request: Request) -> Path:
    """The object's file, below the bucket's folder whatever its name tries. Raises StorageError."""
    bucket = _served_bucket(request)
    path: str = request.path_params["path"]
    parts = path.split("/")
    if not KEY.fullmatch(path) or any(
        part in {"", ".", ".."} or len(part) > MAX_NAME_BYTES for part in parts
    ):
        raise StorageError(400, "InvalidKey", f"Invalid key: {path}")
    data_dir = resources_of(request).settings.edge_data_dir
    return data_dir.absolute().joinpath("storage", bucket, path)


async def _read(request: Request) -> bytes:
    """The object's bytes: the file part of a form, as supabase-py sends it, or the plain body."""
    if int(request.headers.get("content-length") or 0) > MAX_FILE_BYTES:
        raise _too_large()
    if request.headers.get("content-type", "").startswith("multipart/"):
        async with request.form(max_files=1) as form:
            for part in form.values():
                if isinstance(part, UploadFile):
                    return await part.read()
        raise StorageError(400, "invalid_request", "The form holds no file")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_FILE_BYTES:
            raise _too_large()
    return bytes(data)


def _too_large() -> StorageError:
    return StorageError(413, "Payload too large", "The object exceeded the maximum allowed size")


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as part:
        part.write(data)
    os.replace(part.name, file)


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
