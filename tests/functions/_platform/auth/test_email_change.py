"""A new address by PUT /user: confirmed at both addresses, or at the new one."""

import pytest

from tests.functions._platform.auth.help import AuthClient, new_address, told
from tests.functions._platform.auth.mails import (
    follow,
    fragment,
    mails,
    newest,
    query,
    verify,
)

HALF_WAY = "Confirmation link accepted. Please proceed to confirm link sent to the other email"


@pytest.fixture
def member(confirming, db):
    """A confirmed user of a gateway where addresses are confirmed: the client and the session."""
    return confirming, signed_in(confirming)


def signed_in(auth: AuthClient):
    email = new_address()
    auth.post("/otp", {"email": email})
    session = verify(auth, "email", email, newest(auth, email)["code"]).json()
    auth.edge.client.delete(f"{auth.edge.url}/mailbox/api/messages")
    return session


def ask(auth: AuthClient, session, address: str, **more: str):
    answer = auth.call("PUT", "/user", {"email": address, **more}, session["access_token"])
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["old first", "new first"])
def test_both_addresses_confirm(member, order):
    auth, session = member
    old, new = session["user"]["email"], new_address()
    user = ask(auth, session, new.upper())
    assert (user["email"], user["new_email"]) == (old, new)
    links = [newest(auth, address)["link"] for address in (old, new)]
    first = follow(auth, links[order[0]])
    assert fragment(first) == {"message": HALF_WAY, "sb": ""}
    assert fragment(follow(auth, links[order[0]]))["error_code"] == "otp_expired"
    granted = fragment(follow(auth, links[order[1]]))
    assert granted["type"] == "email_change"
    changed = auth.user(granted["access_token"]).json()
    assert changed["email"] == new
    assert "new_email" not in changed
    assert changed["identities"][0]["identity_data"]["email"] == new
    assert changed["identities"][0]["email"] == new


def test_by_code(member):
    auth, session = member
    old, new = session["user"]["email"], new_address()
    ask(auth, session, new)
    half = verify(auth, "email_change", old, newest(auth, old)["code"])
    assert half.json() == {"msg": HALF_WAY, "code": "200"}
    granted = verify(auth, "email_change", new, newest(auth, new)["code"])
    assert granted.json()["user"]["email"] == new


@pytest.mark.parametrize(
    "settings",
    [
        {"MAILER_SECURE_EMAIL_CHANGE_ENABLED": "false", "ENABLE_EMAIL_AUTOCONFIRM": "false"},
        {"ENABLE_EMAIL_AUTOCONFIRM": "true"},
    ],
    ids=["not secure", "autoconfirm"],
)
def test_one_confirmation_where_that_is_enough(start_auth, settings):
    auth = start_auth(**settings)
    session, new = signed_in(auth), new_address()
    ask(auth, session, new)
    granted = fragment(follow(auth, newest(auth, new)["link"]))
    assert auth.user(granted["access_token"]).json()["email"] == new


def test_an_address_that_is_taken_is_refused(member):
    auth, session = member
    other = signed_in(auth)["user"]["email"]
    refused = auth.call("PUT", "/user", {"email": other}, session["access_token"])
    assert told(refused) == (422, "email_exists")


def test_an_address_that_is_taken_meanwhile_is_refused_at_the_end(start_auth):
    auth = start_auth(MAILER_SECURE_EMAIL_CHANGE_ENABLED="false", ENABLE_EMAIL_AUTOCONFIRM="false")
    session, new = signed_in(auth), new_address()
    ask(auth, session, new)
    link = newest(auth, new)["link"]
    auth.post("/otp", {"email": new})
    assert fragment(follow(auth, link))["error_code"] == "email_exists"
    assert auth.user(session["access_token"]).json()["email"] == session["user"]["email"]


def test_resend_mails_both_again_and_the_older_ones_are_gone(start_auth):
    auth = start_auth(ENABLE_EMAIL_AUTOCONFIRM="false", SMTP_MAX_FREQUENCY="0")
    session, new = signed_in(auth), new_address()
    old = session["user"]["email"]
    ask(auth, session, new)
    assert auth.post("/resend", {"type": "email_change", "email": old}).json() == {}
    assert len(mails(auth, old)) == len(mails(auth, new)) == 2
    older = mails(auth, new)[1]["link"]
    assert fragment(follow(auth, older))["error_code"] == "otp_expired"


def test_resend_without_a_change_sends_nothing(member):
    auth, session = member
    for address in (session["user"]["email"], new_address()):
        assert auth.post("/resend", {"type": "email_change", "email": address}).json() == {}
    assert mails(auth) == []


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({"type": "recovery", "email": "a@example.test"}, (400, "validation_failed")),
        ({"type": "signup"}, (400, "validation_failed")),
        ({"type": "email_change"}, (400, "validation_failed")),
        ({"type": "sms", "phone": "123456"}, (400, "phone_provider_disabled")),
    ],
)
def test_what_resend_refuses(confirming, body, refused):
    assert told(confirming.post("/resend", body)) == refused


def test_a_second_change_has_to_wait(start_auth):
    auth = start_auth(SMTP_MAX_FREQUENCY="60")
    session = auth.sign_up()
    ask(auth, session, new_address())
    body = {"email": new_address()}
    refused = auth.call("PUT", "/user", body, session["access_token"])
    assert told(refused) == (429, "over_email_send_rate_limit")


def test_the_link_of_a_pkce_client_gives_a_code(member):
    auth, session = member
    old, new = session["user"]["email"], new_address()
    challenge = {"code_challenge": "c" * 43, "code_challenge_method": "plain"}
    ask(auth, session, new, **challenge)
    half = follow(auth, newest(auth, old)["link"])
    assert query(half) == {"message": HALF_WAY}
    code = query(follow(auth, newest(auth, new)["link"]))["code"]
    answer = auth.post("/token?grant_type=pkce", {"auth_code": code, "code_verifier": "c" * 43})
    assert answer.json()["user"]["email"] == new


def test_an_anonymous_user_becomes_a_permanent_one_by_an_address(start_auth):
    auth = start_auth(ENABLE_EMAIL_AUTOCONFIRM="false", ENABLE_ANONYMOUS_USERS="true")
    guest, address = auth.post("/signup", {"data": {}}).json(), new_address()
    ask(auth, guest, address)
    session = verify(auth, "email_change", address, newest(auth, address)["code"]).json()
    user = session["user"]
    assert (user["id"], user["email"]) == (guest["user"]["id"], address)
    assert user["is_anonymous"] is False
    assert user["email_confirmed_at"]
    assert user["app_metadata"] == {"provider": "email", "providers": ["email"]}
    assert user["identities"][0]["email"] == address


def test_a_change_by_an_administrator_ends_what_the_old_mailbox_holds(member):
    auth, session = member
    old, wanted, given = session["user"]["email"], new_address(), new_address()
    auth.post("/recover", {"email": old})
    ask(auth, session, wanted)
    links = [newest(auth, old)["link"], mails(auth, old)[-1]["link"], newest(auth, wanted)["link"]]
    changed = auth.admin("PUT", f"/{session['user']['id']}", {"email": given}).json()
    assert changed["email"] == given
    assert "new_email" not in changed
    assert all("otp_expired" in follow(auth, link) for link in links)
