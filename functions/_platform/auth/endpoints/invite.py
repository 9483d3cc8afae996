"""POST /invite: an account for somebody else, who accepts it by a mailed link. The service role only."""

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._platform.auth.addresses import valid_address
from functions._platform.auth.bodies import Params, read_params
from functions._platform.auth.callers import admin_only
from functions._platform.auth.context import auth_of
from functions._platform.auth.email_users import add_email_user, email_exists
from functions._platform.auth.mailed.token_mails import connected
from functions._platform.auth.metadata import Metadata
from functions._platform.auth.store.users import find_user_by_email
from functions._platform.auth.users import user_body


class InviteParams(Params):
    email: str = ""
    data: Metadata = Field(default_factory=dict)


async def invite(request: Request) -> Response:
    """The user. An unconfirmed one is invited again; 422 email_exists for a confirmed one."""
    await admin_only(request)
    auth = auth_of(request)
    params = await read_params(request, InviteParams)
    address = valid_address(params.email)
    async with connected(auth.mailer, "invite") as outbox:
        async with auth.pool.connection() as connection:
            user = await find_user_by_email(connection, address)
            if user is None:
                user = await add_email_user(connection, address, params.data)
        if user is None or user.is_confirmed:
            raise email_exists()
        user = await auth.mails.send_invite(request, outbox, user)
    return JSONResponse(user_body(user))
