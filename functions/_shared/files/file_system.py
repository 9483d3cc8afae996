"""The file system driver: the blob of a version is the file ``<folder>/blobs/<two hex digits>/<version>``."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import IO
from uuid import UUID

from functions._shared.files.driver import CHUNK_BYTES, Missing

NOWAIT = getattr(os, "RWF_NOWAIT", 0)
"""Linux: fail instead of waiting for a disk."""


class FileSystem:
    """The staging folder must be on the same file system: a blob appears by an atomic rename."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder.absolute() / "blobs"

    def path(self, version: UUID) -> Path:
        return self._blobs / version.hex[:2] / str(version)

    async def keep(self, staged: Path, version: UUID) -> None:
        await asyncio.to_thread(_rename_durably, staged, self.path(version))

    async def read(self, version: UUID, start: int, end: int) -> AsyncIterator[bytes | memoryview]:
        try:
            # A file object, closed with its last reference: the response may never ask for the first chunk.
            file = await asyncio.to_thread(self.path(version).open, "rb", 0)
        except FileNotFoundError:
            raise Missing from None
        return _chunks(file, start, end)

    async def copy(self, version: UUID, to: UUID) -> None:
        try:
            await asyncio.to_thread(_link, self.path(version), self.path(to))
        except FileNotFoundError:
            raise Missing from None

    async def has(self, version: UUID) -> bool:
        return await asyncio.to_thread(self.path(version).is_file)

    async def remove(self, versions: Iterable[UUID]) -> None:
        await asyncio.to_thread(_unlink, [self.path(version) for version in versions])

    async def every(self) -> AsyncIterator[tuple[UUID, float]]:
        folders = await asyncio.to_thread(lambda: sorted(self._blobs.glob("??")))
        for folder in folders:
            for found in await asyncio.to_thread(_stamped, folder):
                yield found


async def _chunks(file: IO[bytes], start: int, end: int) -> AsyncIterator[memoryview]:
    with file:
        while start < end:
            buffer = bytearray(min(CHUNK_BYTES, end - start))
            size = _read_cached(file, buffer, start)
            if size is None:
                size = await asyncio.to_thread(os.preadv, file.fileno(), [buffer], start)
            if not size:
                return
            start += size
            yield memoryview(buffer)[:size]


def _read_cached(file: IO[bytes], buffer: bytearray, start: int) -> int | None:
    """Bytes read, where the page cache has them (no thread switch, at half the time of a chunk); None: it has not."""
    try:
        return os.preadv(file.fileno(), [buffer], start, NOWAIT) if NOWAIT else None
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EOPNOTSUPP}:
            return None
        raise


def _rename_durably(staged: Path, blob: Path) -> None:
    """fsync before the rename: a row must never commit for bytes that a power failure can still take."""
    descriptor = os.open(staged, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    blob.parent.mkdir(parents=True, exist_ok=True)
    staged.rename(blob)
    _sync_folder(blob.parent)


def _link(blob: Path, copy: Path) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    os.link(blob, copy)  # blobs are immutable: a hard link is a copy
    _sync_folder(copy.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _stamped(folder: Path) -> list[tuple[UUID, float]]:
    found = []
    for entry in os.scandir(folder):
        try:
            # The change time: a hard link is as new as itself, not as the bytes.
            found.append((UUID(entry.name), entry.stat().st_ctime))
        except (ValueError, FileNotFoundError):
            continue
    return found
