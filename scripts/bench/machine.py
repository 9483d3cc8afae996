"""What a run was made on: machine, PostgreSQL and its settings, this project's commit."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psycopg

from scripts.bench.children import PROJECT
from scripts.postgres import Postgres

SETTINGS = (
    "fsync", "synchronous_commit", "full_page_writes", "wal_level", "wal_sync_method", "shared_buffers",
    "max_wal_size", "max_connections", "autovacuum", "jit",
)  # fmt: skip


def circumstances(postgres: Postgres) -> dict[str, Any]:
    """JSON-able; the cluster runs."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        found = connection.execute(
            "select name, current_setting(name) from pg_settings where name = any (%s)",
            ([*SETTINGS],),
        ).fetchall()
    return {
        "machine": {
            "cores": os.cpu_count(),
            "cpu": _value_of(Path("/proc/cpuinfo"), "model name"),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "kernel": platform.release(),
            "python": platform.python_version(),
        },
        "postgres": {"version": postgres.version(), "settings": dict(sorted(found))},
        "project": {
            "version": importlib.metadata.version("picture-edge"),
            "commit": _git("rev-parse", "--short=12", "HEAD"),
            "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        },
    }


def _value_of(file: Path, name: str) -> str:
    """The value of ``name : value`` in ``file``; empty where there is none, as on other systems than Linux."""
    if not file.exists():
        return ""
    lines = (line.partition(":") for line in file.read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")


def _git(*arguments: str) -> str:
    """Empty outside a clone."""
    done = subprocess.run(
        ["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
