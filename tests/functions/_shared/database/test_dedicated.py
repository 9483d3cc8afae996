"""A dedicated connection: statements prepared where no pooler is, replaced after its death; else the pool serves."""

import asyncio
import select

import psycopg
import pytest

from functions._local.defaults import local_environment
from functions._shared.database.dedicated import Dedicated
from functions._shared.database.pool import Pool, make_pool
from functions._shared.settings import Settings
from tests.help import renumbering, until

PREPARED = "select count(*)::int as n from pg_prepared_statements"


@pytest.fixture
async def open_pool(environ):
    pools: list[Pool] = []

    async def begin(**changes: str) -> Pool:
        values = local_environment({**environ, **changes})
        pool = make_pool(Settings.from_env(values), min_size=1)
        await pool.open()
        pools.append(pool)
        return pool

    yield begin
    for pool in pools:
        await pool.close()


async def prepared_and_pid(connections) -> tuple[int, int]:
    async with connections.connection() as connection:
        await connection.execute("select 1")
        cursor = await connection.execute(PREPARED, prepare=False)
        [row] = await cursor.fetchall()
        return row["n"] > 0, connection.info.backend_pid


async def write(connections) -> None:
    async with connections.connection() as connection:
        await connection.execute("create table t ()")


async def test_statements_are_prepared_and_the_connection_is_kept(open_pool):
    pool = await open_pool()
    dedicated = Dedicated(pool)
    first = await prepared_and_pid(dedicated)
    assert first[0]
    assert await prepared_and_pid(dedicated) == first
    assert dedicated.backend_pid == first[1]
    assert not (await prepared_and_pid(pool))[0]


async def test_behind_a_pooler_nothing_is_prepared(open_pool, dsn):
    with renumbering(int(psycopg.conninfo.conninfo_to_dict(dsn)["port"])) as port:
        url = psycopg.conninfo.make_conninfo(dsn, port=port)
        pool = await open_pool(SUPABASE_DB_URL=url)
        dedicated = Dedicated(pool)
        assert not (await prepared_and_pid(dedicated))[0]
        assert dedicated.backend_pid is None, "no NOTIFY comes from an invented process id"


async def test_one_that_died_while_it_was_idle_is_replaced_before_it_is_used(open_pool, db):
    dedicated = Dedicated(await open_pool())
    _, pid = await prepared_and_pid(dedicated)
    db.execute("select pg_terminate_backend(%s)", (pid,))
    until(db, "select count(*) from pg_stat_activity where pid = %s", 0, (pid,))
    assert (await prepared_and_pid(dedicated))[1] != pid


async def test_where_none_can_be_had_the_pool_serves(open_pool, monkeypatch):
    pool = await open_pool()

    async def refused() -> None:
        raise psycopg.OperationalError("too many clients")

    monkeypatch.setattr(pool, "connect", refused)
    assert (await prepared_and_pid(Dedicated(pool)))[1]


async def test_one_that_takes_no_writes_is_given_up(open_pool):
    """A standby, since a failover."""
    dedicated = Dedicated(await open_pool())
    _, pid = await prepared_and_pid(dedicated)
    async with dedicated.connection() as connection:
        await connection.execute("set default_transaction_read_only = on")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await write(dedicated)
    assert (await prepared_and_pid(dedicated))[1] != pid


async def test_it_is_closed_with_the_pool(open_pool, db):
    pool = await open_pool()
    _, pid = await prepared_and_pid(Dedicated(pool))
    await pool.close()
    until(db, "select count(*) from pg_stat_activity where pid = %s", 0, (pid,))


async def test_a_cancelled_statement_ends_on_the_server_and_the_connection_goes_on(open_pool, db):
    dedicated = Dedicated(await open_pool())
    _, pid = await prepared_and_pid(dedicated)

    async def sleep() -> None:
        async with dedicated.connection() as connection:
            await connection.execute("select pg_sleep(60)")

    sleeping = asyncio.create_task(sleep())
    active = "select count(*) from pg_stat_activity where pid = %s and state = 'active'"
    await asyncio.to_thread(until, db, active, 1, (pid,))
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    assert (await prepared_and_pid(dedicated))[1] == pid


async def test_one_that_died_while_it_was_idle_does_not_keep_the_event_loop_busy(open_pool, db):
    """The end of the stream is readable for ever."""
    dedicated = Dedicated(await open_pool())
    async with dedicated.connection() as connection:
        await connection.execute("select 1")
    watched = connection.fileno()
    db.execute("select pg_terminate_backend(%s)", (connection.info.backend_pid,))
    await asyncio.to_thread(select.select, [watched], [], [])
    for _ in range(3):
        await asyncio.sleep(0)
    assert not asyncio.get_running_loop().remove_reader(watched), "it was there no longer"
