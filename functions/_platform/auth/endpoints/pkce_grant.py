"""POST /token?grant_type=pkce: the code of a followed link, and the verifier of its challenge, for a session."""

import base64
import hashlib
import hmac

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.auth.bodies import Params, read_params
from functions._platform.auth.context import auth_of
from functions._platform.auth.errors import AuthError, validation_failed
from functions._platform.auth.pkce import Challenge
from functions._platform.auth.sessions import grant_session
from functions._platform.auth.store.flow_states import lock_by_code, remove_flow_state
from functions._platform.auth.store.users import find_user


class PkceParams(Params):
    auth_code: str = ""
    code_verifier: str = ""


async def by_code(request: Request) -> Response:
    """A session; the code works once."""
    params = await read_params(request, PkceParams)
    if not params.auth_code or not params.code_verifier:
        raise validation_failed(
            "invalid request: both auth code and code verifier should be non-empty"
        )
    async with auth_of(request).pool.connection() as connection, connection.transaction():
        flow = await lock_by_code(connection, params.auth_code)
        if flow is None:
            raise AuthError(
                404, "flow_state_not_found", "invalid flow state, no valid flow state found"
            )
        if flow.expired:
            raise AuthError(422, "flow_state_expired", "invalid flow state, flow state has expired")
        if not is_proved(flow.challenge, params.code_verifier):
            raise AuthError(
                400,
                "bad_code_verifier",
                "code challenge does not match previously saved code verifier",
            )
        user = await find_user(connection, flow.user_id)
        if user is not None and user.is_banned:
            raise AuthError(400, "user_banned", "User is banned")
        await remove_flow_state(connection, flow.id)
        body = await grant_session(request, connection, flow.user_id, flow.method)
    return JSONResponse(body)


def is_proved(challenge: Challenge, verifier: str) -> bool:
    """RFC 7636, section 4.6, in constant time."""
    shown = verifier.encode()
    if challenge.method == "s256":
        shown = base64.urlsafe_b64encode(hashlib.sha256(shown).digest()).rstrip(b"=")
    return hmac.compare_digest(shown, challenge.value.encode())
