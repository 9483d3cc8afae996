"""A worker process that is killed in the middle of a paid prediction: nothing lost, nothing paid twice."""

import os
import signal
import subprocess
import sys

import httpx
import pytest

from functions._local.defaults import SANDBOX_TOKEN, local_environment
from functions._local.sandbox.app import create_sandbox
from scripts.postgres import free_port
from scripts.stack import bound, serving
from tests.conftest import running_edge
from tests.help import (
    BANANA,
    PROJECT,
    eventually,
    own_process,
    start_at,
    until,
)

pytestmark = pytest.mark.slow


SESSIONS = """
select count(*) from pg_stat_activity
where application_name like 'picture-edge%' and datname = current_database()
"""


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
            start_at(url, model_id=BANANA, prompt=f"a cat {fault}")
            until(db, "select status from predictions", "running" if known else "intended")
            eventually(lambda: sandbox.predictions)
            process.kill()
            process.wait()
        until(db, SESSIONS, 0)  # a claim that was sent before the death is still carried out
        if not known:  # a parked job's lease is as long as its prediction may take
            db.execute("update job_queue set lease_expires_at = now()")
        [prediction] = sandbox.predictions.values()
        prediction.created -= 550  # the picture is ready, and nobody asks for it
        assert db.execute("select status from job_queue").fetchone() == {"status": "processing"}

        with running_edge(**environ):
            until(db, "select status from image_generations", "completed")
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
        for n in range(20):
            start_at((one, other)[n % 2])
        until(db, "select count(*) from images", 20)
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
    with subprocess.Popen(
        [sys.executable, "-m", "functions"],
        cwd=PROJECT,
        env={**os.environ, **values},
        stderr=subprocess.DEVNULL,
    ) as supervisor:
        try:
            pids = "select distinct substring(worker_id from '-([0-9]+)-[0-9a-f]+$')::int as pid from job_queue"
            accepted = 0

            def two_at_work() -> bool:
                nonlocal accepted
                try:
                    start_at(f"http://127.0.0.1:{port}", model_id=BANANA)
                    accepted += 1
                except httpx.TransportError:
                    assert supervisor.poll() is None  # none listens yet
                return len(db.execute(f"{pids} where worker_id is not null").fetchall()) >= 2

            eventually(two_at_work)
            victim = db.execute(f"{pids} where worker_id is not null").fetchone()["pid"]
            os.kill(victim, signal.SIGKILL)
            # Its leases of 10 s run out; those of parked jobs are long, and nobody's.
            db.execute(
                "update job_queue set lease_expires_at = now() where status = 'processing'"
                " and lease_expires_at < now() + interval '1 min' and worker_id like %s",
                (f"%-{victim}-%",),
            )
            done = "select count(*) from image_generations where status = 'completed'"
            until(db, done, accepted)
        finally:
            supervisor.terminate()
            assert supervisor.wait(30) == 0
    assert len(sandbox.state.predictions) == accepted
    assert db.execute("select count(*) as n from images").fetchone() == {"n": accepted}
