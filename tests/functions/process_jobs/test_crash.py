"""A worker process that is killed in the middle of a paid prediction: nothing lost, nothing paid twice."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from functions._local.defaults import SANDBOX_TOKEN, local_environment
from functions._local.sandbox.app import create_sandbox
from scripts.postgres import free_port
from scripts.stack import bound, serving
from tests.conftest import running_edge

PROJECT = Path(__file__).parents[3]
BODY = {
    "prompt": "a cat",
    "model_id": "black-forest-labs/flux-schnell",
    "width": 256,
    "height": 256,
}
PAID = "select count(replicate_prediction_id) as n from image_generations"


@contextmanager
def own_process(environ: dict[str, str]) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """``python -m functions``, ready; and its address."""
    port = free_port()
    values = local_environment({**environ, "EDGE_PORT": str(port)})
    with subprocess.Popen(
        [sys.executable, "-m", "functions"],
        cwd=PROJECT,
        env={**os.environ, **values},
        stderr=subprocess.DEVNULL,
    ) as process:
        url = f"http://127.0.0.1:{port}"
        while True:
            try:
                httpx.get(f"{url}/health")
                break
            except httpx.ConnectError:
                assert process.poll() is None
        try:
            yield process, url
        finally:
            process.kill()


@pytest.mark.parametrize("known", [True, False], ids=["its id written down", "its answer lost"])
def test_the_next_process_adopts_what_a_killed_one_had_paid_for(environ, db, monkeypatch, known):
    monkeypatch.setattr("functions.process_generation.adopt.LISTED_AFTER_S", 0.0)
    app = create_sandbox(token=SANDBOX_TOKEN, seconds=500)
    sandbox = app.state.sandbox
    sandbox.slow_seconds = 3600
    with bound("127.0.0.1", free_port(), "sandbox") as listener, serving(app, listener):
        environ["REPLICATE_API_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        fault = "" if known else "[fault:slow-answer]"
        with own_process(environ) as (process, url):
            token = {"Authorization": f"Bearer {local_environment({})['SUPABASE_ANON_KEY']}"}
            body = {**BODY, "model_id": "google/nano-banana", "prompt": f"a cat {fault}"}
            answer = httpx.post(f"{url}/functions/v1/start-generation", json=body, headers=token)
            assert answer.status_code == 200
            wanted = "running" if known else "intended"
            while not db.execute(
                "select 1 from predictions where status = %s", (wanted,)
            ).fetchone():
                pass
            while not sandbox.predictions:
                pass
            process.kill()
            process.wait()
        [prediction] = sandbox.predictions.values()
        prediction.created -= 550  # the picture is ready, and nobody asks for it
        assert db.execute("select status from job_queue").fetchone() == {"status": "processing"}

        with running_edge(**environ):
            while db.execute("select status from image_generations").fetchone() != {
                "status": "completed"
            }:
                pass
        assert len(sandbox.predictions) == 1
    took_over = db.execute(
        "select attempt_number, errors from job_queue where job_type = 'generate-image'"
    ).fetchone()
    assert took_over is not None
    assert took_over["attempt_number"] == 1, "a parked job needs no worker, and a death costs none"
    assert [error["text"] for error in took_over["errors"]] == (
        [] if known else ["The worker stopped answering"]
    )


def test_two_processes_share_the_queue_and_run_each_job_once(environ, db, sandbox):
    with own_process(environ) as (_, one), own_process(environ) as (_, other):
        token = {"Authorization": f"Bearer {local_environment({})['SUPABASE_ANON_KEY']}"}
        for n in range(20):
            answer = httpx.post(
                f"{(one, other)[n % 2]}/functions/v1/start-generation", json=BODY, headers=token
            )
            assert answer.status_code == 200
        while db.execute("select count(*) as n from images").fetchone() != {"n": 20}:
            pass
    jobs = db.execute(
        "select count(*) as n, sum(attempt_number) as attempts from job_queue"
    ).fetchone()
    assert jobs == {"n": 40, "attempts": 40}
    workers = db.execute("select count(distinct worker_id) as n from job_queue").fetchone()
    assert workers == {"n": 2}
    assert len(sandbox.state.predictions) == 20


def test_one_of_several_workers_that_is_killed_is_not_noticed(environ, db, sandbox):
    """No leader among them, and whoever is left goes on."""
    port = free_port()
    values = local_environment({**environ, "EDGE_PORT": str(port)}) | {"EDGE_WORKERS": "3"}
    token = {"Authorization": f"Bearer {values['SUPABASE_ANON_KEY']}"}
    with subprocess.Popen(
        [sys.executable, "-m", "functions"],
        cwd=PROJECT,
        env={**os.environ, **values},
        stderr=subprocess.DEVNULL,
    ) as supervisor:
        try:
            pids = "select distinct substring(worker_id from '-([0-9]+)-[0-9a-f]+$')::int as pid from job_queue"
            accepted = 0
            while len(db.execute(f"{pids} where worker_id is not null").fetchall()) < 2:
                try:
                    answer = httpx.post(
                        f"http://127.0.0.1:{port}/functions/v1/start-generation",
                        json={**BODY, "model_id": "google/nano-banana"},
                        headers=token,
                    )
                except httpx.TransportError:
                    assert supervisor.poll() is None  # none listens yet
                    continue
                assert answer.status_code == 200
                accepted += 1
            victim = db.execute(f"{pids} where worker_id is not null").fetchone()["pid"]
            os.kill(victim, signal.SIGKILL)
            done = "select count(*) as n from image_generations where status = 'completed'"
            while db.execute(done).fetchone() != {"n": accepted}:
                pass
        finally:
            supervisor.terminate()
            assert supervisor.wait(30) == 0
    assert len(sandbox.state.predictions) == accepted
    assert db.execute("select count(*) as n from images").fetchone() == {"n": accepted}
