"""From a path to the app behind it: a function by its name, a Supabase service by its prefix, FUNCTIONS_HOST."""

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from functions._shared.errors import NotFound, error_response
from functions._shared.resources import Resources
from functions._shared.settings import Settings
from functions._shared.web.openapi import Entry
from functions.gateway.loopback_only import is_functions_host
from functions.gateway.paths import raw_path_of
from functions.gateway.upstream import SERVICES, Upstream

PREFIX = "/functions/v1"

FUNCTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
"""The names of Edge Functions that Supabase's CLI allows."""


@dataclass(frozen=True)
class Function:
    """``app``: routes that begin with the function's name. ``entry``: its OpenAPI, with who may call each route."""

    app: Starlette
    entry: Entry


@dataclass(frozen=True)
class Service:
    """A service of Supabase's that we serve ourselves.

    ``opened``: what the service needs while it is served; its handlers find it as ``request.state.<name>``.
    ``own_options``: the path below the service from which on it answers OPTIONS itself, preflights included.
    """

    app: ASGIApp
    opened: Callable[[Resources], AbstractAsyncContextManager[Any]] | None = None
    own_options: str | None = None


class FunctionRouter:
    """ASGI app at PREFIX: calls the function that the first path segment names, else the upstream, else 404.

    The function sees the path from its own name on, without a trailing slash. Not a Mount per function: a Mount answers
    a POST that lacks the trailing slash with a redirect, and clients follow a redirect with a GET.
    """

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self._functions = functions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"].rstrip("/")
        name = next(iter(path.removeprefix(scope["root_path"]).split("/")[1:2]), "")
        upstream: Upstream | None = scope["state"]["upstream"]
        app: ASGIApp
        if name in self._functions:
            app, scope = self._functions[name].app, {**scope, "path": path}
        elif upstream and _is_forwarded(name, scope):
            app = upstream
        else:
            app = error_response(NotFound("Requested function was not found"))
        await app(scope, receive, send)


def _is_forwarded(name: str, scope: Scope) -> bool:
    """Whether an unknown function is passed to the upstream (FORWARD_UNKNOWN_FUNCTIONS).

    Plain names only: an upstream that normalises //process-jobs or process-jobs;x would call a function of ours there.
    """
    forward: bool = scope["state"]["resources"].settings.forward_unknown_functions
    return forward and bool(FUNCTION_NAME.fullmatch(name))


def served_by(settings: Settings) -> dict[str, str]:
    """Each service → "here" (SERVE), "upstream" or "not served", as ``ServiceRouter`` decides."""
    elsewhere = "upstream" if settings.supabase_upstream_url else "not served"
    return {service: "here" if service in settings.serve else elsewhere for service in SERVICES}


class ServiceRouter:
    """ASGI app at /<service>/v1: our own app where SERVE names the service, else the upstream, else 404."""

    def __init__(self, platform: Mapping[str, Service]) -> None:
        self._platform = platform

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = scope["root_path"].split("/")[1]
        upstream: Upstream | None = scope["state"]["upstream"]
        if service in scope["state"]["resources"].settings.serve:
            await self._platform[service].app(scope, receive, send)
        elif upstream:
            await upstream(scope, receive, send)
        elif scope["type"] == "websocket" and "websocket.http.response" not in scope["extensions"]:
            await send({"type": "websocket.close"})  # the ASGI server can only answer 403
        else:
            await error_response(self._not_served(service))(scope, receive, send)

    def _not_served(self, service: str) -> NotFound:
        choice = f"name {service} in SERVE, or " if service in self._platform else ""
        return NotFound(
            f"/{service}/v1 is not served here: {choice}set SUPABASE_UPSTREAM_URL to a Supabase that serves it"
        )


class FunctionsHost:
    """ASGI middleware: virtual hosting of the functions, at the root of the host name FUNCTIONS_HOST."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            name = scope["state"]["resources"].settings.functions_host
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            if is_functions_host(host, name):
                scope = {
                    **scope,
                    "path": f"{PREFIX}{scope['path']}",
                    "raw_path": PREFIX.encode() + raw_path_of(scope),
                }
        await self.app(scope, receive, send)
