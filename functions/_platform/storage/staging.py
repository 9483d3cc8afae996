"""An upload's body → a local file, streamed in bounded memory: plain bytes, or a form with one file (multipart)."""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from functions._platform.storage.answers import now_json
from functions._platform.storage.errors import StorageError, invalid_request, too_large

UPLOAD_S = 600.0
"""Until the whole body has arrived: 50 MiB at 0.7 Mbit/s."""
MAX_FIELD_BYTES = 1024 * 1024
"""Headers and fields of a form besides the file; upstream's limit of the metadata in it."""
MAX_FIELDS = 10
"""As upstream."""
WRITE_BYTES = 256 * 1024
"""Chunks are gathered up to this much before a thread writes them."""
Admit = Callable[["Staged", int | None], Awaitable[int]]
"""Called once the content type is known: file, declared size → the most bytes it may have. Raises StorageError."""
STAGING = ".incoming"
"""The folder of partial uploads, on the same file system as the blobs."""


@dataclass
class Staged:
    """A file that has arrived whole. ``size`` in bytes."""

    path: Path
    mime_type: str = "application/octet-stream"
    cache_control: str = "no-cache"
    size: int = 0
    user_metadata: dict[str, Any] | None = None
    digest: Any = field(default_factory=lambda: hashlib.md5(usedforsecurity=False))

    @property
    def metadata(self) -> dict[str, Any]:
        return object_metadata(
            self.digest.hexdigest(), self.size, self.mime_type, self.cache_control
        )


def object_metadata(digest: str, size: int, mime_type: str, cache_control: str) -> dict[str, Any]:
    """The column storage.objects.metadata, in upstream's shape."""
    return {
        "eTag": f'"{digest}"',
        "size": size,
        "mimetype": mime_type,
        "cacheControl": cache_control,
        "lastModified": now_json(),
        "contentLength": size,
        "httpStatusCode": 200,
    }


def staging_folder(folder: Path) -> Path:
    staging = folder / STAGING
    staging.mkdir(parents=True, exist_ok=True)
    return staging


@asynccontextmanager
async def staged(request: Request, folder: Path, admit: Admit) -> AsyncIterator[Staged]:
    """The body in a file, which is removed at the end of the block unless it was moved away. Raises StorageError."""
    file = Staged(staging_folder(folder) / str(uuid4()))
    try:
        with file.path.open("wb", buffering=0) as out:
            try:
                async with asyncio.timeout(UPLOAD_S):
                    await _receive(request, _Sink(file, out), admit)
            except TimeoutError:
                message = "The object took too long to arrive"
                raise StorageError(408, "RequestTimeout", message) from None
        yield file
    finally:
        file.path.unlink(missing_ok=True)


class _Sink:
    """Gathers small chunks, hashes and writes them in a thread."""

    def __init__(self, file: Staged, out: IO[bytes]) -> None:
        self.file = file
        self._out = out
        self._buffer = bytearray()

    def take(self, chunk: bytes) -> None:
        self.file.size += len(chunk)
        self._buffer += chunk

    def check(self, most: int) -> None:
        """Raises StorageError: too large."""
        if self.file.size > most:
            raise too_large()

    async def flush(self, least: int = 0) -> None:
        if len(self._buffer) > least:
            data, self._buffer = self._buffer, bytearray()
            await asyncio.to_thread(self._write, data)

    def _write(self, data: bytearray) -> None:
        self.file.digest.update(data)
        view = memoryview(data)
        while view:
            view = view[self._out.write(view) :]


async def _receive(request: Request, sink: _Sink, admit: Admit) -> None:
    content_type = request.headers.get("content-type", "")
    declared = request.headers.get("content-length", "")
    size = int(declared) if re.fullmatch(r"[0-9]{1,18}", declared) else None
    if content_type.lower().startswith("multipart/form-data"):
        await _receive_form(request, content_type, sink, admit)
        return
    file = sink.file
    file.mime_type = content_type or file.mime_type
    file.cache_control = request.headers.get("cache-control") or file.cache_control
    file.user_metadata = header_metadata(request)
    most = await admit(file, size)
    async for chunk in request.stream():
        sink.take(chunk)
        sink.check(most)
        await sink.flush(WRITE_BYTES)
    await sink.flush()


async def _receive_form(request: Request, content_type: str, sink: _Sink, admit: Admit) -> None:
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    form = _Form(sink)
    most, received = None, 0
    try:
        parser = MultipartParser(boundary, form.callbacks)  # type: ignore[arg-type]
        async for chunk in request.stream():
            received += len(chunk)
            parser.write(chunk)
            if most is None and form.has_file:
                # No size: the whole form's is not the file's.
                most = await admit(sink.file, None)
            # The whole form too: a parser skips what comes before the first part and after the last.
            if received - sink.file.size > 2 * MAX_FIELD_BYTES:
                raise invalid_request("The form's fields are too long")
            if most is not None:
                sink.check(most)
            await sink.flush(WRITE_BYTES)
        parser.finalize()
    except ValueError as error:  # the parser's own errors
        raise invalid_request(f"The multipart form is malformed: {str(error)[:200]}") from None
    await sink.flush()
    if most is None:
        raise invalid_request("The form holds no file")


class _Form:
    """Callbacks of the parser: the first part with a file name is the object, the others are fields.

    Only fields before the file count, as upstream: the file is streamed once its head is known.
    """

    def __init__(self, sink: _Sink) -> None:
        self._sink = sink
        self.has_file = False
        self.fields: dict[str, bytes] = {}
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = b"", b""
        self._field: str | None = None
        self._length = 0
        self.callbacks = {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
        }

    def _part_begin(self) -> None:
        self._headers = {}

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += self._bounded(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._bounded(data[start:end])

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode(errors="replace")
        # supabase-js names the file's part "", and a Buffer there has no file name.
        if b"filename" in options or name in {"", "file"}:
            if self.has_file:
                raise invalid_request("The form holds more than one file")
            self.has_file, self._field = True, None
            self._describe(self._headers.get(b"content-type", b""))
        else:
            if len(self.fields) == MAX_FIELDS:
                raise invalid_request("The form has too many fields")
            self._field = name
            self.fields[name] = b""

    def _describe(self, content_type: bytes) -> None:
        file = self._sink.file
        given = self.fields.get("contentType") or content_type
        file.mime_type = given.decode("latin-1") or file.mime_type
        age = self.fields.get("cacheControl", b"").decode(errors="replace")
        if age:
            file.cache_control = f"max-age={age}" if age.isdigit() else age
        metadata = self.fields.get("metadata") or self.fields.get("userMetadata")
        file.user_metadata = user_metadata(metadata) if metadata else None

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._sink.take(data[start:end])
        else:
            self.fields[self._field] += self._bounded(data[start:end])

    def _bounded(self, data: bytes) -> bytes:
        self._length += len(data)
        if self._length > MAX_FIELD_BYTES:
            raise invalid_request("The form's fields are too long")
        return data


def header_metadata(request: Request) -> dict[str, Any] | None:
    """Of x-metadata: base64 of a JSON object. Anything else counts as none, as upstream."""
    given = request.headers.get("x-metadata")
    try:
        return user_metadata(base64.b64decode(given)) if given else None
    except ValueError:
        return None


def user_metadata(text: bytes) -> dict[str, Any] | None:
    """A JSON object that PostgreSQL's jsonb can hold: without NUL and lone surrogates; anything else counts as none."""
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and b"\\u0000" not in text else None
