"""Adopt the prediction of an intent whose create was not answered: find it at the provider, instead of paying twice."""

import asyncio
import logging
from datetime import timedelta

from functions._shared.provider.prediction import Prediction
from functions._shared.resources import Resources
from functions._shared.web.own_input import addresses_in
from functions.process_generation import predictions
from functions.process_generation.callback import intent_in
from functions.process_generation.park import park
from functions.process_generation.predictions import RecoverableIntent
from functions.process_generation.terminal import settle

log = logging.getLogger(__name__)

LISTED_AFTER_S = 5.0
"""The provider's list may lag: a prediction that is absent from it this long after the intent was never created."""
MAX_PAGES = 20
CLOCK_SKEW = timedelta(minutes=1)
"""Between the database, which dates the intent, and the provider, which dates the prediction."""


async def adopt(intent: RecoverableIntent, resources: Resources) -> bool:
    """Whether the provider has a prediction for the intent, parked now. If it has none, the intent is void."""
    age_s = intent.age_s
    while True:
        prediction = await _find(intent, resources)
        if prediction:
            log.info("job %s: adopted the prediction of a lost answer", intent.job_id)
            await park(intent, prediction.id, resources)
            await settle(resources, intent, prediction)
            return True
        if age_s >= LISTED_AFTER_S:
            text = "The provider does not know of it"
            await predictions.void(resources.pool, intent, text, "transient")
            return False
        await asyncio.sleep(LISTED_AFTER_S - age_s)
        age_s = LISTED_AFTER_S


async def _find(intent: RecoverableIntent, resources: Resources) -> Prediction | None:
    """By its callback address, which names the intent; without one, by model and input, if no row has it yet."""
    pages = 0
    async for page in resources.replicate.recent(intent.created_at - CLOCK_SKEW):
        candidates = []
        for prediction in page:
            named = intent_in(prediction.webhook)
            if named == str(intent.id):
                return prediction
            if named is None and _matches(prediction, intent):
                candidates.append(prediction)
        taken = await predictions.known_ids(resources.pool, [one.id for one in candidates])
        for prediction in candidates:
            if prediction.id not in taken:
                return prediction
        pages += 1
        if pages == MAX_PAGES:
            break
    return None


def _matches(prediction: Prediction, intent: RecoverableIntent) -> bool:
    """Same model and same input. Pictures are not compared: what was sent is not what is recorded."""
    right_model = prediction.model == intent.model or (
        intent.version is not None and prediction.version == intent.version
    )
    return right_model and all(
        prediction.input.get(key) == value
        for key, value in intent.input.items()
        if not any(addresses_in({key: value}))
    )
