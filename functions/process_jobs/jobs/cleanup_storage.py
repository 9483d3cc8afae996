"""Job cleanup-storage: remove the files of deleted pictures; without paths, the janitor's round.

Payload  paths: of the bucket, of images rows that were deleted; or nothing
Result   removed; of a round also rows_without_file
"""

from typing import Any

from pydantic import BaseModel, Field

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
        for start in range(0, len(paths), BATCH):
            await resources.storage.remove(paths[start : start + BATCH])
        return {"removed": len(paths)}
    if "storage" not in resources.settings.serve:
        return {"removed": 0}
    return await sweep(resources.settings, resources.pool)
