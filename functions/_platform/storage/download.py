"""Downloads: public, authenticated, signed; conditional requests, ranges, Content-Disposition; info."""

import re
from collections.abc import Awaitable, Callable
from email.utils import formatdate, parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from psycopg.rows import DictRow
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from functions._platform.storage import rowless
from functions._platform.storage.access import SERVICE, access_of, access_or_none
from functions._platform.storage.context import Storage, storage_of
from functions._platform.storage.errors import StorageError, no_bucket, no_object
from functions._platform.storage.keys import bucket_of, key_of
from functions._platform.storage.rows import assume, find_in_bucket, find_object, version_of
from functions._platform.storage.signing import verified
from functions._shared.auth.access import Access
from functions._shared.files.driver import Missing

# Stored XSS: scripts in HTML or SVG would run with the rights of this origin when the file is opened by itself.
SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "none",
}
RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
ATTEMPTS = 5
"""Reads of a row whose file is missing, since concurrent uploads of the same key replace both."""
PLAIN = re.compile(r"[\x20-\x7e]{1,300}")
"""A header's value as it may be sent: no control characters (response splitting)."""


async def public(request: Request) -> Response:
    try:
        return await answer(request, lambda: public_object(request))
    except (StorageError, *rowless.DOWN) as error:
        kept = rowless.response(storage_of(request), bucket_of(request), key_of(request), error)
        if kept:
            kept.headers.update(SAFE)
            return kept
        raise


async def authenticated(request: Request) -> Response:
    access = await access_of(request)
    return await answer(request, lambda: readable_object(request, access))


async def plain(request: Request) -> Response:
    """/object/<bucket>/<key>: as authenticated, and as public without valid credentials."""
    access = await access_or_none(request)
    return await answer(request, lambda: readable_object(request, access))


async def signed(request: Request) -> Response:
    storage, bucket, key = storage_of(request), bucket_of(request), key_of(request)
    claims = verified(storage.settings, request, f"{bucket}/{key}", scope="download")
    expires = formatdate(claims["exp"], usegmt=True)
    return await answer(
        request, lambda: find_readable(storage, SERVICE, bucket, key), expires=expires
    )


async def info(request: Request) -> Response:
    return _info(await readable_object(request, await access_of(request)))


async def plain_info(request: Request) -> Response:
    return _info(await readable_object(request, await access_or_none(request)))


async def public_info(request: Request) -> Response:
    return _info(await public_object(request))


def _info(row: DictRow) -> Response:
    metadata: dict[str, Any] = row["metadata"] or {}
    return JSONResponse(
        {
            "id": str(row["id"]),
            "name": row["name"],
            "version": row["version"],
            "bucket_id": row["bucket_id"],
            "size": metadata.get("size"),
            "content_type": metadata.get("mimetype"),
            "cache_control": metadata.get("cacheControl"),
            "etag": metadata.get("eTag"),
            "metadata": row["user_metadata"] or {},
            "last_modified": row["updated_at"].isoformat(),
            "created_at": row["created_at"].isoformat(),
        }
    )


async def public_object(request: Request) -> DictRow:
    """Of a public bucket, for anybody. Raises StorageError: a private bucket is not found."""
    return await readable_object(request, None)


async def readable_object(request: Request, access: Access | None) -> DictRow:
    """An object of a public bucket, or one that row-level security shows to the caller. Raises StorageError.

    ``access`` None: without credentials, to which a private bucket is not found.
    """
    bucket, key = bucket_of(request), key_of(request)
    async with storage_of(request).transaction(SERVICE) as connection:
        found = await find_in_bucket(connection, bucket, key)
        if found["public"] and found["id"] is None:
            raise no_object()
        if found["public"]:
            return found
        if access is None:
            raise no_bucket()
        await assume(connection, access)
        return await find_object(connection, bucket, key)


async def find_readable(storage: Storage, access: Access, bucket: str, key: str) -> DictRow:
    async with storage.transaction(access) as connection:
        return await find_object(connection, bucket, key)


async def answer(
    request: Request, find: Callable[[], Awaitable[DictRow]], *, expires: str | None = None
) -> Response:
    """The object's bytes: 200, 206, 304 or 416. Raises StorageError where its file is missing.

    ``find`` reads the row, again where an upload has replaced row and file in between.
    """
    for _ in range(ATTEMPTS):
        try:
            return await _answer(request, await find(), expires)
        except Missing:
            continue
    raise no_object()


async def _answer(request: Request, row: DictRow, expires: str | None) -> Response:
    """Raises StorageError, Missing."""
    metadata: dict[str, Any] = row["metadata"] or {}
    size = int(metadata.get("size") or 0)
    etag = str(metadata.get("eTag") or f'"{row["version"]}"')
    modified = formatdate(row["updated_at"].timestamp(), usegmt=True)
    # A signed URL's response must not be cached for longer than the URL is valid.
    caching = {"Cache-Control": header_value(metadata.get("cacheControl"), "no-cache")}
    told = {
        **SAFE,
        "ETag": etag,
        "Last-Modified": modified,
        "Accept-Ranges": "bytes",
        **({"Expires": expires} if expires else caching),
        **_disposition(request),
    }
    if not_modified(request, etag, row["updated_at"].timestamp()):
        return Response(status_code=304, headers=told)
    start, end, status = _range(request, {etag, modified}, size)
    told["Content-Length"] = str(end - start)
    told["Content-Type"] = header_value(metadata.get("mimetype"), "application/octet-stream")
    if status == 206:
        told["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    if request.method == "HEAD":
        return Response(status_code=status, headers=told)
    chunks = await storage_of(request).driver.read(version_of(row), start, end)
    return StreamingResponse(chunks, status, told)


def not_modified(request: Request, etag: str, modified_at: float) -> bool:
    given = request.headers.get("if-none-match")
    if given is not None:
        # Weak comparison (RFC 9110, 13.1.2): a proxy that compresses marks the ETag with W/.
        tags = {tag.strip() for tag in given.replace("W/", "").split(",")}
        return etag in tags or "*" in tags
    since = request.headers.get("if-modified-since")
    if not since:
        return False
    try:
        return int(modified_at) <= parsedate_to_datetime(since).timestamp()
    except (ValueError, TypeError, OverflowError):
        return False


def _range(request: Request, validators: set[str], size: int) -> tuple[int, int, int]:
    """Start, end (exclusive) and status. A malformed range, or several, count as none (RFC 9110, 14.2).

    If-Range demands a strong validator: a W/ tag is none. A Range of any method but GET is ignored.
    """
    found = RANGE.fullmatch(request.headers.get("range", "").strip())
    condition = request.headers.get("if-range")
    is_current = condition is None or condition in validators
    if not found or found[0] == "bytes=-" or not is_current or request.method != "GET":
        return 0, size, 200
    first, last = found[1], found[2]
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= size or end <= start:
        raise StorageError(
            416,
            "invalid_range",
            "invalid range provided",
            "InvalidRange",
            http_status=416,
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, end, 206


def _disposition(request: Request) -> dict[str, str]:
    name = request.query_params.get("download")
    if name is None:
        return {}
    if not name:
        return {"Content-Disposition": "attachment;"}
    encoded = quote(name[:255], safe="!'()*")
    value = f"attachment; filename={encoded}; filename*=UTF-8''{encoded}"
    return {"Content-Disposition": value}


def header_value(value: object, otherwise: str) -> str:
    return value if isinstance(value, str) and PLAIN.fullmatch(value) else otherwise
