"""The routes of /storage/v1: upload, public download, and the bucket's row."""

from pathlib import PurePosixPath
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions._platform.storage.errors import StorageError, on_storage_error
from functions._platform.storage.file_driver import FileDriver, as_storage_errors
from functions._platform.storage.upload import read_upload
from functions._shared.pictures.formats import CONTENT_TYPES
from functions._shared.resources import resources_of
from functions._shared.web.function_app import function_app

MAX_FILE_BYTES = 50 * 1024 * 1024
CREATED_AT = "2026-01-01T00:00:00Z"
"""A constant: no row is kept for the bucket."""
MEDIA_TYPES = {f".{name}": content_type for name, content_type in CONTENT_TYPES.items()}
# Stored XSS: an SVG may hold scripts, which would run with this origin's rights when it is opened by itself.
SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "none",
    "Cache-Control": "public, max-age=3600",
}


async def upload(request: Request) -> Response:
    """Write an object atomically; 409 for an existing one, unless x-upsert or PUT. The service role only."""
    bucket, files = _bucket_of(request)
    key: str = request.path_params["path"]
    files.check_key(key)
    await _service_only(request)
    suffix = PurePosixPath(key).suffix
    if suffix not in MEDIA_TYPES:
        raise StorageError(
            415, "invalid_mime_type", f"mime type of {suffix or 'this name'} is not supported"
        )
    upsert = request.method == "PUT" or request.headers.get("x-upsert") == "true"
    with as_storage_errors(key):
        files.check_free(key, upsert=upsert)
        await files.write(key, await read_upload(request, MAX_FILE_BYTES))
    return JSONResponse({"Id": str(uuid4()), "Key": f"{bucket}/{key}"})


async def download(request: Request) -> Response:
    """An object, for anybody: conditional requests (ETag, 304) and ranges (206)."""
    _, files = _bucket_of(request)
    key: str = request.path_params["path"]
    media_type = MEDIA_TYPES.get(PurePosixPath(key).suffix, "application/octet-stream")
    answer = files.response(key, media_type, SAFE)
    # Weak comparison (RFC 9110, 13.1.2): a proxy that compresses marks the ETag with W/.
    had = request.headers.get("if-none-match", "").replace("W/", "").split(",")
    if answer.headers["etag"] in {tag.strip() for tag in had}:
        return Response(status_code=304, headers={**SAFE, "ETag": answer.headers["etag"]})
    return answer


async def bucket(request: Request) -> Response:
    """The bucket's row, for the service role only."""
    name, _ = _bucket_of(request)
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


def _bucket_of(request: Request) -> tuple[str, FileDriver]:
    """The bucket that the path names, and its objects; there is only STORAGE_BUCKET. Raises StorageError."""
    settings = resources_of(request).settings
    name: str = request.path_params["bucket"]
    if name != settings.storage_bucket:
        raise StorageError(404, "Bucket not found", "Bucket not found")
    return name, FileDriver(settings.edge_data_dir, name)


async def _service_only(request: Request) -> None:
    """Row-level security as Supabase answers it. Raises StorageError; Unauthorized without a valid token."""
    if (await resources_of(request).auth.caller(request)).role != "service_role":
        raise StorageError(403, "Unauthorized", "new row violates row-level security policy")


app = function_app(
    [
        Route("/bucket/{bucket}", bucket, methods=["GET"]),
        Route("/object/public/{bucket}/{path:path}", download, methods=["GET"]),
        Route("/object/{bucket}/{path:path}", upload, methods=["POST", "PUT"]),
    ],
    handlers={StorageError: on_storage_error},
)
