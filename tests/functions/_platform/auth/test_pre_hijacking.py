"""Pre-hijacking: a stranger signs up with somebody's address, and waits for the owner to confirm it."""

import pytest

from tests.functions._platform.auth.help import PASSWORD, AuthClient, new_address, told
from tests.functions._platform.auth.mails import follow, newest

STRANGERS = "known to a stranger"


@pytest.fixture
def auth(start_auth) -> AuthClient:
    return start_auth(ENABLE_EMAIL_AUTOCONFIRM="false", SMTP_MAX_FREQUENCY="0")


@pytest.fixture
def address(auth) -> str:
    """Signed up by a stranger."""
    address = new_address()
    auth.post("/signup", {"email": address, "password": STRANGERS})
    return address


def refused(auth: AuthClient, address: str) -> bool:
    return told(auth.sign_in(address, STRANGERS)) == (400, "invalid_credentials")


def test_the_mail_confirms_the_password_of_its_own_sign_up(auth, address):
    strangers = newest(auth, address)["link"]
    auth.post("/signup", {"email": address, "password": PASSWORD})
    assert "otp_expired" in follow(auth, strangers)
    follow(auth, newest(auth, address)["link"])
    assert refused(auth, address)
    assert auth.sign_in(address).status_code == 200


def test_the_same_mail_again_keeps_the_password(auth, address):
    auth.post("/resend", {"type": "signup", "email": address})
    follow(auth, newest(auth, address)["link"])
    assert auth.sign_in(address, STRANGERS).status_code == 200


@pytest.mark.parametrize("path", ["/otp", "/magiclink", "/recover", "/invite"])
def test_a_mail_without_a_password_ends_the_strangers(path, auth, address):
    token = auth.edge.service_role_key if path == "/invite" else None
    assert auth.post(path, {"email": address}, token).status_code == 200
    assert "access_token" in follow(auth, newest(auth, address)["link"])
    assert refused(auth, address)


@pytest.mark.parametrize("type", ["signup", "invite", "magiclink", "recovery"])
def test_so_does_a_generated_link(type, auth, address):
    body = {"type": type, "email": address, "password": PASSWORD}
    link = auth.post("/admin/generate_link", body, auth.edge.service_role_key).json()
    assert "access_token" in follow(auth, link["action_link"])
    assert refused(auth, address)
    assert (auth.sign_in(address).status_code == 200) == (type == "signup")


def test_a_confirmed_users_password_is_nobody_elses_to_end(auth, address):
    follow(auth, newest(auth, address)["link"])
    for path in ("/signup", "/otp", "/recover"):
        assert auth.post(path, {"email": address, "password": PASSWORD}).status_code == 200
    follow(auth, newest(auth, address)["link"])
    assert auth.sign_in(address, STRANGERS).status_code == 200
