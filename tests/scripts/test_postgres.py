"""The local cluster's roles: everybody's login is no superuser, and what an earlier version made is taken over."""

import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from scripts.postgres import Postgres, cluster, free_port, socket_folder
from scripts.roles import HELPER
from scripts.schema import apply_schema

pytestmark = pytest.mark.slow

EARLIER = """
create schema shop;
create type shop.colour as enum ('red');
create table shop.items (id serial primary key, colour shop.colour);
insert into shop.items (colour) values ('red');
create view shop.reds as select * from shop.items;
create function shop.f() returns int language sql return 1;
"""


@pytest.fixture
def new() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        postgres = cluster(Path(folder), free_port())
        try:
            yield postgres
        finally:
            postgres.stop("immediate")


def test_everybodys_login_is_no_superuser_and_the_superuser_has_the_socket_only(new: Postgres):
    new.start()
    with psycopg.connect(new.url, autocommit=True) as everybody:
        for statement in (
            "copy (select 1) to program 'true'",
            "alter role postgres superuser",
            "grant pg_execute_server_program to postgres",
            "set session authorization supabase_admin",
        ):
            if "grant" in statement and everybody.info.server_version < 160000:
                continue  # createrole was enough then
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                everybody.execute(statement)
    with psycopg.connect(new.admin_url) as admin:
        assert admin.execute("show is_superuser").fetchone() == ("on",)
    with pytest.raises(psycopg.OperationalError, match="rejects"):
        psycopg.connect(new.url.replace("//postgres:", "//supabase_admin:"))
    assert stat.S_IMODE(socket_folder(new.data).stat().st_mode) == 0o700


def test_what_an_earlier_version_made_is_taken_over_whole(new: Postgres):
    new._make_folder()
    password = new.data.parent / "password"
    password.write_text("postgres\n")
    password.chmod(0o644)
    new.run(
        "initdb",
        "-D",
        str(new.data),
        "-U",
        "postgres",
        f"--pwfile={password}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
    )
    options = f"-c port={new.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
    log = str(new.data / "server.log")
    new.run("pg_ctl", "-D", str(new.data), "-l", log, "-w", "-o", options, "start")
    apply_schema(new.url)
    with psycopg.connect(new.url, autocommit=True) as earlier:
        assert earlier.execute("show is_superuser").fetchone() == ("on",)
        earlier.execute(EARLIER)
        earlier.execute("create database other")
        # Begun by a start that was killed in its middle.
        earlier.execute(f"create role {HELPER} superuser login")
    new.stop()
    for _ in range(2):
        new.start()
        apply_schema(new.url)
        with psycopg.connect(new.url, autocommit=True) as now:
            assert now.execute("show is_superuser").fetchone() == ("off",)
            assert now.execute("select to_regrole(%s)", (HELPER,)).fetchone() == (None,)
            now.execute("alter table shop.items add column if not exists x int")
            now.execute("insert into shop.items (colour) values ('red')")
            now.execute("create or replace function shop.f() returns int language sql return 2")
            now.execute("alter database other set work_mem = '8MB'")
        new.stop()


def test_a_folder_too_deep_for_a_socket_has_it_elsewhere():
    deep = Path("/") / ("x" * 110)
    assert socket_folder(deep) != deep
    assert len(str(socket_folder(deep))) < 90
