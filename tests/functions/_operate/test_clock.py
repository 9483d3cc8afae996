"""Clock: pg_cron's jobs and runs, what pg_net could not deliver, and what an operator does to them."""

import re

import pytest
from playwright.sync_api import expect

from tests.chromium import IN_CHROMIUM
from tests.functions._operate.operators import DESKTOP, PHONE, post

SCHEDULED = """
select schedule_process_jobs('https://edge.example', '', '0 0 1 1 *');
select cron.schedule('nightly', '0 0 30 2 *', $$select enqueue_job('nightly', '{}')$$);
select cron.schedule('<b>odd</b> name', '@reboot', 'select 1 / 0');
select cron.schedule('0 0 1 1 *', 'select 1');
update cron_ticks set ticked_at = now() - interval '12 s', distance = interval '1 minute';
insert into cron.job_run_details (jobid, command, status, return_message, start_time, end_time)
select
    job.jobid, job.command, case when number % 30 = 0 then 'failed' else 'succeeded' end,
    case when number % 30 = 0 then e'ERROR:  division by zero <script>alert(5)</script>\nCONTEXT: x' else '1 row' end,
    now() - number * interval '1 minute', now() - number * interval '1 minute' + interval '0.2 s'
from cron.job cross join generate_series(60, 1, -1) as number
where job.jobname in ('process-jobs-worker');
insert into cron.job_run_details (jobid, status, return_message) values (999, 'failed', 'connection failed');
insert into net._http_response (id, status_code, timed_out, error_msg, created) values
(1, null, true, 'Timeout of 5000 ms reached. Total time: 5001 ms', now() - interval '1 minute'),
(2, 503, false, null, now() - interval '2 minutes'),
(3, 200, false, null, now()),
(4, null, false, 'Couldn''t resolve host name <b>x</b>', now() - interval '7 hours');
"""


@pytest.fixture
def scheduled(operate, clock, db):
    """Cron jobs of every kind, 60 runs, calls that failed. None falls due while a test runs."""
    db.execute(SCHEDULED)
    return db


def active(db, name):
    return db.execute("select active from cron.job where jobname = %s", (name,)).fetchone()[
        "active"
    ]


def logged(db):
    rows = db.execute(
        "select operator, action, filter ->> 'name' as name from operator_log"
        " where action <> 'schedule_process_jobs' order by id"
    )
    return [tuple(row.values()) for row in rows]


def begun(page):
    """The times of the runs of a page."""
    table = re.search(r'<table id="runs".*?</table>', page, re.DOTALL)
    return re.findall(r'<time datetime="([^"]+)"', table[0])


def test_jobs_runs_and_calls_are_told(ada, scheduled):
    page = ada.get("/operate/clock").text
    assert "The clock ticks.</strong> It called process-jobs 12 s ago" in page
    assert re.search(r"process-jobs-worker.*?in \d+ days.*?succeeded.*?1 row", page, re.DOTALL)
    assert re.search(r"nightly.*?never.*?none that is kept", page, re.DOTALL), "30 February"
    assert "when the server starts" in page
    assert "without a name" in page
    assert "job 999, no longer scheduled" in page
    assert "none in time" in page
    assert "HTTP 503" in page
    assert "resolve host" not in page, "of seven hours ago"
    assert "<b>odd" not in page


def test_the_runs_are_read_by_pages_and_the_failed_ones_alone(ada, scheduled):
    first = ada.get("/operate/clock").text
    older = re.search(r'rel="next" href="([^"#]+)', first)[1].replace("&amp;", "&")
    second = ada.get(older).text
    assert len(begun(first)) == 24, "and one that never began"
    assert len(begun(second)) == 25
    assert min(begun(first)) > max(begun(second))
    failed = ada.get("/operate/clock?runs=failed").text
    assert len(begun(failed)) == 2
    assert "division by zero &lt;script&gt;alert(5)" in failed
    assert "CONTEXT" not in failed


