"""Sessions: sign-up, sign-in, refresh with rotation, sign-out; through real HTTP on real PostgreSQL."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from jose import jwt

from functions._platform.auth.passwords import Passwords
from functions._shared.local_keys import LOCAL_JWT_SECRET
from tests.functions._platform.auth.help import PASSWORD, new_address, told
from tests.help import eventually

SESSION = {"access_token", "token_type", "expires_in", "expires_at", "refresh_token", "user"}
CLAIMS = [
    "iss", "sub", "aud", "exp", "iat", "email", "phone", "app_metadata", "user_metadata", "role", "aal", "amr",
    "session_id", "is_anonymous",
]  # fmt: skip


def age_exchanged_tokens(db, seconds: int) -> None:
    """As if the tokens had been exchanged that much earlier."""
    db.execute(
        "update auth.refresh_tokens set updated_at = updated_at - make_interval(secs => %s)",
        (seconds,),
    )


def test_signing_up_starts_a_session(auth):
    email = new_address()
    session = auth.sign_up(email.upper(), data={"name": "Ada"})
    assert session.keys() == SESSION
    assert (session["token_type"], session["expires_in"]) == ("bearer", 3600)
    user = session["user"]
    assert (user["email"], user["role"], user["aud"]) == (email, "authenticated", "authenticated")
    assert user["app_metadata"] == {"provider": "email", "providers": ["email"]}
    assert user["user_metadata"] == {
        "name": "Ada",
        "sub": user["id"],
        "email": email,
        "email_verified": True,
        "phone_verified": False,
    }
    assert user["email_confirmed_at"] == user["confirmed_at"]
    assert user["is_anonymous"] is False
    [identity] = user["identities"]
    assert (identity["id"], identity["provider"], identity["email"]) == (user["id"], "email", email)
    assert identity["identity_data"]["sub"] == identity["user_id"] == user["id"]
    assert identity["identity_id"] != identity["id"]
    assert "password" not in str(session)


def test_an_access_token_has_the_claims_of_gotrue(auth):
    session = auth.sign_up(data={"name": "Ada"})
    assert jwt.get_unverified_header(session["access_token"]) == {"alg": "HS256", "typ": "JWT"}
    claims = jwt.decode(
        session["access_token"], LOCAL_JWT_SECRET, ["HS256"], audience="authenticated"
    )
    assert sorted(claims) == sorted(CLAIMS)
    assert claims["iss"] == f"{auth.edge.url}/auth/v1"
    assert (claims["sub"], claims["email"]) == (session["user"]["id"], session["user"]["email"])
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["exp"] == session["expires_at"]
    assert (claims["role"], claims["aal"], claims["phone"]) == ("authenticated", "aal1", "")
    assert claims["amr"] == [
        {"method": "password", "timestamp": pytest.approx(claims["iat"], abs=5)}
    ]
    assert claims["user_metadata"] == session["user"]["user_metadata"]
    assert claims["is_anonymous"] is False


def test_the_token_lives_as_long_as_the_setting_says(start_auth):
    session = start_auth(JWT_EXPIRY="60").sign_up()
    claims = jwt.get_unverified_claims(session["access_token"])
    assert (session["expires_in"], claims["exp"] - claims["iat"]) == (60, 60)


def test_a_users_token_is_accepted_by_the_functions(auth):
    session = auth.sign_up()
    answer = auth.edge.post(
        "start-generation",
        {"prompt": "a cat", "model_id": "flux-schnell"},
        session["access_token"],
    )
    assert answer.status_code == 200, answer.text


def test_signing_in(auth, db):
    email = new_address()
    first = auth.sign_up(email)
    answer = auth.sign_in(email.capitalize())
    assert answer.status_code == 200
    session = answer.json()
    assert session.keys() == SESSION
    assert session["user"]["id"] == first["user"]["id"]
    assert session["refresh_token"] != first["refresh_token"]
    assert session["user"]["last_sign_in_at"] > first["user"]["last_sign_in_at"]
    assert auth.user(session["access_token"]).json() == session["user"]
    row = db.execute("select user_agent, ip::text, aal::text from auth.sessions").fetchone()
    assert row == {
        "user_agent": auth.edge.client.headers["user-agent"],
        "ip": "127.0.0.1/32",
        "aal": "aal1",
    }


def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(auth):
    email = new_address()
    auth.sign_up(email)
    wrong, unknown = auth.sign_in(email, "wrong password"), auth.sign_in(new_address())
    assert told(wrong) == told(unknown) == (400, "invalid_credentials")
    assert (
        wrong.json()
        == unknown.json()
        == {
            "code": "invalid_credentials",
            "message": "Invalid login credentials",
        }
    )


def test_an_unknown_address_costs_a_hash_as_well(auth, db, monkeypatch):
    """Timing attack."""
    compared = []
    monkeypatch.setattr(
        "functions._platform.auth.passwords._matches",
        lambda password, hashed: compared.append(hashed) or True,
    )
    assert told(auth.sign_in(new_address())) == (400, "invalid_credentials")
    email = auth.sign_up()["user"]["email"]
    db.execute("update auth.users set encrypted_password = null")
    assert told(auth.sign_in(email)) == (400, "invalid_credentials"), "a user without a password"
    assert [hashed[:4] for hashed in compared] == ["$2a$", "$2a$"]


def test_refreshing_exchanges_the_token(auth):
    first = auth.sign_up()
    answer = auth.refresh(first["refresh_token"])
    assert answer.status_code == 200
    second = answer.json()
    assert second.keys() == SESSION
    assert second["refresh_token"] != first["refresh_token"]
    assert len(second["refresh_token"]) == len(first["refresh_token"]) == 12
    old, new = (jwt.get_unverified_claims(one["access_token"]) for one in (first, second))
    assert old["session_id"] == new["session_id"]
    assert old["amr"] == new["amr"]
    third = auth.refresh(second["refresh_token"]).json()
    assert auth.user(third["access_token"]).status_code == 200


def test_the_old_token_gets_the_active_one_for_ten_seconds(auth, db):
    """A browser's other tab refreshes with the token that this one has just exchanged."""
    first = auth.sign_up()["refresh_token"]
    second = auth.refresh(first).json()["refresh_token"]
    third = auth.refresh(second).json()["refresh_token"]
    age_exchanged_tokens(db, 8)
    assert auth.refresh(first).json()["refresh_token"] == third
    assert auth.refresh(second).json()["refresh_token"] == third
    assert auth.refresh(third).status_code == 200


