"""The pages over HTTP: what they list and say, that texts are texts, that places in lists hold, and what actions do."""

import re
from typing import Any

import httpx
import pytest

from tests.conftest import Database, Edge
from tests.functions._operate.operators import csrf_of, generation_id, job_id, post

PAGES = [
    "",
    "?span=48h",
    "/generations",
    "/generations?q=storm",
    f"/generations/{generation_id(1)}",
    f"/generations/{generation_id(7)}",
    f"/generations/{generation_id(12)}",
    f"/generations/{generation_id(30)}",
    "/jobs",
    "/jobs?status=pending",
    "/jobs?status=processing",
    "/jobs?status=failed&error=timeout",
    "/jobs?status=completed",
    "/jobs?user=mira@example.com",
    f"/jobs/{job_id(2)}",
    f"/jobs/{job_id(12)}",
    f"/jobs/{job_id(900)}",
]
LISTED = re.compile(r'<th scope="row"><a href="/operate/jobs/([0-9a-f-]{36})"')
IN_GALLERY = re.compile(r'<a href="/operate/generations/([0-9a-f-]{36})">')
OLDER = re.compile(r'rel="next" href="(/operate/[^"]+)"')
MARKUP = re.compile(r"<script>alert|<img src=x|<i>odd|<b>eve|</pre><script", re.IGNORECASE)
INLINE = re.compile(
    r"<style|\sstyle=|\son[a-z]+=|<script(?! type=\"module\" src=)|javascript:", re.IGNORECASE
)


def test_hostile_texts_are_shown_as_texts(seeded: Edge, ada: httpx.Client):
    seen = ""
    for path in PAGES:
        answer = ada.get(f"/operate{path}")
        assert answer.status_code == 200, path
        assert not MARKUP.search(answer.text), path
        assert not INLINE.search(answer.text.replace("onerror=alert(1)", "")), path
        seen += answer.text
    for text in (
        "&lt;script&gt;alert",
        "&lt;img src=x",
        "&lt;i&gt;odd",
        "&lt;b&gt;eve",
        "&lt;/pre&gt;&lt;script",
    ):
        assert text in seen


def all_pages(client: httpx.Client, path: str, listed: re.Pattern[str]) -> list[str]:
    """What is listed on all pages from ``path`` on, by the links to older ones."""
    found: list[str] = []
    address = f"/operate{path}"
    for _ in range(40):
        page = client.get(address)
        assert page.status_code == 200, page.text
        found += listed.findall(page.text)
        older = OLDER.search(page.text)
        if older is None:
            return found
        address = older[1].replace("&amp;", "&")
    pytest.fail("the pages never end")


MIRA = "created_by = '00000000-0000-4000-8000-000000000001'"
MATCHING = {
    "": "true",
    "?status=completed": "status = 'completed'",
    "?status=failed": "status = 'failed'",
    "?status=failed&error=timeout": "errors #>> '{-1, class}' = 'timeout'",
    "?error=refused": "error_message like '%refused%'",
    "?status=pending&type=generate-image": "status = 'pending' and job_type = 'generate-image'",
    "?status=processing": "status = 'processing'",
    "?user=mira@example.com": MIRA,
    "?user=mira@example.com&status=failed": f"{MIRA} and status = 'failed'",
    "?error=100%25_\\\\": "false",
    "?user=nobody@example.com": "false",
}


@pytest.mark.parametrize("window", [60, 7])
def test_jobs_that_match_are_each_listed_once(
    seeded: Edge, ada: httpx.Client, db: Database, monkeypatch: pytest.MonkeyPatch, window: int
):
    """Also where what a page looks through holds few that match, or none."""
    monkeypatch.setattr("functions._operate.pages.jobs.PAGE", 5)
    monkeypatch.setattr("functions._operate.pages.jobs.WINDOW", window)
    for asked, where in MATCHING.items():
        wanted = db.execute(f"select id from job_queue where {where}".encode()).fetchall()
        found = all_pages(ada, f"/jobs{asked}", LISTED)
        assert sorted(found) == sorted(str(row["id"]) for row in wanted), asked


OF_MIRA = "user_id = '00000000-0000-4000-8000-000000000001'"
GENERATIONS = {
    "": "true",
    "?q=STORM": "prompt ilike '%storm%'",
    "?status=failed": "status = 'failed'",
    "?model=sdxl&user=mira@example.com": f"model = 'stability-ai/sdxl' and {OF_MIRA}",
}


