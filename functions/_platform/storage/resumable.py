"""Resumable uploads (tus 1.0: creation, termination, expiration): a file and its JSON in the staging folder.

The upload's id is base64url of ``<bucket>/<key>/<uuid>``, as upstream; the file's name is the UUID, which begins with a
hash of the owner, so that one user's unfinished uploads can be counted (disk exhaustion).
"""

import asyncio
import base64
import fcntl
import functools
import hashlib
import json
import os
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from functions._platform.storage.access import SERVICE, access_of, subject_of
from functions._platform.storage.context import Storage, storage_of
from functions._platform.storage.errors import StorageError, from_database
from functions._platform.storage.keys import checked_bucket, checked_key
from functions._platform.storage.signing import verified_token
from functions._platform.storage.staging import (
    UPLOAD_S,
    WRITE_BYTES,
    Staged,
    staging_folder,
    user_metadata,
)
from functions._platform.storage.writes import Destination, admit, store
from functions._shared.resources import resources_of

VERSION = {"Tus-Resumable": "1.0.0"}
COMPLETE = {"Tus-Complete": "1"}
EXTENSIONS = "creation,creation-with-upload,expiration,termination"
ALLOWED_HEADERS = (
    "authorization, x-client-info, apikey, content-type, tus-resumable, upload-length, upload-offset, upload-metadata,"
    " x-upsert, x-signature"
)
METADATA = re.compile(r"\s*([A-Za-z0-9_-]+)(?:\s+([A-Za-z0-9+/=]*))?\s*")
MAX_METADATA = 16 * 1024
FINISHED = ".done"
"""The suffix of a finished upload's JSON: a client that lost the last response asks by HEAD whether it is finished."""
MAX_UNFINISHED = 100
"""Unfinished uploads of one owner; together they may declare as many bytes as MAX_LARGEST of the largest size."""
MAX_LARGEST = 20
Handler = Callable[[Request], Awaitable[Response]]


class TusError(StorageError):
    """Answered with its own status and a plain text, as upstream's tus server does."""


@dataclass
class Upload:
    """``path``: the data; of a finished upload its JSON alone, kept until the upload would have expired.

    ``info``: bucket, key, length, owner, upsert, and what the client said of the file.
    """

    path: Path
    info: dict[str, Any]

    @property
    def is_finished(self) -> bool:
        return self.path.suffix == FINISHED

    @property
    def offset(self) -> int:
        return self.info["length"] if self.is_finished else self.offset_of(self.path.stat().st_size)

    def offset_of(self, size: int) -> int:
        """The last byte counts as missing until the object is committed.

        A client that lost the response reads the offset and takes the upload's length for success.
        """
        length: int = self.info["length"]
        return min(size, max(0, length - 1))

    @property
    def expires_at(self) -> float:
        return float(self.path.stat().st_mtime) + float(self.info["expiry_s"])


async def options(request: Request) -> Response:
    """The server's capabilities, and the CORS preflight of a browser: one method asks for both."""
    asked = request.headers.get("access-control-request-headers", ALLOWED_HEADERS)
    headers = {
        **VERSION,
        "Tus-Version": VERSION["Tus-Resumable"],
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(storage_of(request).settings.upload_file_size_limit),
        "Access-Control-Allow-Methods": "POST, HEAD, PATCH, OPTIONS, DELETE",
        "Access-Control-Allow-Headers": asked,
        "Access-Control-Max-Age": "86400",
    }
    return Response(status_code=204, headers=headers)


def in_tus_form(handler: Handler) -> Handler:
    """Errors with their own status and a plain text, as upstream's tus server answers them."""

    @functools.wraps(handler)
    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except TusError:
            raise
        except StorageError as error:
            raise _tus_error(error) from None
        except psycopg.Error as error:
            told = from_database(error)
            if told is None:
                raise
            raise _tus_error(told) from None

    return answered


def _tus_error(error: StorageError) -> TusError:
    return TusError(
        error.status, error.body["error"], str(error), error.body["code"], http_status=error.status
    )


