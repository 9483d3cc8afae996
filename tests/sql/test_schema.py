"""sql/ as a whole: applied again, applied by psql, on a database that is a Supabase project, and who may do what."""

import re
import subprocess
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import dict_row

from functions._shared.generation import MAX_PROMPT_CHARACTERS, MAX_SIDE_PX
from functions._shared.image_models.catalog import CATALOG
from scripts.postgres import Postgres
from scripts.schema import SQL_FOLDER, apply_schema, main
from scripts.stack import ticking
from tests.help import eventually
from tests.sql.help import OTHER, SNAPSHOT, USER, claim

GUIDE = SQL_FOLDER.parent / "docs" / "DEPLOYMENT_GUIDE.md"


def told(url: str) -> list[str]:
    """The notices, but for that of Debian's pg_cron, which these servers do not preload."""
    return [text for text in apply_schema(url) if "cannot be used here" not in text]


def test_applying_again_changes_nothing(db, dsn):
    before = db.execute(SNAPSHOT).fetchone()
    assert told(dsn) == []
    assert db.execute(SNAPSHOT).fetchone() == before


def test_the_guides_psql_gives_the_same(db, dsn, postgres: Postgres):
    [command] = re.findall(r"^    (psql .*)$", GUIDE.read_text(), re.MULTILINE)
    name = "applied_by_psql"
    db.execute(f"drop database if exists {name}")  # type: ignore[arg-type]
    db.execute(f"create database {name} template template0")  # type: ignore[arg-type]
    url = dsn.rsplit("/", 1)[0] + f"/{name}"
    for _ in range(2):
        subprocess.run(
            ["sh", "-c", command],
            check=True,
            capture_output=True,
            cwd=SQL_FOLDER.parent,
            env={"PATH": f"{postgres.bin}:/usr/bin:/bin", "DB": url},
        )
    with psycopg.connect(url) as other:
        assert other.execute(SNAPSHOT).fetchone()[0] == db.execute(SNAPSHOT).fetchone()["lines"]
    db.execute(f"drop database {name}")  # type: ignore[arg-type]


def test_a_projects_own_auth_schema_is_left_alone(dsn, db):
    db.execute("drop schema auth cascade")
    db.execute("create schema auth")
    db.execute("create function auth.uid() returns uuid language sql as 'select null::uuid'")
    apply_schema(dsn)
    found = db.execute(
        "select count(*) as n from pg_proc where pronamespace = 'auth'::regnamespace"
    ).fetchone()
    assert found["n"] == 1


def test_tables_join_the_realtime_publication_where_there_is_one(db, dsn):
    db.execute("set client_min_messages = error")  # creating one warns about wal_level
    db.execute("drop publication supabase_realtime")
    db.execute("create publication supabase_realtime")
    apply_schema(dsn)
    apply_schema(dsn)
    rows = db.execute(
        "select tablename from pg_publication_tables where pubname = 'supabase_realtime'"
    ).fetchall()
    assert {row["tablename"] for row in rows} == {"image_generations", "images", "job_queue"}


def test_the_models_of_the_catalogue_are_seeded(db):
    rows = db.execute("select replicate_id, name, default_width from public.models").fetchall()
    assert len(rows) == len(CATALOG)
    assert {"replicate_id": "stability-ai/sdxl", "name": "SDXL", "default_width": 1024} in rows


def test_a_wrong_address_is_one_line(capsys):
    assert main({"DB": "postgresql://nobody:secret-word@127.0.0.1:1/none"}) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "secret-word" not in error
    assert main({"DB": "not-a-url"}) == main({}) == 1


