"""Page queue: jobs per second by pgbench, for our SQL and the baseline alike: equal client overhead."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg

from scripts.postgres import Postgres

CLIENTS = (1, 8)
BATCH = 100

FLOOR = """
drop table if exists floor;
create table floor (
    id uuid primary key default gen_random_uuid(), n bigint generated always as identity, payload jsonb, status text
);
insert into floor (payload, status) select '{}', 'pending' from generate_series(1, 100000);
create index on floor (n);
vacuum analyze floor;
drop table if exists bare_queue;
create table bare_queue (like public.job_queue including all);
alter table bare_queue add column n serial;
insert into bare_queue (job_type) select 'bench' from generate_series(1, 100000);
create index on bare_queue (n);
vacuum analyze bare_queue;
create sequence if not exists bare_turns;
"""
UPDATE = "\\set row random(1, 100000)\nupdate floor set status = 'x' where n = :row;\n"
"""Update of one random row by key: the least work of a claim or a completion."""
BARE_TURN = "select nextval('bare_turns') % 100000 + 1 as row \\gset\n"
BARE_CLAIM = """
update bare_queue set status = 'processing', lease_token = lease_token + 1, lease_expires_at = now() + '1 min',
completed_at = null, started_at = now(), updated_at = now() where n = :row;
"""
BARE_END = """
update bare_queue set status = 'completed', result = '{}', lease_expires_at = null, completed_at = now(),
updated_at = now() where n = :row;
"""
"""What a claim and a completion write, on a table with job_queue's indexes and without its triggers, the row known."""
INSERT_MANY = (
    "insert into floor (payload, status) select '{{}}', 'pending' from generate_series(1, {n});"
)
ENQUEUE_MANY = "select public.enqueue_job('bench', '{{}}') from generate_series(1, {n});"
ENQUEUE_JOBS = (
    "select public.enqueue_jobs("
    "array_fill('bench'::text, array[{n}]), array_fill('{{}}'::jsonb, array[{n}]));"
)
END = """
with claimed as (select array_agg(id) as ids, array_agg(lease_token) as tokens from public.claim_jobs({n}))
select public.complete_jobs(ids, tokens) from claimed;
"""

Cell = tuple[str, str, int, int]

CELLS: Sequence[Cell] = (
    ("floor: insert one row", "insert into floor (payload, status) values ('{}', 'pending');", 1, 0),
    ("enqueue_job", "select public.enqueue_job('bench', '{}');", 1, 0),
    ("floor: update one row", UPDATE, 1, 0),
    ("claim_next_job", "select * from public.claim_next_job();", 1, 1),
    ("floor: two updates", UPDATE + UPDATE, 1, 0),
    ("floor: the two updates of a job, with the queue's indexes", BARE_TURN + BARE_CLAIM + BARE_END, 1, 0),
    ("claim, then complete, one by one", END.format(n=1), 1, 1),
    (f"floor: insert {BATCH} rows", INSERT_MANY.format(n=BATCH), BATCH, 0),
    (f"enqueue_job, {BATCH} in a statement", ENQUEUE_MANY.format(n=BATCH), BATCH, 0),
    (f"enqueue_jobs, {BATCH} in a statement", ENQUEUE_JOBS.format(n=BATCH), BATCH, 0),
    (f"claim_jobs({BATCH}), then complete_jobs", END.format(n=BATCH), BATCH, BATCH),
)  # fmt: skip
"""Name, pgbench script, jobs for each transaction, jobs that a transaction claims."""


def throughput(
    postgres: Postgres, seconds: int, cells: Sequence[Cell] | None = None
) -> Iterator[tuple[str, Sequence[float]]]:
    """Yield each row's name and its jobs per second by number of connections; ``seconds`` for each.

    ``cells``: CELLS, or some of them.
    """
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        for statement in FLOOR.split(";\n"):
            connection.execute(statement.encode())
        for name, script, jobs, claimed in cells or CELLS:
            rates = []
            for clients in CLIENTS:
                connection.execute("truncate public.job_queue")
                if claimed:  # more than can be claimed in the time
                    waiting = seconds * (60_000 if claimed > 1 else 15_000)
                    connection.execute(
                        "insert into public.job_queue (job_type) select 'bench' from generate_series(1, %s)",
                        (waiting,),
                    )
                connection.execute("vacuum analyze public.job_queue")
                connection.execute("checkpoint")
                rates.append(pgbench(postgres, script, clients, seconds) * jobs)
            yield name, rates


def pgbench(postgres: Postgres, script: str, clients: int, seconds: int) -> float:
    """Transactions per second of ``script``. Raises RuntimeError with pgbench's error output."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "script.sql"
        file.write_text(script)
        Path(folder).chmod(0o755)
        done = postgres.run(
            "pgbench", "--no-vacuum", "--file", str(file), "--client", str(clients),
            "--jobs", str(min(clients, 2)), "--time", str(seconds), postgres.url,
        )  # fmt: skip
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode or not found:
        raise RuntimeError(done.stderr.strip())
    return float(found[1])
