"""GET /reauthenticate: a mailed code (nonce) that PUT /user wants for a new password."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.auth.callers import signed_in
from functions._platform.auth.context import auth_of
from functions._platform.auth.errors import AuthError, validation_failed


async def reauthenticate(request: Request) -> Response:
    user = (await signed_in(request)).user
    if not user.email:
        raise validation_failed(
            "Reauthentication requires the user to have an email or a phone number"
        )
    if not user.is_confirmed:
        raise AuthError(422, "email_not_confirmed", "Please verify your email first.")
    await auth_of(request).mails.send_nonce(user)
    return JSONResponse({})
