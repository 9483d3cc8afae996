"""The terminal status of a prediction, written once: by the first of the create's answer, a poll and a webhook."""

import logging

from functions._shared.errors import GenerationFailed, LeaseLost
from functions._shared.job_log import log_ended
from functions._shared.metrics import recording
from functions._shared.provider.failures import PredictionOver
from functions._shared.provider.prediction import TERMINAL, Prediction, outputs_of
from functions._shared.provider.replicate import Replicate
from functions._shared.resources import Resources
from functions.process_generation import predictions
from functions.process_generation.predictions import Intent

log = logging.getLogger(__name__)

GENERATE_IMAGE = "generate-image"
"""The type of the jobs that have predictions."""
CANCEL_AFTER_MARGIN_S = 60
"""How much later than our own time limit the provider ends a prediction by itself (Cancel-After), if we have died."""


async def settle(resources: Resources, intent: Intent, prediction: Prediction) -> bool:
    """Write a terminal status to prediction, job and generation; False while it runs, which changes nothing.

    Idempotent: an end that is reported twice, or after the lease was lost, changes nothing.
    """
    if prediction.status not in TERMINAL:
        return False
    try:
        output_urls = outputs_of(prediction)
    except PredictionOver as over:
        status = "canceled" if prediction.status in {"canceled", "aborted"} else "failed"
        await settle_without_picture(resources, intent, status, over, prediction.seconds)
        return True
    inbox = resources.worker_inbox
    try:
        download = await predictions.succeed(
            resources.pool, intent, output_urls, prediction.seconds, inbox.with_room()
        )
    except LeaseLost as lost:
        lost.note(log, f"prediction {prediction.id}")
    else:
        _count(resources, intent, "completed")
        if download:
            inbox.take(download)
        else:
            inbox.wake()
    return True


async def settle_without_picture(
    resources: Resources,
    intent: Intent,
    status: str,
    over: PredictionOver,
    seconds: float | None = None,
) -> None:
    """Write the status failed or canceled; ``over`` says why, and whether another attempt may help. Idempotent.

    ``seconds``: how long the provider worked on it, where it says so.
    """
    try:
        job = await predictions.fail(resources.pool, intent, status, over)
        _count(resources, intent, "failed" if job else "retried", over.error_class)
        if job:
            log_ended(job, seconds=seconds, failed_as=over.error_class or "permanent")
    except LeaseLost as lost:
        lost.note(log, f"intent {intent.id}")
    resources.worker_inbox.wake()


def _count(
    resources: Resources, intent: Intent, outcome: str, error_class: str | None = None
) -> None:
    """For /metrics. Counted twice where two processes learn the end at the same moment."""
    recording.attempt_settled(GENERATE_IMAGE, outcome, error_class)
    resources.ended.intent(intent.id)


def timed_out(timeout_s: float) -> PredictionOver:
    """The error of a prediction that has not ended within our own time limit."""
    length = f"{timeout_s / 60:.0f} minutes" if timeout_s >= 60 else f"{timeout_s:g} seconds"
    return PredictionOver(
        f"Generation timeout after {length}",
        retry=False,
        error_class="timed_out",
    )


async def cancel(replicate: Replicate, prediction_id: str) -> None:
    """Best effort: where it fails, Cancel-After ends the prediction all the same."""
    try:
        await replicate.cancel(prediction_id)
    except GenerationFailed as error:
        log.warning("prediction %s: not cancelled: %s", prediction_id, error)
