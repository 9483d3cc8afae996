"""Both forms of the original's calls side by side, on every kind of database that sql/ is applied to, twice."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations

import psycopg
import pytest
from psycopg.rows import dict_row

from scripts.schema import apply_schema
from tests.conftest import PORT, Database
from tests.sql.help import claim, job_row
from tests.sql.originals import COMMON, DOCUMENTED, EARLIER, FIELD, ROWS, database_of

pytestmark = pytest.mark.slow

SERVER = f"postgresql://postgres:postgres@127.0.0.1:{PORT}/postgres"
FORMS = {
    # what the database was made by, before today's sql/
    "field variant": (COMMON, FIELD, ROWS),
    "documented": (COMMON, DOCUMENTED, ROWS),
    "new": (),
}


@dataclass
class Form:
    url: str
    field_variant: bool


@pytest.fixture(
    scope="module",
    params=[(form, earlier) for form in FORMS for earlier in (False, True)],
    ids=lambda param: f"{param[0]}, through an earlier sql/" if param[1] else param[0],
)
def form(request, admin) -> Iterator[Form]:
    name, earlier = request.param
    with database_of(SERVER, *FORMS[name]) as (url, connection):
        if earlier:
            apply_schema(url)
            connection.execute(EARLIER)
        for _ in range(2):
            apply_schema(url)
        connection.execute("delete from job_queue")
        yield Form(url, name == "field variant")


@pytest.fixture
def db(form) -> Iterator[Database]:
    """One transaction, rolled back."""
    with psycopg.connect(form.url, row_factory=dict_row) as connection:
        yield connection
        connection.rollback()


# By name: PostgREST takes the functions all of whose required arguments a request has, and that have all of the
# request's; it must be one. It sees none with several arguments that have no name.

NAMES = {
    "enqueue_job": [
        ["p_job_type", "p_payload", "p_priority", "p_max_attempts"],
        ["p_job_type", "p_payload", "p_priority", "p_scheduled_at", "p_max_attempts"],
    ],
    "claim_next_job": [["p_job_types"], ["p_job_types", "p_worker_id", "p_lease"]],
    "complete_job": [
        ["p_job_id", "p_result", "p_error"],
        ["p_job_id", "p_error_message", "p_error_details"],
        ["p_job_id", "p_result", "p_error", "p_lease_token", "p_retry", "p_retry_after"],
    ],
}
REQUIRED = {
    "enqueue_job": {"p_job_type", "p_payload"},
    "claim_next_job": set(),
    "complete_job": {"p_job_id"},
}
MATCHING = """
select oid::regprocedure::text as it from pg_proc
where pronamespace = 'public'::regnamespace and proname = %(name)s
    and coalesce(proargnames, '{}') @> %(given)s and (proargnames is not null or pronargs = 0)
    and %(given)s <@ proargnames[1:pronargs] and proargnames[1:pronargs - pronargdefaults] <@ %(given)s
