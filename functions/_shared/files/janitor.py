"""The janitor: garbage collection of blobs without a row and of abandoned staged files; counts rows without a blob."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from functions._shared.database.pool import Pool
from functions._shared.files.driver import Driver
from functions._shared.files.open_driver import folder_of, open_driver
from functions._shared.settings import Settings

log = logging.getLogger(__name__)

GRACE_S = 3600.0
"""A younger blob may belong to a transaction that has not committed yet."""
BATCH = 500


async def sweep(settings: Settings, pool: Pool) -> dict[str, Any]:
    """``{removed, rows_without_file}``. Safe beside uploads and beside another sweep."""
    driver = open_driver(settings)
    removed = await _remove_orphans(driver, pool)
    removed += await asyncio.to_thread(
        _remove_stale, folder_of(settings), settings.tus_url_expiry_ms
    )
    lost = await _count_lost(driver, pool)
    if lost:
        log.error("storage.objects has %d rows without a file", lost)
    return {"removed": removed, "rows_without_file": lost}


async def _remove_orphans(driver: Driver, pool: Pool) -> int:
    removed, batch = 0, list[UUID]()
    oldest = time.time() - GRACE_S
    async for version, made_at in driver.every():
        if made_at < oldest:
            batch.append(version)
        if len(batch) == BATCH:
            removed += await _remove_unknown(driver, pool, batch)
            batch = []
    return removed + await _remove_unknown(driver, pool, batch)


async def _remove_unknown(driver: Driver, pool: Pool, versions: list[UUID]) -> int:
    async with _all_rows(pool) as connection:
        found = await connection.execute(
            "select version from storage.objects where version = any (%s)",
            ([str(version) for version in versions],),
        )
        known = {row["version"] for row in await found.fetchall()}
    orphans = [version for version in versions if str(version) not in known]
    await driver.remove(orphans)
    return len(orphans)


@asynccontextmanager
async def _all_rows(pool: Pool) -> AsyncIterator[AsyncConnection[DictRow]]:
    """A transaction that fails where policies would hide rows: a blob of a hidden row must not count as an orphan."""
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("set local row_security = off")
        yield connection


async def _count_lost(driver: Driver, pool: Pool) -> int:
    """Keyset pagination: a table of any size in bounded memory."""
    lost, after = 0, UUID(int=0)
    while True:
        async with _all_rows(pool) as connection:
            found = await connection.execute(
                "select id, version from storage.objects where id > %s order by id limit %s",
                (after, BATCH),
            )
            rows = await found.fetchall()
        for row in rows:
            lost += not await _has(driver, row["version"])
            after = row["id"]
        if len(rows) < BATCH:
            return lost


async def _has(driver: Driver, version: str | None) -> bool:
    try:
        return await driver.has(UUID(version or ""))
    except ValueError:
        return False


def _remove_stale(folder: Path, expiry_ms: int) -> int:
    """Staged files of a process that was killed, and of resumable uploads that have expired."""
    oldest = time.time() - max(GRACE_S, expiry_ms / 1000)
    removed = 0
    for file in (folder / ".incoming").glob("*"):
        # The JSON of a resumable upload is as old as its data: chunks touch the data alone.
        data = file.with_suffix("") if file.suffix == ".json" else file
        try:
            stale = data.stat().st_mtime < oldest
        except FileNotFoundError:
            stale = file.stat().st_mtime < oldest if file.exists() else False
        if stale and file.suffix == ".json":
            file.unlink(missing_ok=True)
            data.unlink(missing_ok=True)
            removed += 1
        elif stale and not file.with_suffix(".json").exists():
            file.unlink(missing_ok=True)
            removed += 1
    return removed
