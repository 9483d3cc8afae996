"""Child processes of a benchmark: gateway, worker, provider; apart from the load generator's CPU."""

import asyncio
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import uvloop

from functions._local.defaults import SANDBOX_TOKEN, local_environment
from functions._local.sandbox.app import create_sandbox
from functions._shared.database.listener import Listener
from functions._shared.resources import Resources, open_resources
from functions._shared.settings import Settings
from functions.process_jobs import jobs
from functions.process_jobs.worker import Worker
from scripts.bucket import Bucket
from scripts.postgres import free_port
from scripts.stack import bound, serving

SPAWN = multiprocessing.get_context("spawn")
PROJECT = Path(__file__).parent.parent.parent


@contextmanager
def child_process(target: Callable[..., None], *arguments: Any) -> Iterator[Any]:
    """Run ``target(pipe, *arguments)`` in a new process; yields the other end of its pipe."""
    parent_end, child_end = SPAWN.Pipe()
    process = SPAWN.Process(target=target, args=(child_end, *arguments), daemon=True)
    process.start()
    try:
        yield parent_end
    finally:
        process.terminate()
        process.join()


def run_worker(
    settings: Mapping[str, str],
    handler: Callable[[Any, Resources], Awaitable[dict[str, Any] | None]],
    until: Callable[[Resources], Awaitable[None]],
) -> None:
    """Run the real worker with ``handler`` for jobs of type bench, until ``until`` returns."""

    async def main() -> None:
        jobs.JOBS = {"bench": handler}
        parsed = Settings.from_env(local_environment(settings))
        async with open_resources(parsed) as resources:
            worker = Worker(resources, hinted=lambda: listener.up)
            listener = Listener(
                parsed.supabase_db_url,
                {"picture_edge_jobs": lambda _: resources.worker_inbox.wake()},
                without="",
            )
            listening = asyncio.create_task(listener.run())
            while not listener.up:  # noqa: ASYNC110 - once, before the measurement
                await asyncio.sleep(0.01)
            worker.start()
            await until(resources)
            await worker.stop()
            listening.cancel()

    uvloop.run(main())


def until_terminated(pipe: Connection) -> Callable[[Resources], Awaitable[None]]:
    """An ``until`` for ``run_worker``: sends "ready" when the worker idles, then waits for SIGTERM."""

    async def until(_: Resources) -> None:
        await asyncio.sleep(1)  # the worker's first polls are over
        pipe.send("ready")
        await asyncio.Event().wait()

    return until


def cpu_s(pid: int) -> float:
    """CPU time of a process, user and system, since its start."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Gateway:
    """A running gateway process (``python -m functions``): its address, memory and CPU time."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str, key: str) -> None:
        self.pid = process.pid
        self.url = url
        self.anon_key = key

    def rss_mb(self) -> float:
        """Resident set size."""
        return self._memory_mb("VmRSS")

    def peak_mb(self) -> float:
        """High-water mark of the resident set size since the start."""
        return self._memory_mb("VmHWM")

    def _memory_mb(self, name: str) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition(f"{name}:")[2].split()[0]) / 1024

    def cpu_s(self) -> float:
        """CPU time, user and system, since the start."""
        return cpu_s(self.pid)

    def cpu_s_by_process(self) -> dict[int, float]:
        """The CPU time of each of its processes by pid: with EDGE_WORKERS, children of a supervisor serve."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return {pid: cpu_s(pid) for pid in (self.pid, *map(int, children))}


@contextmanager
def gateway(environ: Mapping[str, str]) -> Iterator[Gateway]:
    """Start one gateway and wait for /health; ``environ`` overrides the local stack's settings."""
    port = free_port()
    values = local_environment({"LOG_LEVEL": "ERROR", **environ, "EDGE_PORT": str(port)})
    with subprocess.Popen(
        [sys.executable, "-m", "functions"], cwd=PROJECT, env={**os.environ, **values}
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            while True:
                try:
                    httpx.get(f"{url}/health")
                    break
                except httpx.HTTPError:
                    if process.poll() is not None:
                        raise RuntimeError("The gateway did not start, see above") from None
                    time.sleep(0.05)
            yield Gateway(process, url, values["SUPABASE_ANON_KEY"])
        finally:
            process.terminate()
            process.wait()


@contextmanager
def provider_and_storage(seconds: float) -> Iterator[dict[str, str]]:
    """A provider whose predictions take ``seconds``, and a Storage, in one child process.

    Yields the settings that point a gateway at them.
    """
    with child_process(_serve_provider_and_storage, seconds) as pipe:
        provider, storage = pipe.recv()
        yield {
            "REPLICATE_API_TOKEN": SANDBOX_TOKEN,
            "REPLICATE_API_URL": f"http://127.0.0.1:{provider}/v1",
            "SUPABASE_URL": f"http://127.0.0.1:{storage}",
        }


def _serve_provider_and_storage(pipe: Connection, seconds: float) -> None:
    apps = (create_sandbox(token=SANDBOX_TOKEN, seconds=seconds), Bucket(seed=0).app)
    with ExitStack() as stack:
        ports = []
        for app in apps:
            listener = stack.enter_context(bound("127.0.0.1", free_port(), "bench"))
            stack.enter_context(serving(app, listener))
            ports.append(listener.getsockname()[1])
        pipe.send(ports)
        while True:
            time.sleep(3600)


def percentiles(values: list[float]) -> tuple[float, float]:
    """p50 and p99, by nearest rank."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
