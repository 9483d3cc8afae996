"""One attempt of a job: its handler runs, and what it returns or raises becomes the attempt's ending.

The one place from an exception to an ending, and to the error class kept in ``job_queue.errors``:

    GenerationFailed       retried if it says so, after its delay; the class is its own (provider/failures.py)
    InvalidRequest         failed at once, bad_input
    any other FunctionError failed at once, permanent (SQL's default)
    TimeoutError           retried, timeout
    LeaseLost, is_down      passed on: nothing can be written about the job
    anything else          retried, bug
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from functions._shared.database.sqlstates import is_down
from functions._shared.errors import FunctionError, GenerationFailed, InvalidRequest, LeaseLost
from functions._shared.jobs import Job
from functions._shared.resources import Resources
from functions.process_jobs import jobs
from functions.process_jobs.eager import Begun
from functions.process_jobs.queue import Ending

log = logging.getLogger(__name__)

HANDLER_MARGIN_S = 10.0
"""A handler's time beyond JOB_TIMEOUT_MS. The poller ends a prediction at that limit; this bounds all other work."""


async def run_handler(
    job: Job, resources: Resources, suspended: Callable[[], None]
) -> Ending | None:
    """Run the job's handler within its time limit; None where the handler has ended the job itself.

    ``suspended`` is called once, when the handler first waits for something; until then no other task has run.
    Raises LeaseLost, psycopg.Error (``is_down``).
    """
    timeout_ms = resources.settings.job_timeout_ms
    began = time.monotonic()
    try:
        begun = Begun(jobs.JOBS[job.job_type](job, resources))  # no other types are claimed
        if begun.suspended:
            suspended()
            # A timer only now: it costs as much as all else of a job that never waits, and could not stop one.
            async with asyncio.timeout(timeout_ms / 1000 + HANDLER_MARGIN_S):
                await begun
        result = begun.result
    except FunctionError as failure:
        return _ending_of(failure, job, time.monotonic() - began)
    except TimeoutError:
        return Ending(
            job=job,
            error=f"Job timed out after {timeout_ms} ms",
            error_class="timeout",
            seconds=time.monotonic() - began,
        )
    except LeaseLost:
        raise
    except Exception as error:
        if is_down(error):
            raise
        # A bug of any kind ends this job only; the worker's other jobs go on.
        log.exception("job %s (%s): bug", job.id, job.job_type)
        seconds = time.monotonic() - began
        return Ending(job=job, error="Internal error", error_class="bug", seconds=seconds)
    if result is None:
        return None
    return Ending(job=job, result=result, seconds=time.monotonic() - began)


def _ending_of(failure: FunctionError, job: Job, seconds: float) -> Ending:
    if isinstance(failure, GenerationFailed):
        delay_s = failure.retry_after_s
        return Ending(
            job=job,
            error=str(failure),
            retry=failure.retry,
            # Jitter against a thundering herd: many jobs wait for the same moment.
            retry_after_s=delay_s and delay_s + random.random(),  # noqa: S311
            error_class=failure.error_class,
            seconds=seconds,
        )
    error_class = "bad_input" if isinstance(failure, InvalidRequest) else None
    return Ending(
        job=job, error=str(failure), retry=False, error_class=error_class, seconds=seconds
    )
