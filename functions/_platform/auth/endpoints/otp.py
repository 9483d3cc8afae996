"""POST /otp and /magiclink: sign-in by a mailed link or code, without a password; a new address signs up by it."""

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.auth.addresses import valid_address
from functions._platform.auth.bodies import Params, read_params
from functions._platform.auth.context import Auth, auth_of
from functions._platform.auth.email_users import add_email_user
from functions._platform.auth.errors import AuthError, validation_failed
from functions._platform.auth.mailed.token_mails import LOOKUP_S, connected
from functions._platform.auth.mailed.verification import confirm
from functions._platform.auth.metadata import Metadata
from functions._platform.auth.pkce import Challenge, challenge_of
from functions._platform.auth.store.users import find_user_by_email
from functions._platform.auth.users import User


class MagicLinkParams(Params):
    email: str = ""
    data: Metadata = Field(default_factory=dict)
    code_challenge: str = ""
    code_challenge_method: str = ""


class OtpParams(MagicLinkParams):
    phone: str = ""
    channel: str = ""
    create_user: bool = True


async def otp(request: Request) -> Response:
    """``{}``. 422 otp_disabled for a new address where ``create_user`` is false."""
    auth_of(request).limits.check(request, "otp")
    params = await read_params(request, OtpParams)
    if params.email and params.phone:
        raise validation_failed("Only an email address or phone number should be provided")
    if params.email and params.channel:
        raise validation_failed("Channel should only be specified with Phone OTP")
    challenge = challenge_of(params.code_challenge_method, params.code_challenge)
    if params.phone:
        raise AuthError(400, "phone_provider_disabled", "Unsupported phone provider")
    if not params.email:
        raise validation_failed("One of email or phone must be set")
    return await _mail_link(request, params, challenge, create_user=params.create_user)


async def magic_link(request: Request) -> Response:
    """As /otp, for older clients."""
    auth_of(request).limits.check(request, "magiclink")
    params = await read_params(request, MagicLinkParams)
    if not params.email:
        raise AuthError(422, "validation_failed", "Password recovery requires an email")
    challenge = challenge_of(params.code_challenge_method, params.code_challenge)
    return await _mail_link(request, params, challenge, create_user=True)


async def _mail_link(
    request: Request, params: MagicLinkParams, challenge: Challenge | None, *, create_user: bool
) -> Response:
    """A confirmation mail until the address is confirmed: its link signs in as well."""
    auth = auth_of(request)
    if not auth.settings.enable_email_signup:
        raise AuthError(422, "email_provider_disabled", "Email logins are disabled")
    address = valid_address(params.email)
    async with connected(auth.mailer, "magic link", least_s=LOOKUP_S) as outbox:
        # Both, as the one mail or the other would tell whether the address is confirmed.
        auth.mails.check_frequency(address, "confirmation_token", "recovery_token")
        async with auth.pool.connection() as connection:
            user = await find_user_by_email(connection, address)
        if user is None and not create_user:
            raise AuthError(422, "otp_disabled", "Signups not allowed for otp")
        if user is None or not user.is_confirmed:
            user = await _signed_up(auth, address, params, user)
        if user and user.is_confirmed:
            await auth.mails.send(request, outbox, user, "magic_link", challenge)
        elif user:
            # Pre-hijacking: a password of a sign-up that nobody has confirmed may be a stranger's.
            await auth.mails.send(
                request, outbox, user, "confirmation", challenge, encrypted_password=None
            )
    return JSONResponse({})


async def _signed_up(
    auth: Auth, address: str, params: MagicLinkParams, user: User | None
) -> User | None:
    """The new user, confirmed where ENABLE_EMAIL_AUTOCONFIRM says so. None: the address is another identity's."""
    if auth.settings.disable_signup:
        raise AuthError(422, "signup_disabled", "Signups not allowed for this instance")
    async with auth.pool.connection() as connection, connection.transaction():
        user = user or await add_email_user(connection, address, params.data, signs_up=True)
        if user and auth.settings.enable_email_autoconfirm:
            user = await confirm(connection, user)
    return user
