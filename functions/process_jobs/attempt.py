"""One attempt of a job: its handler, and the end that what came of it stands for."""

import asyncio
import logging
import random

from functions._shared.database.sqlstates import is_down
from functions._shared.errors import FunctionError, GenerationFailed, InvalidRequest, LeaseLost
from functions._shared.jobs import Job
from functions._shared.resources import Resources
from functions.process_jobs import jobs
from functions.process_jobs.queue import Ending

log = logging.getLogger(__name__)

GRACE_S = 10.0


async def attempt(job: Job, resources: Resources) -> Ending | None:
    """Run the job's handler, JOB_TIMEOUT_MS and GRACE_S at most; None where it has ended the job itself.

    Raises LeaseLost, psycopg.Error (``is_down``): then nothing can be written about it.
    """
    handler = jobs.JOBS.get(job.job_type)
    if handler is None:  # a newer deploy may know it
        return Ending(
            job=job, error=f"No handler for job type {job.job_type}", error_class="unknown_type"
        )
    timeout_ms = resources.settings.job_timeout_ms
    try:
        # A prediction ends by itself in time, and is cancelled by the poller; this bound is for all else.
        async with asyncio.timeout(timeout_ms / 1000 + GRACE_S):
            result = await handler(job, resources)
    except GenerationFailed as error:
        return Ending(
            job=job,
            error=str(error),
            retry=error.retry,
            # Not all at once, when what they waited for comes.
            retry_after_s=error.retry_after_s and error.retry_after_s + random.random(),  # noqa: S311
            error_class=error.error_class,
        )
    except FunctionError as error:
        error_class = "bad_input" if isinstance(error, InvalidRequest) else None
        return Ending(job=job, error=str(error), retry=False, error_class=error_class)
    except TimeoutError:
        return Ending(job=job, error=f"Job timed out after {timeout_ms} ms", error_class="timeout")
    except LeaseLost:
        raise
    except Exception as error:
        if is_down(error):
            raise
        # Whatever a handler breaks with, its job has to get an end, and the worker's other jobs go on.
        log.exception("job %s (%s): bug", job.id, job.job_type)
        return Ending(job=job, error="Internal error", error_class="bug")
    return None if result is None else Ending(job=job, result=result)
