"""A connection that died while it was idle is no database that is down: nothing is decided, or lost, by it."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest

from functions._local.defaults import local_environment
from functions._shared.database.pool import make_pool
from functions._shared.errors import TooManyRequests, Unavailable
from functions._shared.settings import Settings
from functions.generate_image_legacy.quota import counted
from scripts.postgres import free_port
from tests.conftest import Edge
from tests.help import BODY, eventually, until

pytestmark = pytest.mark.slow

IDLE = """
from pg_stat_activity
where application_name like 'picture-edge/%%' and datname = current_database() and state = 'idle' and query like %s
"""


def idle(db, query="%") -> set[int]:
    return {row["pid"] for row in db.execute(f"select pid {IDLE}", (query,))}


def gone(db, pids) -> None:
    until(db, "select count(*) from pg_stat_activity where pid = any(%s)", 0, (list(pids),))


def kill(db, query="%") -> None:
    pids = eventually(lambda: idle(db, query))
    db.execute("select pg_terminate_backend(pid) from unnest(%s::int[]) as pid", (list(pids),))
    gone(db, pids)


@pytest.mark.parametrize("death", ["idle_session_timeout", "pg_terminate_backend"])
def test_it_lets_nobody_past_their_quota(start_edge, db, sandbox, death):
    """With a session timeout of two seconds it went 429, 429, and 200 after four seconds."""
    if death == "idle_session_timeout":
        db.execute(f"alter database {db.info.dbname} set idle_session_timeout = '300ms'")
    edge = start_edge()
    db.execute("select set_user_quota(p_hourly => 0)")
    for _ in range(3):
        answer = edge.post("generate-image", BODY)
        assert (answer.status_code, answer.json()["code"]) == (429, "QUOTA_EXCEEDED")
        if death == "pg_terminate_backend":
            kill(db, "%spend_quota%")
        else:
            gone(db, idle(db, "%spend_quota%"))
    assert not sandbox.state.predictions


def test_it_costs_no_picture_that_is_paid_for(edge: Edge, db, slow):
    row = db.execute(
        "insert into image_generations (user_id, prompt) values (%s, 'x') returning id::text", (edge.user_id,)
    ).fetchone()  # fmt: skip
    with ThreadPoolExecutor(1) as client:
        call = client.submit(edge.post, "generate-image", {**BODY, "generation_id": row["id"]})
        kept = "select 1 from image_generations where replicate_prediction_id is not null"
        eventually(lambda: db.execute(kept).fetchone())
        eventually(lambda: idle(db, "%begin_spend%"))
        kill(db, "%begin_spend%")
        slow()
        assert call.result().status_code == 200
    assert db.execute("select status from image_generations").fetchone() == {"status": "completed"}


def test_it_switches_no_model_on(idle_edge: Edge, db, sandbox):
    """The catalogue alone serves while the database is down; it does not know what the operator has switched off."""
    db.execute("update models set is_active = false")
    kill(db)
    answer = idle_edge.post("start-generation", BODY)
    assert (answer.status_code, answer.json()["error"]) == (
        400, f"Model {BODY['model_id']} is not available: it is switched off",
    )  # fmt: skip


@pytest.fixture
def impatient(monkeypatch):
    """A database that does not answer counts as down after a second."""
    monkeypatch.setattr("functions._shared.database.pool.POOL_WAIT_S", 1)
    monkeypatch.setattr("functions._shared.database.pool.ANSWER_S", 1.0)


@contextmanager
def nothing(db):
    yield


@contextmanager
def locked(db):
    with psycopg.connect(db.info.dsn, password="postgres") as other:
        other.execute("lock table quota_uses in access exclusive mode")
        yield


@contextmanager
def read_only(db):
    db.execute(f"alter database {db.info.dbname} set default_transaction_read_only = on")
    yield


@contextmanager
def refusing(db):
    """As with too many connections: the server is there, and says no."""
    name = db.info.dbname
    with psycopg.connect(
        f"host=127.0.0.1 port={db.info.port} user=postgres password=postgres dbname=postgres",
        autocommit=True,
    ) as admin:
        admin.execute(f"alter database {name} allow_connections false")  # type: ignore[arg-type]
        try:
            yield
        finally:
            admin.execute(f"alter database {name} allow_connections true")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("trouble", "quota", "status"),
    [
        (nothing, None, 200),
        (locked, None, 503),
        (refusing, None, 503),
        (read_only, 10, 503),
        (read_only, None, 200),
    ],
)
def test_one_that_is_there_and_cannot_be_asked_is_no_reason_to_pay(
    impatient, edge: Edge, db, sandbox, trouble, quota, status
):
    """Decided by SQLSTATE: only a server that is away lets everybody through."""
    db.execute("select set_user_quota(p_hourly => %s)", (quota,))
    assert edge.post("generate-image", BODY).status_code == 200
    with trouble(db):
        if trouble is not locked:
            kill(db)
        answer = edge.post("generate-image", BODY)
    assert answer.status_code == status, answer.text
    assert len(sandbox.state.predictions) == 1 + (status == 200)
    if status == 503:
        assert answer.json()["code"] == "UNAVAILABLE"
        assert answer.headers["retry-after"]


def settings(dsn, **given) -> Settings:
    return Settings.from_env(local_environment({"SUPABASE_DB_URL": dsn, **given}))


async def test_a_pool_whose_connections_are_all_in_use_lets_nobody_past(impatient, dsn, db):
    db.execute("select set_user_quota(p_hourly => 1)")
    async with make_pool(settings(dsn, DB_POOL_SIZE="1"), min_size=1) as pool:
        async with pool.connection():
            with pytest.raises(Unavailable):
                async with counted(pool, uuid4()):
                    pass
        user_id = uuid4()
        async with counted(pool, user_id):
            with pytest.raises(TooManyRequests):
                async with counted(pool, user_id):
                    pass


async def test_a_connection_that_dies_on_the_way_is_tried_again(dsn, db, monkeypatch):
    db.execute("select set_user_quota(p_hourly => 0)")
    async with make_pool(settings(dsn, DB_POOL_SIZE="1"), min_size=1) as pool:
        await pool.wait()
        kill(db)
        monkeypatch.setattr("functions._shared.database.pool.is_alive", _always)
        with pytest.raises(TooManyRequests):
            async with counted(pool, uuid4()):
                pass


async def _always(connection: object) -> bool:
    return True


@pytest.mark.parametrize(("trouble", "away"), [(nothing, False), (refusing, False), (None, True)])
async def test_away_is_what_gives_no_answer_at_all(dsn, db, trouble, away):
    if trouble is None:
        dsn = f"postgresql://postgres:postgres@127.0.0.1:{free_port()}/x"
    pool = make_pool(settings(dsn), min_size=0)
    with (trouble or nothing)(db):
        assert await pool.is_away() is away


async def test_all_dead_connections_of_a_pool_are_replaced(dsn, db):
    async with make_pool(settings(dsn, DB_POOL_SIZE="5"), min_size=5) as pool:
        await pool.wait()
        kill(db)
        for _ in range(10):
            async with pool.connection() as connection:
                await connection.execute("select 1")
