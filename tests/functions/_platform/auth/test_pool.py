"""Bulkhead: what /auth/v1 waits for leaves the queue its connections."""

import threading

import psycopg

from tests.functions._platform.auth.help import new_address
from tests.help import eventually

WAITING = "select count(*) as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


def test_a_table_that_is_locked_does_not_starve_the_queue(start_auth, db, dsn):
    auth = start_auth(DB_POOL_SIZE="2")
    with psycopg.connect(dsn) as other:
        other.execute("lock table auth.users in access exclusive mode")
        threads = [
            threading.Thread(target=auth.sign_in, args=(new_address(),), daemon=True)
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        eventually(lambda: db.execute(WAITING).fetchone()["n"] == 2)
        generations = auth.edge.client.post(
            f"{auth.edge.url}/functions/v1/process-jobs",
            headers={"Authorization": f"Bearer {auth.edge.service_role_key}"},
        )
        other.rollback()
    for thread in threads:
        thread.join()
    assert generations.status_code == 200