def test_generations_that_match_are_each_listed_once(
    seeded: Edge, ada: httpx.Client, db: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("functions._operate.pages.generations.PAGE", 5)
    monkeypatch.setattr("functions._operate.pages.generations.WINDOW", 7)
    for asked, where in GENERATIONS.items():
        query = f"select id from image_generations where {where} order by created_at desc"
        rows = db.execute(query.encode()).fetchall()
        found = all_pages(ada, f"/generations{asked}", IN_GALLERY)
        assert found == [str(row["id"]) for row in rows], asked


def test_an_id_leads_to_its_page(seeded: Edge, ada: httpx.Client):
    for asked, path in {
        f"/generations?q={generation_id(30)}": f"/generations/{generation_id(30)}",
        f"/generations?q={job_id(30)}": f"/jobs/{job_id(30)}",
        "/generations?q=p30": f"/generations/{generation_id(30)}",
        f"/jobs?user={job_id(30)}": f"/jobs/{job_id(30)}",
    }.items():
        assert ada.get(f"/operate{asked}").headers["location"] == f"/operate{path}"


MADE_UP = {
    "/jobs?before=tomorrow": 400,
    "/jobs?before=9999-12-31T23:59:59%2B00:00_x": 400,
    "/jobs?status=%00&type=%00&user=%00&error=%00": 200,
    f"/jobs?error={'%25_' * 300}&type={'x' * 3000}": 200,
    f"/generations?q={'%5C%25' * 900}": 200,
    "/jobs/x": 404,
    f"/jobs/{generation_id(1)}": 404,
    f"/generations/{job_id(1)}": 404,
    "/generations/x/events": 404,
    "/charts/work.svg?span=1000y": 404,
    "/charts/nothing.svg": 404,
}


def test_addresses_made_up_are_answered_in_words(seeded: Edge, ada: httpx.Client):
    for path, status in MADE_UP.items():
        answer = ada.get(f"/operate{path}")
        assert answer.status_code == status, path
        assert answer.headers["content-type"].startswith("text/html")


def test_charts_are_pictures_without_scripts(seeded: Edge, ada: httpx.Client):
    for name, shape in {"throughput": "rect", "wait": "path", "work": "path"}.items():
        for span in ("1h", "48h", "30d"):
            answer = ada.get(f"/operate/charts/{name}.svg?span={span}&size=narrow")
            assert answer.headers["content-type"].startswith("image/svg+xml")
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "<script" not in answer.text
            assert answer.text.count(f"<{shape} ") > 2


def test_a_history_without_a_job_is_a_chart_as_well(ada: httpx.Client):
    for name in ("throughput", "wait", "work"):
        assert ada.get(f"/operate/charts/{name}.svg").status_code == 200


def logged(db: Database) -> list[dict[str, Any]]:
    return db.execute(
        "select operator, action, filter, jobs from operator_log order by id"
    ).fetchall()


def test_one_job_is_cancelled_and_run_again_in_the_operators_name(
    seeded: Edge, ada: httpx.Client, db: Database
):
    page = post(ada, f"/jobs/{job_id(3)}/cancel")
    assert "The job is cancelled" in page.text
    assert "The job is cancelled" not in ada.get(f"/operate/jobs/{job_id(3)}").text
    assert "The job runs again" in post(ada, f"/jobs/{job_id(3)}/redrive").text
    again = post(ada, f"/jobs/{job_id(30)}/redrive")
    assert again.status_code == 409
    assert "nothing to redrive" in again.text
    assert [(row["operator"], row["action"], row["jobs"]) for row in logged(db)] == [
        ("ada", "cancel_job", 1),
        ("ada", "redrive_job", 1),
    ]


def test_a_class_of_failures_is_counted_and_then_run_again(
    seeded: Edge, ada: httpx.Client, db: Database
):
    fields = {"whole": "yes", "status": "failed", "error": "timeout", "do": "redrive"}
    asked = post(ada, "/change-jobs", **fields)
    assert "Run again 3 jobs?" in asked.text
    assert db.execute("select count(*) from job_queue where status = 'failed'").fetchone() == {
        "count": 9
    }
    assert logged(db) == []
    done = post(ada, "/change-jobs", **fields, sure="yes")
    assert "3 jobs run again" in done.text
    assert db.execute("select count(*) from job_queue where status = 'failed'").fetchone() == {
        "count": 6
    }
    [line] = logged(db)
    assert (line["operator"], line["action"], line["jobs"]) == ("ada", "redrive_failed", 3)


def test_a_user_s_waiting_jobs_are_cancelled_and_nobody_else_s(
    seeded: Edge, ada: httpx.Client, db: Database
):
    fields = {"whole": "yes", "status": "pending", "user": "<b>eve</b>@example.com", "do": "cancel"}
    assert "Cancel 1 job?" in post(ada, "/change-jobs", **fields).text
    assert "1 jobs are cancelled" in post(ada, "/change-jobs", **fields, sure="yes").text
    left = db.execute("select count(*) from job_queue where status = 'pending'").fetchone()
    assert left == {"count": 6}


@pytest.mark.parametrize(
    "fields",
    [
        {"do": "cancel", "status": "failed"},
        {"do": "redrive", "status": "failed", "user": "mira@example.com"},
        {"do": "cancel", "status": "pending", "error": "x"},
        {"do": "cancel", "status": "pending", "user": "nobody@example.com"},
        {"do": "purge", "status": "failed"},
    ],
)
def test_what_sql_s_filter_cannot_say_is_not_done_to_all(
    seeded: Edge, ada: httpx.Client, db: Database, fields: dict[str, str]
):
    answer = post(ada, "/change-jobs", whole="yes", sure="yes", **fields)
    assert answer.status_code == 400
    assert logged(db) == []


def test_ticked_jobs_are_counted_and_those_that_can_are_changed(
    seeded: Edge, ada: httpx.Client, db: Database
):
    fields = {
        "csrf": csrf_of(ada),
        "do": "redrive",
        "id": [job_id(12), job_id(19), job_id(30), "x"],
    }
    asked = ada.post("/operate/change-jobs", data=fields)
    assert "Run again 2 jobs?" in asked.text
    done = ada.post("/operate/change-jobs", data={**fields, "sure": "yes"}, follow_redirects=True)
    assert "2 jobs run again" in done.text
    assert [row["jobs"] for row in logged(db)] == [1, 1]
    none = ada.post(
        "/operate/change-jobs", data={"csrf": csrf_of(ada), "do": "cancel"}, follow_redirects=True
    )
    assert "No job is ticked" in none.text


def test_a_pause_is_told_on_the_overview_and_ended_there(
    seeded: Edge, ada: httpx.Client, db: Database
):
    paused = post(ada, "/pause", type="generate-image")
    assert "6 due jobs are held" in paused.text
    assert "generate-image is paused" in paused.text
    assert "paused: pause_queue" in ada.get(f"/operate/jobs/{job_id(3)}").text.replace("&#39;", "'")
    resumed = post(ada, "/resume", type="generate-image")
    assert "generate-image is paused" not in resumed.text
    assert [row["action"] for row in logged(db)] == ["pause_queue", "resume_queue"]
    assert "perhaps generate-image" in post(ada, "/pause", type="generate-imag").text


def test_a_generation_is_run_again_and_cancelled(seeded: Edge, ada: httpx.Client, db: Database):
    path = f"/generations/{generation_id(12)}"
    assert "runs again" in post(ada, f"{path}/redrive").text
    assert "The generation is cancelled" in post(ada, f"{path}/cancel", job=job_id(12)).text
    row = db.execute(
        "select status from image_generations where id = %s", [generation_id(12)]
    ).fetchone()
    assert row == {"status": "cancelled"}


def test_the_provider_s_429_is_told_in_words(seeded: Edge, ada: httpx.Client, db: Database):
    db.execute("select picture_edge.limit_provider('90 seconds')")
    assert "replicate has answered 429" in ada.get("/operate").text
    assert "replicate has answered 429" in ada.get(f"/operate/jobs/{job_id(3)}").text


def test_a_database_that_is_late_costs_seconds_and_is_told(
    seeded: Edge, ada: httpx.Client, db: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("functions._operate.database.READ_MS", 50)
    with db.transaction():
        db.execute("lock table image_generations in access exclusive mode")
        answer = ada.get("/operate/generations")
    assert answer.status_code == 503
    assert "filter for less" in answer.text


def test_times_that_python_has_no_word_for(seeded: Edge, ada: httpx.Client, db: Database):
    """Plain SQL may write them."""
    db.execute("alter table job_queue disable trigger user")
    for number, time in (
        (2, "infinity"),
        (3, "-infinity"),
        (4, "20000-01-01"),
        (5, "0044-03-15 BC"),
    ):
        db.execute(
            "update job_queue set scheduled_at = %s, created_at = %s where id = %s",
            [time, time, job_id(number)],
        )
        db.execute(
            "update image_generations set created_at = %s where id = %s",
            [time, generation_id(number)],
        )
        for path in (f"/jobs/{job_id(number)}", f"/generations/{generation_id(number)}"):
            assert ada.get(f"/operate{path}").status_code == 200, (path, time)
    for path in (
        "",
        "/jobs",
        "/jobs?status=pending",
        "/jobs?user=mira@example.com",
        "/generations",
    ):
        assert ada.get(f"/operate{path}").status_code == 200, path