def test_reuse_after_that_ends_the_session(auth, db):
    session, other = auth.sign_up(), auth.sign_up()
    first = session["refresh_token"]
    second = auth.refresh(first).json()
    age_exchanged_tokens(db, 11)
    reused = auth.refresh(first)
    assert told(reused) == (400, "refresh_token_already_used")
    assert reused.json()["message"] == "Invalid Refresh Token: Already Used"
    assert told(auth.refresh(second["refresh_token"])) == (400, "refresh_token_not_found")
    assert told(auth.user(second["access_token"])) == (403, "session_not_found")
    assert auth.refresh(other["refresh_token"]).status_code == 200


def test_tabs_that_refresh_at_the_same_time_all_succeed(auth, db):
    token = auth.sign_up()["refresh_token"]
    with ThreadPoolExecutor(8) as tabs:
        answers = list(tabs.map(auth.refresh, [token] * 16))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    active = db.execute("select count(*) as it from auth.refresh_tokens where not revoked")
    assert active.fetchone() == {"it": 1}


@pytest.mark.parametrize("token", ["unknowntoken", "x", "\0", "é" * 12, "a" * 5000])
def test_an_unknown_refresh_token(auth, token):
    answer = auth.refresh(token)
    assert told(answer) == (400, "refresh_token_not_found")
    assert answer.json()["message"] == "Invalid Refresh Token: Refresh Token Not Found"


def test_no_refresh_token_is_an_error_of_oauth(auth):
    answer = auth.refresh("")
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "invalid_request", "error_description": "refresh_token required"},
    )


def test_a_session_may_end_by_its_date(auth, db):
    token = auth.sign_up()["refresh_token"]
    db.execute("update auth.sessions set not_after = now() - interval '1 second'")
    assert told(auth.refresh(token)) == (400, "session_expired")


@pytest.mark.parametrize(
    ("scope", "alive"),
    [
        ("", (False, False)),
        ("?scope=global", (False, False)),
        ("?scope=local", (False, True)),
        ("?scope=others", (True, False)),
    ],
)
def test_signing_out(auth, scope, alive):
    email = new_address()
    here, there, stranger = auth.sign_up(email), auth.sign_in(email).json(), auth.sign_up()
    answer = auth.post(f"/logout{scope}", token=here["access_token"])
    assert (answer.status_code, answer.content) == (204, b"")
    for session, lives in zip((here, there, stranger), (*alive, True), strict=True):
        user, refreshed = auth.user(session["access_token"]), auth.refresh(session["refresh_token"])
        if lives:
            assert (user.status_code, refreshed.status_code) == (200, 200)
        else:
            assert told(user) == (403, "session_not_found")
            assert told(refreshed) == (400, "refresh_token_not_found")


def test_an_unknown_scope_signs_nothing_out(auth):
    session = auth.sign_up()
    answer = auth.post("/logout?scope=all", token=session["access_token"])
    assert told(answer) == (400, "validation_failed")
    assert auth.user(session["access_token"]).status_code == 200


def test_a_banned_user_neither_signs_in_nor_refreshes_nor_is_told(auth, db):
    email = new_address()
    session = auth.sign_up(email)
    db.execute("update auth.users set banned_until = now() + interval '1 hour'")
    assert told(auth.sign_in(email)) == (400, "user_banned")
    assert told(auth.refresh(session["refresh_token"])) == (400, "user_banned")
    assert told(auth.user(session["access_token"])) == (403, "user_banned")
    assert told(auth.sign_in(email, "wrong")) == (400, "invalid_credentials")
    db.execute("update auth.users set banned_until = now() - interval '1 hour'")
    assert auth.sign_in(email).status_code == 200


