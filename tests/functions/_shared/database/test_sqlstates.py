"""The table of SQLSTATEs, against errors that PostgreSQL itself raises."""

from functools import partial

import psycopg
import pytest
from psycopg import AsyncConnection

from functions._local.defaults import local_environment
from functions._shared.database.pool import make_pool
from functions._shared.database.sqlstates import (
    Scope,
    fenced,
    is_down,
    is_lost,
    lacks_function,
    refused,
    scope_of,
)
from functions._shared.errors import Conflict, KeyReused, LeaseLost, NotFound
from functions._shared.settings import Settings
from scripts.postgres import free_port

BODY = {"prompt": "a cat", "model_id": "black-forest-labs/flux-schnell"}


def raised(db, sqlstate: str) -> psycopg.Error:
    with pytest.raises(psycopg.Error) as error:
        db.execute(f"do $$ begin raise sqlstate '{sqlstate}' using message = 'told'; end $$")
    return error.value


@pytest.mark.parametrize(
    ("sqlstate", "scope"),
    [
        ("PT404", Scope.STATEMENT),
        ("22P02", Scope.STATEMENT),
        ("23505", Scope.STATEMENT),
        ("54000", Scope.STATEMENT),
        ("XX000", Scope.STATEMENT),
        ("25001", Scope.STATEMENT),
        ("08006", Scope.SESSION),
        ("25P03", Scope.SESSION),
        ("57P01", Scope.SESSION),
        ("57P05", Scope.SESSION),
        ("42P01", Scope.SCHEMA),
        ("42883", Scope.SCHEMA),
        ("3F000", Scope.SCHEMA),
        ("3D000", Scope.SCHEMA),
        ("25006", Scope.DATABASE),
        ("40P01", Scope.DATABASE),
        ("53300", Scope.DATABASE),
        ("55P03", Scope.DATABASE),
        ("57014", Scope.DATABASE),
        ("57P03", Scope.AWAY),
    ],
)
def test_each_sqlstate_has_a_scope(db, sqlstate, scope):
    error = raised(db, sqlstate)
    assert scope_of(error) is scope
    assert is_down(error) is (scope in {Scope.SESSION, Scope.DATABASE, Scope.AWAY})
    assert is_lost(error) is (scope in {Scope.SESSION, Scope.AWAY})


@pytest.mark.parametrize("call", ["select no_such_function()", "select no_schema.no_function()"])
def test_older_sql_lacks_a_function(db, call):
    with pytest.raises(psycopg.Error) as error:
        db.execute(call)
    assert lacks_function(error.value)


def test_what_lacks_no_function(db):
    assert not lacks_function(raised(db, "42501"))


async def test_a_connection_that_the_server_drops_is_the_sessions(dsn):
    async with await AsyncConnection.connect(dsn, autocommit=True) as connection:
        with pytest.raises(psycopg.OperationalError) as error:
            await connection.execute("select pg_terminate_backend(pg_backend_pid())")
        assert scope_of(error.value) is Scope.SESSION
        with pytest.raises(psycopg.OperationalError) as error:
            await connection.execute("select 1")
        assert (error.value.sqlstate, scope_of(error.value)) == (None, Scope.SESSION)


async def test_a_pool_without_a_server_is_away():
    dsn = f"postgresql://postgres:postgres@127.0.0.1:{free_port()}/x"
    settings = Settings.from_env(local_environment({"SUPABASE_DB_URL": dsn}))
    async with make_pool(settings, min_size=0) as pool:
        with pytest.raises(psycopg.Error) as error:
            async with pool.connection(timeout=0.05):
                pass
    assert scope_of(error.value) is Scope.AWAY


def test_a_wrong_call_is_the_statements_and_no_other_error_has_a_scope(db):
    with pytest.raises(psycopg.Error) as error:
        db.execute("select %s", ())
    assert (error.value.sqlstate, scope_of(error.value)) == (None, Scope.STATEMENT)
    assert scope_of(ValueError()) is None
    assert not is_down(ValueError())


@pytest.mark.parametrize(
    ("turned", "sqlstate", "kind"),
    [
        (partial(fenced, "complete"), "PT409", LeaseLost),
        (partial(fenced, "complete"), "PT404", NotFound),
        (partial(fenced, "complete"), "PT422", psycopg.Error),
        (refused, "PT409", Conflict),
        (refused, "PT404", NotFound),
        (refused, "PT422", KeyReused),
        (refused, "PT400", psycopg.Error),
    ],
)
async def test_a_refusal_of_our_sql_is_an_error_of_ours(db, turned, sqlstate, kind):
    with pytest.raises(kind, match="told"):
        async with turned():
            raise raised(db, sqlstate)


def test_a_request_to_a_standby_may_come_again(start_edge, db):
    """25006 is an InternalError to psycopg; it was answered 500."""
    db.execute(f"alter database {db.info.dbname} set default_transaction_read_only = on")
    answer = start_edge().post("start-generation", BODY)
    assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
    assert answer.headers["retry-after"]


def test_a_request_to_older_sql_is_a_fault_of_ours(start_edge, db):
    db.execute("drop function picture_edge.start_generations(uuid[], jsonb[])")
    answer = start_edge().post("start-generation", BODY)
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL_ERROR")
