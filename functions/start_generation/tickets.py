"""Tickets: a capability in the query (HMAC-SHA256) for the event stream of one generation, valid for minutes.

A browser's EventSource sends no Authorization header. An access token in the query would be in the logs of proxies on
the way, and opens all that its user may do; a leaked ticket shows one progress bar for as long as it is valid.
"""

import base64
import hmac
import time
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse

from functions._shared.errors import Unauthorized
from functions._shared.resources import resources_of
from functions._shared.settings import Settings
from functions.start_generation.own_generation import generation_id_of, own_generation

TICKET_S = 120
"""Life of a ticket in seconds. A stream that is open stays open; a reconnect after that needs a new ticket."""
PURPOSE = b"start-generation events"
"""Domain separation: the key is derived from the secret that signs access tokens, so neither passes for the other."""


async def ticket(request: Request) -> JSONResponse:
    """``{"ticket", "expires_in"}`` for the events of the caller's generation; 404 for another user's."""
    user_id = await resources_of(request).auth.user(request)
    await own_generation(request, user_id)
    issued = _issued(resources_of(request).settings, generation_id_of(request), user_id)
    headers = {"Cache-Control": "no-store"}
    return JSONResponse({"ticket": issued, "expires_in": TICKET_S}, headers=headers)


async def user_of(request: Request) -> UUID:
    """The user whose ticket, else whose token, a request for events carries. Raises Unauthorized."""
    sent = request.query_params.get("ticket")
    resources = resources_of(request)
    if sent is None:
        return await resources.auth.user(request)
    return _holder(resources.settings, generation_id_of(request), sent)


def _issued(settings: Settings, generation_id: UUID, user_id: UUID) -> str:
    claims = f"{int(time.time()) + TICKET_S}.{user_id.hex}"
    return f"{claims}.{_signature(settings, generation_id, claims)}"


def _holder(settings: Settings, generation_id: UUID, sent: str) -> UUID:
    claims, _, signature = sent.rpartition(".")
    genuine = _signature(settings, generation_id, claims)
    if not hmac.compare_digest(genuine.encode(), signature.encode()):
        raise Unauthorized("Invalid ticket", code="UNAUTHORIZED_TICKET")
    expires_at, _, user_id = claims.partition(".")
    if int(expires_at) < time.time():
        raise Unauthorized("Ticket expired", code="UNAUTHORIZED_TICKET")
    return UUID(user_id)


def _signature(settings: Settings, generation_id: UUID, claims: str) -> str:
    secret = settings.supabase_jwt_secret or settings.supabase_service_role_key
    key = hmac.digest(secret.get_secret_value().encode(), PURPOSE, "sha256")
    signed = f"{generation_id.hex}.{claims}".encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(hmac.digest(key, signed, "sha256")).decode().rstrip("=")
