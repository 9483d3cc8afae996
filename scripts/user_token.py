"""``make token EMAIL=… [PASSWORD=…]``: a user's access token, for curl, from the running local stack.

The user is made where it is absent, and signed in through /auth/v1, which is asked as a server of an app asks it.
Environment: EMAIL, PASSWORD. Nothing but the token goes to stdout.
"""

import os
import sys
from typing import Any

import httpx

from functions._local.defaults import address_of, local_environment
from functions._shared.settings import Settings, SettingsError, read_environment


class TokenError(Exception):
    """No token; the text is the reason."""


def token() -> int:
    email, password = os.environ.get("EMAIL", ""), os.environ.get("PASSWORD", "")
    try:
        if not email:
            raise TokenError("EMAIL is not set: make token EMAIL=you@example.com")
        settings = Settings.from_env(local_environment(read_environment()))
        with _client(settings) as client:
            signed_in = (
                _by_password(client, email, password) if password else _by_link(client, email)
            )
    except (TokenError, SettingsError) as error:
        print(f"No token: {error}", file=sys.stderr)
        return 1
    print(signed_in)
    return 0


def _client(settings: Settings) -> httpx.Client:
    key = settings.supabase_service_role_key.get_secret_value()
    return httpx.Client(
        base_url=f"{address_of(settings.edge_host, settings.edge_port)}/auth/v1",
        headers={"apikey": key, "Authorization": f"Bearer {key}"},
    )


def _by_password(client: httpx.Client, email: str, password: str) -> str:
    """Sign in; a user who is absent is made first. Raises TokenError."""
    body = {"email": email, "password": password}
    _post(client, "/admin/users", {**body, "email_confirm": True}, but="email_exists")
    return str(_post(client, "/token?grant_type=password", body)["access_token"])


def _by_link(client: httpx.Client, email: str) -> str:
    """Sign in by a link that is not mailed; a user who is absent is made with it. Raises TokenError."""
    link = _post(client, "/admin/generate_link", {"type": "magiclink", "email": email})
    body = {"type": link["verification_type"], "token_hash": link["hashed_token"]}
    return str(_post(client, "/verify", body)["access_token"])


def _post(client: httpx.Client, path: str, body: Any, but: str = "") -> dict[str, Any]:
    """The answer; an error whose code is ``but`` is one as well. Raises TokenError."""
    try:
        answer = client.post(path, json=body)
    except httpx.TransportError:
        raise TokenError(
            f"nothing answers at {client.base_url}: make up starts the stack"
        ) from None
    told: dict[str, Any] = answer.json()
    if answer.is_error and told.get("error_code") != but:
        raise TokenError(str(told.get("msg") or told.get("error_description") or told))
    return told


if __name__ == "__main__":
    raise SystemExit(token())