@in_tus_form
async def create(request: Request) -> Response:
    """201 with Location. The right to write is checked here, with each part, and again when the row is written."""
    storage = storage_of(request)
    given = _metadata(request.headers.get("upload-metadata", ""))
    bucket = checked_bucket(given.get("bucketName", ""))
    key = checked_key(given.get("objectName", ""))
    to = await _destination(request, bucket, key)
    length = _number(request, "upload-length")
    mime_type = given.get("contentType") or "application/octet-stream"
    metadata = user_metadata(given.get("metadata", "").encode())
    await admit(storage, to, mime_type, length, metadata)
    await asyncio.to_thread(_check_room, storage, to.owner_id, length)
    age = given.get("cacheControl", "")
    name = UUID(bytes=_owner_bytes(to.owner_id) + uuid4().bytes[4:])
    info = {
        "bucket": bucket,
        "key": key,
        "length": length,
        "owner": to.owner_id,
        "mime_type": mime_type,
        "cache_control": f"max-age={age}" if age.isdigit() else "no-cache",
        "user_metadata": metadata,
        "given": _stringified(given),
        "expiry_s": storage.settings.tus_url_expiry_ms / 1000,
    }
    upload = Upload(_file(storage, name), info)
    upload.path.with_suffix(".json").write_text(json.dumps(info))
    upload.path.touch(exist_ok=False)
    upload_id = base64.urlsafe_b64encode(f"{bucket}/{key}/{name}".encode()).decode().rstrip("=")
    base = f"{resources_of(request).settings.public_base}{request.url.path.rstrip('/')}"
    headers = {**_progress(upload), "Location": f"{base}/{upload_id}"}
    if request.headers.get("content-type") == "application/offset+octet-stream" or length == 0:
        await _append(request, upload, to)
        finished = not upload.path.exists()
        headers["Upload-Offset"] = str(length if finished else upload.offset)
        headers |= COMPLETE if finished else {}
    return Response(status_code=201, headers=headers)


@in_tus_form
async def head(request: Request) -> Response:
    upload = _found(request)
    headers = {
        **_progress(upload),
        "Upload-Length": str(upload.info["length"]),
        "Upload-Metadata": upload.info.get(
            "given", ""
        ),  # absent in an upload begun by an older version
        "Cache-Control": "no-store",
    }
    return Response(status_code=200, headers=headers)


@in_tus_form
async def append(request: Request) -> Response:
    """204 with the new offset; 409 at another offset than the file's (a lost response, resumed by HEAD)."""
    upload = _found(request)
    if request.headers.get("content-type") != "application/offset+octet-stream":
        raise TusError(415, "TusError", "Invalid Content-Type", http_status=415)
    info = upload.info
    to = await _destination(request, info["bucket"], info["key"])
    await admit(storage_of(request), to, info["mime_type"], info["length"], info["user_metadata"])
    expires = formatdate(upload.expires_at, usegmt=True)
    offset = await _append(request, upload, to, _number(request, "upload-offset"))
    headers = {**VERSION, "Upload-Offset": str(offset), "Upload-Expires": expires}
    if offset == info["length"]:
        headers |= COMPLETE
    return Response(status_code=204, headers=headers)


@in_tus_form
async def terminate(request: Request) -> Response:
    upload = _found(request)
    to = await _destination(request, upload.info["bucket"], upload.info["key"])
    if to.access is not SERVICE and to.owner_id != upload.info["owner"]:
        raise TusError(403, "Unauthorized", "Access denied", http_status=403)
    if upload.is_finished:
        text = "Cannot terminate an already completed upload"
        raise TusError(400, "TusError", text, http_status=400)
    _forget(upload)
    return Response(status_code=204, headers=VERSION)


async def on_tus_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, TusError)
    return PlainTextResponse(str(error), error.http_status, {**VERSION, **error.headers})


def _owner_bytes(owner: str | None) -> bytes:
    return hashlib.sha256((owner or "").encode()).digest()[:4]


def _check_room(storage: Storage, owner: str | None, length: int) -> None:
    """Raises TusError: 429 for an owner with too many unfinished uploads. Its expired ones are removed first."""
    begun = 0
    declared = length
    for file in staging_folder(storage.folder).glob(f"tus-{_owner_bytes(owner).hex()}-*.json"):
        try:
            upload = Upload(file.with_suffix(""), json.loads(file.read_text()))
            is_open = time.time() < upload.expires_at
        except (ValueError, FileNotFoundError):
            continue  # being made or ended by another request
        if not is_open:
            _forget(upload)
            continue
        begun += 1
        declared += upload.info["length"]
    if begun >= MAX_UNFINISHED or declared > MAX_LARGEST * storage.settings.upload_file_size_limit:
        raise TusError(429, "SlowDown", "Too many unfinished uploads", http_status=429)


