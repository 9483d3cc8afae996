"""The app of the field variant: its own helper's calls, one by one, as PostgREST sends them for a signed-in user.

On a database of the field variant, upgraded in place; the statements are those that PostgREST makes of the requests.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.rows import dict_row

from scripts.schema import apply_schema
from tests.conftest import PORT, Database
from tests.help import BODY
from tests.sql.help import OTHER, USER, claim, signed_in
from tests.sql.originals import COMMON, FIELD, ROWS, database_of

READ = {
    *("id", "job_type", "payload", "status", "attempts", "max_attempts", "scheduled_at", "started_at"),
    *("completed_at", "error_message", "error_details", "created_by", "priority", "created_at", "updated_at"),
}  # fmt: skip
TYPES = {
    "p_job_type": "text",
    "p_payload": "jsonb",
    "p_priority": "integer",
    "p_max_attempts": "integer",
}


@pytest.fixture(scope="module")
def server(postgres, admin) -> Iterator[str]:
    """The server's address, where the database "original" is the field variant, upgraded, without jobs or sessions."""
    address = f"postgresql://postgres:postgres@127.0.0.1:{PORT}"
    with database_of(f"{address}/postgres", COMMON, FIELD, ROWS) as (url, connection):
        for _ in range(2):
            apply_schema(url)
        connection.execute("delete from job_queue")
        connection.close()  # a template has no sessions
        yield address


@pytest.fixture
def db(server, admin) -> Iterator[Database]:
    """A copy of that database for one test: a template copy is cheaper than two runs of sql/."""
    admin.execute("create database app owner postgres template original strategy file_copy")
    with psycopg.connect(f"{server}/app", autocommit=True, row_factory=dict_row) as connection:
        yield connection
    admin.execute("drop database app with (force)")


def rpc(connection, function, body, user=USER):
    """POST /rpc/<function>, a function that returns one value."""
    types = ", ".join(f"{name} {TYPES.get(name, 'timestamptz')}" for name in body)
    given = ", ".join(f"{name} := pgrst_body.{name}" for name in body)
    with signed_in(connection, user):
        return connection.execute(
            f"with pgrst_source as (select public.{function}({given}) as pgrst_scalar"
            f" from (select * from json_to_record(%s) as _({types})) as pgrst_body)"
            " select pgrst_scalar as it from pgrst_source",
            (json.dumps(body),),
        ).fetchone()["it"]


def enqueue_job(connection, user=USER, **options):
    """enqueueJob: every argument named; those without a default of the helper's may be left out."""
    body = {"p_job_type": "generate-image", "p_payload": BODY, **options}
    return rpc(connection, "enqueue_job", body, user)


def select(connection, query, *arguments, user=USER):
    with signed_in(connection, user):
        return connection.execute(query, arguments).fetchall()


def get_job(connection, job_id, user=USER):
    """select('*').eq('id', id).single(): any number of rows but one is PGRST116."""
    return select(connection, "select * from job_queue where id = %s", job_id, user=user)


def cancel_job(connection, job_id, user=USER):
    """update({status, updated_at}).eq('id', id).eq('status', 'pending'): how many rows."""
    body = {"status": "cancelled", "updated_at": datetime.now(UTC).isoformat()}
    with signed_in(connection, user):
        return connection.execute(
            "with pgrst_source as (update public.job_queue set status = pgrst_body.status,"
            " updated_at = pgrst_body.updated_at"
            " from (select * from json_to_record(%s) as _(status text, updated_at timestamptz)) as pgrst_body"
            " where job_queue.id = %s and job_queue.status = 'pending' returning 1)"
            " select count(*) as n from pgrst_source",
            (json.dumps(body), job_id),
        ).fetchone()["n"]


def test_enqueue_job_with_all_that_the_helper_gives(db):
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    job_id = enqueue_job(db, p_priority=0, p_scheduled_at=now, p_max_attempts=3)
    [row] = get_job(db, job_id)
    assert row.keys() >= READ
    assert (row["job_type"], row["status"], row["attempts"]) == ("generate-image", "pending", 0)
    assert (row["max_attempts"], row["priority"], str(row["created_by"])) == (3, 0, USER)
    assert row["payload"].items() >= BODY.items()


@pytest.mark.parametrize(
    "options",
    [{}, {"p_priority": 0}, {"p_max_attempts": 1}, {"p_scheduled_at": "2020-01-01T00:00:00.000Z"}],
)
def test_enqueue_job_with_some_of_it(db, options):
    [row] = get_job(db, enqueue_job(db, **options))
    assert row["status"] == "pending"


