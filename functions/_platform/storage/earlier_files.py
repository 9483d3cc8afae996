"""Files without rows, ``storage/<bucket>/<key>``, become objects: at a start, and after the database was down.

At a start they are those of the earlier storage (migration), later those of ``rowless.py``.
"""

import asyncio
import hashlib
import logging
import mimetypes
import os
from pathlib import Path
from uuid import UUID, uuid4, uuid5

import psycopg
from psycopg_pool import PoolTimeout

from functions._platform.storage.access import SERVICE
from functions._platform.storage.context import Storage
from functions._platform.storage.rows import NewObject, put_object
from functions._platform.storage.staging import object_metadata, staging_folder

log = logging.getLogger(__name__)

RETRY_S = 5.0
NAMESPACE = UUID("6f0dbe9c-1b46-4b0e-9a52-6f1c3c1f0d3e")
CHUNK_BYTES = 1024 * 1024


async def adopt_all(storage: Storage) -> None:
    """Loop: at a start, and whenever a file was kept without a row. A database that is down is tried again."""
    root = storage.folder / storage.settings.storage_bucket
    while True:
        try:
            await _make_bucket(storage)
            storage.rowless.clear()  # before the look: a file that is kept during it asks for another one
            if await asyncio.to_thread(root.is_dir):
                await _adopt(storage, root)
            await storage.rowless.wait()
        except (psycopg.Error, PoolTimeout, OSError) as error:
            log.warning("earlier files are not adopted yet: %s", type(error).__name__)
            await asyncio.sleep(RETRY_S)


async def _make_bucket(storage: Storage) -> None:
    """STORAGE_BUCKET's row: sql/ makes it for the default name alone."""
    async with storage.transaction(SERVICE) as connection:
        await connection.execute(
            "insert into storage.buckets (id, name, public) values (%(name)s, %(name)s, true) on conflict do nothing",
            {"name": storage.settings.storage_bucket},
        )


async def _adopt(storage: Storage, root: Path) -> None:
    """Idempotent, and safe beside another process: the row decides, the old file goes last."""
    files = await asyncio.to_thread(lambda: [file for file in root.rglob("*") if file.is_file()])
    for file in files:
        key = file.relative_to(root).as_posix()
        # The same version at each attempt: a crash between file and row leaves nothing behind.
        version = uuid5(NAMESPACE, f"{root.name}/{key}")
        staged = staging_folder(storage.folder) / str(uuid4())
        try:
            await asyncio.to_thread(os.link, file, staged)
            size, digest = await asyncio.to_thread(_size_and_digest, staged)
            await storage.driver.keep(staged, version)
        except FileNotFoundError:
            continue  # another process was faster
        kind = mimetypes.guess_type(key)[0] or "application/octet-stream"
        metadata = object_metadata(digest, size, kind, "public, max-age=3600")
        try:
            async with storage.transaction(SERVICE) as connection:
                new = NewObject(uuid4(), root.name, key, None, version, metadata)
                await put_object(connection, new, upsert=False)
        except psycopg.errors.UniqueViolation:
            pass
        await asyncio.to_thread(file.unlink, missing_ok=True)
    if files:
        log.info("%d files without rows have them now", len(files))


def _size_and_digest(file: Path) -> tuple[int, str]:
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with file.open("rb") as data:
        while chunk := data.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()
