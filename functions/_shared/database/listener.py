"""LISTEN/NOTIFY: a listening connection with a heartbeat. Notifications are hints: each may be lost.

Heartbeat: a half-open TCP connection looks alive for hours, so a query is sent every few seconds, and the connection is
cut when no answer comes. Subscribers are called after each (re)connect too: notifications sent meanwhile are lost.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping

import psycopg
from psycopg import AsyncConnection, Notify, sql
from pydantic import SecretStr

from functions._shared.database.pool import cut_after
from functions._shared.database.session import is_pooled

log = logging.getLogger(__name__)

BEAT_S = 3.0
ANSWER_S = 2.0
"""How long a heartbeat or a connect may take."""
RETRY_S = 0.5
RETRY_MOST_S = 5.0
"""Reconnects back off exponentially between these two."""

Hint = Callable[[str], None]
"""Called with a notification's payload; with "" after a (re)connect."""


class Pooled(Exception):
    """LISTEN receives nothing through a pooler in transaction mode (PgBouncer, Supavisor): sessions change hands."""


class Listener:
    """``run`` listens until cancelled, or until it finds a pooler. ``up``: whether notifications arrive at present.

    ``without``: what is so without notifications, in words for the log. ``known``: whether a notification tells
    nothing new, as this process has sent it.
    """

    def __init__(
        self,
        address: SecretStr,
        channels: Mapping[str, Hint],
        without: str,
        known: Callable[[Notify], bool] = lambda _: False,
    ) -> None:
        self._address = address
        self._channels = channels
        self._without = without
        self._known = known
        self.up = False

    async def run(self) -> None:
        pause_s = RETRY_S
        while True:
            try:
                await self._listen()
            except Pooled:
                log.warning(
                    "the database is reached through a pooler, which passes no notifications on: %s. "
                    "SUPABASE_DB_DIRECT_URL would bring them",
                    self._without,
                )
                return
            except (psycopg.Error, OSError) as error:
                if self.up:
                    log.warning("the listening connection is lost: %s", type(error).__name__)
                    pause_s = RETRY_S
            finally:
                self.up = False
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - jitter
            pause_s = min(pause_s * 2, RETRY_MOST_S)

    async def _listen(self) -> None:
        connection = await AsyncConnection.connect(
            self._address.get_secret_value(),
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=int(ANSWER_S),
            application_name="picture-edge listener",
        )
        async with connection:
            with cut_after(connection, ANSWER_S):
                await self._begin(connection)
            connection.add_notify_handler(self._pass_on)
            self.up = True
            for hint in self._channels.values():
                hint("")
            while True:
                await _read(connection, BEAT_S)
                with cut_after(connection, ANSWER_S):
                    await connection.execute("select 1")

    def _pass_on(self, notify: Notify) -> None:
        if self._known(notify):
            return
        try:
            self._channels[notify.channel](notify.payload)
        except Exception:
            # Any role may send any payload. Raised, it would hold back those behind it, or end the connection.
            log.exception("a notification of %s cannot be read", notify.channel)

    async def _begin(self, connection: AsyncConnection) -> None:
        if await is_pooled(connection):
            raise Pooled
        for channel in self._channels:
            await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))


async def _read(connection: AsyncConnection, seconds: float) -> None:
    """Pass notifications on for so long, from the event loop's reader callback: no task has to wake up for it.

    Raises psycopg.OperationalError when the connection is lost.
    """
    loop = asyncio.get_running_loop()
    lost: asyncio.Future[None] = loop.create_future()
    pgconn, fileno = connection.pgconn, connection.fileno()

    def pass_on() -> None:
        while notify := pgconn.notifies():
            if pgconn.notify_handler:
                pgconn.notify_handler(notify)

    def readable() -> None:
        try:
            pgconn.consume_input()
        except psycopg.OperationalError as error:
            loop.remove_reader(fileno)
            lost.set_exception(error)
            return
        pass_on()

    pass_on()  # libpq may have read some behind the heartbeat's answer: the socket is not readable for those
    loop.add_reader(fileno, readable)
    try:
        await asyncio.wait([lost], timeout=seconds)
    finally:
        loop.remove_reader(fileno)
    if lost.done():
        lost.result()
