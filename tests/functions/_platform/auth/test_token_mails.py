"""What an unknown caller's request waits for, and what it is told where there is nothing to mail."""

import re
import time

import pytest

from functions._platform.auth.errors import AuthError
from functions._platform.auth.mailbox.box import Mailbox
from functions._platform.auth.mailed.frequency import MAX_ADDRESSES, MailRequests
from functions._platform.auth.mailed.token_mails import connected
from tests.functions._platform.auth.help import PASSWORD, new_address
from tests.functions._platform.auth.mails import mails


@pytest.mark.parametrize("fails", [False, True])
async def test_a_look_up_takes_its_least_time_whatever_comes_of_it(fails: bool):
    mailbox = Mailbox(announce=lambda _: None)
    began = time.monotonic()
    try:
        async with connected(mailbox, "recovery", least_s=0.05):
            if fails:
                raise AuthError(429, "over_email_send_rate_limit", "Too soon")
    except AuthError:
        assert fails
    assert time.monotonic() - began >= 0.05


def test_resend_tells_nobody_from_nobody(start_auth):
    """Unknown, waiting and confirmed: one answer, then one refusal."""
    auth = start_auth(ENABLE_EMAIL_AUTOCONFIRM="false", SMTP_MAX_FREQUENCY="3600")
    waiting, confirmed, unknown = (new_address() for _ in range(3))
    auth.admin("POST", body={"email": waiting, "password": PASSWORD})
    auth.admin("POST", body={"email": confirmed, "email_confirm": True})
    for expected in (200, 429):
        answers = [
            auth.post("/resend", {"type": "signup", "email": email})
            for email in (waiting, confirmed, unknown)
        ]
        assert [answer.status_code for answer in answers] == [expected] * 3
        assert len({re.sub(r"\d+ seconds", "N seconds", answer.text) for answer in answers}) == 1
    assert [len(mails(auth, email)) for email in (waiting, confirmed, unknown)] == [1, 0, 0]


ASKED = {
    "/signup": {"password": PASSWORD},
    "/otp": {},
    "/magiclink": {},
    "/recover": {},
    "/resend": {"type": "signup"},
}


@pytest.mark.parametrize("first", ASKED)
@pytest.mark.parametrize("second", ASKED)
def test_two_requests_tell_nobody_from_nobody(first, second, start_auth):
    """Account enumeration: what one endpoint counts must not show at another."""
    auth = start_auth(ENABLE_EMAIL_AUTOCONFIRM="false", SMTP_MAX_FREQUENCY="3600")
    confirmed, unknown = new_address(), new_address()
    auth.admin("POST", body={"email": confirmed, "email_confirm": True})
    statuses = {
        email: [
            auth.post(path, {"email": email, **ASKED[path]}).status_code for path in (first, second)
        ]
        for email in (confirmed, unknown)
    }
    assert statuses[confirmed] == statuses[unknown]


def test_a_stranger_keeps_nobody_from_signing_up(start_auth):
    """Lock-out: what a stranger asks for, and leads to no mail."""
    auth = start_auth(ENABLE_EMAIL_AUTOCONFIRM="false", SMTP_MAX_FREQUENCY="3600")
    address = new_address()
    for path in ("/recover", "/resend"):
        assert auth.post(path, {"email": address, **ASKED[path]}).status_code == 200
    assert auth.post("/signup", {"email": address, "password": PASSWORD}).status_code == 200


def test_the_memory_of_requests_is_bounded():
    requests = MailRequests(60)
    for number in range(MAX_ADDRESSES + 1):
        requests.check(f"u{number}@example.test", "recovery_token")
    with pytest.raises(AuthError, match="only request this after"):
        requests.check("u1@example.test", "recovery_token")
    requests.check("u0@example.test", "recovery_token")
    requests.check("u1@example.test", "confirmation_token")
