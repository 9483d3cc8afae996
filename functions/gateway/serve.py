"""The gateway as a process: settings validated first, then uvicorn until a stop signal."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from functions._shared.metrics.processes import FOLDER
from functions._shared.settings import Settings, SettingsError
from functions.gateway.app import create_app
from functions.gateway.drain import stop_quietly
from functions.gateway.loopback import is_loopback
from functions.gateway.server import UVICORN

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
    with _metrics_together(settings.edge_workers):
        uvicorn.run(
            # uvicorn starts several processes from an import string only; each reads its settings itself.
            create_app(settings) if settings.edge_workers == 1 else "functions.gateway:app",
            host=settings.edge_host,
            port=settings.edge_port,
            uds=str(settings.edge_socket) if settings.edge_socket else None,
            workers=settings.edge_workers,
            timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
            **UVICORN,
        )
    return 0


@contextmanager
def _metrics_together(workers: int) -> Iterator[None]:
    """A folder in which several processes keep their metrics while they serve; a given one is left as it is."""
    if workers == 1 or FOLDER in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="picture-edge-metrics-") as folder:
        os.environ[FOLDER] = folder  # inherited by the children
        yield
