"""/render/image: an object as a smaller picture. Bounded: threads, waiting requests, source pixels, cache bytes."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from psycopg.rows import DictRow
from starlette.requests import Request
from starlette.responses import Response

from functions._platform.storage.access import SERVICE
from functions._platform.storage.context import Storage, storage_of
from functions._platform.storage.download import (
    SAFE,
    find_readable,
    not_modified,
    public_object,
    readable_object,
)
from functions._platform.storage.errors import StorageError, no_object, too_large
from functions._platform.storage.render_cache import RenderCache
from functions._platform.storage.rows import version_of
from functions._platform.storage.signing import verified
from functions._platform.storage.staging import staging_folder
from functions._platform.storage.transform import transformed
from functions._platform.storage.transformations import Transformation, transformation_of
from functions._shared.files.driver import Missing
from functions._shared.settings import Settings

MAX_SOURCE_BYTES = 25 * 1024 * 1024
MAX_WAITING = 64
"""Pictures that wait for a thread; beyond them requests are answered 429 (load shedding)."""


class Renderer:
    """The threads and the cache."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._threads = ThreadPoolExecutor(settings.image_transformation_concurrency, "render")
        self._max_pixels = settings.max_source_pixels
        self._waiting = 0
        self.cache = RenderCache(folder / "renders", settings.image_transformation_cache_bytes)

    async def render(self, source: Path, asked: Transformation) -> tuple[bytes, str]:
        """Raises StorageError."""
        if self._waiting >= MAX_WAITING:
            raise StorageError(429, "SlowDown", "Too many image requests", http_status=429)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, transformed, source, asked, self._max_pixels
            )
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


async def render_public(request: Request) -> Response:
    return await _rendered(request, await public_object(request), dict(request.query_params))


async def render_authenticated(request: Request) -> Response:
    return await _rendered(request, await readable_object(request), dict(request.query_params))


async def render_signed(request: Request) -> Response:
    """The transformation is the token's: a signed URL names one picture, not all of its sizes."""
    storage = storage_of(request)
    bucket, key = request.path_params["bucket"], request.path_params["path"]
    claims = verified(storage.settings, request, f"{bucket}/{key}", scope="download")
    row = await find_readable(storage, SERVICE, bucket, key)
    transform = claims.get("transform")
    return await _rendered(request, row, transform if isinstance(transform, dict) else {})


async def _rendered(request: Request, row: DictRow, asked: dict[str, Any]) -> Response:
    storage = storage_of(request)
    wanted = transformation_of(asked, request)
    metadata: dict[str, Any] = row["metadata"] or {}
    version = version_of(row)
    etag = f'"{version.hex}-{wanted.key}"'.replace(" ", "-")
    headers = {
        **SAFE,
        "ETag": etag,
        "Cache-Control": str(metadata.get("cacheControl") or "no-cache"),
        "Vary": "Accept",
    }
    if not_modified(request, etag, row["updated_at"].timestamp()):
        return Response(status_code=304, headers=headers)
    if int(metadata.get("size") or 0) > MAX_SOURCE_BYTES:
        raise too_large()
    data, media_type = await _picture(storage, version, wanted)
    return Response(data, media_type=media_type, headers=headers)


async def _picture(storage: Storage, version: UUID, asked: Transformation) -> tuple[bytes, str]:
    renderer: Renderer = storage.renderer
    found = await asyncio.to_thread(renderer.cache.find, version, asked)
    if found is None:
        source = staging_folder(storage.folder) / str(uuid4())
        try:
            await _fetch(storage, version, source)
            data, media_type = await renderer.render(source, asked)
        finally:
            source.unlink(missing_ok=True)
        found = media_type.encode() + b"\n" + data
        await asyncio.to_thread(renderer.cache.put, version, asked, found)
    media, _, data = found.partition(b"\n")
    return data, media.decode()


async def _fetch(storage: Storage, version: UUID, to: Path) -> None:
    """The blob in a local file, wherever the driver keeps it."""
    try:
        chunks = await storage.driver.read(version, 0, MAX_SOURCE_BYTES)
    except Missing:
        raise no_object() from None
    with to.open("wb") as out:
        async for chunk in chunks:
            await asyncio.to_thread(out.write, chunk)
