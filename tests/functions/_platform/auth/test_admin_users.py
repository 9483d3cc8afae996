"""/admin/users, for the service role."""

import base64

import bcrypt
import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from psycopg import sql

from functions._local.defaults import PUBLISHABLE_KEY, SECRET_KEY
from tests.functions._platform.auth.help import PASSWORD, new_address, told

ARGON2 = "$argon2id$v=19$m=256,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$"
FIREBASE = (
    "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,"
    "sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="
    "$42xEC+ixf3L2lw=="
    "$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="
)
"""Firebase's published example: the password user1password."""
NOBODY = "00000000-0000-4000-8000-000000000001"


def create(auth, **body):
    answer = auth.admin("POST", body={"email": new_address(), **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_only_the_service_role(auth):
    session = auth.sign_up()
    path = "/admin/users"
    calls = [(method, f"/{NOBODY}") for method in ("GET", "PUT", "DELETE")]
    for method, suffix in [("GET", ""), ("POST", ""), *calls]:
        for token in (session["access_token"], auth.edge.anon_key, PUBLISHABLE_KEY):
            assert told(auth.call(method, path + suffix, {}, token)) == (403, "not_admin")
        assert told(auth.call(method, path + suffix, {}, "nonsense")) == (403, "bad_jwt")
        answer = auth.edge.client.request(method, f"{auth.edge.url}/auth/v1{path}{suffix}")
        assert (answer.status_code, answer.json()["error_code"]) == (401, "no_authorization")


def test_the_new_secret_key_is_the_service_role(auth):
    for authorization in ({}, {"Authorization": f"Bearer {SECRET_KEY}"}):
        headers = {"apikey": SECRET_KEY, **authorization}
        answer = auth.edge.client.get(f"{auth.edge.url}/auth/v1/admin/users", headers=headers)
        assert answer.status_code == 200, answer.text


def test_a_created_user(auth):
    email = new_address()
    user = create(
        auth,
        email=email.upper(),
        password=PASSWORD,
        email_confirm=True,
        user_metadata={"name": "Ada"},
        app_metadata={"plan": "pro", "none": None},
    )
    assert user["email"] == email
    assert user["app_metadata"] == {"provider": "email", "providers": ["email"], "plan": "pro"}
    assert user["user_metadata"] == {"name": "Ada", "email_verified": True}
    assert user["identities"][0]["identity_data"]["sub"] == user["id"]
    assert auth.admin("GET", f"/{user['id']}").json() == user
    assert auth.sign_in(email).json()["user"]["id"] == user["id"]


def test_a_created_user_is_unconfirmed_unless_told_otherwise(auth):
    user = create(auth, password=PASSWORD)
    assert "email_confirmed_at" not in user
    assert told(auth.sign_in(user["email"])) == (400, "email_not_confirmed")


def test_no_password_is_a_random_one(auth, db):
    user = create(auth, email_confirm=True)
    assert told(auth.sign_in(user["email"], "")) == (400, "invalid_credentials")
    row = db.execute("select encrypted_password as it from auth.users").fetchone()
    assert row["it"].startswith("$2a$")


def test_an_id_a_role_and_a_ban_may_be_given(auth):
    user = create(auth, id=NOBODY, role="editor", ban_duration="1h", password=PASSWORD, email_confirm=True)  # fmt: skip
    assert (user["id"], user["role"]) == (NOBODY, "editor")
    assert user["banned_until"] > user["created_at"]
    assert told(auth.sign_in(user["email"])) == (400, "user_banned")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"email": ""}, (400, "validation_failed")),
        ({"email": "nonsense"}, (400, "validation_failed")),
        ({"phone": "12345"}, (422, "phone_provider_disabled")),
        ({"password": "x" * 73}, (400, "validation_failed")),
        ({"password": PASSWORD, "password_hash": "x"}, (400, "validation_failed")),
        ({"password_hash": "nonsense"}, (400, "validation_failed")),
        ({"password_hash": "$2a$31$" + "a" * 53}, (400, "validation_failed")),
        ({"id": "mine"}, (400, "validation_failed")),
        ({"id": "00000000-0000-0000-0000-000000000000"}, (400, "validation_failed")),
        ({"ban_duration": "a while"}, (400, "validation_failed")),
        ({"ban_duration": "9" * 20 + "h"}, (400, "validation_failed")),
        ({"role": "x" * 64}, (400, "validation_failed")),
        ({"email_confirm": "yes"}, (400, "bad_json")),
        ({"email": "taken@example.test"}, (422, "email_exists")),
    ],
)
def test_what_is_not_created(auth, db, body, expected):
    auth.sign_up("taken@example.test")
    answer = auth.admin("POST", body={"email": new_address(), **body})
    assert told(answer) == expected
    assert db.execute("select count(*) as it from auth.users").fetchone() == {"it": 1}