def test_the_job_runs_and_the_app_reads_its_steps(db):
    job_id = enqueue_job(db)
    claimed = claim(db)
    assert claimed["id"] == job_id
    [row] = get_job(db, job_id)
    assert (row["status"], row["attempts"], row["started_at"] is not None) == (
        "processing",
        1,
        True,
    )
    db.execute(
        "select complete_job(p_job_id => %s, p_error_message => 'no luck', p_error_details => '{\"code\": 7}')",
        (job_id,),
    )
    [row] = get_job(db, job_id)
    assert (row["status"], row["error_message"]) == ("pending", "no luck")
    assert row["error_details"] == {"code": 7}
    generation_id = row["payload"]["generation_id"]
    [generation] = select(db, "select * from image_generations where id = %s", generation_id)
    assert generation["status"] == "queued"


def test_a_row_of_somebody_elses_or_none_is_not_found(db):
    theirs = enqueue_job(db, user=OTHER)
    assert get_job(db, theirs) == get_job(db, OTHER) == []
    assert len(get_job(db, theirs, user=OTHER)) == 1


def test_the_list_newest_first_filtered_and_in_pages(db):
    mine = [enqueue_job(db) for _ in range(3)]
    enqueue_job(db, user=OTHER)
    cancel_job(db, mine[0])
    newest_first = "select * from job_queue {} order by created_at desc limit 2 offset {}"
    listed = select(db, newest_first.format("", 0)) + select(db, newest_first.format("", 2))
    assert [row["id"] for row in listed] == mine[::-1]
    pending = select(db, newest_first.format("where status = 'pending'", 0))
    assert [row["id"] for row in pending] == mine[:0:-1]


def test_cancel_job(db):
    job_id, theirs = enqueue_job(db), enqueue_job(db, user=OTHER)
    assert cancel_job(db, job_id) == 1
    [row] = get_job(db, job_id)
    assert (row["status"], row["completed_at"] is not None) == ("cancelled", True)
    [generation] = select(
        db, "select * from image_generations where id = %s", row["payload"]["generation_id"]
    )
    assert generation["status"] == "cancelled"
    assert cancel_job(db, job_id) == cancel_job(db, theirs) == 0
    running = enqueue_job(db)
    db.execute("update job_queue set status = 'processing' where id = %s", (running,))
    assert cancel_job(db, running) == 0


def queue_stats(connection, user=USER, job_type=None):
    """getQueueStats: it adds up count by status."""
    where = " where job_type = %s" if job_type else ""
    rows = select(
        connection,
        f"select * from queue_health{where}",
        *([job_type] if job_type else []),
        user=user,
    )
    stats: dict[str, int] = {}
    for row in rows:
        stats[row["status"]] = stats.get(row["status"], 0) + row["count"]
        assert "avg_duration_seconds" in row
    return stats


def test_queue_stats(db):
    ids = [enqueue_job(db) for _ in range(4)]
    enqueue_job(db, user=OTHER)
    cancel_job(db, ids[0])
    db.execute("select complete_job(%s)", (ids[1],))
    db.execute("select enqueue_job('download-image', '{}', p_created_by => %s)", (USER,))
    assert queue_stats(db) == {"pending": 3, "completed": 1, "cancelled": 1}
    assert queue_stats(db, job_type="generate-image") == {
        "pending": 2,
        "completed": 1,
        "cancelled": 1,
    }
    assert queue_stats(db, user=OTHER) == {"pending": 1}


def test_the_views_of_trouble_show_the_users_own(db):
    mine, theirs = enqueue_job(db), enqueue_job(db, user=OTHER)
    for job_id in (mine, theirs):
        db.execute("select complete_job(%s, p_error => 'refused', p_retry => false)", (job_id,))
    [failed] = select(db, "select * from failed_jobs_recent")
    assert (failed["id"], failed["attempts"], failed["error_message"]) == (mine, 0, "refused")
    assert failed.keys() >= {"job_type", "payload", "created_at", "completed_at"}
    db.execute("alter table job_queue disable trigger user")
    db.execute(
        "update job_queue set status = 'processing', completed_at = null, started_at = now() - interval '11 min'"
    )
    [stuck] = select(db, "select * from stuck_jobs")
    assert (stuck["id"], round(stuck["minutes_stuck"])) == (mine, 11)


def test_a_deleted_user_leaves_their_jobs(db):
    job_id = enqueue_job(db, user=OTHER)
    db.execute("delete from image_generations where user_id = %s", (OTHER,))
    db.execute("delete from auth.users where id = %s", (OTHER,))
    row = db.execute("select created_by from job_queue where id = %s", (job_id,)).fetchone()
    assert row == {"created_by": None}
