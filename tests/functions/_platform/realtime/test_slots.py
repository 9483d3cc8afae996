"""The replication slot: never left behind, and what happens where none is to be had."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from functions._local.defaults import local_environment, sign_key
from scripts.postgres import free_port
from tests.conftest import Database
from tests.functions._platform.realtime.conftest import ME, Socket, binding, token_of

SLOTS = "select count(*)::int as n from pg_replication_slots where database = current_database()"


def until(db: Database, statement: str, wanted: object) -> None:
    found = None
    for _ in range(1000):
        found = db.execute(statement.encode()).fetchone()
        if found == wanted:
            return
        db.execute("select pg_sleep(0.01)")
    raise AssertionError(found)


@pytest.mark.slow
def test_kill_9_leaves_no_slot(environ: dict[str, str], db: Database, notes: Callable[..., None]):
    port = free_port()
    values = local_environment({**environ, "EDGE_PORT": str(port), "SERVE": "realtime"}) | environ
    values |= {"EDGE_PORT": str(port), "SERVE": "realtime"}
    with subprocess.Popen(
        [sys.executable, "-m", "functions"],
        env={**os.environ, **values},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        key = sign_key(values["SUPABASE_JWT_SECRET"], "anon")
        url = f"ws://127.0.0.1:{port}/realtime/v1/websocket?apikey={key}&vsn=2.0.0"
        try:
            with opened(url, db) as websocket:
                socket = Socket(websocket, "2.0.0")
                socket.join("notes", postgres_changes=[binding()])
                socket.until("system")
                assert db.execute(SLOTS.encode()).fetchone() == {"n": 1}
                os.killpg(process.pid, signal.SIGKILL)
                with pytest.raises(ConnectionClosed):
                    socket.next()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    until(db, SLOTS, {"n": 0})


def opened(url: str, db: Database) -> ClientConnection:
    for _ in range(1000):
        try:
            return connect(url)
        except OSError:
            db.execute("select pg_sleep(0.02)")
    raise AssertionError("the gateway does not start")


@pytest.fixture
def no_slots(db: Database) -> Iterator[None]:
    """All of the server's slots are in use."""
    made: list[str] = []
    row = db.execute("select current_setting('max_replication_slots')::int as most").fetchone()
    assert row
    for number in range(row["most"]):
        with contextlib.suppress(psycopg.errors.ConfigurationLimitExceeded):
            name = f"taken_{number}"
            db.execute("select pg_create_physical_replication_slot(%s)", (name,))
            made.append(name)
    yield
    for name in made:
        db.execute("select pg_drop_replication_slot(%s)", (name,))


def test_without_a_free_slot_triggers_serve(
    no_slots: None, realtime, socket: Socket, notes: Callable[..., None], caplog
):
    socket.join("notes", token_of(ME), postgres_changes=[binding()])
    assert socket.until("system")["payload"]["status"] == "ok"
    assert realtime.client.get(f"{realtime.url}/ready").json()["realtime"] == "triggers"
    assert "no replication slot (53400): changes come from triggers" in caplog.text
    notes(1)
    assert socket.next()["payload"]["data"]["record"]["id"] == 1


def test_behind_an_open_transaction_triggers_serve(
    realtime, socket: Socket, db: Database, connect: Callable[..., Database], monkeypatch, caplog
):
    """A slot waits for all transactions that write, of every database."""
    monkeypatch.setattr("functions._platform.realtime.changes.feed.SLOT_S", 0.3)
    db.execute("create table public.busy (id int)")
    other = connect(autocommit=False)
    other.execute("insert into public.busy values (1)")
    socket.join(
        "jobs", realtime.service_role_key,
        postgres_changes=[{"event": "*", "schema": "public", "table": "job_queue"}],
    )  # fmt: skip
    assert socket.until("system")["payload"]["status"] == "ok"
    assert "a transaction is open for long" in caplog.text
    db.execute("insert into job_queue (job_type, payload) values ('cleanup-storage', '{}')")
    assert socket.until("postgres_changes")["payload"]["data"]["type"] == "INSERT"
    other.rollback()
