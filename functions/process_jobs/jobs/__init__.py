"""Job type → the code that runs it. A new type is one file here and one line in JOBS.

A handler gets the claimed job and the shared resources. What it returns becomes the job's result; None means that it
has ended the job itself, in the transaction of its own last step. What it raises decides how the attempt ends:
GenerationFailed says itself whether to retry, any other FunctionError (bad input) fails the job at once, anything
else is a bug and is retried. It may be cancelled at any await: the job then goes back to the queue.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from functions._shared.jobs import Job
from functions._shared.resources import Resources
from functions.process_jobs.jobs import download_image, generate_image, send_webhook

Handler = Callable[[Job, Resources], Awaitable[dict[str, Any] | None]]

JOBS: Mapping[str, Handler] = {
    "generate-image": generate_image.run,
    "download-image": download_image.run,
    "send-webhook": send_webhook.run,
}
