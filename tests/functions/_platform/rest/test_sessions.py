"""The connections: a pool of their own, what becomes of one that is lost, and of a client that has gone."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from pydantic import SecretStr

from functions._platform.rest.connections.limits import limit_of
from functions._platform.rest.connections.session import (
    MAX_PREPARED,
    MAX_PREPARED_BYTES,
    MAX_STATEMENT_BYTES,
    Session,
)
from functions._platform.rest.connections.sessions import NoDatabase, Sessions
from functions._platform.rest.connections.transaction import Transaction
from functions._platform.rest.sql.fragment import Fragment, Statement, bound, render
from tests.help import eventually, until

pytestmark = pytest.mark.slow
OURS = (
    "from pg_stat_activity where usename = 'rest_login' and application_name like 'picture-edge/%'"
)


def statement(*pieces: str | tuple[str]) -> Statement:
    """A tuple is a value."""
    fragment: Fragment = [
        bound(piece[0]) if isinstance(piece, tuple) else piece for piece in pieces
    ]
    return render(fragment).filled()


def test_a_lost_connection_is_replaced(rest_with, in_library):
    rest = rest_with()
    assert rest.get("/books?limit=1").status_code == 200
    rows = in_library.execute(f"select pid {OURS}".encode()).fetchall()
    in_library.execute(f"select pg_terminate_backend(pid) {OURS}".encode())
    # Not pg_stat_activity: a session leaves it before its socket is closed.
    eventually(lambda: not any(Path(f"/proc/{row['pid']}").exists() for row in rows))
    for _ in range(3):
        assert rest.get("/books?limit=1").status_code == 200


def test_a_connection_lost_while_it_works(rest_with, in_library):
    rest = rest_with()
    with ThreadPoolExecutor() as pool:
        napping = pool.submit(rest, "POST", "/rpc/nap", {"seconds": 30})
        sleeping = f"select count(*) {OURS} and wait_event = 'PgSleep'"
        until(in_library, sleeping, 1)
        in_library.execute(
            f"select pg_terminate_backend(pid) {OURS} and wait_event = 'PgSleep'".encode()
        )
        answer = napping.result()
    assert (answer.status_code, answer.json()["code"]) == (503, "57P01")
    assert answer.headers["retry-after"]
    assert rest.get("/books?limit=1").status_code == 200


def test_a_client_that_has_gone_leaves_no_statement_behind(rest_with, in_library):
    rest = rest_with(PGRST_DB_POOL="1")
    assert rest.get("/books?limit=1").status_code == 200
    address = urlsplit(rest.url)
    with socket.create_connection((address.hostname, address.port)) as client:
        body = b'{"seconds": 60}'
        head = f"POST /rest/v1/rpc/nap HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        sleeping = f"select count(*) {OURS} and wait_event = 'PgSleep'"
        until(in_library, sleeping, 1)
    until(in_library, sleeping, 0)
    assert rest.get("/books?limit=1").status_code == 200, "the only connection is free again"


def test_waiting_for_a_connection_ends(rest_with, in_library, monkeypatch):
    """Bulkhead: all connections of /rest/v1 are taken, and the rest of the gateway has its own."""
    monkeypatch.setattr("functions._platform.rest.connections.sessions.WAIT_S", 0.2)
    rest = rest_with(PGRST_DB_POOL="2")
    with ThreadPoolExecutor() as pool:
        napping = [pool.submit(rest, "POST", "/rpc/nap", {"seconds": 1}) for _ in range(2)]
        until(in_library, f"select count(*) {OURS} and wait_event = 'PgSleep'", 2)
        answer = rest.get("/books")
        assert (answer.status_code, answer.json()["code"]) == (504, "PGRST003")
        assert [nap.result().status_code for nap in napping] == [204, 204]
    assert rest.get("/books").status_code == 200


def test_waiting_requests_take_turns(rest_with):
    rest = rest_with(PGRST_DB_POOL="2")
    with ThreadPoolExecutor(16) as pool:
        naps = [pool.submit(rest, "POST", "/rpc/nap", {"seconds": 0.02}) for _ in range(40)]
        assert {nap.result().status_code for nap in naps} == {204}


def test_no_database(rest_with):
    rest = rest_with(PGRST_DB_URI="postgresql://rest_login:rest@127.0.0.1:1/library")
    answer = rest.get("/books")
    assert (answer.status_code, answer.json()["code"]) == (503, "PGRST002")


@pytest.fixture
def run(library):
    """Run a coroutine function with a session in an event loop of its own."""

    def run(work, *, prepare: bool = True):
        async def main():
            sessions = Sessions(SecretStr(library()), 1, prepare=prepare)
            try:
                async with sessions.session() as session:
                    return await work(session)
            finally:
                sessions.close()

        return asyncio.run(main())

    return run


@pytest.mark.parametrize(
    ("settings", "limit_s"),
    [
        ([], None),
        ([("statement_timeout", "0")], None),
        ([("statement_timeout", "8s")], 21.0),
        ([("statement_timeout", "8s"), ("statement_timeout", "500")], 6.0),
        ([("statement_timeout", "1.5min")], 185.0),
        ([("statement_timeout", "long")], None),
    ],
)
def test_the_read_timeout_follows_the_statements(settings, limit_s):
    assert limit_of(settings, 2) == limit_s


def test_a_silent_server(library, in_library):
    """A statement that goes on beyond the read timeout: its session is given up."""

    async def main():
        sessions = Sessions(SecretStr(library()), 1, prepare=True)
        silent = Transaction(
            statement("select 1"), [statement("select pg_sleep(60)")], limit_s=0.05
        )
        with pytest.raises(psycopg.OperationalError, match="silent"):
            async with sessions.session() as session:
                await silent.run(session)
        async with sessions.session() as session:
            await session.run([statement("select 1")])
        sessions.close()

    asyncio.run(main())
    until(in_library, f"select count(*) {OURS} and wait_event = 'PgSleep'", 0)


@pytest.mark.parametrize("prepare", [True, False])
def test_statements_are_one_transaction(run, prepare: bool):
    async def work(session: Session):
        setting = statement("select set_config('my.x', ", ("1",), ", true)")
        now = statement("select current_setting('my.x', true), txid_current()::text")
        seen = []
        for _ in range(4):
            results = await session.run([setting, now])
            seen.append(results[1].get_value(0, 0))
        [alone] = await session.run([now])
        return seen, alone.get_value(0, 0)

    assert run(work, prepare=prepare) == ([b"1"] * 4, b"")


@pytest.mark.parametrize("prepare", [True, False])
def test_an_error_ends_the_transaction_not_the_session(run, prepare: bool):
    async def work(session: Session):
        for _ in range(4):
            with pytest.raises(psycopg.errors.DivisionByZero):
                await session.run(
                    [statement("select 1"), statement("select 1 / ", ("0",), "::int")]
                )
            with pytest.raises(psycopg.errors.SyntaxError):
                await session.run([statement("selekt"), statement("select 1")])
            [result] = await session.run([statement("select ", ("x",), "::text")])
            assert result.get_value(0, 0) == b"x"
            assert session.is_usable
        return True

    assert run(work, prepare=prepare)


def test_prepared_statements_are_bounded(run):
    async def work(session: Session):
        for _ in range(2):
            for number in range(MAX_PREPARED + 20):
                await session.run([statement(f"select {number}")])
        [result] = await session.run([statement("select count(*) from pg_prepared_statements")])
        return int.from_bytes(result.get_value(0, 0))

    assert run(work) == MAX_PREPARED


PREPARED = "select count(*), coalesce(sum(length(statement)), 0) from pg_prepared_statements"


async def prepared(session: Session) -> tuple[int, int]:
    """(number, bytes of their text)"""
    [result] = await session.run([statement(PREPARED)])
    number, length = (int.from_bytes(result.get_value(0, column)) for column in range(2))
    return number, length


def test_prepared_statements_are_bounded_in_bytes(run):
    """The backend's memory: a plan is much larger than its statement's text."""

    async def work(session: Session):
        for _ in range(2):
            for number in range(40):
                text = "x" * (MAX_STATEMENT_BYTES - 100)
                await session.run([statement(f"select {number}, '{text}'")])
                await session.run([statement(f"select {number}, '{text}{text}'")])
        return await prepared(session)

    number, length = run(work)
    assert number > 10, "short ones are kept"
    assert length <= MAX_PREPARED_BYTES


def test_an_evicted_statement_is_closed_though_the_transaction_fails(run):
    async def work(session: Session):
        fails = statement("select ", ("0",), "::int / 0")
        for number in range(MAX_PREPARED + 20):
            for _ in range(2):
                await session.run([statement(f"select {number}, 'whole'")])
                with pytest.raises(psycopg.errors.DivisionByZero):
                    await session.run([fails, statement(f"select {number}, 'aborted'")])
        number, _ = await prepared(session)
        return number

    assert run(work) <= MAX_PREPARED


def test_a_prepared_statement_that_serves_no_longer(library, in_library):
    """A function that is made anew with another type: one request is told, the next ones are served."""
    make = "create function api.now_text() returns {} stable language sql as $$ select {} $$"
    in_library.execute(make.format("text", "'a'").encode())

    async def main():
        sessions = Sessions(SecretStr(library()), 1, prepare=True)
        role = statement("select set_config('role', 'anon', true)")

        async def ask():
            async with sessions.session() as session:
                [_, result] = await session.run([role, statement("select api.now_text()")])
                return result.get_value(0, 0)

        assert {await ask() for _ in range(3)} == {b"a"}
        in_library.execute(b"drop function api.now_text()")
        in_library.execute(make.format("bytea", "'b'::bytea").encode())
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            await ask()
        assert {await ask() for _ in range(3)} == {b"b"}
        sessions.close()

    try:
        asyncio.run(main())
    finally:
        in_library.execute(b"drop function api.now_text()")


def test_what_is_longer_than_a_socket_s_buffer(run):
    async def work(session: Session):
        text = "x" * 20_000_000
        [result] = await session.run(
            [statement("select length(", (text,), "), ", (text,), "::text")]
        )
        return int.from_bytes(result.get_value(0, 0)), len(result.get_value(0, 1))

    assert run(work) == (20_000_000, 20_000_000)


def test_a_cancelled_statement_s_session_is_not_used_again(library, in_library):
    async def main():
        sessions = Sessions(SecretStr(library()), 1, prepare=True)

        async def sleep():
            async with sessions.session() as session:
                await session.run([statement("select pg_sleep(60)")])

        task = asyncio.create_task(sleep())
        sleeping = f"select count(*) {OURS} and wait_event = 'PgSleep'"
        await asyncio.to_thread(until, in_library, sleeping, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(until, in_library, sleeping, 0)
        async with sessions.session() as session:
            [result] = await session.run([statement("select ", ("1",), "::text")])
            assert result.get_value(0, 0) == b"1"
        sessions.close()

    asyncio.run(main())


def test_an_address_that_answers_nothing():
    """Each attempt gives its place in the pool back."""

    async def main():
        sessions = Sessions(SecretStr("postgresql://x@127.0.0.1:1/x"), 1, prepare=True)
        for _ in range(3):
            with pytest.raises(NoDatabase):
                async with sessions.session():
                    pass

    asyncio.run(main())
