"""Generations written together: requests that come while a round trip is under way share the next one."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from functions._shared.batching import Batcher
from functions._shared.database import Pool, refused

BATCH = 100

Start = tuple[UUID, Sequence[dict[str, Any]]]
"""A user, and the requests of one call: all or none of them."""
Started = Sequence[dict[str, UUID]]
"""generation_id and job_id of each."""


class Starts:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._batcher: Batcher[Start, Started] = Batcher(self._write, BATCH)

    async def start(self, user_id: UUID, requests: Sequence[dict[str, Any]]) -> Started:
        return await self._batcher.do((user_id, requests))

    async def start_once(
        self, user_id: UUID, requests: Sequence[dict[str, Any]], key: str, request_hash: str
    ) -> Started:
        """As ``start``, once for each ``key``: the same request again gets the same ids. Raises KeyReused."""
        async with refused(), self._pool.connection() as connection:
            cursor = await connection.execute(
                "select generation_id, job_id from public.start_generations_once(%s, %s, %s, %s)",
                (user_id, key, request_hash, [Jsonb(request) for request in requests]),
            )
            return await cursor.fetchall()

    async def _write(self, starts: Sequence[Start]) -> Sequence[Started | Exception]:
        async with refused(), self._pool.connection() as connection:
            cursor = await connection.execute(
                "select generation_id, job_id from public.start_generations(%s, %s)",
                (
                    [user_id for user_id, requests in starts for _ in requests],
                    [Jsonb(request) for _, requests in starts for request in requests],
                ),
                binary=True,
            )
            rows = await cursor.fetchall()
        answers, place = [], 0
        for _, requests in starts:
            answers.append(rows[place : place + len(requests)])
            place += len(requests)
        return answers
