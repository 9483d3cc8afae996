"""Event triggers: /rest/v1 hears of each changed schema, where the role that applies sql/ may make them."""

from uuid import uuid4

import psycopg
import pytest

from scripts.schema import SQL_FOLDER
from scripts.stack import watch_schema

FILE = (SQL_FOLDER / "45_rest_reload.sql").read_bytes()
TRIGGERS = """
select evtname, evtfoid::regproc::text as function, evtowner::regrole::text as owner
from pg_event_trigger order by evtname
"""


@pytest.fixture
def heard(connect, db):
    """What is notified on pgrst, within the transactions that have committed so far."""
    listening = connect()
    listening.execute("listen pgrst")

    def so_far() -> list[str]:
        db.execute("notify pgrst, 'end'")
        payloads = []
        for notify in listening.notifies(timeout=30):
            if notify.payload == "end":
                break
            payloads.append(notify.payload)
        return payloads

    return so_far


@pytest.mark.parametrize(
    "statement",
    [
        "create table public.t (a int)",
        "create schema s",
        "create view v as select 1 as a",
        "create function f() returns int language sql as 'select 1'",
        "create type mood as enum ('sad')",
        "create domain d as int",
        "alter table images add extra int",
        "comment on table images is 'x'",
        "drop view queue_health",
        "drop function get_user_limits(uuid)",
        "alter table images drop column extra_",
    ],
)
def test_a_changed_schema_is_told(db, heard, statement):
    db.execute("alter table images add extra_ int")
    heard()
    db.execute(statement)
    assert heard() == ["reload schema"]


@pytest.mark.parametrize(
    "statement",
    [
        "create temp table t (a int); drop table t",
        "create index on images (created_at)",
        "grant select on images to anon",
        "insert into paused_queues (job_type) values ('x')",
    ],
)
def test_what_the_schema_cache_does_not_have_is_not_told(db, heard, statement):
    db.execute(statement)
    assert heard() == []


def test_many_statements_of_a_transaction_are_told_once(db, heard):
    with db.transaction():
        for number in range(5):
            db.execute(f"create table t{number} (a int)")
        db.execute("drop table t1")
    assert heard() == ["reload schema"]


def test_it_can_be_applied_again(db):
    before = db.execute(TRIGGERS).fetchall()
    db.execute(FILE)
    assert db.execute(TRIGGERS).fetchall() == before
    assert [row["evtname"] for row in before] == ["pgrst_ddl_watch", "pgrst_drop_watch"]


def without_triggers(db) -> None:
    db.execute("drop event trigger pgrst_ddl_watch; drop event trigger pgrst_drop_watch")
    db.execute("drop function picture_edge.notify_schema_change()")


def test_a_projects_own_triggers_are_left_alone(db):
    without_triggers(db)
    db.execute(
        "create function public.pgrst_ddl_watch() returns event_trigger language plpgsql as 'begin end';"
        "create event trigger pgrst_ddl_watch on ddl_command_end execute function public.pgrst_ddl_watch()"
    )
    db.execute(FILE)
    [row] = db.execute(TRIGGERS).fetchall()
    assert (row["evtname"], row["function"]) == ("pgrst_ddl_watch", "pgrst_ddl_watch")


@pytest.fixture
def plain_role(db):
    """Owner of the schema picture_edge, and no superuser."""
    name = f"plain_{uuid4().hex}"
    db.execute(f"create role {name}; grant all on schema picture_edge to {name}")
    yield name
    db.execute("reset role")
    db.execute(f"drop owned by {name}; drop role {name}")


def test_without_a_superuser_there_are_none_and_it_is_said(db, plain_role):
    without_triggers(db)
    notices = []
    db.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    db.execute(f"set role {plain_role}")
    db.execute(FILE)
    assert db.execute(TRIGGERS).fetchall() == []
    assert db.execute(
        "select to_regprocedure('picture_edge.notify_schema_change()') as it"
    ).fetchone() == {"it": None}
    [notice] = notices
    assert "NOTIFY pgrst, 'reload schema'" in notice


def test_another_role_can_apply_the_file_over_a_superusers_triggers(db, plain_role):
    before = db.execute(TRIGGERS).fetchall()
    db.execute(f"set role {plain_role}")
    db.execute(FILE)
    assert db.execute(TRIGGERS).fetchall() == before


def test_the_local_stack_makes_them_as_its_superuser(dsn, db, postgres):
    """There ``postgres`` is none."""
    without_triggers(db)
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    watch_schema(psycopg.conninfo.make_conninfo(postgres.admin_url, dbname=name))
    rows = db.execute(TRIGGERS).fetchall()
    assert [(row["function"], row["owner"]) for row in rows] == [
        ("picture_edge.notify_schema_change", "supabase_admin")
    ] * 2
