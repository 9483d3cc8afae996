"""What can be routed to: functions and services, and a table of routes that is asked by path and method."""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from re import Pattern
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Scope

from functions._shared.errors import FunctionError, NotFound
from functions._shared.resources import Resources
from functions._shared.settings import Settings
from functions._shared.web.function_app import method_not_allowed
from functions._shared.web.openapi import Entry
from functions.gateway.upstream import SERVICES

PREFIX = "/functions/v1"

Endpoint = Callable[[Request], Awaitable[ASGIApp]]
"""A request → what sends the response: a Starlette Response, or any other ASGI app."""


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


def served_by(settings: Settings) -> dict[str, str]:
    """Each service → "here" (SERVE), "upstream" or "not served"."""
    elsewhere = "upstream" if settings.supabase_upstream_url else "not served"
    return {service: "here" if service in settings.serve else elsewhere for service in SERVICES}


ANY_METHOD = "*"


class RouteTable:
    """Starlette routes as dictionaries: path → method → endpoint; a path with parameters goes by its pattern.

    Finds what Starlette's router finds, where no two routes match one path but such of the same path.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._plain: dict[str, dict[str, Endpoint]] = {}
        self._patterns: dict[Pattern[str], dict[str, Endpoint]] = {}
        for route in routes:
            assert isinstance(route, Route), "a mount, or a route of websockets"
            if route.param_convertors:
                methods = self._patterns.setdefault(route.path_regex, {})
            else:
                methods = self._plain.setdefault(route.path, {})
            for method in route.methods or {ANY_METHOD}:
                methods.setdefault(method, _endpoint(route))

    def find(self, scope: Scope, path: str) -> Endpoint | None:
        """The endpoint for ``path`` and the scope's method, its parameters put into the scope; None: there is none."""
        method = scope["method"]
        if methods := self._plain.get(path):
            return methods.get(method) or methods.get(ANY_METHOD)
        for pattern, methods in self._patterns.items():
            if match := pattern.match(path):
                scope["path_params"] = match.groupdict()
                return methods.get(method)
        return None

    def refusal(self, method: str, path: str) -> FunctionError:
        """Why there is no endpoint: 405 where other methods have one, else 404."""
        allowed = set(self._plain.get(path, ()))
        for pattern, methods in self._patterns.items():
            if pattern.match(path):
                allowed.update(methods)
        return method_not_allowed(method, allowed) if allowed else NotFound("Not found")


def _endpoint(route: Route) -> Endpoint:
    """Starlette has two kinds of endpoints: coroutine functions of a request, and ASGI apps."""
    endpoint = route.endpoint
    return endpoint if inspect.iscoroutinefunction(endpoint) else always(endpoint)


def always(app: ASGIApp) -> Endpoint:
    """The endpoint at which ``app`` answers."""

    async def endpoint(_: Request) -> ASGIApp:
        return app

    return endpoint
