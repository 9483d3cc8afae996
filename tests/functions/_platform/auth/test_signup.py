"""Sign-up: validation with GoTrue's texts, autoconfirm, confirmation without account enumeration, anonymous users."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from jose import jwt

from functions._platform.auth.mailbox.box import Mailbox
from tests.functions._platform.auth.help import PASSWORD, VERSION, new_address, told


@pytest.mark.parametrize(
    ("body", "expected", "message"),
    [
        ({"email": "a@b.test"}, (400, "validation_failed"), "Signup requires a valid password"),
        (
            {"email": "nonsense", "password": PASSWORD},
            (400, "validation_failed"),
            "Unable to validate email address: invalid format",
        ),
        (
            {"email": "ünicode@b.test", "password": PASSWORD},
            (400, "validation_failed"),
            "Unable to validate email address: invalid format",
        ),
        (
            {"email": f"{'a' * 250}@b.test", "password": PASSWORD},
            (400, "validation_failed"),
            "An email address is too long",
        ),
        (
            {"email": "a@b.test", "password": "short"},
            (422, "weak_password"),
            "Password should be at least 6 characters.",
        ),
        (
            {"email": "a@b.test", "password": "é" * 37},
            (400, "validation_failed"),
            "Password cannot be longer than 72 characters",
        ),
        (
            {"email": "a..b@c.test", "password": PASSWORD},
            (400, "validation_failed"),
            "Unable to validate email address: invalid format",
        ),
        (
            {"email": "a@b.test", "phone": "123", "password": PASSWORD},
            (400, "validation_failed"),
            "Only an email address or phone number should be provided on signup.",
        ),
        (
            {"phone": "123456", "password": PASSWORD},
            (400, "phone_provider_disabled"),
            "Phone signups are disabled",
        ),
        (
            {"email": "a@b.test", "password": PASSWORD, "code_challenge": "x"},
            (400, "validation_failed"),
            "PKCE flow requires code_challenge_method and code_challenge",
        ),
        ({}, (422, "anonymous_provider_disabled"), "Anonymous sign-ins are disabled"),
        (
            {"data": {"name": "Ada"}},
            (422, "anonymous_provider_disabled"),
            "Anonymous sign-ins are disabled",
        ),
    ],
)
def test_what_is_refused(auth, db, body, expected, message):
    answer = auth.post("/signup", body)
    assert (told(answer), answer.json()["message"]) == (expected, message)
    assert db.execute("select count(*) as it from auth.users").fetchone() == {"it": 0}


def test_a_weak_password_has_its_reasons_in_both_versions(auth):
    body = {"email": new_address(), "password": "short"}
    new = auth.post("/signup", body)
    assert new.json() == {
        "code": "weak_password",
        "message": "Password should be at least 6 characters.",
        "weak_password": {"reasons": ["length"]},
    }
    assert new.headers["X-Supabase-Api-Version"] == VERSION["X-Supabase-Api-Version"]
    old = auth.post("/signup", body, headers={"X-Supabase-Api-Version": ""})
    assert old.json() == {
        "code": 422,
        "error_code": "weak_password",
        "msg": "Password should be at least 6 characters.",
        "weak_password": {"reasons": ["length"]},
    }
    assert "X-Supabase-Api-Version" not in old.headers
    assert new.headers["x-sb-error-code"] == old.headers["x-sb-error-code"] == "weak_password"


def test_the_least_length_is_a_setting(start_auth):
    auth = start_auth(PASSWORD_MIN_LENGTH="10")
    answer = auth.post("/signup", {"email": new_address(), "password": "nine char"})
    assert answer.json()["message"] == "Password should be at least 10 characters."
    auth.sign_up(password="ten chars!")


def test_an_address_signs_up_once(auth, db):
    email = new_address()
    auth.sign_up(email)
    answer = auth.post("/signup", {"email": email.upper(), "password": PASSWORD})
    assert told(answer) == (422, "user_already_exists")
    assert answer.json()["message"] == "User already registered"
    assert db.execute("select count(*) as it from auth.users").fetchone() == {"it": 1}


def test_an_address_that_only_an_identity_has_is_taken_as_well(auth, db):
    """An imported user who signs in with Google, and whose own address has changed since."""
    auth.sign_up("ada@example.test")
    db.execute(
        'update auth.identities set identity_data = identity_data || \'{"email": "Old@example.test"}\''
    )
    answer = auth.post("/signup", {"email": "old@example.test", "password": PASSWORD})
    assert told(answer) == (422, "user_already_exists")


def test_nobody_signs_up_where_the_settings_forbid_it(start_auth):
    closed = start_auth(DISABLE_SIGNUP="true", ENABLE_ANONYMOUS_USERS="true")
    body = {"email": new_address(), "password": PASSWORD}
    assert told(closed.post("/signup", body)) == (422, "signup_disabled")
    assert told(closed.post("/signup", {})) == (422, "signup_disabled")
    no_addresses = start_auth(ENABLE_EMAIL_SIGNUP="false")
    assert told(no_addresses.post("/signup", body)) == (400, "email_provider_disabled")


def test_anonymous_users(start_auth):
    auth = start_auth(ENABLE_ANONYMOUS_USERS="true")
    session = auth.post("/signup", {"data": {"theme": "dark"}}).json()
    user = session["user"]
    assert (user["is_anonymous"], user["email"], user["role"]) == (True, "", "authenticated")
    assert (user["app_metadata"], user["user_metadata"]) == ({}, {"theme": "dark"})
    assert user["identities"] == []
    claims = jwt.get_unverified_claims(session["access_token"])
    assert claims["is_anonymous"] is True
    assert [one["method"] for one in claims["amr"]] == ["anonymous"]
    assert auth.refresh(session["refresh_token"]).json()["user"]["id"] == user["id"]
    assert auth.post("/signup", {}).json()["user"]["id"] != user["id"]


# Confirmation by mail


def sign_up(auth, email, **more):
    answer = auth.post("/signup", {"email": email, "password": PASSWORD, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_address_is_confirmed_before_it_signs_in(confirming, db):
    email = new_address()
    user = sign_up(confirming, email, data={"name": "Ada"})
    assert "access_token" not in user
    assert user["email"] == email
    assert user["user_metadata"]["name"] == "Ada"
    assert "email_confirmed_at" not in user
    assert user["confirmation_sent_at"]
    assert told(confirming.sign_in(email)) == (400, "email_not_confirmed")
    assert told(confirming.sign_in(email, "wrong")) == (400, "invalid_credentials")
    db.execute("update auth.users set email_confirmed_at = now()")
    session = confirming.sign_in(email).json()
    assert session["user"]["id"] == user["id"]
    assert session["user"]["identities"][0]["identity_id"] == user["identities"][0]["identity_id"]


def test_signing_up_tells_nobody_who_has_an_account(confirming, db, monkeypatch):
    """The same body for a known address as for a new one, at the first and at the second attempt; one gets no mail."""
    known, new = new_address(), new_address()
    confirming.admin("POST", body={"email": known, "email_confirm": True})
    mailed = []
    monkeypatch.setattr(Mailbox, "deliver_later", lambda _, mail: mailed.append(mail.to))
    first = {email: sign_up(confirming, email, data={"n": 1}) for email in (known, new)}
    assert mailed == [new]
    assert shape(first[known], known) == shape(first[new], new)
    real = db.execute("select id::text from auth.users where email = %s", (known,)).fetchone()
    assert first[known]["id"] != real["id"]
    body = {"password": PASSWORD, "data": {"n": 2}}
    again = {email: confirming.post("/signup", {"email": email, **body}) for email in (known, new)}
    assert {told(answer) for answer in again.values()} == {(429, "over_email_send_rate_limit")}
    monkeypatch.setattr(
        "functions._platform.auth.mailed.frequency.MailRequests.check", lambda *_, **__: None
    )
    db.execute("update auth.users set confirmation_sent_at = null")
    second = sign_up(confirming, new, data={"n": 2})
    assert second["id"] == first[new]["id"]
    assert second["user_metadata"]["n"] == 2


def shape(user, email):
    """A body with what differs from user to user put aside."""
    text = {
        user["id"]: "<id>",
        email: "<email>",
        user["identities"][0]["identity_id"]: "<identity>",
    }

    def plain(value, key=""):
        if isinstance(value, dict):
            return {name: plain(part, name) for name, part in value.items()}
        if isinstance(value, list):
            return [plain(part) for part in value]
        return "<time>" if key.endswith("_at") else text.get(value, value)

    return plain(user)


def test_a_taken_address_looks_the_same_each_time(start_auth, db):
    confirming = start_auth(ENABLE_EMAIL_AUTOCONFIRM="false", SMTP_MAX_FREQUENCY="0")
    known = new_address()
    sign_up(confirming, known)
    db.execute("update auth.users set email_confirmed_at = now()")
    first = sign_up(confirming, known)
    second = sign_up(confirming, known.upper())
    assert first["id"] == second["id"]
    assert first["identities"][0]["identity_id"] == second["identities"][0]["identity_id"]


def test_a_known_address_costs_a_hash_as_well(confirming, monkeypatch):
    """Timing attack."""
    known = new_address()
    confirming.admin("POST", body={"email": known, "email_confirm": True})
    hashed = []
    monkeypatch.setattr(
        "functions._platform.auth.passwords._hash", lambda password: hashed.append(password) or "x"
    )
    sign_up(confirming, known)
    assert hashed == [PASSWORD]


def test_a_sign_up_left_unconfirmed_is_no_way_past_its_password(confirming, start_auth):
    """The setting has changed since."""
    email = new_address()
    user = sign_up(confirming, email)
    auth = start_auth()
    other = auth.post("/signup", {"email": email, "password": "another one"})
    assert told(other) == (422, "user_already_exists")
    session = auth.sign_up(email)
    assert session["user"]["id"] == user["id"]
    assert session["user"]["email_confirmed_at"]


def test_an_apps_trigger_that_fails_is_told_as_gotrue_tells_it(auth, db, caplog):
    db.execute("""
