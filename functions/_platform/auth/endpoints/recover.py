"""POST /recover: a mail with which a user who has lost the password chooses another."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.auth.addresses import valid_address
from functions._platform.auth.bodies import Params, read_params
from functions._platform.auth.context import auth_of
from functions._platform.auth.errors import AuthError, validation_failed
from functions._platform.auth.mailed.token_mails import LOOKUP_S, connected
from functions._platform.auth.pkce import challenge_of
from functions._platform.auth.store.users import find_user_by_email


class RecoverParams(Params):
    email: str = ""
    code_challenge: str = ""
    code_challenge_method: str = ""


async def recover(request: Request) -> Response:
    """``{}``, whether or not the address has an account."""
    auth = auth_of(request)
    auth.limits.check(request, "recover")
    if not auth.settings.enable_email_signup:
        raise AuthError(422, "email_provider_disabled", "Email logins are disabled")
    params = await read_params(request, RecoverParams)
    if not params.email:
        raise validation_failed("Password recovery requires an email")
    address = valid_address(params.email)
    challenge = challenge_of(params.code_challenge_method, params.code_challenge)
    async with connected(auth.mailer, "recovery", least_s=LOOKUP_S) as outbox:
        auth.mails.check_frequency(address, "recovery_token")
        async with auth.pool.connection() as connection:
            user = await find_user_by_email(connection, address)
        if user:
            await auth.mails.send(request, outbox, user, "recovery", challenge)
    return JSONResponse({})