def argon2(password: str) -> str:
    salt = base64.b64decode("c29tZXNhbHRzb21lc2FsdA==")
    key = Argon2id(salt=salt, length=32, iterations=1, lanes=1, memory_cost=256)
    return ARGON2 + base64.b64encode(key.derive(password.encode())).decode().rstrip("=")


@pytest.mark.parametrize(
    "hashed",
    [
        bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, b"2a")).decode(),
        bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5, b"2b")).decode(),
        bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, b"2b")).decode().replace("$2b$", "$2y$"),
        argon2(PASSWORD),
    ],
    ids=["2a", "2b", "2y", "argon2id"],
)
def test_imported_hashes_verify(auth, hashed):
    user = create(auth, password_hash=hashed, email_confirm=True)
    assert auth.sign_in(user["email"]).status_code == 200
    assert told(auth.sign_in(user["email"], "wrong password")) == (400, "invalid_credentials")


def test_a_hash_of_firebase_verifies(auth):
    user = create(auth, password_hash=FIREBASE, email_confirm=True)
    assert auth.sign_in(user["email"], "user1password").status_code == 200
    assert told(auth.sign_in(user["email"], "user2password")) == (400, "invalid_credentials")


@pytest.mark.parametrize(
    "hashed",
    [
        "$argon2id$v=19$m=9999999,t=1,p=1$c29tZXNhbHQ$aGFzaGhhc2g",
        "$argon2id$v=19$m=256,t=99,p=1$c29tZXNhbHQ$aGFzaGhhc2g",
        "$argon2id$v=19$m=8,t=1,p=16$c29tZXNhbHQ$aGFzaGhhc2g",
        "$argon2d$v=19$m=256,t=1,p=1$c29tZXNhbHQ$aGFzaGhhc2g",
        FIREBASE.replace("n=14", "n=24"),
        FIREBASE.replace("n=14", "n=0"),
    ],
)
def test_a_hash_that_would_use_up_the_machine_is_not_imported(auth, hashed):
    answer = auth.admin("POST", body={"email": new_address(), "password_hash": hashed})
    assert told(answer) == (400, "validation_failed")


def test_pages(auth):
    emails = [create(auth)["email"] for _ in range(5)]
    first = auth.admin("GET", "?page=1&per_page=2")
    assert [user["email"] for user in first.json()["users"]] == emails[:2:-1]
    assert first.json()["aud"] == "authenticated"
    assert first.headers["X-Total-Count"] == "5"
    assert first.headers["Link"] == (
        '</admin/users?page=2&per_page=2>; rel="next", </admin/users?page=3&per_page=2>; rel="last"'
    )
    last = auth.admin("GET", "?page=3&per_page=2")
    assert [user["email"] for user in last.json()["users"]] == emails[:1]
    assert last.headers["Link"] == '</admin/users?page=3&per_page=2>; rel="last"'
    assert auth.admin("GET", "?page=9&per_page=2").json()["users"] == []
    everything = auth.admin("GET", "?sort=created_at%20asc").json()["users"]
    assert [user["email"] for user in everything] == emails
    some = auth.admin("GET", f"?filter={emails[2][:9]}").json()["users"]
    assert [user["email"] for user in some] == [emails[2]]


@pytest.mark.parametrize(
    "query", ["page=x", "per_page=-1", f"page={'9' * 30}", "sort=email", "sort=created_at%20up"]
)
def test_bad_pages(auth, query):
    assert told(auth.admin("GET", f"?{query}")) == (400, "validation_failed")


@pytest.mark.parametrize(
    "query", ["page=0&per_page=0", "page=999999999999999999", "filter=%00%25_'"]
)
def test_odd_pages(auth, query):
    assert auth.admin("GET", f"?{query}").status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_nobody(auth, method):
    assert told(auth.admin(method, f"/{NOBODY}", {})) == (404, "user_not_found")
    assert told(auth.admin(method, "/nonsense", {})) == (404, "validation_failed")


