"""Workers: the dead are told from the living, and types that nobody runs are named."""

import pytest
from playwright.sync_api import expect

from tests.chromium import IN_CHROMIUM
from tests.functions._operate.operators import DESKTOP, PHONE

NO_HEARTBEAT = """
create function no_heartbeat() returns trigger language plpgsql as $$ begin return null; end $$;
create trigger no_heartbeat before insert or update on workers for each row execute function no_heartbeat();
delete from workers;
"""
FLEET = """
alter table workers disable trigger no_heartbeat;
insert into workers (worker_id, host, version, started_at, last_seen_at, running, slots, job_types) values
('edge-1-4711-abc', 'edge-1', '2.4.0 (sql 6)', now() - interval '3 days', now() + interval '1 hour', 5, 8,
    '{generate-image, download-image, send-webhook, cleanup-storage}'),
('edge-2-17-def', 'edge-2<script>alert(3)</script>', '2.3.0 (sql 6)', now() - interval '3 days',
    now() + interval '1 hour', 8, 8, '{generate-image, download-image}'),
('edge-3-99-fff', 'edge-3', '2.3.0 (sql 6)', now() - interval '9 days', now() - interval '4 minutes', 2, 8,
    '{generate-image, old-type}');
alter table workers enable trigger no_heartbeat;
insert into job_queue (job_type, status, worker_id, lease_expires_at)
select 'generate-image', 'processing', 'edge-3-99-fff', now() + interval '5 s' from generate_series(1, 2);
insert into job_queue (job_type, scheduled_at) values ('generate_image', now()), ('later', now() + interval '1 day');
"""


@pytest.fixture
def silent(operate, db):
    """No process is heard of, the test's own neither."""
    db.execute(NO_HEARTBEAT)
    return db


@pytest.fixture
def fleet(silent):
    """Two living processes of two versions, and a dead one that holds two jobs."""
    silent.execute(FLEET)
    return silent


def test_the_dead_are_told_from_the_living_in_words(ada, fleet):
    page = ada.get("/operate/workers").text
    assert "1 of 3 are silent" in page
    assert "silent for 4 min" in page
    assert "holds 2 jobs" in page
    assert page.count(">alive<") == 2
    assert "2 versions run side by side:</strong> 2.3.0 (sql 6) and 2.4.0 (sql 6)" in page
    assert "&lt;script&gt;alert(3)" in page
    assert "<script>alert" not in page


def test_a_type_that_nobody_runs_is_named_once_a_job_of_it_is_due(ada, fleet):
    page = ada.get("/operate/workers").text
    assert "Nobody runs generate_image.</strong>" in page
    assert "perhaps it means generate-image" in page
    assert "Nobody runs later" not in page
    assert "Nobody runs old-type" not in page, "no job of it waits"
    assert "some wait for their time" in page


def test_a_pause_is_told(ada, fleet):
    fleet.execute("insert into paused_queues (job_type) values ('*'), ('send-webhook')")
    page = ada.get("/operate/workers").text
    assert "Everything is paused" in page
    assert "paused since" in page


def test_without_a_worker_the_page_says_what_to_do(ada, silent):
    page = ada.get("/operate/workers").text
    assert "No worker is alive.</strong> None was heard of within ten minutes." in page
    silent.execute(FLEET)
    silent.execute("alter table workers disable trigger no_heartbeat")
    silent.execute("update workers set last_seen_at = now() - interval '2 minutes'")
    assert "The last one was heard of" in ada.get("/operate/workers").text


@pytest.mark.slow
@pytest.mark.skipif(IN_CHROMIUM[1].args[0], reason=IN_CHROMIUM[1].kwargs["reason"])
def test_the_page_follows_a_worker_that_dies(operator, fleet):
    operator(viewport=PHONE).go("/workers").check("workers")
    visitor = operator(viewport=DESKTOP, reduced_motion="reduce")
    visitor.go("/workers").check("workers")
    expect(visitor.page.locator(".state.failed")).to_have_count(1)
    fleet.execute("alter table workers disable trigger no_heartbeat")
    fleet.execute(
        "update workers set last_seen_at = now() - interval '1 minute' where host = 'edge-1'"
    )
    expect(visitor.page.locator(".state.failed")).to_have_count(2)
