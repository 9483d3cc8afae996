"""Park a job: its prediction runs, no worker holds it, and the poller or a webhook will end it."""

from functions._shared.errors import LeaseLost
from functions._shared.resources import Resources
from functions.process_generation import predictions
from functions.process_generation.predictions import Intent
from functions.process_generation.terminal import cancel


async def park(intent: Intent, prediction_id: str, resources: Resources) -> None:
    """Commit the prediction's id. Raises LeaseLost, after cancelling a prediction that no row knows."""
    try:
        due_in_s = await predictions.park(resources.pool, intent, prediction_id)
    except LeaseLost:
        if not await predictions.known_ids(resources.pool, [prediction_id]):
            await cancel(resources.replicate, prediction_id)
        raise
    if due_in_s is not None:
        resources.poll_alarm.expect(due_in_s)
