"""Mails of a gateway over SMTP: what arrives, and what neither time nor a failure tells."""

from email.message import EmailMessage

import pytest

from scripts.postgres import free_port
from tests.functions._platform.auth.delivery.smtp_server import ADMIN
from tests.functions._platform.auth.help import PASSWORD, new_address, told
from tests.help import eventually, until_logged


def body_of(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def test_a_confirmation_arrives(start_mailing, server):
    auth, address = start_mailing(), new_address()
    assert auth.post("/signup", {"email": address, "password": PASSWORD}).status_code == 200
    (mail,) = eventually(lambda: list(server.mails))
    assert mail["To"] == address
    assert mail["From"].addresses[0].display_name == "Bilder & Ähnliches"
    assert mail["X-Envelope"].startswith(f"{ADMIN} {address}")
    assert mail["Subject"] == "Confirm your email address"
    assert mail["Date"].datetime
    assert mail["Message-ID"].endswith("@example.test>")
    link = next(line for line in body_of(mail, "plain").splitlines() if "/auth/v1/verify?" in line)
    assert link.replace("&", "&amp;") in body_of(mail, "html")
    code = body_of(mail, "plain").partition("code: ")[2][:6]
    assert (
        auth.post("/verify", {"type": "signup", "email": address, "token": code}).status_code == 200
    )
    assert auth.edge.client.get(f"{auth.edge.url}/mailbox").status_code == 404


@pytest.mark.parametrize("path", ["/signup", "/recover", "/otp", "/resend"])
def test_no_answer_waits_for_delivery(start_mailing, server, path):
    """Timing attack: an answer that waited for DATA would come later for an address that gets a mail."""
    auth, address = start_mailing(SMTP_MAX_FREQUENCY="0"), new_address()
    auth.post("/signup", {"email": address, "password": PASSWORD})
    eventually(lambda: server.mails)
    server.go.clear()
    body = {"email": address, "password": PASSWORD, "type": "signup"}
    assert auth.post(path, body).status_code == 200
    eventually(lambda: server.commands.count("DATA") == 2)
    assert len(server.mails) == 1
    server.go.set()
    eventually(lambda: len(server.mails) == 2)


@pytest.mark.parametrize("path", ["/recover", "/resend", "/signup", "/otp"])
def test_a_server_that_is_down_is_told_to_known_and_unknown_alike(start_auth, path):
    down = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(free_port()), "SMTP_ADMIN_EMAIL": ADMIN}
    auth = start_auth(ENABLE_EMAIL_AUTOCONFIRM="false", **down)
    known = new_address()
    auth.admin("POST", body={"email": known, "email_confirm": True})
    answers = [
        auth.post(path, {"email": one, "password": PASSWORD, "type": "signup"})
        for one in (known, new_address())
    ]
    assert [told(answer) for answer in answers] == [(500, "unexpected_failure")] * 2
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["message"].startswith("Error sending ")


def test_an_unknown_address_costs_a_connection_as_a_known_one_does(start_mailing, server):
    auth = start_mailing()
    assert auth.post("/recover", {"email": new_address()}).status_code == 200
    assert server.commands == ["EHLO"]


def test_a_refused_recipient_is_logged_without_address_and_code(start_mailing, server, capsys):
    auth, address = start_mailing(), new_address()
    server.answers["RCPT"] = f"550 no such user <{address}>"
    assert auth.post("/otp", {"email": address}).status_code == 200
    logged = until_logged(capsys, "mail not delivered")
    assert "SMTPRecipientsRefused 550" in logged
    assert address not in logged


def test_an_administrator_is_told_that_a_mail_was_refused(start_mailing, server):
    auth = start_mailing()
    server.answers["RCPT"] = "550 no such user"
    refused = auth.post("/invite", {"email": new_address()}, auth.edge.service_role_key)
    assert told(refused) == (500, "unexpected_failure")
    assert refused.json()["message"] == "Error sending invite email"


def test_without_smtp_and_without_the_local_keys_no_mail_is_sent(start_auth):
    auth = start_auth(SUPABASE_JWT_SECRET="a-secret-of-this-test-with-32-characters-or-more")
    refused = auth.post("/recover", {"email": new_address()})
    assert told(refused) == (500, "unexpected_failure")
