"""pg_net's background worker: sends committed HTTP requests concurrently, stores the responses.

At-most-once delivery: a request's row is deleted and committed before the request is sent.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import httpx
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

log = logging.getLogger(__name__)

USER_AGENT = "pg_net/0.20.4"
LONGEST_MS = 600_000
POLL_S = 1.0

SETTINGS = """
select coalesce(nullif(current_setting('pg_net.ttl', true), ''), '6 hours')::interval as ttl,
    coalesce(nullif(current_setting('pg_net.batch_size', true), ''), '200')::int as batch_size
"""
DEQUEUE = "select * from net._take(%s)"
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


@dataclass
class StoredResponse:
    """A row of net._http_response without id and time."""

    status_code: int | None = None
    content_type: str | None = None
    headers: Jsonb | None = None
    content: str | None = None
    timed_out: bool = False
    error_msg: str | None = None


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
        bound = LONGEST_MS / 1000  # an upper bound: each request has its own timeout
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(limits=limits, follow_redirects=True, timeout=bound) as http:
            http.headers.clear()
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


async def send(http: httpx.AsyncClient, request: dict[str, Any]) -> StoredResponse:
    """Send a row of net.http_request_queue and read the whole response; failures become its error_msg."""
    limit_ms = request["timeout_milliseconds"]
    if not 1 <= limit_ms <= LONGEST_MS:
        return StoredResponse(error_msg=f"timeout_milliseconds must be between 1 and {LONGEST_MS}")
    headers = [("Accept", "*/*")]
    for name, value in (request["headers"] or {}).items():
        if value not in (None, ""):
            headers.append((name, value if isinstance(value, str) else str(Jsonb(value).obj)))
    headers.append(("User-Agent", USER_AGENT))
    began = time.monotonic()
    try:
        async with asyncio.timeout(limit_ms / 1000):
            response = await http.request(
                request["method"].upper(), request["url"], headers=headers, content=request["body"]
            )
    except TimeoutError:
        taken_ms = (time.monotonic() - began) * 1000
        text = f"Timeout of {limit_ms} ms reached. Total time: {taken_ms:.6f} ms"
        return StoredResponse(timed_out=True, error_msg=text)
    except httpx.HTTPError as error:
        return StoredResponse(error_msg=_curl_message(error))
    except (httpx.InvalidURL, UnicodeError) as error:
        return StoredResponse(error_msg=str(error))
    first = response.history[0] if response.history else response
    content = response.content.split(b"\0")[0].decode(
        response.encoding or "utf-8", errors="replace"
    )
    return StoredResponse(
        status_code=response.status_code,
        content_type=response.headers.get("content-type"),
        headers=Jsonb(dict(first.headers)),
        content=content or None,
    )


def _curl_message(error: httpx.HTTPError) -> str:
    """The text that libcurl, and so pg_net, gives for this failure."""
    if isinstance(error, httpx.UnsupportedProtocol):
        return "Unsupported protocol"
    if isinstance(error, httpx.ConnectError):
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, socket.gaierror):
                return "Couldn't resolve host name"
            cause = cause.__cause__ or cause.__context__
        return "Couldn't connect to server"
    if isinstance(error, httpx.RemoteProtocolError) and "without sending" in str(error):
        return "Server returned nothing (no headers, no data)"
    if isinstance(error, httpx.RemoteProtocolError) and "incomplete" in str(error):
        return "Transferred a partial file"
    return str(error) or type(error).__name__