def test_no_command_of_make_has_the_password_in_its_arguments():
    address = "DB=postgresql://nobody:secret-word@127.0.0.1:1/none"
    told = subprocess.run(
        ["make", "--dry-run", "--old-file=.venv/run", "schema", address],
        cwd=SQL_FOLDER.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "scripts.schema" in told.stdout
    assert "secret-word" not in told.stdout


OUR_FUNCTIONS = """
select p.oid::regprocedure::text as signature, p.proacl, p.proconfig, p.oid, p.prosecdef
from pg_proc as p
where p.pronamespace in ('public'::regnamespace, 'picture_edge'::regnamespace, 'edge_private'::regnamespace)
"""
# The user's own generate-image job, which it checks (sql/38_own_jobs.sql, tests/sql/test_own_jobs.py).
OPEN_TO_USERS = {
    "enqueue_job(text,jsonb,integer,integer,timestamp with time zone,text,uuid)",
    "enqueue_job(text,jsonb,integer,timestamp with time zone,integer)",
    "enqueue_job(text,jsonb,integer,text,text)",
    "edge_private.enqueue_own_job(text,jsonb,integer,timestamp with time zone)",
    "edge_private.picture_buckets()",
}
WITH_OWNERS_RIGHTS = {
    "edge_private.enqueue_own_job(text,jsonb,integer,timestamp with time zone)",
    "edge_private.follow_own_cancel()",
    "edge_private.picture_buckets()",
    "edge_private.remove_files_of_images()",
    "edge_private.remove_files_of_job()",
    "edge_private.delete_images_of_objects()",
}


def test_no_function_is_open_to_clients_but_the_users_own_enqueue(db):
    functions = db.execute(OUR_FUNCTIONS).fetchall()
    assert len(functions) > 10
    for function in functions:
        for role in ("anon", "authenticated", "public"):
            allowed = db.execute(
                "select has_function_privilege(%s, %s::oid, 'execute') as it",
                (role, function["oid"]),
            ).fetchone()
            wanted = role == "authenticated" and function["signature"] in OPEN_TO_USERS
            assert allowed["it"] == wanted, f"{role}, {function['signature']}"
    for schema, who in (("edge_private", "authenticated"), ("picture_edge", "service_role")):
        users = db.execute(
            "select role from unnest(array['anon', 'authenticated', 'service_role', 'public']) as role"
            " where has_schema_privilege(role, %s, 'usage')",
            (schema,),
        )
        assert users.fetchall() == [{"role": who}]


def test_few_functions_have_their_owners_rights_and_take_no_name_from_the_caller(db):
    definers = {row["signature"]: row for row in db.execute(OUR_FUNCTIONS) if row["prosecdef"]}
    assert definers.keys() == WITH_OWNERS_RIGHTS
    for function in definers.values():
        assert "search_path=pg_catalog, pg_temp" in function["proconfig"], function["signature"]


def test_every_function_has_an_empty_search_path_and_a_description(db):
    for function in db.execute(OUR_FUNCTIONS).fetchall():
        assert {'search_path=""', "search_path=pg_catalog, pg_temp"} & {*function["proconfig"]}, (
            function["signature"]
        )
        described = db.execute(
            "select obj_description(%s::oid, 'pg_proc') as it", (function["oid"],)
        ).fetchone()
        assert described["it"], function["signature"]


def test_statements_of_clients_have_a_time_limit(db):
    """Set where the role is made, by the local cluster or by sql/; /rest/v1 applies it."""
    rows = db.execute(
        "select rolname, rolconfig from pg_roles where rolname in ('anon', 'authenticated', 'service_role')"
    ).fetchall()
    assert {row["rolname"]: row["rolconfig"] for row in rows} == {
        "anon": ["statement_timeout=3s"],
        "authenticated": ["statement_timeout=8s"],
        "service_role": None,
    }


def test_users_see_their_own_rows_only(db, as_role):
    for user in (USER, OTHER):
        db.execute(
            'select picture_edge.start_generation(%s, \'{"prompt": "x", "model_id": "a/b"}\')',
            (user,),
        )
        db.execute("insert into images values (default, null, %s, 'f', 'p', 'u')", (user,))
    as_role("authenticated", USER)
    assert [str(row["user_id"]) for row in db.execute("select user_id from image_generations")] == [
        USER
    ]
    assert [str(row["created_by"]) for row in db.execute("select created_by from job_queue")] == [
        USER
    ]
    assert [str(row["user_id"]) for row in db.execute("select user_id from images")] == [USER]
    assert db.execute("delete from images").rowcount == 1  # its own
    assert db.execute("select count(*) as n from models").fetchone()["n"] == len(CATALOG)
    as_role("anon")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("select * from image_generations")


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("update job_queue set priority = 9", id="a job"),
        pytest.param("update image_generations set status = 'completed'", id="a generation"),
        pytest.param("update images set public_url = 'x'", id="an image"),
        pytest.param("insert into job_queue (job_type) values ('x')", id="a new job"),
        pytest.param("select * from edge_secrets", id="the scheduled call's key"),
        pytest.param("select * from queue_health", id="the queue's health"),
        pytest.param("select * from queue_status", id="the queue's status"),
        pytest.param("select public.claim_next_job()", id="a claim"),
    ],
)
def test_users_may_not_touch(db, as_role, statement):
    as_role("authenticated", USER)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute(statement)


