"""The object store driver: S3, GCS, Azure and whatever else obstore speaks to; the object is ``blobs/<version>``."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import obstore
from obstore.store import ObjectStore as Store
from obstore.store import from_url

from functions._shared.files.driver import CHUNK_BYTES, Missing

if TYPE_CHECKING:
    from obstore import GetResult


BATCH = 500
PREFIX = "blobs/"


class ObjectStore:
    """Credentials come from the environment (AWS_ACCESS_KEY_ID, …), as the store's other tools read them."""

    def __init__(self, url: str) -> None:
        self._store: Store = from_url(url)

    async def keep(self, staged: Path, version: UUID) -> None:
        """A multipart upload in bounded memory; it becomes visible as a whole."""
        await obstore.put_async(self._store, _path(version), staged)
        await asyncio.to_thread(staged.unlink)

    async def read(self, version: UUID, start: int, end: int) -> AsyncIterator[bytes | memoryview]:
        if start >= end:
            return _nothing()
        try:
            found = await obstore.get_async(
                self._store, _path(version), options={"range": (start, end)}
            )
        except FileNotFoundError:
            raise Missing from None
        return _chunks(found)

    async def copy(self, version: UUID, to: UUID) -> None:
        """By the store itself: no byte passes through here."""
        try:
            await obstore.copy_async(self._store, _path(version), _path(to))
        except FileNotFoundError:
            raise Missing from None

    async def has(self, version: UUID) -> bool:
        try:
            await obstore.head_async(self._store, _path(version))
        except FileNotFoundError:
            return False
        return True

    async def remove(self, versions: Iterable[UUID]) -> None:
        paths = [_path(version) for version in versions]
        for start in range(0, len(paths), BATCH):
            try:
                await obstore.delete_async(self._store, paths[start : start + BATCH])
            except FileNotFoundError:
                continue

    async def every(self) -> AsyncIterator[tuple[UUID, float]]:
        async for batch in obstore.list(self._store, PREFIX, chunk_size=BATCH):
            for entry in batch:
                try:
                    version = UUID(entry["path"].removeprefix(PREFIX))
                except ValueError:
                    continue
                yield version, entry["last_modified"].timestamp()


async def _chunks(found: "GetResult") -> AsyncIterator[bytes | memoryview]:
    async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
        yield bytes(chunk)


async def _nothing() -> AsyncIterator[bytes | memoryview]:
    return
    yield b""


def _path(version: UUID) -> str:
    return f"{PREFIX}{version}"
