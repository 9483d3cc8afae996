"""The gateways under test: real processes, to be signalled, killed and restarted."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from functions._local.defaults import local_environment
from scripts.postgres import free_port

PROJECT = Path(__file__).parent.parent.parent
GRACE_S = 15


class Gateway:
    """One gateway process; ``environ`` holds its settings, ``log`` is the file of its output."""

    def __init__(self, number: int, environ: Mapping[str, str], folder: Path) -> None:
        self.name = f"gateway {number}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"gateway-{number}.log"
        self._environ = {**local_environment({**environ, "EDGE_PORT": str(self.port)}), **environ}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "functions"],
                cwd=PROJECT,
                env={**os.environ, **self._environ, "EDGE_PORT": str(self.port)},
                stdout=log,
                stderr=log,
            )

    def signal(self, number: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, as the kernel's out-of-memory killer sends."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def restart(self) -> int:
        """Graceful shutdown and a new process, as a deploy does; returns the old one's exit code."""
        assert self._process
        # A process that is still starting has no signal handler yet: it would die with SIGTERM's exit code.
        assert wait_until(self.serves, GRACE_S), f"{self.name} does not start"
        self._process.terminate()
        code = self._process.wait(GRACE_S)
        self.start()
        return code

    def serves(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=1).is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@contextmanager
def gateways(count: int, environ: Mapping[str, str], folder: Path) -> Iterator[list[Gateway]]:
    """Start ``count`` gateways; stop all of them at the end of the block."""
    processes = [Gateway(number, environ, folder) for number in range(1, count + 1)]
    try:
        for gateway in processes:
            gateway.start()
        yield processes
    finally:
        for gateway in processes:
            gateway.stop()


def wait_until(condition: Callable[[], bool], limit_s: float) -> bool:
    """Poll ``condition``; returns whether it became true within ``limit_s``."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