"""


def subsets(names):
    return chain.from_iterable(combinations(names, n) for n in range(len(names) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_by_name_exactly_one_function_matches(db, name):
    calls = {given for form in NAMES[name] for given in subsets(form) if REQUIRED[name] <= {*given}}
    assert len(calls) > 3
    for given in calls:
        matching = db.execute(MATCHING, {"name": name, "given": list(given)}).fetchall()
        assert len(matching) == 1, (given, matching)
        named = ", ".join(f"{argument} => null" for argument in given)
        db.execute(f"explain select * from {name}({named})")  # resolved, not run


# enqueue_job


@pytest.mark.parametrize(
    ("call", "attempts", "later"),
    [
        pytest.param("'generate-image', '{}'", 3, False, id="two arguments"),
        pytest.param("'generate-image', '{}', 7", 3, False, id="three"),
        pytest.param("'generate-image', '{}', 7, 4", 4, False, id="documented"),
        pytest.param("'generate-image', '{}', 7, '4'", 4, False, id="documented, untyped"),
        pytest.param("'generate-image', '{}', 7, 4, '2999-01-01'", 4, True, id="ours"),
        pytest.param("'generate-image', '{}', '7', '4', '2999-01-01'", 4, True, id="ours, untyped"),
        pytest.param("'generate-image', '{}', 7, now(), 4", 4, False, id="field variant"),
        pytest.param("'generate-image', '{}', 7, now()", 3, False, id="field variant, four"),
        pytest.param("'generate-image', '{}', 7, '2999-01-01', 4", 4, True, id="field, a literal"),
        pytest.param(
            "'generate-image', '{}', '7', '2999-01-01', '4'", 4, True, id="field, untyped"
        ),
        pytest.param("'generate-image', '{}', 7, '2999-01-01'", 3, True, id="field, four, untyped"),
        pytest.param("'generate-image', '{}', 7, null", 3, False, id="nothing for the fourth"),
    ],
)
def test_enqueue_job_by_position(db, call, attempts, later):
    job_id = db.execute(f"select enqueue_job({call}) as id").fetchone()["id"]
    queued = db.execute(
        "select max_attempts, priority, scheduled_at > now() + '1 day' as later from job_queue where id = %s",
        (job_id,),
    ).fetchone()
    given = 7 if call.count(",") > 1 else 0
    assert queued == {"max_attempts": attempts, "priority": given, "later": later}


def test_every_type_of_job_is_taken(db):
    """The field variant's check knows neither send-webhook nor a type of one's own."""
    for job_type in ("generate-image", "download-image", "send-webhook", "mine"):
        assert db.execute("select enqueue_job(%s, '{}') as id", (job_type,)).fetchone()["id"]


# claim_next_job


@pytest.mark.parametrize(
    "call", ["", "array['generate-image']", "'{generate-image}'", "p_job_types => null"]
)
def test_a_claim_has_the_columns_of_both_forms(db, call):
    db.execute("select enqueue_job('generate-image', '{\"a\": 1}', 2)")
    claimed = db.execute(f"select * from claim_next_job({call})").fetchone()
    assert list(claimed)[:5] == ["id", "job_type", "payload", "attempt_number", "max_attempts"]
    assert (claimed["status"], claimed["priority"], claimed["payload"]) == (
        "processing",
        2,
        {"a": 1},
    )
    assert claimed["attempts"] == claimed["attempt_number"] == 1
    row = job_row(db, claimed["id"])
    assert not row.pop("parked"), "a claim unparks, so its result needs no such column"
    assert {**claimed, **row} == claimed | {"attempts": 1}, "every column under its own name"
    assert db.execute(f"select * from claim_next_job({call})").fetchone() is None


def test_a_claim_takes_the_types_that_are_asked_for(db):
    db.execute("select enqueue_job('generate-image', '{}')")
    assert not db.execute("select * from claim_next_job(array['download-image'])").fetchall()


# complete_job: what each call comes to, as (status, result, error_message, error_details)

DONE, FAILED = "completed", "pending"
BY_NAME = [
    ("p_job_id => %s", (DONE, None, None, None)),
    ("p_job_id => %s, p_result => '{\"a\": 1}'", (DONE, {"a": 1}, None, None)),
    ("p_job_id => %s, p_result => null, p_error => 'x'", (FAILED, None, "x", None)),
    ("p_job_id => %s, p_error_message => 'x'", (FAILED, None, "x", None)),
    (
        "p_job_id => %s, p_error_message => 'x', p_error_details => '{\"a\": 1}'",
        (FAILED, None, "x", {"a": 1}),
    ),
    (
        "p_job_id => %s, p_error_message => null, p_error_details => null",
        (DONE, None, None, None),
    ),
]
BY_POSITION = [
    ("%s", (DONE, None, None, None)),
    ("%s, '{\"a\": 1}'::jsonb", (DONE, {"a": 1}, None, None)),
    ("%s, '{\"a\": 1}'::jsonb, null", (DONE, {"a": 1}, None, None)),
    ("%s, null::jsonb, 'x'", (FAILED, None, "x", None)),
    ("%s, null, 'x'", (FAILED, None, "x", None)),
    ("%s, null", (DONE, None, None, None)),
    ("%s, null, null", (DONE, None, None, None)),
]
DOCUMENTED_ONLY = [
    ("%s, '{\"a\": 1}'", (DONE, {"a": 1}, None, None)),
    ("%s, '{\"a\": 1}', null", (DONE, {"a": 1}, None, None)),
]
FIELD_ONLY = [
    ("%s, 'x'", (FAILED, None, "x", None)),
    ("%s, 'x'::text", (FAILED, None, "x", None)),
    ("%s, '404'", (FAILED, None, "404", None)),
    ("%s, '{\"a\": 1}'", (FAILED, None, '{"a": 1}', None)),
    ("%s, 'x', '{\"a\": 1}'", (FAILED, None, "x", {"a": 1})),
    ("%s, 'x'::text, '{\"a\": 1}'::jsonb", (FAILED, None, "x", {"a": 1})),
    ("%s, 'x', '{\"a\": 1}'::jsonb", (FAILED, None, "x", {"a": 1})),
    ("%s, 'x', null", (FAILED, None, "x", None)),
]


def completed(db, call):
    db.execute("select enqueue_job('generate-image', '{}')")
    claimed = claim(db)
    db.execute(f"select complete_job({call})", (claimed["id"],))
    row = job_row(db, claimed["id"])
    return tuple(row[name] for name in ("status", "result", "error_message", "error_details"))


@pytest.mark.parametrize(("call", "ended"), BY_NAME + BY_POSITION)
def test_complete_job_in_either_form(db, call, ended):
    assert completed(db, call) == ended


@pytest.mark.parametrize(("call", "ended"), DOCUMENTED_ONLY)
def test_a_second_argument_without_a_type_is_a_result(form, db, call, ended):
    if not form.field_variant:
        assert completed(db, call) == ended


@pytest.mark.parametrize(("call", "ended"), FIELD_ONLY)
def test_a_second_argument_without_a_type_is_the_field_variants_error(form, db, call, ended):
    if form.field_variant:
        assert completed(db, call) == ended


def test_the_field_variants_errors_wait_longer_each_time_and_keep_their_details(db):
    db.execute("select enqueue_job('generate-image', '{}', p_max_attempts => 4)")
    for wait in (2, 4, 8):
        claimed = claim(db)
        db.execute(
            "select complete_job(p_job_id => %s, p_error_message => 'x', p_error_details => '{\"n\": 1}')",
            (claimed["id"],),
        )
        row = db.execute(
            "select status, error_details, extract(epoch from scheduled_at - clock_timestamp())::float8 as wait"
            " from job_queue"
        ).fetchone()
        assert (row["status"], row["error_details"]) == ("pending", {"n": 1})
        assert wait - 1 < row["wait"] <= wait
        db.execute("update job_queue set scheduled_at = now()")
    claimed = claim(db)
    db.execute("select complete_job(p_job_id => %s, p_error_message => 'last')", (claimed["id"],))
    row = job_row(db, claimed["id"])
    assert (row["status"], row["error_message"]) == ("failed", "last")
    assert row["error_details"] is None, "of the last error"


def test_details_of_an_attempt_that_failed_end_with_one_that_did_not(db):
    assert completed(db, "%s, p_error_message => 'x', p_error_details => '{}'")[3] == {}
    db.execute("update job_queue set scheduled_at = now()")
    claimed = claim(db)
    db.execute("select complete_job(%s)", (claimed["id"],))
    assert job_row(db, claimed["id"])["error_details"] is None


@pytest.mark.parametrize("error", ["", ", p_error_message => 'x'"])
def test_an_unknown_id_raises(db, error):
    with pytest.raises(psycopg.Error, match="not found"):
        db.execute(f"select complete_job(p_job_id => gen_random_uuid(){error})")


# Views

OURS = ["pending_jobs", "processing_jobs", "completed_last_hour", "failed_last_hour"]
FIELDS = ["job_type", "status", "count", "oldest_job", "newest_job", "avg_duration_seconds"]
COLUMNS = {
    "queue_health": [*FIELDS, "avg_attempts"],
    "failed_jobs_recent": [
        "id",
        "job_type",
        "payload",
        "attempts",
        "error_message",
        "created_at",
        "completed_at",
    ],
    "stuck_jobs": ["id", "job_type", "payload", "started_at", "minutes_stuck"],
}


def columns(db, view):
    return [column.name for column in db.execute(f"select * from {view}").description]


def test_queue_status_is_one_row_in_every_form_and_queue_health_as_it_was(form, db):
    assert columns(db, "queue_status")[:4] == OURS
    assert len(db.execute("select * from queue_status").fetchall()) == 1
    if form.field_variant:
        assert columns(db, "queue_health") == COLUMNS["queue_health"]
    else:
        assert columns(db, "queue_health") == columns(db, "queue_status")


def test_queue_health_of_the_field_variant_counts_by_type_and_status(form, db):
    if not form.field_variant:
        return
    for job_type in ("generate-image", "generate-image", "download-image"):
        db.execute("select enqueue_job(%s, '{}')", (job_type,))
    claimed = db.execute("select * from claim_next_job(array['download-image'])").fetchone()
    db.execute("select complete_job(%s)", (claimed["id"],))
    rows = db.execute("select * from queue_health order by job_type").fetchall()
    assert [(row["job_type"], row["status"], row["count"]) for row in rows] == [
        ("download-image", "completed", 1),
        ("generate-image", "pending", 2),
    ]
    assert [float(row["avg_attempts"]) for row in rows] == [1, 0]
    assert rows[0]["avg_duration_seconds"] >= 0
    assert rows[0]["oldest_job"] == rows[0]["newest_job"] is not None
    assert rows[1]["avg_duration_seconds"] is None


@pytest.mark.parametrize("view", ["failed_jobs_recent", "stuck_jobs"])
def test_the_views_of_trouble_have_the_columns_of_both(form, db, view):
    have = columns(db, view)
    assert {*COLUMNS[view], "attempt_number", "max_attempts", "attempts"} <= {*have}
    if form.field_variant:
        assert have[: len(COLUMNS[view])] == COLUMNS[view], "what is built on them stays"


def test_minutes_stuck_are_counted(db):
    db.execute("select enqueue_job('generate-image', '{}')")
    db.execute("alter table job_queue disable trigger user")  # the field variant's sets updated_at
    db.execute(
        "update job_queue set status = 'processing', started_at = now() - interval '12 minutes', attempt_number = 2"
    )
    [row] = db.execute("select minutes_stuck, attempts from stuck_jobs").fetchall()
    assert (float(row["minutes_stuck"]), row["attempts"]) == (12, 2)


# Rights

OPEN = """
select p.oid::regprocedure::text as signature, role from pg_proc as p, unnest(array['anon', 'authenticated']) as role
where p.pronamespace in ('public'::regnamespace, 'edge_private'::regnamespace)
    and has_function_privilege(role, p.oid, 'execute') and p.prorettype <> 'trigger'::regtype
