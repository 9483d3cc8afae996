"""GET /reauthenticate, and the nonce in PUT /user."""

import pytest

from tests.functions._platform.auth.help import new_address, told
from tests.functions._platform.auth.mails import newest


@pytest.fixture
def old_session(start_auth, db):
    """A client whose session is older than a day, where a new password needs a nonce."""
    auth = start_auth(SECURITY_UPDATE_PASSWORD_REQUIRE_REAUTHENTICATION="true")
    session = auth.sign_up()
    db.execute("update auth.sessions set created_at = created_at - interval '25 hours'")
    return auth, session


def change(auth, session, **more):
    body = {"password": "another password", **more}
    return auth.call("PUT", "/user", body, session["access_token"])


def test_a_nonce_allows_one_new_password(old_session):
    auth, session = old_session
    email = session["user"]["email"]
    assert told(change(auth, session)) == (400, "reauthentication_needed")
    answer = auth.call("GET", "/reauthenticate", token=session["access_token"])
    assert (answer.status_code, answer.json()) == (200, {})
    mail = newest(auth, email)
    assert (mail["kind"], mail["link"]) == ("reauthentication", None)
    wrong = f"{(int(mail['code']) + 1) % 1_000_000:06d}"
    assert told(change(auth, session, nonce=wrong)) == (422, "reauthentication_not_valid")
    assert change(auth, session, nonce=mail["code"]).status_code == 200
    assert auth.sign_in(email, "another password").status_code == 200
    again = change(auth, session, nonce=mail["code"], password="a third password")
    assert told(again) == (422, "reauthentication_not_valid")


def test_an_old_nonce_is_refused(old_session, db):
    auth, session = old_session
    auth.call("GET", "/reauthenticate", token=session["access_token"])
    db.execute("update auth.users set reauthentication_sent_at = now() - interval '3601 seconds'")
    nonce = newest(auth, session["user"]["email"])["code"]
    assert told(change(auth, session, nonce=nonce)) == (422, "reauthentication_not_valid")


def test_the_nonce_of_another_user_is_refused(old_session):
    auth, session = old_session
    other = auth.sign_up(new_address())
    auth.call("GET", "/reauthenticate", token=other["access_token"])
    nonce = newest(auth, other["user"]["email"])["code"]
    assert told(change(auth, session, nonce=nonce)) == (422, "reauthentication_not_valid")


def test_without_a_token_it_is_refused(auth):
    answer = auth.call("GET", "/reauthenticate")
    assert told(answer) == (401, "no_authorization")
