"""Who may call which endpoint: each is called without a token, with a user's, the service's and the anon key."""

import pytest
from starlette.routing import Route

from functions._platform.auth.app import app
from tests.functions._platform.auth.help import AuthClient

NO_TOKEN, USER, SERVICE, ANON = "no token", "a user's", "the service's", "the anon key"
MAY = {
    "user": {USER},
    "service": {SERVICE},
    "anybody": {NO_TOKEN, USER, SERVICE, ANON},
}
ENDPOINTS = {
    "service": [
        "GET /admin/audit", "GET /admin/custom-providers", "POST /admin/custom-providers",
        "POST /admin/generate_link", "DELETE /admin/oauth/{rest:path}", "GET /admin/oauth/{rest:path}",
        "PATCH /admin/oauth/{rest:path}", "POST /admin/oauth/{rest:path}", "PUT /admin/oauth/{rest:path}",
        "DELETE /admin/sso/{rest:path}", "GET /admin/sso/{rest:path}", "PATCH /admin/sso/{rest:path}",
        "POST /admin/sso/{rest:path}", "PUT /admin/sso/{rest:path}", "GET /admin/users", "POST /admin/users",
        "DELETE /admin/users/{user_id}", "GET /admin/users/{user_id}", "PUT /admin/users/{user_id}",
        "GET /admin/users/{user_id}/factors", "DELETE /admin/users/{user_id}/factors/{rest:path}",
        "GET /admin/users/{user_id}/factors/{rest:path}", "PATCH /admin/users/{user_id}/factors/{rest:path}",
        "POST /admin/users/{user_id}/factors/{rest:path}", "PUT /admin/users/{user_id}/factors/{rest:path}",
        "GET /admin/users/{user_id}/passkeys", "POST /invite",
    ],
    "user": [
        "POST /factors", "DELETE /factors/{rest:path}", "GET /factors/{rest:path}", "PATCH /factors/{rest:path}",
        "POST /factors/{rest:path}", "PUT /factors/{rest:path}", "POST /logout", "GET /reauthenticate",
        "GET /user", "PUT /user", "DELETE /user/identities/{rest:path}", "GET /user/identities/{rest:path}",
        "DELETE /user/oauth/grants", "GET /user/oauth/grants",
    ],
    "anybody": [
        "GET /.well-known/jwks.json", "GET /.well-known/oauth-authorization-server",
        "GET /.well-known/openid-configuration", "GET /authorize",
        "GET /callback", "POST /callback", "GET /health", "POST /magiclink", "GET /oauth/{rest:path}",
        "POST /oauth/{rest:path}", "POST /otp", "GET /passkeys", "DELETE /passkeys/{rest:path}",
        "GET /passkeys/{rest:path}", "PATCH /passkeys/{rest:path}", "POST /passkeys/{rest:path}",
        "PUT /passkeys/{rest:path}", "POST /recover", "POST /resend", "DELETE /scim/{rest:path}",
        "GET /scim/{rest:path}", "PATCH /scim/{rest:path}", "POST /scim/{rest:path}", "PUT /scim/{rest:path}",
        "GET /settings", "POST /signup", "POST /sso", "GET /sso/{rest:path}", "POST /sso/{rest:path}",
        "POST /token", "GET /verify", "POST /verify",
    ],
}  # fmt: skip
WHO = {row: caller for caller, rows in ENDPOINTS.items() for row in rows}


def routes() -> list[tuple[str, str]]:
    found = []
    for route in app.routes:
        assert isinstance(route, Route)
        found += [(method, route.path) for method in (route.methods or set()) - {"HEAD"}]
    return found


def test_every_endpoint_has_a_row_and_no_row_is_stale():
    assert sorted(f"{method} {path}" for method, path in routes()) == sorted(WHO)


@pytest.mark.parametrize("credential", [NO_TOKEN, USER, SERVICE, ANON])
def test_each_credential_opens_what_the_table_says(auth, credential):
    tokens = {
        NO_TOKEN: lambda: None,
        USER: lambda: auth.sign_up()["access_token"],
        SERVICE: lambda: auth.edge.service_role_key,
        ANON: lambda: auth.edge.anon_key,
    }
    seen, expected = {}, {}
    for row, caller in WHO.items():
        seen[row] = opens(auth, *row.split(" "), tokens[credential]())
        expected[row] = credential in MAY[caller]
    assert seen == expected


def opens(auth: AuthClient, method: str, path: str, token: str | None) -> bool:
    """Whether a request gets past authentication: with an empty body, and ids of nothing that there is."""
    filled = path.replace("{rest:path}", "x").replace("{user_id}", "nobody")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = auth.edge.client.request(
        method, f"{auth.edge.url}/auth/v1{filled}", json={}, headers=headers
    )
    assert answer.status_code < 500, answer.text
    return answer.status_code not in {401, 403}
