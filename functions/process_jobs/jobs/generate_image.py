"""Job generate-image: have the provider make the picture, then queue its download, all fenced by the lease.

Payload  start-generation's body, with generation_id and user_id
Result   output_url, format, download_job_id
"""

from uuid import UUID

from functions._shared.bodies import validate
from functions._shared.generation_request import GenerationRequest
from functions._shared.resources import Resources
from functions.process_generation import process_generation
from functions.process_jobs.queue import Job, fenced


async def run(job: Job, resources: Resources) -> None:
    """Adopt the prediction of an earlier attempt, or pay for one; its id is kept before it is waited for."""
    pool, lease = resources.pool, (job.id, job.lease_token)
    generation_id = UUID(job.payload["generation_id"])
    request = validate(GenerationRequest, job.payload)

    async with fenced(), pool.connection() as connection:
        cursor = await connection.execute(
            "select public.begin_generation(%s, %s, %s) as prediction_id", (*lease, generation_id)
        )
        row = await cursor.fetchone()

    async def keep_prediction(prediction_id: str | None) -> None:
        async with fenced(), pool.connection() as connection:
            await connection.execute(
                "select public.record_prediction(%s, %s, %s, %s)",
                (*lease, generation_id, prediction_id),
            )

    result = await process_generation(
        request,
        resources,
        adopt=row["prediction_id"] if row else None,
        on_prediction=keep_prediction,
        timeout_s=resources.settings.job_timeout_ms / 1000,
    )
    async with fenced(), pool.connection() as connection:
        await connection.execute(
            "select public.finish_generate_image(%s, %s, %s, %s, %s, %s, %s)",
            (
                *lease,
                result.output_url,
                result.format,
                result.width,
                result.height,
                result.generation_time_seconds,
            ),
        )
    resources.wake()
