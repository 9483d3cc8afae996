"""The Starlette app that every function is: its routes, and errors that become answers in one way."""

import logging
from collections.abc import Mapping, Sequence
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


def function_app(
    routes: Sequence[BaseRoute],
    *,
    lifespan: Lifespan[Any] | None = None,
    handlers: Mapping[Any, Any] | None = None,
) -> Starlette:
    """An app of ``routes``; ``handlers`` are for the errors of its own."""
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(AnsweredBugs)],
        exception_handlers={
            FunctionError: on_function_error,
            HTTPException: on_http_exception,
            ClientDisconnect: on_disconnect,
            psycopg.Error: on_database_error,
            **(handlers or {}),
        },
    )


class AnsweredBugs:
    """ASGI middleware: an unexpected error is logged once, answered, and ends here.

    Starlette's own handler for them raises on, and the server then closes the connection behind the answer, under a
    client that is sending its next request. Only an answer that has begun is left to that.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

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
        except Exception as error:  # whatever it is, its caller gets an answer
            if begun:
                raise
            # The text of an unexpected error may hold anything, a key included: it is for the log, not the caller.
            log.error("unexpected error in %s", scope["path"], exc_info=error)
            await error_response(FunctionError("Internal error"))(scope, receive, send)


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
    """Of all routes at the request's path: the error knows only those of one."""
    routes: Sequence[BaseRoute] = request.app.routes
    here = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = [route.methods or () for route in here if isinstance(route, Route)]
    return {"OPTIONS"}.union(*methods)


async def on_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read it


async def on_database_error(request: Request, error: Exception) -> JSONResponse:
    if not is_down(error):
        raise error  # a bug, or sql/ of another version: AnsweredBugs logs and answers it
    log.warning("database not reachable: %s", type(error).__name__)
    return error_response(
        Unavailable("The database is not reachable at the moment, please try again")
    )
