"""pg_net's background worker: sends committed HTTP requests concurrently, stores the responses.

At-most-once delivery: a request's row is deleted and committed before the request is sent.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from functions._local.clock.exchange import StoredResponse, new_client, send

log = logging.getLogger(__name__)

POLL_S = 1.0

SETTINGS = """
select coalesce(nullif(current_setting('pg_net.ttl', true), ''), '6 hours')::interval as ttl,
    coalesce(nullif(current_setting('pg_net.batch_size', true), ''), '200')::int as batch_size
"""
# The headers' values are text, as jsonb writes them; JSON null is no header. A poison message (headers that are no
# object) must not fail the statement: it would be dequeued and fail for ever.
DEQUEUE = """
select id, method, url, body, timeout_milliseconds, array(
    select array[key, value] from jsonb_each_text(case when jsonb_typeof(headers) = 'object' then headers end)
    where value is not null
) as headers
from net._take(%s)
"""
STORE_RESPONSE = """
insert into net._http_response (id, status_code, content_type, headers, content, timed_out, error_msg, created)
values (%(id)s, %(status_code)s, %(content_type)s, %(headers)s, %(content)s, %(timed_out)s, %(error_msg)s,
    clock_timestamp() - make_interval(secs => %(seconds)s))
"""
DELETE_EXPIRED = """
delete from net._http_response where ctid = any (array(
    select ctid from net._http_response where created < now() - %s limit %s
))
"""


class Sender:
    """Sends the requests of one database until cancelled; ``woken`` is set when requests were committed.

    Raises psycopg.Error when the connection ``work`` is lost.
    """

    def __init__(
        self,
        work: AsyncConnection[DictRow],
        woken: asyncio.Event,
        new_session: Callable[[], AbstractAsyncContextManager[AsyncConnection[DictRow]]],
    ) -> None:
        self._work = work
        self._woken = woken
        self._new_session = new_session
        self._settings: DictRow | None = None
        self._sending: set[asyncio.Task[None]] = set()

    def reload(self) -> None:
        """Read the settings again before the next batch; requests in flight are not affected."""
        self._settings = None

    async def run(self) -> None:
        async with new_client() as http:
            try:
                while True:
                    self._woken.clear()
                    settings = self._settings or await self._read_settings()
                    slots = max(settings["batch_size"], 1)
                    if slots > len(self._sending):
                        await self._dequeue(http, slots - len(self._sending))
                    await self._work.execute(DELETE_EXPIRED, (settings["ttl"], slots))
                    try:
                        async with asyncio.timeout(POLL_S):
                            await self._woken.wait()
                    except TimeoutError:
                        pass
            finally:
                for task in self._sending:
                    task.cancel()
                await asyncio.gather(*self._sending, return_exceptions=True)

    async def _read_settings(self) -> DictRow:
        async with (
            self._new_session() as session
        ):  # ALTER DATABASE … SET applies to new sessions only
            self._settings = await (await session.execute(SETTINGS)).fetchone()
        assert self._settings
        return self._settings

    async def _dequeue(self, http: httpx.AsyncClient, limit: int) -> None:
        for request in await (await self._work.execute(DEQUEUE, (limit,))).fetchall():
            task = asyncio.create_task(self._send_and_store(http, request))
            self._sending.add(task)
            task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._woken.set()
        if not task.cancelled() and task.exception():
            log.warning("an answer could not be kept: %s", type(task.exception()).__name__)

    async def _send_and_store(self, http: httpx.AsyncClient, request: dict[str, Any]) -> None:
        began = time.monotonic()
        try:
            response_row = await send(http, request)
        except asyncio.CancelledError:
            response_row = StoredResponse(error_msg="The clock was stopped")
        await self._work.execute(
            STORE_RESPONSE,
            {**vars(response_row), "id": request["id"], "seconds": time.monotonic() - began},
        )
