"""The clock process: leader election by advisory lock, then scheduler and sender as needed."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row

from functions._local.clock.exchange import USER_AGENT
from functions._local.clock.install import install
from functions._local.clock.scheduler import Scheduler
from functions._local.clock.sender import Sender
from functions._shared.database.session import is_pooled, settle

log = logging.getLogger(__name__)

LEADER_LOCK = "select pg_advisory_lock(hashtext('picture-edge clock'))"
IS_FREE = "select pg_try_advisory_lock(hashtext('picture-edge clock')) as free"
BOOTED = "select pg_postmaster_start_time() as at"
RETRY_S = 1.0


class BehindPooler(Exception):
    """The clock's lead is a session-level advisory lock: a transaction pooler would keep it when the clock is gone."""

    def __init__(self) -> None:
        super().__init__(
            "the database is reached through a pooler, and the clock needs a direct connection:"
            " set SUPABASE_DB_DIRECT_URL"
        )


async def run_clock(dsn: str, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until cancelled, reconnecting as needed; ``ready`` is called at each election as leader.

    While another clock leads, this one waits for its lock, which PostgreSQL releases with its connection. Raises
    BehindPooler.
    """
    boots: set[datetime] = set()
    told = False

    def leads() -> None:
        nonlocal told
        told = False
        ready()

    while True:
        try:
            await _serve(dsn, leads, boots)
        except* psycopg.Error as errors:
            if not told:  # once an outage, not each second of it
                log.warning("the clock's database is away: %s", type(errors.exceptions[0]).__name__)
            told = True
        task = asyncio.current_task()
        # A database error during cancellation replaces CancelledError in the exception group: raise it again.
        if task and task.cancelling():
            raise asyncio.CancelledError
        await asyncio.sleep(RETRY_S)


async def _serve(dsn: str, ready: Callable[[], None], boots: set[datetime]) -> None:
    """``boots``: the server's starts that this process has led since: reconnecting to one of them is no @reboot."""
    async with AsyncExitStack() as stack:
        control = await stack.enter_async_context(await _connect(dsn, "pg_cron scheduler"))
        if await is_pooled(control):
            raise BehindPooler
        await _lead(control)
        served = await install(control)
        changed, woken = asyncio.Event(), asyncio.Event()
        # LISTEN before the first query, or a change between the two would be missed.
        await control.execute("listen cron")
        await control.execute("listen net")
        async with asyncio.TaskGroup() as group:
            if "cron" in served:
                work = await stack.enter_async_context(await _connect(dsn, "pg_cron"))
                scheduler = Scheduler(dsn, work, changed)
                booted = await (await work.execute(BOOTED)).fetchone()
                assert booted
                await scheduler.start(is_boot=booted["at"] not in boots)
                boots.add(booted["at"])
                group.create_task(scheduler.run())
            sender = None
            if "net" in served:
                work = await stack.enter_async_context(
                    await _connect(dsn, f"{USER_AGENT.replace('/', ' ')}")
                )
                sender = Sender(work, woken, lambda: _new_session(dsn))
                group.create_task(sender.run())
            log.info(
                "the clock serves %s",
                " and ".join(sorted(served)) or "nothing: the extensions are here",
            )
            ready()
            async for notice in control.notifies():
                if sender and notice.payload == "restart":
                    sender.reload()
                (changed if notice.channel == "cron" else woken).set()


async def _lead(control: AsyncConnection[DictRow]) -> None:
    """Leader election: hold the lock, and say so where that has to wait."""
    row = await (await control.execute(IS_FREE)).fetchone()
    if not (row and row["free"]):
        log.info("another clock leads: this one waits for it to end")
        await control.execute(LEADER_LOCK)


@asynccontextmanager
async def _new_session(dsn: str) -> AsyncIterator[AsyncConnection[DictRow]]:
    async with await _connect(dsn, "pg_net settings") as connection:
        yield connection


async def _connect(dsn: str, name: str) -> AsyncConnection[DictRow]:
    connection = await AsyncConnection[DictRow].connect(
        make_conninfo(
            dsn,
            application_name=name,
            connect_timeout=5,
            keepalives_idle=5,
            tcp_user_timeout=10_000,
        ),
        autocommit=True,
        row_factory=dict_row,
        prepare_threshold=None,
        client_encoding="utf-8",
    )
    await settle(connection)
    return connection
