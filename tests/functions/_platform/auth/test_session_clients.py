"""The real supabase-py and supabase-js: sessions and the service role's calls."""

from typing import Any

import pytest
from supabase import AsyncClientOptions, Client, ClientOptions, acreate_client, create_client
from supabase_auth.errors import AuthApiError, AuthWeakPasswordError

from tests.clients.node import NEWEST, VERSIONS, needs_node, run_node
from tests.functions._platform.auth.help import PASSWORD, AuthClient, new_address

pytestmark = pytest.mark.slow


def client(auth: AuthClient, key: str | None = None) -> Client:
    return create_client(
        auth.edge.url,
        key or auth.edge.anon_key,
        ClientOptions(auto_refresh_token=False, httpx_client=auth.edge.client),
    )


def test_an_apps_day_in_supabase_py(auth):
    app, email = client(auth), new_address()
    started: Any = app.auth.sign_up(
        {"email": email, "password": PASSWORD, "options": {"data": {"name": "Ada"}}}
    )
    assert started.session
    assert started.user.user_metadata["name"] == "Ada"
    with pytest.raises(AuthApiError, match="User already registered") as taken:
        app.auth.sign_up({"email": email, "password": PASSWORD})
    assert (taken.value.status, taken.value.code) == (422, "user_already_exists")
    with pytest.raises(AuthWeakPasswordError) as weak:
        app.auth.sign_up({"email": new_address(), "password": "short"})
    assert weak.value.reasons == ["length"]
    with pytest.raises(AuthApiError) as wrong:
        app.auth.sign_in_with_password({"email": email, "password": "wrong password"})
    assert (wrong.value.status, wrong.value.code) == (400, "invalid_credentials")
    session = app.auth.sign_in_with_password({"email": email, "password": PASSWORD}).session
    assert session
    assert app.auth.get_user().user.email == email
    refreshed = app.auth.refresh_session().session
    assert refreshed
    assert refreshed.refresh_token != session.refresh_token
    changed = app.auth.update_user({"data": {"theme": "dark"}, "password": "another password"})
    assert changed.user.user_metadata["theme"] == "dark"
    token = app.auth.get_session().access_token
    app.auth.sign_out()
    assert app.auth.get_session() is None
    with pytest.raises(AuthApiError) as gone:
        app.auth.get_user(token)
    assert (gone.value.status, gone.value.code) == (403, "session_not_found")


async def test_the_async_client_too(auth):
    app = await acreate_client(
        auth.edge.url, auth.edge.anon_key, AsyncClientOptions(auto_refresh_token=False)
    )
    email = new_address()
    started = await app.auth.sign_up({"email": email, "password": PASSWORD})
    assert started.session
    session = (await app.auth.sign_in_with_password({"email": email, "password": PASSWORD})).session
    assert session
    refreshed = (await app.auth.refresh_session()).session
    assert refreshed
    assert refreshed.refresh_token != session.refresh_token
    answer = await app.auth.get_user()
    assert answer
    assert answer.user.email == email
    await app.auth.sign_out()
    with pytest.raises(AuthApiError) as gone:
        await app.auth.get_user(refreshed.access_token)
    assert gone.value.code == "session_not_found"
    await app.auth.close()


def test_the_service_role_in_supabase_py(auth):
    admin = client(auth, auth.edge.service_role_key).auth.admin
    email = new_address()
    made = admin.create_user(
        {"email": email, "password": PASSWORD, "email_confirm": True, "user_metadata": {"n": 1}}
    ).user
    assert made.email == email
    assert [user.id for user in admin.list_users(page=1, per_page=10)] == [made.id]
    changed = admin.update_user_by_id(made.id, {"app_metadata": {"plan": "pro"}}).user
    assert changed.app_metadata["plan"] == "pro"
    session = client(auth).auth.sign_in_with_password({"email": email, "password": PASSWORD})
    assert session.session
    admin.sign_out(session.session.access_token)
    admin.delete_user(made.id)
    with pytest.raises(AuthApiError, match="User not found"):
        admin.get_user_by_id(made.id)


@needs_node
@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_and_the_service_role_in_supabase_js(auth, version):
    told = run_node(
        "sessions.mjs", auth.edge, None, version, {"service": auth.edge.service_role_key}
    )
    has_codes = version != "supabase-js-2.39"

    def refusal(name: str, status: int, code: str) -> list[Any]:
        return [name, status, code if has_codes else None]

    assert told["signUp"] == [None, True, "Ann"]
    assert told["again"] == refusal("AuthApiError", 422, "user_already_exists")
    assert told["weak"] == refusal("AuthWeakPasswordError", 422, "weak_password")
    if version == NEWEST:
        assert told["anonymous"] == ["AuthApiError", 422, "anonymous_provider_disabled"]
    assert told["wrong"] == refusal("AuthApiError", 400, "invalid_credentials")
    assert (told["signIn"], told["getUser"], told["refresh"]) == (True, True, True)
    assert told["update"] == ["Ann", "dark"]
    assert told["same"] == refusal("AuthApiError", 422, "same_password")
    assert told["claims"] in (True, None)
    assert told["signOut"] is None
    assert told["gone"][1] == 403 or told["gone"][0] == "AuthSessionMissingError"
    assert told["made"] == {"plan": "pro", "provider": "email", "providers": ["email"]}
    assert told["listed"] == [1, 2, 2, 2]
    assert told["changed"] is True
    assert told["banned"] == refusal("AuthApiError", 400, "user_banned")
    assert told["deleted"] is None
    assert told["nobody"] == refusal("AuthApiError", 404, "user_not_found")
