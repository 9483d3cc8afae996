"""LISTEN/NOTIFY: a hint starts a job at once; a half-open connection is noticed (heartbeat) and loses no job."""

import asyncio
import select

import psycopg
import pytest
from pydantic import SecretStr

from functions._shared.database.listener import Listener, _read
from scripts.chaos.proxy import Proxy, proxied
from tests.conftest import Database, Edge
from tests.help import eventually, renumbering, start, until, until_logged


@pytest.fixture
def rare(monkeypatch):
    """No polling: only a hint makes the worker claim."""
    for name in ("LOOK_AGAIN_S", "POLL_S", "POLL_UNHINTED_S"):
        monkeypatch.setattr(f"functions.process_jobs.worker.{name}", 3600)


@pytest.fixture
def proxy(dsn):
    with proxied(int(psycopg.conninfo.conninfo_to_dict(dsn)["port"])) as proxy:
        yield proxy


def through(dsn: str, port: int) -> str:
    return psycopg.conninfo.make_conninfo(dsn, port=port)


def hears(edge: Edge) -> bool:
    answer = edge.client.get(f"{edge.url}/ready")
    return answer.json()["notifications"]


def until_hearing(edge: Edge, hearing: bool = True) -> None:
    eventually(lambda: hears(edge) == hearing)


def enqueue(db: Database) -> None:
    db.execute("select enqueue_job('generate-image', '{}', p_max_attempts => 1)")


def until_done(db: Database) -> None:
    until(db, "select count(*) from job_queue where status <> 'failed'", 0)


def test_a_job_of_plain_sql_starts_without_anybody_looking(rare, edge: Edge, db):
    until_hearing(edge)
    enqueue(db)
    until_done(db)


def test_a_start_wakes_the_worker_of_its_process_without_notify(rare, edge: Edge, db):
    until_hearing(edge)
    start(edge)
    until(db, "select count(*) from job_queue where status = 'pending'", 0)


async def test_what_this_process_has_sent_is_not_passed_on(dsn, db: Database, connect):
    heard: asyncio.Queue[str] = asyncio.Queue()
    own = db.info.backend_pid
    listener = Listener(
        SecretStr(dsn), {"hints": heard.put_nowait}, "", known=lambda sent: sent.pid == own
    )
    listening = asyncio.create_task(listener.run())
    assert await heard.get() == "", "connected"
    db.execute("notify hints, 'ours'")
    connect().execute("notify hints, 'theirs'")
    assert await heard.get() == "theirs"
    listening.cancel()


@pytest.mark.parametrize(
    "statement",
    [
        "select resume_queue()",
        "select redrive_job(id) from job_queue",
        "select picture_edge.release_job(id, lease_token) from job_queue",
    ],
)
def test_what_makes_a_job_runnable_again_gives_a_hint_too(rare, edge: Edge, db, statement):
    until_hearing(edge)
    if "resume" in statement:
        db.execute("select pause_queue()")
    future = "now() + interval '1 day'"
    db.execute(f"select enqueue_job('generate-image', '{{}}', 0, 1, {future})")
    if "redrive" in statement:
        db.execute("update job_queue set status = 'cancelled'")
    elif "release" in statement:
        db.execute("update job_queue set status = 'processing', attempt_number = 1")
    else:
        db.execute("update job_queue set scheduled_at = now()")
    db.execute(statement)
    until_done(db)


def test_a_silent_connection_is_given_up_and_what_was_missed_is_claimed(
    rare, start_edge, dsn, db, proxy: Proxy, monkeypatch
):
    monkeypatch.setattr("functions._shared.database.listener.BEAT_S", 0.2)
    monkeypatch.setattr("functions._shared.database.listener.ANSWER_S", 0.3)
    edge = start_edge(SUPABASE_DB_DIRECT_URL=through(dsn, proxy.port))
    until_hearing(edge)
    proxy.silent(True)
    until_hearing(edge, False)
    enqueue(db)
    proxy.silent(False)
    until_done(db)
    until_hearing(edge)


def test_a_cut_connection_is_made_again(rare, start_edge, dsn, db, proxy: Proxy, capsys):
    edge = start_edge(SUPABASE_DB_DIRECT_URL=through(dsn, proxy.port))
    until_hearing(edge)
    proxy.cut()
    until_logged(capsys, "the listening connection is lost")
    until_hearing(edge)
    enqueue(db)
    until_done(db)


def test_statements_too_end_on_a_silent_connection(start_edge, dsn, db, proxy: Proxy, monkeypatch):
    monkeypatch.setattr("functions._shared.database.pool.ANSWER_S", 0.3)
    monkeypatch.setattr("functions._shared.database.pool.POOL_WAIT_S", 1)
    edge = start_edge(SUPABASE_DB_URL=through(dsn, proxy.port), SUPABASE_DB_DIRECT_URL=dsn)
    path = "start-generation/00000000-0000-4000-8000-000000000000"
    assert edge.get(path).status_code == 404
    proxy.silent(True)
    assert edge.get(path).status_code == 503
    proxy.silent(False)
    eventually(lambda: edge.get(path).status_code == 404)


def test_without_a_direct_connection_it_says_so_and_looks_often(start_edge, dsn, db, capsys):
    """A pooler sends its clients other process ids than the server's backends have."""
    with renumbering(int(psycopg.conninfo.conninfo_to_dict(dsn)["port"])) as port:
        edge = start_edge(SUPABASE_DB_DIRECT_URL=through(dsn, port), LOG_LEVEL="INFO")
        until_logged(capsys, "through a pooler")
        assert not hears(edge)
        enqueue(db)
        until_done(db)


def test_a_payload_of_rubbish_holds_back_none_behind_it(rare, edge: Edge, db):
    until_hearing(edge)
    with db.transaction():
        db.execute("select pg_notify('picture_edge_cancelled', 'no uuid')")
        enqueue(db)
    until_done(db)
    assert hears(edge)


async def test_what_libpq_has_read_behind_another_answer_is_passed_on_at_once(dsn, db):
    """The socket is not readable for it: it would wait for the next heartbeat."""
    heard = asyncio.Event()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("listen t")
        connection.add_notify_handler(lambda _: heard.set())
        db.execute("notify t")
        select.select([connection.fileno()], [], [])
        connection.pgconn.consume_input()
        reading = asyncio.create_task(_read(connection, 3600))
        async with asyncio.timeout(10):
            await heard.wait()
        reading.cancel()


async def test_a_storm_of_notifications_is_passed_on_whole(dsn, db):
    heard: list[str] = []
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("listen t")
        all_heard = asyncio.Event()

        def hear(notify: psycopg.Notify) -> None:
            heard.append(notify.payload)
            if len(heard) == 10_000:
                all_heard.set()

        connection.add_notify_handler(hear)
        reading = asyncio.create_task(_read(connection, 3600))
        db.execute(
            "select pg_notify('t', n::text || repeat('x', 100)) from generate_series(1, 10000) as n"
        )
        async with asyncio.timeout(60):
            await all_heard.wait()
        reading.cancel()
    assert len({*heard}) == 10_000
