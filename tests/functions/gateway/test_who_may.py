"""Who may call which route: every route is called without a token, with a user's, the service's and the anon key.

The table is ``caller`` of each operation's OpenAPI entry, and BESIDE for routes that the document does not describe.
The routes are walked as the gateway has them, so that a route without a row fails.
"""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from starlette.routing import Route

from functions.gateway.app import FUNCTIONS, PLATFORM, ROUTES
from functions.gateway.openapi import document
from functions.gateway.routing import PREFIX
from tests.conftest import Edge

BESIDE = {
    ("GET", "/health"): "anybody",
    ("GET", "/ready"): "anybody",
    ("GET", "/metrics"): "operator",
}
OF_THEIR_OWN = frozenset({"auth", "realtime", "rest", "storage"})
"""Services whose callers are in tests of their own: sessions of real users, policies by the token's role."""
OPERATE = "/operate"
"""The operators' page, whose sessions are in tests of its own: tests/functions/_operate/test_access.py."""
MAILBOX = [
    *(("GET", path) for path in ("", "/mailbox.css", "/mailbox.js", "/icon.svg", "/api/messages")),
    *((method, "/api/messages/{id}") for method in ("GET", "DELETE")),
    ("DELETE", "/api/messages"),
    ("GET", "/api/messages/{id}/html"),
]
"""The local stack's, for anybody on this machine."""
EXAMPLE = ("app.js", "config.js", "hills.svg", "icon.svg", "live.js", "session.js", "style.css")
"""The files of the example app beside its page, where SERVE names it."""
BESIDE |= {(method, f"/mailbox{path}"): "anybody" for method, path in MAILBOX}
BESIDE |= {("GET", path): "anybody" for path in ("/", *(f"/example/{file}" for file in EXAMPLE))}
DESCRIBED = {
    (method.upper(), f"{PREFIX}{path}"): operation["tags"][0]
    for path, methods in document("", [one.entry for one in FUNCTIONS.values()])["paths"].items()
    for method, operation in methods.items()
}
WHO = {**BESIDE, **DESCRIBED}

NO_TOKEN, USER, SERVICE, ANON = "no token", "a user's", "the service's", "the anon key"
MAY = {
    "user": {USER},
    "service": {SERVICE},
    "provider": set(),  # its signature is no token
    "operator": set(),  # a key of OPERATOR_KEYS
    "anybody": {NO_TOKEN, USER, SERVICE, ANON},
}
"""Caller → the credentials that are let through. With ALLOW_ANON the anon key opens functions of the first two, too."""


def routes() -> Iterator[tuple[str, str]]:
    """Method and path of every route of the gateway's own and of the functions."""
    apps = [
        ("", ROUTES),
        *((PREFIX, function.app.routes) for function in FUNCTIONS.values()),
    ]
    for prefix, listed in apps:
        for route in listed:
            assert isinstance(route, Route)
            if route.path.startswith(OPERATE):
                continue
            # Without methods: an ASGI app. HEAD is GET without the body.
            for method in (route.methods or {"GET"}) - {"HEAD"}:
                yield method, f"{prefix}{route.path}"


def test_every_route_has_a_row_and_no_row_is_stale():
    assert sorted(routes()) == sorted(WHO)


def test_the_routes_of_every_service_are_in_tests_of_its_own():
    assert set(PLATFORM) == OF_THEIR_OWN


@pytest.mark.parametrize("allow_anon", ["false", "true"])
def test_each_credential_opens_what_the_table_says(start_edge, allow_anon: str):
    edge: Edge = start_edge(
        AUTH_FAILURES_PER_MINUTE="0", ALLOW_ANON=allow_anon, OPERATOR_KEYS="kim=0123456789abcdef"
    )
    tokens = {
        NO_TOKEN: None,
        USER: edge.user_token(),
        SERVICE: edge.service_role_key,
        ANON: edge.anon_key,
    }
    seen, expected = {}, {}
    for (method, path), caller in WHO.items():
        for credential, token in tokens.items():
            row = f"{method} {path} with {credential}"
            seen[row] = opens(edge, method, path, token)
            demo = credential == ANON and allow_anon == "true" and (method, path) in DESCRIBED
            expected[row] = credential in MAY[caller] or (demo and caller in {"user", "service"})
    assert seen == expected


def opens(edge: Edge, method: str, path: str, token: str | None) -> bool:
    """Whether a request gets past authentication: with an empty body, and ids of nothing that there is."""
    filled = path
    for name in ("{generation_id}", "{user_id}", "{id}"):
        filled = filled.replace(name, str(uuid4()))
    answer = edge.client.request(
        method,
        f"{edge.url}{filled}",
        json={},
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )
    assert answer.status_code < 500, answer.text
    return answer.status_code not in {401, 403}
