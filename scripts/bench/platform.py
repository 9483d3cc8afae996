"""Page platform: /rest/v1 and /auth/v1 beside a handler by hand, @supabase/lite, bare bcrypt; memory, start time."""

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from uuid import UUID

import bcrypt
import httpx
import psycopg
from jose import jwt

from functions._shared.local_keys import LOCAL_JWT_SECRET
from scripts.bench.bare import serve_bare
from scripts.bench.children import PROJECT, Gateway, child_process, gateway
from scripts.bench.closed_loop import Call
from scripts.bench.lite import lacking, lite
from scripts.bench.load import Load, load, measured
from scripts.postgres import Postgres, free_port
from scripts.schema import apply_schema

CONNECTIONS = (1, 32)
PORTS = ("EDGE_PORT", "EDGE_DB_PORT", "EDGE_SANDBOX_PORT")
USER, ROW = UUID(int=1), UUID(int=1)
CLAIMS = {"sub": str(USER), "role": "authenticated", "aud": "authenticated", "exp": 4102444800}
ACCOUNT = {"email": "bench@example.com", "password": "a password of the bench"}
ROWS = """
insert into public.image_generations (id, user_id, prompt, status, created_at)
select
    lpad(to_hex(n), 32, '0')::uuid, lpad(to_hex((n - 1) %% %(users)s + 1), 32, '0')::uuid,
    'a red fox in the snow', 'completed', now() - n * interval '1 minute'
from generate_series(1, %(users)s * 200) as n;
"""
IMAGES = """
insert into public.images (generation_id, user_id, filename, storage_path, public_url, format, width, height)
select
    id, user_id, id || '.webp', user_id || '/' || id || '.webp', 'https://example.com/' || id || '.webp',
    'webp', 1024, 1024
from public.image_generations;
"""
COUNT = """
create function public.count_generations(wanted text) returns bigint language sql stable
as $$ select count(*) from public.image_generations where status = wanted $$;
"""
REST = {
    "row": ("GET", f"image_generations?select=*&id=eq.{ROW}", None),
    "list": ("GET", "image_generations?select=*,images(*)&order=created_at.desc&limit=20", None),
    "insert": ("POST", "image_generations", {"user_id": str(USER), "prompt": "a fox"}),
    "rpc": ("POST", "rpc/count_generations", {"wanted": "completed"}),
}
"""Case → method, path below /rest/v1, body."""
NAMES = {
    "row": "one row by id",
    "list": "20 rows, each with its images",
    "insert": "an insert, row returned",
    "rpc": "an rpc",
}


@dataclass(frozen=True)
class Figure:
    """A row with one value."""

    name: str
    value: float


def platform(postgres: Postgres, users: int, seconds: int) -> Iterator[Load | Figure]:
    """Rows of the page; each of ``users`` has 200 generations. @supabase/lite is left out where it is lacking."""
    with _database(postgres, "platform", "template1") as url:
        apply_schema(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(ROWS.encode(), {"users": users})
            connection.execute(IMAGES.encode())
            connection.execute(COUNT.encode())
            connection.execute("vacuum analyze")
        with ExitStack() as stack:
            lite_url = ""
            if not lacking():
                copied = stack.enter_context(_database(postgres, "platform_lite", "platform"))
                lite_url = stack.enter_context(lite(copied, LOCAL_JWT_SECRET))
            claims = json.dumps(CLAIMS)
            parameters = {"id": str(ROW), "user_id": str(USER)}
            bare_url = stack.enter_context(
                child_process(serve_bare, url, claims, parameters)
            ).recv()
            edge = stack.enter_context(
                gateway({"SUPABASE_DB_URL": url, "RATE_LIMIT_TOKEN_REFRESH": "0"})
            )
            yield from _rest(edge, bare_url, lite_url, seconds)
            yield from _sign_in(edge, url, 3 * seconds)  # a sign-in takes tenths of one
            yield Figure("RSS of the gateway with all services, MB", edge.rss_mb())
    yield from _start_times()


def _rest(edge: Gateway, bare_url: str, lite_url: str, seconds: int) -> Iterator[Load]:
    headers = {
        "Authorization": f"Bearer {jwt.encode(CLAIMS, LOCAL_JWT_SECRET, algorithm='HS256')}",
        "apikey": edge.anon_key,
        "Content-Type": "application/json",
        "Prefer": "return=representation",
    }
    for (case, (method, path, body)), connections in itertools.product(REST.items(), CONNECTIONS):
        urls = {
            "(a) a bare route": f"{bare_url}/{case}",
            **({"(b) @supabase/lite": f"{lite_url}/rest/v1/{path}"} if lite_url else {}),
            "/rest/v1": f"{edge.url}/rest/v1/{path}",
        }
        text = json.dumps(body) if body else ""
        calls = {
            f"{server}: {NAMES[case]}": Call(method, url, headers, text)
            for server, url in urls.items()
        }
        yield from load(calls, connections, seconds)


def _sign_in(edge: Gateway, database: str, seconds: int) -> Iterator[Load]:
    headers = {"apikey": edge.anon_key, "Content-Type": "application/json"}
    httpx.post(f"{edge.url}/auth/v1/signup", headers=headers, json=ACCOUNT).raise_for_status()
    with psycopg.connect(database) as connection:
        row = connection.execute("select encrypted_password from auth.users").fetchone()
        assert row
    url = f"{edge.url}/auth/v1/token?grant_type=password"
    for connections in CONNECTIONS:
        with child_process(_check_passwords, row[0], connections, seconds) as pipe:
            yield measured("(a) bcrypt.checkpw in threads", connections, *pipe.recv())
        call = Call("POST", url, headers, json.dumps(ACCOUNT))
        yield from load({"/auth/v1: a sign-in": call}, connections, seconds)


def _check_passwords(pipe: Connection, hashed: str, threads: int, seconds: int) -> None:
    """bcrypt alone, which releases the GIL: sends the latencies of ``threads`` closed loops, and how long they ran."""
    password, started = ACCOUNT["password"].encode(), time.monotonic()
    latencies: list[float] = []

    def check() -> None:
        while (began := time.monotonic()) < started + seconds:
            bcrypt.checkpw(password, hashed.encode())
            latencies.append(time.monotonic() - began)

    loops = [threading.Thread(target=check) for _ in range(threads)]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()
    pipe.send((latencies, time.monotonic() - started))


@contextmanager
def _database(postgres: Postgres, name: str, template: str) -> Iterator[str]:
    """A database of its own on the bench's server, a copy of ``template``; yields its connection string."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}".encode())
        try:
            yield postgres.url.removesuffix("/postgres") + f"/{name}"
        finally:
            connection.execute(f"drop database {name} with (force)".encode())


def _start_times() -> Iterator[Figure]:
    """``make up`` from the command to its line Ready, in seconds: with a new data folder, then with that folder."""
    with tempfile.TemporaryDirectory(prefix="picture-edge-", ignore_cleanup_errors=True) as folder:
        for name in ("start of the stack, new data folder, s", "start of the stack, s"):
            ports = {setting: str(free_port()) for setting in PORTS}
            began = time.monotonic()
            with subprocess.Popen(
                [sys.executable, "-m", "scripts.up"],
                cwd=PROJECT,
                env={**os.environ, **ports, "EDGE_DATA_DIR": folder},
                stdout=subprocess.PIPE,
                text=True,
            ) as stack:
                if not any(line.startswith("Ready") for line in stack.stdout or ()):
                    raise RuntimeError("The stack did not start, see above")
                yield Figure(name, time.monotonic() - began)
                stack.send_signal(signal.SIGINT)
                stack.communicate()  # its last words need a reader
