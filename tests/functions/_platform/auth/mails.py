"""Mails as a test reads them: from the mailbox, and its links as a browser follows them."""

from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx

from tests.functions._platform.auth.help import AuthClient

SITE = "http://127.0.0.1:3000"


def mails(auth: AuthClient, to: str | None = None) -> list[dict[str, Any]]:
    """The newest first."""
    params = {"to": to} if to else {}
    answer = auth.edge.client.get(f"{auth.edge.url}/mailbox/api/messages", params=params)
    found: list[dict[str, Any]] = answer.json()["messages"]
    return found


def newest(auth: AuthClient, to: str) -> dict[str, Any]:
    found = mails(auth, to)
    assert found, f"no mail to {to}"
    return found[0]


def follow(auth: AuthClient, link: str) -> str:
    """Where the link leads."""
    answer = auth.edge.client.get(link, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def fragment(address: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(address).fragment, keep_blank_values=True))


def query(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def verify(auth: AuthClient, type: str, email: str, code: str) -> httpx.Response:
    answer: httpx.Response = auth.post("/verify", {"type": type, "email": email, "token": code})
    return answer
