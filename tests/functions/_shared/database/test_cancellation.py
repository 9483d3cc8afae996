"""A cancellation is never lost while a connection of the pool is waited for, whenever it arrives."""

import asyncio

import pytest

from functions._local.defaults import local_environment
from functions._shared.database.pool import make_pool
from functions._shared.settings import Settings


@pytest.mark.parametrize("turns", range(12))
async def test_whoever_waits_for_a_connection_can_be_cancelled(environ, turns):
    """``turns``: of the event loop, between the return of the only connection and the cancellation."""
    pool = make_pool(Settings.from_env(local_environment({**environ, "DB_POOL_SIZE": "1"})), 1)

    async def loop() -> None:
        while True:
            async with pool.connection():
                pass

    async with pool:
        only = await pool.getconn()
        waiting = asyncio.create_task(loop())
        for _ in range(100):  # turns until it waits
            await asyncio.sleep(0)
        assert pool.get_stats()["requests_waiting"] == 1
        await pool.putconn(only)
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting], timeout=1)
        assert waiting.cancelled()
