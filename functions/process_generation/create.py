"""Create one paid prediction for an attempt of a job: intent, create, park. Adopt what an earlier attempt has paid for.

intent committed ─▶ create at Replicate ─▶ id committed, job parked ─▶ (poller or webhook) terminal status
     └─ refused: intent void                  └─ outcome unknown: adopt, now or in the next attempt
"""

import math
import time
from uuid import UUID

from functions._shared.errors import LeaseLost
from functions._shared.generation import GenerationRequest
from functions._shared.provider.failures import MaybeCreated, NotCreated
from functions._shared.provider.prediction import Prediction
from functions._shared.resources import Resources
from functions.process_generation import predictions
from functions.process_generation.adopt import adopt
from functions.process_generation.callback import callback_address
from functions.process_generation.park import park
from functions.process_generation.predictions import Intent, Lease
from functions.process_generation.prepare import ProviderRequest, prepare, prepare_again
from functions.process_generation.terminal import CANCEL_AFTER_MARGIN_S, settle

FAST_S, WAIT_S = 3.0, 5
"""A model that takes less than FAST_S is waited for in the create itself (Prefer: wait), which saves the polls."""
ACT_WITHIN_S = 5.0
"""From the intent to the create; shorter than a lease."""


async def create_or_adopt(
    lease: Lease,
    generation_id: UUID,
    request: GenerationRequest,
    resources: Resources,
    timeout_s: float,
) -> None:
    """Leave the job parked beside its prediction, or ended where the prediction ended at once.

    Raises LeaseLost, InvalidRequest, GenerationFailed: nothing was paid for, or the next attempt will adopt it.
    """
    found = await predictions.begin(resources.pool, lease, generation_id, timeout_s)
    if found and found.status == "running":
        resources.poll_alarm.expect(0)
        return
    if found and await adopt(found, resources):
        return
    prepared = await prepare(request, resources, resources.pool)
    try:
        await _create(lease, prepared, resources, timeout_s)
    except NotCreated as refused:
        prepared = await prepare_again(prepared, refused, request, resources, resources.pool)
        await _create(lease, prepared, resources, timeout_s)


async def _create(
    lease: Lease, prepared: ProviderRequest, resources: Resources, timeout_s: float
) -> None:
    """Intent, create, park; adopt where the outcome of the create is unknown."""
    intended_at = time.monotonic()
    intent, typical_s = await predictions.intend(resources.pool, lease, prepared, timeout_s)
    typical_s = typical_s or prepared.model.typical_seconds
    create = _create_and_park(intent, prepared, resources, typical_s, timeout_s, intended_at)
    try:
        prediction = await resources.pool.to_the_end(create)
    except MaybeCreated:
        if not await adopt(intent, resources):
            raise
    else:
        await settle(resources, intent, prediction)


async def _create_and_park(
    intent: Intent,
    prepared: ProviderRequest,
    resources: Resources,
    typical_s: float | None,
    timeout_s: float,
    intended_at: float,
) -> Prediction:
    if time.monotonic() - intended_at > ACT_WITHIN_S:
        # This process was suspended: by now another worker may have looked for the prediction, and voided the intent.
        raise LeaseLost("The intent is too old to be acted on")
    try:
        prediction = await resources.replicate.create(
            prepared.model.replicate_id,
            prepared.version,
            prepared.input,
            cancel_after_s=math.ceil(timeout_s) + CANCEL_AFTER_MARGIN_S,
            wait_s=WAIT_S if typical_s and typical_s < FAST_S else None,
            webhook=callback_address(resources.settings, intent),
        )
    except NotCreated as error:
        await predictions.void(resources.pool, intent, str(error), error.error_class)
        if error.retry_after_s:
            await predictions.limit_provider(resources.pool, error)
        raise
    await park(intent, prediction.id, resources)
    return prediction
