"""Page gateway: start, memory, and authentication of the gateway, beside a bare uvicorn process."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from jose import jwt
from starlette.requests import Request

from functions._local.defaults import local_environment
from functions._shared.local_keys import LOCAL_JWT_SECRET
from functions._shared.resources import Resources, open_resources
from functions._shared.settings import Settings
from scripts.bench.children import PROJECT
from scripts.bench.figures import Column, Row
from scripts.bench.http import CLAIMS
from scripts.bench.options import Bench
from scripts.postgres import free_port

SECONDS, MB, US = Column("s", "less", 2), Column("MB", "less"), Column("µs", "less", 1)
BARE = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
app = Starlette(routes=[Route("/ready", lambda request: Response())])
uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False)
"""
TOKENS = 500


def gateway_figures(bench: Bench) -> Iterator[Row]:
    """Time from the process's start to /ready, its memory then, and µs of CPU to authenticate a request."""
    settings = local_environment({"SUPABASE_DB_URL": bench.url, "LOG_LEVEL": "ERROR"})
    for _ in range(bench.options.rounds):
        port = str(free_port())
        yield _started("floor: a bare uvicorn process", ["-c", BARE, port], port, {})
        port = str(free_port())
        yield _started(
            "the gateway, ready", ["-m", "functions"], port, {**settings, "EDGE_PORT": port}
        )
        yield from asyncio.run(_authenticated(settings))


def _started(name: str, arguments: Sequence[str], port: str, environ: dict[str, str]) -> Row:
    began = time.monotonic()
    with subprocess.Popen([sys.executable, *arguments], cwd=PROJECT, env=environ) as process:
        try:
            while not _ready(int(port)):
                if process.poll() is not None:
                    raise RuntimeError(f"{name} did not start, see above")
                time.sleep(0.005)
            took = time.monotonic() - began
            time.sleep(0.5)  # its first polls are over
            status = Path(f"/proc/{process.pid}/status").read_text()
            rss = int(status.partition("VmRSS:")[2].split()[0]) / 1024
        finally:
            process.terminate()
    return Row(name, [took, rss], columns=(SECONDS, MB))


def _ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


async def _authenticated(settings: dict[str, str]) -> list[Row]:
    """HS256 tokens that are new, and one that is known; the floor is python-jose's decode alone."""
    tokens = [
        jwt.encode({**CLAIMS, "n": n}, LOCAL_JWT_SECRET, algorithm="HS256") for n in range(TOKENS)
    ]
    used = time.process_time()
    for token in tokens:
        jwt.decode(token, LOCAL_JWT_SECRET, algorithms=["HS256"], audience="authenticated")
    floor = (time.process_time() - used) / TOKENS
    async with open_resources(Settings.from_env(settings)) as resources:
        new = await _cost_of(resources, tokens)
        known = await _cost_of(resources, tokens[:1] * 10 * TOKENS)
    named = {"floor: jose.jwt.decode": floor, "a new token": new, "a known token": known}
    return [Row(name, [1e6 * cost], columns=(US,)) for name, cost in named.items()]


async def _cost_of(resources: Resources, tokens: Sequence[str]) -> float:
    """Seconds of CPU a request."""
    requests = [
        Request(
            {
                "type": "http",
                "headers": [(b"authorization", f"Bearer {token}".encode())],
                "client": ("127.0.0.1", 1),
            }
        )
        for token in tokens
    ]
    used = time.process_time()
    for request in requests:
        await resources.auth.user(request)
    return (time.process_time() - used) / len(requests)
