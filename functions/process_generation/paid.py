"""One paid prediction for an attempt of a job: intent, create, park. What an earlier attempt has paid for comes first.

intent committed ─▶ Replicate called ─▶ id committed, job parked ─▶ (poller or webhook) its end
     └─ nothing made: void                └─ no answer: looked for by the next attempt
"""

import asyncio
import logging
import math
import time
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

from functions._shared.errors import LeaseLost
from functions._shared.generation import GenerationRequest
from functions._shared.provider.prediction import Prediction
from functions._shared.provider.replicate import MaybeCreated, NotCreated
from functions._shared.resources import Resources
from functions.process_generation import predictions
from functions.process_generation.generation import GRACE_S, cancel
from functions.process_generation.predictions import Found, Intent, Lease
from functions.process_generation.prepare import Prepared, with_current_model
from functions.process_generation.settle import settle

log = logging.getLogger(__name__)

WEBHOOK_PATH = "/functions/v1/process-generation/webhook"
FAST_S, WAIT_S = 3.0, 5
"""A model that takes less is waited for in the create itself, at most that long: no poll is needed."""
LISTED_AFTER_S = 5.0
"""A prediction that the provider does not list this long after the intent was never made."""
LISTED_PAGES = 20
ACT_WITHIN_S = 5.0
"""From the intent to the request: shorter than a lease."""
CLOCKS_APART = timedelta(minutes=1)


async def generate(
    lease: Lease,
    generation_id: UUID,
    request: GenerationRequest,
    resources: Resources,
    timeout_s: float,
) -> None:
    """Leave the job parked beside its prediction, or ended where that ended at once.

    Raises LeaseLost, InvalidRequest, GenerationFailed: then nothing is paid for, or the next attempt looks for it.
    """
    found = await predictions.begin(resources.pool, lease, generation_id, timeout_s)
    if found and found.status == "running":
        resources.poll_alarm.expect(0)
        return
    if found and await _adopt(found, resources):
        return

    async def attempt(prepared: Prepared) -> None:
        intended_at = time.monotonic()
        intent, typical_s = await predictions.intend(resources.pool, lease, prepared, timeout_s)
        typical_s = typical_s or prepared.model.typical_seconds
        create = _create_and_park(intent, prepared, resources, typical_s, timeout_s, intended_at)
        try:
            prediction = await resources.pool.to_the_end(create)
        except MaybeCreated:
            if not await _adopt(intent, resources):
                raise
        else:
            await settle(resources, intent, prediction)

    await with_current_model(request, resources, resources.pool, attempt)


async def _create_and_park(
    intent: Intent,
    prepared: Prepared,
    resources: Resources,
    typical_s: float | None,
    timeout_s: float,
    intended_at: float,
) -> Prediction:
    if time.monotonic() - intended_at > ACT_WITHIN_S:
        # This process was frozen. Whoever looks for the intent's prediction may have given it up by now.
        raise LeaseLost("The intent is too old to be acted on")
    try:
        prediction = await resources.replicate.create(
            prepared.model.replicate_id,
            prepared.version,
            prepared.input,
            cancel_after_s=math.ceil(timeout_s) + GRACE_S,
            wait_s=WAIT_S if typical_s and typical_s < FAST_S else None,
            webhook=_callback(resources, intent),
        )
    except NotCreated as error:
        await predictions.void(resources.pool, intent, str(error), error.error_class)
        if error.retry_after_s:
            await predictions.limit_provider(resources.pool, error)
        raise
    await _park(intent, prediction.id, resources)
    return prediction


async def _park(intent: Intent, prediction_id: str, resources: Resources) -> None:
    try:
        seconds = await predictions.park(resources.pool, intent, prediction_id)
    except LeaseLost:
        if not await predictions.known_ids(resources.pool, [prediction_id]):
            await cancel(resources.replicate, prediction_id)  # nobody will ever ask for it
        raise
    if seconds is not None:
        resources.poll_alarm.expect(seconds)


async def _adopt(found: Found, resources: Resources) -> bool:
    """Look for the prediction of an intent whose answer was lost; whether there is one, parked now."""
    age_s = found.age_s
    while True:
        prediction = await _look_for(found, resources)
        if prediction:
            log.info("job %s: adopted the prediction of a lost answer", found.job_id)
            await _park(found, prediction.id, resources)
            await settle(resources, found, prediction)
            return True
        if age_s >= LISTED_AFTER_S:
            text = "The provider does not know of it"
            await predictions.void(resources.pool, found, text, "transient")
            return False
        await asyncio.sleep(LISTED_AFTER_S - age_s)
        age_s = LISTED_AFTER_S


async def _look_for(found: Found, resources: Resources) -> Prediction | None:
    pages = 0
    async for page in resources.replicate.recent(found.created_at - CLOCKS_APART):
        alike = []
        for prediction in page:
            caller = _called_back(prediction.webhook)
            if caller == str(found.id):
                return prediction
            if caller is None and _same(prediction, found):
                alike.append(prediction)
        taken = await predictions.known_ids(resources.pool, [one.id for one in alike])
        for prediction in alike:
            if prediction.id not in taken:
                return prediction
        pages += 1
        if pages == LISTED_PAGES:
            break
    return None


def _callback(resources: Resources, intent: Intent) -> str | None:
    """Where the provider calls at the end, if it can."""
    base = resources.settings.callback_base
    if base is None:
        return None
    query = urlencode({"prediction": str(intent.id), "secret": intent.callback_secret})
    return f"{base}{WEBHOOK_PATH}?{query}"


def _called_back(webhook: str | None) -> str | None:
    """The intent that a prediction's callback address names; None for one without, or of somebody else."""
    try:
        parts = urlsplit(webhook or "")
    except ValueError:  # brackets that hold no address
        return None
    if not parts.path.endswith(WEBHOOK_PATH):
        return None
    return next(iter(parse_qs(parts.query).get("prediction", ())), None)


def _same(prediction: Prediction, found: Found) -> bool:
    """Whether it may be the intent's: its model, and its input as far as it is written down; pictures are not."""
    right_model = prediction.model == found.model or (
        found.version is not None and prediction.version == found.version
    )
    return right_model and all(
        prediction.input.get(key) == value
        for key, value in found.input.items()
        if not _is_address(value)
    )


def _is_address(value: Any) -> bool:
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, str) and first.startswith(("http://", "https://", "data:"))
