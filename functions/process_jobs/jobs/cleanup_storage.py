"""Job cleanup-storage: remove the files of deleted pictures; without paths, the janitor's round.

Payload  paths: of the bucket, of images rows that were deleted or never written; or nothing
Result   removed; of a round also rows_without_file
"""

from typing import Any

from pydantic import BaseModel, Field

from functions._shared.database.pool import Pool
from functions._shared.files.janitor import sweep
from functions._shared.jobs import Job
from functions._shared.resources import Resources
from functions._shared.web.bodies import validate

BATCH = 500


class Payload(BaseModel):
    paths: list[str] = Field(default_factory=list)


async def run(job: Job, resources: Resources) -> dict[str, Any]:
    """Idempotent: what is gone already is no error."""
    paths = validate(Payload, job.payload).paths
    if paths:
        # A redriven job may have stored a picture at the same path since, and have written its row.
        wanted = await _named_by_rows(resources.pool, paths)
        unwanted = [path for path in paths if path not in wanted]
        for start in range(0, len(unwanted), BATCH):
            await resources.storage.remove(unwanted[start : start + BATCH])
        return {"removed": len(unwanted)}
    if "storage" not in resources.settings.serve:
        return {"removed": 0}
    return await sweep(resources.settings, resources.pool)


async def _named_by_rows(pool: Pool, paths: list[str]) -> set[str]:
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "select storage_path from public.images where storage_path = any (%s)", (paths,)
        )
        return {row["storage_path"] for row in await cursor.fetchall()}
