"""What the queue's tests share: enqueue by named arguments, claim, look, and move time."""

import json
from contextlib import contextmanager

import psycopg
import pytest

LEASE_LOST = "PT409"
WAITING = """
select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()
"""


@pytest.fixture
def enqueue(db):
    def call(**arguments):
        values = {"p_job_type": "generate-image", "p_payload": "{}", **arguments}
        named = ", ".join(f"{name} => %({name})s" for name in values)
        return db.execute(f"select enqueue_job({named}) as id", values).fetchone()["id"]

    return call


def claim(connection):
    return connection.execute("select * from claim_next_job()").fetchone()


def job(db, job_id):
    return db.execute("select * from job_queue where id = %s", (job_id,)).fetchone()


def expire(db, job_id):
    db.execute(
        "update job_queue set lease_expires_at = now() - interval '1 s' where id = %s", (job_id,)
    )


def due(db, job_id):
    """Do not wait for a backoff."""
    db.execute("update job_queue set scheduled_at = now() where id = %s", (job_id,))


def refused(db, statement, arguments=(), sqlstate=LEASE_LOST):
    """The statement fails with ``sqlstate``; returns the error's text."""
    with pytest.raises(psycopg.Error) as error:
        db.execute(statement, arguments)
    assert error.value.sqlstate == sqlstate
    return str(error.value)


@contextmanager
def signed_in(connection, user_id, role="authenticated"):
    """One request of PostgREST's: a transaction with the token's role and claims, committed unless it fails."""
    with connection.transaction():
        connection.execute(f"set local role {role}")
        claims = json.dumps({"sub": user_id, "role": role} if user_id else {"role": role})
        connection.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
        yield connection
        connection.execute("reset role")
