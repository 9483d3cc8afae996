"""When a schedule of pg_cron's is next due."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from functions._shared.cron import read_schedule

NOW = datetime(2026, 11, 27, 20, 5, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("* * * * *", datetime(2026, 11, 27, 20, 6, tzinfo=UTC)),
        ("5 20 * * *", datetime(2026, 11, 28, 20, 5, tzinfo=UTC)),
        ("@yearly", datetime(2027, 1, 1, tzinfo=UTC)),
        ("0 0 $ * *", datetime(2026, 11, 30, tzinfo=UTC)),
        ("0 0 30 2 *", None),
        ("30 seconds", None),
        ("@reboot", None),
    ],
)
def test_the_next_time_is_after_now(schedule, expected):
    assert read_schedule(schedule).next_due(NOW) == expected


def test_the_time_zone_is_that_of_now():
    due = read_schedule("0 3 * * *").next_due(NOW.astimezone(ZoneInfo("Europe/Rome")))
    assert due == datetime(2026, 11, 28, 2, tzinfo=UTC)