"""


def test_no_call_of_either_form_is_open_but_the_users_own_enqueue(db):
    rows = db.execute(OPEN).fetchall()
    rows = [row for row in rows if not row["signature"].startswith("update_updated_at_column")]
    assert {row["role"] for row in rows} == {"authenticated"}
    assert sorted(row["signature"].split("(")[0] for row in rows) == [
        "edge_private.enqueue_own_job",
        "edge_private.picture_buckets",
        "enqueue_job",
        "enqueue_job",
        "enqueue_job",
    ]
    definers = db.execute("select proname from pg_proc where prosecdef order by 1").fetchall()
    assert [row["proname"] for row in definers] == [
        "delete_images_of_objects",
        "enqueue_own_job",
        "follow_own_cancel",
        "picture_buckets",
        "remove_files_of_images",
        "remove_files_of_job",
    ]


def test_users_read_the_views_where_the_field_variant_was(form, db):
    for view, field in [*((view, form.field_variant) for view in COLUMNS), ("queue_status", False)]:
        readers = db.execute(
            "select role, has_table_privilege(role, %s, 'select') as may"
            " from unnest(array['anon', 'authenticated', 'service_role']) as role",
            (view,),
        ).fetchall()
        assert {row["role"]: row["may"] for row in readers} == {
            "anon": False,
            "authenticated": field,
            "service_role": True,
        }, view
