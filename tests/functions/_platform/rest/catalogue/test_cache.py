"""The schema cache follows the database: at the start, on NOTIFY, and after a lost connection."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import psycopg
import pytest

from functions._local.defaults import local_environment
from functions._platform.rest.catalogue import cache as module
from functions._platform.rest.catalogue.cache import NotLoaded, SchemaCache
from functions._platform.rest.catalogue.model import Catalogue, Name
from functions._shared.settings import Settings


@asynccontextmanager
async def cached(**environ: str) -> AsyncIterator[SchemaCache]:
    """Without the settings that say otherwise, of schema public."""
    cache = SchemaCache(Settings.from_env(local_environment(environ)))
    running = asyncio.create_task(cache.run())
    try:
        yield cache
    finally:
        running.cancel()
        await asyncio.wait([running])


@pytest.fixture
def accept(dsn, admin):
    """Whether the database accepts new connections."""
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    return lambda accepts: admin.execute(f"alter database {name} allow_connections {accepts}")


@pytest.fixture
def loads(monkeypatch) -> list[Catalogue]:
    """What was loaded so far."""
    ended: list[Catalogue] = []
    load = module.load

    async def counted(*arguments):
        loaded = await load(*arguments)
        ended.append(loaded)
        return loaded

    monkeypatch.setattr(module, "load", counted)
    return ended


@pytest.fixture(autouse=True)
def short_debounce(monkeypatch):
    monkeypatch.setattr(module, "DEBOUNCE_S", 0.01)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.02)
    monkeypatch.setattr("functions._shared.database.listener.RETRY_S", 0.02)


async def until(look) -> None:
    async with asyncio.timeout(30):
        while not look():  # noqa: ASYNC110 - what is waited for is in the database
            await asyncio.sleep(0.01)


def has(cache: SchemaCache, table: str) -> bool:
    return Name("public", table) in cache.current.tables


async def settled(cache: SchemaCache, loads: list[Catalogue]) -> None:
    """Loaded at the start, and again since it listens."""
    await until(lambda: cache.listener.up and len(loads) >= 2)
    await all_loaded(cache, loads)


async def all_loaded(cache: SchemaCache, loads: list[Catalogue]) -> None:
    await until(lambda: not cache._stale.is_set() and cache._current is loads[-1])


async def test_it_is_loaded_at_the_start(dsn):
    async with cached(SUPABASE_DB_URL=dsn) as cache:
        assert Name("public", "job_queue") in (await cache.first()).tables
        assert cache.current is await cache.first()


async def test_the_login_role_and_database_are_those_of_pgrst_db_uri(dsn):
    nowhere = "postgresql://nobody@127.0.0.1:1/nowhere"
    async with cached(PGRST_DB_URI=dsn, SUPABASE_DB_URL=nowhere) as cache:
        assert Name("public", "job_queue") in (await cache.first()).tables
        await until(lambda: cache.listener.up)


@pytest.mark.parametrize("payload", ["reload schema", "reload config", ""])
async def test_a_notification_reloads_it(dsn, db, loads, payload):
    async with cached(SUPABASE_DB_URL=dsn) as cache:
        await settled(cache, loads)
        before = cache.current
        db.execute("create table one (a int)")
        db.execute(f"notify pgrst, '{payload}'")
        await until(lambda: has(cache, "one"))
        assert Name("public", "one") not in before.tables


async def test_another_payload_does_not(dsn):
    cache = SchemaCache(Settings.from_env(local_environment({"SUPABASE_DB_URL": dsn})))
    cache._stale.clear()
    cache._notified("reload nothing")
    assert not cache._stale.is_set()


async def test_many_notifications_are_two_loads_at_most(dsn, loads, monkeypatch):
    """The first at once, and one for all that come in the time after it."""
    async with cached(SUPABASE_DB_URL=dsn) as cache:
        await settled(cache, loads)

        async def at_once() -> Catalogue:
            loads.append(replace(loads[0]))
            return loads[-1]

        monkeypatch.setattr(module, "DEBOUNCE_S", 0.5)
        monkeypatch.setattr(cache, "_load", at_once)
        begun = len(loads)
        cache._notified("reload schema")
        await until(lambda: len(loads) > begun)
        for _ in range(20):
            cache._notified("reload schema")
            await asyncio.sleep(0.001)
        await all_loaded(cache, loads)
        assert len(loads) <= begun + 2


async def test_a_database_that_is_down_does_not_stop_the_start(dsn, accept, quick):
    accept(False)
    async with cached(SUPABASE_DB_URL=dsn) as cache:
        with pytest.raises(NotLoaded):
            await cache.first()
        with pytest.raises(NotLoaded):
            _ = cache.current
        accept(True)
        await until(lambda: cache._current is not None)
        assert has(cache, "job_queue")


async def test_a_lost_listening_connection_reloads_it(dsn, db, accept, loads, quick):
    async with cached(SUPABASE_DB_URL=dsn) as cache:
        await settled(cache, loads)
        accept(False)
        db.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name = 'picture-edge listener'"
        )
        await until(lambda: not cache.listener.up)
        db.execute("create table one (a int); notify pgrst")
        accept(True)
        await until(lambda: has(cache, "one"))


async def test_the_former_catalogue_stays_while_none_can_be_read(
    dsn, db, loads, quick, monkeypatch, caplog
):
    async with cached(SUPABASE_DB_URL=dsn) as cache:
        await settled(cache, loads)
        before = cache.current
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
            patch.setattr(module, "load", refused)
            db.execute("create table one (a int); notify pgrst")
            await until(lambda: "cannot be loaded" in caplog.text)
            assert cache.current is before
        await until(lambda: has(cache, "one"))
    assert "InsufficientPrivilege (42501)" in caplog.text
    assert "authenticator" not in caplog.text


async def refused(*_: object) -> None:
    raise psycopg.errors.InsufficientPrivilege("authenticator at secret.example")


async def test_an_answer_that_cannot_be_read_is_logged_and_tried_again(
    dsn, quick, monkeypatch, caplog
):
    async with cached(SUPABASE_DB_URL=dsn) as cache:
        with monkeypatch.context() as patch:
            patch.setattr("functions._platform.rest.catalogue.load.from_json", lambda _: {})
            with pytest.raises(NotLoaded):
                await cache.first()
        await until(lambda: cache._current is not None)
    assert "KeyError" in caplog.text
