"""What the tests of /auth/v1 share: a client over real HTTP, and what it has signed up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from tests.conftest import Edge

PASSWORD = "correct horse battery"
VERSION = {"X-Supabase-Api-Version": "2024-01-01"}


@dataclass
class AuthClient:
    """Calls /auth/v1 of a running gateway; ``token`` is sent as a Bearer token."""

    edge: Edge

    def call(
        self, method: str, path: str, body: Any = None, token: str | None = None, **options: Any
    ) -> httpx.Response:
        headers = {"apikey": self.edge.anon_key, **VERSION, **options.pop("headers", {})}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            options["json"] = body
        return self.edge.client.request(
            method, f"{self.edge.url}/auth/v1{path}", headers=headers, **options
        )

    def post(self, path: str, body: Any = None, token: str | None = None, **options: Any) -> Any:
        return self.call("POST", path, body, token, **options)

    def sign_up(self, email: str | None = None, password: str = PASSWORD, **more: Any) -> Any:
        """A new user's session."""
        answer = self.post(
            "/signup", {"email": email or new_address(), "password": password, **more}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def sign_in(self, email: str, password: str = PASSWORD) -> httpx.Response:
        return self.post("/token?grant_type=password", {"email": email, "password": password})

    def refresh(self, token: str) -> httpx.Response:
        return self.post("/token?grant_type=refresh_token", {"refresh_token": token})

    def user(self, token: str) -> httpx.Response:
        return self.call("GET", "/user", token=token)

    def admin(self, method: str, path: str = "", body: Any = None, **options: Any) -> Any:
        return self.call(method, f"/admin/users{path}", body, self.edge.service_role_key, **options)


StartAuth = Callable[..., AuthClient]


def new_address() -> str:
    return f"u{uuid4().hex[:12]}@example.test"


def told(answer: httpx.Response) -> tuple[int, str]:
    """Status and error code."""
    return answer.status_code, answer.json()["code"]
