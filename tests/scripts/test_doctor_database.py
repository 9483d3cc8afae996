"""make doctor's checks of the database and its logins: each is red once for its cause."""

import socket
from collections.abc import Iterator

import pytest

from functions._shared.database.schema import NEWER, OLDER
from functions._shared.database.version import SCHEMA_VERSION
from scripts.doctor.examine import Result
from scripts.doctor.findings import State
from scripts.doctor.report import for_people, redactor
from tests.conftest import Database
from tests.functions.process_jobs.test_schema_version import set_version
from tests.help import renumbering
from tests.scripts.test_doctor import assert_is, found, settings_of

AS_SERVICE = "?options=-c%20role%3Dservice_role"


@pytest.mark.parametrize(
    ("change", "text", "do"),
    [
        (("@127.0.0.1:", "@127.0.0.1:1"), "invalid port", "SUPABASE_DB_URL"),
        (("postgres:postgres", "postgres:wrong-one"), "password authentication failed", "<p"),
        (("/test_", "/no_test_"), "does not exist", "SUPABASE_DB_URL"),
        (("@127.0.0.1:", "@db.invalid:"), "failed to resolve host", "SUPABASE_DB_URL"),
    ],
)
async def test_why_it_does_not_answer_is_said(environ, change, text, do):
    settings = settings_of(environ, SUPABASE_DB_URL=environ["SUPABASE_DB_URL"].replace(*change))
    finding = await found("database", settings)
    assert_is(finding, State.WRONG, text, do)
    assert "wrong-one" not in for_people([Result("database", finding, 0)], redactor(settings))


async def test_a_refused_connection_is_said_once(environ):
    settings = settings_of(environ, SUPABASE_DB_URL="postgresql://x@127.0.0.1:9/none")
    assert_is(await found("database", settings), State.WRONG, "refused", "systemctl start")
    assert_is(await found("sql/", settings), State.NOT_ASKED, "database does not answer")


