"""One log line for each ended job: which, of whom, how long, how it ended. No prompt, no error text, bounded."""

import logging
from collections.abc import Mapping
from typing import Any

from functions._shared.jobs import Job

log = logging.getLogger(__name__)

MAX_TEXT = 100
"""Characters of a text from the payload, which users' own SQL may have written."""
FAILED = "job %s (%s): failed for good: %s, attempt %d of %d"
COMPLETED = "job %s (%s): completed, attempt %d of %d"


def logs_completed() -> bool:
    """Whether completed jobs are logged, for a caller to ask once for many."""
    return log.isEnabledFor(logging.INFO)


def log_ended(job: Job, *, seconds: float | None, failed_as: str | None = None) -> None:
    """WARNING where the job failed for good, INFO where it completed. An attempt that is repeated is not an end.

    ``failed_as``: the error class, not the error's text: that may quote a prompt, and job_queue.errors has both.
    ``seconds``: of the last attempt. The event is ``job_ended``.
    """
    level = logging.WARNING if failed_as else logging.INFO
    if not log.isEnabledFor(level):  # before anything is made: most lines of a busy worker
        return
    attempts = (job.attempt_number, job.max_attempts)
    details = (failed_as, *attempts) if failed_as else attempts
    log.log(
        level,
        FAILED if failed_as else COMPLETED,
        job.id,
        job.job_type,
        *details,
        extra=_fields(job, seconds, failed_as),
    )


def _fields(job: Job, seconds: float | None, failed_as: str | None) -> dict[str, Any]:
    return {
        "event": "job_ended",
        "job_id": str(job.id),
        "job_type": job.job_type,
        "generation_id": _text(job.payload, "generation_id"),
        "model": _text(job.payload, "model_id"),
        "user_id": _text(job.payload, "user_id"),
        "seconds": None if seconds is None else round(seconds, 3),
        "attempt": job.attempt_number,
        "max_attempts": job.max_attempts,
        "outcome": "failed" if failed_as else "completed",
        "error_class": failed_as,
    }


def _text(payload: Mapping[str, Any], key: str) -> str | None:
    value = payload.get(key)
    return value[:MAX_TEXT] if isinstance(value, str) else None
