"""Going back to an earlier sql/ of ours, and forward again; gateways and roles of before beside today's sql/."""

import psycopg
import pytest

from scripts.schema import apply_schema
from tests.sql.help import USER
from tests.sql.originals import LANDED, database_of

INTERNAL = """
select count(*) as it from pg_proc where pronamespace = 'public'::regnamespace
and proname in ('held_job', 'begin_generate_image', 'wake_workers', 'claim_polls')
"""
START = """
select * from picture_edge.start_generations(
    p_user_ids => array[%s]::uuid[], p_requests => array['{"prompt": "a cat", "model_id": "a/b"}']::jsonb[]
)
"""
PARK = """
select picture_edge.park_prediction(intent_id, lease_token, 'p1')
from (select id, lease_token from job_queue) as job,
picture_edge.intend_prediction(id, lease_token, 'a/b', null, '{}', 'png', '{}', '1 h')
"""


def test_forward_again_leaves_one_copy_of_each_and_the_triggers_on_ours(dsn):
    with database_of(dsn) as (url, db):
        apply_schema(url)
        db.execute(LANDED.encode())
        assert db.execute(INTERNAL).fetchone() == {"it": 4}
        apply_schema(url)
        assert db.execute(INTERNAL).fetchone() == {"it": 0}
        outside = db.execute(
            "select distinct tgfoid::regprocedure::text as it from pg_trigger where not tgisinternal"
            " and tgfoid::regprocedure::text not like 'picture_edge.%'"
        )
        assert sorted(row["it"] for row in outside) == [
            "edge_private.delete_images_of_objects()",
            "edge_private.follow_own_cancel()",
            "edge_private.remove_files_of_images()",
            "edge_private.remove_files_of_job()",
        ]


@pytest.mark.parametrize("parked", [True, False])
def test_forward_again_knows_which_jobs_are_parked(dsn, parked):
    """Older functions park, and claim, without the column."""
    with database_of(dsn) as (url, db):
        apply_schema(url)
        db.execute(START, (USER,))
        db.execute("select * from claim_jobs(1, 'w')")
        if parked:
            db.execute(PARK.encode())
        db.execute("update job_queue set parked = not parked")
        db.execute(LANDED.encode())
        apply_schema(url)
        assert db.execute("select parked from job_queue").fetchone() == {"parked": parked}


def test_a_gateway_from_before_claims_nothing(db):
    """It would fail whatever it claims: its other calls have left public."""
    db.execute("select enqueue_job('a', '{}')")
    db.execute("set application_name = 'picture-edge'")
    with pytest.raises(psycopg.Error, match="This gateway is older than sql/") as refused:
        db.execute("select * from claim_jobs(1, 'w', '1 min')")
    assert refused.value.sqlstate == "PT503"
    db.execute("set application_name = 'picture-edge/1'")
    assert len(db.execute("select * from claim_jobs(1, 'w', '1 min')").fetchall()) == 1


def test_a_role_that_was_granted_the_claim_by_name_still_claims(dsn):
    with database_of(dsn, LANDED) as (url, db):
        db.execute("create role claimer bypassrls")
        try:
            db.execute(
                "grant execute on function claim_jobs(int, text, interval, text[]) to claimer;"
                "grant execute on function requeue_expired(int, int), provider_allowance(text) to claimer;"
                "grant select, insert, update, delete on job_queue, paused_queues, predictions, provider_limits"
                " to claimer"
            )
            apply_schema(url)
            db.execute("select enqueue_job('a', '{}')")
            db.execute("set role claimer")
            assert len(db.execute("select * from claim_jobs(1, 'w', '1 min')").fetchall()) == 1
        finally:
            db.execute("reset role")
            db.execute("drop owned by claimer")
            db.execute("drop role claimer")
