"""Many workers at once, zombies, killed backends, a restarted server, lost answers, sql/ applied in the middle."""

import random
import socket
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from scripts.postgres import cluster, free_port
from scripts.schema import apply_schema
from tests.help import LOOK_S, eventually, until
from tests.sql.help import claim, expire, job_row

pytestmark = pytest.mark.slow

ENQUEUE = """
select enqueue_job(case when n %% 3 = 0 then 'download-image' else 'other' end, jsonb_build_object('n', n), n %% 3,
    p_max_attempts => 1, p_created_by => case when n %% 2 = 0 then md5((n %% 7)::text)::uuid end)
from generate_series(1, %s) as n
"""
OPEN = "select count(*) as n from job_queue where status in ('pending', 'processing')"
TAKE = """
select id, lease_token from claim_jobs(5, 'fleet', '0.5 s')
union all select id, lease_token from picture_edge.claim_suspect('fleet', '0.5 s')
"""


def test_fifty_workers_run_two_thousand_jobs_once_each(db, connect):
    db.execute(ENQUEUE, (2000,))

    def work(connection):
        taken = []
        while rows := connection.execute("select id, lease_token from claim_jobs(3)").fetchall():
            taken += [row["id"] for row in rows]
            done = connection.execute(
                "select complete_jobs(%s, %s) as id",
                ([row["id"] for row in rows], [row["lease_token"] for row in rows]),
            ).fetchall()
            assert len(done) == len(rows)
        return taken

    with ThreadPoolExecutor(50) as threads:
        parts = list(threads.map(work, [connect() for _ in range(50)]))
    taken = Counter(job_id for part in parts for job_id in part)
    assert len(taken) == 2000
    assert set(taken.values()) == {1}
    ended = db.execute(
        "select status, max(attempt_number) as n, count(*) from job_queue group by 1"
    )
    assert ended.fetchall() == [{"status": "completed", "n": 1, "count": 2000}]


ZOMBIE = """
do $$
declare
    v_statement text;
    v_lease record;
begin
    for v_lease in select id, token from zombies loop
        foreach v_statement in array array[
            'select picture_edge.extend_lease($1, $2, ''10 s'')', 'select public.complete_job($1, p_lease_token => $2)',
            'select public.complete_job($1, p_error => ''x'', p_lease_token => $2)'
        ] loop
            begin
                execute v_statement using v_lease.id, v_lease.token;
                insert into verdicts values ('accepted');
            exception when sqlstate 'PT409' then
                insert into verdicts values ('refused');
            end;
        end loop;
    end loop;
end;
$$
"""


def test_a_thousand_zombies_are_refused(db):
    db.execute(ENQUEUE, (1000,))
    db.execute("create temp table verdicts (verdict text)")
    db.execute("create temp table zombies as select id, lease_token as token from claim_jobs(1000)")
    db.execute("update job_queue set lease_expires_at = now() - interval '1 s'")
    db.execute("select picture_edge.requeue_expired(1000)")
    db.execute(ZOMBIE)  # before anybody has taken over …
    assert len(db.execute("select id from claim_jobs(1000)").fetchall()) == 1000
    before = db.execute(
        "select md5(string_agg(j::text, '' order by id)) as it from job_queue as j"
    ).fetchone()
    db.execute(ZOMBIE)  # … and after
    zombies = "(select array_agg(id) from zombies), (select array_agg(token) from zombies)"
    for batch in (f"picture_edge.extend_leases({zombies}, '10 s')", f"complete_jobs({zombies})"):
        assert db.execute(f"select {batch}").fetchall() == []
    verdicts = db.execute("select verdict, count(*) as n from verdicts group by 1").fetchall()
    assert verdicts == [{"verdict": "refused", "n": 6000}]
    assert (
        db.execute(
            "select md5(string_agg(j::text, '' order by id)) as it from job_queue as j"
        ).fetchone()
        == before
    )


class Fleet:
    """Workers that go on whatever happens to their connections, and the history they keep outside the database."""

    def __init__(self, dsn: str, size: int) -> None:
        self.dsn = dsn
        self.confirmed: Counter = Counter()
        """Ends that the database has confirmed, by job."""
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self.work) for _ in range(size)]

    def work(self) -> None:
        while not self.done.is_set():
            try:
                with psycopg.connect(
                    self.dsn, autocommit=True, connect_timeout=5, row_factory=dict_row
                ) as db:
                    while not self.done.is_set():
                        self.step(db)
            except psycopg.Error:
                continue

    def step(self, db) -> None:
        rows = db.execute(TAKE).fetchall()
        if not rows:
            self.done.wait(LOOK_S)
        for row in rows:
            try:
                db.execute(
                    "select complete_job(%s, p_lease_token => %s)", (row["id"], row["lease_token"])
                )
            except psycopg.Error as error:
                if error.sqlstate != "PT409":
                    raise
            else:
                self.confirmed[row["id"]] += 1

    @contextmanager
    def working(self):
        for thread in self.threads:
            thread.start()
        try:
            yield
        finally:
            self.done.set()
            for thread in self.threads:
                thread.join()


