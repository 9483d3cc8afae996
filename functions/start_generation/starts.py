"""Natural batching of starts: requests that come while a round trip is under way share the next one."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from pydantic_core import to_json

from functions._shared.database.batching import Batcher
from functions._shared.database.dedicated import Dedicated
from functions._shared.database.pool import Pool
from functions._shared.database.sqlstates import refused
from functions._shared.web.own_input import addresses_in, each_address

BATCH = 100
"""Calls that one round trip takes at most."""

BATCHED = (
    "select generation_id, job_id from picture_edge.start_generations("
    # A text for all users and one for all requests: of an array each element would be dumped and quoted by itself.
    "string_to_array(%s, ',')::uuid[], array(select jsonb_array_elements(%s::jsonb)))"
)

Start = tuple[UUID, Sequence[dict[str, Any]]]
"""A user and the requests of one call, a request per prompt: all of them are started, or none (atomic)."""
Started = Sequence[dict[str, UUID]]
"""generation_id and job_id per request, in their order."""


class Starts:
    """Starts generations for all requests of the process. ``wake``: called whenever there may be new jobs."""

    def __init__(self, pool: Pool, wake: Callable[[], None]) -> None:
        self._pool = pool
        self._wake = wake
        self._for_batches = Dedicated(pool)
        self._batcher: Batcher[Start, Started] = Batcher(self._write, BATCH)

    @property
    def backend_pid(self) -> int | None:
        """The sender of the batches' NOTIFY: it need not wake the worker of this process, which ``wake`` does."""
        return self._for_batches.backend_pid

    async def start(self, user_id: UUID, requests: Sequence[dict[str, Any]]) -> Started:
        """Start the requests of one call. Raises TooManyRequests where they exceed a quota."""
        if not _pictures_of(requests):
            return await self._batcher.do((user_id, requests))
        # Not batched (head-of-line blocking): other users' starts would wait for a megabyte of picture.
        async with (
            refused(),
            self._pool.connection() as connection,
            _pictures_kept(connection, requests) as kept,
        ):
            cursor = await connection.execute(
                "select generation_id, job_id from picture_edge.start_generations(p_user_ids => %s, p_requests => %s)",
                ([user_id] * len(kept), [Jsonb(request) for request in kept]),
            )
            started = await cursor.fetchall()
        self._wake()
        return started

    async def start_once(
        self, user_id: UUID, requests: Sequence[dict[str, Any]], key: str, request_hash: str
    ) -> Started:
        """Idempotent ``start``: a repetition under the same ``key`` gets the first call's ids, and starts nothing.

        Raises KeyReused where ``request_hash`` is another than the first call's; else as ``start`` does.
        """
        async with (
            refused(),
            self._pool.connection() as connection,
            _pictures_kept(connection, requests) as kept,
        ):
            cursor = await connection.execute(
                "select generation_id, job_id from picture_edge.start_generations_once(%s, %s, %s, %s)",
                (user_id, key, request_hash, [Jsonb(request) for request in kept]),
            )
            started = await cursor.fetchall()
        self._wake()
        return started

    async def _write(self, starts: Sequence[Start]) -> Sequence[Started | Exception]:
        """Write a batch of calls in one statement, with a user and a request per generation."""
        users = ",".join([str(user_id) for user_id, requests in starts for _ in requests])
        document = to_json([request for _, requests in starts for request in requests]).decode()
        try:
            async with refused(), self._for_batches.connection() as connection:
                cursor = await connection.execute(BATCHED, (users, document), binary=True)
                rows = await cursor.fetchall()
        finally:
            self._wake()  # also where no answer came: the jobs may be there
        answers, place = [], 0
        for _, requests in starts:
            answers.append(rows[place : place + len(requests)])
            place += len(requests)
        return answers


def _pictures_of(requests: Sequence[dict[str, Any]]) -> list[str]:
    """The pictures as data: URIs, which all requests of one call share: the source, and those of ``input``."""
    if not requests:
        return []
    addresses = [address for _, address in addresses_in(requests[0].get("input") or {})]
    addresses.insert(0, requests[0].get("source_image_url") or "")
    return [*dict.fromkeys(a for a in addresses if a[:5].casefold() == "data:")]


@asynccontextmanager
async def _pictures_kept(
    connection: AsyncConnection[DictRow], requests: Sequence[dict[str, Any]]
) -> AsyncIterator[Sequence[dict[str, Any]]]:
    """The requests with references in the place of data: URIs, each stored once, in their transaction."""
    pictures = _pictures_of(requests)
    if not pictures:
        yield requests
        return
    async with connection.transaction():
        kept: dict[str, str] = {}
        for picture in sorted(
            pictures
        ):  # in one order everywhere: two calls cannot wait for each other (deadlock)
            cursor = await connection.execute(
                "select picture_edge.keep_source_image(%s) as it", (picture,)
            )
            [row] = await cursor.fetchall()
            kept[picture] = row["it"]
        yield [
            each_address(request, lambda address: kept.get(address, address))
            for request in requests
        ]
