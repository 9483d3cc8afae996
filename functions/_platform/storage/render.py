"""/render/image: an object as a smaller picture. Bounded: threads, waiting requests, source pixels, cache bytes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from psycopg.rows import DictRow
from starlette.requests import Request
from starlette.responses import Response

from functions._platform.storage.access import SERVICE, access_of
from functions._platform.storage.context import storage_of
from functions._platform.storage.download import (
    ATTEMPTS,
    SAFE,
    find_readable,
    header_value,
    not_modified,
    public_object,
    readable_object,
)
from functions._platform.storage.errors import StorageError, no_object, too_large
from functions._platform.storage.keys import bucket_of, key_of
from functions._platform.storage.render_cache import RenderCache
from functions._platform.storage.rows import version_of
from functions._platform.storage.signing import signed_transformation, verified
from functions._platform.storage.staging import staging_folder
from functions._platform.storage.transformations import Transformation, transformation_of
from functions._shared.files.driver import Driver, Missing
from functions._shared.settings import Settings

log = logging.getLogger(__name__)

MAX_SOURCE_BYTES = 25 * 1024 * 1024
MAX_WAITING = 64
"""Pictures that wait for a thread; beyond them requests are answered 429 (load shedding)."""


class Renderer:
    """The threads and the cache."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._threads = ThreadPoolExecutor(settings.image_transformation_concurrency, "render")
        self._slots = asyncio.Semaphore(settings.image_transformation_concurrency)
        self._max_pixels = settings.max_source_pixels
        self._waiting = 0
        self._running: dict[tuple[UUID, str], asyncio.Task[bytes]] = {}
        self._cache = RenderCache(folder / "renders", settings.image_transformation_cache_bytes)
        self._folder = folder

    async def picture(self, driver: Driver, version: UUID, asked: Transformation) -> bytes:
        """Content type, line feed, pixels: from the cache, or made now. Raises StorageError, Missing.

        Single-flight: equal requests at the same time share one transformation (cache stampede).
        """
        found = await asyncio.to_thread(self._cache.find, version, asked)
        if found is not None:
            return found
        key = (version, asked.key)
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._made(driver, version, asked))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(task)

    async def _made(self, driver: Driver, version: UUID, asked: Transformation) -> bytes:
        if self._waiting >= MAX_WAITING:
            raise StorageError(429, "SlowDown", "Too many image requests", http_status=429)
        source = staging_folder(self._folder) / str(uuid4())
        self._waiting += 1
        try:
            async with self._slots:  # before the source is fetched: the disk holds a few at a time
                await _fetch(driver, version, source)
                data, media_type = await asyncio.get_running_loop().run_in_executor(
                    self._threads, transformed, source, asked, self._max_pixels
                )
        finally:
            self._waiting -= 1
            source.unlink(missing_ok=True)
        made = media_type.encode() + b"\n" + data
        try:
            await asyncio.to_thread(self._cache.put, version, asked, made)
        except OSError as error:  # a full disk: the picture is served all the same
            log.warning("a transformed picture is not cached: %s", error.strerror)
        return made

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def transformed(source: Path, asked: Transformation, max_pixels: int) -> tuple[bytes, str]:
    """As ``transform.transformed``, imported with the first picture: Pillow takes 10 ms of a start, and 2 MB."""
    from functions._platform.storage import transform

    return transform.transformed(source, asked, max_pixels)


async def render_public(request: Request) -> Response:
    return await _rendered(request, lambda: public_object(request), dict(request.query_params))


async def render_authenticated(request: Request) -> Response:
    access = await access_of(request)
    asked = dict(request.query_params)
    return await _rendered(request, lambda: readable_object(request, access), asked)


async def render_signed(request: Request) -> Response:
    """The transformation is the token's: a signed URL names one picture, not all of its sizes."""
    storage, bucket, key = storage_of(request), bucket_of(request), key_of(request)
    claims = verified(storage.settings, request, f"{bucket}/{key}", scope="download")
    expires = formatdate(claims["exp"], usegmt=True)
    return await _rendered(
        request,
        lambda: find_readable(storage, SERVICE, bucket, key),
        signed_transformation(claims),
        expires=expires,
    )


async def _rendered(
    request: Request,
    find: Callable[[], Awaitable[DictRow]],
    asked: dict[str, Any],
    *,
    expires: str | None = None,
) -> Response:
    """``find``: as that of ``download.answer``."""
    for _ in range(ATTEMPTS):
        try:
            return await _answer(request, await find(), asked, expires)
        except Missing:
            continue
    raise no_object()


async def _answer(
    request: Request, row: DictRow, asked: dict[str, Any], expires: str | None
) -> Response:
    """Raises StorageError, Missing."""
    storage = storage_of(request)
    wanted = transformation_of(asked, request)
    metadata: dict[str, Any] = row["metadata"] or {}
    version = version_of(row)
    etag = f'"{version.hex}-{wanted.key}"'.replace(" ", "-")
    caching = {"Cache-Control": header_value(metadata.get("cacheControl"), "no-cache")}
    headers = {
        **SAFE,
        "ETag": etag,
        **({"Expires": expires} if expires else caching),
        "Vary": "Accept",
    }
    if not_modified(request, etag, row["updated_at"].timestamp()):
        return Response(status_code=304, headers=headers)
    if int(metadata.get("size") or 0) > MAX_SOURCE_BYTES:
        raise too_large()
    found = await storage.renderer.picture(storage.driver, version, wanted)
    media_type, _, data = found.partition(b"\n")
    return Response(data, media_type=media_type.decode(), headers=headers)


async def _fetch(driver: Driver, version: UUID, to: Path) -> None:
    """The blob in a local file, wherever the driver keeps it. Raises Missing."""
    chunks = await driver.read(version, 0, MAX_SOURCE_BYTES)
    with to.open("wb") as out:
        async for chunk in chunks:
            await asyncio.to_thread(out.write, chunk)