def test_a_cron_job_is_paused_resumed_and_run_by_name(ada, scheduled):
    paused = post(ada, "/clock", name="nightly", do="pause").text
    assert "Cron job nightly is paused" in paused
    assert not active(scheduled, "nightly")
    assert "is paused already" in post(ada, "/clock", name="nightly", do="pause").text
    assert "Cron job nightly has run" in post(ada, "/clock", name="nightly", do="run").text
    assert scheduled.execute("select job_type from job_queue").fetchall() == [
        {"job_type": "nightly"}
    ]
    assert "runs again by its schedule" in post(ada, "/clock", name="nightly", do="resume").text
    assert active(scheduled, "nightly")
    assert logged(scheduled) == [
        ("ada", f"{do}_cron_job{'_now' if do == 'run' else ''}", "nightly")
        for do in ("pause", "run", "resume")
    ]


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"name": "Nightly job", "do": "pause"}, 200, "perhaps nightly"),
        ({"name": "", "do": "run"}, 200, "No cron job has the name"),
        ({"name": "nightly", "do": "drop"}, 400, "run, pause or resume"),
        ({"do": "resume", "name": "nightly"}, 200, "is active already"),
        ({"name": "<b>odd</b> name", "do": "run"}, 200, "It has failed: division by zero"),
        ({"name": "theirs", "do": "run"}, 403, "run it as that role"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_no_line(ada, scheduled, fields, status, words):
    scheduled.execute("select cron.schedule('theirs', '0 0 1 1 *', 'select 1')")
    scheduled.execute("update cron.job set username = 'somebody' where jobname = 'theirs'")
    answer = post(ada, "/clock", **fields)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert logged(scheduled) == []


def test_a_reader_sees_the_clock_and_no_button(bob, scheduled):
    page = bob.get("/operate/clock").text
    assert "process-jobs-worker" in page
    assert "Run now" not in page
    assert post(bob, "/clock", name="nightly", do="pause").status_code == 403
    assert active(scheduled, "nightly")


def test_a_silent_clock_and_a_paused_job_are_told_first(ada, scheduled):
    scheduled.execute(
        "update cron_ticks set ticked_at = now() - interval '1 h', expected_since = now() - interval '1 day'"
    )
    post(ada, "/clock", name="process-jobs-worker", do="pause")
    page = ada.get("/operate/clock").text
    assert "The clock is silent.</strong> It has not called process-jobs for 60 min" in page
    assert "cron job process-jobs-worker is not active" in page


def test_without_the_extensions_the_page_says_so(ada, db):
    page = ada.get("/operate/clock").text
    assert "Nothing is scheduled" in page
    assert "pg_cron or pg_net is absent" in page
    assert "<table" not in page
    assert "pg_cron is absent" in post(ada, "/clock", name="x", do="pause").text


@pytest.mark.slow
@pytest.mark.skipif(IN_CHROMIUM[1].args[0], reason=IN_CHROMIUM[1].kwargs["reason"])
@pytest.mark.parametrize(
    ("viewport", "scripts"), [(PHONE, True), (DESKTOP, False)], ids=["phone", "without scripts"]
)
def test_a_job_is_paused_and_resumed_by_keyboard(operator, scheduled, viewport, scripts):
    visitor = operator(viewport=viewport, java_script_enabled=scripts, reduced_motion="reduce")
    visitor.go("/clock")
    visitor.check("clock") if scripts else visitor.look("clock-1280")
    visitor.page.get_by_role("button", name="Pause nightly").press("Enter")
    expect(visitor.page.get_by_role("status")).to_contain_text("nightly is paused")
    visitor.page.get_by_role("button", name="Resume nightly").press("Enter")
    expect(visitor.page.get_by_role("button", name="Pause nightly")).to_be_visible()
    assert [action for _, action, _ in logged(scheduled)] == ["pause_cron_job", "resume_cron_job"]
