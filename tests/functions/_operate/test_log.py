"""Log of operators: filters, keyset pagination, hostile values."""

import re

import pytest
from playwright.sync_api import expect

from tests.chromium import IN_CHROMIUM
from tests.functions._operate.operators import DESKTOP, PHONE, job_id, post

LINES = """
insert into operator_log (at, operator, action, filter, jobs)
select
    now() - (130 - number) * interval '1 h',
    case when number % 10 = 0 then 'eve <b>x</b>' else 'ada' end,
    case when number % 2 = 0 then 'cancel_job' else 'redrive_failed' end,
    case when number % 2 = 0
        then jsonb_build_object('id', '0199a000-0000-7000-8000-000000000012', 'reason', '<script>alert(4)</script>')
        else '{"job_type": "generate-image", "limit": 37, "error_like": "%refused%"}' end,
    number
from generate_series(1, 130) as number
"""
ODD = """
insert into operator_log (operator, action, filter) values
('x', 'odd', '"a text"'), ('x', 'odd', 'null'), ('x', 'odd', '{}'), ('x', 'odd', '[1, 2]'),
('x', 'odd', '{"statuses": ["pending", "processing"], "deep": {"a": [null]}}')
"""


def jobs_of(page):
    """The last column, which numbers the lines of LINES."""
    return [int(number) for number in re.findall(r'class="number">(\d+)<', page)]


def pages(client, query=""):
    """All lines of a filter, page by page by the link to the older ones."""
    address = f"/operate/log{query}"
    while address:
        page = client.get(address).text
        yield jobs_of(page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        address = older[1].replace("&amp;", "&") if older else ""


def test_every_line_is_on_one_page_also_while_lines_are_added(ada, db):
    db.execute(LINES)
    read = []
    for page in pages(ada):
        read.extend(page)
        db.execute("insert into operator_log (operator, action, filter) values ('new', 'x', '{}')")
    assert read == list(range(130, 0, -1))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?operator=eve <b>x</b>", list(range(130, 0, -10))),
        (
            "?action=cancel_job&operator=ada",
            [n for n in range(130, 0, -1) if n % 2 == 0 and n % 10],
        ),
        ("?action=nothing", []),
        ("?operator=ada' or true --", []),
        ("?before=3", [2, 1]),
        ("?before=0", []),
        ("?until=1999-01-01T00:00", []),
        ("?since=9999-12-31", []),
    ],
)
def test_filters_find_their_lines(ada, db, query, expected):
    db.execute(LINES)
    assert [one for page in pages(ada, query) for one in page] == expected


def test_a_filter_by_time_holds_its_begin_and_not_its_end(ada, db):
    db.execute(LINES)
    [row] = db.execute(
        "select to_char(at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') as since,"
        " to_char((at + interval '2 h') at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') as until"
        " from operator_log where jobs = 100"
    )
    found = ada.get("/operate/log", params=row).text
    assert jobs_of(found) == [101, 100]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("since=yesterday", "since must be a time"),
        ("until=2026-13-01", "until must be a time"),
        ("since=9999-12-31T23:59:59-14:00", "since must be a time"),
        ("before=-1", "before must be a whole number"),
        ("before=99999999999999999999", "before must be a whole number"),
        ("before=0x1", "before must be a whole number"),
    ],
)
def test_a_senseless_filter_is_refused_in_words(ada, query, words):
    answer = ada.get(f"/operate/log?{query}")
    assert (answer.status_code, words in answer.text) == (400, True)


@pytest.mark.parametrize("query", ["operator=%00", "action=%ED%A0%80", f"operator={'a' * 5000}"])
def test_a_text_that_no_line_can_have_finds_none(ada, query):
    answer = ada.get(f"/operate/log?{query}")
    assert (answer.status_code, "No line matches" in answer.text) == (200, True)


def test_hostile_and_odd_values_are_shown_as_text(ada, db):
    db.execute(LINES)
    db.execute(ODD)
    page = ada.get("/operate/log").text
    assert "&lt;script&gt;alert(4)" in page
    assert "<script>alert" not in page
    assert "pending, processing" in page
    assert '<a class="id" href="/operate/jobs/0199a000-0000-7000-8000-000000000012">' in page


def test_what_is_done_on_the_page_is_a_line_with_the_operators_name(seeded, ada, bob):
    post(ada, f"/jobs/{job_id(3)}/cancel")
    page = bob.get("/operate/log").text
    assert "cancel job" in page
    assert job_id(3) in page
    assert ">ada</a>" in page


@pytest.mark.slow
@pytest.mark.skipif(IN_CHROMIUM[1].args[0], reason=IN_CHROMIUM[1].kwargs["reason"])
@pytest.mark.parametrize(
    ("viewport", "scripts"), [(PHONE, True), (DESKTOP, False)], ids=["phone", "without scripts"]
)
def test_the_log_is_filtered_by_keyboard_and_read_to_its_end(operator, db, viewport, scripts):
    db.execute(LINES)
    visitor = operator(viewport=viewport, java_script_enabled=scripts, reduced_motion="reduce")
    visitor.go("/log")
    visitor.page.get_by_label("What").fill("cancel_job")
    visitor.page.get_by_label("What").press("Enter")
    rows = visitor.page.locator("#log tbody tr")
    expect(rows.first.locator("td").last).to_have_text("130 jobs")
    visitor.page.get_by_role("link", name="Older").press("Enter")
    expect(rows).to_have_count(15)
    expect(rows.last.locator("td").last).to_have_text("2 jobs")
    visitor.check("log") if scripts else visitor.look("log-1280")
