"""Job type → its handler. A new type is one file here and one line in JOBS.

A handler gets the claimed job and the shared resources. Its return value becomes the job's result; None means that it
has ended the job itself, in the transaction of its own last step. Its exception decides how the attempt ends:
GenerationFailed says whether to retry, any other FunctionError (bad input) fails the job at once, anything else is a
bug and is retried (the table is in attempt.py). It may be cancelled at any await: the job then goes back to the queue.

A type that pays a provider calls ``create_or_adopt`` of process_generation, as generate_image.py does; its row in
job_types says to SQL that it spends the provider and is parked.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from functions._shared.jobs import Job
from functions._shared.resources import Resources
from functions.process_jobs.jobs import (
    cleanup_storage,
    download_image,
    generate_image,
    send_webhook,
)

Handler = Callable[[Job, Resources], Awaitable[dict[str, Any] | None]]


def job_types() -> list[str]:
    """What this process may claim: in a rolling deploy an older one leaves the jobs that it does not know to newer."""
    return list(JOBS)


PARKED = frozenset({"generate-image"})
"""Types whose handlers end with the job parked: poller or webhook end it."""
JOBS: Mapping[str, Handler] = {
    "generate-image": generate_image.run,
    "download-image": download_image.run,
    "cleanup-storage": cleanup_storage.run,
    "send-webhook": send_webhook.run,
}
