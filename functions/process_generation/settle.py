"""The end of a prediction, written once: whoever learns it first, the create's answer, a poll or a webhook."""

import logging

from functions._shared.errors import LeaseLost
from functions._shared.provider.prediction import TERMINAL, Prediction
from functions._shared.provider.replicate import PredictionOver, outputs_of
from functions._shared.resources import Resources
from functions.process_generation import predictions
from functions.process_generation.predictions import Intent

log = logging.getLogger(__name__)


async def settle(resources: Resources, intent: Intent, prediction: Prediction) -> bool:
    """Pass the end on to the job and the generation; False while it still runs, which changes nothing.

    An end that comes twice, or after the job went to somebody else, changes nothing either.
    """
    if prediction.status not in TERMINAL:
        return False
    try:
        output_urls = outputs_of(prediction)
    except PredictionOver as over:
        status = "canceled" if prediction.status in {"canceled", "aborted"} else "failed"
        await settle_without(resources, intent, status, over)
        return True
    inbox = resources.worker_inbox
    try:
        download = await predictions.succeed(
            resources.pool, intent, output_urls, prediction.seconds, inbox.with_room()
        )
    except LeaseLost as lost:
        log.warning("prediction %s: %s", prediction.id, lost)
    else:
        if download:
            inbox.take(download)
        else:
            inbox.wake()
    return True


async def settle_without(
    resources: Resources, intent: Intent, status: str, over: PredictionOver
) -> None:
    """There will be no picture: ``status`` is failed or canceled, ``over`` says why and whether to try again."""
    try:
        await predictions.fail(resources.pool, intent, status, over)
    except LeaseLost as lost:
        log.warning("intent %s: %s", intent.id, lost)
    resources.worker_inbox.wake()
