"""The real supabase-py and supabase-js with mailed links and codes, call by call."""

import json
from typing import Any

import pytest
from supabase import AsyncClientOptions, Client, ClientOptions, acreate_client, create_client
from supabase_auth.errors import AuthApiError

from tests.clients.node import VERSIONS, needs_node, run_node
from tests.functions._platform.auth.help import PASSWORD, AuthClient, new_address
from tests.functions._platform.auth.mails import follow, newest, query, verify

pytestmark = pytest.mark.slow


def client(auth: AuthClient, key: str | None = None, **options: Any) -> Client:
    return create_client(
        auth.edge.url,
        key or auth.edge.anon_key,
        ClientOptions(auto_refresh_token=False, httpx_client=auth.edge.client, **options),
    )


def test_sign_up_resend_and_verify_otp(start_auth):
    auth, email = (
        start_auth(ENABLE_EMAIL_AUTOCONFIRM="false", SMTP_MAX_FREQUENCY="0"),
        new_address(),
    )
    app = client(auth)
    started = app.auth.sign_up({"email": email, "password": PASSWORD})
    assert started.session is None
    assert started.user
    app.auth.resend({"type": "signup", "email": email})
    code = newest(auth, email)["code"]
    session = app.auth.verify_otp({"type": "signup", "email": email, "token": code}).session
    assert session
    assert session.user.id == started.user.id
    assert app.auth.get_user(session.access_token).user.email == email


def test_sign_in_with_otp(auth):
    app, email = client(auth), new_address()
    app.auth.sign_in_with_otp({"email": email, "options": {"data": {"name": "Ada"}}})
    answer = app.auth.verify_otp(
        {"type": "email", "email": email, "token": newest(auth, email)["code"]}
    )
    assert answer.user
    assert answer.user.user_metadata["name"] == "Ada"
    with pytest.raises(AuthApiError, match="Signups not allowed for otp") as refused:
        app.auth.sign_in_with_otp(
            {"email": new_address(), "options": {"should_create_user": False}}
        )
    assert refused.value.code == "otp_disabled"


def test_verify_otp_by_hash_and_a_used_one(auth):
    app, email = client(auth), new_address()
    app.auth.sign_in_with_otp({"email": email})
    link = newest(auth, email)["link"]
    params: Any = {"type": "email", "token_hash": query(link)["token"]}
    assert app.auth.verify_otp(params).session
    with pytest.raises(AuthApiError) as refused:
        app.auth.verify_otp(params)
    assert (refused.value.status, refused.value.code) == (403, "otp_expired")


def test_reset_password_by_pkce(auth):
    email = auth.sign_up()["user"]["email"]
    app = client(auth, flow_type="pkce")
    app.auth.reset_password_for_email(email, {"redirect_to": "http://127.0.0.1:3000/account"})
    back = follow(auth, newest(auth, email)["link"])
    assert back.startswith("http://127.0.0.1:3000/account?code=")
    exchanged = app.auth.exchange_code_for_session(
        {"auth_code": query(back)["code"], "code_verifier": "", "redirect_to": ""}
    )
    assert exchanged.session
    app.auth.update_user({"password": "another password"})
    assert auth.sign_in(email, "another password").status_code == 200


def test_update_user_email_and_reauthenticate(auth):
    app, email, new = client(auth), new_address(), new_address()
    app.auth.sign_up({"email": email, "password": PASSWORD})
    app.auth.reauthenticate()
    assert newest(auth, email)["kind"] == "reauthentication"
    waiting = app.auth.update_user({"email": new}).user
    assert (waiting.email, waiting.new_email) == (email, new)
    answer = app.auth.verify_otp(
        {"type": "email_change", "email": new, "token": newest(auth, new)["code"]}
    )
    assert answer.user
    assert answer.user.email == new


def test_admin_invites_and_generates_links(auth):
    admin = client(auth, auth.edge.service_role_key).auth.admin
    email = new_address()
    invited = admin.invite_user_by_email(
        email, {"data": {"team": "blue"}, "redirect_to": "http://127.0.0.1:3000/welcome"}
    )
    assert invited.user.user_metadata == {"team": "blue"}
    back = follow(auth, newest(auth, email)["link"])
    assert back.startswith("http://127.0.0.1:3000/welcome#access_token=")
    made = admin.generate_link({"type": "magiclink", "email": email})
    assert made.user.email == email
    assert made.properties.verification_type == "magiclink"
    code = made.properties.email_otp
    assert verify(auth, "magiclink", email, code).status_code == 200


async def test_the_async_client_too(auth):
    app = await acreate_client(
        auth.edge.url, auth.edge.anon_key, AsyncClientOptions(auto_refresh_token=False)
    )
    email = new_address()
    await app.auth.sign_in_with_otp({"email": email})
    answer = await app.auth.verify_otp(
        {"type": "email", "email": email, "token": newest(auth, email)["code"]}
    )
    assert answer.user
    assert answer.user.email == email
    await app.auth.sign_out()
    await app.auth.close()


@needs_node
@pytest.mark.parametrize("version", VERSIONS)
def test_supabase_js(start_auth, version):
    auth = start_auth(SMTP_MAX_FREQUENCY="0")
    told = run_node("mailed.mjs", auth.edge, None, version, {"service": auth.edge.service_role_key})
    expected = {
        "code": "signed in",
        "hash": "signed in",
        "used": ["AuthApiError", 403, "otp_expired"],
        "pkce": "signed in",
        "changed": True,
        "invited": True,
        "link": "magiclink",
        "unknown": ["AuthApiError", 422, "otp_disabled"],
    }
    if version.endswith("2.39"):  # its errors have no code yet
        expected |= {"used": ["AuthApiError", 403, None], "unknown": ["AuthApiError", 422, None]}
    assert told == expected, json.dumps(told)
