"""A database whose sql/ is of another version: told by /ready and the log, no reason to stop while calls succeed."""

import logging

import psycopg
import pytest

from functions._local.defaults import local_environment
from functions._shared.database.pool import make_pool
from functions._shared.database.schema import NEWER, OLDER
from functions._shared.database.version import SCHEMA_VERSION
from functions._shared.settings import Settings
from functions.process_jobs.health import Health
from tests.conftest import Database, Edge
from tests.help import eventually, until


def set_version(db: Database, version: int | None) -> None:
    """What picture_edge.version() answers; None: there is no such function, as in sql/ of before."""
    db.execute("create schema if not exists picture_edge")
    db.execute("drop function if exists picture_edge.version()")
    if version is not None:
        db.execute(
            f"create function picture_edge.version() returns int language sql as 'select {version}'"
        )


def status_of(edge: Edge) -> tuple[int, str]:
    answer = edge.client.get(f"{edge.url}/ready")
    return answer.status_code, answer.json()["status"]


@pytest.mark.parametrize(
    ("version", "word"),
    [(None, OLDER), (SCHEMA_VERSION + 1, NEWER), (SCHEMA_VERSION, "no database")],
)
def test_ready_tells_why_claims_fail_until_they_succeed_again(start_edge, db, version, word):
    set_version(db, version)
    db.execute("alter table job_queue rename to gone")
    edge = start_edge()
    eventually(lambda: status_of(edge) == (503, word))
    db.execute("alter table gone rename to job_queue")
    set_version(db, version or SCHEMA_VERSION)
    eventually(lambda: status_of(edge) == (200, "ready"))


def test_a_worker_on_older_sql_claims_nothing_and_says_so(start_edge, db):
    """Claims would be answered, and each job then failed: the calls that follow are absent."""
    set_version(db, SCHEMA_VERSION - 1)
    db.execute("select enqueue_job('generate-image', '{}')")
    edge = start_edge()
    eventually(lambda: status_of(edge) == (503, OLDER))
    answer = edge.post("process-jobs", {}, edge.service_role_key)
    assert (answer.status_code, answer.json()["error"]) == (503, OLDER)
    assert db.execute("select status from job_queue").fetchone() == {"status": "pending"}
    set_version(db, SCHEMA_VERSION)
    until(db, "select status from job_queue", "failed")
    eventually(lambda: status_of(edge) == (200, "ready"))


def test_newer_sql_alone_stops_no_work(start_edge, db):
    set_version(db, SCHEMA_VERSION + 1)
    edge = start_edge()
    db.execute("select enqueue_job('generate-image', '{}', p_max_attempts => 1)")
    until(db, "select status from job_queue", "failed")
    assert status_of(edge) == (200, "ready")


@pytest.fixture
async def health(environ):
    async with make_pool(Settings.from_env(local_environment(environ)), min_size=1) as pool:
        yield Health(pool)


async def test_it_is_logged_once_at_start_though_claims_are_answered(health, db, caplog):
    set_version(db, SCHEMA_VERSION + 1)
    with caplog.at_level(logging.INFO):
        assert await health.refusal() is None
        assert await health.refusal() is None
    assert [record.getMessage() for record in caplog.records] == [NEWER]
    assert health.trouble is None


async def test_each_change_of_trouble_is_logged_once(health, db, caplog):
    set_version(db, SCHEMA_VERSION)
    health.answered()
    set_version(db, SCHEMA_VERSION + 1)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            await health.failed(psycopg.errors.UndefinedTable("secret"))
        for _ in range(2):
            await health.failed(psycopg.OperationalError("secret"))
        for _ in range(2):
            health.answered()
    assert [record.getMessage() for record in caplog.records] == [
        f"the queue does not answer: UndefinedTable: {NEWER}",
        "the queue does not answer: OperationalError: no database",
        "the queue answers again",
    ]
