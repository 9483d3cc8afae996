"""The Starlette app that every function is: routes, and one mapping from exceptions to HTTP responses."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send

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
    lifespan: Lifespan[Any] | None = None,
    handlers: Mapping[Any, Any] | None = None,
    bug: Callable[[], Response] = internal_error,
) -> Starlette:
    """An app of ``routes``; ``handlers``: exception handlers besides the common ones; ``bug``: the response to one."""
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(AnsweredBugs, bug)],
        exception_handlers={
            FunctionError: on_function_error,
            HTTPException: on_http_exception,
            ClientDisconnect: on_disconnect,
            psycopg.Error: on_database_error,
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
            # Information leak: an unexpected error's text may hold a key; it goes to the log, not to the client.
            log.error("unexpected error in %s", scope["path"], exc_info=error)
            await self._bug()(scope, receive, send)


async def on_function_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FunctionError)
    return error_response(error)


async def on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return error_response(
            MethodNotAllowed(
                f"Method {request.method} is not allowed here", allowed=_methods_at(request)
            )
        )
    return error_response(NotFound("Not found"))


def _methods_at(request: Request) -> set[str]:
    """For the Allow header, of all routes at the path: Starlette's exception has those of one route only."""
    routes: Sequence[BaseRoute] = request.app.routes
    here = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = [route.methods or () for route in here if isinstance(route, Route)]
    return {"OPTIONS"}.union(*methods)


async def on_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # the client has closed the connection


async def on_database_error(request: Request, error: Exception) -> JSONResponse:
    if not is_down(error):
        raise error  # a bug, or sql/ of another version: AnsweredBugs logs and answers it
    log.warning("database not reachable: %s", type(error).__name__)
    return error_response(
        Unavailable("The database is not reachable at the moment, please try again")
    )
