"""POST process-generation/webhook: the provider says that a prediction has ended.

Believed only with a good signature of the account (Standard Webhooks, five minutes old at most), the secret of this
very prediction, and its id. It may come twice, late, or before the create's answer: the first end written counts.
"""

import hmac
import logging
from uuid import UUID

from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions._shared import foreign
from functions._shared.errors import (
    GenerationFailed,
    LeaseLost,
    NotFound,
    Unauthorized,
    Unavailable,
)
from functions._shared.provider.prediction import Prediction, read_prediction
from functions._shared.provider.replicate import Replicate
from functions._shared.resources import Resources, resources_of
from functions._shared.web.bodies import read_raw
from functions.process_generation import predictions
from functions.process_generation.predictions import Callback
from functions.process_generation.settle import settle

log = logging.getLogger(__name__)

BAD_SIGNATURE = "UNAUTHORIZED_WEBHOOK_SIGNATURE"


async def handle(request: Request) -> JSONResponse:
    """200 also for what is known already or still runs, so that the provider does not send it again."""
    resources = resources_of(request)
    body = await read_raw(request)
    prediction = await _verified(body, request, resources.replicate)
    named = await _named(request, resources)
    if named is None or named.prediction_id not in (None, prediction.id):
        raise NotFound("No such prediction")
    if named.status == "intended":  # it is here before the answer to the create
        try:
            await predictions.park(resources.pool, named, prediction.id)
        except LeaseLost as lost:
            log.warning("prediction %s: %s", prediction.id, lost)
            return JSONResponse({"success": True})
    if named.status in {"intended", "running"}:
        await settle(resources, named, prediction)
    return JSONResponse({"success": True})


async def _verified(body: bytes, request: Request, replicate: Replicate) -> Prediction:
    """The signed body. Raises Unauthorized, Unavailable."""
    headers = dict(request.headers)
    try:
        secret = await replicate.webhook_secret()
        try:
            return _read(secret, body, headers)
        except Unauthorized:
            changed = await replicate.webhook_secret(renew=True)
            if changed == secret:
                raise
            return _read(changed, body, headers)
    except GenerationFailed as error:
        log.warning("the webhook secret could not be had: %s", error)
        raise Unavailable("The signature cannot be checked at the moment") from None


def _read(secret: str, body: bytes, headers: dict[str, str]) -> Prediction:
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):  # ValueError: what is no signature at all
        raise Unauthorized("The webhook's signature is not valid", code=BAD_SIGNATURE) from None
    try:
        return read_prediction(foreign.read_json(body))
    except ValueError:
        raise Unauthorized("The webhook's body is no prediction", code=BAD_SIGNATURE) from None


async def _named(request: Request, resources: Resources) -> Callback | None:
    """The intent that the address names, if the address also has its secret."""
    try:
        intent_id = UUID(request.query_params.get("prediction", ""))
    except ValueError:
        return None
    found = await predictions.find(resources.pool, intent_id)
    given = request.query_params.get("secret", "").encode()
    return found if found and hmac.compare_digest(found.callback_secret.encode(), given) else None
