"""Failures: grouped by what failed, redriven by the group after a count and a confirmation."""

import html
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import expect

from tests.chromium import IN_CHROMIUM
from tests.functions._operate.operators import DESKTOP, PHONE, post

HOSTILE = "The model has refused the prompt <img src=x onerror=alert(1)>"


def fail(db, text, job_type="mine", error_class="permanent", jobs=1):
    """Jobs that have failed just now."""
    return [
        row["id"]
        for row in db.execute(
            "insert into job_queue (job_type, status, error_message, errors, completed_at)"
            " select %s, 'failed', %s, jsonb_build_array(jsonb_build_object('class', %s::text)), now()"
            " from generate_series(1, %s) returning id",
            (job_type, text, error_class, jobs),
        )
    ]


def statuses(db, ids):
    rows = db.execute("select status from job_queue where id = any (%s) order by id", (ids,))
    return [row["status"] for row in rows]


def links(page):
    """The addresses of the redrives that a page offers, below /operate."""
    found = re.findall(r'href="/operate(/failures/redrive[^"]*)"', page)
    return [html.unescape(one) for one in found]


def confirmed(client, link):
    """Follow a group's link and answer its question; the page after it."""
    asked = client.get(f"/operate{link}").text
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', asked))
    unescaped = {name: html.unescape(value) for name, value in fields.items()}
    return post(client, "/failures/redrive", **unescaped)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("viewport", "scripts"), [(PHONE, True), (DESKTOP, False)], ids=["phone", "without scripts"]
)
@pytest.mark.skipif(IN_CHROMIUM[1].args[0], reason=IN_CHROMIUM[1].kwargs["reason"])
def test_a_group_is_redriven_by_keyboard_after_its_count_was_shown(
    seeded, operator, db, viewport, scripts
):
    fail(db, "Replicate API error (503): overloaded, request 8a01", "mine", "transient", 3)
    visitor = operator(viewport=viewport, java_script_enabled=scripts, reduced_motion="reduce")
    visitor.go("/failures")
    link = visitor.page.get_by_role("link", name=re.compile("Run these 9 again"))
    expect(visitor.page.get_by_text(HOSTILE).first).to_be_visible()
    link.focus()
    link.press("Enter")
    expect(visitor.page.get_by_role("heading", name="Run 9 jobs again?")).to_be_visible()
    visitor.check("failures-redrive") if scripts else visitor.look("failures-redrive-1280")
    visitor.page.get_by_role("button", name="Run these 9 again").press("Enter")
    expect(visitor.page.get_by_role("status")).to_have_text("9 failed jobs run again")
    expect(visitor.page.get_by_text(HOSTILE)).to_have_count(0)
    expect(visitor.page.get_by_text("overloaded").first).to_be_visible()
    visitor.look(f"failures-done-{viewport['width']}")
    [line] = db.execute("select operator, action, jobs from operator_log")
    assert line == {"operator": "ada", "action": "redrive_failed", "jobs": 9}


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("100% of _it_ \\ failed", "100x of yity x failed"),
        ("ends with \\", "ends with x"),
        ("<b>no</b> & no", "<i>no</i> & no"),
        (f"{'long ' * 60}end", "short"),
        (" spaces around \n", "spaces around"),
    ],
)
def test_a_redrive_runs_its_group_again_and_nothing_that_looks_like_it(ada, db, text, other):
    mine, others = fail(db, text, jobs=2), fail(db, other)
    of_another_type = fail(db, text, "<i>odd</i>")
    found = [one for one in links(ada.get("/operate/failures").text) if "type=mine" in one]
    assert len(found) == 2, "the group of two is the first"
    assert "2 failed jobs run again" in confirmed(ada, found[0]).text
    assert statuses(db, mine) == ["pending"] * 2
    assert statuses(db, others + of_another_type) == ["failed"] * 2


