"""A process that runs jobs has a row of ``workers`` while it runs."""

import socket

from functions.process_jobs.jobs import job_types
from tests.conftest import running_edge
from tests.help import eventually


def test_a_process_is_seen_and_gone_after_its_stop(environ, db):
    with running_edge(**environ, WORKER_CONCURRENCY="7"):
        row = eventually(lambda: db.execute("select * from workers").fetchone())
        assert row["host"] == socket.gethostname()
        assert row["worker_id"].startswith(row["host"])
        assert (row["running"], row["slots"]) == (0, 7)
        assert row["job_types"] == job_types()
        assert "(sql " in row["version"]
    assert db.execute("select * from workers").fetchall() == []


def test_a_beat_that_fails_is_no_trouble_and_the_next_one_is_told(environ, db, monkeypatch):
    monkeypatch.setattr("functions._shared.jobs.LEASE_S", 0.3)
    db.execute("alter table workers rename to away")
    with running_edge(**environ) as edge:
        db.execute("select enqueue_job('a', '{}')")
        assert edge.get("process-jobs-test", edge.service_role_key).status_code == 200
        db.execute("alter table away rename to workers")
        eventually(lambda: db.execute("select * from workers").fetchone())