async def test_a_silent_server_is_wrong_within_a_bound(environ, monkeypatch):
    monkeypatch.setattr("scripts.doctor.deployment.CONNECT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = settings_of(environ, SUPABASE_DB_URL=f"postgresql://x@127.0.0.1:{port}/x")
        assert_is(await found("database", settings), State.WRONG, "does not answer within")


async def test_an_old_server_is_told(environ, monkeypatch):
    monkeypatch.setattr("scripts.doctor.database.OLDEST", 990000)
    assert_is(await found("version", settings_of(environ)), State.WRONG, "newer is needed", "pg_")


async def test_an_encoding_that_cannot_hold_prompts_is_told(environ, db, dsn):
    db.execute("create database ascii_doctor encoding 'SQL_ASCII' template template0 locale 'C'")
    try:
        settings = settings_of(environ, SUPABASE_DB_URL=dsn.rpartition("/")[0] + "/ascii_doctor")
        assert_is(await found("encoding", settings), State.WRONG, "SQL_ASCII", "encoding 'UTF8'")
    finally:
        db.execute("drop database ascii_doctor with (force)")


async def test_a_server_that_takes_no_writes_is_told(environ, db):
    db.execute(f"alter database {db.info.dbname} set default_transaction_read_only = on")
    finding = await found("writes", settings_of(environ))
    assert_is(finding, State.WRONG, "read-only", "target_session_attrs=read-write")


async def test_a_pooler_without_a_way_around_it_is_told(environ, db, dsn):
    with renumbering(db.info.port) as port:
        pooled = dsn.replace(f":{db.info.port}/", f":{port}/")
        settings = settings_of(environ, SUPABASE_DB_URL=pooled)
        assert_is(
            await found("direct connection", settings), State.WARNING, "pooler", "DIRECT_URL="
        )
        both = settings.model_copy(
            update={"supabase_db_direct_url": settings_of(environ).supabase_db_url}
        )
        assert (await found("direct connection", both)).state is State.OK
        twice = both.model_copy(update={"supabase_db_direct_url": settings.supabase_db_url})
        assert_is(await found("direct connection", twice), State.WARNING, "a transaction pooler")


@pytest.mark.parametrize(
    ("version", "state", "text", "do"),
    [
        (None, State.WRONG, OLDER, 'DB="$SUPABASE_DB_URL" make schema'),
        (SCHEMA_VERSION - 1, State.WRONG, OLDER, 'DB="$SUPABASE_DB_URL" make schema'),
        (SCHEMA_VERSION + 1, State.WARNING, NEWER, "git pull"),
    ],
)
async def test_a_pending_upgrade_is_told(environ, db, version, state, text, do):
    set_version(db, version)
    assert_is(await found("sql/", settings_of(environ)), state, text, do)


async def test_without_sql_what_reads_it_is_not_asked(environ, db, dsn):
    db.execute("create database empty_doctor template template0")
    try:
        settings = settings_of(environ, SUPABASE_DB_URL=dsn.rpartition("/")[0] + "/empty_doctor")
        assert (await found("sql/", settings)).state is State.WRONG
        for name in ("rights", "queue", "records of cron", "tick"):
            assert (await found(name, settings)).state is State.NOT_ASKED, name
    finally:
        db.execute("drop database empty_doctor with (force)")


async def test_a_pause_that_holds_jobs_is_told(environ, db):
    db.execute("select enqueue_job('download-image', '{}')")
    db.execute("select pause_queue('download-image')")
    finding = await found("queue", settings_of(environ))
    assert_is(finding, State.WARNING, "1 due, held by pause_queue", "resume_queue")


@pytest.fixture
def login(db: Database, dsn: str) -> Iterator[str]:
    """The address of a login of its own, as the deployment guide makes it, but for the role in its options."""
    db.execute("create role edge_doctor login password 'edge' noinherit in role service_role")
    yield dsn.replace("postgres:postgres@", "edge_doctor:edge@")
    db.execute("drop role edge_doctor")


async def test_a_login_without_its_role_lacks_what_is_named(environ, login):
    settings = settings_of(environ, SUPABASE_DB_URL=login)
    assert_is(await found("rights", settings), State.WRONG, "lacks", "role%3Dservice_role")
    settings = settings_of(environ, SUPABASE_DB_URL=login + AS_SERVICE)
    assert_is(await found("rights", settings), State.OK, "service_role may do")


async def test_row_level_security_that_hides_every_job_is_told(environ, db, login):
    db.execute("revoke service_role from edge_doctor")
    db.execute("alter role edge_doctor inherit")
    db.execute("grant service_role to edge_doctor")
    settings = settings_of(environ, SUPABASE_DB_URL=login)
    assert_is(await found("rights", settings), State.WRONG, "hides the queue", "service_role")


async def test_auth_and_realtime_need_the_owner(environ, login):
    settings = settings_of(environ, SUPABASE_DB_URL=login + AS_SERVICE, SERVE="auth")
    finding = await found("tables of services", settings)
    assert_is(finding, State.WRONG, "service_role may not use auth.", "# as postgres")
    settings = settings_of(environ, SUPABASE_DB_URL=login + AS_SERVICE, SERVE="rest")
    assert (await found("tables of services", settings)).state is State.OK


async def test_the_login_of_rest_has_to_become_the_tokens_roles(environ, login):
    settings = settings_of(environ, SERVE="rest", PGRST_DB_URI=login)
    finding = await found("login of rest", settings)
    assert_is(finding, State.WRONG, "may not become anon, authenticated", "grant anon, authen")


async def test_a_password_of_rest_that_is_wrong_is_told_by_its_setting(environ, login):
    settings = settings_of(environ, SERVE="rest", PGRST_DB_URI=login.replace(":edge@", ":no@"))
    finding = await found("login of rest", settings)
    assert_is(finding, State.WRONG, "PGRST_DB_URI: ", "PGRST_DB_URI=")
