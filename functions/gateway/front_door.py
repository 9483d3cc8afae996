"""From a request to its endpoint in one pass: who asks, by which path, what answers, what is sent.

One ``FrontDoor`` serves a process. What the settings decide is decided when it is made, not at each request.
"""

import re
from collections.abc import Callable, Container, Iterable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from functions._shared import tracing
from functions._shared.errors import FunctionError, NotFound, error_response
from functions._shared.logs import request_id
from functions._shared.settings import Settings
from functions._shared.web.function_app import internal_error, log_bug, response_to
from functions.gateway.envelope import Envelope, preflight
from functions.gateway.functions_host import FunctionsHost
from functions.gateway.loopback_only import LoopbackOnly
from functions.gateway.paths import check_path
from functions.gateway.proxies import TrustedProxies
from functions.gateway.routing import (
    PREFIX,
    Endpoint,
    Function,
    RouteTable,
    Service,
    always,
)
from functions.gateway.upstream import SERVICES, Upstream

FUNCTIONS = "functions"
UNDER_V1 = re.compile(rf"/({'|'.join((*SERVICES, FUNCTIONS))})/v1/.*")
FUNCTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
"""The names of Edge Functions that Supabase's CLI allows."""

Step = Callable[[Scope, Container[bytes]], None]
"""Looks at a scope and the names of its headers; may change the scope. Raises FunctionError for a refusal."""


class FrontDoor:
    """The ASGI app of all requests and websockets."""

    def __init__(
        self,
        settings: Settings,
        routes: Iterable[BaseRoute],
        functions: Mapping[str, Function],
        platform: Mapping[str, Service],
        upstream: Upstream | None,
    ) -> None:
        """``routes``: the gateway's own. ``functions``, ``platform``: by the path segment that names them."""
        served = [name for name in platform if name in settings.serve]
        self._origins = settings.cors_origins
        self._own_options = tuple(
            f"/{name}/v1{own}" for name in served if (own := platform[name].own_options) is not None
        )
        self._steps = _steps(settings)
        self._routes = RouteTable(routes)
        self._functions = {
            name: RouteTable(function.app.routes) for name, function in functions.items()
        }
        self._services = {
            name: platform[name].app if name in served else upstream or _not_served(name, platform)
            for name in SERVICES
        }
        self._unknown_functions = upstream if settings.forward_unknown_functions else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            with tracing.request(scope):
                await self._answer(scope, receive, send)
        else:
            await self._connect(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. The one exception boundary: whatever is raised in it becomes a response."""
        names = {name for name, _ in scope["headers"]}
        envelope = Envelope(send, scope, names, self._origins)
        request_id.set(envelope.id.decode())
        try:
            if scope["method"] == "OPTIONS" and not scope["path"].startswith(self._own_options):
                app: ASGIApp = preflight(scope)
            else:
                endpoint = self._endpoint(scope, names, envelope)
                app = await endpoint(Request(scope, receive))
            await app(scope, receive, envelope.send)
        except Exception as error:
            if envelope.has_begun:
                raise  # the connection is cut: the client must see a truncated response
            response = response_to(error)
            if response is None:
                log_bug(error, scope["path"])
                response = internal_error()
            await response(scope, receive, envelope.send)

    def _endpoint(self, scope: Scope, names: Container[bytes], envelope: Envelope) -> Endpoint:
        """The endpoint of a request; the envelope is told its name. Raises FunctionError."""
        for step in self._steps:
            step(scope, names)
        check_path(scope)
        path = _path_of(scope)
        name, rest = _function_of(path)
        if table := self._functions.get(name):
            envelope.function = name
            if endpoint := table.find(scope, rest):
                return endpoint
            raise table.refusal(scope["method"], rest)
        if endpoint := self._routes.find(scope, path):
            envelope.function = "gateway"
            return endpoint
        if app := self._mounted(scope, path):
            envelope.function = path.split("/", 2)[1]
            return always(app)
        raise self._routes.refusal(scope["method"], path)

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open a websocket: of a service or of the upstream; the functions have none."""
        names = {name for name, _ in scope["headers"]}
        app: ASGIApp
        try:
            for step in self._steps:
                step(scope, names)
            app = self._websocket_app(scope)
        except FunctionError as refused:
            app = error_response(refused)
        if isinstance(app, Response) and "websocket.http.response" not in scope["extensions"]:
            app = WebSocketClose()  # all that this server can answer is 403
        await app(scope, receive, send)

    def _websocket_app(self, scope: Scope) -> ASGIApp:
        try:
            check_path(scope)
        except FunctionError:
            return WebSocketClose()
        path = _path_of(scope)
        name, _ = _function_of(path)
        app = None if name in self._functions else self._mounted(scope, path)
        return app or WebSocketClose()

    def _mounted(self, scope: Scope, path: str) -> ASGIApp | None:
        """What answers below /<service>/v1, and for functions that are none of ours; None for any other path."""
        match = UNDER_V1.fullmatch(path)
        if match is None:
            return None
        if match[1] == FUNCTIONS:
            name, _ = _function_of(path)
            # Plain names only: an upstream that normalises //process-jobs or process-jobs;x would call ours there.
            if self._unknown_functions and FUNCTION_NAME.fullmatch(name):
                return self._unknown_functions
            return error_response(NotFound("Requested function was not found"))
        # A service's routes are below its prefix, as below a Starlette Mount.
        root: str = scope.get("root_path", "")
        scope["app_root_path"], scope["root_path"] = root, f"{root}/{match[1]}/v1"
        return self._services[match[1]]


def _steps(settings: Settings) -> list[Step]:
    """The order matters: TrustedProxies comes before all that reads the client's address."""
    steps: list[Step] = [TrustedProxies(settings.trusted_proxies)]
    if settings.uses_local_keys:
        steps.append(LoopbackOnly(settings))
    if settings.functions_host:
        steps.append(FunctionsHost(settings.functions_host))
    return steps


def _not_served(service: str, platform: Container[str]) -> ASGIApp:
    choice = f"name {service} in SERVE, or " if service in platform else ""
    return error_response(
        NotFound(
            f"/{service}/v1 is not served here: {choice}set SUPABASE_UPSTREAM_URL to a Supabase that serves it"
        )
    )


def _path_of(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _function_of(path: str) -> tuple[str, str]:
    """The function's name, and the path from there on without a trailing slash; "" for a path that names none.

    A POST that lacks or has the trailing slash is answered as well, not redirected: clients follow with a GET.
    """
    if not path.startswith(f"{PREFIX}/"):
        return "", ""
    rest = path[len(PREFIX) :].rstrip("/")
    return rest[1:].partition("/")[0], rest