def test_a_failure_that_came_after_the_list_is_left_and_a_second_answer_redrives_nothing(ada, db):
    first = fail(db, "gone")
    [link] = links(ada.get("/operate/failures").text)
    later = fail(db, "gone")
    confirmed(ada, link)
    assert statuses(db, first + later) == ["pending", "failed"]
    again = post(ada, "/failures/redrive", **dict(parse_qsl(urlsplit(link).query)), limit=1)
    assert "Nothing was redriven" in again.text
    assert "Nothing to run again" in ada.get(f"/operate{link}").text
    assert statuses(db, later) == ["failed"]


def test_the_newest_are_grouped_and_the_page_says_so(ada, db, monkeypatch):
    monkeypatch.setattr("functions._operate.pages.failures.NEWEST", 3)
    fail(db, "new", jobs=3)
    old = fail(db, "old")
    db.execute(
        "update job_queue set completed_at = now() - interval '1 h' where id = any (%s)", (old,)
    )
    page = ada.get("/operate/failures").text
    assert "the newest 3 failures of the last 24 hours" in page
    assert "old" not in re.findall(r'<p class="error">(.*?)</p>', page)
    assert "Run all of these again" in page


def test_what_has_no_text_and_no_class_is_shown_without_a_redrive(ada, db):
    db.execute("insert into job_queue (job_type, status) values ('by-hand', 'failed')")
    page = ada.get("/operate/failures?span=all").text
    assert "without a text" in page
    assert "unknown" in page
    assert links(page) == []
    assert "No job has failed for good within 1 hour" not in page


def test_a_reader_sees_the_groups_and_no_button(seeded, bob, db):
    page = bob.get("/operate/failures").text
    assert "refused the prompt &lt;img" in page
    assert links(page) == []
    fields = {"type": "generate-image", "like": "%", "since": "2020-01-01", "until": "2100-01-01"}
    asked = bob.get("/operate/failures/redrive", params=fields)
    assert (asked.status_code, "read-only" in asked.text) == (403, True)
    assert post(bob, "/failures/redrive", **fields, limit=9).status_code == 403
    assert db.execute("select count(*) as n from operator_log").fetchone() == {"n": 0}


NOW = datetime.now(UTC)
WELL = {
    "type": "mine",
    "like": "gone",
    "since": (NOW - timedelta(days=1)).isoformat(),
    "until": (NOW + timedelta(days=1)).isoformat(),
    "limit": "5",
}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"type": ""}, "begin at Failures"),
        ({"like": ""}, "begin at Failures"),
        ({"since": ""}, "begin at Failures"),
        ({"since": "yesterday"}, "since must be a time"),
        ({"until": "0001-01-01T00:00:00+14:00"}, "until must be a time"),
        ({"like": "gone\\"}, "one backslash"),
        ({"like": "%" * 1001}, "at most 1000"),
    ],
)
def test_a_senseless_redrive_is_refused_in_words(ada, db, wrong, words):
    kept = fail(db, "gone")
    asked = ada.get("/operate/failures/redrive", params={**WELL, **wrong})
    assert (asked.status_code, words in asked.text) == (400, True), asked.text
    sent = post(ada, "/failures/redrive", **{**WELL, **wrong})
    assert (sent.status_code, words in sent.text) == (400, True), sent.text
    assert statuses(db, kept) == ["failed"]


@pytest.mark.parametrize("limit", ["-1", "x", "9" * 30, "٣"])
def test_a_senseless_limit_redrives_nothing(ada, db, limit):
    kept = fail(db, "gone")
    assert post(ada, "/failures/redrive", **{**WELL, "limit": limit}).status_code == 400
    assert statuses(db, kept) == ["failed"]


def test_a_type_that_no_job_has_gets_the_nearest_name(ada):
    page = ada.get("/operate/failures/redrive", params={**WELL, "type": "generate_image\0"}).text
    assert "Nothing to run again" in page
    assert "perhaps generate-image" in page
