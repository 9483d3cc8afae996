"""Through a real PgBouncer in transaction mode: what works there does, all else says so at its start."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from websockets.sync.client import connect

from functions._local.clock.clock import BehindPooler, run_clock
from scripts.postgres import free_port, unprivileged_user
from scripts.schema import apply_schema
from tests.conftest import Database, Edge
from tests.functions._platform.realtime.conftest import NOTES, Socket, binding
from tests.help import eventually, start, until_ended

pytestmark = pytest.mark.skipif(
    shutil.which("pgbouncer") is None, reason="PgBouncer is not installed (Debian: pgbouncer)"
)

SETTINGS = """
[databases]
{dbname} = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {size}
"""
SOCKET = "/realtime/v1/websocket?vsn=2.0.0"
COLUMNS = ("id", "status", "job_type", "priority", "attempt_number", "created_at", "scheduled_at")


@pytest.fixture
def notes(db: Database) -> None:
    db.execute(NOTES.encode())


@pytest.fixture
def pooled(dsn: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The database's address through PgBouncer, with as many sessions of the server as the parameter says."""
    of: dict[str, Any] = conninfo_to_dict(dsn)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="picture-edge-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PgBouncer refuses root, and runs as another user
        (folder / "users").write_text(f'"{of["user"]}" "{of["password"]}"\n')
        text = SETTINGS.format(
            **of, listen_port=port, folder=folder, size=getattr(request, "param", 4)
        )
        (folder / "pgbouncer.ini").write_text(text)
        account = unprivileged_user() if os.geteuid() == 0 else None
        with subprocess.Popen(
            ["pgbouncer", "--quiet", str(folder / "pgbouncer.ini")],
            user=account,
            stderr=subprocess.DEVNULL,
        ) as process:
            address = make_conninfo(dsn, port=port)
            try:
                eventually(lambda: _answers(address))
                yield address
            finally:
                process.kill()


def _answers(address: str) -> bool:
    try:
        with psycopg.connect(address, prepare_threshold=None):
            return True
    except psycopg.OperationalError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("pooled", [1], indirect=True)
def test_make_schema_strands_neither_a_lock_nor_a_setting(pooled: str):
    apply_schema(pooled)
    with psycopg.connect(pooled, autocommit=True, prepare_threshold=None) as next_client:
        found = next_client.execute(
            "select current_setting('lock_timeout'), current_setting('client_min_messages'),"
            " (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())"
        ).fetchone()
    assert found == ("0", "notice", 0)


def test_a_generation_is_served(start_edge, pooled: str):
    edge = start_edge(SUPABASE_DB_URL=pooled, SERVE="storage")
    generation = until_ended(edge, start(edge))
    assert generation["status"] == "completed"
    assert edge.client.get(generation["images"][0]["public_url"]).status_code == 200


def test_tables_are_served_without_prepared_statements(start_edge, pooled: str, db):
    """Two sessions' statements had one name: most requests failed, others got the rows of another request."""
    edge = start_edge(SUPABASE_DB_URL=pooled, SERVE="rest")
    db.execute("select enqueue_job('generate-image', '{}', 0, 1, now() + interval '1 day')")

    def columns(column: str) -> tuple[str, int, list[str]]:
        answer = edge.client.get(
            f"{edge.url}/rest/v1/job_queue?select={column}",
            headers={"Authorization": f"Bearer {edge.service_role_key}"},
        )
        return column, answer.status_code, [*answer.json()[0]] if answer.is_success else []

    with ThreadPoolExecutor(8) as threads:
        for found in threads.map(columns, COLUMNS * 8):
            assert found == (found[0], 200, [found[0]])


def test_what_needs_notifications_says_so_at_the_start(start_edge, pooled: str, notes, capsys):
    edge = start_edge(SUPABASE_DB_URL=pooled, SERVE="rest,realtime")
    parts = ("new jobs", "/rest/v1", "broadcast and presence", "postgres_changes")
    lines: list[str] = []

    def all_told() -> bool:
        lines.extend(capsys.readouterr().err.splitlines())
        return all(any(part in line for line in lines) for part in parts)

    eventually(all_told)
    for part in parts:
        (line,) = [line for line in lines if part in line]
        assert "SUPABASE_DB_DIRECT_URL would bring them" in line
    with connect(f"{edge.url.replace('http', 'ws')}{SOCKET}&apikey={edge.anon_key}") as socket:
        reply = Socket(socket, "2.0.0").join("notes", postgres_changes=[binding()])
        assert reply["status"] == "error"


def test_with_the_direct_address_all_notifications_arrive(start_edge, pooled: str, dsn: str):
    edge: Edge = start_edge(
        SUPABASE_DB_URL=pooled, SUPABASE_DB_DIRECT_URL=dsn, SERVE="rest,realtime"
    )

    def told() -> bool:
        ready = edge.client.get(f"{edge.url}/ready").json()
        return bool(ready["notifications"] and ready["realtime"])

    eventually(told)


def test_the_intervals_of_a_database_are_read_in_any_style(start_edge, pooled: str, db: Database):
    """PgBouncer before 1.20 does not follow IntervalStyle: sessions differ, and the renewal of leases failed."""
    db.execute(f"alter database {db.info.dbname} set intervalstyle = 'iso_8601'")
    edge = start_edge(SUPABASE_DB_URL=pooled)
    assert until_ended(edge, start(edge))["status"] == "completed"
    # PgBouncer opens others then, with the database's style, behind connections that have set their own.
    db.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    db.execute("insert into cron_ticks (ticked_at) values (now() - interval '1 hour')")

    def ready() -> Any:
        return edge.client.get(f"{edge.url}/ready").json()

    eventually(lambda: (ready()["cron_silent_s"] or 0) >= 3600)
    assert ready()["status"] == "ready"


async def test_the_clock_refuses(pooled: str):
    with pytest.raises(BehindPooler, match="SUPABASE_DB_DIRECT_URL"):
        await run_clock(pooled)
