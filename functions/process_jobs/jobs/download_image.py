"""Job download-image: fetch the finished pictures and store them; one commit ends job and generation.

Payload  generation_id, user_id, output_url, output_urls, format, width, height, prompt, negative_prompt, model_id
Result   image_id, public_url, storage_path of the first; image_ids of all
"""

from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic import BaseModel

from functions._shared.database.sqlstates import fenced
from functions._shared.errors import InvalidRequest
from functions._shared.jobs import Job
from functions._shared.pictures.store import fetch_and_store
from functions._shared.resources import Resources
from functions._shared.web.bodies import validate


class Payload(BaseModel):
    """The fields that are read here; finish_download_image reads the rest from the generation."""

    generation_id: UUID
    user_id: UUID
    output_url: str | None = None
    output_urls: list[str] | None = None
    width: int | None = None
    height: int | None = None


async def run(job: Job, resources: Resources) -> None:
    """Idempotent: the upload replaces, and the rows are written in the transaction that ends the job."""
    payload = validate(Payload, job.payload)
    urls = payload.output_urls or [payload.output_url or ""]
    if not all(urls):
        raise InvalidRequest("output_url: Field required")
    images = await fetch_and_store(
        resources.fetcher,
        resources.storage,
        urls,
        user_id=payload.user_id,
        name=str(payload.generation_id),
        width=payload.width,
        height=payload.height,
    )
    async with fenced(), resources.pool.connection() as connection:
        await connection.execute(
            "select picture_edge.finish_download_image(%s, %s, %s)",
            (job.id, job.lease_token, Jsonb(images)),
        )
