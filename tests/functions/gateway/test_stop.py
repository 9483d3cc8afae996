"""Graceful shutdown: unready, no claims, running jobs released uncounted, exit code 0; a second signal kills it."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from functions._local.defaults import local_environment
from functions.gateway.serve import SHUTDOWN_GRACE_S
from functions.process_jobs.worker import Worker
from tests.help import (
    BANANA,
    PROJECT,
    SMALL,
    anon_headers,
    eventually,
    own_process,
    start_at,
    until,
)

pytestmark = pytest.mark.slow

SLOW = {"model_id": BANANA, "prompt": "a cat [fault:slow-file*]"}


@pytest.fixture
def slow(sandbox):
    sandbox.state.slow_seconds = 3600
    yield
    sandbox.state.slow_seconds = 2.0


def until_storing(db) -> None:
    until(db, "select status from job_queue where job_type = 'download-image'", "processing")


def test_an_idle_process_ends_at_once_with_0(environ):
    with own_process(environ) as (process, url):
        assert httpx.get(f"{url}/ready").status_code in {200, 503}
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_it_serves_on_a_unix_socket(environ, tmp_path):
    path = tmp_path / "edge.sock"
    with subprocess.Popen(
        [sys.executable, "-m", "functions"],
        cwd=PROJECT,
        env={**os.environ, **local_environment({**environ, "EDGE_SOCKET": str(path)})},
        stderr=subprocess.DEVNULL,
    ) as process:

        def listens() -> bool:
            assert process.poll() is None
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect_ex(str(path)) == 0

        eventually(listens)
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            answer = client.get("http://localhost/health")
        assert answer.json() == {"status": "ok"}
        assert "server" not in answer.headers
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_what_runs_is_given_back_uncounted(environ, db, slow, in_children):
    in_children("functions.process_jobs.worker", DRAIN_S=0.1)
    with own_process(environ) as (process, url):
        start_at(url, **SLOW)
        until_storing(db)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    row = db.execute(
        "select status, attempt_number, crash_count, errors from job_queue where job_type = 'download-image'"
    ).fetchone()
    assert row == {"status": "pending", "attempt_number": 0, "crash_count": 0, "errors": []}


def test_a_draining_process_is_not_ready_and_claims_nothing(start_edge, db, monkeypatch):
    workers = []
    begin = Worker.start
    monkeypatch.setattr(Worker, "start", lambda self: (workers.append(self), begin(self))[1])
    edge = start_edge()
    assert edge.client.get(f"{edge.url}/ready").json()["status"] == "ready"
    workers[0].drain()
    answer = edge.client.get(f"{edge.url}/ready")
    assert (answer.status_code, answer.json()["status"]) == (503, "stopping")
    edge.post("start-generation", SMALL)
    answer = edge.post("process-jobs", {}, edge.service_role_key)
    assert answer.json()["processed"] == 0
    # A claim that was under way when the worker was told takes the job, and releases it at once.
    until(db, "select status from job_queue", "pending")


def test_a_stream_is_let_go_at_a_stop(environ, db, slow):
    with own_process(environ) as (process, url):
        generation_id = start_at(url, **SLOW)
        address = f"{url}/functions/v1/start-generation/{generation_id}/events"
        with httpx.stream("GET", address, headers=anon_headers(), timeout=30) as response:
            lines = response.iter_lines()
            assert next(lines) == "retry: 1000"
            process.send_signal(signal.SIGTERM)
            for _ in lines:
                pass
        assert process.wait(20) == 0


def serves(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.HTTPError:
        return False


def test_the_second_signal_ends_it_now(environ, sandbox, slow):
    """While a request is open that the first signal waits for."""
    with own_process(environ) as (process, url), ThreadPoolExecutor(1) as client:
        client.submit(
            httpx.post,
            f"{url}/functions/v1/generate-image",
            json={**SMALL, **SLOW},
            headers=anon_headers(),
            timeout=60,
        )
        eventually(lambda: sandbox.state.predictions)
        process.send_signal(signal.SIGTERM)
        eventually(lambda: not serves(url))
        process.send_signal(signal.SIGTERM)
        process.wait(SHUTDOWN_GRACE_S / 2)
