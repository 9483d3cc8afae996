"""Confirmation of a sign-up: by its link, its code and its hash; once, in time, and to no foreign address."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from functions._platform.auth.mailed.attempts import MAX_WRONG
from tests.functions._platform.auth.help import PASSWORD, new_address, told
from tests.functions._platform.auth.mails import (
    SITE,
    follow,
    fragment,
    mails,
    newest,
    query,
    verify,
)

GONE = (403, "otp_expired")


@pytest.fixture
def waiting(confirming):
    """A sign-up that waits for its confirmation: the client and the mail."""
    email = new_address()
    answer = confirming.post("/signup", {"email": email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return confirming, newest(confirming, email)


def test_the_link_signs_in(waiting):
    auth, mail = waiting
    assert mail["kind"] == "confirmation"
    assert query(mail["link"])["type"] == "signup"
    assert told(auth.sign_in(mail["to"])) == (400, "email_not_confirmed")
    address = follow(auth, mail["link"])
    assert address.startswith(f"{SITE}#")
    session = fragment(address)
    assert session.keys() == {
        "access_token", "expires_at", "expires_in", "refresh_token", "sb", "token_type", "type",
    }  # fmt: skip
    assert (session["type"], session["token_type"]) == ("signup", "bearer")
    user = auth.user(session["access_token"]).json()
    assert user["email"] == mail["to"]
    assert user["email_confirmed_at"]
    assert user["user_metadata"]["email_verified"] is True
    assert user["identities"][0]["identity_data"]["email_verified"] is True
    assert auth.sign_in(mail["to"]).status_code == 200


@pytest.mark.parametrize("type", ["signup", "email"])
def test_the_code_signs_in_once(waiting, type):
    auth, mail = waiting
    answer = verify(auth, type, mail["to"].upper(), mail["code"])
    assert answer.status_code == 200, answer.text
    assert answer.json()["user"]["email"] == mail["to"]
    assert told(verify(auth, type, mail["to"], mail["code"])) == GONE


def test_the_hash_signs_in_once(waiting):
    auth, mail = waiting
    body = {"type": "signup", "token_hash": query(mail["link"])["token"]}
    assert auth.post("/verify", body).status_code == 200
    assert told(auth.post("/verify", body)) == GONE


def test_of_many_at_once_one_gets_a_session(waiting):
    auth, mail = waiting
    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(
                lambda _: verify(auth, "signup", mail["to"], mail["code"]).status_code, range(8)
            )
        )
    assert sorted(answers) == [200] + [403] * 7


def test_a_wrong_code_or_address_is_refused_alike(waiting):
    auth, mail = waiting
    wrong = f"{(int(mail['code']) + 1) % 1_000_000:06d}"
    refusals = [
        verify(auth, "signup", mail["to"], wrong),
        verify(auth, "signup", new_address(), mail["code"]),
        verify(auth, "recovery", mail["to"], mail["code"]),
    ]
    assert [told(refusal) for refusal in refusals] == [GONE] * 3
    assert len({refusal.text for refusal in refusals}) == 1


def test_an_old_link_leads_back_with_the_error(waiting, db):
    auth, mail = waiting
    db.execute("update auth.users set confirmation_sent_at = now() - interval '3601 seconds'")
    address = follow(auth, mail["link"])
    assert address.startswith(f"{SITE}#")
    assert fragment(address) == {
        "error": "access_denied",
        "error_code": "otp_expired",
        "error_description": "Email link is invalid or has expired",
        "sb": "",
    }
    assert told(verify(auth, "signup", mail["to"], mail["code"])) == GONE


def test_the_next_mail_replaces_the_one_before(start_auth):
    auth = start_auth(ENABLE_EMAIL_AUTOCONFIRM="false", SMTP_MAX_FREQUENCY="0")
    email = new_address()
    body = {"email": email, "password": PASSWORD}
    assert auth.post("/signup", body).status_code == 200
    assert auth.post("/resend", {"type": "signup", "email": email}).json() == {}
    newer, older = mails(auth, email)
    assert told(verify(auth, "signup", email, older["code"])) == GONE
    assert verify(auth, "signup", email, newer["code"]).status_code == 200
    assert auth.post("/resend", {"type": "signup", "email": email}).json() == {}
    assert len(mails(auth, email)) == 2, "a confirmed address gets no confirmation"


def test_a_scanner_that_looks_at_the_link_does_not_use_it_up(waiting):
    auth, mail = waiting
    assert auth.edge.client.head(mail["link"], follow_redirects=False).status_code == 405
    assert "access_token" in fragment(follow(auth, mail["link"]))


def test_a_banned_user_stays_outside(waiting, db):
    auth, mail = waiting
    db.execute("update auth.users set banned_until = now() + interval '1 day'")
    assert told(verify(auth, "signup", mail["to"], mail["code"])) == (403, "user_banned")
    assert fragment(follow(auth, mail["link"]))["error_code"] == "user_banned"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"token": "1", "email": "a@example.test"}, 400),
        ({"type": "signup"}, 400),
        ({"type": "signup", "token": "1", "token_hash": "2"}, 400),
        ({"type": "signup", "token": "1"}, 400),
        ({"type": "signup", "token_hash": "1", "email": "a@example.test"}, 400),
        ({"type": "signup", "token": "1", "email": "no address"}, 422),
        ({"type": "unheard", "token_hash": "1"}, 400),
    ],
)
def test_a_malformed_verification_is_refused(confirming, body, status):
    assert told(confirming.post("/verify", body)) == (status, "validation_failed")


def test_a_link_without_type_or_token_is_refused(confirming):
    for path in ("/verify?token=x", "/verify?type=signup"):
        assert told(confirming.call("GET", path)) == (400, "validation_failed")


def test_only_hashes_are_stored_and_the_links_is_not_the_codes(waiting, db):
    """Else the link could be guessed by whoever knows the address: a million codes, a million hashes."""
    _, mail = waiting
    user = db.execute("select * from auth.users").fetchone()
    token = db.execute("select * from auth.one_time_tokens").fetchone()
    assert mail["code"] not in f"{user}{token}"
    code_hash = hashlib.sha224(f"{mail['to']}{mail['code']}".encode()).hexdigest()
    assert user["confirmation_token"] == code_hash
    assert token["token_hash"] == query(mail["link"])["token"] != code_hash
    assert token["token_type"] == "confirmation_token"
    assert token["relates_to"] == mail["to"]


def test_a_token_of_gotrue_works_by_code_and_by_link(waiting, db):
    """GoTrue stores the code's hash in both places, and mails it in the link."""
    auth, mail = waiting
    db.execute(
        "update auth.one_time_tokens as t set token_hash = u.confirmation_token"
        " from auth.users as u where u.id = t.user_id"
    )
    code_hash = hashlib.sha224(f"{mail['to']}{mail['code']}".encode()).hexdigest()
    assert auth.post("/verify", {"type": "signup", "token_hash": code_hash}).status_code == 200


def test_after_some_wrong_codes_the_right_one_is_dead_and_the_link_is_not(waiting):
    auth, mail = waiting
    for number in range(MAX_WRONG):
        wrong = f"{(int(mail['code']) + 1 + number) % 1_000_000:06d}"
        assert told(verify(auth, "signup", mail["to"], wrong)) == GONE
    assert told(verify(auth, "signup", mail["to"], mail["code"])) == GONE
    assert "access_token" in fragment(follow(auth, mail["link"]))


@pytest.mark.parametrize("token", ["%00", "a%00b", "%ed%a0%80", "x" * 5000, "pkce_%00"])
def test_a_link_that_was_never_mailed_leads_back_with_the_error(confirming, token):
    answer = confirming.edge.client.get(
        f"{confirming.edge.url}/auth/v1/verify?type=signup&token={token}", follow_redirects=False
    )
    assert answer.status_code == 303
    assert fragment(answer.headers["location"])["error_code"] == "otp_expired"
