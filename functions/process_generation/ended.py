"""Counts what has ended, for /metrics: one look a second at the ledger and at the generations, whatever the load."""

from typing import LiteralString

from functions._shared.database.pool import Pool
from functions._shared.metrics import recording
from functions._shared.metrics.ended import Ended

PREDICTIONS: LiteralString = """
select spend.model, spend.status, (spend.usd - spend.refunded_usd)::float8 as usd
from public.spend
where spend.status <> 'running' and spend.prediction_id = any (
    array(select prediction_id from public.predictions where id = any(%(intents)s) and prediction_id is not null)
    || %(predictions)s::text[]
)
"""
# Known models only: clients of generate-image write the row's model themselves, and it is a label of /metrics.
GENERATIONS: LiteralString = """
select
    (
        select models.replicate_id from public.models
        where generation.model in (models.name, models.replicate_id) order by models.replicate_id limit 1
    ) as model,
    generation.status,
    extract(epoch from coalesce(generation.completed_at, generation.updated_at) - generation.created_at)::float8
        as seconds
from public.image_generations as generation
where generation.id = any(%(generations)s) and generation.status in ('completed', 'failed', 'cancelled')
    -- A prediction that has failed for good ends its generation; one that has succeeded leaves that to its download.
    or generation.status = 'failed' and generation.id = any (array(
        select (job_queue.payload ->> 'generation_id')::uuid
        from public.predictions
        inner join public.job_queue on job_queue.id = predictions.job_id
        where predictions.id = any(%(intents)s) and predictions.status in ('failed', 'canceled')
    ))
"""


async def count_ended(ended: Ended, pool: Pool) -> None:
    """Count what has ended since the last call. Raises psycopg.Error; all is kept for the next call then."""
    if not ended:
        return
    taken = ended.take()  # before the first await: a concurrent call counts none of them again
    named = {
        "generations": [*taken.generations],
        "intents": [*taken.intents],
        "predictions": [*taken.predictions],
    }
    try:
        async with pool.connection() as connection:
            predictions = await (await connection.execute(PREDICTIONS, named)).fetchall()
            generations = await (await connection.execute(GENERATIONS, named)).fetchall()
    except BaseException:  # a cancellation too, as at the end of a scrape
        ended.put_back(taken)
        raise
    for row in predictions:
        recording.prediction_ended(row["model"], row["status"], row["usd"])
    for row in generations:
        recording.generation_ended(row["model"] or "", row["status"], row["seconds"])
