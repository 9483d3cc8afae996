"""Sign in, sign out: an operator's key, or a user's access token whose app_metadata.role is ``operator``.

GET  /operate/sign-in    the form
POST /operate/sign-in    key=…; a session cookie, and back to where it was asked for
POST /operate/sign-out   ends the session in this browser
"""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from functions._operate.forms import read_form
from functions._operate.room import Room, room_of
from functions._operate.sessions import MAX_NAME
from functions._operate.visit import COOKIE, Visit, see_other, set_cookie
from functions._shared.auth.authenticator import MIN_KEY_CHARACTERS
from functions._shared.auth.tokens import Claims, Rules
from functions._shared.errors import Forbidden, TooManyRequests, Unauthorized
from functions._shared.foreign import text
from functions._shared.operate_settings import Operator, operator_of
from functions._shared.resources import resources_of

WRONG = "This is no operator's key"
NOT_OPERATOR = "This token's user is no operator: app_metadata.role must be operator"
NO_SECRET = (
    "Tokens open no session here, as there is no secret to sign one with: set SUPABASE_JWT_SECRET, or a"
    f" SUPABASE_SERVICE_ROLE_KEY of {MIN_KEY_CHARACTERS} characters or more"
)
TOKEN_DOTS = 2
"""A JWT has three parts; an operator's key may have dots as well, and is looked for first."""


@dataclass(frozen=True)
class Admitted:
    """``until``: when a user's token ends, in Unix time; None: never, or it is a key."""

    operator: Operator
    by_key: bool
    until: float | None = None


async def form(request: Request) -> Response:
    return _form(request, {})


def _form(request: Request, values: Mapping[str, object], status: int = 200) -> Response:
    room = room_of(request)
    asked = request.query_params.get("next", "")
    return room.renderer.response(request, "sign_in.html", {"next": asked, **values}, status)


async def sign_in(request: Request) -> Response:
    """The session's cookie and the way back; the form again, with what was wrong."""
    room = room_of(request)
    sent = await read_form(request)
    try:
        _limit(room, request)
        admitted = await _admitted(request, sent.get("key", "").strip())
    except (Unauthorized, Forbidden, TooManyRequests) as refused:
        response = _form(request, {"trouble": str(refused)}, refused.status)
        response.headers.update(refused.headers)
        return response
    session = room.sessions.open(admitted.operator, by_key=admitted.by_key, until=admitted.until)
    response = see_other(request, local_path(sent.get("next", "")))
    set_cookie(response, request, COOKIE, room.sessions.cookie(session))
    return response


async def sign_out(visit: Visit) -> Response:
    response = see_other(visit.request, "/sign-in")
    set_cookie(response, visit.request, COOKIE, "")
    return response


def _limit(room: Room, request: Request) -> None:
    """Each attempt counts, also the right one: an operator signs in twice a day."""
    wait = room.attempts.take(request.client.host if request.client else "")
    if wait:
        raise TooManyRequests(
            f"Too many attempts to sign in. Try again in {wait} s", retry_after_s=wait
        )


async def _admitted(request: Request, presented: str) -> Admitted:
    """Raises Unauthorized, Forbidden, TooManyRequests."""
    resources = resources_of(request)
    settings = resources.settings
    if operator := operator_of(settings, presented):
        return Admitted(operator, by_key=True)
    if presented.count(".") != TOKEN_DOTS:
        raise Unauthorized(WRONG)
    if not room_of(request).sessions.take_tokens:
        raise Forbidden(NO_SECRET)
    rules = Rules(settings.jwt_audiences, settings.jwt_roles, settings.jwt_text_subjects)

    def by_claims(claims: Claims) -> Admitted:
        caller = rules.caller(claims)
        metadata = claims.get("app_metadata")
        role = metadata.get("role") if isinstance(metadata, Mapping) else None
        if caller.user_id is None or role != "operator":
            raise Forbidden(NOT_OPERATOR)
        email = claims.get("email")  # "" of a user who signs in by phone: operator_log needs a name
        name = email if isinstance(email, str) and email.isprintable() else ""
        named = text(name.strip() or str(caller.user_id), MAX_NAME)
        return Admitted(Operator(named, True), by_key=False, until=claims.get("exp"))

    def by_role(_: str) -> Admitted:
        raise Unauthorized(WRONG)

    return await resources.auth.accept(request, presented, by_claims, by_role)


def local_path(path: str) -> str:
    """``path`` below /operate as the form has carried it; else the overview (open redirect)."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if plain and "\\" not in path else ""
