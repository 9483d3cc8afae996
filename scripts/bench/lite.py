"""@supabase/lite as page platform's second baseline: its server, run by node, on a database of its own."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from scripts.postgres import free_port

HERE = Path(__file__).parent / "npm"
COMMAND = HERE / "node_modules" / "@supabase" / "lite" / "dist" / "cli" / "index.js"


def lacking() -> str:
    """Why @supabase/lite cannot be run here; empty where it can."""
    if shutil.which("node") is None:
        return "needs node"
    return "" if COMMAND.exists() else "is not installed: npm ci --prefix scripts/bench/npm"


@contextmanager
def lite(database: str, jwt_secret: str) -> Iterator[str]:
    """Run it until the block ends; yields its address.

    It replaces auth.uid() and makes tables in ``database``, which must therefore serve nobody else.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="picture-edge-") as folder:
        config = Path(folder) / "supabase" / "config.toml"
        config.parent.mkdir()
        config.write_text(
            f"[api]\nport = {port}\n[db]\ndriver = 'postgres'\nurl = {json.dumps(database)}\n"
            f"[auth]\nenabled = true\njwt_secret = {json.dumps(jwt_secret)}\n"
        )
        with subprocess.Popen(
            ["node", str(COMMAND), "start", "--no-admin"],
            cwd=folder,
            env={**os.environ, "LITE_TELEMETRY": "0", "NODE_ENV": "production"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                url = f"http://127.0.0.1:{port}"
                while not _answers(url):
                    if process.poll() is not None:
                        raise RuntimeError("@supabase/lite did not start")
                    time.sleep(0.05)
                yield url
            finally:
                process.terminate()
                process.wait()


def _answers(url: str) -> bool:
    try:
        httpx.get(f"{url}/rest/v1/")
    except httpx.HTTPError:
        return False
    return True
