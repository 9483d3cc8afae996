"""The local stack: PostgreSQL, the gateway with its worker, the clock and the sandbox, started and stopped together."""

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
from functions._local.defaults import SANDBOX_TOKEN, local_environment, uses_sandbox
from functions._local.sandbox.app import create_sandbox
from functions._shared.settings import Settings, SettingsError
from functions.gateway.app import create_app
from functions.gateway.loopback import is_loopback
from functions.gateway.server import UVICORN
from scripts.postgres import StartError, cluster
from scripts.schema import apply_schema

START_S = 30
GRACE_S = 3
"""What open requests get at a stop, generate-image's among them; the whole stop stays under five seconds."""


@contextmanager
def local_stack(environ: Mapping[str, str]) -> Iterator[Settings]:
    """Run everything for one machine; ``environ`` overrides the defaults. Raises StartError with nothing left running.

    The data stays in EDGE_DATA_DIR and is found again by the next start.
    """
    values = local_environment(environ)
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
            pass  # PostgreSQL binds it itself; this gives a busy one the same clear line
        stack.callback(postgres.stop)
        postgres.start()
        url = settings.supabase_db_url.get_secret_value()
        apply_schema(url)
        stack.enter_context(ticking(url))
        stack.enter_context(serving(create_app(settings), api))
        schedule(url, settings)
        yield settings


def schedule(url: str, settings: Settings) -> None:
    """The very schedule that production has."""
    key = settings.supabase_service_role_key.get_secret_value()
    with psycopg.connect(url) as connection:
        address = f"http://127.0.0.1:{settings.edge_port}"
        connection.execute("select public.schedule_process_jobs(%s, %s)", (address, key))


@contextmanager
def ticking(url: str) -> Iterator[None]:
    """Run the clock in a thread, with an event loop of its own, until the block ends."""
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
    """A socket bound to ``host``:``port``, or a StartError that names the setting ``name``."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            # Without it, two processes may hold the same port with SO_REUSEADDR.
            listener.listen(1024)
        except OSError as error:
            raise StartError(
                f"Port {port} cannot be used ({error.strerror}): stop what listens there, or set {name} to another"
            ) from None
        yield listener


@contextmanager
def serving(app: ASGIApp, listener: socket.socket) -> Iterator[None]:
    """Serve ``app`` on ``listener`` from a thread: there uvicorn leaves the process's signals alone."""
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
    """One stack to a data folder; the lock goes with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartError(
                f"Another stack is using {folder}: stop it, or set EDGE_DATA_DIR to another"
            ) from None
        yield
