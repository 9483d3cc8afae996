"""GET and PUT /user, and which tokens they take."""

import time

import pytest
from jose import jwt

from functions._shared.local_keys import LOCAL_JWT_SECRET
from tests.conftest import user_token
from tests.functions._platform.auth.help import PASSWORD, new_address, told


def put(auth, session, body):
    return auth.call("PUT", "/user", body, session["access_token"])


def test_a_call_without_a_token(auth):
    answer = auth.call("GET", "/user")
    assert told(answer) == (401, "no_authorization")
    assert answer.json()["message"] == "This endpoint requires a valid Bearer token"


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("nonsense", "token is malformed: token contains an invalid number of segments"),
        ("a.b.c", "token is malformed: token contains an invalid number of segments"),
        (user_token(exp=1), "token has invalid claims: token is expired"),
        (
            user_token(secret="x" * 40),
            "token signature is invalid: signature is invalid",
        ),
    ],
)
def test_a_bad_token(auth, token, message):
    answer = auth.user(token)
    assert told(answer) == (403, "bad_jwt")
    assert (
        answer.json()["message"] == f"invalid JWT: unable to parse or verify signature, {message}"
    )


@pytest.mark.parametrize(
    ("claims", "expected", "message"),
    [
        ({"sub": None}, (403, "bad_jwt"), "invalid claim: missing sub claim"),
        ({"sub": "me"}, (403, "bad_jwt"), "invalid claim: sub claim must be a UUID"),
        ({"sub": 7}, (403, "bad_jwt"), "invalid claim: missing sub claim"),
        (
            {"session_id": "mine"},
            (403, "bad_jwt"),
            "invalid claim: session_id claim must be a UUID",
        ),
        ({}, (403, "user_not_found"), "User from sub claim in JWT does not exist"),
    ],
)
def test_a_token_of_nobody(auth, claims, expected, message):
    answer = auth.user(user_token(**claims))
    assert (told(answer), answer.json()["message"]) == (expected, message)


def test_the_keys_are_nobodys_tokens(auth):
    for key in (auth.edge.anon_key, auth.edge.service_role_key):
        answer = auth.user(key)
        assert told(answer) == (403, "bad_jwt")
        assert answer.json()["message"] == "invalid claim: missing sub claim"


def test_another_users_session_is_none(auth):
    one, other = auth.sign_up(), auth.sign_up()
    claims = jwt.get_unverified_claims(one["access_token"])
    stolen = jwt.get_unverified_claims(other["access_token"])["session_id"]
    forged = jwt.encode({**claims, "session_id": stolen}, LOCAL_JWT_SECRET)
    assert told(auth.user(forged)) == (403, "session_not_found")


def test_a_token_without_a_session_is_of_its_user(auth):
    """Such as an app signs itself, with the project's secret."""
    user = auth.sign_up()["user"]
    token = user_token(sub=user["id"], exp=int(time.time()) + 60)
    assert auth.user(token).json() == user
    assert auth.post("/logout?scope=local", token=token).status_code == 204


def test_metadata_is_merged_and_null_removes(auth):
    session = auth.sign_up(data={"name": "Ada", "old": 1})
    answer = put(auth, session, {"data": {"theme": "dark", "old": None, "deep": {"a": [1]}}})
    assert answer.status_code == 200
    data = answer.json()["user_metadata"]
    assert (data["name"], data["theme"], data["deep"]) == ("Ada", "dark", {"a": [1]})
    assert "old" not in data
    assert auth.user(session["access_token"]).json()["user_metadata"] == data
    refreshed = auth.refresh(session["refresh_token"]).json()
    claims = jwt.get_unverified_claims(refreshed["access_token"])
    assert claims["user_metadata"]["theme"] == "dark"


def test_a_new_password_ends_the_other_sessions(auth):
    email = new_address()
    here, there = auth.sign_up(email), auth.sign_in(email).json()
    answer = put(auth, here, {"password": "another password"})
    assert answer.status_code == 200
    assert answer.json()["id"] == here["user"]["id"]
    assert told(auth.sign_in(email)) == (400, "invalid_credentials")
    assert auth.sign_in(email, "another password").status_code == 200
    assert auth.user(here["access_token"]).status_code == 200
    assert told(auth.user(there["access_token"])) == (403, "session_not_found")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"password": PASSWORD}, (422, "same_password")),
        ({"password": "short"}, (422, "weak_password")),
        ({"password": ""}, (422, "weak_password")),
        ({"password": "x" * 73}, (400, "validation_failed")),
        ({"email": "nonsense"}, (400, "validation_failed")),
        ({"phone": "12345"}, (400, "phone_provider_disabled")),
        ({"app_metadata": {"role": "admin"}}, (403, "not_admin")),
        ({"data": "text"}, (400, "bad_json")),
    ],
)
def test_what_may_not_be_changed(auth, body, expected):
    session = auth.sign_up()
    assert told(put(auth, session, body)) == expected
    assert auth.user(session["access_token"]).json() == session["user"]
    assert auth.sign_in(session["user"]["email"]).status_code == 200


def test_an_address_of_somebody_else(auth):
    session, other = auth.sign_up(), auth.sign_up()
    answer = put(auth, session, {"email": other["user"]["email"].upper()})
    assert told(answer) == (422, "email_exists")


def test_the_users_own_address_changes_nothing(auth):
    session = auth.sign_up()
    answer = put(auth, session, {"email": session["user"]["email"].upper()})
    assert answer.status_code == 200
    assert "new_email" not in answer.json()


def test_an_anonymous_user_becomes_permanent(start_auth):
    auth = start_auth(ENABLE_ANONYMOUS_USERS="true")
    session = auth.post("/signup", {}).json()
    refused = put(auth, session, {"password": PASSWORD})
    assert told(refused) == (422, "validation_failed")
    email = new_address()
    user = put(auth, session, {"email": email, "password": PASSWORD}).json()
    assert (user["id"], user["email"], user["is_anonymous"]) == (
        session["user"]["id"],
        email,
        False,
    )
    assert user["app_metadata"] == {"provider": "email", "providers": ["email"]}
    assert [identity["email"] for identity in user["identities"]] == [email]
    assert auth.sign_in(email).json()["user"]["id"] == user["id"]


def test_an_old_session_needs_a_nonce_for_a_new_password(start_auth, db):
    auth = start_auth(SECURITY_UPDATE_PASSWORD_REQUIRE_REAUTHENTICATION="true")
    session = auth.sign_up()
    assert put(auth, session, {"password": "another password"}).status_code == 200
    db.execute("update auth.sessions set created_at = created_at - interval '25 hours'")
    answer = put(auth, session, {"password": "a third password"})
    assert told(answer) == (400, "reauthentication_needed")
    wrong = put(auth, session, {"password": "a third password", "nonce": "123456"})
    assert told(wrong) == (422, "reauthentication_not_valid")
