"""POST /recover: a new password by mail, and nothing about who has an account."""

import re

import pytest

from tests.functions._platform.auth.help import new_address, told
from tests.functions._platform.auth.mails import follow, fragment, mails, newest, verify


@pytest.fixture
def email(auth) -> str:
    return auth.sign_up()["user"]["email"]


def test_the_link_lets_a_user_choose_another_password(auth, email):
    assert auth.post("/recover", {"email": email}).json() == {}
    mail = newest(auth, email)
    assert mail["kind"] == "recovery"
    session = fragment(follow(auth, mail["link"]))
    assert session["type"] == "recovery"
    changed = auth.call("PUT", "/user", {"password": "another password"}, session["access_token"])
    assert changed.status_code == 200, changed.text
    assert told(auth.sign_in(email)) == (400, "invalid_credentials")
    assert auth.sign_in(email, "another password").status_code == 200
    assert fragment(follow(auth, mail["link"]))["error_code"] == "otp_expired"


@pytest.mark.parametrize("type", ["recovery", "magiclink", "email"])
def test_the_code_does_as_well(auth, email, type):
    auth.post("/recover", {"email": email})
    answer = verify(auth, type, email, newest(auth, email)["code"])
    assert answer.json()["user"]["email"] == email


def test_it_confirms_an_unconfirmed_address(confirming):
    email = new_address()
    confirming.post("/signup", {"email": email, "password": "correct horse battery"})
    assert confirming.post("/recover", {"email": email}).status_code == 200
    answer = verify(confirming, "recovery", email, newest(confirming, email)["code"])
    assert answer.json()["user"]["email_confirmed_at"]


def test_an_unknown_address_gets_the_same_answers_and_no_mail(start_auth):
    auth = start_auth(SMTP_MAX_FREQUENCY="3600")
    known, unknown = auth.sign_up()["user"]["email"], new_address()
    for expected in (200, 429):
        answers = [auth.post("/recover", {"email": email}) for email in (known, unknown)]
        assert [answer.status_code for answer in answers] == [expected, expected]
        texts = {re.sub(r"\d+ seconds", "N seconds", answer.text) for answer in answers}
        assert len(texts) == 1
    assert len(mails(auth, known)) == 1
    assert mails(auth, unknown) == []


@pytest.mark.parametrize("same_process", [True, False])
def test_a_second_mail_has_to_wait(same_process, start_auth, db):
    auth, second, third = (start_auth(SMTP_MAX_FREQUENCY="60") for _ in range(3))
    email = auth.sign_up()["user"]["email"]
    auth.post("/recover", {"email": email})
    refused = (auth if same_process else second).post("/recover", {"email": email})
    assert told(refused) == (429, "over_email_send_rate_limit")
    left = refused.headers["retry-after"]
    assert 0 < int(left) < 60
    text = f"For security purposes, you can only request this after {left} seconds."
    assert refused.json()["message"] == text
    db.execute("update auth.users set recovery_sent_at = recovery_sent_at - interval '60 seconds'")
    assert third.post("/recover", {"email": email}).status_code == 200


@pytest.mark.parametrize("body", [{}, {"email": ""}, {"email": "no address"}])
def test_without_an_address_it_is_refused(auth, body):
    assert told(auth.post("/recover", body)) == (400, "validation_failed")
