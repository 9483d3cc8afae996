"""POST process-generation/webhook: the provider reports that a prediction has ended.

Authenticated by the account's signature (Standard Webhooks, replay window of five minutes), the intent's own secret in
the address, and the prediction's id. At-least-once delivery: repeated, late, or before the create's answer. Idempotent.
"""

import hmac
import logging

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
from functions.process_generation.callback import intent_and_secret
from functions.process_generation.predictions import CallbackIntent
from functions.process_generation.terminal import settle

log = logging.getLogger(__name__)

BAD_SIGNATURE = "UNAUTHORIZED_WEBHOOK_SIGNATURE"


async def handle(request: Request) -> JSONResponse:
    """200 also where nothing changes (ended already, still running), so that the provider stops its retries."""
    resources = resources_of(request)
    body = await read_raw(request)
    prediction = await _verified(body, request, resources.replicate)
    intent = await _intent(request, resources)
    if intent is None or intent.prediction_id not in (None, prediction.id):
        raise NotFound("No such prediction")
    if intent.status == "intended":  # the callback overtook the create's answer
        try:
            await predictions.park(resources.pool, intent, prediction.id)
        except LeaseLost as lost:
            lost.note(log, f"prediction {prediction.id}")
            return JSONResponse({"success": True})
    if intent.status in {"intended", "running"}:
        await settle(resources, intent, prediction)
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
    except (WebhookVerificationError, ValueError):  # ValueError: the header holds no signature
        raise Unauthorized("The webhook's signature is not valid", code=BAD_SIGNATURE) from None
    try:
        return read_prediction(foreign.read_json(body))
    except ValueError:
        raise Unauthorized("The webhook's body is no prediction", code=BAD_SIGNATURE) from None


async def _intent(request: Request, resources: Resources) -> CallbackIntent | None:
    """The intent that the address names, if the address also has its secret."""
    named = intent_and_secret(request.query_params)
    if named is None:
        return None
    intent_id, secret = named
    found = await predictions.find(resources.pool, intent_id)
    if found and hmac.compare_digest(found.callback_secret.encode(), secret.encode()):
        return found
    return None
