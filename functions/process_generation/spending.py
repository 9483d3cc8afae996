"""The ledger of spend for blocking calls: generate-image and process-generation. The queue's enter it by a trigger."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb
from psycopg_pool import PoolTimeout

from functions._shared.database.pool import Pool

log = logging.getLogger(__name__)

LEDGER_S = 1.0
"""How long a caller waits for a line of the ledger: generate-image works without a database too."""

COUNTS = ("num_outputs", "number_of_images", "max_images")
"""The inputs by which models are asked for several pictures."""


@dataclass(frozen=True, slots=True)
class Payer:
    """For whom a prediction is made, and by which function: ``spend.source``."""

    source: str
    user_id: UUID | None = None
    generation_id: UUID | None = None


async def begin_spend(
    pool: Pool, payer: Payer, prediction_id: str, model: str, given: dict[str, Any]
) -> None:
    """The provider has made a prediction of ``given``, its input. Raises nothing of the database's."""
    # Not the whole input: it may hold a picture, and only these keys say how many are asked for.
    counts = {name: given[name] for name in COUNTS if name in given}
    await _write(
        pool,
        prediction_id,
        "select picture_edge.begin_spend(%s, %s, %s, %s, %s, %s)",
        (prediction_id, model, payer.source, Jsonb(counts), payer.user_id, payer.generation_id),
    )


async def end_spend(pool: Pool, prediction_id: str, status: str, seconds: float) -> None:
    """It has ended: ``succeeded``, or ``failed``, which is refunded. Raises nothing of the database's."""
    await _write(
        pool,
        prediction_id,
        "select picture_edge.end_spend(%s, %s, %s)",
        (prediction_id, status, seconds),
    )


async def _write(
    pool: Pool, prediction_id: str, statement: str, arguments: tuple[object, ...]
) -> None:
    try:
        async with asyncio.timeout(LEDGER_S), pool.connection() as connection:
            await connection.execute(statement.encode(), arguments)
    except (psycopg.Error, PoolTimeout, TimeoutError) as error:
        log.warning("prediction %s is not in the ledger: %s", prediction_id, type(error).__name__)