def test_what_a_project_grants_by_default_is_taken_back(db, dsn):
    """Supabase once granted its API roles everything on each new table and function."""
    for role in ("anon", "authenticated"):
        db.execute(f"grant all on all tables in schema public to {role}")
        db.execute(f"grant execute on all functions in schema public to {role}")
    apply_schema(dsn)
    rows = db.execute(
        "select grantee, table_name, privilege_type from information_schema.table_privileges"
        " where grantee in ('anon', 'authenticated') and privilege_type <> 'SELECT' and table_schema = 'public'"
    ).fetchall()
    assert rows == [
        {"grantee": "authenticated", "table_name": "images", "privilege_type": "DELETE"}
    ]
    test_no_function_is_open_to_clients_but_the_users_own_enqueue(db)


PROJECT = """
create schema auth;
create table auth.users (id uuid primary key);
create function auth.uid() returns uuid language sql as 'select null::uuid';
grant usage on schema auth to boss, anon, authenticated, service_role;
create publication supabase_realtime;
alter publication supabase_realtime owner to boss;
alter default privileges for role boss in schema public
grant all on tables to anon, authenticated, service_role;
alter default privileges for role boss in schema public
grant all on sequences to anon, authenticated, service_role;
alter default privileges for role boss in schema public
grant all on functions to anon, authenticated, service_role;
create function auth.pgrst_ddl_watch() returns event_trigger language plpgsql as 'begin end';
create event trigger pgrst_ddl_watch on ddl_command_end execute function auth.pgrst_ddl_watch();
"""


@pytest.fixture
def project(db, dsn) -> Iterator[str]:
    """A database as Supabase makes them: its owner is no superuser, and grants its API roles everything by name."""
    server = dsn.rsplit("@", 1)[1].rsplit("/", 1)[0]
    db.execute("set client_min_messages = error")  # a publication warns about wal_level
    db.execute("create role boss login createrole bypassrls password 'boss'")
    db.execute("grant anon, authenticated, service_role to boss with admin option")
    try:
        db.execute("create database project owner boss template template0")
        with psycopg.connect(
            f"postgresql://postgres:postgres@{server}/project", autocommit=True
        ) as admin:
            admin.execute("set client_min_messages = error")
            admin.execute(PROJECT)
        yield f"postgresql://boss:boss@{server}/project"
    finally:
        db.execute("drop database if exists project")
        db.execute("drop role boss")


def test_the_owner_need_be_no_superuser_and_grants_by_name_are_taken_back(project):
    assert told(project) == told(project) == []
    with (
        ticking(project),
        psycopg.connect(project, autocommit=True, row_factory=dict_row) as db,
    ):
        test_no_function_is_open_to_clients_but_the_users_own_enqueue(db)
        open_to_clients = db.execute(
            "select c.relname, role from pg_class as c, unnest(array['anon', 'authenticated']) as role"
            " where c.relnamespace = 'public'::regnamespace and ("
            " c.relkind in ('r', 'v') and has_table_privilege(role, c.oid, 'insert, update, delete, truncate')"
            " or c.relkind = 'S' and has_sequence_privilege(role, c.oid, 'usage, select, update'))"
        )
        assert open_to_clients.fetchall() == [{"relname": "images", "role": "authenticated"}]
        db.execute("select schedule_process_jobs('https://edge.example', 'k')")
        db.execute("select cron.schedule('1 seconds', $$select enqueue_job('a', '{}')$$)")
        eventually(lambda: claim(db))


def test_a_user_inserts_a_pending_row_of_their_own_for_generate_image(db, as_role):
    as_role("authenticated", USER)
    insert = "insert into image_generations (user_id, prompt, status) values (%s, 'x', %s)"
    db.execute(insert, (USER, "pending"))
    for user, status in ((OTHER, "pending"), (USER, "completed")):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(insert, (user, status))


