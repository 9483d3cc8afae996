"""The gateway as a process: settings validated first, then uvicorn until a stop signal."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from functions._shared.metrics.processes import FOLDER
from functions._shared.settings import Settings, SettingsError
from functions.gateway.app import create_app
from functions.gateway.drain import stop_quietly
from functions.gateway.loopback import is_loopback
from functions.gateway.server import UVICORN, Server

SHUTDOWN_GRACE_S = 30
"""Graceful shutdown: how long open requests may take to finish; a longer generate-image is cancelled."""


def serve() -> int:
    """Serve until a stop signal; the exit code, 1 where a setting is invalid."""
    try:
        settings = Settings.from_env()
        if settings.uses_local_keys and not is_loopback(settings.edge_host):
            raise SettingsError(
                f"EDGE_HOST {settings.edge_host} would serve the network with keys that everybody knows: "
                "set SUPABASE_JWT_SECRET and keys of your own"
            )
    except SettingsError as error:
        print(f"Cannot start: {error}", file=sys.stderr)
        return 1
    stop_quietly()
    options: dict[str, Any] = {
        "host": settings.edge_host,
        "port": settings.edge_port,
        "uds": str(settings.edge_socket) if settings.edge_socket else None,
        "timeout_graceful_shutdown": SHUTDOWN_GRACE_S,
        **UVICORN,
    }
    if settings.edge_workers > 1:
        with _metrics_together():
            # uvicorn starts several processes from an import string only; each reads its settings itself.
            uvicorn.run("functions.gateway:app", workers=settings.edge_workers, **options)
        return 0
    return _run(Server(uvicorn.Config(create_app(settings), **options)))


def _run(server: Server) -> int:
    """Serve in this process; as ``uvicorn.run``, which makes uvicorn's own server."""
    try:
        server.run()
    except KeyboardInterrupt:
        pass
    finally:
        if server.config.uds:
            Path(server.config.uds).unlink(missing_ok=True)
    return 0 if server.started else STARTUP_FAILURE


@contextmanager
def _metrics_together() -> Iterator[None]:
    """A folder in which several processes keep their metrics while they serve; a given one is left as it is."""
    if FOLDER in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="picture-edge-metrics-") as folder:
        os.environ[FOLDER] = folder  # inherited by the children
        yield
