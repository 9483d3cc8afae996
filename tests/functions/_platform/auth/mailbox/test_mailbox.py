"""The local stack's mailbox over HTTP: what it keeps and shows, to whom, and where there is none."""

import httpx
import pytest

from functions._platform.auth.delivery.message import Mail
from functions._platform.auth.delivery.templates import render
from functions._platform.auth.mailbox.box import MAX_MAILS, Mailbox
from tests.conftest import Edge

OWN_SECRET = "a-secret-of-this-test-alone-with-32-characters"
MESSAGES = "/mailbox/api/messages"


def mail(to: str = "ann@example.test") -> Mail:
    return render("magic_link", to=to, code="123456", link="http://127.0.0.1:54321/auth/v1/verify")


def test_the_oldest_mails_are_dropped():
    mailbox = Mailbox(announce=lambda _: None)
    for number in range(MAX_MAILS + 3):
        mailbox.deliver_later(mail(f"u{number}@example.test"))
    kept = [received.mail.to for received in mailbox.newest_first()]
    assert len(kept) == MAX_MAILS
    assert kept[0] == f"u{MAX_MAILS + 2}@example.test"
    assert "u2@example.test" not in kept


def test_each_mail_is_announced_with_its_link_or_its_code():
    lines: list[str] = []
    mailbox = Mailbox(announce=lines.append)
    mailbox.deliver_later(mail())
    mailbox.deliver_later(render("reauthentication", to="ann@example.test", code="654321"))
    assert "http://127.0.0.1:54321/auth/v1/verify" in lines[0]
    assert "654321" in lines[1]
    assert all("\n" not in line for line in lines)


def otp(edge: Edge, to: str) -> None:
    answer = edge.client.post(
        f"{edge.url}/auth/v1/otp", json={"email": to}, headers={"apikey": edge.anon_key}
    )
    assert answer.status_code == 200, answer.text


@pytest.fixture
def filled(idle_edge: Edge) -> Edge:
    otp(idle_edge, "ann@example.test")
    otp(idle_edge, "ben@example.test")
    return idle_edge


def get(edge: Edge, path: str, **headers: str) -> httpx.Response:
    return edge.client.get(f"{edge.url}{path}", headers=headers)


def test_list_one_and_delete(filled: Edge):
    listed = get(filled, MESSAGES).json()["messages"]
    assert [one["to"] for one in listed] == ["ben@example.test", "ann@example.test"]
    assert all(one["code"].isdigit() and len(one["code"]) == 6 for one in listed)
    assert all("/auth/v1/verify?token=" in one["link"] for one in listed)
    (to_ann,) = get(filled, f"{MESSAGES}?to=Ann@example.test").json()["messages"]
    whole = get(filled, f"{MESSAGES}/{to_ann['id']}").json()
    assert to_ann["code"] in whole["text"]
    assert to_ann["link"] in whole["text"]
    address = f"{filled.url}{MESSAGES}/{to_ann['id']}"
    assert filled.client.delete(address).status_code == 204
    assert filled.client.get(address).status_code == 404
    assert filled.client.delete(address).status_code == 404
    assert filled.client.delete(f"{filled.url}{MESSAGES}").status_code == 204
    assert get(filled, MESSAGES).json() == {"messages": []}


def test_a_mail_is_shown_without_rights(filled: Edge):
    (newest, _) = get(filled, MESSAGES).json()["messages"]
    shown = get(filled, f"{MESSAGES}/{newest['id']}/html")
    policy = shown.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "allow-scripts" not in policy
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("path", ["", "/mailbox.css", "/mailbox.js", "/icon.svg"])
def test_the_page_and_its_parts_allow_nothing_inline(idle_edge: Edge, path: str):
    answer = get(idle_edge, f"/mailbox{path}")
    assert answer.status_code == 200
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "style=" not in answer.text
    assert "<style" not in answer.text


@pytest.mark.parametrize("path", ["/mailbox", MESSAGES])
def test_another_page_may_not_read_it(filled: Edge, path: str):
    assert get(filled, path, Origin="https://evil.example").status_code == 403
    assert get(filled, path, Origin="http://localhost:3000").status_code == 403
    assert get(filled, path, Origin=filled.url).status_code == 200


def test_each_mail_is_a_line_of_make_ups_output(idle_edge: Edge, capsys):
    otp(idle_edge, "ann@example.test")
    (mail,) = get(idle_edge, MESSAGES).json()["messages"]
    line = f"mail to ann@example.test: {mail['subject']}: {mail['link']}\n"
    assert capsys.readouterr().out == line


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"Host": "rebound.example"},
    ],
)
def test_only_this_machine_reads_it(filled: Edge, headers: dict[str, str]):
    assert get(filled, MESSAGES, **headers).status_code == 403


@pytest.mark.parametrize(
    "settings",
    [
        {"SUPABASE_JWT_SECRET": OWN_SECRET},
        {"SERVE": "rest,storage"},
        {"SMTP_HOST": "127.0.0.1", "SMTP_ADMIN_EMAIL": "admin@example.test"},
    ],
    ids=["own keys", "auth is not served", "SMTP"],
)
def test_elsewhere_there_is_no_mailbox(start_edge, settings: dict[str, str]):
    edge = start_edge(**settings)
    for path in ("/mailbox", "/mailbox/mailbox.js", MESSAGES, f"{MESSAGES}/x/html"):
        assert get(edge, path).status_code == 404
