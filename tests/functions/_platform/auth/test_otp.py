"""POST /otp and /magiclink: sign-in, and sign-up, without a password."""

import pytest

from tests.functions._platform.auth.help import new_address, told
from tests.functions._platform.auth.mails import follow, fragment, mails, newest, verify


@pytest.mark.parametrize("path", ["/otp", "/magiclink"])
def test_a_new_address_signs_up_and_in(auth, path):
    email = new_address()
    assert auth.post(path, {"email": email, "data": {"name": "Ada"}}).json() == {}
    mail = newest(auth, email)
    assert mail["kind"] == "magic_link"
    session = fragment(follow(auth, mail["link"]))
    assert session["type"] == "magiclink"
    user = auth.user(session["access_token"]).json()
    assert user["user_metadata"]["name"] == "Ada"
    assert user["app_metadata"] == {"provider": "email", "providers": ["email"]}


def test_where_addresses_are_confirmed_the_first_mail_does_both(confirming):
    email = new_address()
    confirming.post("/otp", {"email": email})
    mail = newest(confirming, email)
    assert mail["kind"] == "confirmation"
    answer = verify(confirming, "email", email, mail["code"])
    assert answer.json()["user"]["email_confirmed_at"]


def test_the_code_signs_a_known_user_in_and_changes_nothing(auth):
    email = auth.sign_up(data={"name": "Ada"})["user"]["email"]
    auth.post("/otp", {"email": email, "data": {"name": "Eve"}, "create_user": False})
    session = verify(auth, "email", email, newest(auth, email)["code"]).json()
    assert session["user"]["user_metadata"]["name"] == "Ada"
    assert auth.sign_in(email).status_code == 200


def test_a_new_address_without_create_user(auth):
    email = new_address()
    refused = auth.post("/otp", {"email": email, "create_user": False})
    assert told(refused) == (422, "otp_disabled")
    assert refused.json()["message"] == "Signups not allowed for otp"
    assert mails(auth, email) == []


def test_nobody_new_where_sign_ups_are_closed(start_auth):
    auth = start_auth(DISABLE_SIGNUP="true")
    assert told(auth.post("/otp", {"email": new_address()})) == (422, "signup_disabled")


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({}, (400, "validation_failed")),
        ({"email": "a@example.test", "phone": "1"}, (400, "validation_failed")),
        ({"email": "a@example.test", "channel": "sms"}, (400, "validation_failed")),
        ({"phone": "123456"}, (400, "phone_provider_disabled")),
        ({"email": 7}, (400, "bad_json")),
    ],
)
def test_what_it_refuses(auth, body, refused):
    assert told(auth.post("/otp", body)) == refused


def test_a_trigger_that_refuses_new_users_is_told_as_by_gotrue(auth, db):
    db.execute(
        "create function public.refuse() returns trigger language plpgsql as"
        " $$ begin raise 'not today'; end $$;"
        " create trigger refuse before insert on auth.users for each row execute function public.refuse()"
    )
    refused = auth.post("/otp", {"email": new_address()})
    assert told(refused) == (500, "unexpected_failure")
    assert refused.json()["message"] == "Database error saving new user"