def check(db, fleet, count):
    rows = db.execute("select status, count(*) as n from job_queue group by 1").fetchall()
    assert rows == [{"status": "completed", "n": count}]
    assert set(fleet.confirmed.values()) <= {1}, "a job was ended twice"


def test_backends_killed_at_random(db, dsn):
    db.execute(ENQUEUE, (600,))
    fleet, chance = Fleet(dsn, 8), random.Random(3)  # noqa: S311 - replayable
    kills = 0

    def kill_until_done() -> bool:
        nonlocal kills
        pids = db.execute(
            "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            " and query like '%%_job%%'"
        ).fetchall()
        if pids and kills < 60:
            kills += db.execute(
                "select pg_terminate_backend(%s)::int as n", (chance.choice(pids)["pid"],)
            ).fetchone()["n"]
        return db.execute(OPEN).fetchone()["n"] == 0

    with fleet.working():
        eventually(kill_until_done)
    assert kills >= 20
    check(db, fleet, 600)


def test_a_server_that_crashes_in_the_middle():
    with tempfile.TemporaryDirectory(prefix="picture-edge-", ignore_cleanup_errors=True) as folder:
        server = cluster(Path(folder), free_port())
        server.start()  # fsync as it comes: what was confirmed must be there afterwards
        try:
            apply_schema(server.url)
            with psycopg.connect(server.url, autocommit=True) as db:
                db.execute(ENQUEUE, (500,))
            fleet = Fleet(server.url, 6)
            with fleet.working():
                eventually(lambda: sum(fleet.confirmed.values()) >= 100)
                server.stop("immediate")
                server.start()
                with psycopg.connect(server.url, autocommit=True, row_factory=dict_row) as db:
                    until(db, OPEN, 0)
                    check(db, fleet, 500)
        finally:
            server.stop("immediate")


@contextmanager
def deaf_proxy(port: int):
    """A proxy to PostgreSQL: once ``cut`` is set, the next answer is awaited and swallowed, and the client cut off."""
    cut = threading.Event()

    def forward(source: socket.socket, target: socket.socket, answers: bool) -> None:
        try:
            while data := source.recv(65536):
                if answers and cut.is_set():
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client, socket.create_connection(("127.0.0.1", port)) as server:
                back = threading.Thread(target=forward, args=(server, client, True))
                back.start()
                forward(client, server, False)
                back.join()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], cut
        thread.join()


@pytest.mark.parametrize(
    "statement",
    [
        "select complete_job(%s, '{\"a\": 1}', p_lease_token => %s)",
        "select complete_job(%s, p_error => 'x', p_lease_token => %s)",
        "select picture_edge.release_job(%s, %s)",
    ],
)
def test_the_commit_was_done_and_its_answer_lost(db, dsn, enqueue, statement):
    job_id = enqueue()
    token = claim(db)["lease_token"]
    with (
        deaf_proxy(db.info.port) as (port, cut),
        closing(
            psycopg.connect(
                dsn,
                port=port,
                host="127.0.0.1",
                autocommit=True,
                sslmode="disable",
                gssencmode="disable",
            )
        ) as theirs,
    ):
        cut.set()
        with pytest.raises(psycopg.OperationalError):
            theirs.execute(statement, (job_id, token))
    done = job_row(db, job_id)
    assert done["status"] != "processing"
    db.execute(statement, (job_id, token))
    assert job_row(db, job_id) == done


def test_sql_applied_in_the_middle_of_traffic_loses_and_doubles_nothing(db, dsn):
    db.execute(ENQUEUE, (600,))
    fleet = Fleet(dsn, 4)
    with fleet.working():
        for _ in range(3):
            apply_schema(dsn)
            db.execute(
                "select enqueue_job('other', '{}', p_max_attempts => 1) from generate_series(1, 200)"
            )
        until(db, OPEN, 0)
    check(db, fleet, 1200)


def test_an_expired_lease_is_taken_over_by_one_only(db, connect, enqueue):
    job_id = enqueue(p_max_attempts=99)
    claim(db)
    expire(db, job_id)
    barrier = threading.Barrier(10)

    def take(connection) -> Callable:
        barrier.wait()
        return connection.execute("select * from claim_jobs(1)").fetchall()

    with ThreadPoolExecutor(10) as threads:
        taken = list(threads.map(take, [connect() for _ in range(10)]))
    assert sum(len(rows) for rows in taken) <= 1
    assert job_row(db, job_id)["lease_token"] <= 2
