"""A request of a signed-in operator, and the two wrappers that every handler has: ``page`` and ``action``.

Refused before a handler sees it: no session, a foreign page's request (CSRF: Fetch metadata, Origin, the form's token),
a write of a read-only operator. A refusal is a page in words.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from functions._operate.database import Done, Reader
from functions._operate.forms import Form, read_form
from functions._operate.render import base_of, query
from functions._operate.room import Room, room_of
from functions._operate.sessions import LIFE_S, Session
from functions._shared import foreign
from functions._shared.database.sqlstates import Scope, is_down, scope_of
from functions._shared.errors import Forbidden, FunctionError, NotFound, Unauthorized, Unavailable
from functions._shared.web.function_app import log_bug

COOKIE = "picture_edge_operator"
SAID = "picture_edge_said"
SAID_S = 60
MAX_SAID, MAX_LINE = 1500, 200
"""Characters of what is said, escaped as JSON; of a line of it."""
FOREIGN = "This request came from another page: open /operate itself"
READ_ONLY = "Your key is read-only: it may look at everything and change nothing"
STALE = "This form is of an earlier session: go back, load the page again, and repeat"

Handler = Callable[["Visit"], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Visit:
    """``form``: of a POST; empty for a GET."""

    request: Request
    room: Room
    session: Session
    form: Form

    @property
    def may_write(self) -> bool:
        return self.session.operator.may_write

    def asked(self, name: str, most: int = 200) -> str:
        """A value of the query, stripped and truncated; "" where it is absent."""
        return foreign.text(self.request.query_params.get(name, "").strip()[:most])

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reader]:
        """All queries of a page, in one snapshot."""
        async with self.room.database.reading() as reader:
            yield reader

    async def act(self, call: LiteralString, values: Mapping[str, Any]) -> Done:
        """Call an operators' SQL function in the operator's name; raises FunctionError with its words."""
        return await self.room.database.act(self.session.operator.name, call, values)

    def show(self, template: str, values: Mapping[str, Any], status: int = 200) -> Response:
        """The page; what the last action has said is shown once."""
        known = {
            "session": self.session,
            "csrf": self.room.sessions.csrf(self.session),
            "may_write": self.may_write,
            "said": self._said(),
        }
        response = self.room.renderer.response(self.request, template, {**known, **values}, status)
        if SAID in self.request.cookies:
            set_cookie(response, self.request, SAID, "")
        return response

    def go(self, path: str) -> Response:
        """On to ``path`` below /operate."""
        return see_other(self.request, path)

    def done(self, path: str, *said: str, trouble: bool = False) -> Response:
        """POST-redirect-GET: on to ``path`` below /operate, which shows what was ``said``."""
        response = see_other(self.request, path)
        message = {"lines": _bounded(said), "trouble": trouble}
        sealed = self.room.sessions.sealed(self.session, message)
        set_cookie(response, self.request, SAID, sealed, SAID_S)
        return response

    def _said(self) -> dict[str, Any]:
        cookie = self.request.cookies.get(SAID, "")
        return self.room.sessions.unsealed(self.session, cookie) if cookie else {}


def page(handler: Handler) -> Endpoint:
    """The endpoint of a GET."""

    async def endpoint(request: Request) -> Response:
        async def answer() -> Response:
            room, session = _enter(request)
            if session is None:
                return _to_sign_in(request)
            return await handler(Visit(request, room, session, Form({})))

        return await answered(request, answer)

    return endpoint


def action(handler: Handler, *, writes: bool = True) -> Endpoint:
    """The endpoint of a POST. ``writes``: not for read-only operators."""

    async def endpoint(request: Request) -> Response:
        async def answer() -> Response:
            room, session = _enter(request)
            if session is None:
                raise Unauthorized("Your session is over: sign in again")
            if writes and not session.operator.may_write:
                raise Forbidden(READ_ONLY)
            form = await read_form(request)
            if not room.sessions.is_csrf(session, form.get("csrf")):
                raise Forbidden(STALE)
            return await handler(Visit(request, room, session, form))

        return await answered(request, answer)

    return endpoint


async def answered(request: Request, answer: Callable[[], Awaitable[Response]]) -> Response:
    """The answer, or the refusal as a page in words."""
    try:
        check_own_page(request)
        return await answer()
    except FunctionError as refused:
        error = refused
    except psycopg.Error as broken:
        if is_down(broken):
            error = Unavailable("The database is not reachable at the moment")
        elif scope_of(broken) is Scope.SCHEMA:
            log_bug(broken, request.scope["path"])
            error = Unavailable(
                "The database has an older sql/ than this page: apply it (make schema)"
            )
        else:
            raise
    return refusal(request, error)


def refusal(request: Request, error: FunctionError) -> Response:
    """``error`` as a page, with nothing of a session in it."""
    response = room_of(request).renderer.response(
        request, "refusal.html", {"status": error.status, "trouble": str(error)}, error.status
    )
    response.headers.update(error.headers)
    return response


def check_own_page(request: Request) -> None:
    """Raises Forbidden for a foreign page's request. SameSite does not tell ports and subdomains apart, this does."""
    headers = request.headers
    site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode", "navigate")
    origin = headers.get("origin")
    link = request.method in {"GET", "HEAD"} and mode == "navigate"
    if site not in {"same-origin", "none"} and not link:
        raise Forbidden(FOREIGN)
    # Sec-Fetch-Site is sent to trustworthy origins only (https, this machine); Origin and Host to all.
    if site == "none" and origin is not None and origin.partition("://")[2] != headers.get("host"):
        raise Forbidden(FOREIGN)


def _enter(request: Request) -> tuple[Room, Session | None]:
    """Raises NotFound where nobody can have a session, and this request has none."""
    room = room_of(request)
    session = room.sessions.read(request.cookies.get(COOKIE, ""))
    if session is None and not room.is_open:
        raise NotFound("Not found")
    return room, session


def _to_sign_in(request: Request) -> Response:
    asked = request.scope["path"].removeprefix(base_of(request))
    here = f"{asked}?{request.url.query}" if request.url.query else asked
    return see_other(request, f"/sign-in{query({'next': here if here != '/' else ''})}")


def see_other(request: Request, path: str) -> Response:
    """To ``path`` below /operate, never elsewhere (open redirect)."""
    return RedirectResponse(
        f"{base_of(request)}{path}",
        303,
        headers={"Cache-Control": "no-store", "Referrer-Policy": "same-origin"},
    )


def _bounded(lines: Sequence[str]) -> list[str]:
    """As many of the lines as a cookie holds: browsers drop one of more than 4096 bytes."""
    kept: list[str] = []
    room = MAX_SAID
    for line in lines:
        text = line[:MAX_LINE]
        room -= len(json.dumps(text))
        if room < 0:
            break
        kept.append(text)
    return kept


def set_cookie(
    response: Response, request: Request, name: str, value: str, life_s: int = LIFE_S
) -> None:
    """``value`` "" removes the cookie."""
    response.set_cookie(
        name,
        value,
        max_age=life_s if value else 0,
        path=base_of(request),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
