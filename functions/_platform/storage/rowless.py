"""Degraded mode: while the database cannot serve, the service role's pictures are kept as files without rows.

generate-image is the rollback target and works without the database, so its pictures must be storable then. They lie
where those of the earlier storage lay (``<folder>/<STORAGE_BUCKET>/<key>``), are served from there, and become objects
once the database is back (``earlier_files.py``).
"""

import asyncio
import mimetypes
import os
from pathlib import Path

import psycopg
from psycopg_pool import PoolTimeout
from starlette.responses import FileResponse

from functions._platform.storage.access import SERVICE
from functions._platform.storage.context import Storage
from functions._platform.storage.errors import StorageError, duplicate
from functions._platform.storage.writes import Destination
from functions._shared.database.sqlstates import is_down

CACHE_CONTROL = "public, max-age=3600"
DOWN = (psycopg.Error, PoolTimeout)
"""What a transaction raises where the database cannot serve, among other things: ``is_down`` tells."""


def is_kept_without_row(storage: Storage, to: Destination, error: Exception) -> bool:
    """Whether an upload that failed by ``error`` is kept: a picture of the service role, and no refusal."""
    own = to.bucket == storage.settings.storage_bucket and to.access.role == SERVICE.role
    return own and is_down(error)


async def keep(storage: Storage, to: Destination, arrived: Path) -> None:
    """A complete file, kept whole or not at all. Raises StorageError: 409 where there is one, without upsert."""
    file = storage.folder / to.bucket / to.key
    await asyncio.to_thread(_place, arrived, file, upsert=to.upsert)
    storage.rowless.set()


def response(storage: Storage, bucket: str, key: str, error: Exception) -> FileResponse | None:
    """The file of a key whose row cannot be had, by ``error``; None: there is none, or the bucket is not public."""
    absent = isinstance(error, StorageError) and error.status == 404
    file = storage.folder / bucket / key
    if bucket != storage.settings.storage_bucket or not (absent or is_down(error)):
        return None
    if not file.is_file():
        return None
    media_type = mimetypes.guess_type(key)[0] or "application/octet-stream"
    return FileResponse(file, media_type=media_type, headers={"Cache-Control": CACHE_CONTROL})


def _place(arrived: Path, file: Path, *, upsert: bool) -> None:
    """fsync before the name appears: the provider keeps a paid picture for an hour only."""
    descriptor = os.open(arrived, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    file.parent.mkdir(parents=True, exist_ok=True)
    if upsert:
        arrived.rename(file)
        return
    try:
        os.link(arrived, file)
    except FileExistsError:
        raise duplicate() from None
