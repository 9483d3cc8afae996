"""Periodic work: repeated, at once where there is more, not ended by an error of the database."""

import asyncio

import psycopg

from functions._local.defaults import local_environment
from functions._shared.database.periodic import periodically
from functions._shared.database.pool import make_pool
from functions._shared.settings import Settings
from functions._shared.supervisor import Supervisor


def test_work_is_repeated_and_survives_errors(environ):
    settings = Settings.from_env(local_environment(environ))
    rounds = list[int]()

    async def work(connection: psycopg.AsyncConnection) -> bool:
        await connection.execute("select 1")
        rounds.append(len(rounds))
        if len(rounds) == 2:
            await connection.execute("select 1 from nothing")
        return len(rounds) < 4

    async def seen(count: int) -> None:
        for _ in range(6000):
            if len(rounds) >= count:
                return
            await asyncio.sleep(0.01)
        raise TimeoutError

    async def run() -> None:
        async with make_pool(settings, min_size=0) as pool:
            supervisor = Supervisor()
            async with periodically(supervisor, pool, work, 3600, first_s=0):
                await seen(2)  # the first round told of more
            async with periodically(supervisor, pool, work, 0.001):
                await seen(6)  # the second round, which failed, did not end it
            assert supervisor.trouble is None
            ended = len(rounds)
            await asyncio.sleep(0.02)
            assert len(rounds) == ended

    asyncio.run(run())
