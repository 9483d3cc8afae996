"""The table of routes finds what Starlette's router finds: the functions' own apps, tested alone, behave alike."""

from uuid import uuid4

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from functions._shared.errors import MethodNotAllowed, NotFound
from functions.gateway.app import FUNCTIONS, ROUTES
from functions.gateway.routing import RouteTable

LISTS = {"": ROUTES, **{name: function.app.routes for name, function in FUNCTIONS.items()}}
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")


@pytest.mark.parametrize("name", LISTS)
async def test_it_finds_what_starlette_finds(name: str):
    routes = [route for route in LISTS[name] if isinstance(route, Route)]
    paths = {
        route.path.format_map({"generation_id": uuid4(), "id": "x", "name": "y"})
        for route in routes
    }
    found = 0
    for path in paths | {f"{path}/x" for path in paths} | {"/nothing"}:
        for method in METHODS:
            scope = {"type": "http", "method": method, "path": path, "root_path": ""}
            matches = [(*route.matches(dict(scope)), route) for route in routes]
            full = [(child, route) for match, child, route in matches if match is Match.FULL]
            endpoint = RouteTable(routes).find(scope, path)
            assert (endpoint is not None) == bool(full), (method, path)
            if endpoint is not None:
                child, route = full[0]
                assert scope.get("path_params", {}) == child["path_params"]
                asgi = await endpoint(Request(scope)) if not _is_handler(route) else None
                assert route.endpoint in (endpoint, asgi)
                found += 1
    assert found >= len(routes)


def _is_handler(route: Route) -> bool:
    return route.methods is not None


async def show(request: Request) -> Response:
    return Response()


def test_a_refusal_names_the_methods_of_all_routes_at_the_path():
    table = RouteTable(
        [
            Route("/a", show, methods=["GET"]),
            Route("/a", show, methods=["POST"]),
            Route("/a/{id}", show, methods=["DELETE"]),
        ]
    )
    refused = table.refusal("PUT", "/a")
    assert isinstance(refused, MethodNotAllowed)
    assert refused.headers == {"Allow": "GET, HEAD, OPTIONS, POST"}
    assert table.refusal("PUT", "/a/1").headers == {"Allow": "DELETE, OPTIONS"}
    assert isinstance(table.refusal("PUT", "/b"), NotFound)
