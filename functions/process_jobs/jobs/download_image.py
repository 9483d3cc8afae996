"""Job download-image: fetch the finished pictures and store them; one commit ends job and generation.

Payload  generation_id, user_id, output_urls (or output_url), format, width, height, prompt, negative_prompt, model_id;
         stored: place → columns of an images row, kept by an earlier attempt
Result   image_id, public_url, storage_path of the first; image_ids of all

An output that cannot be stored for good, or not by the last attempt, is noted in the generation's adjustments; the job
fails only where nothing can be stored.
"""

import asyncio
import logging
import time
from typing import Any, cast
from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic import BaseModel, Field

from functions._shared.database.sqlstates import fenced
from functions._shared.database.steps import Step
from functions._shared.errors import InvalidRequest, LeaseLost, NotFound
from functions._shared.job_log import log_ended
from functions._shared.jobs import Job
from functions._shared.pictures.store import Stored, remove_stored, store_outputs
from functions._shared.resources import Resources
from functions._shared.web.bodies import validate

log = logging.getLogger(__name__)


class Payload(BaseModel):
    """The fields that are read here; finish_download_image reads the rest from the generation."""

    generation_id: UUID
    user_id: UUID
    output_url: str | None = None
    output_urls: list[str] | None = None
    width: int | None = None
    height: int | None = None
    stored: dict[int, dict[str, Any]] = Field(default_factory=dict)


async def run(job: Job, resources: Resources) -> None:
    """Idempotent: the upload replaces, and the rows are written in the transaction that ends the job."""
    began = time.monotonic()
    payload = validate(Payload, job.payload)
    urls = payload.output_urls or [payload.output_url or ""]
    if not all(urls):
        raise InvalidRequest("output_url: Field required")
    stored = Stored(images=payload.stored)
    try:
        await store_outputs(
            stored,
            resources.fetcher,
            resources.storage,
            urls,
            user_id=payload.user_id,
            name=str(payload.generation_id),
            fallback={"width": payload.width, "height": payload.height},
        )
        if stored.retriable and job.attempt_number < job.max_attempts:
            if stored.images:
                await _keep(job, stored, resources)
            raise stored.retriable
        if stored.images:
            await _finish(job, payload.generation_id, stored, resources)
            resources.ended.generation(payload.generation_id)
            log_ended(job, seconds=time.monotonic() - began)
    except (asyncio.CancelledError, LeaseLost, NotFound):
        await resources.pool.to_the_end(_remove_if_unwanted(job, stored, resources))
        raise
    await remove_stored(resources.storage, stored.leftovers)
    stored.require_any()


async def _keep(job: Job, stored: Stored, resources: Resources) -> None:
    """Keep what is stored for the next attempt, which stores the others only. Raises LeaseLost."""
    async with fenced("keep"), resources.pool.connection() as connection:
        await connection.execute(
            "select picture_edge.keep_stored_images(%s, %s, %s)",
            (job.id, job.lease_token, Jsonb({str(n): row for n, row in stored.images.items()})),
        )


_FINISH = Step(
    call="picture_edge.finish_download_image(given.job_id, given.lease_token, given.images)",
    reads="step as image_id",
    columns={"job_id": "uuid", "lease_token": "bigint", "images": "jsonb"},
)


async def _finish(job: Job, generation_id: UUID, stored: Stored, resources: Resources) -> None:
    """Raises LeaseLost, NotFound."""
    async with fenced("finish"):
        if stored.notes:
            await _finish_with_notes(job, generation_id, stored, resources)
        else:
            await _FINISH.run(resources.pool, job.id, job.lease_token, Jsonb(stored.rows))


async def _finish_with_notes(
    job: Job, generation_id: UUID, stored: Stored, resources: Resources
) -> None:
    async with resources.pool.connection() as connection, connection.transaction():
        await connection.execute(
            "select picture_edge.finish_download_image(%s, %s, %s)",
            (job.id, job.lease_token, Jsonb(stored.rows)),
        )
        await connection.execute(
            "select picture_edge.add_adjustments(%s, %s)", (generation_id, stored.notes)
        )
    for note in stored.notes:
        log.warning("generation %s: %s", generation_id, note)


async def _remove_if_unwanted(job: Job, stored: Stored, resources: Resources) -> None:
    """Remove the uploads of an attempt whose job or generation has been cancelled or deleted meanwhile.

    Not those of a job that another worker, or this one's successor, goes on with: it uploads to the same paths.
    """
    if not stored.paths:
        return
    async with resources.pool.connection() as connection:
        cursor = await connection.execute(
            "select picture_edge.has_unwanted_files(%s) as unwanted", (job.id,)
        )
        unwanted = cast(dict[str, bool], await cursor.fetchone())["unwanted"]
    if unwanted:
        await remove_stored(resources.storage, stored.paths)
