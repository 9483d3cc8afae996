"""The local stack: PostgreSQL, gateway with worker, clock and sandbox, started and stopped together."""

import asyncio
import fcntl
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import uvicorn
from starlette.types import ASGIApp

from functions._local.clock.clock import run_clock
from functions._local.defaults import (
    SANDBOX_TOKEN,
    address_of,
    local_environment,
    uses_sandbox,
)
from functions._local.request_log import RequestLog
from functions._local.sandbox.app import create_sandbox
from functions._shared.setting_values import given
from functions._shared.settings import Settings, SettingsError
from functions.gateway.app import create_app
from functions.gateway.loopback import is_loopback
from functions.gateway.server import UVICORN
from scripts.operator_key import with_operator_key
from scripts.postgres import StartError, cluster, free_port
from scripts.schema import SQL_FOLDER, apply_schema

START_S = 30
GRACE_S = 3
"""Graceful shutdown of open requests in seconds, generate-image's included; a stop takes under 5 s."""


@contextmanager
def local_stack(environ: Mapping[str, str]) -> Iterator[Settings]:
    """Run the stack until the block ends; ``environ`` overrides the defaults. Yields its settings.

    The data in EDGE_DATA_DIR persists. Raises StartError, with everything that was started stopped again.
    """
    if "EDGE_SANDBOX_PORT" not in given(environ):
        environ = {**environ, "EDGE_SANDBOX_PORT": str(_free_sandbox_port())}
    values = local_environment(with_operator_key(environ))
    try:
        settings = Settings.from_env(values)
    except SettingsError as error:
        raise StartError(str(error)) from None
    if settings.uses_local_keys and not is_loopback(settings.edge_host):
        raise StartError(
            f"EDGE_HOST {settings.edge_host}: the local keys are public, so set SUPABASE_JWT_SECRET first"
        )
    sandbox = uses_sandbox(environ)
    with ExitStack() as stack:
        stack.enter_context(locked(settings.edge_data_dir))
        api = stack.enter_context(bound(settings.edge_host, settings.edge_port, "EDGE_PORT"))
        if sandbox:
            pictures = stack.enter_context(
                bound("127.0.0.1", settings.edge_sandbox_port, "EDGE_SANDBOX_PORT")
            )
            replicate = create_sandbox(token=SANDBOX_TOKEN, seconds=settings.sandbox_seconds)
            stack.enter_context(serving(replicate, pictures))
        postgres = cluster(settings.edge_data_dir, settings.edge_db_port, settings.postgres_bin)
        postgres.stop_leftover()
        with bound("127.0.0.1", settings.edge_db_port, "EDGE_DB_PORT"):
            pass  # a probe only, for the same clear message about a busy port; PostgreSQL binds it itself
        stack.callback(postgres.stop)
        postgres.start(["wal_level=logical", "max_slot_wal_keep_size=1GB"])
        url = settings.supabase_db_url.get_secret_value()
        apply_schema(url)
        watch_schema(postgres.admin_url)
        stack.enter_context(ticking(url))
        stack.enter_context(serving(RequestLog(create_app(settings)), api))
        schedule(url, settings)
        yield settings


def _free_sandbox_port() -> int:
    """The usual port, or a free one beside a second stack: clients never need to know it."""
    port = int(Settings.model_fields["edge_sandbox_port"].default)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)  # as in ``bound``
        except OSError:
            return free_port()
    return port


def watch_schema(admin_url: str) -> None:
    """The event triggers of /rest/v1: only a superuser may make them, and ``postgres`` is none here."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute((SQL_FOLDER / "45_rest_reload.sql").read_bytes())


def schedule(url: str, settings: Settings) -> None:
    """Schedule process-jobs with pg_cron's SQL, exactly as in production."""
    key = settings.supabase_service_role_key.get_secret_value()
    address = address_of(settings.edge_host, settings.edge_port)
    with psycopg.connect(url) as connection:
        connection.execute("select public.schedule_process_jobs(%s, %s)", (address, key))


@contextmanager
def ticking(url: str) -> Iterator[None]:
    """Run the clock in a thread with its own event loop until the block ends. Raises StartError."""
    ready = threading.Event()
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def main() -> None:
        task = asyncio.create_task(run_clock(url, ready.set))
        running.append((asyncio.get_running_loop(), task))
        await asyncio.wait([task])

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    try:
        if not ready.wait(START_S):
            raise StartError("The clock did not start, see the lines above")
        yield
    finally:
        for loop, task in running:
            loop.call_soon_threadsafe(task.cancel)
        thread.join(timeout=GRACE_S)


@contextmanager
def bound(host: str, port: int, name: str) -> Iterator[socket.socket]:
    """A listening socket on ``host``:``port``. Raises StartError that names the setting ``name``."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            # listen() makes a busy port an error here: with SO_REUSEADDR, two processes may bind one port.
            listener.listen(1024)
        except OSError as error:
            raise StartError(
                f"Port {port} cannot be used ({error.strerror}): stop what listens there, or set {name} to another"
            ) from None
        yield listener


@contextmanager
def serving(app: ASGIApp, listener: socket.socket) -> Iterator[None]:
    """Serve ``app`` on ``listener`` in a thread, where uvicorn handles no signals, until the block ends."""
    config = uvicorn.Config(
        app, lifespan="on", log_level="warning", timeout_graceful_shutdown=GRACE_S, **UVICORN
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise StartError("The server did not start, see the lines above")
            time.sleep(0.005)
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=GRACE_S + 5)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the data folder's exclusive lock (flock); the kernel releases it when the process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartError(
                f"Another stack is using {folder}: stop it, or set EDGE_DATA_DIR to another"
            ) from None
        yield