def test_changes(auth):
    session = auth.sign_up(data={"old": 1, "kept": 2})
    path = f"/{session['user']['id']}"
    email = new_address()
    changed = auth.admin(
        "PUT",
        path,
        {
            "email": email,
            "email_confirm": True,
            "password": "another password",
            "role": "editor",
            "user_metadata": {"old": None, "name": "Ada"},
            "app_metadata": {"plan": "pro"},
        },
    ).json()
    assert (changed["email"], changed["role"]) == (email, "editor")
    assert changed["app_metadata"]["plan"] == "pro"
    assert (changed["user_metadata"]["name"], changed["user_metadata"]["kept"]) == ("Ada", 2)
    assert "old" not in changed["user_metadata"]
    assert [identity["email"] for identity in changed["identities"]] == [email]
    assert told(auth.user(session["access_token"])) == (403, "session_not_found")
    assert auth.sign_in(email, "another password").status_code == 200


def test_a_ban_and_its_end(auth):
    session = auth.sign_up()
    path = f"/{session['user']['id']}"
    banned = auth.admin("PUT", path, {"ban_duration": "1h30m"}).json()
    assert banned["banned_until"] > banned["updated_at"]
    assert told(auth.user(session["access_token"])) == (403, "user_banned")
    assert "banned_until" not in auth.admin("PUT", path, {"ban_duration": "none"}).json()
    assert auth.user(session["access_token"]).status_code == 200


def test_a_change_to_a_taken_address_changes_nothing(auth):
    one, other = auth.sign_up(), auth.sign_up()
    path = f"/{one['user']['id']}"
    body = {"email": other["user"]["email"], "password": "another password"}
    assert told(auth.admin("PUT", path, body)) == (422, "email_exists")
    assert auth.admin("GET", path).json() == one["user"]
    assert auth.sign_in(one["user"]["email"]).status_code == 200


TABLES = ("users", "identities", "sessions", "refresh_tokens", "mfa_amr_claims")


def test_a_deleted_user_is_gone_with_its_sessions(auth, db):
    session = auth.sign_up()
    answer = auth.admin("DELETE", f"/{session['user']['id']}")
    assert (answer.status_code, answer.json()) == (200, {})
    for table in TABLES:
        query = sql.SQL("select count(*) as it from auth.{}").format(sql.Identifier(table))
        assert db.execute(query).fetchone() == {"it": 0}
    assert told(auth.user(session["access_token"])) == (403, "user_not_found")
    assert told(auth.refresh(session["refresh_token"])) == (400, "refresh_token_not_found")
    auth.sign_up(session["user"]["email"])


def test_a_soft_deleted_user_keeps_nothing_but_the_id(auth, db):
    email = new_address()
    session = auth.sign_up(email, data={"name": "Ada"})
    path = f"/{session['user']['id']}"
    assert auth.admin("DELETE", path, {"should_soft_delete": True}).json() == {}
    user = auth.admin("GET", path).json()
    assert user["deleted_at"]
    assert (user["user_metadata"], user["app_metadata"]) == ({}, {})
    kept = db.execute("select u::text || i::text as it from auth.users u, auth.identities i")
    assert email not in kept.fetchone()["it"]
    assert "Ada" not in str(user)
    assert told(auth.user(session["access_token"])) == (403, "user_not_found")
    assert told(auth.refresh(session["refresh_token"])) == (400, "refresh_token_not_found")
    assert told(auth.sign_in(email)) == (400, "invalid_credentials")
    assert auth.admin("DELETE", path, {"should_soft_delete": True}).json() == {}
    assert auth.sign_up(email)["user"]["id"] != user["id"]


def test_a_user_whom_an_apps_rows_hold_is_not_deleted(auth, db):
    user = auth.sign_up()["user"]
    db.execute("create table public.notes (user_id uuid references auth.users (id))")
    db.execute("insert into public.notes values (%s)", (user["id"],))
    answer = auth.admin("DELETE", f"/{user['id']}")
    assert told(answer) == (500, "unexpected_failure")
    assert answer.json()["message"] == "Database error deleting user"
