"""POST /logout: sessions end at once, their access tokens included where /auth/v1 is asked."""

from starlette.requests import Request
from starlette.responses import Response

from functions._platform.auth.callers import signed_in
from functions._platform.auth.context import auth_of
from functions._platform.auth.errors import validation_failed
from functions._platform.auth.store.sessions import end_session, end_sessions


async def logout(request: Request) -> Response:
    """``scope``: global (the default), local (this session), others. 204."""
    caller = await signed_in(request)
    scope = request.query_params.get("scope") or "global"
    if scope not in {"global", "local", "others"}:
        raise validation_failed(f'Unsupported logout scope "{scope[:50]}"')
    session = caller.session
    async with auth_of(request).pool.connection() as connection:
        if session and scope == "local":
            await end_session(connection, session.id)
        elif session and scope == "others":
            await end_sessions(connection, caller.user.id, but=session.id)
        else:
            await end_sessions(connection, caller.user.id)
    return Response(status_code=204)
