"""Parse pg_cron's schedules for the cronsim library, and compute when a job is due.

cronsim combines day of month and day of week as pg_cron does (Debian cron's rule). ``cron.valid_schedule`` validates a
schedule when a job is made; forms that pg_cron accepts and cronsim does not are normalised here.
"""

import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

log = logging.getLogger(__name__)

NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


@dataclass(frozen=True)
class Schedule:
    """An interval of ``seconds``, or five cron ``fields``; a schedule with neither is never due."""

    seconds: int | None = None
    fields: str | None = None
    at_start: bool = False
    """@reboot: due once, at a start of the clock or of the server."""

    def last_due(self, now: datetime) -> datetime | None:
        """The latest full minute at or before ``now`` that matches the cron fields in the time zone of ``now``, if any.

        Where a zone's clocks change, Debian cron's rule holds: no run is lost with an hour, none doubled.
        """
        if self.fields is None:
            return None
        minute = now.replace(second=0, microsecond=0)
        try:
            return next(CronSim(self.fields, minute + timedelta(minutes=1), reverse=True))
        except (CronSimError, StopIteration):
            return None  # a date that never exists, such as 30 February

    def next_due(self, now: datetime) -> datetime | None:
        """The first full minute after ``now`` that matches the cron fields in the time zone of ``now``, if any."""
        if self.fields is None:
            return None
        try:
            return next(CronSim(self.fields, now))
        except (CronSimError, StopIteration):
            return None


@cache
def time_zone(name: str | None) -> tzinfo:
    """``cron.timezone``; GMT where it is not set, and, with a warning, where nothing has that name."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ValueError, OSError, KeyError):  # a path, a folder's name, an unknown name
        log.warning("cron.timezone: no time zone is named so: schedules are in GMT")
        return UTC


def read_schedule(text: str) -> Schedule:
    """Parse a schedule that ``cron.valid_schedule`` has accepted."""
    words = text.strip(" \t").lower().split()
    if words[0] in ("@reboot", "@restart"):
        return Schedule(at_start=True)
    if len(words) == 2 and words[1].startswith("second"):
        return Schedule(seconds=int(words[0]))
    fields = NAMED[words[0]].split() if words[0] in NAMED else words[:5]
    if fields[2] == "$":
        fields[2] = "L"
    read = [_without_empty_ranges(field) for field in fields]
    return Schedule(fields=" ".join(read)) if all(read) else Schedule()


def _without_empty_ranges(field: str) -> str:
    """Normalise the ranges that cronsim refuses: ``*-5`` is ``*``, the empty range ``5-1`` is dropped."""
    terms = [re.sub(r"^\*-\d+", "*", term) for term in field.split(",")]
    return ",".join(term for term in terms if not _is_empty_range(term))


def _is_empty_range(term: str) -> bool:
    low, dash, high = term.partition("/")[0].partition("-")
    return bool(dash) and _number(low) > _number(high)


def _number(word: str) -> int:
    for names, first in ((MONTHS, 1), (DAYS, 0)):
        if word in names:
            return names.index(word) + first
    return int(word)
