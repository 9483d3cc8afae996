"""GET and POST /verify: a mailed link, or its token, for a session."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from functions._platform.auth.addresses import valid_address
from functions._platform.auth.bodies import Params, read_params
from functions._platform.auth.context import auth_of
from functions._platform.auth.errors import AuthError, validation_failed
from functions._platform.auth.mailed.one_time_tokens import PKCE
from functions._platform.auth.mailed.redirects import (
    redirect_of,
    with_code,
    with_error,
    with_message,
    with_session,
)
from functions._platform.auth.mailed.verification import Verified, verify_code, verify_hash
from functions._platform.auth.sessions import grant_session
from functions._platform.auth.store.flow_states import issue_code
from functions._platform.auth.store.users import Connection
from functions._shared import foreign

HALF_WAY = "Confirmation link accepted. Please proceed to confirm link sent to the other email"
FLOW_METHODS = {"signup": "email/signup"}
"""Type → ``authentication_method`` of the flow state; the others are named alike."""


class VerifyParams(Params):
    type: str = ""
    token: str = ""
    token_hash: str = ""
    email: str = ""
    phone: str = ""
    redirect_to: str = ""


async def follow_link(request: Request) -> Response:
    """303 to an allowed ``redirect_to`` with a session, a code (PKCE) or an error.

    HEAD is refused: a mail scanner that looks at links would use the token up.
    """
    if request.method == "HEAD":
        raise HTTPException(405)
    auth = auth_of(request)
    auth.limits.check(request, "verify")
    type, token = (foreign.text(request.query_params.get(name, "")) for name in ("type", "token"))
    if not type:
        raise validation_failed("Verify requires a verification type")
    if not token:
        raise validation_failed("Verify requires a token or a token hash")
    back = redirect_of(request, auth.settings)
    try:
        async with auth.pool.connection() as connection, connection.transaction():
            verified = await verify_hash(connection, auth.settings, type, token)
            address = await _landing(request, connection, verified, back)
    except AuthError as error:
        address = with_error(back, error, pkce=token.startswith(PKCE))
    return RedirectResponse(address, 303)


async def _landing(request: Request, connection: Connection, verified: Verified, back: str) -> str:
    if verified.user is None:
        return with_message(back, HALF_WAY, pkce=verified.is_pkce)
    if not verified.is_pkce:
        body = await grant_session(request, connection, verified.user.id, "otp")
        return with_session(back, body, verified.type)
    method = FLOW_METHODS.get(verified.type, verified.type)
    code = await issue_code(connection, verified.user.id, method)
    if code is None:
        raise AuthError(
            400,
            "flow_state_not_found",
            "No associated flow state found. No valid flow state found for user.",
        )
    return with_code(back, code)


async def verify(request: Request) -> Response:
    """A session, by ``token_hash``, or by ``email`` and ``token`` (the code)."""
    auth = auth_of(request)
    auth.limits.check(request, "verify")
    params = await read_params(request, VerifyParams)
    address = _checked(params)
    async with auth.pool.connection() as connection, connection.transaction():
        if address is None:
            verified = await verify_hash(connection, auth.settings, params.type, params.token_hash)
        else:
            verified = await verify_code(
                connection, auth.settings, auth.mails.attempts, params.type, address, params.token
            )
        if verified.user is None:
            return JSONResponse({"msg": HALF_WAY, "code": "200"})
        body = await grant_session(request, connection, verified.user.id, "otp")
    return JSONResponse(body)


def _checked(params: VerifyParams) -> str | None:
    """The address that the code was mailed to; None for a ``token_hash``. Raises AuthError."""
    if not params.type:
        raise validation_failed("Verify requires a verification type")
    if bool(params.token) == bool(params.token_hash):
        raise validation_failed("Verify requires either a token or a token hash")
    if params.token_hash:
        if params.email or params.phone or params.redirect_to:
            raise validation_failed("Only the token_hash and type should be provided")
        return None
    if bool(params.email) == bool(params.phone):
        raise validation_failed(
            "Only an email address or phone number should be provided on verify"
        )
    if params.phone:
        raise AuthError(403, "otp_expired", "Token has expired or is invalid")
    try:
        return valid_address(params.email)
    except AuthError:
        raise AuthError(422, "validation_failed", "Invalid email format") from None
