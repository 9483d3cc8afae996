"""Running an app's code with the real supabase-js of one version or another."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Edge

HERE = Path(__file__).parent
NEWEST = "@supabase/supabase-js"
VERSIONS = [NEWEST, "supabase-js-2.109", "supabase-js-2.39"]


def _absent() -> str:
    if shutil.which("node") is None:
        return "supabase-js needs node"
    if not all((HERE / "node_modules" / version).is_dir() for version in VERSIONS):
        return "supabase-js is not there: npm ci in tests/clients"
    return ""


needs_node = pytest.mark.skipif(bool(_absent()), reason=_absent())


def run_node(
    script: str, edge: Edge, token: str | None, version: str = NEWEST, call: Any = None
) -> dict[str, Any]:
    """What ``script`` printed. ``token`` is the signed-in user's, None for nobody's."""
    environ = {
        "CLIENT": version,
        "SUPABASE_URL": edge.url,
        "SUPABASE_KEY": edge.anon_key,
        "TOKEN": token or "",
    }
    done = subprocess.run(
        ["node", script],
        cwd=HERE,
        env={**os.environ, **environ},
        input=json.dumps(call),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told