ODD = [
    # column, what no picture needs, what is said of it
    ("prompt", "x" * 10_001, "prompt: must have at most 10000 characters"),
    ("prompt", "", "prompt: must not be blank"),
    ("prompt", " \n\t", "prompt: must not be blank"),
    ("negative_prompt", "x" * 1_000_000, "negative_prompt: must have at most 10000 characters"),
    ("model", "x" * 201, "model: must have at most 200 characters"),
    ("style", "x" * 201, "style: must have at most 200 characters"),
    ("width", -5, "width: must be 1 to 16384"),
    ("width", 2_147_483_647, "width: must be 1 to 16384"),
    ("height", 0, "height: must be 1 to 16384"),
    ("height", 16_385, "height: must be 1 to 16384"),
    ("steps", -1, "steps: must be 0 to 1000"),
    ("steps", 1001, "steps: must be 0 to 1000"),
    *(("guidance_scale", value, "guidance_scale: must be 0 to 100, with at most 20 decimal places")
      for value in ("NaN", "Infinity", "-Infinity", "-0.1", "100.1", f"1.{'1' * 16_000}")),
]  # fmt: skip
LARGEST = {
    "prompt": "\N{BUG}" * MAX_PROMPT_CHARACTERS,
    "negative_prompt": "\N{BUG}" * MAX_PROMPT_CHARACTERS,
    "model": "\N{BUG}" * 200,
    "style": "\N{BUG}" * 200,
    "width": MAX_SIDE_PX,
    "height": 16_384,
    "steps": 1000,
    "guidance_scale": "99.99999999999999999999",
}


def insert_generation(db, **columns):
    columns = {"user_id": USER, "prompt": "x", **columns}
    marks = ", ".join(["%s"] * len(columns))
    db.execute(
        f"insert into image_generations ({', '.join(columns)}) values ({marks})",  # type: ignore[arg-type]
        list(columns.values()),
    )


@pytest.mark.parametrize(("column", "value", "text"), ODD)
def test_what_a_user_writes_into_a_generation_is_bounded(db, as_role, column, value, text):
    as_role("authenticated", USER)
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        insert_generation(db, **{column: value})
    assert refused.value.diag.message_primary == text
    assert refused.value.diag.column_name == column


@pytest.mark.parametrize(("column", "value", "text"), ODD)
def test_a_worker_ends_an_odd_row_all_the_same(db, as_role, column, value, text):
    """A CHECK that is not valid still judges every update: the generation could not be failed or completed."""
    as_role("service_role")
    insert_generation(db, **{column: value})
    db.execute("update image_generations set status = 'processing'")
    db.execute("update image_generations set status = 'failed', error_message = 'x'")
    assert db.execute("select status from image_generations").fetchone() == {"status": "failed"}


def test_what_the_functions_take_a_user_may_insert_and_no_row_is_larger(db, as_role):
    as_role("authenticated", USER)
    insert_generation(db, **LARGEST)
    insert_generation(db, width=None, guidance_scale=0, steps=0)
    size = "select max(octet_length(image_generations::text)) as n from image_generations"
    assert db.execute(size).fetchone()["n"] < 96 * 1024


def test_a_policy_that_lets_users_change_their_rows_opens_no_way_around(db, as_role):
    """As apps write them; ours stays, and they add up."""
    db.execute("grant update on image_generations to authenticated")
    db.execute(
        "create policy change on image_generations for update using (user_id = (select auth.uid()))"
    )
    insert_generation(db, width=-5)
    as_role("authenticated", USER)
    db.execute("update image_generations set error_message = null")
    with pytest.raises(psycopg.errors.CheckViolation, match="prompt: must not be blank"):
        db.execute("update image_generations set prompt = '', width = 5")


def test_the_service_role_runs_the_queue_without_owning_it(db, as_role):
    as_role("service_role")
    db.execute("select enqueue_job('generate-image', '{}')")
    assert (
        db.execute("select job_type from claim_next_job()").fetchone()["job_type"]
        == "generate-image"
    )
    for view in ("queue_health", "queue_status"):
        assert db.execute(f"select * from {view}").fetchone()["processing_jobs"] == 1