@pytest.mark.parametrize(
    ("grant", "body", "expected"),
    [
        ("", {}, (400, "invalid_credentials")),
        ("nonsense", {}, (400, "invalid_credentials")),
        ("password", {}, (400, "validation_failed")),
        ("password", {"email": "a@b.c", "phone": "1", "password": "x"}, (400, "validation_failed")),
        ("password", {"phone": "123456", "password": "x"}, (422, "phone_provider_disabled")),
        ("id_token", {"provider": "google", "id_token": "x"}, (400, "provider_disabled")),
        ("id_token", {"provider": "mine", "id_token": "x"}, (400, "validation_failed")),
        ("web3", {"chain": "solana"}, (422, "web3_provider_disabled")),
    ],
)
def test_what_no_session_is_granted_for(auth, grant, body, expected):
    assert told(auth.post(f"/token?grant_type={grant}", body)) == expected


def test_no_address_provider_no_sign_in(start_auth):
    auth = start_auth(ENABLE_EMAIL_SIGNUP="false")
    assert told(auth.sign_in(new_address())) == (422, "email_provider_disabled")


def test_a_password_that_is_too_weak_today_is_told_at_sign_in(auth, start_auth):
    email = new_address()
    auth.sign_up(email, "secret")
    stricter = start_auth(PASSWORD_MIN_LENGTH="12")
    told_so = stricter.sign_in(email, "secret").json()["weak_password"]
    assert told_so["reasons"] == ["length"]
    assert "weak_password" not in auth.sign_in(email, "secret").json()


def test_neither_password_nor_token_nor_address_is_logged(auth, caplog):
    caplog.set_level("DEBUG")
    email = new_address()
    session = auth.sign_up(email)
    auth.sign_in(email, "wrong password")
    auth.refresh(session["refresh_token"])
    logged = caplog.text
    for secret in (PASSWORD, "wrong password", email, session["refresh_token"], session["access_token"]):  # fmt: skip
        assert secret not in logged


def test_stale_rows_are_deleted(start_auth, db, monkeypatch):
    """Exchanged tokens after a day, ended sessions, PKCE flows left behind; and nothing that is of use."""
    monkeypatch.setattr("functions._platform.auth.app.EVERY_S", 0.01)
    monkeypatch.setattr("functions._platform.auth.store.stale_rows.BATCH", 1)
    auth = start_auth()
    session, ended = auth.sign_up(), auth.sign_up()
    first = session["refresh_token"]
    second = auth.refresh(first).json()["refresh_token"]
    third = auth.refresh(second).json()["refresh_token"]
    db.execute(
        "update auth.refresh_tokens set updated_at = now() - interval '25 hours' where token = any(%s)",
        ([first, third],),
    )
    db.execute(
        "update auth.sessions set not_after = now() - interval '73 hours' where user_id = %s",
        (ended["user"]["id"],),
    )
    flow = (
        "insert into auth.flow_state (id, provider_type, authentication_method, created_at) values"
    )
    db.execute(f"{flow} (gen_random_uuid(), 'old', '', now() - interval '25 hours')")
    db.execute(f"{flow} (gen_random_uuid(), 'new', '', now())")

    def kept():
        tokens = db.execute("select token from auth.refresh_tokens order by id").fetchall()
        flows = db.execute("select provider_type from auth.flow_state").fetchall()
        return [row["token"] for row in tokens], [row["provider_type"] for row in flows]

    eventually(lambda: kept() == ([second, third], ["new"]))
    assert auth.refresh(third).status_code == 200


def test_a_broken_database_is_told_without_its_words(auth, db, caplog):
    """PostgreSQL quotes the values of a row in its errors."""
    email = new_address()
    auth.sign_up(email)
    db.execute(
        "alter table auth.users add constraint no_sign_in check (last_sign_in_at is null) not valid"
    )
    answer = auth.sign_in(email)
    assert told(answer) == (500, "unexpected_failure")
    assert "23514" in caplog.text
    assert email not in caplog.text


def test_an_old_password_signs_in_no_more_while_its_hash_is_computed(auth, monkeypatch):
    """Race: a new password ends the sessions of the old one, and must not miss the one that is about to start."""
    session = auth.sign_up()
    email, computed = session["user"]["email"], Passwords.matches

    async def change_meanwhile(self: Passwords, password: str, hashed: str | None) -> bool:
        right = await computed(self, password, hashed)
        monkeypatch.setattr(Passwords, "matches", computed)
        body = {"password": "another password"}
        changed = await asyncio.to_thread(auth.admin, "PUT", f"/{session['user']['id']}", body)
        assert changed.status_code == 200
        return right

    monkeypatch.setattr(Passwords, "matches", change_meanwhile)
    assert told(auth.sign_in(email)) == (400, "invalid_credentials")
    assert auth.sign_in(email, "another password").status_code == 200
