"""The Starlette app that every function is: routes, and one mapping from exceptions to HTTP responses.

The gateway calls the routes of these apps itself, with the same mapping, and does not pass through their middleware.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import psycopg
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions._shared.database.sqlstates import is_down
from functions._shared.errors import (
    FunctionError,
    MethodNotAllowed,
    NotFound,
    Unavailable,
    error_response,
)

log = logging.getLogger(__name__)


def internal_error() -> Response:
    return error_response(FunctionError("Internal error"))


def function_app(
    routes: Sequence[BaseRoute],
    *,
    handlers: Mapping[Any, Any] | None = None,
    bug: Callable[[], Response] = internal_error,
) -> Starlette:
    """An app of ``routes``; ``handlers``: exception handlers besides the common ones; ``bug``: the response to one."""
    app = Starlette(
        routes=routes,
        middleware=[Middleware(AnsweredBugs, bug)],
        exception_handlers={
            **dict.fromkeys((FunctionError, ClientDisconnect, psycopg.Error), on_expected),
            HTTPException: on_http_exception,
            **(handlers or {}),
        },
    )
    # Host header injection: Starlette's redirect to the path without a slash names the Host and the scheme of the
    # request, to which a client would send its password once more, behind a TLS proxy without TLS.
    app.router.redirect_slashes = False
    return app


class AnsweredBugs:
    """ASGI middleware: an unexpected exception is logged once, answered with 500, and not raised again.

    Starlette's ServerErrorMiddleware raises it again, so that the server closes the keep-alive connection under a
    client that is sending its next request. Only a response that has begun is left to that.
    """

    def __init__(self, app: ASGIApp, bug: Callable[[], Response] = internal_error) -> None:
        self.app = app
        self._bug = bug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def watched_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        except Exception as error:  # any bug: the client gets a response
            if begun:
                raise
            log_bug(error, scope["path"])
            await self._bug()(scope, receive, send)


def response_to(error: Exception) -> Response | None:
    """The response to an exception of a handler's; None where it is a bug, or sql/ is of another version."""
    if isinstance(error, FunctionError):
        return error_response(error)
    if isinstance(error, HTTPException):
        return error_response(NotFound("Not found"))
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)  # nobody reads it
    if isinstance(error, psycopg.Error) and is_down(error):
        log.warning("database not reachable: %s", type(error).__name__)
        return error_response(
            Unavailable("The database is not reachable at the moment, please try again")
        )
    return None


def log_bug(error: Exception, path: str) -> None:
    # Information leak: an unexpected error's text may hold a key; it goes to the log, not to the client.
    log.error("unexpected error in %s", path, exc_info=error)


def method_not_allowed(method: str, allowed: Iterable[str]) -> MethodNotAllowed:
    """``allowed``: the methods of all routes at the path; OPTIONS is answered everywhere."""
    return MethodNotAllowed(
        f"Method {method} is not allowed here", allowed={"OPTIONS"}.union(allowed)
    )


async def on_expected(request: Request, error: Exception) -> Response:
    response = response_to(error)
    if response is None:
        raise error  # AnsweredBugs logs and answers it
    return response


async def on_http_exception(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        return error_response(method_not_allowed(request.method, _methods_at(request)))
    return await on_expected(request, error)


def _methods_at(request: Request) -> set[str]:
    """For the Allow header, of all routes at the path: Starlette's exception has those of one route only."""
    routes: Sequence[BaseRoute] = request.app.routes
    here = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = [route.methods or () for route in here if isinstance(route, Route)]
    return set().union(*methods)
