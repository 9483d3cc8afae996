"""What the SQL tests share beside the fixtures: statements by name, moved time, refusals, waits for locks."""

import json
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.conftest import Database, Row
from tests.help import BODY, eventually

USER, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
NOBODY = "99999999-9999-4999-8999-999999999999"
"""The id of no row."""
LEASE_LOST = "PT409"
"""SQLSTATE of a stale fencing token: the job is another worker's, or has ended."""
LOCK_WAITS = """
select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()
"""
SNAPSHOT = """
select array_agg(line order by line) as lines from (
    select format('%s.%s %s %s', table_schema, table_name, column_name, data_type) as line
    from information_schema.columns where table_schema in ('public', 'auth')
    union all select 'function ' || oid::regprocedure || md5(prosrc) || proacl::text from pg_proc
        where pronamespace in (
            'public'::regnamespace, 'auth'::regnamespace, 'picture_edge'::regnamespace, 'edge_private'::regnamespace
        )
    union all select 'sequence ' || schemaname || sequencename from pg_sequences
    union all select 'trigger ' || pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
    union all select 'policy ' || tablename || policyname || coalesce(qual, '') from pg_policies
    union all select 'index ' || indexdef from pg_indexes where schemaname = 'public'
    union all select 'grant ' || grantee || table_name || privilege_type from information_schema.table_privileges
        where table_schema = 'public'
    union all select 'model ' || replicate_id from public.models
) as everything
"""
"""The schema as one array of lines: two databases with equal lines have the same schema."""


def claim(connection: Database) -> Any:
    """The row that claim_next_job hands out, or None."""
    return connection.execute("select * from claim_next_job()").fetchone()


def claimed(connection: Database, limit: int = 100, **arguments: object) -> list[Any]:
    """The ids that claim_jobs hands out, in its order; ``arguments`` by their SQL names."""
    named = "".join(f", {name} => %({name})s" for name in arguments)
    rows = connection.execute(f"select * from claim_jobs({limit}{named})".encode(), arguments)
    return [row["id"] for row in rows.fetchall()]


def job_row(db: Database, job_id: object) -> Any:
    """The job's row, or None."""
    return db.execute("select * from job_queue where id = %s", (job_id,)).fetchone()


def generation_row(db: Database, generation_id: object) -> Any:
    """The generation's row, or None."""
    return db.execute("select * from image_generations where id = %s", (generation_id,)).fetchone()


def expire(db: Database, job_id: object) -> None:
    """As if the lease had run out: its worker has died."""
    db.execute(
        "update job_queue set lease_expires_at = now() - interval '1 s' where id = %s", (job_id,)
    )


def due(db: Database, job_id: object) -> None:
    """End a backoff at once."""
    db.execute("update job_queue set scheduled_at = now() where id = %s", (job_id,))


def begin(db: Database, job: Row, generation_id: object) -> Any:
    """begin_generate_image under the claimed ``job``'s lease: the prediction to adopt, or None."""
    return db.execute(
        "select * from picture_edge.begin_generate_image(%s, %s, %s, '10 minutes')",
        (job["id"], job["lease_token"], generation_id),
    ).fetchone()


def start_all(
    db: Database, *prompts: str | None, users: tuple[str, ...] = (USER, OTHER)
) -> list[Row]:
    """Start a generation for each prompt, of each user in turn; the rows, with generation_id and job_id."""
    requests = [Jsonb({**BODY, "prompt": prompt}) for prompt in prompts]
    return db.execute(
        "select * from picture_edge.start_generations(%s::uuid[], %s)", (list(users), requests)
    ).fetchall()


def refused(
    db: Database, statement: str, arguments: Any = (), sqlstate: str | None = LEASE_LOST
) -> str:
    """The statement fails with ``sqlstate``; returns the error's text."""
    with pytest.raises(psycopg.Error) as error:
        db.execute(statement.encode(), arguments)
    assert error.value.sqlstate == sqlstate
    return str(error.value)


def until_blocked(db: Database, call: "Future[Any]") -> None:
    """Wait until a session waits for a lock. Fails if ``call``, which is to be that session, ends instead."""
    eventually(lambda: db.execute(LOCK_WAITS).fetchone() or call.done())
    assert not call.done(), "the call did not wait for the lock"


@contextmanager
def signed_in(
    connection: Database, user_id: str | None, role: str = "authenticated"
) -> Iterator[Database]:
    """One request of PostgREST's: a transaction with the token's role and claims, committed unless it fails."""
    with connection.transaction():
        connection.execute(f"set local role {role}".encode())
        claims = json.dumps({"sub": user_id, "role": role} if user_id else {"role": role})
        connection.execute("select set_config('request.jwt.claims', %s, true)", (claims,))
        yield connection
        connection.execute("reset role")
