"""What the overview calls not well, and what it says to do."""

from datetime import UTC, datetime, timedelta
from typing import Any

from functions._operate.health import troubles

WORKER = {"is_alive": True, "host": "edge-1", "last_seen_at": datetime.now(UTC)}
SCHEDULED = {"is_scheduled": True, "tick_overdue_s": None}
LATE = {
    "job_type": "generate-image",
    "status": "pending",
    "jobs": 9,
    "due": 9,
    "oldest_due_seconds": 300.0,
}


def told(**changes: Any) -> list[str]:
    quiet: dict[str, Any] = {
        "queue": [],
        "hour": {},
        "state": SCHEDULED,
        "paused": [],
        "providers": [],
        "workers": [WORKER],
        "unhandled": [],
    }
    return [f"{one.title}: {one.text}" for one in troubles(**{**quiet, **changes})]


def test_all_is_well():
    assert told() == []


def test_a_link_finds_what_it_names_whatever_that_is_called():
    [trouble] = troubles(
        [], {}, SCHEDULED, [], [], [WORKER], [{"job_type": "a&status=b#c", "jobs": 1}]
    )
    assert trouble.link == ("/jobs?status=pending&type=a%26status%3Db%23c", "These jobs")


def test_no_evidence_is_not_well():
    assert told(workers=[])[0].startswith("No worker: No process runs jobs: none was seen")
    assert told(state={"is_scheduled": False})[0].startswith("No clock: ")


def test_the_dead_and_the_silent():
    seen = datetime.now(UTC) - timedelta(seconds=90)
    silent = {**WORKER, "is_alive": False, "last_seen_at": seen}
    assert "the last one was seen 90 s ago" in told(workers=[silent])[0]
    assert told(workers=[WORKER, silent])[0].startswith("A worker is silent: 1 of 2 processes")
    assert "3 running jobs lost to a dead worker" in told(state={**SCHEDULED, "abandoned": 3})[0]


def test_a_late_queue_is_told_unless_it_is_paused():
    assert told(queue=[LATE])[0].startswith(
        "generate-image is late: The oldest due job has waited 5 min"
    )
    pause = {"job_type": "*", "jobs": 9}
    assert [one.partition(":")[0] for one in told(queue=[LATE], paused=[pause])] == [
        "Everything is paused"
    ]


def test_a_silent_clock_says_for_how_long():
    assert "for 10 min" in told(state={**SCHEDULED, "tick_overdue_s": 600.0})[0]


def test_failures_count_against_the_hour_before():
    now = {"timeout": 12, "filtered": 4, "busy": 7}
    hour = {"classes": now, "classes_before": {"timeout": 3, "busy": 6}}
    assert [one.partition(":")[2] for one in told(hour=hour)] == [
        " timeout: 12 jobs failed for good in this hour, 3 in the hour before."
    ]


def test_a_budget_is_told_before_it_is_spent():
    nearly = {**SCHEDULED, "daily_usd": 10, "spent_today": 8.5}
    assert told(state=nearly)[0].startswith("The daily budget is nearly spent: $8.50 of $10.00")
    assert "refused (402)" in told(state={**nearly, "spent_today": 10})[0]


def test_the_urgent_come_first():
    pause = {"job_type": "download-image", "jobs": 0}
    found = told(paused=[pause], queue=[LATE])
    assert [one.partition(":")[0] for one in found] == [
        "generate-image is late",
        "download-image is paused",
    ]
