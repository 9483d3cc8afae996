"""failure_groups: what failed, grouped so that each group's pattern redrives the group."""

import pytest

from tests.conftest import Database

FAILED = """
insert into job_queue (job_type, status, error_message, errors, completed_at)
values (%s, 'failed', %s, jsonb_build_array(jsonb_build_object('class', %s::text)), now() - interval '1 minute')
"""


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("Internal error", "Internal error"),
        ("Not within 30 s", "Not within % s"),
        (
            "Replicate API error (503): request 8a01 failed",
            "Replicate API error (503): request % failed",
        ),
        ("HTTP 404 from https://a.example/b?c=%20 at 12:30:01.5", "HTTP 404 from % at %"),
        ("status 5031 (12345 bytes)", "status % (% bytes)"),
        ("job 0199a000-0000-7000-8000-000000000900 is gone", "job % is gone"),
        ("100% of _it_ \\ failed", "%\\% of \\_it\\_ \\\\ failed"),
        ("x" * 201, "x" * 200 + "%"),
        ("line\n  and line \r\n", "line%and line%"),
        ("", ""),
        (None, None),
    ],
)
def test_a_pattern_keeps_what_tells_kinds_apart(db: Database, text, pattern):
    [row] = db.execute(
        "select picture_edge.error_pattern(%(text)s) as it,"
        " %(text)s like picture_edge.error_pattern(%(text)s) as matches",
        {"text": text},
    )
    assert row == {"it": pattern, "matches": None if text is None else True}


def test_each_group_is_what_its_pattern_redrives(db: Database):
    for job_type in ("a", "b"):
        for text, error_class in [
            ("gone 1", "transient"),
            ("gone 2", "transient"),
            ("gone 3", "busy"),
            ("all of it%", "bug"),
            ("all of it %", "bug"),
            ("gon_ 1", "bug"),
        ]:
            db.execute(FAILED, (job_type, text, error_class))
    groups = db.execute("select * from failure_groups()").fetchall()
    assert sorted(row["jobs"] for row in groups) == [1, 1, 1, 1, 1, 1, 3, 3]
    assert {row["class"] for row in groups if row["jobs"] == 3} == {"transient"}
    for row in groups:
        [counted] = db.execute(
            "select redrive_failed(%s, p_error_like => %s, p_dry_run => true) as jobs",
            (row["job_type"], row["error_like"]),
        )
        assert counted["jobs"] == row["jobs"], row


def test_times_and_the_number_that_is_read_bound_it(db: Database):
    for _ in range(3):
        db.execute(FAILED, ("a", "gone", "bug"))
    db.execute("insert into job_queue (job_type, status) values ('a', 'failed')")
    assert [
        row["jobs"] for row in db.execute("select jobs from failure_groups(p_newest => 2)")
    ] == [1, 1]
    until = "failure_groups(p_until => now() - interval '30 s')"
    [row] = db.execute(f"select jobs, error_like, class from {until}".encode())
    assert row == {"jobs": 3, "error_like": "gone", "class": "bug"}
    assert db.execute("select from failure_groups(p_newest => -1)").fetchall() == []
    [by_hand] = db.execute(
        "select error_like, class from failure_groups(now() - interval '30 s', 'infinity')"
    )
    assert by_hand == {"error_like": None, "class": "unknown"}