async def _append(request: Request, upload: Upload, to: Destination, offset: int = 0) -> int:
    """The file's new size. What arrived before a lost connection stays, for a resumption."""
    length: int = upload.info["length"]
    if upload.is_finished:
        if offset != length:
            raise TusError(409, "TusError", "Upload-Offset conflict", http_status=409)
        return length
    with upload.path.open("r+b", buffering=0) as out:
        try:
            fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released when the file is closed
        except BlockingIOError:
            raise TusError(423, "TusError", "Resource locked", http_status=423) from None
        if upload.offset_of(os.fstat(out.fileno()).st_size) != offset:
            raise TusError(409, "TusError", "Upload-Offset conflict", http_status=409)
        out.truncate(offset)
        out.seek(offset)
        buffer = bytearray()
        try:
            async with asyncio.timeout(UPLOAD_S):
                async for chunk in request.stream():
                    buffer += chunk
                    if offset + len(buffer) > length:
                        raise TusError(413, "TusError", "Exceeded Upload-Length", http_status=413)
                    if len(buffer) >= WRITE_BYTES:
                        offset += await asyncio.to_thread(_write, out.fileno(), bytes(buffer))
                        buffer.clear()
        except (ClientDisconnect, TimeoutError):
            await asyncio.to_thread(_write, out.fileno(), bytes(buffer))
            raise
        offset += await asyncio.to_thread(_write, out.fileno(), bytes(buffer))
        if offset == length:
            await _finish(request, upload, to)
    return offset


async def _finish(request: Request, upload: Upload, to: Destination) -> None:
    info = upload.info
    digest = await asyncio.to_thread(_digest, upload.path)
    file = Staged(
        upload.path,
        info["mime_type"],
        info["cache_control"],
        info["length"],
        info["user_metadata"],
        digest,
    )
    await store(storage_of(request), to, file)
    with suppress(FileNotFoundError):  # terminated meanwhile
        about = upload.path.with_suffix(".json")
        os.utime(about)
        about.replace(upload.path.with_suffix(FINISHED))


async def _destination(request: Request, bucket: str, key: str) -> Destination:
    if "/upload/resumable/sign" in request.url.path:
        settings = storage_of(request).settings
        token = request.headers.get("x-signature", "")
        claims = verified_token(settings, token, f"{bucket}/{key}", scope="upload")
        owner = claims.get("owner")
        upsert = claims.get("upsert") is True
        return Destination(bucket, key, SERVICE, upsert, owner if isinstance(owner, str) else None)
    access = await access_of(request)
    upsert = request.headers.get("x-upsert") == "true"
    return Destination(bucket, key, access, upsert, subject_of(access))


def _found(request: Request) -> Upload:
    """Raises TusError: 404 for none, and for one that has expired."""
    text = request.path_params["id"]
    try:
        whole = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        named, _, name = whole.rpartition("/")
        path = _file(storage_of(request), UUID(name))
    except ValueError:
        raise _not_found() from None
    for kept, suffix in ((path, ".json"), (path.with_suffix(FINISHED), FINISHED)):
        with suppress(ValueError, FileNotFoundError):
            upload = Upload(kept, json.loads(path.with_suffix(suffix).read_text()))
            its_name = f"{upload.info['bucket']}/{upload.info['key']}"
            if named == its_name and time.time() < upload.expires_at:
                return upload
    raise _not_found()


def _not_found() -> TusError:
    return TusError(404, "TusError", "The file for this url was not found", http_status=404)


def _progress(upload: Upload) -> dict[str, str]:
    expires = formatdate(upload.expires_at, usegmt=True)
    return {**VERSION, "Upload-Offset": str(upload.offset), "Upload-Expires": expires}


def _file(storage: Storage, name: UUID) -> Path:
    return staging_folder(storage.folder) / f"tus-{name}"


def _forget(upload: Upload) -> None:
    upload.path.unlink(missing_ok=True)
    upload.path.with_suffix(".json").unlink(missing_ok=True)


def _number(request: Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not re.fullmatch(r"\d{1,15}", text):
        raise TusError(400, "TusError", f"Invalid {name}", http_status=400)
    return int(text)


def _metadata(header: str) -> dict[str, str]:
    """Upload-Metadata: pairs of a name and base64, divided by commas."""
    found: dict[str, str] = {}
    for pair in header[:MAX_METADATA].split(","):
        match = METADATA.fullmatch(pair)
        try:
            if match:
                found[match[1]] = base64.b64decode(match[2] or "", validate=True).decode()
        except ValueError:
            match = None
        if not match:
            raise TusError(400, "TusError", "Invalid Upload-Metadata header", http_status=400)
    return found


def _stringified(pairs: dict[str, str]) -> str:
    """Upload-Metadata as HEAD repeats it."""
    return ",".join(
        f"{name} {base64.b64encode(text.encode()).decode()}".rstrip()
        for name, text in pairs.items()
    )


def _write(descriptor: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(data)


def _digest(file: Path) -> Any:
    with file.open("rb") as data:
        return hashlib.file_digest(data, lambda: hashlib.md5(usedforsecurity=False))
