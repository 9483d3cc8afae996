"""POST /resend: the mail of a sign-up or of a change of address, once more."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.auth.addresses import valid_address
from functions._platform.auth.bodies import Params, read_params
from functions._platform.auth.context import auth_of
from functions._platform.auth.errors import AuthError, validation_failed
from functions._platform.auth.mailed.token_mails import LOOKUP_S, connected
from functions._platform.auth.pkce import challenge_of
from functions._platform.auth.store.users import find_user_by_email

BY_MAIL = frozenset({"signup", "email_change"})
BY_PHONE = frozenset({"sms", "phone_change"})


class ResendParams(Params):
    type: str = ""
    email: str = ""
    phone: str = ""
    code_challenge: str = ""
    code_challenge_method: str = ""


async def resend(request: Request) -> Response:
    """``{}``, whether or not there is something to send."""
    auth = auth_of(request)
    auth.limits.check(request, "resend")
    params = await read_params(request, ResendParams)
    address = _checked(params)
    challenge = challenge_of(params.code_challenge_method, params.code_challenge)
    is_signup = params.type == "signup"
    what = "confirmation" if is_signup else "email change"
    async with connected(auth.mailer, what, least_s=LOOKUP_S) as outbox:
        if is_signup:
            # Lock-out: a new address gets no mail here, and a stranger must not keep it from its sign-up.
            auth.mails.check_frequency(address, "resend", behind=("confirmation_token",))
        else:
            auth.mails.check_frequency(address, "email_change_token_new")
        async with auth.pool.connection() as connection:
            user = await find_user_by_email(connection, address)
        if user and is_signup and not user.is_confirmed:
            await auth.mails.send(request, outbox, user, "confirmation", challenge)
        elif user and not is_signup and user.email_change:
            await auth.mails.send_email_change_again(request, outbox, user, challenge)
    return JSONResponse({})


def _checked(params: ResendParams) -> str:
    """The address. Raises AuthError."""
    if params.type not in BY_MAIL | BY_PHONE:
        raise validation_failed(
            "Missing one of these types: signup, email_change, sms, phone_change"
        )
    if params.type == "signup" and not params.email:
        raise validation_failed("Type provided requires an email address")
    if params.type == "sms" and not params.phone:
        raise validation_failed("Type provided requires a phone number")
    if params.email and params.phone:
        raise validation_failed("Only an email address or phone number should be provided.")
    if params.phone:
        raise AuthError(400, "phone_provider_disabled", "Phone logins are disabled")
    if not params.email or params.type in BY_PHONE:
        raise validation_failed("Missing email address or phone number")
    return valid_address(params.email)