create function public.refuse() returns trigger language plpgsql as $$ begin raise exception 'no %', new.email; end $$;
create trigger refuse after insert on auth.users for each row execute function public.refuse();""")
    email = new_address()
    answer = auth.post("/signup", {"email": email, "password": PASSWORD})
    assert told(answer) == (500, "unexpected_failure")
    assert answer.json()["message"] == "Database error saving new user"
    assert "P0001" in caplog.text
    assert email not in caplog.text


def test_an_apps_trigger_makes_a_profile(auth, db):
    """The pattern of Supabase's documentation: a row of the app's for each user."""
    db.execute("""
create table public.profiles (id uuid primary key references auth.users (id) on delete cascade, name text);
create function public.handle_new_user() returns trigger language plpgsql security definer set search_path = ''
as $$ begin
    insert into public.profiles (id, name) values (new.id, new.raw_user_meta_data ->> 'name');
    return new;
end $$;
create trigger on_auth_user_created after insert on auth.users
for each row execute function public.handle_new_user();""")
    user = auth.sign_up(data={"name": "Ada"})["user"]
    assert db.execute("select id::text, name from public.profiles").fetchone() == {
        "id": user["id"],
        "name": "Ada",
    }


def test_one_of_many_sign_ups_at_the_same_time_wins(auth, confirming, db):
    email, other = new_address(), new_address()
    with ThreadPoolExecutor(8) as clients:
        body = {"email": email, "password": PASSWORD}
        answers = list(clients.map(lambda _: auth.post("/signup", body), range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] + [422] * 7
        assert {told(answer) for answer in answers if answer.is_error} == {
            (422, "user_already_exists")
        }
        body = {"email": other, "password": PASSWORD}
        answers = list(clients.map(lambda _: confirming.post("/signup", body), range(8)))
        assert {answer.status_code for answer in answers} <= {200, 429}
    rows = db.execute("select email from auth.users order by created_at").fetchall()
    assert [row["email"] for row in rows] == [email, other]


@pytest.mark.slow
def test_a_database_that_is_away_is_503(start_auth):
    """auth-js tries again, and keeps its session."""
    auth = start_auth(SUPABASE_DB_URL="postgresql://postgres@127.0.0.1:1/postgres")
    answer = auth.post("/signup", {"email": new_address(), "password": PASSWORD})
    assert told(answer) == (503, "unexpected_failure")
